"""Streams of a long recording: the same as separating it at once, block by block, when read."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from meetscribe.errors import AudioError, NameNotFoundError, OutputError
from meetscribe.spatial import SeparatedStreams, SeparationSettings, separate
from meetscribe.spatial.dereverb import DereverbSettings
from meetscribe.spatial.mixture import MixtureSettings
from meetscribe.types import Turn
from tests.spatial.scenes import RATE, Scene, make_scene, si_sdr_db

FAST = SeparationSettings(
    dereverb=DereverbSettings(taps=3, iterations=1),
    mixture=MixtureSettings(iterations=4),
    block_s=6.0,
    context_s=1.0,
    reference=0,
)


class Reader:
    """Samples in memory as a reader of channels; remembers what was asked for."""

    def __init__(self, samples_cn: np.ndarray, promised_s: float | None = None) -> None:
        self.samples_cn = samples_cn
        self.duration = promised_s or samples_cn.shape[1] / RATE
        self.asked: list[tuple[float, float]] = []

    def read_cn(self, start: float, end: float) -> np.ndarray:
        self.asked.append((start, end))
        return self.samples_cn[:, round(start * RATE) : round(end * RATE)]


@pytest.fixture
def opened() -> Iterator[Callable[..., SeparatedStreams]]:
    """Give what opens streams; the test's end closes them."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(SeparatedStreams(*args, **options))


Opened = Callable[..., SeparatedStreams]


def turns_of(scene: Scene) -> list[Turn]:
    return [
        Turn(first / RATE, last / RATE, "AB"[source])
        for source, spans in enumerate(scene.activity)
        for first, last in spans
    ]


def long_scene(number: int) -> Scene:
    """Scenes of 6 s one after the other: seats change, as far as separation is concerned."""
    scenes = [make_scene(seed=seed) for seed in range(number)]
    length = scenes[0].num_samples
    activity = [
        [
            (first + index * length, last + index * length)
            for index, scene in enumerate(scenes)
            for first, last in scene.activity[source]
        ]
        for source in range(2)
    ]
    return Scene(
        np.concatenate([scene.samples_cn for scene in scenes], axis=1),
        np.concatenate([scene.images_kcn for scene in scenes], axis=2),
        activity,
    )


def test_one_block_is_what_separate_gives(opened: Opened) -> None:
    scene = make_scene()
    streams = opened(Reader(scene.samples_cn), turns_of(scene), FAST)
    separation = separate(torch.from_numpy(scene.samples_cn), scene.activity, FAST)
    made_n = streams.read("B", 0.0, 6.0)
    assert made_n.dtype == np.float32
    expected_n = np.zeros_like(made_n)
    for span in scene.activity[1]:
        beamformer = separation.beamformer(1, [span], reference=0)
        expected_n[span[0] : span[1]] = separation.filtered(beamformer, span).numpy()
    np.testing.assert_allclose(made_n, expected_n, atol=1e-6)


def test_blocks_are_made_when_read_and_only_once() -> None:
    scene = long_scene(3)
    reader = Reader(scene.samples_cn)
    with SeparatedStreams(reader, turns_of(scene), FAST) as streams:
        assert streams.speakers == ("A", "B")
        assert reader.asked == []
        streams.stream("A").read(13.0, 14.0)
        assert len(reader.asked) == 1
        assert reader.asked[0][0] > 9
        for speaker in streams.speakers:
            streams.stream(speaker).read(0.0, streams.duration)
        assert len(reader.asked) == 3
        assert max(end - start for start, end in reader.asked) <= 6 * 1.5 + 2


def test_every_speaker_of_every_block_is_separated(opened: Opened) -> None:
    scene = long_scene(3)
    streams = opened(Reader(scene.samples_cn), turns_of(scene), FAST)
    gains = []
    for source, speaker in enumerate("AB"):
        made_n = streams.read(speaker, 0.0, streams.duration)
        active_n = np.zeros(len(made_n), bool)
        for first, last in scene.activity[source]:
            active_n[first:last] = True
            image_n = scene.images_kn[source, first:last]
            before = si_sdr_db(scene.samples_cn[0, first:last], image_n)
            gains.append(si_sdr_db(made_n[first:last], image_n) - before)
        assert not made_n[~active_n].any()
    assert np.mean(gains) > 3


def test_reading_in_pieces_is_reading_at_once(opened: Opened) -> None:
    scene = long_scene(2)
    whole_n = opened(Reader(scene.samples_cn), turns_of(scene), FAST).read("A", 0, 12)
    streams = opened(Reader(scene.samples_cn), turns_of(scene), FAST)
    stream = streams.stream("A")
    order = [7, 2, 9, 0, 1, 3, 4, 5, 6, 8, 10, 11]
    pieces = {index: stream.read(index, index + 1) for index in order}
    made_n = np.concatenate([pieces[index] for index in range(12)])
    np.testing.assert_array_equal(made_n, whole_n)


