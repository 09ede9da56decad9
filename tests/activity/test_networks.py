from __future__ import annotations

import numpy as np
import pytest
import torch

from meetscribe.activity import campplus, fbank, pyannet
from meetscribe.errors import WeightsError
from meetscribe.models.unpickle import load_checkpoint


def test_fbank_gives_one_frame_per_hop_and_none_for_less_than_a_window():
    assert fbank.fbank(torch.zeros(399)).shape == (0, 80)
    assert fbank.fbank(torch.zeros(400)).shape == (1, 80)
    assert fbank.fbank(torch.zeros(16_000)).shape == (98, 80)


def test_fbank_peaks_in_the_bin_of_a_tone():
    time_n = torch.arange(8_000) / 16_000
    low, high = (
        fbank.fbank(torch.sin(2 * torch.pi * hz * time_n)).mean(0).argmax() for hz in (300, 3_000)
    )
    mel = [1127 * np.log(1 + hz / 700) for hz in (20, 300, 3_000, 8_000)]
    expected = [(mel[i] - mel[0]) / (mel[3] - mel[0]) * 81 - 1 for i in (1, 2)]
    assert abs(int(low) - expected[0]) <= 1
    assert abs(int(high) - expected[1]) <= 1


def test_pooling_under_a_mask_equals_pooling_of_the_frames_alone():
    torch.manual_seed(0)
    network = campplus.CamPlusPlus().eval()
    frames = torch.randn(1, 512, 60)
    mask = torch.zeros(1, 60)
    mask[0, 10:40] = 1
    with torch.inference_mode():
        masked, cut = network.pool(frames, mask), network.pool(frames[..., 10:40])
    torch.testing.assert_close(masked, cut, atol=1e-4, rtol=1e-4)


@pytest.mark.weights
@pytest.mark.parametrize("clip", ["ami", "ali", "beckett"])
def test_campplus_reproduces_the_goldens(clip, campplus_goldens, voiceprint_dir):
    import soundfile
    from safetensors.torch import load_file

    golden = load_file(str(campplus_goldens / "io.safetensors"))
    path = voiceprint_dir / "campplus_cn_en_common.pt"
    network = campplus.load(load_checkpoint(path)["state_dict"], where="test")
    features = golden[f"{clip}.fbank"]
    if clip != "beckett":  # its audio is not part of the goldens
        audio, _ = soundfile.read(campplus_goldens / f"{clip}.wav", dtype="float32")
        mine = fbank.fbank(torch.from_numpy(audio))
        torch.testing.assert_close(mine, features, atol=1e-3, rtol=0)
        features = mine
    with torch.inference_mode():
        found = network((features - features.mean(0))[None])[0]
    expected = golden[f"{clip}.embedding"].flatten()
    assert torch.cosine_similarity(found, expected, dim=0) > 0.9999
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("module", [campplus, pyannet])
def test_a_checkpoint_of_something_else_is_refused(module):
    with pytest.raises(WeightsError, match=r"x\.bin"):
        module.load({"a": torch.zeros(1)}, where="x.bin")


def test_pyannet_gives_probabilities_of_seven_classes_for_the_stated_number_of_frames():
    network = pyannet.PyanNet().eval()
    network.sincnet.conv1d[0].filterbank.band_hz_.data += 100
    network.sincnet.conv1d[0].filterbank.n_ += torch.linspace(-0.05, 0, 125)
    with torch.inference_mode():
        out = network(torch.randn(2, 20_000))
    assert out.shape == (2, pyannet.num_frames(20_000), 7)
    torch.testing.assert_close(out.exp().sum(-1), torch.ones(out.shape[:2]))


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.filterwarnings("ignore")
def test_pyannet_equals_pyannote_audio(segmentation_dir):
    from meetscribe.activity.pyannote_adapter import import_pipeline
    from meetscribe.errors import DependencyError

    try:
        import_pipeline()
    except DependencyError as error:
        pytest.skip(str(error))
    from pyannote.audio.models.segmentation import PyanNet

    state = load_checkpoint(segmentation_dir / "pytorch_model.bin")["state_dict"]
    theirs = PyanNet(
        sincnet={"stride": 10},
        lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True},
        linear={"hidden_size": 128, "num_layers": 2},
    )
    theirs.classifier = torch.nn.Linear(128, 7)
    theirs.activation = torch.nn.LogSoftmax(dim=-1)
    theirs.load_state_dict(state)
    mine = pyannet.load(state, where="test")
    audio = torch.randn(2, 160_000, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.inference_mode():
        torch.testing.assert_close(mine(audio), theirs.eval()(audio[:, None]), atol=1e-4, rtol=1e-4)
