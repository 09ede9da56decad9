"""Speakers of groups linked by voice: who is beside whom is never the same person."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from meetscribe.activity.clustering import Bounds
from meetscribe.engines import joint_link
from meetscribe.engines.joint_link import LocalSpeaker, link
from meetscribe.engines.joint_settings import LinkSettings

SIZE = 192
NOBODY = np.zeros((0, SIZE), dtype=np.float32), np.zeros(0, dtype=np.float32)


def unit(vector_d: np.ndarray) -> np.ndarray:
    return (vector_d / np.linalg.norm(vector_d)).astype(np.float32)


def voices(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, SIZE))
    return np.stack([unit(row) for row in rows])


def speaker(
    group: int,
    voice_d: np.ndarray,
    *,
    noise: float = 0.0,
    clean_s: float = 4.0,
    shares: tuple[float, ...] = (),
    certain: bool = True,
) -> LocalSpeaker:
    rng = np.random.default_rng(group * 7 + int(voice_d[0] * 1e6) % 1000)
    print_d = unit(voice_d + noise * rng.standard_normal(SIZE) / SIZE**0.5)
    return LocalSpeaker(group, print_d, clean_s, np.array(shares, np.float32), certain)


def partition(labels: list[int]) -> set[frozenset[int]]:
    return {
        frozenset(index for index, label in enumerate(labels) if label == one)
        for one in set(labels)
    }


def test_voices_are_found_again_over_a_meeting() -> None:
    true = voices(4)
    order = [one for group in range(30) for one in ((group % 4), (group + 1) % 4)]
    speakers = [speaker(index // 2, true[one], noise=0.8) for index, one in enumerate(order)]
    labels = link(speakers, *NOBODY, LinkSettings())
    assert partition(labels) == partition(order)


def test_two_of_one_group_are_two_people_however_alike() -> None:
    (one,) = voices(1)
    speakers = [speaker(0, one, noise=0.1), speaker(0, one, noise=0.2), speaker(1, one)]
    labels = link(speakers, *NOBODY, LinkSettings())
    assert labels[0] != labels[1]
    assert labels[2] in labels[:2]


def test_what_is_barred_stays_barred_through_others() -> None:
    (one,) = voices(1)
    speakers = [speaker(group, one, noise=0.3) for group in (0, 0, 1, 1, 2, 2)]
    labels = link(speakers, *NOBODY, LinkSettings())
    assert len(set(labels)) == 2
    assert all(labels[at] != labels[at + 1] for at in (0, 2, 4))


def test_speaking_when_the_activity_stage_says_so_counts() -> None:
    known = voices(2)
    # as like one as the other, and to neither enough
    between = unit(known[0] + known[1] + 4 * voices(1, seed=5)[0])
    speakers = [
        speaker(0, known[0], shares=(1.0, 0.0)),
        speaker(0, known[1], shares=(0.0, 1.0)),
        speaker(1, between, shares=(0.0, 1.0)),
    ]
    weights = np.array([20.0, 20.0], np.float32)
    labels = link(speakers, known, weights, LinkSettings(same_voice=0.4, agreement=0.4))
    assert labels[2] == labels[1] != labels[0]
    alone = link(speakers, known, weights, LinkSettings(same_voice=0.4, agreement=0.0))
    assert alone[2] not in alone[:2]


def test_too_little_speech_makes_no_new_person() -> None:
    one, other = voices(2)
    speakers = [
        speaker(0, one),
        speaker(1, one),
        speaker(1, voices(1, seed=9)[0], clean_s=0.3),
        speaker(2, other),
        speaker(3, voices(1, seed=8)[0], clean_s=0.4, certain=False),
    ]
    labels = link(speakers, *NOBODY, LinkSettings())
    assert len(set(labels)) == 2
    # one is in the same group, so it must be the other
    assert labels[2] == labels[3]


def test_the_count_that_is_asked_for_is_kept() -> None:
    true = voices(5)
    speakers = [speaker(group, true[group % 5], noise=0.5) for group in range(20)]
    for count in (1, 2, 3, 5):
        labels = link(speakers, *NOBODY, LinkSettings(), bounds=Bounds(count, count))
        assert len(set(labels)) == count
    together = [speaker(0, voice_d) for voice_d in true]
    assert len(set(link(together, *NOBODY, LinkSettings(), bounds=Bounds(1, 2)))) == 2
    few = [speaker(0, true[0], clean_s=0.2), speaker(0, true[1], clean_s=0.2)]
    assert len(set(link(few, *NOBODY, LinkSettings(), bounds=Bounds(1, 1)))) == 1


def test_at_least_as_many_as_asked_for() -> None:
    (one,) = voices(1)
    speakers = [speaker(group, one, noise=0.2) for group in range(6)]
    assert len(set(link(speakers, *NOBODY, LinkSettings(), bounds=Bounds(3, None)))) == 3


def test_nobody_and_one() -> None:
    assert link([], *NOBODY, LinkSettings()) == []
    assert link([speaker(0, voices(1)[0], clean_s=0.0)], *NOBODY, LinkSettings()) == [0]


@pytest.mark.parametrize("block", [8, 256])
def test_long_meetings_are_linked_in_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(joint_link, "_BLOCK", block)
    true = voices(6)
    order = [
        one
        for group in range(150)
        for one in np.random.default_rng(group).choice(6, 2, replace=False).tolist()
    ]
    speakers = [speaker(at // 2, true[one], noise=0.8) for at, one in enumerate(order)]
    began = time.process_time()
    labels = link(speakers, *NOBODY, LinkSettings())
    assert time.process_time() - began < 10
    assert partition(labels) == partition(order)
    pairs = itertools.pairwise(range(0, len(labels) + 1, 2))
    assert all(len(set(labels[a:b])) == 2 for a, b in pairs)
