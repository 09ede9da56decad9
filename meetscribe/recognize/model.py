"""Whisper in CTranslate2: sound to encodings, encodings to tokens, tokens to times.

Nothing here decides what to do with a result; see ``whisper.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe.errors import ModelError, WeightsError
from meetscribe.models.whisper_tokenizer import load_tokenizer
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WINDOW_S = 30.0
_FRAMES_PER_S = 100
_FRAMES = 3000
_FRAME_S = 0.02
_MAX_LENGTH = 448
_MAX_PROMPT = 120


@dataclass(frozen=True, slots=True)
class Decoded:
    """Tokens of one piece, without times and special tokens."""

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech: float


class WhisperModel:
    """A Whisper model of any size, as a CTranslate2 folder.

    Parameters
    ----------
    folder : with ``model.bin``, ``config.json``, ``tokenizer.json`` and a vocabulary
    device : ``cpu``, ``cuda``, ``cuda:1``, or ``auto``
    compute_type : of CTranslate2; ``auto`` is int8 on the CPU and float16 on a GPU
    threads : cores to use on the CPU, which from then on is what torch uses in this thread, too
        (CTranslate2 sets it for both); None leaves it to CTranslate2

    Raises
    ------
    WeightsError
        If files are missing or cannot be loaded.
    ModelError
        If the device is not there.
    """

    def __init__(
        self, folder: Path, *, device: str = "cpu", compute_type: str = "auto", threads: int | None
    ) -> None:
        for name in ("model.bin", "tokenizer.json"):
            if not (folder / name).is_file():
                raise WeightsError(
                    f"{folder}: no {name}, expected a Whisper model converted to CTranslate2",
                    hint="name a model of `meetscribe models list`, or convert it with "
                    "ct2-transformers-converter",
                )
        self._device, index = _device(device)
        if compute_type == "auto":
            compute_type = "float16" if self._device == "cuda" else "int8"
        import ctranslate2

        try:
            self._whisper = ctranslate2.models.Whisper(
                str(folder),
                device=self._device,
                device_index=index,
                compute_type=compute_type,
                intra_threads=threads or 0,
            )
        except ValueError as error:
            raise ModelError(
                f"{folder.name}: {error}", hint="try --device cpu, or another compute_type"
            ) from error
        except RuntimeError as error:
            raise WeightsError(
                f"{folder}: {error}", hint="run `meetscribe models verify`, then pull again"
            ) from error
        self._tokens = load_tokenizer(folder)
        self._features = _feature_extractor(folder, int(self._whisper.n_mels))
        self._suppressed = self._non_speech_tokens()

    @property
    def on_gpu(self) -> bool:
        """Tell whether it runs on a GPU."""
        return self._device == "cuda"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it knows; English-only models know one."""
        if not self._whisper.is_multilingual:
            return ("en",)
        from faster_whisper.tokenizer import _LANGUAGE_CODES

        return tuple(code for code in _LANGUAGE_CODES if self._id(f"<|{code}|>") is not None)

    def encode(self, pieces: Sequence[NDArray[np.float32]], *, window_s: float = _WINDOW_S) -> Any:  # noqa: ANN401 - untyped library
        """Encode pieces of at most 30 s; what is given back is for the other methods only.

        Parameters
        ----------
        pieces : B signals, float32, shape (N,), 16 kHz
        window_s : what pieces are padded or cut to. Whisper learnt from 30 s, and is best with
            them; the cost grows faster than the window.
        """
        frames = min(_FRAMES, math.ceil(window_s * _FRAMES_PER_S))
        import ctranslate2

        batch_bft = np.stack([self._log_mel(piece, frames) for piece in pieces])
        features = ctranslate2.StorageView.from_array(batch_bft)
        return self._whisper.encode(features)

    def languages_of(self, encoded: Any) -> list[dict[str, float]]:  # noqa: ANN401
        """Give the probability of each language for each encoded piece."""
        if not self._whisper.is_multilingual:
            return [{"en": 1.0}] * int(encoded.shape[0])
        return [
            {token[2:-2]: float(probability) for token, probability in row}
            for row in self._whisper.detect_language(encoded)
        ]

    def generate(
        self,
        encoded: Any,  # noqa: ANN401
        *,
        language: str,
        prompt: str,
        budget: int,
        beam_size: int,
        temperature: float = 0.0,
    ) -> list[Decoded]:
        """Give the most likely text of each encoded piece, of at most ``budget`` tokens."""
        start = self._start(language)
        before = self.encode_text(" " + prompt.strip())[-_MAX_PROMPT:] if prompt.strip() else []
        tokens = [*([self._special("<|startofprev|>"), *before] if before else []), *start]
        tokens.append(self._special("<|notimestamps|>"))
        # CTranslate2 gives at most half of max_length, and at most what the prompt leaves
        length = min(_MAX_LENGTH, max(2 * budget, budget + len(tokens)))
        search: dict[str, Any] = {"beam_size": beam_size}
        if temperature > 0:
            search = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": temperature}
        results = self._whisper.generate(
            encoded,
            [tokens] * int(encoded.shape[0]),
            max_length=length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **search,
        )
        return [self._decoded(result) for result in results]

    def align(
        self,
        encoded: Any,  # noqa: ANN401
        texts: Sequence[Sequence[int]],
        durations: Sequence[float],
        *,
        language: str,
    ) -> list[tuple[NDArray[np.float64], list[float]]]:
        """Give for each piece when its tokens begin, seconds, and their probabilities.

        Returns
        -------
        for each text of n tokens: float, shape (n + 1,), the last where the text ends; n numbers
        """
        results = self._whisper.align(
            encoded,
            self._start(language),
            [list(text) for text in texts],
            [max(1, min(_FRAMES, round(duration * 100))) for duration in durations],
        )
        return [
            (_token_starts(result.alignments, len(text)), list(result.text_token_probs))
            for result, text in zip(results, texts, strict=True)
        ]

    def decode(self, tokens: list[int]) -> str:
        """Give the text of tokens."""
        return str(self._tokens.decode(tokens))

    def encode_text(self, text: str) -> list[int]:
        """Give the tokens of a text."""
        return list(self._tokens.encode(text, add_special_tokens=False).ids)

    def _log_mel(self, samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        # silence is padded as sound, before the features: so were the pieces Whisper learnt from
        window = np.zeros(frames * SAMPLE_RATE_HZ // _FRAMES_PER_S, dtype=np.float32)
        window[: len(samples)] = samples[: len(window)]
        features_ft = self._features(window, padding=0)[:, :frames]
        return np.ascontiguousarray(features_ft, dtype=np.float32)

    def _decoded(self, result: Any) -> Decoded:  # noqa: ANN401
        end = self._special("<|endoftext|>")
        ids = result.sequences_ids[0]
        tokens = tuple(token for token in ids if token < end)
        # the score is the sum over len(ids) tokens; the end token counts as one more
        average = float(result.scores[0]) * len(ids) / (len(ids) + 1)
        return Decoded(tokens, self.decode(list(tokens)), average, float(result.no_speech_prob))

    def _start(self, language: str) -> list[int]:
        if not self._whisper.is_multilingual:
            return [self._special("<|startoftranscript|>")]
        names = ("<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>")
        return [self._special(name) for name in names]

    def _id(self, token: str) -> int | None:
        found = self._tokens.token_to_id(token)
        return None if found is None else int(found)

    def _special(self, token: str) -> int:
        found = self._id(token)
        if found is None:
            raise ModelError(f"this Whisper model has no token {token}", hint="choose another one")
        return found

    def _non_speech_tokens(self) -> list[int]:
        """Give tokens that are never spoken: brackets, music signs, control tokens."""
        from faster_whisper.tokenizer import Tokenizer

        helper = Tokenizer(self._tokens, multilingual=False)
        names = ("transcribe", "translate", "startoftranscript", "startofprev", "startoflm")
        special = [self._id(f"<|{name}|>") for name in (*names, "nospeech", "nocaptions")]
        return sorted({*helper.non_speech_tokens, *(one for one in special if one is not None)})


def _token_starts(pairs: Sequence[tuple[int, int]], count: int) -> NDArray[np.float64]:
    """Turn an alignment path of (token, frame) into the time at which each token begins."""
    path = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    starts = np.full(count + 1, np.nan)
    tokens, first = np.unique(path[:, 0], return_index=True)
    inside = tokens <= count
    starts[tokens[inside]] = path[first[inside], 1] * _FRAME_S
    last = float(path[-1, 1]) * _FRAME_S if len(path) else 0.0
    # a token the path does not know begins where the next one does
    for at in range(count, -1, -1):
        if np.isnan(starts[at]):
            starts[at] = last
        last = starts[at]
    return np.asarray(np.maximum.accumulate(starts))


def _feature_extractor(folder: Path, num_mels: int) -> Any:  # noqa: ANN401
    from faster_whisper.feature_extractor import FeatureExtractor

    options: dict[str, Any] = {}
    path = folder / "preprocessor_config.json"
    if path.is_file():
        known = ("hop_length", "n_fft", "chunk_length")
        found = json.loads(path.read_text(encoding="utf-8"))
        options = {name: found[name] for name in known if name in found}
    return FeatureExtractor(feature_size=num_mels, **options)


def _device(device: str) -> tuple[str, int]:
    name, _, index = device.partition(":")
    if name == "mps":
        return "cpu", 0
    if name == "auto":
        import ctranslate2

        name = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    return name, int(index) if index.isdigit() else 0
