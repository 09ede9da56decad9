"""The references meetscribe makes of AMI's annotations, against the public only_words RTTMs.

    python benchmarks/ami_reference.py ../shared/data/ami

The folder has the annotation archive (ami_public_manual_1.6.2*.tar.gz or .zip) and, below
rttm_only_words/ and uem/, the RTTMs and UEMs of the dev and test meetings
(BUTSpeechFIT/AMI-diarization-setup). References are prepared from the archive into a temporary
folder. DER with collar 0, overlap scored, inside the public UEM, in both directions. Leaves with
code 1 if it is above 0.1 % for a meeting, if a meeting is missing, or if an utterance of the SegLST
starts or ends outside of its speaker's turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from meetscribe import formats
from meetscribe.evaluate.corpora import Corpus, CorpusSession, prepare_ami
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.scores import DiarizationErrors
from meetscribe.formats import uem
from meetscribe.types import Turn

LIMIT = 0.001


def main() -> int:
    """Prepare, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="annotations and public references of AMI")
    folder: Path = parser.parse_args().folder
    archives = sorted(folder.glob("ami_public_manual_1.6.2*"))
    public = sorted((folder / "rttm_only_words").glob("*/*.rttm"))
    if not archives or not public:
        print(f"{folder}: no annotation archive, or no rttm_only_words", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as place:
        corpus = prepare_ami(None, archives[0], Path(place))
        for line in (*corpus.problems, *corpus.notes):
            print(f"note: {line}")
        return compare(corpus, public)


def compare(corpus: Corpus, public: list[Path]) -> int:
    """Print a line for each meeting and the totals; give the exit code."""
    ours_by_id = {session.session_id: session for session in corpus.sessions}
    failed = []
    lines = {split: [0, 0, 0] for split in ("dev", "test")}
    total = [DiarizationErrors(), DiarizationErrors()]
    print(
        f"{'meeting':<10}{'split':>6}{'ours':>7}{'public':>8}{'equal':>7}{'DER %':>9}{'back %':>9}"
    )
    for path in public:
        split, meeting = path.parent.name, path.stem
        if meeting not in ours_by_id:
            failed.append(f"{meeting} is missing")
            continue
        theirs = formats.parse_file(path).turns
        ours = formats.parse_file(corpus.path(ours_by_id[meeting].rttm)).turns
        scored = _public_uem(path)
        there = diarization_errors(theirs, ours, scored=scored)
        back = diarization_errors(ours, theirs, scored=scored)
        total = [total[0] + there, total[1] + back]
        equal = len(_in_ms(ours) & _in_ms(theirs))
        counts = (len(ours), len(theirs), equal)
        lines[split] = [sum(pair) for pair in zip(lines[split], counts, strict=True)]
        print(
            f"{meeting:<10}{split:>6}{counts[0]:>7}{counts[1]:>8}{equal:>7}"
            f"{_percent(there)}{_percent(back)}"
        )
        if max(there.der or 0.0, back.der or 0.0) > LIMIT:
            failed.append(f"{meeting} is above {LIMIT:.1%}")
        failed += _outside(corpus, ours_by_id[meeting], ours)
    for split, counts_of in lines.items():
        print(f"{'total':<10}{split:>6}{counts_of[0]:>7}{counts_of[1]:>8}{counts_of[2]:>7}")
    print(f"{'total':<10}{'both':>6}{'':>22}{_percent(total[0])}{_percent(total[1])}")
    print(f"reference={corpus.reference}, collar=+-0 s, overlap=scored, UEM=public")
    for reason in failed:
        print(f"FAILED: {reason}")
    return 1 if failed else 0


def _public_uem(rttm: Path) -> list[tuple[float, float]]:
    path = rttm.parent.parent.parent / "uem" / rttm.parent.name / f"{rttm.stem}.uem"
    return uem.parse(path.read_text(), path=str(path))[rttm.stem]


def _in_ms(turns: tuple[Turn, ...]) -> set[tuple[int, int, str]]:
    return {(round(turn.start * 1000), round(turn.end * 1000), turn.speaker) for turn in turns}


def _percent(errors: DiarizationErrors) -> str:
    return f"{'-':>9}" if errors.der is None else f"{100 * errors.der:>9.4f}"


def _outside(corpus: Corpus, session: CorpusSession, turns: tuple[Turn, ...]) -> list[str]:
    """Name utterances that start or end where their speaker does not speak."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for start, end, speaker in _in_ms(turns):
        spans.setdefault(speaker, []).append((start, end))
    return [
        f"{session.session_id}: utterance of {one.speaker} at {one.start} s is off its turns"
        for one in formats.parse_file(corpus.path(session.seglst)).utterances
        for time in (round(one.start * 1000), round(one.end * 1000))
        if not any(start <= time <= end for start, end in spans.get(one.speaker, []))
    ]


if __name__ == "__main__":
    sys.exit(main())
