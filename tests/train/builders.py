"""Makers of read speech: sounds that begin and end at known times, listed in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def voice(sounds, duration, *, rng, level=0.2, hiss=1e-4):
    """Sound in the given (start, end) seconds, and next to nothing elsewhere; shape (N,)."""
    samples_n = hiss * rng.standard_normal(round(duration * RATE_HZ))
    for start, end in sounds:
        first, last = round(start * RATE_HZ), round(end * RATE_HZ)
        samples_n[first:last] += level * rng.standard_normal(last - first)
    return samples_n.astype(np.float32)


def write_table(
    folder: Path, *, speakers=4, utterances=14, columns=("path", "speaker", "text"), seed=0
) -> Path:
    """Write recordings of 1.5 to 5 s, a third of them with a pause inside, and their table."""
    rng = np.random.default_rng(seed)
    lines = ["\t".join(columns)]
    for speaker in range(speakers):
        for number in range(utterances):
            name = f"spk{speaker}/utt{number}.wav"
            length = float(rng.uniform(1.5, 5.0)) if number > 1 else 0.8
            before, after = rng.uniform(0.1, 0.5, 2)
            sounds = [(before, before + length)]
            if number % 3 == 2:
                sounds = [(before, before + length / 2 - 0.5), (before + length / 2, sounds[0][1])]
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            samples_n = voice(sounds, before + length + after, rng=rng)
            soundfile.write(folder / name, samples_n, RATE_HZ)
            values = {
                "path": name,
                "speaker": f"spk{speaker}",
                "text": f"words {number} of {speaker}",
                "duration_s": f"{len(samples_n) / RATE_HZ:.3f}",
                "language": "en" if speaker % 2 == 0 else "zh",
                "split": "train" if speaker < speakers - 1 else "heldout",
            }
            lines.append("\t".join(values[column] for column in columns))
    table = folder / "table.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
