"""Let torchaudio be imported although its native part does not load.

PyPI's torchaudio is a CUDA build: beside a CPU torch its import raises OSError. pyannote.audio and
transformers import it always, though nothing that is used of them needs that part.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any


def ensure_importable() -> None:
    """Register a stand-in for torchaudio's native part, only if a plain import fails."""
    try:
        importlib.import_module("torchaudio")
    except ImportError:
        return
    except OSError:
        # a second import must start afresh, not from what the first one left
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _stub()


def _stub() -> types.ModuleType:
    stub = types.ModuleType("torchaudio._extension")
    values: dict[str, Any] = {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "fail_if_no_align": lambda function: function,
        "_check_cuda_version": lambda: None,
    }
    for name, value in values.items():
        setattr(stub, name, value)
    return stub
