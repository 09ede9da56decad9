"""What every test gets: an empty cache of its own, and weights for those that ask for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MEETSCRIBE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
SAMPLE = REPOSITORY / "samples" / "meeting.flac"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def run_meetscribe(
    *args: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "meetscribe", *map(str, args)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="session")
def weights_cache() -> Path:
    """Give a cache with the default models, fetched as a user fetches them."""
    done = run_meetscribe("models", "pull")
    assert done.returncode == 0, done.stderr
    from meetscribe.models import cache_dir

    return cache_dir()


@pytest.fixture
def data() -> Path:
    """Give the folder of shared real data, or skip."""
    if not DATA.is_dir():
        pytest.skip("no shared data here (MEETSCRIBE_TEST_DATA)")
    return DATA


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Keep tests out of the user's cache, and off the network."""
    patch = pytest.MonkeyPatch()
    cache = tmp_path_factory.mktemp("cache")
    if request.node.get_closest_marker("weights"):
        # the models are shared, finished stages are not: a test must run what it tests
        models = request.getfixturevalue("weights_cache") / "models"
        (cache / "models").symlink_to(models, target_is_directory=True)
        patch.setenv("MEETSCRIBE_OFFLINE", "1")
    patch.setenv("MEETSCRIBE_CACHE", str(cache))
    patch.setattr(socket.socket, "connect", _only_loopback(socket.socket.connect))
    yield
    patch.undo()


def _only_loopback(connect: object) -> object:
    def guarded(self: socket.socket, address: object) -> object:
        host = address[0] if isinstance(address, tuple) else ""
        if isinstance(address, tuple) and host not in _LOOPBACK:
            raise AssertionError(f"a test opened a connection to {host}")
        return connect(self, address)  # type: ignore[operator]

    return guarded