def test_a_turn_through_a_cut_has_no_seam(opened: Opened) -> None:
    scene = make_scene(seconds=12.0)
    # one speaker all the time: the cut cannot avoid the turn
    image_cn = scene.images_kcn.sum(axis=0)
    settings = FAST.model_copy(update={"dereverb": None})
    streams = opened(Reader(image_cn), [Turn(0.0, 12.0, "A")], settings)
    made_n = streams.read("A", 0.0, 12.0)
    once = FAST.model_copy(update={"dereverb": None, "block_s": 60.0})
    expected_n = opened(Reader(image_cn), [Turn(0.0, 12.0, "A")], once).read("A", 0, 12)
    cut = len(made_n) // 2
    near = slice(cut - 2000, cut + 2000)
    assert si_sdr_db(made_n[near], expected_n[near]) > 10
    # a hole or a double part at the cut would show in the level
    assert abs(20 * np.log10(np.std(made_n[near]) / np.std(expected_n[near]))) < 2


def test_fades_add_up_to_one(opened: Opened) -> None:
    """One channel without dereverberation goes through unchanged, cuts included."""
    rng = np.random.default_rng(0)
    samples_cn = (0.1 * rng.standard_normal((1, 20 * RATE))).astype(np.float32)
    settings = FAST.model_copy(update={"dereverb": None})
    streams = opened(Reader(samples_cn), [Turn(0.0, 20.0, "A")], settings)
    np.testing.assert_allclose(streams.read("A", 0.0, 20.0), samples_cn[0], atol=1e-4)


def test_margin_lets_more_through(opened: Opened) -> None:
    rng = np.random.default_rng(0)
    samples_cn = (0.1 * rng.standard_normal((1, 6 * RATE))).astype(np.float32)
    settings = FAST.model_copy(update={"dereverb": None, "margin_s": 0.25})
    turns = [Turn(1.0, 2.0, "A"), Turn(2.3, 3.0, "A"), Turn(5.9, 6.0, "A")]
    made_n = opened(Reader(samples_cn), turns, settings).read("A", -1.0, 7.0)
    heard = np.flatnonzero(made_n) - RATE
    edges = [0.75, 3.25, 5.65, 6.0]
    expected = np.concatenate(
        [
            np.arange(int(a * RATE), int(b * RATE))
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]
    )
    np.testing.assert_array_equal(heard, expected)


def test_odd_turns_are_no_trouble(opened: Opened) -> None:
    scene = make_scene()
    turns = [
        *turns_of(scene),
        Turn(1.0, 1.0, "empty"),
        Turn(2.0, 2.001, "blink"),
        Turn(5.0, 99.0, "late"),
        Turn(50.0, 60.0, "never"),
    ]
    streams = opened(Reader(scene.samples_cn), turns, FAST)
    assert not streams.read("empty", 0, 6).any()
    assert not streams.read("never", 0, 6).any()
    assert np.flatnonzero(streams.read("blink", 0, 6)).size <= 16
    assert np.isfinite(streams.read("late", 0, 99)).all()


def test_speakers_that_are_far_away_are_not_in_the_block(opened: Opened) -> None:
    scene = long_scene(3)
    turns = turns_of(scene)
    turns = [turn if turn.start < 12 else Turn(turn.start, turn.end, "C") for turn in turns]
    streams = opened(Reader(scene.samples_cn), turns, FAST)
    assert streams.read("C", 12, 18).any()
    assert not streams.read("C", 0, 12).any()


def test_a_recording_shorter_than_promised_ends_in_silence(opened: Opened) -> None:
    scene = make_scene()
    turns = [*turns_of(scene), Turn(6.5, 8.0, "A")]
    streams = opened(Reader(scene.samples_cn, promised_s=9.0), turns, FAST)
    made_n = streams.read("A", 0.0, 9.0)
    assert made_n[:96_000].any()
    assert np.abs(made_n[97_000:]).max() < 1e-3


def test_progress_rises_to_one_over_all_blocks(opened: Opened) -> None:
    scene = long_scene(2)
    seen: list[tuple[str, float]] = []
    streams = opened(
        Reader(scene.samples_cn),
        turns_of(scene),
        FAST,
        progress=lambda stage, done: seen.append((stage, done)),
    )
    for speaker in streams.speakers:
        streams.read(speaker, 0.0, 12.0)
    shares = [done for _, done in seen]
    assert {stage for stage, _ in seen} == {"separate"}
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_threads_read_the_same(opened: Opened) -> None:
    scene = long_scene(2)
    streams = opened(Reader(scene.samples_cn), turns_of(scene), FAST)
    made: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        made[index] = streams.read("AB"[index % 2], 0.0, 12.0)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(made[0], made[2])
    np.testing.assert_array_equal(made[1], made[3])


def test_errors_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, opened: Opened
) -> None:
    scene = make_scene()
    streams = opened(Reader(scene.samples_cn), turns_of(scene), FAST)
    with pytest.raises(NameNotFoundError, match="'X'") as raised:
        streams.stream("X")
    assert raised.value.hint == "speakers: A, B"
    with pytest.raises(ValueError, match="start <= end"):
        streams.read("A", 2.0, 1.0)
    mono = opened(Reader(scene.samples_cn), turns_of(scene), FAST)
    monkeypatch.setattr(mono._reader, "read_cn", lambda *_: np.zeros(5, np.float32))
    with pytest.raises(AudioError, match="channels"):
        mono.read("A", 0.0, 1.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="scratch file"):
        streams.read("A", 0.0, 1.0)
