"""Which sessions are in which split: the official lists, from ``configs/evaluate/corpora``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Self

from pydantic import model_validator

from meetscribe.config import Settings, load
from meetscribe.evaluate.corpora.manifest import CorpusSession
from meetscribe.resources import find

_SERIES = re.compile(r"([A-Z]{2}\d{4})([a-z]+)")
_KIND = "configs/evaluate/corpora"


class CorpusLists(Settings):
    """The partitions of a corpus: partition -> split -> sessions.

    The meetings of a series may be written as one: ``ES2002abcd``.
    """

    summary: str
    default_partition: str
    partitions: dict[str, dict[str, tuple[str, ...]]]

    @model_validator(mode="after")
    def _is_a_partition(self) -> Self:
        if self.default_partition not in self.partitions:
            raise ValueError(f"no partition '{self.default_partition}'")
        for partition in self.partitions:
            sessions = [name for names in self.splits_of(partition).values() for name in names]
            twice = {name for name in sessions if sessions.count(name) > 1}
            if twice:
                raise ValueError(f"partition '{partition}' has {min(twice)} twice")
        return self

    def splits_of(self, partition: str) -> dict[str, tuple[str, ...]]:
        """Give the sessions of every split of a partition."""
        return {
            split: tuple(name for entry in entries for name in _expanded(entry))
            for split, entries in self.partitions[partition].items()
        }

    def places(self) -> dict[str, dict[str, str]]:
        """Give for each session its split in every partition that has it."""
        found: dict[str, dict[str, str]] = {}
        for partition in self.partitions:
            for split, names in self.splits_of(partition).items():
                for name in names:
                    found.setdefault(name, {})[partition] = split
        return found

    def missing(self, there: Collection[str]) -> Iterator[tuple[str, tuple[str, ...], int]]:
        """Name what is missing of the default partition's splits of which something is there.

        A split that was not downloaded at all is not missing.

        Yields
        ------
        split, the sessions missing, number of sessions in the split
        """
        for split, names in self.splits_of(self.default_partition).items():
            missing = tuple(name for name in names if name not in there)
            if 0 < len(missing) < len(names):
                yield split, missing, len(names)


def read_lists(corpus: str) -> CorpusLists:
    """Read the lists of a corpus that meetscribe knows: ``ami`` or ``alimeeting``.

    >>> [len(names) for names in read_lists("ami").splits_of("full-corpus-asr").values()]
    [136, 18, 16]
    """
    return load(CorpusLists, find(_KIND, corpus))


def _expanded(entry: str) -> Iterator[str]:
    series = _SERIES.fullmatch(entry)
    if series is None:
        yield entry
    else:
        yield from (series[1] + letter for letter in series[2])


def missing_audio(sessions: Sequence[CorpusSession], lists: CorpusLists) -> Iterator[str]:
    """Name the sessions without audio of a condition that others of their split have.

    Yields
    ------
    one line for a split and the conditions that lack the same sessions
    """
    conditions = dict.fromkeys(name for session in sessions for name in session.audio)
    prepared = {session.session_id for session in sessions}
    gaps: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for condition in conditions:
        having = {session.session_id for session in sessions if condition in session.audio}
        for split, missing, _ in lists.missing(having):
            silent = tuple(name for name in missing if name in prepared)
            if silent:
                gaps.setdefault((split, silent), []).append(condition)
    for (split, silent), names in gaps.items():
        yield f"{split}: no audio for {', '.join(names)} of {len(silent)}: {named(silent)}"


def named(names: Sequence[str], most: int = 20) -> str:
    """List names for a message.

    >>> named(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
