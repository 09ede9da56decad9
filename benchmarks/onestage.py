"""What each part of the one-stage recogniser brings: planes and topologies, trained alike.

    python benchmarks/onestage.py TABLE -o results/onestage [--config onestage-small] [--steps N]
    python benchmarks/onestage.py TABLE -o results/onestage --adapter meetscribe/weights/onestage

For {spectral only, + target, + competitors} x {fixed, mean, tac, dac} a network is trained with the
same data, steps and seed, and scored on simulated regions of the speakers of split ``heldout``, in
rooms that nothing was trained or chosen in. The best ones are trained again with further seeds.
Training goes on where it was stopped; what is finished is not trained or scored again, so that
several of these with other ``--topologies`` and ``--planes`` may work into one folder, and the last
makes the table of all. ``--adapter`` scores one that is there instead. Beside them stand plain
Whisper on the best channel, and Whisper on what guided source separation makes of the same scene,
which is told who speaks when; each read greedily as it is, as the adapters are, and by the
recogniser of the cascade, which hears nothing but the turns of the target and has its guard.

Prints a Markdown table (also OUTPUT/table.md): target-speaker WER with its interval (bootstrap over
scenes; with several seeds all of them pooled), WER where people overlap, parameters that were
trained, and the CPU time per second of audio on one thread, all its speakers together, recognition
left aside: of front-end and SpatialEmb, or of the separation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from meetscribe import resources
from meetscribe.config import build, read
from meetscribe.engines.stream_words import recognise_streams
from meetscribe.evaluate.scores import WordErrors
from meetscribe.files import write_atomic
from meetscribe.ingest import InMemory
from meetscribe.onestage.adapter import SpatialWhisper, apply_adapter, load_adapter
from meetscribe.onestage.adapter_settings import OnestageSettings
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.front_end import FrontEnd
from meetscribe.onestage.tokens import Vocabulary
from meetscribe.recognize import RecognizedRegion, Recognizer, RecognizerSettings
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.train.bank import make_banks
from meetscribe.train.library import make_library, whisper_words
from meetscribe.train.machine import Machine
from meetscribe.train.onestage.examples import ExampleMaker, Packed
from meetscribe.train.onestage.run import ADAPTER, run, whisper_folder
from meetscribe.train.onestage.scenes import Scene, SceneMaker
from meetscribe.train.onestage.score import Scored, score, summary, transcribe
from meetscribe.train.onestage.settings import OnestageTraining
from meetscribe.types import Activity, Segment, join_words, no_progress

PLANES: dict[str, dict[str, bool | int]] = {
    "spectral only": {"target": False, "num_competitors": 0},
    "+ target": {"target": True, "num_competitors": 0},
    "+ competitors": {"target": True},
}
TOPOLOGIES = ("fixed", "mean", "tac", "dac")
_TEST_SEED, _TEST_STREAM = 4711, 13
_TEST = ("channels", "array", "split", "scenes", "test_rooms")
"""Options that say what is scored on."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A network to train."""

    planes: str
    topology: str

    @property
    def title(self) -> str:
        """Name in the table."""
        return f"{self.topology}, {self.planes}"

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.topology}-{self.planes.replace('+ ', '').replace(' ', '-')}"


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, over all seeds."""

    scored: tuple[Scored, ...]
    seeds: int
    parameters: int
    rtf: float

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Row:
        """Make it again from what ``asdict`` gave."""
        scored = [
            Scored(**{**one, "errors": WordErrors(**one["errors"])}) for one in kept["scored"]
        ]
        return cls(**{**kept, "scored": tuple(scored)})

    @property
    def wer(self) -> float:
        """Errors over words."""
        return summary(self.scored)["wer"]


class Bench:
    """Trains and scores variants."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.given = read(resources.find("configs/train", options.config))
        self.given["speech"] = {**(self.given.get("speech") or {}), "table": str(options.table)}
        if options.steps:
            self.given["loop"] = {**(self.given.get("loop") or {}), "steps": options.steps}
        self.work = options.work or options.output / "work"

    def settings(self, variant: Variant, seed: int) -> OnestageTraining:
        """Give the settings of a training."""
        given = json.loads(json.dumps(self.given))
        given.setdefault("loop", {})["seed"] = seed
        embedding = given.setdefault("model", {}).setdefault("embedding", {})
        embedding |= {"topology": variant.topology, **PLANES[variant.planes]}
        if variant.topology == "fixed":
            embedding["num_channels"] = given.get("rooms", {}).get("channels", 8)
        return build(OnestageTraining, given, where=self.options.config)

    @property
    def model(self) -> OnestageSettings:
        """Settings with all planes, for what needs no training."""
        return self.settings(Variant("+ competitors", "dac"), 0).model

    @cache  # noqa: B019 - lives as long as the program
    def examples(self, channels: int, array: str) -> list[tuple[Scene, Packed]]:
        """Give regions of held-out speakers, all with that many channels."""
        settings = self.settings(Variant("+ competitors", "dac"), 0)
        heldout = settings.speech.model_copy(update={"split": self.options.split})
        hear = None
        if heldout.listen:
            folder = whisper_folder(settings.model.target.base)
            hear = whisper_words(
                Recognizer(
                    RecognizerSettings(prompt="", batch_size=1),
                    model_dir=folder,
                    threads=torch.get_num_threads(),
                )
            )
        base = settings.model.target.base if heldout.listen else ""
        library, notes = make_library(heldout, self.work, hear=hear, recogniser=base)
        for line in notes:
            print(f"  {line}")
        rooms = settings.rooms.model_copy(
            update={
                "arrays": (array,),
                "channels": channels,
                "count": 1,
                "dev": self.options.test_rooms,
                "seed": _TEST_SEED,
            }
        )
        _, bank = make_banks(rooms, self.work)
        stage = settings.scenes.stages[-1]
        last = settings.scenes.model_copy(update={"stages": (stage,)})
        scenes = SceneMaker(last, library, bank, _TEST_SEED, _TEST_STREAM, all_channels=True)
        # planes for every variant: what one does not ask for it ignores
        maker = ExampleMaker(scenes, settings.model, 1, None, 80, alone=False)
        made = [scenes.make(number, 1.0) for number in range(self.options.scenes)]
        return [(scene, maker.pack([scene])) for scene in made]

    def kept(self, name: str, make: Callable[[], dict[str, Row]]) -> dict[str, Row]:
        """Give rows that were scored on this test set before, or score and keep them."""
        told = {"rows": name, **{one: getattr(self.options, one) for one in _TEST}}
        told["settings"] = self.given
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
        path = self.options.output / "rows" / f"{digest}.json"
        if path.is_file():
            rows = json.loads(path.read_text(encoding="utf-8"))
            return {key: Row.of(row) for key, row in rows.items()}
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {key: asdict(row) for key, row in made.items()}
        write_atomic({path: json.dumps(rows)})
        return made

    def untrained_rows(self, channels: int, array: str) -> dict[str, Row]:
        """Score what needs no training."""
        as_it_is, guarded = self.separated(channels, array)
        return {
            "plain Whisper, best channel": self.plain(channels, array),
            "the cascade's recogniser, best channel": self.guarded(channels, array),
            "guided source separation + plain Whisper": as_it_is,
            "guided source separation + the cascade's recogniser": guarded,
        }

    def variants(self, channels: int, array: str) -> dict[str, Row]:
        """Train and score all variants, and the best of them with further seeds."""
        options = self.options
        wanted = [Variant(planes, name) for name in options.topologies for planes in options.planes]
        rows: dict[str, Row] = {}

        def measured(variant: Variant, seeds: int) -> None:
            def make() -> dict[str, Row]:
                print(f"{variant.name}, seeds: {seeds}", flush=True)
                return {variant.title: self.measure(variant, range(seeds), channels, array)}

            rows.update(self.kept(f"{variant.name}, {seeds}", make))

        for variant in wanted:
            measured(variant, 1)
        for variant in sorted(wanted, key=lambda one: rows[one.title].wer)[: options.best]:
            measured(variant, options.seeds)
        return rows

    def measure(self, variant: Variant, seeds: range, channels: int, array: str) -> Row:
        """Train where needed, and score."""
        scored: list[Scored] = []
        rtf, parameters = 0.0, 0
        for seed in seeds:
            settings = self.settings(variant, seed)
            output = self.options.output / f"{variant.name}-{seed}"
            machine = Machine(self.options.device, self.options.workers, self.options.threads)
            run(
                settings,
                output,
                work=self.work,
                machine=machine,
                note=lambda line: print("  ", line),
            )
            row = self.adapter(output / ADAPTER, channels, array)
            scored += row.scored
            rtf, parameters = row.rtf, row.parameters
        return Row(tuple(scored), len(seeds), parameters, rtf)

    def adapter(self, folder: Path, channels: int, array: str) -> Row:
        """Score an adapter."""
        model, tensors, _ = load_adapter(folder)
        network, vocabulary = SpatialWhisper.load(model, whisper_folder(model.target.base))
        apply_adapter(network, tensors, where=str(folder))
        network.eval().requires_grad_(requires_grad=False)
        examples = self.examples(channels, array)
        scored = score(writer(network, vocabulary), [packed for _, packed in examples])
        rtf = front_end_time(network, model, [scene for scene, _ in examples[: self.options.timed]])
        return Row(tuple(scored), 1, len_of(tensors), rtf)

    def plain(self, channels: int, array: str) -> Row:
        """Score plain Whisper on the best channel."""
        written = writer(*self.untrained(), plain=True)
        packed = [packed for _, packed in self.examples(channels, array)]
        return Row(tuple(score(written, packed)), 1, 0, 0.0)

    def separated(self, channels: int, array: str) -> tuple[Row, Row]:
        """Score Whisper on the streams of guided source separation: as it is, and guarded."""
        network, vocabulary = self.untrained()
        trailing_s = network.target.settings.trailing_s
        recognizer = self.recognizer()
        examples: list[Packed] = []
        texts: list[list[str]] = []
        spent = heard = 0.0
        for scene, packed in self.examples(channels, array):
            with SeparatedStreams(scene, [*scene.turns, *scene.spoken], threads=1) as streams:
                began = time.process_time()
                region = scene.region
                with one_thread():
                    made = [streams.read(name, region.start, region.end) for name in scene.texts]
                spent += time.process_time() - began
                heard += scene.duration
                found = recognise_streams(
                    streams, Activity(scene.spoken), recognizer, language="en", progress=no_progress
                )
            texts.append([text_of(found.get(name, ())) for name in scene.texts])
            mels = [log_mel(one, trailing_s=trailing_s) for one in made]
            examples.append(replace(packed, mel_bft=torch.stack(mels).numpy()))
        as_it_is = score(writer(network, vocabulary, plain=True), examples)
        guarded = score(reader(texts), examples)
        rtf = spent / heard
        return Row(tuple(as_it_is), 1, 0, rtf), Row(tuple(guarded), 1, 0, rtf)

    def guarded(self, channels: int, array: str) -> Row:
        """Score the cascade's recogniser on the turns of everybody, on the best channel."""
        recognizer = self.recognizer()
        model = self.model
        texts: list[list[str]] = []
        examples = self.examples(channels, array)
        for scene, _ in examples:
            front_end = FrontEnd(scene, scene.turns, model.front_end, model.embedding)
            texts.append([])
            for one in front_end.hear(scene.region, list(scene.texts)):
                turns = [turn for turn in scene.spoken if turn.speaker == one.target]
                own = [Segment(turn.start, turn.end) for turn in turns]
                audio = InMemory(scene.samples_cn[one.channel])
                found = recognizer.recognize(audio, own, language="en")
                texts[-1].append(text_of(found))
        return Row(tuple(score(reader(texts), [packed for _, packed in examples])), 1, 0, 0.0)

    def recognizer(self) -> Recognizer:
        """Give the recogniser of the cascade."""
        folder = whisper_folder(self.model.target.base)
        threads = torch.get_num_threads()
        return Recognizer(RecognizerSettings(), model_dir=folder, threads=threads)

    def untrained(self) -> tuple[SpatialWhisper, Vocabulary]:
        """Give plain Whisper."""
        return SpatialWhisper.load(self.model, whisper_folder(self.model.target.base))


