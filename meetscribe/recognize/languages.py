"""What is particular to a language: the line before a piece, and how far to trust its detection.

Whisper learnt from subtitles, which leave out hesitations, repetitions and short answers; after a
line of spontaneous speech it writes them, as a verbatim transcript does. The lines name nothing
and nobody.
"""

from __future__ import annotations

_SPONTANEOUS = {
    "en": "Uh, so, um, yeah. Mm-hmm. Okay, right, so, I I mean, we, we, uh, you know,",
    "zh": "嗯，对，好的。就是说，那个，",
}

_LEARNT = (
    "ar bg ca cs da de el en es fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk "
    "sl sr sv ta th tr uk ur vi yue zh"
)
"""Languages with dozens of hours or more of transcribed speech in Whisper's training, or many
speakers (Radford et al. 2022, arXiv:2212.04356, appendix E)."""
_LITTLE_LEARNT_PRIOR = 0.2


def language_prior(code: str) -> float:
    """Give what a detected language weighs.

    Whisper takes unclear English for Welsh, Maori, Latin or Nynorsk, of which it learnt next to
    nothing, and which it hears correctly almost never.
    """
    return 1.0 if code in _LEARNT.split() else _LITTLE_LEARNT_PRIOR


def prompt_for(language: str, setting: str) -> str:
    """Give the prompt for a language; languages without one get none.

    ``setting`` is ``auto``, or the prompt itself.
    """
    return _SPONTANEOUS.get(language, "") if setting == "auto" else setting
