"""``meetscribe doctor``: what this machine has, what is missing, and how fast it is."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click

from meetscribe.errors import MeetscribeError
from meetscribe.models import cache_dir, default_models, is_cached
from meetscribe.pipeline.runner import usable_cores
from meetscribe.version import __version__

_NEEDED = {
    "torch": ("torch", "nothing can be transcribed"),
    "faster-whisper": ("faster_whisper", "nothing can be transcribed"),
    "ctranslate2": ("ctranslate2", "nothing can be transcribed"),
    "soundfile": ("soundfile", "WAV and FLAC cannot be read"),
    "av": ("av", "MP3, M4A, MP4, MKV and WebM cannot be read; WAV and FLAC can"),
    "soxr": ("soxr", "only 16 kHz recordings can be read"),
    "opencc": ("opencc", "Chinese stays as it is heard: use --script as-is"),
    "pyannote.audio": ("pyannote", "--diarizer does not work; the default does"),
}
"""Distribution -> (module, what does not work without it)."""

_PROBE_S = 30.0


@click.command(epilog="Example: meetscribe doctor --no-speed")
@click.option("--no-speed", is_flag=True, help="Do not measure speed (takes some seconds).")
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU cores for recognition (default: all)."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
def doctor(*, no_speed: bool, threads: int | None, device: str) -> int:
    """Say what this machine has, what is missing, what still works, and how fast it is."""
    problems = 0
    for good, line in _findings():
        click.echo(f"{'ok  ' if good else 'MISS'}  {line}")
        problems += not good
    if not no_speed:
        click.echo(f"speed {_speed(device, threads or usable_cores())}")
    if problems:
        click.echo(f"\n{problems} missing; what still works without it stands beside it")
    return 0


def _findings() -> Iterator[tuple[bool, str]]:
    version = platform.python_version()
    yield True, f"meetscribe {__version__}, Python {version}, {platform.platform(terse=True)}"
    yield True, f"{usable_cores()} cores, {_memory()}"
    yield _accelerator()
    for name, (module, without) in _NEEDED.items():
        yield _library(name, module, without)
    yield _folder("cache", cache_dir(), "models cannot be kept: set MEETSCRIBE_CACHE")
    yield (_folder("scratch", Path(tempfile.gettempdir()), "audio cannot be decoded: set TMPDIR"))
    for name in default_models():
        there = is_cached(name)
        hint = "" if there else f": fetched at first use, or by `meetscribe models pull {name}`"
        yield there, f"model {name}{hint}"


def _library(name: str, module: str, without: str) -> tuple[bool, str]:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    if not version or importlib.util.find_spec(module) is None:
        return False, f"{name} is not installed: {without}"
    return True, f"{name} {version}"


def _folder(what: str, folder: Path, without: str) -> tuple[bool, str]:
    here = folder
    while not here.exists() and here != here.parent:
        here = here.parent
    if not os.access(here, os.W_OK):
        return False, f"{what} folder {folder} cannot be written: {without}"
    free = shutil.disk_usage(here).free / 1e9
    return free > 1.0, f"{what} folder {folder}, {free:.0f} GB free" + (
        "" if free > 1.0 else f": {without}"
    )


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "memory unknown"
    return f"{total / 2**30:.0f} GiB memory"


def _accelerator() -> tuple[bool, str]:
    if importlib.util.find_spec("torch") is None:
        return True, "no accelerator looked for: torch is missing"
    import torch

    if torch.cuda.is_available():
        return True, f"GPU {torch.cuda.get_device_name(0)}"
    if torch.backends.mps.is_available():
        return True, "Apple GPU (speaker activity only; recognition runs on the CPU)"
    return True, "no GPU: everything runs on the CPU"


def _speed(device: str, threads: int) -> str:
    missing = [name for name in default_models() if not is_cached(name)]
    if missing:
        return f"not measured: {', '.join(missing)} not here yet (meetscribe models pull)"
    from meetscribe.engines.speed import measure

    began = time.monotonic()
    try:
        factor = measure(device=device, threads=threads, seconds=_PROBE_S)
    except MeetscribeError as error:
        return f"not measured: {error.message}"
    minutes = max(1, round(60 * factor))
    spent = time.monotonic() - began
    return (
        f"an hour of meeting will take about {minutes} min here with the default models "
        f"({threads} threads; measured in {spent:.0f} s)"
    )
