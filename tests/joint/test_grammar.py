"""Constrained text always parses, keeps to its clip, and is closed before the tokens run out."""

from __future__ import annotations

import json
import string
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from meetscribe.errors import ConfigError, ModelError
from meetscribe.joint.closing import closing
from meetscribe.joint.constrain import Constraint
from meetscribe.joint.grammar import Grammar, Mode, State
from meetscribe.joint.parse import parse
from meetscribe.joint.serialise import Order, serialise
from meetscribe.joint.spelling import printable, seconds, smallest
from meetscribe.joint.vocabulary import Vocabulary
from meetscribe.models.torchaudio_import import ensure_importable
from meetscribe.types import Utterance

LINES = b"<text>\n1.00-2.50>one two\n1.50-4.00>three\n2.00-3.00>four\n"
PART = b"</text>\n<speaker>\n"
EOS = "<|im_end|>"


def allows(text: bytes, **options: object) -> bool:
    grammar = Grammar(**{"duration": 10.0, **options})
    return grammar.run(State(), text) is not None


def check(text: str, grammar: Grammar) -> list[Utterance]:
    """Read a finished text by our parser and by a strict one; every promise must hold."""
    ET.fromstring(f"<root>{text}</root>")  # noqa: S314 - our own text
    parsed = parse(text)
    assert parsed.repairs == ()
    turns = list(parsed.utterances)
    spans = [line.partition(">")[0] for line in text.split("\n") if line[:1].isdigit()]
    assert len(turns) == len(spans) == len(set(spans))
    assert all(0 <= turn.start < turn.end <= grammar.duration for turn in turns)
    assert sum(len(turn.text.split()) for turn in turns) >= grammar.min_words
    first: dict[str, float] = {}
    for turn in turns:
        first.setdefault(turn.speaker, turn.start)
    ids = [str(number) for number in range(1, len(first) + 1)]
    assert sorted(first) == sorted(ids)
    assert len(ids) <= grammar.max_speakers
    assert [first[name] for name in ids] == sorted(first.values())
    starts = [float(span.partition("-")[0]) for span in spans]
    drops = sum(two < one for one, two in pairwise(starts))
    assert drops <= (0 if grammar.order is Order.START else max(0, len(ids) - 1))
    return turns


# the grammar by bytes


@pytest.mark.parametrize(
    "text", [b"1.49-", b"9.99-10.00>", b"10.00-", b"2.50-2.50>", b"01", b"2.5-"]
)
def test_times_outside_the_clip_or_going_back_are_stopped(text: bytes) -> None:
    lines = LINES[: LINES.index(b"2.00-3.00")]
    assert allows(lines + text) == (text == b"9.99-10.00>")
    assert allows(lines + b"1.50-3.99>") and not allows(lines + b"1.50-4.00>")  # noqa: PT018


@pytest.mark.parametrize(
    ("words", "good"),
    [
        ("a > b, naïve 我们 don't".encode(), True),
        (b"R&D", False),
        (b"a <b>", False),
        (b"tab\t", False),
        ("line\u2028separator".encode(), False),
        (b"\xff", False),
        ("é".encode()[:1], True),
        ("é".encode()[:1] + b"x", False),
        ("é".encode()[:1] + b"\n", False),
        (b"  \n", False),
        (b"\n", False),
        (b" x\n", True),
    ],
)
def test_words_are_printable_utf8_that_a_strict_reader_reads(words: bytes, good: bool) -> None:
    assert allows(LINES + b"2.00-5.00>" + words) == good


@pytest.mark.parametrize(
    ("speakers", "good"),
    [
        (b'<spk id="1" g="u" t="1.00-2.50,1.50-4.00,2.00-3.00"/>\n</speaker>', True),
        (b'<spk id="1" g="f" t="1.00-2.50,2.00-3.00"/>\n<spk id="2" g="m" t="1.50-4.00"/>\n', True),
        (b'<spk id="2', False),
        (b'<spk id="1" g="x', False),
        (b'<spk id="1" g="u" t="1.50', False),
        (b'<spk id="1" g="u" t="1.00-2.50,2.00-3.00,1', False),
        (b'<spk id="1" g="u" t="1.00-2.50"/>\n</', False),
        (b'<spk id="1" g="u" t="1.00-2.50,1.50-4.00,2.00-3.00,', False),
        (b"</speaker>", False),
    ],
)
def test_each_range_belongs_to_one_speaker_in_order(speakers: bytes, good: bool) -> None:
    assert allows(LINES + PART + speakers) == good


