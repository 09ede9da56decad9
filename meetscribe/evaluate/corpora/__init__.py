"""Corpora that have references: what was downloaded becomes recordings, references and a manifest.

    official files -> prepare (ami, alimeeting, folder) -> corpus.json, rttm/, seglst/, uem/ -> load

Preparing reads the distributions as they are; audio stays where it is and is never copied. What
is missing or damaged is named in the manifest, the rest goes on.
"""

from __future__ import annotations

from meetscribe.evaluate.corpora.alimeeting import prepare_alimeeting
from meetscribe.evaluate.corpora.ami import prepare_ami
from meetscribe.evaluate.corpora.folder import prepare_folder
from meetscribe.evaluate.corpora.manifest import Corpus, CorpusSession, load, save

__all__ = [
    "Corpus",
    "CorpusSession",
    "load",
    "prepare_alimeeting",
    "prepare_ami",
    "prepare_folder",
    "save",
]
