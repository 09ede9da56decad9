"""When a voice is somebody's; `benchmarks/enrolment.py` prints what other values give."""

from __future__ import annotations

from pydantic import Field

from meetscribe.config import Settings


class NamingSettings(Settings):
    """How voices are taken from recordings, and how alike they must be to be one person's."""

    same_person: float = Field(0.49, gt=-1.0, lt=1.0)
    """Cosine of two voiceprints from which on they are taken for the same person's. The lowest
    with at most 0.5 % false accepts among 228 other speakers of read speech, clean, in noise and in
    rooms, enrolled with 10 s (`benchmarks/enrolment.py`, split ``train``). On other people (split
    ``heldout``): no false accept in 5,060 trials, 0.5 % false rejects, equal error rate 0.3 %."""
    enough_s: float = Field(2.0, gt=0.0)
    """Whoever is heard alone for less is neither named nor linked: too little to tell."""
    enrol_s: float = Field(3.0, gt=0.0)
    """The recordings of somebody who is enrolled must be at least so long together."""
    longest_s: float = Field(60.0, gt=0.0)
    """Of everybody, the longest pieces of speech up to this length are heard; more adds nothing."""
    piece_s: float = Field(10.0, ge=1.0, le=20.0)
    """Longer stretches of speech are heard in pieces of at most this length."""
    shortest_piece_s: float = Field(0.5, ge=0.1)
    """Shorter ones are left out, as far as somebody has longer ones."""
