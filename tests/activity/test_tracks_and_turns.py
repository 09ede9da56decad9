from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.activity import segmentation, turns
from meetscribe.activity.segmentation import WINDOW_FRAMES, Windows, window_starts
from meetscribe.activity.tracks import Track, stitch
from meetscribe.activity.units import Unit, find_units
from meetscribe.types import Turn


def windows_of(active_gs: np.ndarray, *, step: int = 59, seed: int = 0) -> Windows:
    """Perfect windows over a known activity, with the local speakers in random order."""
    rng = np.random.default_rng(seed)
    num = len(active_gs)
    starts = list(range(0, num - WINDOW_FRAMES + 1, step))
    rows = []
    for start in starts:
        piece = np.zeros((WINDOW_FRAMES, 3), np.float16)
        order = rng.permutation(3)[: active_gs.shape[1]]
        piece[:, order] = active_gs[start : start + WINDOW_FRAMES]
        rows.append(piece)
    return Windows(np.array(starts), np.stack(rows), starts[-1] + WINDOW_FRAMES)


def two_speakers() -> np.ndarray:
    active = np.zeros((WINDOW_FRAMES + 59 * 20, 2), np.float32)
    active[100:900, 0] = 1
    active[800:1500, 1] = 1
    return active


def test_local_speakers_in_any_order_become_one_track_each():
    active = two_speakers()
    found = stitch(windows_of(active), agreement=0.3)
    assert len(found) == 2
    for track in found:
        whole = track.over(0, len(active))
        assert any(np.allclose(whole, active[:, k]) for k in range(2))


def test_units_are_clean_and_cover_their_stretch():
    active = two_speakers()
    windows = windows_of(active)
    found = find_units(
        windows, stitch(windows, agreement=0.3), unit_frames=89, hop_frames=30, shortest_frames=18
    )
    assert all(unit.clean and unit.num_frames <= 89 for unit in found)
    covered = np.zeros(len(active), bool)
    for unit in found:
        covered[unit.start : unit.end] = True
    np.testing.assert_array_equal(covered, active.sum(axis=1) == 1)


def test_a_track_that_is_never_alone_gives_one_unit_that_is_not_clean():
    active = np.ones((WINDOW_FRAMES, 2), np.float32)
    active[:200, 1] = active[400:, 1] = 0
    windows = windows_of(active)
    found = find_units(
        windows, stitch(windows, agreement=0.3), unit_frames=89, hop_frames=30, shortest_frames=18
    )
    assert [unit.clean for unit in found].count(False) == 1


@given(st.integers(1, 16_000 * 100), st.integers(1, 300))
def test_windows_cover_every_whole_frame(num_samples, step):
    starts = window_starts(num_samples, step)
    assert starts[0] == 0
    assert all(0 < b - a <= step for a, b in pairwise(starts))
    frames = segmentation.count_frames(num_samples)
    assert starts[-1] + min(frames, WINDOW_FRAMES) >= frames - 1


def test_each_frame_of_a_track_goes_to_the_nearest_unit():
    speakers = np.zeros((100, 2), np.float32)
    track = Track(10, np.ones(80, np.float32))
    turns.add_track(speakers, track, {Unit(0, 20, 40): 0, Unit(0, 60, 80): 1})
    np.testing.assert_array_equal(np.flatnonzero(speakers[:, 0]), np.arange(10, 50))
    np.testing.assert_array_equal(np.flatnonzero(speakers[:, 1]), np.arange(50, 90))


def test_overlapping_turns_keep_both_speakers_and_exclusive_ones_the_likelier():
    speakers = np.zeros((300, 2), np.float32)
    speakers[:200, 0] = 0.9
    speakers[100:, 1] = 0.8
    options = {"threshold": 0.5, "shortest_turn_s": 0.0, "shortest_pause_s": 0.0}
    both = turns.overlapping_turns(speakers, ["a", "b"], 5.2, **options)
    assert [(turn.speaker, turn.start == 0.0, turn.end == 5.2) for turn in both] == [
        ("a", True, False),
        ("b", False, True),
    ]
    assert both[0].end > both[1].start
    one = turns.exclusive_turns(speakers, both, ["a", "b"], 5.2)
    assert [turn.speaker for turn in one] == ["a", "b"]
    assert one[0].end == one[1].start == both[0].end


@pytest.mark.parametrize(("pause", "expected"), [(0.0, 2), (0.2, 1)])
def test_short_pauses_are_bridged_when_asked(pause, expected):
    speakers = np.ones((100, 1), np.float32)
    speakers[50:58] = 0
    found = turns.overlapping_turns(
        speakers, ["a"], 1.7, threshold=0.5, shortest_turn_s=0.0, shortest_pause_s=pause
    )
    assert len(found) == expected


@given(st.lists(st.booleans(), max_size=60))
def test_runs_say_where_it_is_true(values):
    active = np.array(values, dtype=bool)
    again = np.zeros(len(values), dtype=bool)
    for first, last in turns.active_runs(active):
        again[first:last] = True
    np.testing.assert_array_equal(active, again)


def test_a_turn_never_ends_after_the_signal():
    assert turns.as_turns([(0, 10)], "a", 10, 0.1) == [Turn(0.0, 0.1, "a")]
