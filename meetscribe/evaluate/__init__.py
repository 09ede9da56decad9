"""Scoring: error rates of hypotheses against references, and the corpora that have references.

    read sessions -> pair -> normalise -> words, diarization -> Scores -> report

It runs no model: transcribing a corpus and scoring it together is ``meetscribe.batch``'s.
"""
