"""DER and cpWER on real meeting clips, beside the peer row recorded with them; CER on Mandarin.

    python benchmarks/accuracy.py ../shared/data/meetings [--speech ../shared/data/speech]

Everything runs with the defaults of `meetscribe transcribe`: automatic number of speakers,
language heard.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

from scoring import Clip, Counts, paired_bootstrap, read_clips, score_turns, score_words

from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import load_spec


def peer_rows(readme: Path) -> dict[str, tuple[int, float, float | None]]:
    """Read the peer's table: clip -> (speakers found, DER %, cpWER % or None)."""
    rows = {}
    for line in readme.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 10 and re.fullmatch(r"\d+", cells[3]):
            cpwer = None if cells[9] == "-" else float(cells[9])
            rows[cells[0]] = (int(cells[3]), float(cells[4]), cpwer)
    return rows


def run_clip(runner: Runner, clip: Clip) -> tuple[Counts, int, dict[str, object]]:
    """Transcribe a clip and score it; gives counts, speakers found, and what was heard."""
    transcript = runner.transcribe(runner.probe([clip.audio], session_id=clip.name))
    turns = [(turn.speaker, turn.start, turn.end) for turn in transcript.turns]
    heard: list[dict[str, object]] = [
        {
            "speaker": utterance.speaker,
            "start_time": utterance.start,
            "end_time": utterance.end,
            "words": utterance.text,
        }
        for utterance in transcript.utterances
    ]
    counts = score_turns(clip.turns, turns, clip.duration)
    if clip.segments:
        counts = counts + score_words([dict(segment) for segment in clip.segments], heard)
    return counts, len({speaker for speaker, _, _ in turns}), {"turns": turns, "heard": heard}


def meetings(runner: Runner, folder: Path, keep: Path | None) -> None:
    """Print the table of clips with totals and the paired bootstrap against the peer."""
    clips = read_clips(folder)
    readme = folder / "README.md"
    peers = peer_rows(readme) if readme.exists() else {}
    print(f"{'clip':<36}{'spk':>4}{'found':>6}{'DER':>7}{'miss':>6}{'FA':>6}{'conf':>6}", end="")
    print(f"{'cpWER':>7} | {'peer found':>10}{'DER':>7}{'cpWER':>7}")
    total, right, ours, theirs = Counts(), 0, [], []
    for clip in clips:
        counts, found, made = run_clip(runner, clip)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{clip.name}.json").write_text(json.dumps(made, ensure_ascii=False, indent=1))
        total, right = total + counts, right + (found == clip.speakers)
        ours.append(counts)
        print(f"{clip.name:<36}{clip.speakers:>4}{found:>6}{_parts(counts)}", end="")
        if clip.name in peers:
            peer_found, der, cpwer = peers[clip.name]
            # rates back to counts, so that they pool as ours do
            theirs.append(
                replace(
                    counts,
                    miss=der / 100 * counts.speech,
                    false_alarm=0.0,
                    confusion=0.0,
                    word_errors=round((cpwer or 0.0) / 100 * counts.words),
                )
            )
            shown = "-" if cpwer is None else f"{cpwer:.1f}"
            print(f" | {peer_found:>10}{der:>7.1f}{shown:>7}", end="")
        print()
    print(f"{'total':<36}{'':>4}{right:>3}/{len(clips):<2}{_parts(total)}", end="")
    if theirs and len(theirs) == len(ours):
        _compare(ours, theirs, right=sum(peers[clip.name][0] == clip.speakers for clip in clips))
    print(
        "protocol: whole clips, one channel, segmentation and number of speakers automatic, "
        "DER collar +-0 s with overlap scored, cpWER after Whisper's English normaliser, sums of "
        "errors over sums of reference, missing output counts as deletions"
    )


def _parts(counts: Counts) -> str:
    share = [100 * x / max(counts.speech, 1e-9) for x in (counts.miss, counts.false_alarm)]
    confusion = 100 * counts.confusion / max(counts.speech, 1e-9)
    words = f"{counts.cpwer:>7.1f}" if counts.words else f"{'-':>7}"
    return f"{counts.der:>7.1f}{share[0]:>6.1f}{share[1]:>6.1f}{confusion:>6.1f}{words}"


def _compare(ours: list[Counts], theirs: list[Counts], *, right: int) -> None:
    pooled = sum(theirs, Counts())
    print(f" | {right:>7}/{len(ours)}{pooled.der:>7.1f}{pooled.cpwer:>7.1f}")

    def pairs(rows: list[Counts], kind: str) -> list[tuple[float, float]]:
        if kind == "DER":
            return [(row.miss + row.false_alarm + row.confusion, row.speech) for row in rows]
        return [(row.word_errors, row.words) for row in rows]

    for kind in ("DER", "cpWER"):
        point, low, high = paired_bootstrap(pairs(ours, kind), pairs(theirs, kind))
        print(f"{kind}: {point:+.1f} points against the peer, 95 % [{low:+.1f}, {high:+.1f}]")


def mandarin(runner: Runner, speech: Path, number: int) -> None:
    """Print the character error rate of AISHELL utterances, language heard, not given."""
    with (speech / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["language"] == "zh"]
    # every n-th, so that all speakers are among them
    rows = rows[:: max(1, len(rows) // number)][:number]
    errors = characters = heard_zh = 0
    for row in rows:
        transcript = runner.transcribe(runner.probe([speech / row["path"]]))
        heard = chinese("".join(utterance.text for utterance in transcript.utterances))
        reference = chinese(row["text"])
        errors += edit_distance(reference, heard)
        characters += len(reference)
        heard_zh += transcript.language == "zh"
    print(
        f"Mandarin: CER {100 * errors / characters:.1f} % on {len(rows)} AISHELL utterances "
        f"({characters} characters; NFKC, punctuation and spaces stripped, simplified); "
        f"language heard as zh in {heard_zh}"
    )


def chinese(text: str) -> str:
    """Normalise Chinese for scoring: NFKC, no punctuation, no spaces, simplified, upper case."""
    from opencc import OpenCC

    text = unicodedata.normalize("NFKC", OpenCC("t2s").convert(text)).upper()
    return "".join(char for char in text if unicodedata.category(char)[0] in "LN")


def edit_distance(reference: str, hypothesis: str) -> int:
    """Count insertions, deletions and substitutions."""
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, right in enumerate(hypothesis, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("meetings", type=Path, help="folder of clips")
    parser.add_argument("--speech", type=Path, help="folder of read speech, for Mandarin")
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--pipeline", default="mono")
    parser.add_argument("--keep", type=Path, help="folder for what was heard, to look at")
    options = parser.parse_args()
    runner = Runner(options.pipeline, load_spec(options.pipeline), keep_stages=False)
    meetings(runner, options.meetings, options.keep)
    speech = options.speech or options.meetings.parent / "speech"
    if speech.is_dir() and options.utterances:
        mandarin(runner, speech, options.utterances)


if __name__ == "__main__":
    main()