def test_by_speaker_starts_go_back_only_where_a_speaker_begins() -> None:
    lines = b"<text>\n1.00-2.00>a\n5.00-6.00>b\n1.50-2.00>c\n"
    by_speaker = {"order": Order.SPEAKER}
    assert not allows(lines)
    assert allows(lines, **by_speaker)
    assert not allows(lines + b"1.4", **by_speaker)  # before the first of the latest speaker
    assert not allows(lines, **by_speaker, max_speakers=1)
    part = lines + PART + b'<spk id="1" g="u" t="1.00-2.00'
    assert allows(part + b',5.00-6.00"/>\n<spk id="2" g="u" t="1.50-2.00"/>\n', **by_speaker)
    # somebody who begins at 5 s cannot be before somebody who begins at 1.5 s
    assert not allows(part + b'"', **by_speaker)
    assert not allows(part + b",1.50", **by_speaker)


def test_the_last_speaker_has_all_that_is_left() -> None:
    part = LINES + PART + b'<spk id="1" g="u" t="1.00-2.50'
    assert not allows(part + b'"', max_speakers=1)
    assert not allows(part + b",2", max_speakers=1)
    assert allows(part + b'"/>\n<spk id="2" g="u" t="1.50-4.00,', max_speakers=2)
    assert not allows(part + b'"/>\n<spk id="2" g="u" t="1.50-4.00"', max_speakers=2)


def test_the_text_part_is_not_left_before_the_words_are_there() -> None:
    assert not allows(LINES + b"</", min_words=5)
    assert allows(LINES + b"</", min_words=4)
    with pytest.raises(ConfigError, match="holds no turn"):
        Grammar(0.004, min_words=1)


@st.composite
def groups(draw):
    spans = draw(
        st.lists(
            st.tuples(st.integers(0, 2000), st.integers(1, 900)),
            max_size=8,
            unique_by=lambda span: (span[0], sum(span)),
        )
    )
    words = st.text(st.sampled_from("ab é我\u200d>.'\U0001f600"), min_size=1).filter(str.strip)
    return [
        Utterance(draw(st.sampled_from("abc")), start / 100, (start + length) / 100, draw(words))
        for start, length in spans
    ]


@settings(deadline=None)
@given(groups(), st.sampled_from(Order))
def test_every_target_is_of_the_grammar(utterances, order: Order) -> None:
    grammar = Grammar(30.0, order, max_speakers=3)
    listed = sorted(utterances, key=lambda turn: turn.start)  # as corpora have them
    state = grammar.run(State(), serialise(listed, order=order).encode())
    assert state is not None
    assert state.mode is Mode.DONE


@given(
    st.data(),
    st.sampled_from(Order),
    st.sampled_from([0.0, 0.01, 0.03, 1.0, 12.34, 130.0]),
    st.integers(1, 4),
    st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_from_every_state_the_way_to_the_end_gives_a_text_that_parses(
    data, order: Order, duration: float, speakers: int, words: int
) -> None:
    grammar = Grammar(duration, order, speakers, min_words=words if duration else 0)
    state, text = State(), b""
    for _ in range(data.draw(st.integers(0, 400))):
        few = grammar.choices(state) or b"ab \n\n\xc3\xa9"
        going_on = {byte: grammar.step(state, byte) for byte in few}
        fitting = sorted(
            byte
            for byte, after in going_on.items()
            if after is not None and closing(grammar, after) is not None
        )
        if not fitting:
            break
        byte = data.draw(st.sampled_from(fitting))
        state, text = going_on[byte], text + bytes((byte,))
    way = closing(grammar, state)
    assert way is not None
    for piece in way:  # whoever follows the way finds it again
        for byte in piece:
            rest = b"".join(closing(grammar, state) or [])
            assert rest[0] == byte
            state, text = grammar.step(state, byte), text + bytes((byte,))
            assert state is not None
            assert b"".join(closing(grammar, state) or []) == rest[1:]
    assert state.mode is Mode.DONE
    check(text.decode(), grammar)


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(0, 9999), st.text(string.digits + ".", max_size=6))
def test_the_smallest_time_is_what_counting_gives(low: int, high: int, prefix: str) -> None:
    counted = (time for time in range(low, high + 1) if seconds(time).startswith(prefix))
    assert smallest(prefix.encode(), low, high) == next(counted, None)


# with tokens


