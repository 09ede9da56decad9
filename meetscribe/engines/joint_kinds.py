"""The kinds of joint model that the engine can run, behind one small interface.

llm        a language model that listens, in TagSpeech's layout   (joint_llm)
whisper    Whisper that writes who said what and when             (joint_whisper)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines.joint_settings import JointSettings
from meetscribe.joint.parsed import Fault, Parsed, Repair
from meetscribe.types import Progress, Utterance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from meetscribe.joint.spatial_stream import Clip as Heard
    from meetscribe.spatial.solo import SoloProfile

_BASE_TOKENS = 100
"""For tags and the first turn, however short a group is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote about a clip.

    Parameters
    ----------
    parsed : what it says; times as written, from the start of the clip
    num_tokens : how many were written
    full : it ran out of tokens, or was made to end for want of them
    """

    parsed: Parsed
    num_tokens: int
    full: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """What a model is to write about.

    Parameters
    ----------
    samples_n : float32, shape (N,), 16 kHz
    duration : seconds that times may lie in; a short clip is heard with some of what follows it
    budget : most tokens of the answer
    samples_cn : float32, shape (C, N), for a model that hears places: all channels of that time
    places : of the speakers, in order of first appearance; see ``ArrayClip``
    """

    samples_n: NDArray[np.float32]
    duration: float
    budget: int
    samples_cn: NDArray[np.float32] | None = None
    places: tuple[SoloProfile | None, ...] = ()

    def heard(self) -> Heard:
        """Give it as models take it."""
        import torch

        samples_n = torch.from_numpy(self.samples_n)
        if self.samples_cn is None:
            return samples_n
        from meetscribe.joint.spatial_stream import ArrayClip

        return ArrayClip(samples_n, torch.from_numpy(self.samples_cn), self.places)


class JointKind(ABC):
    """A joint model on disk, loaded when it is needed.

    Parameters
    ----------
    path : its folder, or the weight file in one
    device : as torch names it
    offline : fetch nothing
    """

    def __init__(self, path: Path, *, device: str, offline: bool) -> None:
        self.path = path
        self.device = device
        self.offline = offline

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.path if self.path.is_dir() else self.path.parent

    @abstractmethod
    def check(self) -> None:
        """Refuse what is no whole model of this kind; its tensors are checked when it is loaded.

        Raises
        ------
        ModelError, ConfigError
            With what is wrong or missing.
        """

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """Other models that it is made of, by their names in the catalogue."""

    @property
    @abstractmethod
    def hears_places(self) -> bool:
        """Whether it has a stream of places, and so needs clips of arrays."""

    @abstractmethod
    def fetch(self, settings: JointSettings, progress: Progress) -> None:
        """Have these on disk.

        Raises
        ------
        ModelError
            If one cannot be had.
        ConfigError
            If it does not know the language that was asked for.
        """

    @abstractmethod
    def longest_s(self, settings: JointSettings) -> float:
        """Give the seconds of the longest group that it can hear, and write about.

        Raises
        ------
        ModelError
            If that is shorter than the shortest group.
        """

    @abstractmethod
    def write(self, clips: Sequence[Clip], settings: JointSettings) -> list[Answer]:
        """Write about a batch of clips of similar length."""


def budget(seconds: float, settings: JointSettings) -> int:
    """Give the tokens that may be written about so long a group.

    >>> budget(30.0, JointSettings()), budget(1.0, JointSettings())
    (1060, 132)
    """
    given = settings.decoding.max_new_tokens
    return given or _BASE_TOKENS + math.ceil(settings.decoding.tokens_per_s * seconds)


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Give an answer as plain lists and mappings."""
    parsed = answer.parsed
    turns = zip(parsed.utterances, parsed.genders, strict=True)
    return {
        "turns": [[one.speaker, one.start, one.end, one.text, gender] for one, gender in turns],
        "repairs": [[str(repair.fault), repair.place] for repair in parsed.repairs],
        "num_tokens": answer.num_tokens,
        "full": answer.full,
    }


def answer_from_json(made: dict[str, Any]) -> Answer:
    """Give back what ``answer_to_json`` was given."""
    turns = [(Utterance(*turn), gender) for *turn, gender in made["turns"]]
    repairs = [Repair(Fault(fault), place) for fault, place in made["repairs"]]
    return Answer(Parsed.of(turns, repairs), made["num_tokens"], made["full"])
