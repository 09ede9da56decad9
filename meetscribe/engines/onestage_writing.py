"""What each speaker says: regions of his speech, heard with all channels, to words with times.

turns -> regions of every speaker -> batches -> hearings -> tokens -> times, verdict -> words

Sound is read batch by batch; a region that several speakers share is read once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe.config import config_hash
from meetscribe.engines import stages
from meetscribe.engines.device import cores, in_what_fits
from meetscribe.engines.joint_groups import utterance_groups
from meetscribe.engines.onestage_models import Listener, OnestageModels
from meetscribe.engines.run import Run
from meetscribe.errors import ModelError
from meetscribe.models import describe_model
from meetscribe.recognize import RecognizedRegion, guard
from meetscribe.recognize.vad import FRAME_S
from meetscribe.recognize.words import fit_to_speech, split_tokens, timed_words
from meetscribe.spatial.solo import find_places
from meetscribe.types import Activity, AudioReader, Segment, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.engines.onestage_settings import OnestageEngineSettings
    from meetscribe.ingest import ChannelAudio
    from meetscribe.onestage.alignment import Aligned
    from meetscribe.onestage.decode import Heard
    from meetscribe.onestage.front_end import FrontEnd, Hearing
    from meetscribe.onestage.tokens import Vocabulary

_CPU_BATCH, _BATCH = 8, 32


@dataclass(frozen=True, slots=True)
class Item:
    """One speaker in one region of his speech."""

    region: Segment
    speaker: str


def regions_of(
    turns: Sequence[Turn], audio: AudioReader, settings: OnestageEngineSettings
) -> list[Item]:
    """Cut every speaker's speech into regions.

    Returns
    -------
    The longest first, so that memory runs out early or not at all, and batches hold regions of
    similar length. Those of one speaker do not overlap.
    """
    items = []
    for speaker in dict.fromkeys(turn.speaker for turn in turns):
        own = [
            Turn(turn.start, min(turn.end, audio.duration), speaker)
            for turn in turns
            if turn.speaker == speaker and turn.start < audio.duration
        ]
        items += [
            Item(region, speaker) for region in utterance_groups(own, audio, settings.regions)
        ]
    return sorted(items, key=lambda one: (-one.region.duration, one.region, one.speaker))


class Listening:
    """All that is needed to hear the speakers of one recording; nothing is read or loaded early.

    Parameters
    ----------
    channels : of the array, at least two
    activity : who speaks when; says where solo segments are
    """

    def __init__(
        self, channels: ChannelAudio, activity: Activity, run: Run, models: OnestageModels
    ) -> None:
        self._channels, self._activity = channels, activity
        self._run, self._models = run, models
        # where everybody is follows from all turns: hashed once, for there are many batches
        self._decided_by = config_hash(
            stages.activity_to_json(activity),
            models.describe_adapter(),
            describe_model(models.adapter.settings.target.base),
            channels.num_channels,
        )

    @cached_property
    def front_end(self) -> FrontEnd:
        """What makes hearings; it knows where everybody is."""
        from meetscribe.onestage.front_end import FrontEnd

        models, adapter = self._models, self._models.adapter.settings
        device = models.torch_device
        with cores(models.threads):
            places = find_places(
                self._channels, self._activity.turns, adapter.front_end.solo, device=device
            )
        return FrontEnd(
            self._channels,
            self._activity.turns,
            adapter.front_end,
            adapter.embedding,
            num_mel_bins=models.listener.network.target.whisper.shape.num_mel_bins,
            trailing_s=adapter.target.trailing_s,
            device=device,
            profiles=places,
        )

    def placeless(self) -> list[str]:
        """Give the speakers who are never heard alone, so that nothing says who they are."""

        def make() -> list[str]:
            return [name for name, place in self.front_end.profiles.items() if place is None]

        found: list[str] = self._run.keep("places", (self._decided_by,), make)
        return found

    def write(self, items: Sequence[Item], language: str) -> list[RecognizedRegion]:
        """Write what is said in every item, in their order, batch by batch."""
        whole = sum(item.region.duration for item in items) or 1.0
        done = 0.0
        made: list[RecognizedRegion] = []
        self._run.progress("recognize", 0.0)
        size = self._batch_size()
        for first in range(0, len(items), size):
            batch = items[first : first + size]
            made += self._kept(batch, language)
            done += sum(item.region.duration for item in batch)
            self._run.progress("recognize", min(1.0, done / whole))
        return made

    def _batch_size(self) -> int:
        on_cpu = self._models.torch_device == "cpu"
        return self._models.settings.batch_size or (_CPU_BATCH if on_cpu else _BATCH)

    def _kept(self, batch: Sequence[Item], language: str) -> list[RecognizedRegion]:
        def make() -> dict[str, Any]:
            with cores(self._models.threads):
                heard = in_what_fits(batch, lambda part: self._decoded(part, language), _too_much)
                return stages.words_to_json(language, heard)

        decided_by = (
            self._decided_by,
            language,
            [(item.speaker, item.region.start, item.region.end) for item in batch],
        )
        return stages.words_from_json(self._run.keep("onestage", decided_by, make))[1]

    def _decoded(self, batch: Sequence[Item], language: str) -> list[RecognizedRegion]:
        from meetscribe.onestage.adapter import stack
        from meetscribe.onestage.alignment import align
        from meetscribe.onestage.decode import decode

        listener = self._models.listener
        whisper, vocabulary = listener.network.target.whisper, listener.vocabulary
        start = vocabulary.start(language, timestamps=False)
        inputs = stack(list(self._hearings(batch)))
        encoded_bsd = listener.network.encode(inputs)
        durations = [item.region.duration for item in batch]
        texts = decode(
            whisper,
            encoded_bsd,
            vocabulary,
            steps=inputs.steps,
            durations=durations,
            budgets=[guard.token_budget(duration) for duration in durations],
            start=start,
        )
        times = align(
            whisper,
            encoded_bsd,
            [text.tokens for text in texts],
            start=start,
            end=vocabulary.end,
            steps=inputs.steps,
            durations=durations,
            heads=listener.heads,
        )
        return [
            recognised(item, text, time, listener, self._activity.turns)
            for item, text, time in zip(batch, texts, times, strict=True)
        ]

    def _hearings(self, batch: Sequence[Item]) -> Iterator[Hearing]:
        for region, items in groupby(batch, key=lambda item: item.region):
            yield from self.front_end.hear(region, [item.speaker for item in items])


def _too_much(item: Item) -> ModelError:
    return ModelError(
        f"onestage: out of memory on a region of {item.region.duration:.1f} s",
        hint="use --device cpu, or a shorter regions.longest_s",
    )


class _Spelling:
    """Tokens to text as it stands, with the spaces that words begin with."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = vocabulary.tokenizer

    def decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens))


