"""Many recordings: folders of them, and running a corpus and scoring it."""
