"""Events as lines of JSON, and back."""

from __future__ import annotations

import json
from dataclasses import asdict

from meetscribe.batch.tasks import Begun, Ended, Event, Lost, Moved, Outcome

_KINDS: dict[str, type[Begun | Moved | Lost]] = {"begun": Begun, "moved": Moved, "lost": Lost}


def event_line(event: Event) -> str:
    """Give one line of ASCII, without its end.

    >>> event_line(Moved("a", "read", 0.5))
    '{"event": "moved", "name": "a", "stage": "read", "done": 0.5}'
    """
    if isinstance(event, Ended):
        made = {"name": event.name, "outcome": event.outcome.to_json()}
    else:
        made = asdict(event)
    return json.dumps({"event": type(event).__name__.lower(), **made})


def parse_event(line: str) -> Event | None:
    """Give the event of a line, None for a line that is none (a worker says it is ready).

    Raises
    ------
    TypeError, ValueError, KeyError
        If the line is no such thing.
    """
    made = json.loads(line)
    kind = made.pop("event")
    if kind == "ended":
        return Ended(made["name"], Outcome.from_json(made["outcome"]))
    return _KINDS[kind](**made) if kind in _KINDS else None
