"""Bad input: one clear line with the next step, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import SAMPLE, run_meetscribe

RATE_HZ = 16_000


def speech(seconds: float = 6.0, start: float = 12.0) -> np.ndarray:
    """Give a piece of the sample meeting, mono, float32."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32", frames=int((start + seconds) * RATE_HZ))
    assert rate == RATE_HZ
    return samples[int(start * RATE_HZ) :, 0]


def check_failure(
    done: subprocess.CompletedProcess[str], code: int, *said: str, folder: Path | None = None
) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert any(line.startswith("hint: ") for line in lines), "no next step"
    for text in said:
        assert text in done.stderr
    if folder is not None:
        assert not list(folder.glob("*")), "something was left behind"


def check_success(done: subprocess.CompletedProcess[str], out: Path) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    return dict(json.loads(next(out.glob("*.json")).read_text(encoding="utf-8")))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


class TestUnreadable:
    """These fail before any model is needed."""

    def test_missing_file(self, tmp_path: Path, out: Path) -> None:
        done = run_meetscribe("transcribe", tmp_path / "nothing.wav", "-o", out)
        check_failure(done, 3, "nothing.wav", folder=out)

    def test_folder_without_audio(self, tmp_path: Path, out: Path) -> None:
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "a.txt").write_text("no audio")
        done = run_meetscribe("transcribe", tmp_path / "notes", "-o", out)
        check_failure(done, 3, "notes", folder=out)

    def test_folder_with_audio_names_batch(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(1600), RATE_HZ)
        done = run_meetscribe("transcribe", tmp_path, "-o", out)
        check_failure(done, 2, "batch", folder=out)

    def test_empty_file(self, tmp_path: Path, out: Path) -> None:
        (tmp_path / "empty.wav").touch()
        done = run_meetscribe("transcribe", tmp_path / "empty.wav", "-o", out)
        check_failure(done, 3, "empty", folder=out)

    def test_text_renamed_wav(self, tmp_path: Path, out: Path) -> None:
        (tmp_path / "text.wav").write_text("this is not audio\n" * 100)
        done = run_meetscribe("transcribe", tmp_path / "text.wav", "-o", out)
        check_failure(done, 3, "text.wav", folder=out)

    def test_zero_samples(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "zero.wav", np.zeros(0), RATE_HZ)
        done = run_meetscribe("transcribe", tmp_path / "zero.wav", "-o", out)
        check_failure(done, 3, "zero.wav", folder=out)

    def test_output_folder_below_a_file(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(16_000), RATE_HZ)
        (tmp_path / "file").touch()
        done = run_meetscribe("transcribe", tmp_path / "a.wav", "-o", tmp_path / "file" / "out")
        check_failure(done, 6, "-o")

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
    )
    def test_output_folder_read_only(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(16_000), RATE_HZ)
        out.chmod(0o555)
        done = run_meetscribe("transcribe", tmp_path / "a.wav", "-o", out)
        check_failure(done, 6, "-o", folder=out)

    def test_no_network_and_empty_cache(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(16_000), RATE_HZ)
        env = {"MEETSCRIBE_CACHE": str(tmp_path / "cache")}
        done = run_meetscribe("transcribe", tmp_path / "a.wav", "-o", out, "--offline", env=env)
        check_failure(done, 4, "meetscribe models pull", folder=out)

    def test_unreachable_index_and_empty_cache(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(16_000), RATE_HZ)
        nowhere = "http://127.0.0.1:9/simple"
        env = {
            "MEETSCRIBE_CACHE": str(tmp_path / "cache"),
            "MEETSCRIBE_OFFLINE": "",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": nowhere,
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }
        done = run_meetscribe("transcribe", tmp_path / "a.wav", "-o", out, env=env)
        check_failure(done, 4, "network", folder=out)

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--speakers", "0"], "0"),
            (["--pipeline", "mnoo"], "mono"),
            (["--min-speakers", "3", "--max-speakers", "2"], "max_speakers"),
            (["-f", "sert"], "srt"),
            (["--device", "toaster"], "toaster"),
            (["--channels", "left"], "left"),
            (["--language", "klingonese"], "klingonese"),
            (["--model", "hugee"], "hugee"),
        ],
    )
    def test_wrong_options(self, tmp_path: Path, out: Path, flags: list[str], said: str) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(16_000), RATE_HZ)
        done = run_meetscribe("transcribe", tmp_path / "a.wav", "-o", out, "--offline", *flags)
        assert done.returncode in {2, 4}, done.stderr
        assert "Traceback" not in done.stderr
        assert said in done.stderr
        assert not list(out.iterdir())


