"""Output files are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meetscribe.errors import ConfigError, NameNotFoundError
from meetscribe.files import remove_abandoned, write_atomic
from meetscribe.pipeline.outputs import SessionFiles, check_names, parse_formats, read_names
from meetscribe.types import Transcript, Utterance


def test_all_files_or_none(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "missing" / "bad.txt"
    good.write_text("before")
    with pytest.raises(OSError, match=r"bad\.txt"):
        write_atomic({good: "after", bad: "never"})
    assert good.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["good.txt"]


def test_private_files_are_for_this_user_only(tmp_path: Path) -> None:
    for private, mode in ((True, 0o600), (False, 0o666 & ~_umask())):
        write_atomic({tmp_path / "a.txt": "x"}, private=private)
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_written_text_is_exact(tmp_path: Path) -> None:
    write_atomic({tmp_path / "a.txt": "línea\r\n会议\n"})
    assert (tmp_path / "a.txt").read_bytes() == "línea\r\n会议\n".encode()


def test_formats_of_options() -> None:
    assert parse_formats(()) == ("json", "txt", "srt", "rttm")
    assert parse_formats(("srt,VTT", "ctm, json")) == ("srt", "vtt", "ctm", "json")
    assert set(parse_formats(("all",))) >= {"json", "textgrid", "csv"}
    with pytest.raises(NameNotFoundError, match="sert"):
        parse_formats(("sert",))


def test_names_file(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("Speaker 1: Anna\nSpeaker 2: 陈伟\n", encoding="utf-8")
    assert read_names(path) == {"Speaker 1": "Anna", "Speaker 2": "陈伟"}
    path.write_text("Speaker 1: [Anna]")
    with pytest.raises(ConfigError, match="Speaker 1"):
        read_names(path)


def test_names_of_nobody_are_refused() -> None:
    transcript = Transcript("s", (Utterance("Speaker 1", 0, 1, "hello"),))
    check_names({"Speaker 1": "Anna"}, transcript)
    with pytest.raises(ConfigError, match="Speaker 9") as caught:
        check_names({"Speaker 9": "Eve"}, transcript)
    assert "Speaker 1" in caught.value.hint


@pytest.mark.parametrize("text", ["Speaker 1: yes", "Speaker 1: 1.5", "Speaker 1:", "[Anna]", ""])
def test_names_that_are_none_are_refused_with_an_example(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_names(path)
    assert "Speaker 1: Anna" in caught.value.hint


@pytest.mark.parametrize("session_id", ["../../away", "a/b", "a\\b", ""])
def test_no_session_leads_out_of_its_folder(tmp_path: Path, session_id: str) -> None:
    path = SessionFiles(tmp_path, session_id).path("srt")
    assert path.parent == tmp_path
    assert len(path.name) > len(".srt")


@pytest.mark.parametrize(("there", "left"), [(False, {"json": "new"}), (True, {"srt": "new"})])
def test_killed_between_two_files_it_can_be_made_good(
    tmp_path: Path, there: bool, left: dict[str, str]
) -> None:
    """A new transcript comes first: what is missing is made from it. A replaced one goes last."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom meetscribe.formats import RenderOptions\n"
        "from meetscribe.pipeline.outputs import SessionFiles, write_formats\n"
        "from meetscribe.types import Transcript\n"
        "replace, done = Path.replace, []\n"
        "def one(self, target):\n"
        "    done and os.kill(os.getpid(), 9)\n"
        "    done.append(replace(self, target))\n"
        "Path.replace = one\n"
        "files = SessionFiles(Path(sys.argv[1]), 'a')\n"
        "write_formats(Transcript('a', ()), files, ('json', 'srt'), RenderOptions())\n"
    )
    if there:
        for suffix in ("json", "srt"):
            (tmp_path / f"a.{suffix}").write_text("old")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    found = {
        path.suffix[1:]: "new"
        for path in tmp_path.glob("a.*")
        if path.read_text(encoding="utf-8") != "old"
    }
    assert found == left
    assert remove_abandoned(tmp_path) == 1
    assert not list(tmp_path.glob(".*"))
