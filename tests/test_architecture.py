"""The house stays in order: imports go one way, modules stay small, one library has one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "meetscribe"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_bundled" not in path.parts)

HOMES = {
    "soundfile": {"ingest"},
    "av": {"ingest"},
    "soxr": {"ingest"},
    "click": {"cli"},
    "rich": {"cli"},
    "faster_whisper": {"recognize"},
    "ctranslate2": {"recognize"},
    "opencc": {"recognize", "evaluate"},
    "pyannote": {"activity", "evaluate"},
    "meeteval": {"evaluate"},
    "jiwer": {"evaluate"},
    "rapidfuzz": {"evaluate"},
    "whisper_normalizer": {"evaluate"},
    "pandas": {"evaluate"},
    "matplotlib": {"evaluate"},
    "pyroomacoustics": {"train"},
    "torch": {
        *("activity", "models", "engines", "spatial", "onestage", "joint", "speakers", "train"),
        "cli",
    },
    "tokenizers": {"models", "onestage"},
    "transformers": {"joint"},
    "fsspec": {"batch"},
    "ray": {"batch"},
    "sqlite3": {"speakers"},
    "keyring": {"speakers"},
    "cryptography": {"speakers"},
    "safetensors": {"models", "joint", "onestage", "train"},
    "huggingface_hub": {"models", "activity"},
}
"""Third-party library -> the only folders that may import it."""

HEAVY = ("torch", "transformers", "pyannote", "pyroomacoustics", "pandas", "scipy", "ctranslate2")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_is_small_and_its_libraries_are_at_home(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600
    folder = path.relative_to(PACKAGE).parts[0]
    strangers = {name for name in imported(path) if folder not in HOMES.get(name, {folder})}
    assert not strangers


def test_imports_go_one_way() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    if not linter.exists():
        pytest.skip("import-linter is not installed (extra dev)")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module", ["meetscribe", "meetscribe.cli", "meetscribe.pipeline.runner", "meetscribe.api"]
)
def test_heavy_libraries_load_only_when_used(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "misc", "base"}
    assert not [path for path in MODULES if path.stem in drawers]