def text_of(regions: Sequence[RecognizedRegion]) -> str:
    """Give all words."""
    return join_words(word.text for region in regions for word in region.words)


def reader(texts: Sequence[Sequence[str]]) -> Callable[[Packed], Sequence[str]]:
    """Give what gives texts that are written already, batch by batch."""
    following = iter(texts)
    return lambda _packed: next(following)


def front_end_time(network: SpatialWhisper, model: OnestageSettings, scenes: list[Scene]) -> float:
    """Give CPU seconds per second of region, all targets together, on one thread."""
    spent = heard = 0.0
    with one_thread(), torch.inference_mode():
        for scene in scenes:
            began = time.process_time()
            front_end = FrontEnd(scene, scene.turns, model.front_end, model.embedding)
            for one in front_end.hear(scene.region, list(scene.texts)):
                network.embed(one.planes)
            spent += time.process_time() - began
            heard += scene.region.duration
    return spent / max(heard, 1e-9)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def writer(
    network: SpatialWhisper, vocabulary: Vocabulary, *, plain: bool = False
) -> Callable[[Packed], list[str]]:
    """Give what writes the texts of a batch."""

    def written(packed: Packed) -> list[str]:
        with torch.inference_mode():
            return transcribe(network, vocabulary, packed, language="en", device="cpu", plain=plain)

    return written