def recognised(
    item: Item, text: Heard, times: Aligned, listener: Listener, turns: Sequence[Turn]
) -> RecognizedRegion:
    """Give the words of an item with their times, but for what nobody said (``guard``).

    A word that is longer than it can be is shortened to where its speaker is active.
    """
    region = item.region
    own_t = _active(item, turns)
    spans = split_tokens(text.tokens, _Spelling(listener.vocabulary))
    timed = timed_words(spans, times.starts, times.probs, end=region.duration) if spans else []
    words = fit_to_speech(timed, own_t, region)
    verdict = guard.judge(
        text.text,
        units=text.tokens,
        speech_s=region.duration,
        avg_logprob=text.avg_logprob,
        no_speech=text.no_speech,
        full=text.full,
        voiced=guard.voiced_share(words, own_t, region.start),
    )
    if verdict.silent:
        words = ()
    elif verdict.looped:
        words = guard.without_loop(words)
    return RecognizedRegion(
        region.start,
        region.end,
        words=words,
        flags=("unclear",) if verdict.unclear and words else (),
        avg_logprob=text.avg_logprob,
        no_speech=text.no_speech,
        compression=guard.compression(text.text),
    )


def _active(item: Item, turns: Sequence[Turn]) -> NDArray[np.float32]:
    """Give where the speaker is active in his region, 1 or 0 for every 32 ms."""
    middle_t = item.region.start + FRAME_S * (
        np.arange(-(-item.region.duration // FRAME_S), dtype=np.float64) + 0.5
    )
    active_t = np.zeros(len(middle_t), dtype=bool)
    for turn in turns:
        if turn.speaker == item.speaker:
            active_t |= (middle_t >= turn.start) & (middle_t < turn.end)
    return active_t.astype(np.float32)
