"""How long it will still take, from what was measured so far."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from meetscribe.batch.tasks import Session


class Estimate:
    """Remaining time of a batch.

    Lengths are known only of recordings that were opened; of others they follow from their size,
    by the mean of opened ones with the same ending. Work is counted in recorded seconds. A look
    costs the same for ten recordings and for a hundred thousand.
    """

    def __init__(self, sessions: Iterable[Session]) -> None:
        self._unopened: Counter[str] = Counter()
        for session in sessions:
            self._unopened[_ending(session)] += session.num_bytes
        self._opened: dict[str, float] = {}
        self._ended: set[str] = set()
        self._seconds: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._worked = 0.0
        self._began: float | None = None

    def opened(self, session: Session, duration: float) -> None:
        """Learn the length of a recording."""
        if self._began is None:
            self._began = time.monotonic()
        if session.name in self._opened or session.name in self._ended:
            return
        self._opened[session.name] = duration
        self._unopened[_ending(session)] -= session.num_bytes
        if session.num_bytes:
            for key in ("", _ending(session)):
                self._seconds[key] += round(1000 * duration)
                self._bytes[key] += session.num_bytes

    def ended(self, session: Session, *, worked: bool) -> None:
        """Learn that nothing is left to do for a recording, and whether that took work."""
        if session.name in self._opened:
            duration = self._opened.pop(session.name)
            self._worked += duration if worked else 0.0
        elif session.name not in self._ended:
            self._unopened[_ending(session)] -= session.num_bytes
        self._ended.add(session.name)

    @property
    def speed(self) -> float:
        """Recorded seconds per second of all workers together, 0 while unknown."""
        if self._began is None or not self._worked:
            return 0.0
        return self._worked / max(time.monotonic() - self._began, 1e-3)

    def left_s(self, in_hand: Mapping[str, float]) -> float | None:
        """Give the seconds left, None while unknown.

        ``in_hand`` has the share that is done of recordings being worked on.
        """
        begun = sum(share * self._opened.get(name, 0.0) for name, share in in_hand.items())
        if self._began is None or self._worked + begun <= 0:
            return None
        speed = (self._worked + begun) / max(time.monotonic() - self._began, 1e-3)
        total = sum(self._opened.values())
        total += sum(size * self._per_byte(ending) for ending, size in self._unopened.items())
        return max(0.0, total - begun) / speed

    def _per_byte(self, ending: str) -> float:
        key = ending if self._bytes[ending] else ""
        return self._seconds[key] / 1000 / max(self._bytes[key], 1)


def _ending(session: Session) -> str:
    return PurePosixPath(session.sources[0]).suffix.lower() or "none"
