"""``python -m meetscribe`` is the same as ``meetscribe``."""

from __future__ import annotations

from meetscribe.cli import main

main()