def trained() -> Tokenizer:
    """Give a byte-level BPE of a few hundred tokens, some of which run over a line's end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", EOS],
        show_progress=False,
    )
    texts = [
        serialise(
            [Utterance("a", i / 7, i / 3, f"well naïve 我们 {i}"), Utterance("b", i, i + 1, "so")]
        )
        for i in range(1, 60)
    ]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return trained()


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary.of(tokenizer)


def random_model(size: int, seed: int):
    """Give a language model that knows nothing; its vocabulary is wider than the tokenizer's."""
    ensure_importable()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size + 12,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def generate(tokenizer, vocabulary, grammars, *, budget: int, seed: int, **options) -> list[str]:
    """Give the texts of a random model, none of which may be without its end token."""
    eos = tokenizer.token_to_id(EOS)
    model = random_model(len(vocabulary), seed)
    constraint = Constraint(vocabulary, grammars, max_new_tokens=budget, eos_token_id=eos)
    prompt = torch.randn(len(grammars), 5, 32)
    ids = model.generate(
        inputs_embeds=prompt,
        attention_mask=torch.ones(prompt.shape[:2]),
        max_new_tokens=budget,
        eos_token_id=eos,
        pad_token_id=0,
        logits_processor=[constraint],
        **options,
    )
    texts = []
    for row in ids.tolist():
        assert eos in row  # closed in time
        texts.append(tokenizer.decode(row[: row.index(eos)], skip_special_tokens=False))
    return texts


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("sampled", [True, False])
def test_no_text_of_a_random_model_fails_to_parse(tokenizer, vocabulary, order, sampled) -> None:
    durations = [0.5, 2.0, 3.21, 9.99, 10.0, 17.5, 29.9, 30.0, 80.0, 100.0, 123.45, 600.0]
    grammars = [
        Grammar(duration, order, max_speakers=1 + number % 4, min_words=30)
        for number, duration in enumerate(durations)
    ]
    texts = generate(tokenizer, vocabulary, grammars, budget=240, seed=1, do_sample=sampled)
    for text, grammar in zip(texts, grammars, strict=True):
        check(text, grammar)


