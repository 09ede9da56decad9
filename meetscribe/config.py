"""Strict YAML to typed settings: an unknown key is an error that names the near one.

Every settings class of meetscribe derives from ``Settings``; YAML files state only what differs
from the defaults in those classes.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from meetscribe.errors import ConfigError


class Settings(BaseModel):
    """A frozen group of options; unknown names are refused, numbers are not made from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


S = TypeVar("S", bound=BaseModel)


def build(cls: type[S], mapping: Mapping[str, Any], *, where: str) -> S:
    """Make settings from a mapping.

    Raises
    ------
    ConfigError
        With the place inside ``where``, what was found and, for an unknown key, near names.
    """
    try:
        # JSON mode lets YAML lists fill tuples and strings fill enums, and nothing else
        return cls.model_validate_json(json.dumps(mapping), strict=True)
    except ValidationError as error:
        raise _config_error(cls, error, where) from error
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    ConfigError
        If it cannot be read, is not YAML, or holds something else.
    """
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path}: expected a mapping, found {type(mapping).__name__}")
    return mapping


def load(cls: type[S], path: Path) -> S:
    """Read a YAML file into settings.

    Raises
    ------
    ConfigError
        If it cannot be read, is not YAML, or does not fit.
    """
    return build(cls, read(path), where=path.name)


def config_hash(*parts: Any) -> str:  # noqa: ANN401 - settings and plain values
    """Give a short hash of settings and plain values, equal for equal meaning."""
    plain = [
        part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts
    ]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _config_error(cls: type[BaseModel], error: ValidationError, where: str) -> ConfigError:
    first = error.errors()[0]
    place = ".".join([where, *(str(part) for part in first["loc"][:-1])])
    key = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(cls, first["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return ConfigError(f"{place}: unknown key '{key}'", hint=hint)
    if first["type"] == "value_error":
        # our own checks say themselves what was found
        return ConfigError(f"{': '.join(filter(None, (place, key)))}: {first['ctx']['error']}")
    return ConfigError(f"{place}: {key}: {first['msg']} (found {first['input']!r})")


def _fields_at(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    here: Any = cls
    for part in loc:
        fields = getattr(here, "model_fields", {})
        if part in fields:
            here = fields[part].annotation
    return sorted(getattr(here, "model_fields", {}))
