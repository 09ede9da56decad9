"""What happens on a second run, with an engine that only counts how often it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe.errors import AudioError, OutputError
from meetscribe.formats import RenderOptions
from meetscribe.pipeline.outputs import DEFAULT_FORMATS
from meetscribe.pipeline.runner import Outputs, Runner
from meetscribe.pipeline.spec import load_spec
from meetscribe.speakers.matching import Match
from meetscribe.speakers.naming import named
from meetscribe.types import Progress, Recording, Store, Transcript, Turn, Utterance


class FakeEngine:
    """An engine that hears the same two people in everything."""

    def __init__(self) -> None:
        self.asked = 0
        self.option = "one"

    def describe(self) -> Mapping[str, object]:
        return {"option": self.option}

    def transcribe(self, recording: Recording, *, store: Store, progress: Progress) -> Transcript:  # noqa: ARG002
        self.asked += 1
        progress("activity", 1.0)
        said = (Utterance("Speaker 1", 0.0, 0.5, "hello"), Utterance("Speaker 2", 0.4, 0.9, "hi"))
        turns = (Turn(0.0, 0.5, "Speaker 1"), Turn(0.4, 0.9, "Speaker 2"))
        return Transcript(recording.session_id, said, turns, duration=1.0)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "talk.wav", np.zeros(16_000), 16_000)
    return tmp_path / "talk.wav"


@pytest.fixture
def runner() -> Runner:
    made = Runner("mono", load_spec("mono"))
    made.engine = FakeEngine()
    return made


def engine(runner: Runner) -> FakeEngine:
    assert isinstance(runner.engine, FakeEngine)
    return runner.engine


def test_second_run_does_nothing(runner: Runner, audio: Path) -> None:
    outputs = Outputs(formats=DEFAULT_FORMATS)
    first = runner.run(runner.probe([audio]), outputs)
    assert {path.suffix for path in first.written} == {".json", ".txt", ".srt", ".rttm"}
    second = runner.run(runner.probe([audio]), outputs)
    assert second.already_done
    assert second.written == ()
    assert engine(runner).asked == 1


def test_other_options_or_audio_are_refused(runner: Runner, audio: Path) -> None:
    outputs = Outputs(formats=DEFAULT_FORMATS)
    runner.run(runner.probe([audio]), outputs)
    engine(runner).option = "two"
    with pytest.raises(OutputError, match="other options"):
        runner.run(runner.probe([audio]), outputs)
    engine(runner).option = "one"
    soundfile.write(audio, np.full(16_000, 0.1), 16_000)
    with pytest.raises(OutputError, match="other audio"):
        runner.run(runner.probe([audio]), outputs)
    forced = Outputs(formats=DEFAULT_FORMATS, force=True)
    assert not runner.run(runner.probe([audio]), forced).already_done


def test_other_subtitle_options_are_refused(runner: Runner, audio: Path) -> None:
    runner.run(runner.probe([audio]), Outputs(formats=DEFAULT_FORMATS))
    narrow = Outputs(formats=DEFAULT_FORMATS, options=RenderOptions(max_line_chars=20))
    with pytest.raises(OutputError, match="other subtitle options"):
        runner.run(runner.probe([audio]), narrow)


def test_voices_that_cannot_be_named_do_not_cost_the_transcript(
    runner: Runner, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Transcript:
        raise OutputError("the store is full")

    outputs = Outputs(formats=DEFAULT_FORMATS)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "name_speakers", fails)
        with pytest.raises(OutputError, match="the store is full"):
            runner.run(runner.probe([audio]), outputs)
    files = [audio.with_suffix(f".{name}") for name in DEFAULT_FORMATS]
    assert all(path.is_file() for path in files)

    def finds(_: Recording, made: Transcript, *__: object, **___: object) -> Transcript:
        return made.renamed({"Speaker 1": "Anna"})

    monkeypatch.setattr(runner, "name_speakers", finds)
    result = runner.run(runner.probe([audio]), outputs)
    assert (result.already_done, engine(runner).asked) == (True, 1)
    assert all("Anna" in path.read_text() for path in files)
    for path in files:
        path.unlink()
    assert runner.run(runner.probe([audio]), outputs).transcript.name_of("Speaker 1") == "Anna"
    assert all("Anna" in path.read_text() for path in files)


def test_a_name_taken_back_by_hand_stays_so(
    runner: Runner, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finds(_: Recording, made: Transcript, *__: object, **___: object) -> Transcript:
        return named(made, {"Speaker 1": Match("Anna", 0.7)})

    monkeypatch.setattr(runner, "name_speakers", finds)
    for _ in range(2):
        outputs = Outputs(formats=DEFAULT_FORMATS)
        runner.run(runner.probe([audio]), outputs, names={"Speaker 1": ""})
        assert "Anna" not in audio.with_suffix(".txt").read_text()


def test_more_formats_need_no_engine(runner: Runner, audio: Path) -> None:
    runner.run(runner.probe([audio]), Outputs(formats=DEFAULT_FORMATS))
    more = runner.run(runner.probe([audio]), Outputs(formats=("json", "vtt")))
    assert [path.suffix for path in more.written] == [".vtt"]
    assert engine(runner).asked == 1


def test_names_on_a_second_run_leave_edited_files_alone(runner: Runner, audio: Path) -> None:
    outputs = Outputs(formats=DEFAULT_FORMATS)
    runner.run(runner.probe([audio]), outputs)
    edited = audio.with_suffix(".txt")
    edited.write_text("my own notes")
    wanted = Outputs(formats=(*DEFAULT_FORMATS, "vtt"))
    done = runner.run(runner.probe([audio]), wanted, names={"Speaker 1": "Anna"})
    assert edited.read_text() == "my own notes"
    assert any("talk.txt was edited" in line for line in done.transcript.warnings)
    for suffix in (".srt", ".vtt", ".rttm"):
        assert "Anna" in audio.with_suffix(suffix).read_text()
    names = json.loads(audio.with_suffix(".json").read_text())["speakers"]
    assert {row["name"] for row in names} == {"Anna", None}


def test_name_for_nobody_is_a_warning(runner: Runner, audio: Path) -> None:
    outputs = Outputs(formats=DEFAULT_FORMATS)
    done = runner.run(runner.probe([audio]), outputs, names={"Speaker 9": "Eve"})
    assert done.written
    assert any("Speaker 9" in line for line in done.transcript.warnings)


def test_foreign_file_in_the_way_is_refused(runner: Runner, audio: Path) -> None:
    audio.with_suffix(".srt").write_text("somebody's subtitles")
    with pytest.raises(OutputError, match=r"talk\.srt"):
        runner.run(runner.probe([audio]), Outputs(formats=DEFAULT_FORMATS))
    assert engine(runner).asked == 0
    assert audio.with_suffix(".srt").read_text() == "somebody's subtitles"


def test_recording_that_changes_while_it_is_read_is_refused(runner: Runner, audio: Path) -> None:
    class Slow(FakeEngine):
        def transcribe(
            self, recording: Recording, *, store: Store, progress: Progress
        ) -> Transcript:
            made = super().transcribe(recording, store=store, progress=progress)
            soundfile.write(audio, np.zeros(32_000), 16_000)
            return made

    runner.engine = Slow()
    with pytest.raises(AudioError, match="changed while it was read"):
        runner.run(runner.probe([audio]), Outputs(formats=DEFAULT_FORMATS))
    assert [path.name for path in audio.parent.iterdir()] == ["talk.wav"]


def test_forced_but_the_same_is_written_anew_without_a_model(runner: Runner, audio: Path) -> None:
    outputs = Outputs(formats=("json", "srt"))
    runner.run(runner.probe([audio]), outputs)
    forced = Outputs(
        formats=("json", "srt"),
        options=RenderOptions(speaker_labels=False),
        force=True,
        keep_same=True,
    )
    result = runner.run(runner.probe([audio]), forced)
    assert (result.already_done, engine(runner).asked) == (True, 1)
    assert "Speaker" not in audio.with_suffix(".srt").read_text()
    assert result.transcript.provenance["render_options"] == {"speaker_labels": False}
    engine(runner).option = "two"
    assert not runner.run(runner.probe([audio]), forced).already_done
    audio.with_suffix(".json").write_text("damaged")
    assert not runner.run(runner.probe([audio]), forced).already_done
    assert engine(runner).asked == 3


def test_little_memory_is_the_same_run() -> None:
    one, little = Runner.of("mono"), Runner.of("mono", little_memory=True)
    assert one.describe() == little.describe()
    assert little.threads == 1
    settings = little.engine.describe()["settings"]
    assert settings["recognizer"]["batch_size"] == 1
