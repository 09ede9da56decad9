"""Reading JSON strictly: every mistake is named with the file and the place inside it."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection
from typing import Any, NoReturn

from meetscribe.errors import FormatError


def load_json(text: str, path: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Read JSON; NaN and Infinity, which JSON does not have, are refused.

    Raises
    ------
    FormatError
        With path, line and column.
    """
    name = path or "text"

    def refuse(constant: str) -> NoReturn:
        raise FormatError(f"{name}: {constant} is not a JSON number")

    try:
        return json.loads(text.removeprefix("\ufeff"), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{name}:{error.lineno}: not JSON: {error.msg} (column {error.colno})"
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deep; a number of too many digits
        raise FormatError(f"{name}: not readable JSON: {error}") from error


class Reader:
    """A JSON object whose keys are read one by one, each checked.

    Parameters
    ----------
    item : what ought to be an object
    path : the file
    here : the place of the object in it, "" for the whole

    Raises
    ------
    FormatError
        By every method, if the key is missing or of another kind.
    """

    def __init__(self, item: Any, path: str, here: str = "") -> None:  # noqa: ANN401
        self._path = path
        self._here = here
        if not isinstance(item, dict):
            self._fail("", f"found {_kind(item)}, expected an object")
        self._item: dict[str, Any] = item

    def known_keys(self, known: Collection[str]) -> None:
        """Refuse keys that nobody reads, for they would be lost when the file is written again."""
        for key in self._item:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
                self._fail("", f"unknown key '{key}'", hint)

    def value(self, key: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """Give what is under a key."""
        if key not in self._item:
            self._fail("", f"key '{key}' is missing")
        return self._item[key]

    def text(self, key: str) -> str:
        """Give a string."""
        value = self.value(key)
        if not isinstance(value, str):
            self._fail(key, f"found {_kind(value)}, expected a string")
        return value

    def label(self, key: str) -> str:
        """Give a string, or a whole number as one."""
        value = self.value(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(key)

    def number(self, key: str) -> float:
        """Give a finite number of at least 0."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._fail(key, f"found {_kind(value)}, expected a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not 0 <= number < math.inf:
            self._fail(key, f"found {value!r:.20}, expected a number of 0 or more")
        return number

    def number_or_null(self, key: str) -> float | None:
        """Give a number, or None for null."""
        return None if self.value(key) is None else self.number(key)

    def text_or_null(self, key: str) -> str | None:
        """Give a string, or None for null."""
        return None if self.value(key) is None else self.text(key)

    def span(self, start_key: str, end_key: str) -> tuple[float, float]:
        """Give a start and an end that is not before it."""
        start, end = self.number(start_key), self.number(end_key)
        if end < start:
            self._fail(end_key, f"{end} is before {start_key} {start}")
        return start, end

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of strings."""
        items = self._list(key)
        if not all(isinstance(item, str) for item in items):
            self._fail(key, "expected a list of strings")
        return tuple(items)

    def objects(self, key: str) -> list[Reader]:
        """Give a list of objects, each with its place."""
        inside = f"{self._here}." if self._here else ""
        return [
            Reader(item, self._path, f"{inside}{key}[{number}]")
            for number, item in enumerate(self._list(key))
        ]

    def mapping(self, key: str) -> dict[str, Any]:
        """Give an object as it is."""
        value = self.value(key)
        if not isinstance(value, dict):
            self._fail(key, f"found {_kind(value)}, expected an object")
        return value

    def check_schema(self, expected: str) -> None:
        """Refuse content of another schema, or of none.

        Raises
        ------
        FormatError
            With path and what was found.
        """
        schema = self.value("schema")
        if schema != expected:
            self.fail(
                "schema",
                f"found {schema!r:.60}, expected '{expected}'",
                "it was written by another version of meetscribe, or is something else",
            )

    def fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        """Raise the error that a caller found at a key."""
        self._fail(key, problem, hint)

    def _list(self, key: str) -> list[Any]:
        value = self.value(key)
        if not isinstance(value, list):
            self._fail(key, f"found {_kind(value)}, expected a list")
        return value

    def _fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        where = ".".join(part for part in (self._here, key) if part)
        place = f"{self._path or 'text'}: {where}" if where else self._path or "text"
        raise FormatError(f"{place}: {problem}", hint=hint)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
