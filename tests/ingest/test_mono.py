"""The mono signal: the right channels, any piece of it, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe.errors import AudioError, OutputError
from meetscribe.ingest import MonoPlan, blocks, open_mono, plan_mono, probe
from meetscribe.types import Layout


def planned(tmp_path, make, samples_cn, layout=None):
    recording = probe([make.write(tmp_path / "a.wav", samples_cn, subtype="FLOAT")], layout=layout)
    plan = plan_mono(recording)
    assert plan.reason
    assert "\n" not in plan.reason
    with open_mono(recording, plan) as mono:
        return plan, mono.read(0, mono.duration), mono.notes


def test_one_channel_is_used_as_it_is(tmp_path, make):
    plan, mono_n, notes = planned(tmp_path, make, make.coded(1, 5_000))
    assert (plan.channels, plan.weights, notes) == ((0,), (1.0,), ())
    np.testing.assert_array_equal(mono_n, make.coded(1, 5_000)[0])


def test_a_mix_is_averaged_and_copies_are_taken_once(tmp_path, make):
    tones_cn = make.tones(2, 2.0, 16_000)
    plan, mono_n, _ = planned(tmp_path, make, tones_cn, Layout.MIX)
    assert plan.channels == (0, 1)
    np.testing.assert_allclose(mono_n, tones_cn.mean(axis=0), atol=1e-6)
    plan, mono_n, _ = planned(tmp_path, make, tones_cn[[1, 1]], Layout.MIX)
    assert plan.reason.startswith("2 channels are copies")
    np.testing.assert_array_equal(mono_n, tones_cn[1])


def test_channels_of_opposite_sign_do_not_cancel(tmp_path, make):
    voice_n = make.talk(1, 5.0)[0]
    own_cn = make.talk(2, 5.0, seed=9) * 0.7
    for flipped_cn in (np.stack([voice_n, -voice_n]), np.stack([voice_n, -voice_n]) + own_cn):
        plan, mono_n, _ = planned(tmp_path, make, flipped_cn / 4, Layout.MIX)
        assert len(plan.channels) == 1
        assert mono_n.std() > 0.5 * flipped_cn.std() / 4


def test_of_an_array_the_clearest_channel_is_used(tmp_path, make):
    rng = np.random.default_rng(0)
    voice_n = make.talk(1, 10.0)[0] * 0.5
    pauses_n = np.repeat(np.arange(20) % 2, 8_000)
    noise_c1 = np.array([0.02, 0.02, 0.001, 0.0005, 0.0005])[:, None]
    array_cn = voice_n * pauses_n + noise_c1 * rng.standard_normal((5, voice_n.size))
    array_cn[3] = np.clip(array_cn[3] * 40, -1, 1)  # clear but clipped
    array_cn[4] *= 1e-4  # dead
    plan, mono_n, _ = planned(tmp_path, make, array_cn.astype(np.float32), Layout.ARRAY)
    assert plan.channels == (2,)
    assert plan.reason == "5-channel array: channel 2 of 0 to 4 used (best signal to noise)"
    np.testing.assert_array_equal(mono_n, array_cn[2].astype(np.float32))


def test_everybody_is_heard_of_one_microphone_each(tmp_path, make):
    voices_cn = np.concatenate([make.talk(3, 10.0) * 0.3, np.zeros((1, 160_000), np.float32)])
    plan, mono_n, _ = planned(tmp_path, make, voices_cn, Layout.PER_SPEAKER)
    assert plan.channels == (0, 1, 2)
    assert plan.reason == "one microphone per speaker: sum of 3 channels, 1 silent left out"
    np.testing.assert_allclose(mono_n, voices_cn.sum(0), atol=1e-6)


def test_a_sum_beyond_full_scale_is_turned_down_not_clipped(tmp_path, make):
    tones_cn = make.tones(3, 5.0, 16_000, level=0.8)
    _, mono_n, notes = planned(tmp_path, make, tones_cn, Layout.PER_SPEAKER)
    assert np.abs(mono_n).max() == pytest.approx(1.0)
    assert np.corrcoef(mono_n, tones_cn.sum(0))[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert any("turned down" in note for note in notes)


def test_one_pop_does_not_turn_the_meeting_down(tmp_path, make):
    tone_cn = make.tones(1, 200.0, 16_000)
    tone_cn[0, 1_000_000] = 1e6
    _, mono_n, notes = planned(tmp_path, make, tone_cn)
    assert mono_n[1_000_000] == 1
    assert np.abs(mono_n[:900_000]).max() == pytest.approx(0.3, abs=1e-3)
    assert not any("turned down" in note for note in notes)


def test_clipping_is_measured(tmp_path, make):
    loud_cn = np.clip(make.tones(1, 5.0, 16_000) * 5, -1, 1)
    path = make.write(tmp_path / "a.wav", loud_cn, subtype="PCM_16")
    with open_mono(probe([path])) as mono:
        assert mono.clipped_share == pytest.approx(0.5, abs=0.2)
        assert any(note.startswith("clipped:") for note in mono.notes)
    path = make.write(tmp_path / "b.wav", make.tones(1, 5.0, 16_000) / 0.3, subtype="PCM_16")
    with open_mono(probe([path])) as mono:
        assert mono.clipped_share < 0.05


def test_level_is_measured(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.tones(1, 25.5, 16_000), subtype="FLOAT")
    with open_mono(probe([path])) as mono:
        assert mono.peak == pytest.approx(0.3, rel=1e-3)
        assert mono.rms == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)
        assert (mono.num_samples, mono.duration) == (408_000, 25.5)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.floats(-3, 30), length=st.floats(0, 30))
def test_any_piece_is_the_piece_of_the_whole(mono_25_s, start, length):
    mono, whole_n = mono_25_s
    first, last = round(start * 16_000), round((start + length) * 16_000)
    padded_n = np.pad(whole_n, (5 * 16_000, 60 * 16_000))
    expected_n = padded_n[first + 5 * 16_000 : last + 5 * 16_000]
    piece_n = mono.read(start, start + length)
    assert piece_n.dtype == np.float32
    np.testing.assert_array_equal(piece_n, expected_n)


@pytest.fixture
def mono_25_s(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 25 * 16_000 + 7))
    recording = probe([path])
    with open_mono(recording) as mono:
        yield mono, np.concatenate(list(blocks(recording)), axis=1)[0]


def test_blocks_overlap_and_cover_everything(mono_25_s):
    mono, whole_n = mono_25_s
    parts = list(mono.blocks(10.0, overlap_s=2.5))
    assert [start for start, _ in parts] == [0.0, 7.5, 15.0, 22.5][: len(parts)]
    assert parts[-1][0] + parts[-1][1].size / 16_000 == mono.duration
    for start, part_n in parts:
        first = round(start * 16_000)
        np.testing.assert_array_equal(part_n, whole_n[first : first + part_n.size])
    with pytest.raises(ValueError, match="overlap_s"):
        next(mono.blocks(1.0, overlap_s=1.0))
    with pytest.raises(ValueError, match="start <= end"):
        mono.read(2.0, 1.0)


def test_progress_runs_from_0_to_1(tmp_path, make):
    path = make.encode(tmp_path / "a.mp3", make.tones(1, 45.0, 44_100), 44_100, "libmp3lame")
    seen = []
    open_mono(probe([path]), progress=lambda stage, done: seen.append((stage, done))).close()
    shares = [done for _, done in seen]
    assert {stage for stage, _ in seen} == {"ingest"}
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(shares) > 4


def test_the_scratch_file_has_no_name_or_goes_with_the_object(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 5_000))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for how in ({"scratch_dir": scratch}, {}):
        with open_mono(probe([path]), **how) as mono:
            assert mono.read(0, 1).size == 16_000
        assert list(scratch.iterdir()) == []
    recording = probe([path])
    path.unlink()
    with pytest.raises(AudioError):
        open_mono(recording, scratch_dir=scratch)
    assert list(scratch.iterdir()) == []


def test_tmpdir_is_honoured(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 5_000))
    code = (
        "import sys; from meetscribe.errors import OutputError\n"
        "from meetscribe.ingest import open_mono, probe\n"
        "import tempfile; print(open_mono(probe(sys.argv[1:])).duration, tempfile.gettempdir())"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0.3125", str(tmp_path)]


def test_a_scratch_folder_that_is_not_there(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 100))
    with pytest.raises(OutputError, match="scratch") as caught:
        open_mono(probe([path]), scratch_dir=tmp_path / "nope")
    assert "TMPDIR" in caught.value.hint
    assert caught.value.exit_code == 6


def test_a_full_disk(tmp_path, make):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    try:
        refused = subprocess.run(mount, capture_output=True, check=False).returncode
    except OSError:
        refused = 1
    if refused:
        pytest.skip("mounting a small disk is refused here")
    try:
        path = make.write(tmp_path / "a.wav", make.coded(1, 60 * 16_000))
        with pytest.raises(OutputError, match="disk full") as caught:
            open_mono(probe([path]), scratch_dir=small)
        assert "TMPDIR" in caught.value.hint
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_memory_does_not_grow_with_length(tmp_path, make):
    open_mono(probe([make.write(tmp_path / "warm.wav", make.coded(2, 16_000))])).close()
    path = make.write(tmp_path / "a.wav", make.coded(2, 10 * 60 * 16_000))
    recording = probe([path], layout=Layout.MIX)
    tracemalloc.start()
    open_mono(recording, MonoPlan((0, 1), (0.5, 0.5), "mean")).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # both channels are 77 MB


def test_importing_loads_no_audio_library():
    code = "import sys, meetscribe.ingest; print(*{'av', 'soundfile', 'soxr'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.strip() == ""
