"""What each part of the joint model brings: voices, anchors, arrays; beside the cascade.

    python benchmarks/joint.py TABLE -o results/joint [--set ablation array] [--work DIR]
    python benchmarks/joint.py TABLE -o results/joint --model runs/joint-small/model

All is scored on the same simulated groups of one to three people of split ``heldout``, who talk
over each other in rooms that nothing was trained or chosen in: cpWER and DER with their intervals
(bootstrap over groups), how often the number of speakers is right. What cannot be read of a text
counts as deletions and missed speech; words that repeat themselves again and again are left out,
as the engines do.

``--set ablation``: small models of the same data, steps and seed, with a part left out each, are
given the groups as they are. Beside them stand the pipeline ``mono``, which hears each group as a
recording, and Whisper that takes all for one speaker.

``--set array``: groups of eight channels. One small model hears the best channel, or the streams
that the pipeline ``joint-array`` separates; another one the same channel and a stream of places.
Both are run as pipelines, beside ``mono`` and ``array``, and are given the first channel of the
groups as they are; the second is told there who speaks when, and has a moment of each alone.

``--model`` scores a trained one in their place, constrained and not.

Which parts there are is the model's kind. Of a small model on Whisper's decoder voices are added to
the encodings of their time, or stand behind them; that two streams are interleaved or one behind
the other makes no difference there, for its decoder looks at them by cross attention, which knows
no order. With a ``--config`` of kind ``llm`` the streams are interleaved, or one behind the other.

What is finished is kept in OUTPUT/rows, a training goes on where it was stopped: the same command
goes on after a kill. Several of them may work into one folder: each takes what nobody else does,
and the last prints the table (also OUTPUT/SET.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import soundfile
import torch

from meetscribe import resources
from meetscribe.batch.locks import Locks
from meetscribe.config import build, read
from meetscribe.engines.device import torch_device
from meetscribe.engines.joint_loops import without_loops
from meetscribe.errors import ConfigError, MeetscribeError
from meetscribe.evaluate import bootstrap
from meetscribe.evaluate.scores import DiarizationErrors, SpeakerCounts, WordErrors
from meetscribe.files import write_atomic
from meetscribe.ingest import InMemory
from meetscribe.joint.checkpoint import read_config
from meetscribe.joint.whisper.checkpoint import is_whisper_joint, read_settings, whisper_folder
from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import load_spec
from meetscribe.recognize import Recognizer, RecognizerSettings
from meetscribe.train import checkpoint as checkpoints
from meetscribe.train.bank import make_banks
from meetscribe.train.joint.bucketing import FixedMaker, in_buckets
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.model_settings import ModelSettings
from meetscribe.train.joint.parts import make_trainee
from meetscribe.train.joint.run import run
from meetscribe.train.joint.score import ScoredGroup, score, summary
from meetscribe.train.joint.settings import JointTraining
from meetscribe.train.joint.simulated import GroupMaker
from meetscribe.train.joint.stages import folder_of
from meetscribe.train.library import make_library, whisper_words
from meetscribe.train.machine import Machine
from meetscribe.types import SAMPLE_RATE_HZ, Segment, Utterance
from meetscribe.version import __version__

T = TypeVar("T")
Write = Callable[[Sequence[Group]], list[tuple[Utterance, ...]]]

SETS = ("ablation", "array")
FULL = "full"
PARTS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "whisper": {
        FULL: ("voices added, anchors", {}),
        "no-anchors": ("voices added, no anchors", {"anchors": "none"}),
        "one-stream": ("no voices", {"layout": "none", "anchors": "none"}),
        "behind": ("voices behind, anchors", {"layout": "concatenated"}),
        "behind-no-anchors": (
            "voices behind, no anchors",
            {"layout": "concatenated", "anchors": "none"},
        ),
    },
    "llm": {
        FULL: ("interleaved, anchors", {"stream_layout": "interleaved"}),
        "no-anchors": (
            "interleaved, no anchors",
            {"stream_layout": "interleaved", "model_type": "tagspeech-base"},
        ),
        "one-stream": ("no voices, anchors", {"voice_stream": False}),
        "behind": ("one behind the other, anchors", {"stream_layout": "separate"}),
        "behind-no-anchors": (
            "one behind the other, no anchors",
            {"stream_layout": "separate", "model_type": "tagspeech-base"},
        ),
    },
}
"""Title, and what is set in the model, of every part that is looked at."""
PLACES: dict[str, dict[str, Any]] = {
    "whisper": {"spatial": {}},
    "llm": {"spatial_encoder_config": {"model_type": "spatial"}},
}
_TEST_SEED, _TEST_STREAM = 4711, 29
_LANGUAGE = "en"
_TEST = ("split", "groups", "test_rooms")
"""Options that say what is scored on."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured: a score a group, in the order of the groups."""

    scored: tuple[ScoredGroup, ...]
    parameters: int = 0
    rtf: float = 0.0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Row:
        """Make it again from what ``asdict`` gave."""
        scored = [
            ScoredGroup(
                one["speakers"],
                WordErrors(**one["words"]),
                DiarizationErrors(**one["turns"]),
                SpeakerCounts(**one["counts"]),
                one["nothing"],
            )
            for one in kept["scored"]
        ]
        return cls(tuple(scored), kept["parameters"], kept["rtf"])

    @property
    def word_pairs(self) -> list[tuple[float, float]]:
        """Errors and words of every group."""
        return [(one.words.errors, one.words.length) for one in self.scored]

    @property
    def turn_pairs(self) -> list[tuple[float, float]]:
        """Seconds of error and of speech of every group."""
        return [
            (one.turns.miss_s + one.turns.falarm_s + one.turns.confusion_s, one.turns.total_s)
            for one in self.scored
        ]


