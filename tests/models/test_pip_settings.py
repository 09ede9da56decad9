"""pip's settings as pip reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meetscribe.models.pip_settings import DEFAULT_INDEX, read_settings

pytestmark = pytest.mark.skipif(
    sys.platform in {"win32", "darwin"}, reason="pip keeps its files elsewhere there"
)


@pytest.fixture
def files(clean_env: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Give the places of pip's files, none of which exists yet."""
    clean_env.delenv("PIP_CONFIG_FILE")
    clean_env.setenv("HOME", str(tmp_path / "home"))
    clean_env.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    clean_env.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    clean_env.setattr(sys, "prefix", str(tmp_path / "venv"))
    places = {
        "system": tmp_path / "xdg" / "pip" / "pip.conf",
        "legacy": tmp_path / "home" / ".pip" / "pip.conf",
        "user": tmp_path / "config" / "pip" / "pip.conf",
        "site": tmp_path / "venv" / "pip.conf",
        "given": tmp_path / "given.conf",
    }
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    return places


def test_default_is_the_public_index(clean_env: pytest.MonkeyPatch) -> None:
    del clean_env
    assert read_settings().indexes == (DEFAULT_INDEX,)
    assert read_settings().find_links == ()


def test_later_places_win(files: dict[str, Path], clean_env: pytest.MonkeyPatch) -> None:
    for name in ("system", "legacy", "user", "site"):
        files[name].write_text(f"[global]\nindex-url = https://{name}.example/simple\n")
        assert read_settings().indexes == (f"https://{name}.example/simple",)
    files["given"].write_text("[global]\nindex_url = https://given.example/simple\n")
    clean_env.setenv("PIP_CONFIG_FILE", str(files["given"]))
    assert read_settings().indexes == ("https://given.example/simple",)
    clean_env.setenv("PIP_INDEX_URL", "https://env.example/simple")
    assert read_settings().indexes == ("https://env.example/simple",)
    clean_env.setenv("PIP_INDEX_URL", "")
    assert read_settings().indexes == ("https://given.example/simple",)
    clean_env.setenv("PIP_CONFIG_FILE", os.devnull)
    assert read_settings().indexes == (DEFAULT_INDEX,)


def test_lists_and_sections(files: dict[str, Path]) -> None:
    files["user"].write_text(
        "[global]\nfind-links = /a\ntimeout = 60\ncert = /ca.pem\nproxy = http://p:1\n"
        "trusted-host =\n    one.example\n    two.example:8080\n"
        "[install]\nfind-links =\n    /b\n    file:///c\n"
        "extra-index-url = https://x.example/simple\n    https://y.example/simple\n"
    )
    found = read_settings()
    assert found.find_links == ("/b", "file:///c")
    assert found.indexes == (
        DEFAULT_INDEX,
        "https://x.example/simple",
        "https://y.example/simple",
    )
    assert found.trusted_hosts == {"one.example", "two.example:8080"}
    assert (found.timeout_s, found.cert, found.proxy) == (60.0, "/ca.pem", "http://p:1")


def test_no_index(files: dict[str, Path]) -> None:
    files["user"].write_text("[global]\nno-index = true\nfind-links = /a\n")
    assert read_settings().indexes == ()


def test_broken_file_is_ignored_with_a_word(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    files["user"].write_text("index-url = https://me:secret@lost.example\n")
    assert read_settings().indexes == (DEFAULT_INDEX,)
    assert "pip.conf" in caplog.text
    assert "secret" not in caplog.text


def test_uv_serves_where_pip_says_nothing(clean_env: pytest.MonkeyPatch) -> None:
    clean_env.setenv("UV_INDEX_URL", "https://uv.example/simple")
    clean_env.setenv("UV_INDEX", "corp=https://corp.example/simple?x=1")
    assert read_settings().indexes == (
        "https://uv.example/simple",
        "https://corp.example/simple?x=1",
    )
    clean_env.setenv("UV_DEFAULT_INDEX", "https://uv2.example/simple")
    assert read_settings().indexes[0] == "https://uv2.example/simple"
    clean_env.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    assert read_settings().indexes == ("https://pip.example/simple",)


def test_pip_itself_agrees(files: dict[str, Path], clean_env: pytest.MonkeyPatch) -> None:
    """The oracle: what pip says its settings are."""
    has_pip = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    )
    if has_pip.returncode:
        pytest.skip("no pip in this environment")
    files["legacy"].write_text("[global]\nindex-url = https://a.example/simple\ntimeout = 7\n")
    files["user"].write_text("[global]\nindex-url = https://b.example/simple\n")
    clean_env.setenv("PIP_EXTRA_INDEX_URL", "https://c.example/simple https://d.example/simple")
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    theirs = dict(line.split("=", 1) for line in listed.splitlines())
    ours = read_settings()
    assert theirs["global.index-url"] == repr(ours.indexes[0])
    assert theirs[":env:.extra-index-url"] == repr(" ".join(ours.indexes[1:]))
    assert theirs["global.timeout"] == repr(f"{ours.timeout_s:.0f}")