@pytest.mark.weights
class TestOddButValid:
    """These are transcribed, with a word about what was odd."""

    def test_silence_is_an_empty_transcript(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "silence.wav", np.zeros(10 * RATE_HZ), RATE_HZ)
        done = run_meetscribe("transcribe", tmp_path / "silence.wav", "-o", out)
        assert check_success(done, out)["utterances"] == []
        assert "no speech" in done.stderr
        assert {path.suffix for path in out.iterdir()} == {".json", ".txt", ".srt", ".rttm"}

    def test_sound_too_faint_for_speech(self, tmp_path: Path, out: Path) -> None:
        soundfile.write(tmp_path / "faint.wav", 1e-6 * speech(), RATE_HZ, subtype="FLOAT")
        done = run_meetscribe("transcribe", tmp_path / "faint.wav", "-o", out)
        assert check_success(done, out)["utterances"] == []

    def test_not_a_number(self, tmp_path: Path, out: Path) -> None:
        samples = speech()
        samples[100:200], samples[300] = np.nan, np.inf
        soundfile.write(tmp_path / "nan.wav", samples, RATE_HZ, subtype="FLOAT")
        done = run_meetscribe("transcribe", tmp_path / "nan.wav", "-o", out)
        made = check_success(done, out)
        assert "101" in str(made["warnings"])

    @pytest.mark.parametrize("rate_hz", [1_000, 192_000])
    def test_rates(self, tmp_path: Path, out: Path, rate_hz: int) -> None:
        import soxr

        samples = soxr.resample(speech(), RATE_HZ, rate_hz)
        soundfile.write(tmp_path / "rate.wav", samples, rate_hz)
        made = check_success(run_meetscribe("transcribe", tmp_path / "rate.wav", "-o", out), out)
        assert made["duration"] == pytest.approx(6.0, abs=0.01)

    def test_forty_channels(self, tmp_path: Path, out: Path) -> None:
        noise = np.random.default_rng(0).normal(0, 0.001, (6 * RATE_HZ, 40))
        soundfile.write(tmp_path / "forty.wav", speech()[:, None] + noise, RATE_HZ)
        made = check_success(run_meetscribe("transcribe", tmp_path / "forty.wav", "-o", out), out)
        assert "channel" in str(made["warnings"])
        assert made["utterances"]

    def test_odd_name(self, tmp_path: Path, out: Path) -> None:
        name = 'it\'s "our" 会议 №1.wav' if os.name != "nt" else "it's our 会议 №1.wav"
        soundfile.write(tmp_path / name, speech(), RATE_HZ)
        made = check_success(run_meetscribe("transcribe", tmp_path / name, "-o", out), out)
        assert made["utterances"]
        assert (out / (Path(name).stem + ".srt")).exists()

    @pytest.mark.parametrize("suffix", [".mp3", ".mp4"])
    def test_truncated(self, tmp_path: Path, out: Path, suffix: str) -> None:
        whole = tmp_path / f"whole{suffix}"
        write_compressed(whole, speech(10.0))
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        done = run_meetscribe("transcribe", cut, "-o", out)
        if suffix == ".mp4" and done.returncode:
            # the index of an MP4 stands at its end: without it nothing can be read
            check_failure(done, 3, "cut.mp4", folder=out)
        else:
            assert check_success(done, out)["utterances"]


