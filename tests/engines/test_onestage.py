"""The one-stage engine from end to end, with an untrained adapter: that is plain Whisper."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from meetscribe import formats
from meetscribe.engines.leakage import LeakageSettings, without_copies
from meetscribe.engines.onestage import check_layout
from meetscribe.engines.onestage_models import (
    CARD,
    FILE,
    Listener,
    OnestageModels,
    resolve_adapter,
)
from meetscribe.engines.onestage_settings import OnestageEngineSettings
from meetscribe.engines.onestage_writing import Item, recognised, regions_of
from meetscribe.errors import ConfigError, MeetscribeError, NameNotFoundError, WeightsError
from meetscribe.ingest import probe
from meetscribe.models import fetch, is_cached
from meetscribe.models.whisper_weights import load_whisper
from meetscribe.onestage.adapter import SpatialWhisper, save_adapter
from meetscribe.onestage.adapter_settings import OnestageSettings
from meetscribe.onestage.alignment import Aligned
from meetscribe.onestage.decode import Heard, decode
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.model import TargetWhisper
from meetscribe.onestage.settings import TargetWhisperSettings
from meetscribe.onestage.tokens import load_vocabulary
from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import load_spec
from meetscribe.recognize import RecognizedRegion, guard
from meetscribe.spatial.embedding_inputs import SpatialEmbSettings
from meetscribe.types import (
    AudioFile,
    Layout,
    NoStore,
    Recording,
    Segment,
    Transcript,
    Turn,
    Word,
    no_progress,
)
from tests.conftest import SAMPLE, run_meetscribe
from tests.engines.stores import CountingStore

RATE_HZ = 16_000
CLIP_S = 14.0
SMALL = OnestageSettings(embedding=SpatialEmbSettings(width=32, trunk_width=32, trunk_layers=1))


def write_adapter(folder: Path, settings: OnestageSettings = SMALL) -> Path:
    """Write an adapter that was never trained."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network, _ = SpatialWhisper.load(settings, fetch("whisper-base"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(save_adapter(network, settings, {"step": 0, "scores": {}}))
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, weights_cache: Path) -> Path:
    patch = pytest.MonkeyPatch()
    patch.setenv("MEETSCRIBE_CACHE", str(weights_cache))
    made = write_adapter(tmp_path_factory.mktemp("run") / "adapter")
    patch.undo()
    return made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the first seconds of the sample on four of its microphones: two people."""
    samples_nc, rate_hz = soundfile.read(SAMPLE, stop=round(CLIP_S * RATE_HZ), dtype="float32")
    path = tmp_path_factory.mktemp("clip") / "clip.flac"
    soundfile.write(path, samples_nc[:, [0, 2, 4, 6]], rate_hz, subtype="PCM_16")
    return path


def regions_of_store(store: CountingStore) -> list[dict[str, Any]]:
    return [region for batch in store.values("onestage") for region in batch["regions"]]


def run(adapter: Path, audio: Path, store: object = None, **settings: Any) -> Transcript:
    overrides = {"model": str(adapter), **settings}
    runner = Runner("onestage", load_spec("onestage", overrides), threads=1, keep_stages=False)
    runner.store = store or NoStore()  # type: ignore[assignment]
    return runner.transcribe(runner.probe([audio]))


@pytest.mark.weights
def test_an_untrained_adapter_writes_what_plain_whisper_writes(adapter: Path, clip: Path) -> None:
    store = CountingStore()
    made = run(adapter, clip, store, language="en", leakage=None)
    assert made.provenance["engine"] == "onestage"
    assert made.provenance["models"]["adapter"]["step"] == 0
    assert made.provenance["regions"]["count"] == len(regions_of_store(store)) >= 3
    assert made.provenance["regions"]["longest_s"] <= 8.0
    assert any("4 channels at once" in line for line in made.warnings)
    assert len(made.speakers) == 2
    samples_nc, _ = soundfile.read(clip, dtype="float32")
    plain, vocabulary = TargetWhisper.load(fetch("whisper-base"), TargetWhisperSettings())
    sure = [one for one in regions_of_store(store) if one["words"] and not one["flags"]]
    assert len(sure) >= 3
    for region in sure:
        text = " ".join(word["text"] for word in region["words"])
        first, last = round(region["start"] * RATE_HZ), round(region["end"] * RATE_HZ)
        # which of the channels was the best for the speaker is not kept
        assert any(
            text == _plainly(plain, vocabulary, samples_nc[first:last, channel])
            for channel in range(4)
        )
    # every word is in the transcript once, at its time
    said = [word for one in made.utterances for word in one.words]
    assert len(said) == sum(len(region["words"]) for region in regions_of_store(store))
    for one in made.utterances:
        assert all(before.start <= after.start for before, after in pairwise(one.words))
        assert all(word.confidence is not None for word in one.words)
    for name in formats.names():
        formats.render(made, name)
    # a second run makes nothing again
    before = list(store.made)
    again = run(adapter, clip, store, language="en", leakage=None)
    assert store.made == before
    assert again.utterances == made.utterances
    # one at a time gives the same words, and needs no activity anew
    alone = run(adapter, clip, store, language="en", leakage=None, batch_size=1)
    assert [one.text for one in alone.utterances] == [one.text for one in made.utterances]
    assert store.made.count("activity") == store.made.count("places") == 1


def _plainly(plain: TargetWhisper, vocabulary: Any, samples_n: np.ndarray) -> str:
    mel = log_mel(samples_n, trailing_s=1.0)[None]
    steps = [mel.shape[-1] // 2]
    with torch.inference_mode():
        encoded = plain.encode(mel, None, steps)
    seconds = len(samples_n) / RATE_HZ
    (text,) = decode(
        plain.whisper,
        encoded,
        vocabulary,
        steps=steps,
        durations=[seconds],
        budgets=[guard.token_budget(seconds)],
        start=vocabulary.start("en", timestamps=False),
    )
    return text.text


@pytest.mark.weights
def test_the_command_line_takes_an_adapter_and_writes_every_format(
    adapter: Path, clip: Path, tmp_path: Path
) -> None:
    done = run_meetscribe(
        *("transcribe", clip, "--pipeline", "onestage", "--model", adapter.parent),
        *("-o", tmp_path, "-f", "srt,seglst,rttm,ctm", "--threads", "1", "--speakers", "2"),
    )
    assert done.returncode == 0, done.stderr
    read = formats.parse_file(tmp_path / "clip.json")
    assert read.provenance["settings"]["adapter"] == str(adapter.parent)
    assert read.language == "en"
    assert "start" in " ".join(one.text for one in read.utterances).lower()
    times = [(word.start, word.end) for one in read.utterances for word in one.words]
    assert len(times) > 20
    assert all(0 <= start <= end <= CLIP_S for start, end in times)
    assert {path.suffix for path in tmp_path.iterdir()} >= {".srt", ".rttm", ".ctm", ".json"}


@pytest.mark.weights
def test_silence_is_an_empty_transcript(adapter: Path, tmp_path: Path) -> None:
    noise_nc = 1e-4 * np.random.default_rng(0).standard_normal((2 * RATE_HZ, 2))
    soundfile.write(tmp_path / "quiet.wav", noise_nc, RATE_HZ)
    made = run(adapter, tmp_path / "quiet.wav")
    assert (made.utterances, made.turns, made.language) == ((), (), "")
    assert made.provenance["regions"]["count"] == 0


@pytest.mark.weights
def test_channels_that_the_adapter_cannot_hear_are_refused(
    adapter: Path, clip: Path, tmp_path: Path
) -> None:
    fixed = SMALL.embedding.model_copy(update={"topology": "fixed", "num_channels": 6})
    other = write_adapter(tmp_path / "fixed", SMALL.model_copy(update={"embedding": fixed}))
    with pytest.raises(ConfigError, match="4 channels, but this adapter was trained for 6"):
        run(other, clip)
    samples_nc, _ = soundfile.read(clip, dtype="float32")
    samples_nc[:, 1:] = 0.0
    soundfile.write(tmp_path / "dead.wav", samples_nc, RATE_HZ)
    with pytest.raises(ConfigError, match="1 channel of 4 can be used") as caught:
        run(adapter, tmp_path / "dead.wav")
    assert "silent" in caught.value.message
    assert "--pipeline mono" in caught.value.hint


@pytest.mark.weights
def test_a_language_that_whisper_does_not_know_is_refused_before_anything_runs(
    adapter: Path, clip: Path
) -> None:
    with pytest.raises(ConfigError, match="language 'xx'"):
        run(adapter, clip, language="xx")


@pytest.mark.parametrize(
    ("layout", "channels", "said", "hint"),
    [
        (Layout.MONO, "array", "one channel", "--pipeline mono"),
        (Layout.PER_SPEAKER, "per-speaker", "per-speaker", "--pipeline per-speaker"),
        (Layout.MIX, "mix", "mix", "--pipeline mono"),
        (Layout.ARRAY, "1", "--channels 1 is one channel", "--pipeline mono"),
    ],
)
def test_other_recordings_are_refused_with_the_pipeline_that_fits(
    layout: Layout, channels: str, said: str, hint: str
) -> None:
    number = 1 if layout is Layout.MONO else 4
    recording = Recording("meeting", (AudioFile("m.wav", RATE_HZ, 160_000, number),), layout)
    with pytest.raises(ConfigError) as caught:
        check_layout(recording, OnestageEngineSettings(channels=channels))
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_named_channels_are_taken_for_an_array() -> None:
    recording = Recording("m", (AudioFile("m.wav", RATE_HZ, 160_000, 4),), Layout.PER_SPEAKER)
    check_layout(recording, OnestageEngineSettings(channels="0,2-3"))


def test_one_channel_is_refused_on_the_command_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.zeros(RATE_HZ), RATE_HZ)
    done = run_meetscribe("transcribe", tmp_path / "one.wav", "--pipeline", "onestage")
    assert done.returncode == 2
    assert "one: one channel" in done.stderr
    assert "--pipeline mono" in done.stderr


def test_an_adapter_is_found_by_file_folder_or_training(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "adapter"
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"x")
    for given in (folder / FILE, folder, folder.parent):
        assert resolve_adapter(str(given)) == folder / FILE


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "'': no such folder"),
        ("nowhere", "'nowhere': no such folder"),
        ("small", "'small' is a model for recognition"),
        (".", f"no {FILE} in it"),
    ],
)
def test_what_is_no_adapter_is_refused(
    given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NameNotFoundError, match=said) as caught:
        resolve_adapter(given)
    assert "meetscribe train onestage" in caught.value.hint


def test_the_default_adapter_is_here_or_its_lack_is_said() -> None:
    if is_cached(CARD):
        assert resolve_adapter("default") == resolve_adapter(CARD)
        assert resolve_adapter("default").is_file()
        return
    with pytest.raises(WeightsError, match="brings no adapter") as caught:
        resolve_adapter("default")
    assert "meetscribe train onestage" in caught.value.hint


def test_a_damaged_adapter_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not safetensors")
    settings = OnestageEngineSettings(adapter=str(tmp_path))
    models = OnestageModels(settings, device="cpu", threads=1, offline=True)
    with pytest.raises(WeightsError, match="not an adapter, or damaged"):
        models.fetch(no_progress)


def test_a_whisper_that_hears_no_language_needs_to_be_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    base = TargetWhisperSettings(base=str(tmp_path))
    settings = OnestageEngineSettings(adapter="x")
    models = OnestageModels(settings, device="cpu", threads=1, offline=True)
    whole = SMALL.model_copy(update={"target": base})
    models.__dict__["adapter"] = type("Adapter", (), {"settings": whole})
    with pytest.raises(ConfigError, match="not in the layout") as caught:
        models.fetch(no_progress)
    assert "--language" in caught.value.hint


@dataclass(frozen=True)
class Noise:
    """Noise in memory."""

    seconds: float

    @property
    def duration(self) -> float:
        return self.seconds

    def read(self, start: float, end: float) -> np.ndarray:
        first, last = round(start * RATE_HZ), round(end * RATE_HZ)
        return (0.1 * np.random.default_rng(first).standard_normal(last - first)).astype(np.float32)


def test_speech_of_a_speaker_is_cut_into_regions() -> None:
    turns = [
        Turn(0.0, 6.0, "ann"), Turn(6.5, 12.0, "ann"), Turn(20.0, 20.3, "ann"),
        Turn(3.0, 4.0, "ben"), Turn(55.0, 66.0, "ben"), Turn(70.0, 71.0, "ben"),
    ]  # fmt: skip
    items = regions_of(turns, Noise(60.0), OnestageEngineSettings())
    lengths = [item.region.duration for item in items]
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths) <= 8.0
    ann = sorted(item.region for item in items if item.speaker == "ann")
    assert all(one.end <= two.start for one, two in pairwise(ann))
    # the cut is in her pause, and a short answer is heard with what is around it
    assert 6.0 <= ann[0].end == ann[1].start <= 6.5
    assert ann[-1].duration == pytest.approx(1.5)
    for turn in turns:
        for time in np.arange(turn.start + 0.01, min(turn.end, 60.0), 0.1):
            assert any(
                item.speaker == turn.speaker and item.region.start <= time < item.region.end
                for item in items
            )
    assert all(item.region.end <= 60.0 for item in items)


@pytest.fixture
def listener() -> Listener:
    folder = fetch("whisper-base")
    return Listener(None, load_vocabulary(folder, load_whisper(folder)), ())  # type: ignore[arg-type]


def heard(listener: Listener, text: str, **changes: Any) -> tuple[Heard, Aligned]:
    tokens = tuple(listener.vocabulary.encode(text))
    about = {"avg_logprob": -0.2, "no_speech": 0.0, "full": False, **changes}
    starts = np.linspace(0.3, 5.7, len(tokens) + 1)
    made = Heard(tokens, text, (), **about)
    return made, Aligned(starts, (0.9,) * len(tokens))


@pytest.mark.weights
def test_the_guard_takes_out_what_nobody_said(listener: Listener) -> None:
    item, turns = Item(Segment(10.0, 16.0), "ann"), [Turn(10.3, 15.7, "ann")]

    def words(text: str, **changes: Any) -> RecognizedRegion:
        return recognised(item, *heard(listener, text, **changes), listener, turns)

    good = words("We meet again on Monday.")
    assert [word.text for word in good.words] == ["We", "meet", "again", "on", "Monday."]
    assert good.flags == ()
    assert (good.words[0].start, good.words[0].confidence) == (pytest.approx(10.3), 0.9)
    assert all(10.0 <= word.start <= word.end <= 16.0 for word in good.words)
    invented = words("Thank you for watching.", avg_logprob=-0.9, no_speech=0.8)
    assert (invented.words, invented.flags) == ((), ())
    looped = words("and so " * 12)
    assert [word.text for word in looped.words] == ["and", "so"]
    assert looped.flags == ("unclear",)
    assert words("", avg_logprob=-0.1).words == ()


def test_words_of_two_speakers_at_the_same_time_are_left_to_one() -> None:
    def region(confidence: float) -> RecognizedRegion:
        texts = ["we", "meet", "again"]
        words = (Word(text, at, at + 0.5, confidence) for at, text in enumerate(texts))
        return RecognizedRegion(0.0, 4.0, tuple(words))

    left = without_copies({"ann": [region(0.9)], "ben": [region(0.4)]}, LeakageSettings())
    assert [len(left[name][0].words) for name in ("ann", "ben")] == [3, 0]


def test_a_recording_of_one_channel_is_probed_as_mono(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(MeetscribeError, match="one channel"):
        check_layout(probe([tmp_path / "one.wav"], layout=Layout.ARRAY), OnestageEngineSettings())
