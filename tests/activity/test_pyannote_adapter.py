from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from meetscribe.activity import PyannoteDiarizer
from meetscribe.activity.pyannote_adapter import import_pipeline, to_activity
from meetscribe.errors import DependencyError, WeightsError
from meetscribe.types import Turn


class FakeAnnotation:
    """The two methods of pyannote.core.Annotation that the adapter uses."""

    def __init__(self, rows):
        self.rows = rows

    def itertracks(self, yield_label):
        assert yield_label
        for start, end, label in self.rows:
            yield SimpleNamespace(start=start, end=end), "_", label

    def labels(self):
        return sorted({row[2] for row in self.rows})


ROWS = [(1.0, 2.0, "B"), (0.5, 1.5, "A"), (1.9, 1.9, "A")]


def test_labels_are_renamed_by_first_appearance_and_embeddings_follow():
    output = SimpleNamespace(
        speaker_diarization=FakeAnnotation(ROWS),
        exclusive_speaker_diarization=FakeAnnotation([(0.5, 1.2, "A"), (1.2, 2.0, "B")]),
        speaker_embeddings=np.array([[3.0, 4.0], [0.0, 2.0]]),
    )
    found = to_activity(output)
    assert found.turns == (Turn(0.5, 1.5, "Speaker 1"), Turn(1.0, 2.0, "Speaker 2"))
    assert found.exclusive == (Turn(0.5, 1.2, "Speaker 1"), Turn(1.2, 2.0, "Speaker 2"))
    assert found.voiceprints == {"Speaker 1": (0.6, 0.8), "Speaker 2": (0.0, 1.0)}


def test_an_older_pipeline_that_gives_a_bare_annotation_is_understood():
    found = to_activity(FakeAnnotation(ROWS))
    assert found.speakers == ("Speaker 1", "Speaker 2")
    assert found.exclusive == ()


def test_limits_and_the_waveform_reach_the_pipeline(samples):
    seen = {}

    def pipeline(file, **limits):
        seen.update(file, **limits)
        return FakeAnnotation(ROWS)

    diarizer = PyannoteDiarizer("fake/pipeline", pipeline=pipeline)
    diarizer.diarize(samples(np.zeros(1_600)), min_speakers=2, max_speakers=4)
    assert seen["waveform"].shape == (1, 1_600)
    assert (seen["sample_rate"], seen["num_speakers"]) == (16_000, None)
    assert (seen["min_speakers"], seen["max_speakers"]) == (2, 4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_that_cannot_be_had_says_what_to_do(samples, tmp_path, monkeypatch):
    try:
        import_pipeline()
    except DependencyError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    diarizer = PyannoteDiarizer("pyannote/speaker-diarization-community-1", offline=True)
    with pytest.raises(WeightsError) as caught:
        diarizer.diarize(samples(np.zeros(16_000)))
    assert "hf auth login" in caught.value.hint
