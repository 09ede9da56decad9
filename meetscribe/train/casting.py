"""Who takes part in a meeting: speakers who have enough to say for it.

Utterances are counted by the lengths that the table has; they are heard later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from meetscribe.errors import ConfigError
from meetscribe.train.settings import SimulationSettings
from meetscribe.train.speech import Reading

EDGE_SILENCE_S = 0.6
"""What read utterances have of silence at their ends, about."""

_SPARE_S = 10.0
_LEAST_SHARE = 0.5
"""The quietest of four has 14 % of the talk in AMI, about half of an even share."""
_TRIES = 200

_Voices = Mapping[str, list[Reading]]


def check_speakers(readings: Sequence[Reading], settings: SimulationSettings) -> None:
    """Refuse settings for whose largest meeting there are not speakers enough.

    Raises
    ------
    ConfigError
        If there are too few speakers, or their utterances do not fill the meeting.
    """
    _candidates(readings, settings.speakers[1], settings)


def choose_speakers(
    readings: Sequence[Reading], settings: SimulationSettings, rng: np.random.Generator
) -> dict[str, list[Reading]]:
    """Draw the people of a meeting: all of one language, with enough to say between them.

    Raises
    ------
    ConfigError
        If there are too few speakers, or their utterances do not fill the meeting.
    """
    number = int(rng.integers(settings.speakers[0], settings.speakers[1] + 1))
    candidates = _candidates(readings, number, settings)
    weights = np.array([len(able) for able in candidates.values()])
    language = list(candidates)[rng.choice(len(candidates), p=weights / weights.sum())]
    able = candidates[language]
    names = sorted(able)
    for _ in range(_TRIES):
        picked = [names[index] for index in rng.choice(len(names), number, replace=False)]
        enough = sum(_seconds(able[name]) for name in picked) >= _needed_s(settings)
        if settings.repeat or enough:
            return {name: able[name] for name in picked}
    richest = sorted(names, key=lambda name: (-_seconds(able[name]), name))[:number]
    return {name: able[name] for name in richest}


def _candidates(
    readings: Sequence[Reading], number: int, settings: SimulationSettings
) -> dict[str, _Voices]:
    """Give the speakers who may take part, by language; at least ``number`` in each."""
    languages: dict[str, dict[str, list[Reading]]] = {}
    for reading in readings:
        languages.setdefault(reading.language, {}).setdefault(reading.speaker, []).append(reading)
    found = {language: _able(languages[language], number, settings) for language in languages}
    fitting = {language: able for language, able in sorted(found.items()) if len(able) >= number}
    if not fitting:
        raise _too_few(languages, number, settings)
    return fitting


def _seconds(readings: Sequence[Reading]) -> float:
    return sum(max(0.0, reading.duration - EDGE_SILENCE_S) for reading in readings)


def _needed_s(settings: SimulationSettings) -> float:
    """Give the seconds of utterances that fill a meeting, all voices together."""
    return 60 * settings.minutes * (1 + settings.overlap[1]) + _SPARE_S


def _able(voices: _Voices, number: int, settings: SimulationSettings) -> _Voices:
    """Give the speakers who have enough to say; none if the richest do not fill the meeting."""
    if settings.repeat:
        return voices
    needed = _needed_s(settings)
    if sum(sorted(map(_seconds, voices.values()), reverse=True)[:number]) < needed:
        return {}
    least = needed / number * _LEAST_SHARE
    return {name: own for name, own in voices.items() if _seconds(own) >= least}


def _too_few(
    languages: Mapping[str, _Voices], number: int, settings: SimulationSettings
) -> ConfigError:
    most = max(map(len, languages.values()), default=0)
    if most < number:
        one = " of one language" if len(languages) > 1 else ""
        return ConfigError(
            f"{most} speakers{one} in the table, expected at least {number}",
            hint="ask for fewer --speakers, or give a table with more",
        )
    return ConfigError(
        f"too few speakers with enough to say: {number} of them need {_needed_s(settings):.0f} s "
        f"of utterances for {settings.minutes:g} minutes with up to {settings.overlap[1]:.0%} "
        "overlap, and each at least half of an even share of them",
        hint="ask for fewer --minutes or --speakers, or allow --repeat",
    )
