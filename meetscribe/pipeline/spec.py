"""What ``pipelines/*.yaml`` may say, and how it becomes an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from meetscribe import resources
from meetscribe.config import Settings, build, read
from meetscribe.engines import Engine
from meetscribe.engines.settings import CascadeSettings
from meetscribe.errors import ConfigError


class PipelineSpec(Settings):
    """One pipeline file: one engine and its settings."""

    schema_version: Literal[1] = Field(1, alias="schema")
    summary: str = ""
    engine: Literal["cascade"] = "cascade"
    cascade: CascadeSettings = CascadeSettings()


def load_spec(name: str, overrides: Mapping[str, Any] | None = None) -> PipelineSpec:
    """Read a pipeline by name or path, with options of the command line laid over it.

    ``overrides`` has dotted keys: ``{"recognizer.model": "whisper-small"}``; None is no option.

    Raises
    ------
    NameNotFoundError, ConfigError
        If there is no such pipeline, or it or an option does not fit.
    """
    path = resources.find("pipelines", name)
    mapping = read(path)
    spec = build(PipelineSpec, mapping, where=path.name)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    if not given:
        return spec
    # built apart from the file, so that an error names what the person has typed
    settings = mapping.setdefault(spec.engine, {})
    for key, value in given.items():
        _lay_over(settings, key, value)
    try:
        laid_over = build(type(getattr(spec, spec.engine)), settings, where="options")
    except ConfigError as error:
        hint = error.hint or "`meetscribe transcribe --help` says what each option takes"
        raise ConfigError(error.message, hint=hint) from error
    return spec.model_copy(update={spec.engine: laid_over})


def make_engine(spec: PipelineSpec, *, device: str, threads: int, offline: bool) -> Engine:
    """Make the engine that a pipeline names; models load when they are first needed."""
    from meetscribe.engines.cascade import CascadeEngine

    return CascadeEngine(spec.cascade, device=device, threads=threads, offline=offline)


def _lay_over(mapping: dict[str, Any], dotted: str, value: object) -> None:
    *groups, key = dotted.split(".")
    here = mapping
    for group in groups:
        inner = here.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{group}: expected a mapping, found {type(inner).__name__}")
        here = inner
    here[key] = value