def test_texts_with_many_lines_fit_their_tokens_whatever_these_are(vocabulary) -> None:
    eos = vocabulary.tokens.index(None, 1)
    random = torch.Generator().manual_seed(0)
    # a line's end, a comma and times are made likely: random weights alone write one long line
    likely = [index for index, token in enumerate(vocabulary.tokens) if token in LIKELY]
    lines = speakers = 0
    for trial in range(12):
        order = list(Order)[trial % 2]
        durations = (0.02, 0.09, 4.0, 30.0, 123.4)
        grammars = [Grammar(d, order, 1 + trial % 5, trial % 4 * 3) for d in durations]
        least = max(least_tokens(vocabulary, grammar) for grammar in grammars)
        budget = least + (0, 1, 2, 40, 150, 300)[trial // 2]
        constraint = Constraint(vocabulary, grammars, max_new_tokens=budget, eos_token_id=eos)
        ids = torch.zeros(len(grammars), 0, dtype=torch.int64)
        for _ in range(budget):
            scores = torch.randn(len(grammars), len(vocabulary), generator=random)
            scores[:, likely] += 6
            allowed = constraint(ids, scores).softmax(-1)
            ids = torch.cat([ids, torch.multinomial(allowed, 1, generator=random)], 1)
        for row, grammar in zip(ids.tolist(), grammars, strict=True):
            tokens = [vocabulary.tokens[index] for index in row[: row.index(eos)]]
            turns = check(b"".join(tokens).decode(), grammar)
            lines, speakers = lines + len(turns), speakers + len({turn.speaker for turn in turns})
    assert lines > 100
    assert speakers > 50


LIKELY = {b"\n", b",", b'"', b".", b"-", b">", *(b"%d" % digit for digit in range(10))}


def least_tokens(vocabulary: Vocabulary, grammar: Grammar) -> int:
    with pytest.raises(ConfigError, match="expected at least") as caught:
        Constraint(vocabulary, [grammar], max_new_tokens=0, eos_token_id=1)
    return int(caught.value.message.split("at least ")[1].split()[0])


def test_the_fewest_tokens_are_enough_and_one_less_is_refused(tokenizer, vocabulary) -> None:
    grammar = Grammar(12.0, min_words=30)
    least = least_tokens(vocabulary, grammar)
    for seed in range(3):
        texts = generate(tokenizer, vocabulary, [grammar], budget=least, seed=seed, do_sample=True)
        check(texts[0], grammar)
    with pytest.raises(ConfigError, match=rf"found {least - 1}, expected at least {least} "):
        Constraint(vocabulary, [grammar], max_new_tokens=least - 1, eos_token_id=1)


@pytest.mark.parametrize(
    "options",
    [{"num_beams": 3, "do_sample": False}, {"num_return_sequences": 3, "do_sample": True}],
    ids=["beams", "samples"],
)
def test_beams_and_several_samples_keep_to_their_own_clip(tokenizer, vocabulary, options) -> None:
    grammars = [Grammar(1.0, min_words=3), Grammar(50.0, min_words=3)]
    texts = generate(tokenizer, vocabulary, grammars, budget=90, seed=3, **options)
    each = len(texts) // 2
    for number, text in enumerate(texts):
        check(text, grammars[number // each])


def test_the_published_layouts_tokenizer(data) -> None:
    path = data.parent / "goldens" / "tagspeech" / "tiny" / "tokenizer.json"
    if not path.exists():
        pytest.skip("no goldens here")
    tokenizer = Tokenizer.from_file(str(path))
    grammars = [Grammar(duration, min_words=30) for duration in (3.2, 5.1, 30.0, 12.0)]
    vocabulary = Vocabulary.of(tokenizer)
    texts = generate(tokenizer, vocabulary, grammars, budget=200, seed=5, do_sample=True)
    for text, grammar in zip(texts, grammars, strict=True):
        check(text, grammar)


def test_what_the_published_layouts_model_writes_is_let_through_as_it_is(data) -> None:
    folder = data.parent / "goldens" / "tagspeech"
    if not folder.is_dir():
        pytest.skip("no goldens here")
    texts = json.loads((folder / "io.json").read_text(encoding="utf-8"))["modes"]["f32"]["batch"]
    tokenizer = Tokenizer.from_file(str(folder / "tiny" / "tokenizer.json"))
    vocabulary = Vocabulary.of(tokenizer)
    eos = tokenizer.token_to_id(EOS)
    written = [[*tokenizer.encode(text).ids, eos] for text in texts["text_full"]]
    budget = max(map(len, written))
    written = [[*row, *[0] * (budget - len(row))] for row in written]
    grammars = [Grammar(3.2), Grammar(5.1)]
    constraint = Constraint(vocabulary, grammars, max_new_tokens=budget + 40, eos_token_id=eos)
    ids = torch.tensor(written)
    for step in range(budget):
        allowed = constraint(ids[:, :step], torch.zeros(2, 640, dtype=torch.float16))
        for row, tokens in zip(allowed, written, strict=True):
            ended = eos in tokens[:step]
            assert torch.isfinite(row[eos if ended else tokens[step]])


def test_a_vocabulary_of_pieces_with_byte_fallback() -> None:
    pieces = ["<unk>", "<s>", EOS, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", "▁a", "text", "▁well", "<", ">", "1", ".", "0", "▁g", '="']
    tokenizer = Tokenizer(
        models.BPE({piece: number for number, piece in enumerate(pieces)}, [], byte_fallback=True)
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", EOS])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.tokens[2] is None
    assert vocabulary.tokens[3 + 0x0A] == b"\n"
    assert vocabulary.cost(b' g="') == 2
    grammar = Grammar(5.0, min_words=4)
    texts = generate(tokenizer, vocabulary, [grammar] * 3, budget=250, seed=2, do_sample=True)
    for text in texts:
        check(text, grammar)


def test_a_tokenizer_whose_tokens_are_not_bytes_is_refused() -> None:
    other = Tokenizer(models.WordPiece({"[UNK]": 0}))
    other.decoder = decoders.WordPiece()
    with pytest.raises(ModelError, match="WordPiece"):
        Vocabulary.of(other)
    with pytest.raises(ConfigError, match="cannot write"):
        Constraint(Vocabulary([b"a", None]), [Grammar(1.0)], max_new_tokens=99, eos_token_id=1)


def test_a_token_that_somebody_else_chose_is_refused(vocabulary) -> None:
    constraint = Constraint(vocabulary, [Grammar(1.0)], max_new_tokens=99, eos_token_id=1)
    scores = torch.zeros(1, len(vocabulary))
    constraint(torch.zeros(1, 4, dtype=torch.int64), scores)
    with pytest.raises(ModelError, match="token 1 is against the grammar"):
        constraint(torch.tensor([[0, 0, 0, 0, 1]]), scores)


@settings(deadline=None)
@given(st.characters())
def test_what_is_printable_survives_a_line_of_the_format(char: str) -> None:
    text = f"<text>\n0.00-1.00>a{char}b\n</text>\n<speaker>\n"
    if printable(char):
        turns = parse(text + '<spk id="1" g="u" t="0.00-1.00"/>\n</speaker>').utterances
        assert turns[0].text == f"a{char}b"
