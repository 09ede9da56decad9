"""What ``pipelines/*.yaml`` may say, and how it becomes an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Self, cast

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from meetscribe import resources
from meetscribe.config import Settings, build, read
from meetscribe.engines import Engine
from meetscribe.engines.joint_settings import JointSettings
from meetscribe.engines.meeting_settings import MeetingSettings
from meetscribe.engines.onestage_settings import OnestageEngineSettings
from meetscribe.engines.settings import CascadeSettings
from meetscribe.errors import ConfigError

_WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "cascade": {"model": "recognizer.model"},
        "joint": {},
        "onestage": {"model": "adapter"},
    }
)
"""Engine -> where a word of the command line is not the name of the setting."""
_ALONE_S = 0.1
"""Of sound in a batch: no two groups fit."""


class PipelineSpec(Settings):
    """One pipeline file: one engine and its settings."""

    schema_version: Literal[1] = Field(1, alias="schema")
    summary: str = ""
    engine: Literal["cascade", "joint", "onestage"] = "cascade"
    cascade: CascadeSettings = CascadeSettings()
    joint: JointSettings = JointSettings()
    onestage: OnestageEngineSettings = OnestageEngineSettings()

    @model_validator(mode="after")
    def _one_engine(self) -> Self:
        strangers = (self.model_fields_set & _WORDS.keys()) - {self.engine}
        if strangers:
            raise ValueError(f"settings of {min(strangers)}, but the engine is {self.engine}")
        return self

    @model_serializer(mode="wrap")
    def _without_other_engines(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        made: dict[str, Any] = handler(self)
        return {
            key: value for key, value in made.items() if key == self.engine or key not in _WORDS
        }

    @property
    def settings(self) -> MeetingSettings:
        """Settings of the engine that is named."""
        return cast("MeetingSettings", getattr(self, self.engine))

    @property
    def model(self) -> str:
        """The model that hears words, as the settings name it."""
        return {
            "cascade": self.cascade.recognizer.model,
            "joint": self.joint.model,
            "onestage": self.onestage.adapter,
        }[self.engine]


def load_spec(name: str, overrides: Mapping[str, Any] | None = None) -> PipelineSpec:
    """Read a pipeline by name or path, with options of the command line laid over it.

    ``overrides`` has dotted keys (``{"activity.step_s": 0.5}``) or words of the command line, such
    as ``model``, which each engine understands in its way; None is no option.

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
        _lay_over(settings, _WORDS[spec.engine].get(key, key), value)
    try:
        laid_over = build(type(spec.settings), settings, where="options")
    except ConfigError as error:
        hint = error.hint or "`meetscribe transcribe --help` says what each option takes"
        raise ConfigError(error.message, hint=hint) from error
    return spec.model_copy(update={spec.engine: laid_over})


def in_little_memory(spec: PipelineSpec) -> PipelineSpec:
    """Give the same pipeline with one piece of speech worked on at a time."""
    if spec.engine == "joint":
        decoding = spec.joint.decoding.model_copy(update={"batch_s": _ALONE_S})
        return spec.model_copy(
            update={"joint": spec.joint.model_copy(update={"decoding": decoding})}
        )
    if spec.engine == "onestage":
        onestage = spec.onestage.model_copy(update={"batch_size": 1})
        return spec.model_copy(update={"onestage": onestage})
    recognizer = spec.cascade.recognizer.model_copy(update={"batch_size": 1})
    cascade = spec.cascade.model_copy(update={"recognizer": recognizer})
    return spec.model_copy(update={"cascade": cascade})


def make_engine(spec: PipelineSpec, *, device: str, threads: int, offline: bool) -> Engine:
    """Make the engine that a pipeline names; models load when they are first needed."""
    make = _ENGINES[spec.engine]
    return make(spec, device=device, threads=threads, offline=offline)


def _cascade(spec: PipelineSpec, *, device: str, threads: int, offline: bool) -> Engine:
    from meetscribe.engines.cascade import CascadeEngine

    return CascadeEngine(spec.cascade, device=device, threads=threads, offline=offline)


def _joint(spec: PipelineSpec, *, device: str, threads: int, offline: bool) -> Engine:
    from meetscribe.engines.joint import JointEngine

    return JointEngine(spec.joint, device=device, threads=threads, offline=offline)


def _onestage(spec: PipelineSpec, *, device: str, threads: int, offline: bool) -> Engine:
    from meetscribe.engines.onestage import OnestageEngine

    return OnestageEngine(spec.onestage, device=device, threads=threads, offline=offline)


_ENGINES: Mapping[str, Callable[..., Engine]] = MappingProxyType(
    {"cascade": _cascade, "joint": _joint, "onestage": _onestage}
)
"""An engine's code is imported when one is made."""


def _lay_over(mapping: dict[str, Any], dotted: str, value: object) -> None:
    *groups, key = dotted.split(".")
    here = mapping
    for group in groups:
        inner = here.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{group}: expected a mapping, found {type(inner).__name__}")
        here = inner
    here[key] = value