@dataclass(frozen=True)
class Job:
    """Rows that one process makes, one after the other; ``about`` is what they depend on."""

    name: str
    rows: dict[str, Callable[[], Row]]
    about: Any = None


class Bench:
    """Trains and scores.

    Parameters
    ----------
    name : of the set
    """

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        self.options, self.name = options, name
        self.given = read(resources.find("configs/train", options.config))
        self.given["speech"] = {**(self.given.get("speech") or {}), "table": str(options.table)}
        if options.steps:
            for stage in self.given.get("stages") or []:
                stage["steps"] = options.steps
        self.kind: str = (self.given.get("model") or {}).get("kind", "whisper")
        self.work = options.work or options.output / "work"
        self.machine = Machine(options.device, options.workers, options.threads)
        # of what is scored; a training has settings of its own
        self.settings = self.settings_of({})
        if len(self.settings.stages) != 1:
            raise ConfigError(
                f"{options.config}: {len(self.settings.stages)} stages, expected one",
                hint="the weights after its last step are what is scored",
            )

    @property
    def is_array(self) -> bool:
        """Whether groups have all channels."""
        return self.name == "array"

    def settings_of(self, changes: Mapping[str, Any]) -> JointTraining:
        """Give the settings of a training; ``changes`` are laid over those of the model."""
        given = json.loads(json.dumps(self.given))
        given.setdefault("loop", {})["seed"] = self.options.seed
        if self.is_array:
            given["channels"] = "all"
        model = given.setdefault("model", {})
        if self.kind == "llm":
            model["llm"]["config"] |= changes
        else:
            model["whisper"] = {**(model.get("whisper") or {}), **changes}
        return build(JointTraining, given, where=self.options.config)

    @cache  # noqa: B019 - lives as long as the program
    def groups(self) -> list[Group]:
        """Make the groups of held-out people, always the same."""
        options, settings = self.options, self.settings
        heldout = settings.speech.model_copy(update={"split": options.split})
        hear = None
        if heldout.listen:
            recogniser = Recognizer(
                RecognizerSettings(prompt="", batch_size=1),
                model_dir=whisper_folder(settings.recogniser),
                threads=torch.get_num_threads(),
            )
            hear = whisper_words(recogniser)
        library, notes = make_library(
            heldout, self.work, hear=hear, recogniser=settings.recogniser if heldout.listen else ""
        )
        for line in notes:
            print(f"  {line}")
        rooms = settings.rooms.model_copy(
            update={"count": 1, "dev": options.test_rooms, "seed": _TEST_SEED}
        )
        _, bank = make_banks(rooms, self.work)
        maker = FixedMaker(
            GroupMaker(settings.groups, library, bank, _TEST_SEED, _TEST_STREAM, settings.channels)
        )
        return [maker(number) for number in range(options.groups)]

    def jobs(self) -> list[Job]:
        """Say what there is to do."""
        model: Path | None = self.options.model
        cascades: dict[str, Callable[[], Row]] = {
            "Whisper, one speaker": self.plain,
            "pipeline mono": lambda: self.by_pipeline("mono"),
        }
        if self.is_array:
            cascades["pipeline array"] = lambda: self.by_pipeline("array")
        jobs = [Job("cascades", cascades)]
        if model is not None:
            return [*jobs, Job(str(model), self.model_rows(model), _hash_of(model))]
        if self.is_array:
            return [*jobs, *self.array_jobs()]
        for part, (title, changes) in PARTS[self.kind].items():
            if part in self.options.parts:
                jobs.append(self.trained_job(part, title, changes))
        return jobs

    def trained_job(self, part: str, title: str, changes: Mapping[str, Any]) -> Job:
        """Train, and score on the groups as they are."""
        settings = self.settings_of(changes)
        return Job(part, {title: lambda: self.told(self.trained(part, settings))}, _plain(settings))

    def array_jobs(self) -> list[Job]:
        """Train with the same groups: on one signal, and with places."""
        alone, placed = self.settings_of({}), self.settings_of(PLACES[self.kind])

        def heard(
            part: str, settings: JointTraining, pipeline: str, signal: str | None = None
        ) -> Callable[[], Row]:
            return lambda: self.by_pipeline(pipeline, self.trained(part, settings), signal)

        rows = {
            "joint, best channel": heard("alone", alone, "joint"),
            "joint, separated streams": heard("alone", alone, "joint-array"),
            "joint, groups as they are": lambda: self.told(self.trained("alone", alone)),
        }
        with_places = {
            "joint with places": heard("places", placed, "joint", "spatial"),
            "joint with places, groups as they are": lambda: self.told(
                self.trained("places", placed)
            ),
        }
        return [Job("alone", rows, _plain(alone)), Job("places", with_places, _plain(placed))]

    def model_rows(self, model: Path) -> dict[str, Callable[[], Row]]:
        """Say how a trained model is scored."""
        places = _has_places(model)
        if places and not self.is_array:
            raise ConfigError(f"{model}: hears places, expected --set array")
        rows: dict[str, Callable[[], Row]] = {
            "groups as they are, constrained": lambda: self.told(model),
            "groups as they are, unconstrained": lambda: self.told(model, constrained=False),
        }
        if places:
            rows["pipeline joint, places"] = lambda: self.by_pipeline("joint", model, "spatial")
            return rows
        rows["pipeline joint"] = lambda: self.by_pipeline("joint", model)
        if self.is_array:
            rows["pipeline joint-array"] = lambda: self.by_pipeline("joint-array", model)
        return rows

    def kept(self, job: Job, title: str) -> Path:
        """Give where a row is kept; another one where anything that it depends on is another."""
        told = {"row": title, **{one: getattr(self.options, one) for one in _TEST}}
        told |= {"set": self.name, "version": __version__, "about": job.about}
        told["data"] = self.settings.model_dump(
            mode="json", include={"speech": True, "rooms": True, "groups": True, "recogniser": True}
        )
        del told["data"]["speech"]["table"]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
        output: Path = self.options.output
        return output / "rows" / f"{digest}.json"

    def do(self, job: Job, locks: Locks) -> None:
        """Make the rows of a job that are not there, unless another process is at it."""
        name = f"{self.name} {job.name}"
        if all(self.kept(job, title).is_file() for title in job.rows):
            return
        if not locks.take(name):
            print(f"{name}: left to {locks.owner(name)}", flush=True)
            return
        try:
            for title, make in job.rows.items():
                path = self.kept(job, title)
                if not path.is_file():
                    print(f"{name}: {title}", flush=True)
                    made = make()
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomic({path: json.dumps(asdict(made))})
        finally:
            locks.release(name)

    def rows(self, jobs: Sequence[Job]) -> dict[str, Row] | None:
        """Give all rows, None while some are not there."""
        paths = {title: self.kept(job, title) for job in jobs for title in job.rows}
        if not all(path.is_file() for path in paths.values()):
            return None
        return {
            title: Row.of(json.loads(path.read_text(encoding="utf-8")))
            for title, path in paths.items()
        }

    def trained(self, part: str, settings: JointTraining) -> Path:
        """Train where needed; gives the model as it is after the last step."""
        output: Path = self.options.output / f"{self.name}-{part}-{self.options.seed}"
        folder = output / "last"
        run(
            settings,
            output,
            work=self.work,
            machine=self.machine,
            note=lambda line: print("  ", line, flush=True),
        )
        trainee = make_trainee(settings, "cpu")
        found, _ = checkpoints.latest(folder_of(output, 1, settings.stages[0]))
        if found is None:
            raise ConfigError(f"{output}: no checkpoint in it", hint="remove it, and run again")
        learnt = dict(trainee.network.named_parameters())
        with torch.no_grad():
            for name, one in checkpoints.without_prefix("network", found.tensors).items():
                learnt[name].copy_(one)
        trainee.save(folder, {"step": found.about["step"]})
        return folder

    def told(self, model: Path, *, constrained: bool = True) -> Row:
        """Score what a model writes about the groups, as they are."""
        kind = "whisper" if is_whisper_joint(model) else "llm"
        start = ModelSettings(kind=kind, start=str(model))  # type: ignore[arg-type]
        trainee = make_trainee(
            self.settings.model_copy(update={"model": start}), torch_device(self.options.device)
        )
        network: Any = trainee.network.eval()
        learnt = network.trainable() if kind == "whisper" else network.learned
        batches = in_buckets(self.groups(), self.settings.batch_s)

        def write(groups: Sequence[Group]) -> list[tuple[Utterance, ...]]:
            written = (without_loops(one) for one in trainee.write(groups, constrained=constrained))
            return [tuple(turn for turn in one.turns if turn) for one in written]

        return self.scored(batches, write, parameters=sum(one.numel() for one in learnt.values()))

    def plain(self) -> Row:
        """Score Whisper, guarded as in the cascade, on whole groups: all is of one speaker."""
        recogniser = Recognizer(
            RecognizerSettings(),
            model_dir=whisper_folder(self.settings.recogniser),
            threads=torch.get_num_threads(),
        )

        def write(groups: Sequence[Group]) -> list[tuple[Utterance, ...]]:
            made: list[tuple[Utterance, ...]] = []
            for group in groups:
                whole = [Segment(0.0, group.duration)]
                found = recogniser.recognize(InMemory(group.samples_n), whole, language=_LANGUAGE)
                words = [word for region in found for word in region.words]
                made.append((Utterance.from_words("1", words),) if words else ())
            return made

        return self.scored([[group] for group in self.groups()], write)

    def by_pipeline(self, name: str, model: Path | None = None, signal: str | None = None) -> Row:
        """Score a pipeline as its user has it: every group is a recording, its language known."""
        told = {"language": _LANGUAGE, "channels": "array" if self.is_array else None}
        told |= {"model": None if model is None else str(model), "signal": signal}
        spec = load_spec(name, {key: value for key, value in told.items() if value is not None})
        threads = self.options.threads
        runner = Runner(name, spec, device=self.options.device, threads=threads, keep_stages=False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "group.wav"

            def write(groups: Sequence[Group]) -> list[tuple[Utterance, ...]]:
                made = []
                for group in groups:
                    samples_n = group.samples_n
                    samples = samples_n if group.samples_cn is None else group.samples_cn.T
                    soundfile.write(path, samples, SAMPLE_RATE_HZ, "FLOAT")
                    made.append(runner.transcribe(runner.probe([path])).utterances)
                return made

            return self.scored([[group] for group in self.groups()], write)

    def scored(
        self, batches: Sequence[Sequence[Group]], write: Write, *, parameters: int = 0
    ) -> Row:
        """Score what is written, and take the time."""
        heard = sum(group.duration for batch in batches for group in batch)
        began = time.process_time()
        made = score(batches, write)
        spent = time.process_time() - began
        # batches have an order of their own
        numbers = {id(group): number for number, group in enumerate(self.groups())}
        order = [numbers[id(group)] for batch in batches for group in batch]
        by_number = sorted(zip(order, made, strict=True), key=lambda pair: pair[0])
        return Row(tuple(one for _, one in by_number), parameters, spent / heard)


def _plain(settings: JointTraining) -> Any:  # noqa: ANN401 - JSON
    told = settings.model_dump(mode="json")
    del told["speech"]["table"]
    return told


def _hash_of(model: Path) -> str:
    """Tell the weights of a model from others."""
    hashed = hashlib.sha256()
    for path in sorted(model.rglob("*")) if model.is_dir() else [model]:
        if path.suffix in {".safetensors", ".pt", ".json", ".gguf"}:
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _has_places(model: Path) -> bool:
    if is_whisper_joint(model):
        return read_settings(model).spatial is not None
    return read_config(model).spatial_encoder_config is not None


def _percent(value: float, ends: tuple[float, float] | None) -> str:
    low, high = ends or (float("nan"), float("nan"))
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def lines_of(rows: Mapping[str, Row], against: str) -> Iterator[str]:
    """Give the tables, Markdown; ``against`` is what the others are compared with, group by group.

    cpWER of groups of one, two and three people stand in a table of their own.
    """
    yield (
        "| | cpWER % (95 %) | more than "
        f"*{against}* | DER % (95 %) | speakers counted right % | nothing written % | parameters "
        "| RTF |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for name, row in rows.items():
        found = summary(row.scored)
        more = bootstrap.paired(row.word_pairs, rows[against].word_pairs)
        ends = None if more.low is None or more.high is None else (more.low, more.high)
        yield (
            f"| {name} | {_percent(found['cpwer'], bootstrap.interval(row.word_pairs))} | "
            f"{'' if name == against else _percent(more.point or 0.0, ends)} | "
            f"{_percent(found['der'], bootstrap.interval(row.turn_pairs))} | "
            f"{100 * found['count_accuracy']:.0f} | {100 * found['nothing']:.0f} | "
            f"{row.parameters:,} | {row.rtf:.2f} |"
        )
    numbers = sorted({one.speakers for row in rows.values() for one in row.scored})
    yield ""
    yield "| cpWER % / DER % | " + " | ".join(f"{number} speaking" for number in numbers) + " |"
    yield "|---|" + "---:|" * len(numbers)
    for name, row in rows.items():
        parts = [summary([one for one in row.scored if one.speakers == n]) for n in numbers]
        cells = [f"{100 * one['cpwer']:.1f} / {100 * one['der']:.1f}" for one in parts]
        yield f"| {name} | " + " | ".join(cells) + " |"


def measure(options: argparse.Namespace, name: str) -> None:
    """Make the rows of a set that nobody else makes, and print its table if all are there."""
    locks = Locks(options.output / "locks")
    bench = Bench(options, name)
    jobs = bench.jobs()
    for job in jobs:
        bench.do(job, locks)
    rows = bench.rows(jobs)
    if rows is None:
        print(f"{name}: other processes are not done; the last one prints the table")
        return
    # the first row of the first model
    against = next(iter(jobs[1].rows))
    text = "\n".join(lines_of(rows, against)) + "\n"
    model = f"-{options.model.name}" if options.model else ""
    write_atomic({options.output / f"{name}{model}.md": text})
    print(f"\n{text}", flush=True)


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--config", default=str(Path(__file__).with_name("joint-ablation.yaml")))
    parser.add_argument("--set", nargs="+", dest="sets", choices=SETS, default=[SETS[0]])
    parser.add_argument(
        "--parts", nargs="+", choices=list(PARTS["llm"]), default=list(PARTS["llm"])
    )
    parser.add_argument("--work", type=Path, help="speech and rooms, which runs may share")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the trainings")
    parser.add_argument("--model", type=Path, help="score this one, and train nothing")
    parser.add_argument("--split", default="heldout")
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--test-rooms", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        for name in options.sets:
            measure(options, name)
    except MeetscribeError as error:
        raise SystemExit(f"error: {error.message}\nhint: {error.hint}") from error


if __name__ == "__main__":
    main()
