"""What was said: pieces of speech in, words with times and confidence out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from meetscribe.errors import ConfigError
from meetscribe.recognize import guard
from meetscribe.recognize.attempts import Attempt, Piece, in_two, joined
from meetscribe.recognize.languages import language_prior, prompt_for
from meetscribe.recognize.model import Decoded, WhisperModel
from meetscribe.recognize.regions import cut_regions, spread
from meetscribe.recognize.settings import RecognizerSettings
from meetscribe.recognize.vad import FRAME_S, speech_probability
from meetscribe.recognize.words import (
    RecognizedRegion,
    capitalised,
    fit_to_speech,
    split_tokens,
    timed_words,
)
from meetscribe.types import AudioReader, Parts, Progress, Segment, all_at_once, no_progress

log = logging.getLogger(__name__)

_GPU_BATCH, _CPU_BATCH = 16, 2
_LANGUAGE_PIECES = 6
_HALVING_S = 4.0
_NAMED = 8
_PART_PIECES = 8
"""Pieces that are kept together as a part of a long recording: about three minutes of speech."""
_PART_STRETCHES = 32
_RETRY_TEMPERATURE = 0.4
_AGAIN_SHORTEST_S, _AGAIN_REST_S = 5.0, 1.0
_FAILURES = (RuntimeError, ValueError, MemoryError)
"""What CTranslate2 raises: a GPU out of memory is a RuntimeError."""


class Recognizer:
    """Whisper over pieces of speech, guarded against loops and inventions.

    Parameters
    ----------
    settings : how to recognise
    model_dir : CTranslate2 folder of a Whisper model of any size
    device : ``cpu``, ``cuda``, ``cuda:1`` or ``auto``
    threads : cores to use on the CPU, None for the library's choice

    Raises
    ------
    WeightsError, ModelError
        If the model cannot be loaded.
    """

    def __init__(
        self,
        settings: RecognizerSettings,
        *,
        model_dir: Path,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.settings = settings
        self._model = WhisperModel(
            model_dir, device=device, compute_type=settings.compute_type, threads=threads
        )
        default = _GPU_BATCH if self._model.on_gpu else _CPU_BATCH
        self._batch_size = settings.batch_size or default

    def detect_language(self, audio: AudioReader, regions: Sequence[Segment]) -> tuple[str, float]:
        """Give the language of a session and its probability.

        Up to six pieces spread over all speech are heard, and their probabilities averaged,
        weighted by how much of each piece is speech. A language of which Whisper learnt next to
        nothing must be five times as likely as another. Without any speech: ``("", 0.0)``.
        """
        pieces = self.cut(audio, regions)
        chosen = spread(pieces, _LANGUAGE_PIECES)
        heard = [piece for piece in self._load(audio, chosen) if self._is_speech(piece)]
        total: dict[str, float] = {}
        weights = 0.0
        for piece in heard:
            weight = float(piece.speech_t.sum()) * FRAME_S
            weights += weight
            (row,) = self._model.languages_of(self._model.encode([piece.samples]))
            for code, probability in row.items():
                total[code] = total.get(code, 0.0) + weight * probability
        if not total or weights <= 0:
            return "", 0.0
        best = max(total, key=lambda code: total[code] * language_prior(code))
        return best, total[best] / weights

    def recognize(
        self,
        audio: AudioReader,
        regions: Sequence[Segment],
        *,
        language: str,
        progress: Progress = no_progress,
        keep: Parts[list[RecognizedRegion]] = all_at_once,
    ) -> list[RecognizedRegion]:
        """Recognise what is said in ``regions``.

        Parameters
        ----------
        regions : stretches of speech of any length; they may overlap, and are cut into pieces
        language : ISO 639-1 code
        progress : called with ``"recognize"``
        keep : keeps what was recognised in every few pieces

        Returns
        -------
        One result per piece, sorted, disjoint. A piece without words is there too; one that
        could not be decoded is flagged ``unclear``.

        Raises
        ------
        ConfigError
            If the model does not know the language.
        """
        self._check_language(language)
        pieces = self.cut(audio, regions)
        parts = self.parts(pieces)
        if len(parts) < 2:  # noqa: PLR2004 - the result of the stage has it all
            keep = all_at_once
        whole = sum(piece.duration for piece in pieces) or 1.0
        results: list[RecognizedRegion] = []
        done = 0.0
        for part in parts:
            seconds = sum(piece.duration for piece in part)
            inner = _part_of(progress, done / whole, seconds / whole)
            make = partial(self.recognize_part, audio, part, language=language, progress=inner)
            results += keep(_name_of(part), make)
            done += seconds
            progress("recognize", min(1.0, done / whole))
        results = capitalised(results)
        unclear = sum("unclear" in result.flags for result in results)
        log.info("recognised %d pieces, %d unclear", len(results), unclear)
        return results

    def parts(self, pieces: Sequence[Segment]) -> list[list[Segment]]:
        """Group the pieces that ``cut`` gives into parts that are worth keeping one by one.

        Whole batches: what is decoded together is the same however far an earlier run has come.
        """
        size = max(1, _PART_PIECES // self._batch_size) * self._batch_size
        return [list(pieces[first : first + size]) for first in range(0, len(pieces), size)]

    def recognize_part(
        self,
        audio: AudioReader,
        pieces: Sequence[Segment],
        *,
        language: str,
        progress: Progress = no_progress,
    ) -> list[RecognizedRegion]:
        """Recognise pieces that ``cut`` gave; ``capitalised`` is left for the whole.

        Raises
        ------
        ConfigError
            If the model does not know the language.
        """
        self._check_language(language)
        results: list[RecognizedRegion] = []
        for first in range(0, len(pieces), self._batch_size):
            batch = pieces[first : first + self._batch_size]
            results += self._recognize_batch(list(self._load(audio, batch)), language)
            progress("recognize", len(results) / len(pieces))
        return results

    def hear_again(
        self,
        audio: AudioReader,
        segments: Sequence[Segment],
        *,
        language: str,
        progress: Progress = no_progress,
        keep: Parts[list[RecognizedRegion]] = all_at_once,
    ) -> list[list[RecognizedRegion]]:
        """Hear short stretches on their own, each in two ways: without and with the prompt.

        Where the sound leaves Whisper guessing, the two ways guess differently; words that both
        give were said. Encoding stops soon after the end of a stretch, which costs a fraction of
        the usual 30 s.

        Parameters
        ----------
        segments : stretches of at most 25 s, in any order
        language : ISO 639-1 code
        progress : called with ``"recognize"``
        keep : keeps what was heard, all ways one after the other, of every few dozen stretches

        Returns
        -------
        For each way one result per segment, in their order. There is one way only for a language
        without a prompt. What looped, was invented or could not be decoded has no words.
        """
        prompt = prompt_for(language, self.settings.prompt)
        prompts = ["", prompt] if prompt else [""]
        heard: list[list[RecognizedRegion]] = [[] for _ in prompts]
        size = max(1, _PART_STRETCHES // self._batch_size) * self._batch_size
        if len(segments) <= size:
            keep = all_at_once

        def part(mine: Sequence[Segment]) -> list[RecognizedRegion]:
            ways: list[list[RecognizedRegion]] = [[] for _ in prompts]
            for first in range(0, len(mine), self._batch_size):
                batch = list(self._load(audio, mine[first : first + self._batch_size]))
                for way, more in zip(
                    ways, self._batch_again(batch, language, prompts), strict=True
                ):
                    way.extend(more)
            return [region for way in ways for region in way]

        for first in range(0, len(segments), size):
            mine = segments[first : first + size]
            made = keep(_name_of(mine), partial(part, mine))
            for number, results in enumerate(heard):
                results.extend(made[number * len(mine) : (number + 1) * len(mine)])
            progress("recognize", (first + len(mine)) / len(segments))
        return heard

    def _batch_again(
        self, pieces: Sequence[Piece], language: str, prompts: Sequence[str]
    ) -> list[list[RecognizedRegion]]:
        longest = max(piece.region.duration for piece in pieces)
        window_s = max(_AGAIN_SHORTEST_S, longest + _AGAIN_REST_S)
        try:
            encoded = self._model.encode([piece.samples for piece in pieces], window_s=window_s)
            made = [self._decode(encoded, pieces, language, prompt) for prompt in prompts]
        except _FAILURES as error:
            log.warning("%d stretches could not be heard again: %s", len(pieces), error)
            nothing = [RecognizedRegion(one.region.start, one.region.end) for one in pieces]
            return [nothing for _ in prompts]
        return [
            [self._if_sound(piece, one) for piece, one in zip(pieces, attempts, strict=True)]
            for attempts in made
        ]

    def _if_sound(self, piece: Piece, attempt: Attempt) -> RecognizedRegion:
        verdict = attempt.verdict
        sound = self._is_speech(piece) and not (verdict.runaway or verdict.silent)
        return RecognizedRegion(
            piece.region.start,
            piece.region.end,
            words=attempt.words if sound else (),
            avg_logprob=attempt.decoded.avg_logprob,
            no_speech=attempt.decoded.no_speech,
        )

    def _check_language(self, language: str) -> None:
        known = self._model.languages
        if language not in known:
            shown = ", ".join([*known[:_NAMED], *(["..."] if known[_NAMED:] else [])])
            raise ConfigError(
                f"language '{language}': this Whisper model knows {shown}",
                hint="give an ISO 639-1 code such as en or zh, or auto",
            )

    def cut(self, audio: AudioReader, regions: Sequence[Segment]) -> list[Segment]:
        """Cut stretches of speech into pieces that Whisper hears at once, sorted and disjoint."""
        settings = self.settings
        return cut_regions(
            regions,
            audio.duration,
            longest=settings.longest_piece_s,
            bridge=settings.bridge_s,
            padding=settings.padding_s,
            audio=audio,
        )

    def _load(self, audio: AudioReader, regions: Sequence[Segment]) -> Iterator[Piece]:
        for region in regions:
            samples = np.nan_to_num(audio.read(region.start, region.end))
            yield Piece(region, samples, speech_probability(samples))

    def _is_speech(self, piece: Piece) -> bool:
        return float(piece.speech_t.max(initial=0.0)) >= self.settings.speech_threshold

    def _recognize_batch(self, pieces: Sequence[Piece], language: str) -> list[RecognizedRegion]:
        spoken = [piece for piece in pieces if self._is_speech(piece)]
        attempts: dict[Segment, list[Attempt]] = {}
        try:
            prompt = prompt_for(language, self.settings.prompt)
            first = self._attempt(spoken, language, prompt) if spoken else []
            attempts = {one.region: [made] for one, made in zip(spoken, first, strict=True)}
        except _FAILURES as error:
            # one piece that cannot be decoded must not take its neighbours with it
            log.warning("a batch of %d pieces failed: %s", len(spoken), error)
        results = []
        for piece in pieces:
            if not self._is_speech(piece):
                results.append(RecognizedRegion(piece.region.start, piece.region.end))
                continue
            results.append(self._settle(piece, attempts.get(piece.region, []), language))
        return results

    def _settle(self, piece: Piece, attempts: list[Attempt], language: str) -> RecognizedRegion:
        """Decode again what went wrong, and say what stays unclear."""
        start, end = piece.region.start, piece.region.end
        if not attempts or attempts[0].verdict.again:
            attempts = [*attempts, *self._retries(piece, attempts, language)]
        if not attempts:
            return RecognizedRegion(start, end, flags=("unclear",))
        best = min(attempts, key=lambda one: one.order)
        words = best.words
        if best.verdict.silent:
            words = ()
        if best.verdict.looped:
            words = guard.without_loop(words)
        words = guard.heard(words, piece.speech_t, start, self.settings.speech_threshold)
        return RecognizedRegion(
            start,
            end,
            words=words,
            flags=("unclear",) if best.verdict.unclear and not best.verdict.silent else (),
            avg_logprob=best.decoded.avg_logprob,
            no_speech=best.decoded.no_speech,
            compression=guard.compression(best.decoded.text),
        )

    def _retries(
        self, piece: Piece, attempts: Sequence[Attempt], language: str
    ) -> Iterator[Attempt]:
        """Decode in other ways until one looks right."""
        prompt = prompt_for(language, self.settings.prompt)
        for name, way in self._ways(attempts, prompt):
            try:
                made = way(piece, language)
            except _FAILURES as error:
                log.warning("piece at %.1f s, %s: %s", piece.region.start, name, error)
                continue
            yield made
            if not made.verdict.again:
                return

    def _ways(
        self, attempts: Sequence[Attempt], prompt: str
    ) -> list[tuple[str, Callable[[Piece, str], Attempt]]]:
        """Choose what to try: less context for a runaway, smaller pieces for what was skipped."""

        def plain(piece: Piece, language: str) -> Attempt:
            return self._attempt([piece], language, "")[0]

        def halves(piece: Piece, language: str) -> Attempt:
            return self._in_halves(piece, language, prompt)

        def sampled(piece: Piece, language: str) -> Attempt:
            return self._attempt([piece], language, "", temperature=_RETRY_TEMPERATURE)[0]

        def alone(piece: Piece, language: str) -> Attempt:
            return self._attempt([piece], language, prompt)[0]

        if not attempts:
            return [("alone", alone), ("no prompt", plain), ("in halves", halves)]
        if attempts[0].verdict.runaway:
            return [("no prompt", plain), ("in halves", halves), ("sampled", sampled)]
        if attempts[0].verdict.skipped:
            return [("in halves", halves)]
        return [("no prompt", plain)]

    def _in_halves(self, piece: Piece, language: str, prompt: str) -> Attempt:
        """Decode both halves of a piece, and halves of halves where those go wrong too."""
        if piece.region.duration < 2 * _HALVING_S:
            return self._attempt([piece], language, prompt)[0]
        made = []
        for half in in_two(piece):
            (one,) = self._attempt([half], language, prompt)
            if one.verdict.skipped or one.verdict.runaway:
                again = self._in_halves(half, language, prompt)
                one = min(one, again, key=lambda attempt: attempt.order)
            made.append(one)
        return joined(made)

    def _attempt(
        self, pieces: Sequence[Piece], language: str, prompt: str, *, temperature: float = 0.0
    ) -> list[Attempt]:
        encoded = self._model.encode([piece.samples for piece in pieces])
        return self._decode(encoded, pieces, language, prompt, temperature=temperature)

    def _decode(
        self,
        encoded: Any,  # noqa: ANN401 - untyped library
        pieces: Sequence[Piece],
        language: str,
        prompt: str,
        *,
        temperature: float = 0.0,
    ) -> list[Attempt]:
        durations = [piece.region.duration for piece in pieces]
        texts = self._model.generate(
            encoded,
            language=language,
            prompt=prompt,
            budget=guard.token_budget(max(durations)),
            beam_size=self.settings.beam_size,
            temperature=temperature,
        )
        texts = [
            replace(text, tokens=text.tokens[: guard.token_budget(duration)])
            for text, duration in zip(texts, durations, strict=True)
        ]
        return self._timed(encoded, pieces, texts, language)

    def _timed(
        self,
        encoded: Any,  # noqa: ANN401 - untyped library
        pieces: Sequence[Piece],
        texts: Sequence[Decoded],
        language: str,
    ) -> list[Attempt]:
        durations = [piece.region.duration for piece in pieces]
        # the aligner wants at least one token of every piece
        tokens = [list(text.tokens) or self._model.encode_text(".") for text in texts]
        aligned = self._model.align(encoded, tokens, durations, language=language)
        made = []
        for piece, text, (starts, probs) in zip(pieces, texts, aligned, strict=True):
            duration = piece.region.duration
            spans = split_tokens(text.tokens, self._model)
            words = timed_words(spans, starts, probs, end=duration) if text.tokens else []
            fitted = fit_to_speech(words, piece.speech_t, piece.region)
            skipped_s = guard.uncovered(fitted, piece.speech_t, piece.region.start)
            verdict = guard.judge(
                text.text,
                units=text.tokens,
                speech_s=duration,
                avg_logprob=text.avg_logprob,
                no_speech=text.no_speech,
                full=len(text.tokens) >= guard.token_budget(duration),
                skipped_s=skipped_s,
                voiced=guard.voiced_share(fitted, piece.speech_t, piece.region.start),
            )
            made.append(Attempt(text, verdict, fitted, skipped_s))
        return made


def _part_of(progress: Progress, before: float, share: float) -> Progress:
    return lambda stage, done: progress(stage, min(1.0, before + share * done))


def _name_of(pieces: Sequence[Segment]) -> list[tuple[float, float]]:
    return [(piece.start, piece.end) for piece in pieces]