@pytest.mark.weights
class TestMishaps:
    """The machine, not the recording."""

    @pytest.fixture
    def audio(self, tmp_path: Path) -> Path:
        soundfile.write(tmp_path / "talk.wav", speech(), RATE_HZ)
        return tmp_path / "talk.wav"

    def test_corrupt_model_is_refused_offline(
        self, audio: Path, out: Path, tmp_path: Path, weights_cache: Path
    ) -> None:
        cache = tmp_path / "cache"
        shutil.copytree(weights_cache / "models", cache / "models")
        model = next((cache / "models").rglob("campplus*.pt"))
        with model.open("r+b") as file:
            file.seek(1000)
            file.write(b"broken")
        env = {"MEETSCRIBE_CACHE": str(cache)}
        done = run_meetscribe("transcribe", audio, "-o", out, "--offline", env=env)
        check_failure(done, 4, "models pull", folder=out)

    @pytest.mark.parametrize("content", ["{", "{}"])
    def test_damaged_tokenizer_of_a_model_of_ones_own(
        self, audio: Path, out: Path, tmp_path: Path, weights_cache: Path, content: str
    ) -> None:
        folder = tmp_path / "own"
        shutil.copytree(weights_cache / "models" / "whisper-base", folder)
        (folder / "tokenizer.json").write_text(content)
        done = run_meetscribe("transcribe", audio, "-o", out, "--model", str(folder))
        check_failure(done, 4, "tokenizer.json", folder=out)

    def test_unknown_language_is_said_before_any_work(self, audio: Path, out: Path) -> None:
        done = run_meetscribe("transcribe", audio, "-o", out, "--language", "qq")
        check_failure(done, 2, "'qq'", folder=out)
        assert "who speaks when" not in done.stderr

    def test_second_run_is_already_done(self, audio: Path, out: Path) -> None:
        check_success(run_meetscribe("transcribe", audio, "-o", out), out)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        again = run_meetscribe("transcribe", audio, "-o", out)
        assert again.returncode == 0
        assert "already done" in again.stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        other = run_meetscribe("transcribe", audio, "-o", out, "--speakers", "2")
        check_failure(other, 6, "--force")
        looks = run_meetscribe("transcribe", audio, "-o", out, "--overlap", "split")
        check_failure(looks, 6, "meetscribe export")
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        forced = run_meetscribe("transcribe", audio, "-o", out, "--speakers", "2", "--force")
        assert forced.returncode == 0, forced.stderr

    @pytest.mark.skipif(os.name == "nt", reason="signals differ")
    def test_ctrl_c_leaves_nothing(self, out: Path) -> None:
        # tests that a script runs in the background have the signal ignored, and hand that on
        listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        program = listening + "import runpy; runpy.run_module('meetscribe', run_name='__main__')"
        command = [sys.executable, "-c", program, "transcribe", str(SAMPLE), "-o", str(out)]
        process = subprocess.Popen(
            [*command, "--no-cache", "--progress", "json"], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            if '"activity"' in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "interrupted" in rest
        assert "Traceback" not in rest
        assert not list(out.iterdir())

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "small"
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip("mounting is refused here")
        yield folder
        subprocess.run(["umount", str(folder)], check=False)

    def test_full_disk_for_outputs(self, audio: Path, small_disk: Path) -> None:
        (small_disk / "filler").write_bytes(b"x" * 56_000)
        done = run_meetscribe("transcribe", audio, "-o", small_disk)
        check_failure(done, 6, "disk is full")
        assert [path.name for path in small_disk.iterdir()] == ["filler"]

    def test_full_disk_for_scratch(self, audio: Path, out: Path, small_disk: Path) -> None:
        env = {"TMPDIR": str(small_disk)}
        done = run_meetscribe("transcribe", audio, "-o", out, env=env)
        check_failure(done, 6, folder=out)
        assert not list(small_disk.iterdir())


def write_compressed(path: Path, samples: np.ndarray) -> None:
    """Encode mono float samples with PyAV."""
    import av

    codec = {".mp3": "libmp3lame", ".mp4": "aac"}[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        size = 1152
        for start in range(0, len(samples) - size, size):
            piece = samples[None, start : start + size].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
