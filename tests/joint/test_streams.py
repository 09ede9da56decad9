"""How streams stand in the prompt: separate, in turn, or side by side; one, two or three."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from meetscribe.errors import ShapeError
from meetscribe.joint import anchors, layout
from meetscribe.joint.batch import pad
from meetscribe.joint.checkpoint import load, new
from meetscribe.joint.config import JointConfig
from meetscribe.joint.prompt import IGNORED
from tests.joint import builders, small_catalogue

pytestmark = pytest.mark.usefixtures("catalogue")

DIGITS = torch.arange(10.0)[:, None].expand(10, 2) * torch.tensor([1.0, 0.0]) - 100
lengths = st.integers(0, 30)


def coded(stream, lens):
    """Give frames that say which they are: (stream, number)."""
    return pad(
        [
            torch.stack([torch.full((length,), float(stream)), torch.arange(float(length))], dim=1)
            for length in lens
        ]
    )


def said(row):
    """Read coded frames and digits back."""
    return [
        int(first + 100) if first < -50 else (int(first), int(second))
        for first, second in row.tolist()
    ]


def in_turn(streams, chunks, digits=DIGITS, **ends):
    return layout.interleave(streams, chunks, digits, dtype=torch.float32, **ends)


def test_stretches_stand_in_turn_behind_their_anchor():
    (row,) = in_turn([coded(1, [5]), coded(2, [5])], [2, 2]).rows()
    assert said(row) == [
        *(1, (1, 0), (1, 1), (2, 0), (2, 1)),
        *(2, (1, 2), (1, 3), (2, 2), (2, 3)),
        *(3, (1, 4), (2, 4), 4),
    ]


def test_without_ends_anchors_stand_between():
    (row,) = in_turn([coded(1, [4]), coded(2, [2])], [2, 1], ends=False).rows()
    assert said(row) == [(1, 0), (1, 1), (2, 0), 1, (1, 2), (1, 3), (2, 1)]


@given(
    st.lists(st.tuples(lengths, lengths, lengths), min_size=1, max_size=3),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.booleans(),
    st.booleans(),
)
def test_nothing_is_lost_and_each_stream_keeps_its_order(lens, chunks, anchored, ends):
    streams = [coded(at, [clip[at] for clip in lens]) for at in range(3)]
    digits = DIGITS if anchored else None
    made = in_turn(streams, chunks, digits, ends=ends)
    for clip, row in zip(lens, made.rows(), strict=True):
        things = said(row)
        frames = [thing for thing in things if isinstance(thing, tuple)]
        for at in range(3):
            assert [frame for frame in frames if frame[0] == at] == [
                (at, number) for number in range(clip[at])
            ]
        # a frame stands behind all earlier stretches of all streams
        order = [frame[1] // chunks[frame[0]] for frame in frames]
        assert order == sorted(order)
        stretches = max(-(-length // chunk) for length, chunk in zip(clip, chunks, strict=True))
        numbers = [thing for thing in things if isinstance(thing, int)]
        count = max(0, stretches + (1 if ends else -1)) if anchored and stretches else 0
        expected = "".join(str(number) for number in range(1, count + 1))
        assert "".join(map(str, numbers)) == expected


def test_a_batch_is_each_clip_alone():
    streams = [coded(1, [5, 0, 17]), coded(2, [4, 0, 18])]
    together = in_turn(streams, [4, 4]).rows()
    for at, found in enumerate(together):
        (alone,) = in_turn([pad([stream.rows()[at]]) for stream in streams], [4, 4]).rows()
        assert torch.equal(found, alone)
    assert len(together[1]) == 0


def test_digits_of_another_size_are_refused():
    with pytest.raises(ShapeError, match=r"\(10, 2\)"):
        in_turn([coded(1, [3])], [2], torch.zeros(10, 5))


def test_side_by_side():
    found = layout.side_by_side([coded(1, [7, 2]), coded(2, [3, 9])], [2, 1])
    assert found.lens == (3, 1)
    assert found.values_btd[0, 1].tolist() == [1, 2, 1, 3, 2, 1]


def write(tmp_path, **changes):
    folder = builders.write_checkpoint(tmp_path / "checkpoint")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


CLIPS = [builders.clip(3.1), builders.clip(1.2, seed=1)]


@pytest.mark.parametrize("kind", ["tagspeech", "tagspeech-base"])
def test_the_same_vectors_in_another_order(tmp_path, kind):
    separate = load(write(tmp_path / "a", model_type=kind))
    turns = load(write(tmp_path / "b", model_type=kind, stream_layout="interleaved"))
    features = separate.features(CLIPS)
    apart, mixed = separate.listen(features), turns.listen(features)
    digits = Counter(map(tuple, separate.digits_kd.tolist() if kind == "tagspeech" else []))
    for at in range(len(CLIPS)):
        rows = torch.cat([apart[name].rows()[at] for name in ("semantic", "voice")])
        expected, found = (
            Counter(vector for vector in map(tuple, rows.tolist()) if vector not in digits)
            for rows in (rows, mixed["audio"].rows()[at])
        )
        assert found == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"stream_layout": "interleaved"},
        {"stream_layout": "interleaved", "insert_anchors_at_ends": False},
        {"stream_layout": "features"},
        {"voice_stream": False},
        {"voice_stream": False, "stream_layout": "interleaved"},
    ],
)
def test_answers_labels_and_gradients_of_every_layout(changes):
    model = new(quick(**changes))
    heard = model.listen(model.features(CLIPS))
    together = model.generate(heard, max_new_tokens=6)
    for clip, answer in zip(CLIPS, together, strict=True):
        alone = model.generate(model.listen(model.features([clip])), max_new_tokens=6)
        assert alone[0].ids == answer.ids
    rows = model.training_rows(heard, ["<text>\n</text>"] * 2)
    for at, row in enumerate(rows):
        places = sum(heard[place].lens[at] for place in model.places)
        assert row.ids.count(model.chat.audio_id) == places
        learned = [token for token in row.labels if token != IGNORED]
        assert model.chat.tokenizer.decode(learned) == "<text>\n</text><|im_end|>\n"
    for weight in model.learned.values():
        weight.requires_grad_()
    heard = model.listen(model.features(CLIPS))
    model.loss(model.training_input(heard, rows)).mean.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.learned.values())


def quick(**changes):
    return small_catalogue.config(voice_encoder_config=small_catalogue.WHISPER, **changes)


def test_one_place_is_named_so_in_the_prompt(tmp_path):
    model = load(write(tmp_path, stream_layout="interleaved"))
    assert "user\n<audio><|AUDIO|></audio><|im_end|>" in model.chat.prompt


def test_frames_side_by_side_go_through_one_projector():
    model = new(quick(stream_layout="features"))
    frames = model.encode(model.features(CLIPS), apart=True)
    both = [frames[name].rows()[0] for name in ("semantic", "voice")]
    steps = len(both[0]) // 8
    joined = torch.cat([row[: 8 * steps].reshape(steps, -1) for row in both], dim=1)
    expected = model.features_projector(pad([joined])).values_btd[0]
    torch.testing.assert_close(model.project(frames)["audio"].rows()[0], expected)
    assert {name.partition(".")[0] for name in model.learned} == {"features_projector"}


def test_streams_of_other_rates_have_the_same_anchors_at_the_same_times():
    model = new(quick(voice_projector_ds_rate=4, voice_anchor_interval=16))
    heard = model.listen(model.features([builders.clip(5.12)]))
    # 1.28 s between anchors in both: 32 frames of 0.16 s with 5, 64 of 0.08 s with 5
    assert {name: row.lens for name, row in heard.items()} == {"semantic": (37,), "voice": (69,)}
    places = {
        name: [at for at, row in enumerate(heard[name].values_btd[0]) if is_digit(row, model)]
        for name in heard
    }
    assert places == {"semantic": [0, 9, 18, 27, 36], "voice": [0, 17, 34, 51, 68]}


def is_digit(row, model):
    return bool((row == model.digits_kd).all(dim=1).any())


FAST = {"model_type": "whisper"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "1.28 s.*0.64 s"),
        ({"model_type": "tagspeech-base", "stream_layout": "interleaved"}, "1.28 s.*0.64 s"),
        ({"voice_anchor_interval": 16, "stream_layout": "features"}, "0.16 s.*0.08 s"),
        ({"model_type": "tagspeech-base", "stream_layout": "features"}, "0.16 s.*0.08 s"),
        ({"voice_projector_ds_rate": 8, "spatial_encoder_config": {"model_type": "spatial"},
          "spatial_projector_ds_rate": 5}, "spatial"),
        ({"stream_layout": "diagonal"}, "stream_layout"),
        ({"voice_projector_ds_rate": 8, "llm_config": {}}, "no model_type"),
    ],
)  # fmt: skip
def test_streams_that_do_not_meet_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        mixed(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"voice_projector_ds_rate": 8},
        {"voice_anchor_interval": 16},
        {"model_type": "tagspeech-base"},
        {"voice_projector_ds_rate": 8, "stream_layout": "features"},
        {"voice_projector_ds_rate": 2, "voice_anchor_interval": 32, "stream_layout": "interleaved"},
        {"voice_stream": False},
    ],
)
def test_streams_that_meet_are_taken(changes):
    assert mixed(**changes).streams[0].rate_hz == 25


def mixed(**changes):
    values = {
        "audio_encoder_config": {},
        "voice_encoder_config": FAST,
        "llm_config": {"model_type": "qwen2"},
    }
    return JointConfig.model_validate_json(json.dumps(values | changes))


def test_the_models_of_the_catalogue_are_told():
    assert quick().catalogue == ("small-whisper", "small-llm")
    assert mixed(voice_projector_ds_rate=8).catalogue == ()


@given(
    st.integers(1, 200),
    st.sampled_from(["separate", "interleaved", "features"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
)
def test_positions_are_counted_before_anything_is_heard(length, stream_layout, plain, ends, chunk):
    config = mixed(
        model_type="tagspeech-base" if plain else "tagspeech",
        stream_layout=stream_layout,
        insert_anchors_at_ends=ends,
        voice_projector_ds_rate=8,
        semantic_anchor_interval=chunk,
        voice_anchor_interval=chunk,
    )
    frames = pad([torch.zeros(length, 2)])
    digits = None if plain else DIGITS
    if stream_layout == "interleaved":
        made = in_turn([frames] * 2, [chunk] * 2, digits, ends=ends).lens[0]
    else:
        format_ = {"ends": ends, "dtype": torch.float32}
        one = frames if plain else anchors.insert(frames, DIGITS, interval=chunk, **format_)
        made = one.lens[0] * (1 if stream_layout == "features" else 2)
    assert layout.num_positions(config, 0.16 * length - 0.05) == made