def len_of(tensors: dict[str, torch.Tensor]) -> int:
    """Count numbers."""
    return sum(one.numel() for one in tensors.values())


def lines_of(rows: dict[str, Row]) -> Iterator[str]:
    """Give the table, Markdown."""
    yield "| | seeds | WER % (95 %) | overlapped | words for a silent target | parameters | RTF |"
    yield "|---|---:|---|---:|---:|---:|---:|"
    for name, row in rows.items():
        found = summary(row.scored)
        low, high = found["wer_low"], found["wer_high"]
        yield (
            f"| {name} | {row.seeds} | {100 * found['wer']:.1f} ({100 * low:.1f} to "
            f"{100 * high:.1f}) | {100 * found['wer_overlapped']:.1f} | "
            f"{found['silent_words']:.2f} | {row.parameters:,} | {row.rtf:.3f} |"
        )


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--config", default="onestage-small")
    parser.add_argument("--work", type=Path, help="speech and rooms, which runs may share")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--adapter", type=Path, help="score this one, and train nothing")
    parser.add_argument("--topologies", nargs="+", default=list(TOPOLOGIES), choices=TOPOLOGIES)
    parser.add_argument("--planes", nargs="+", default=list(PLANES), choices=list(PLANES))
    parser.add_argument("--best", type=int, default=2, help="how many get further seeds")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the best")
    parser.add_argument("--split", default="heldout")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--array", default="circular", choices=["circular", "linear", "ad-hoc"])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--test-rooms", type=int, default=20)
    parser.add_argument("--timed", type=int, default=10, help="scenes that are timed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(options)
    here = (options.channels, options.array)
    if options.adapter:
        rows = {options.adapter.name: bench.adapter(options.adapter, *here)}
    else:
        rows = bench.variants(*here)
    rows = bench.kept("untrained", lambda: bench.untrained_rows(*here)) | rows
    text = "\n".join(lines_of(rows)) + "\n"
    (options.output / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
