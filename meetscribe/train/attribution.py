"""What the cards of trained models say of their data: whose speech it was, and its licence."""

from __future__ import annotations

from collections.abc import Mapping

_ATTRIBUTION = {
    "librispeech": "LibriSpeech (Panayotov et al. 2015; derived from LibriVox), CC BY 4.0",
    "vctk": "VCTK (Yamagishi, Veaux and MacDonald 2019), CC BY 4.0",
    "aishell1": "AISHELL-1 (Bu et al. 2017), Apache-2.0",
    "aishell3": "AISHELL-3 (Shi et al. 2020), Apache-2.0",
}


def speech_lines(minutes: Mapping[str, float]) -> list[str]:
    """Name corpora of read speech with their licences, a line each.

    Parameters
    ----------
    minutes : by the first folder of their paths
    """
    named: dict[str, float] = {}
    for name, spoken in minutes.items():
        named[_named(name)] = named.get(_named(name), 0.0) + spoken
    return [f"- {name}: {spoken:.0f} min" for name, spoken in named.items()]


def meeting_line(
    name: str,
    *,
    licence: str,
    reference: str,
    meetings: int,
    minutes: float,
    share: float,
    of: str,
) -> str:
    """Name a corpus of real meetings.

    Parameters
    ----------
    share : of all examples, which ``of`` names
    """
    return (
        f"- real meetings of {name} ({licence or 'see its own licence'}; {reference}): "
        f"{meetings}, {minutes:.0f} min of speech, {share:.0%} of the {of}"
    )


def _named(name: str) -> str:
    found = [text for key, text in _ATTRIBUTION.items() if name.lower().startswith(key)]
    return found[0] if found else f"{name} (see its own licence)"
