"""Which Whisper a name means, and how the hub's errors are told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from meetscribe.errors import NameNotFoundError, WeightsError
from meetscribe.models import fetch, resolve_whisper
from tests.conftest import run_meetscribe


def test_local_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model\.bin"):
        resolve_whisper(str(tmp_path), offline=True)
    (tmp_path / "model.bin").write_bytes(b"x")
    assert resolve_whisper(str(tmp_path), offline=True) == tmp_path


@pytest.mark.parametrize("name", ["smal", "segmentation-3.0", "", "no/such/folder"])
def test_neither_model_nor_folder(name: str) -> None:
    with pytest.raises(NameNotFoundError) as caught:
        resolve_whisper(name, offline=True)
    if name == "smal":
        assert "small" in caught.value.hint


@pytest.mark.parametrize("name", ["small", "large-v3", "owner/whisper-ct2"])
def test_offline_without_the_model(name: str, tmp_path: Path) -> None:
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": ""}
    done = run_meetscribe("models", "pull", name, "--offline", env=env)
    assert done.returncode == 4
    assert "offline" in done.stderr
    assert "meetscribe models pull" in done.stderr


def test_snapshot_in_the_hub_cache_is_used_offline(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--Systran--faster-whisper-tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (snapshot / name).write_text(name)
    env = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = run_meetscribe("models", "pull", "tiny", "--offline", env=env)
    assert done.stdout.strip() == f"tiny: {snapshot}", done.stderr
    listed = run_meetscribe("models", "list", env=env)
    (line,) = [line for line in listed.stdout.splitlines() if "whisper-tiny " in line]
    assert "yes" in line


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        gated = "gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    """Give the address of a hub that has nothing for us."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("repo", "said"),
    [("owner/gated", "consent"), ("owner/nothing", "no such repository")],
)
def test_refusals_of_the_hub(hub: str, tmp_path: Path, repo: str, said: str) -> None:
    env = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "MEETSCRIBE_OFFLINE": "", "NO_PROXY": "*"}
    done = run_meetscribe("models", "pull", repo, env=env)
    assert done.returncode == 4
    assert said in done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]


def test_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    env = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "MEETSCRIBE_OFFLINE": "",
        "NO_PROXY": "*",
    }
    done = run_meetscribe("models", "pull", "whisper-small", env=env)
    assert done.returncode == 4
    assert "network" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.weights
def test_default_model_under_all_its_names() -> None:
    folder = fetch("whisper-base")
    for name in ("base", "whisper-base", "Systran/faster-whisper-base", str(folder)):
        assert resolve_whisper(name) == folder
    assert os.environ["MEETSCRIBE_OFFLINE"] == "1"
