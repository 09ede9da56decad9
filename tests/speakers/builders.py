"""Voices, people and transcripts without a model."""

from __future__ import annotations

import numpy as np

from meetscribe.speakers.matching import Person
from meetscribe.speakers.voices import Voice
from meetscribe.types import Transcript, Turn, Utterance

SIZE = 192


def direction(number: int) -> np.ndarray:
    """Give the way in which person ``number`` differs from all others: unit length."""
    return np.linalg.qr(np.random.default_rng(0).standard_normal((SIZE, 40)))[0][:, number]


def voice(number: int, *, change: int = 0, like: float = 0.9, seconds: float = 20.0) -> Voice:
    """Give a voice of a person; two with different changes have the cosine ``like`` squared."""
    noise = np.linalg.qr(
        np.column_stack(
            [
                *[direction(one) for one in range(40)],
                np.random.default_rng(1000 + 50 * number + change).standard_normal(SIZE),
            ]
        )
    )[0][:, -1]
    print_d = like * direction(number) + np.sqrt(1 - like**2) * noise
    return Voice(tuple(round(float(value), 6) for value in print_d), seconds)


def person(name: str, number: int, changes: int = 1) -> Person:
    return Person(name, tuple(voice(number, change=30 + one) for one in range(changes)))


def transcript(session: str, *labels: str) -> Transcript:
    """Give a transcript in which each label says a sentence of 4 s, one after the other."""
    return Transcript(
        session_id=session,
        utterances=tuple(
            Utterance(label, 5.0 * at, 5.0 * at + 4, f"sentence {at}.")
            for at, label in enumerate(labels)
        ),
        turns=tuple(Turn(5.0 * at, 5.0 * at + 4, label) for at, label in enumerate(labels)),
        language="en",
        duration=5.0 * len(labels),
        provenance={"run_hash": session},
    )
