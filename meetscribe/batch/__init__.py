"""Many recordings: running a corpus and scoring it."""
