"""Who said what and when, from a recording of a meeting.

>>> import meetscribe
>>> transcript = meetscribe.transcribe("meeting.wav")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meetscribe.version import __version__

if TYPE_CHECKING:
    from meetscribe.api import export as export
    from meetscribe.api import transcribe as transcribe

__all__ = ["__version__", "export", "transcribe"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    # `import meetscribe` and `meetscribe --help` stay fast: the API loads when it is used
    if name in {"export", "transcribe"}:
        from meetscribe import api

        return getattr(api, name)
    raise AttributeError(f"module 'meetscribe' has no attribute '{name}'")
