"""The recogniser: Whisper through faster-whisper, whose only import this is."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import LyricsError
from stream_mer.lyrics import weights
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, LyricWord, Samples

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_log = logging.getLogger(__name__)

TOKENS_PER_S = 8
"""Tokens allowed for each second of audio: songs need 3 to 5; a loop would run to Whisper's limit of 448."""

_MIN_TOKENS, _MAX_TOKENS = 32, 360

_STEPS_PER_S = 100
_MARGIN_STEPS = 200


class WhisperRecogniser:
    """Whisper on the CPU (or GPU), decoding greedily and in one go.

    The options follow from measurements on sung music: the voice detector that ships with faster-whisper throws
    singing away, so it is off; the fall-back to higher temperatures multiplies the time of awkward audio, so there is
    none; and conditioning on earlier text makes loops contagious.

    Args:
        model: Name of a model (``base``, ``tiny.en``, ...) or a folder that holds one in CTranslate2 format.
        device: ``cpu`` or ``cuda``.
        compute_type: CTranslate2's name for the arithmetic.
        cpu_threads: Threads that one decode may use.
        beam_size: 1 decodes greedily; more is slower and a little better.
        encode_s: How much of the 30 s to which Whisper pads its audio is encoded at least; the audio itself always is.
            Most of a decode's time goes there; with too little of it the words suffer (docs/BENCHMARKS.md).
        allow_download: Whether faster-whisper may fetch weights that are not on this machine.
    """

    def __init__(
        self,
        model: str = "base",
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        cpu_threads: int = 2,
        beam_size: int = 1,
        encode_s: float = 18.0,
        allow_download: bool = True,
    ) -> None:
        self._name = model
        self._device = device
        self._compute_type = compute_type
        self._cpu_threads = cpu_threads
        self._beam_size = beam_size
        self._encode_steps = round(encode_s * _STEPS_PER_S)
        self._allow_download = allow_download
        self._loading = threading.Lock()
        self._model: WhisperModel | None = None

    def load(self) -> None:
        """Find and load the weights; idempotent, from any thread.

        Raises:
            LyricsError: They are missing, damaged, or cannot be written to the cache.
        """
        self._loaded()

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        """Recognise up to 30 s of mono audio at 16 kHz.

        Args:
            samples: Shape ``[n]``.
            language: ISO 639-1 code; None detects it, at the cost of one more run of the encoder.

        Raises:
            LyricsError: The weights cannot be used, or the language is unknown to the model.
        """
        model = self._loaded()
        budget = round(len(samples) / SAMPLE_RATE_HZ * TOKENS_PER_S)
        try:
            found, info = model.transcribe(
                samples,
                language=language,
                beam_size=self._beam_size,
                temperature=0.0,
                condition_on_previous_text=False,
                vad_filter=False,
                word_timestamps=True,
                max_new_tokens=min(max(budget, _MIN_TOKENS), _MAX_TOKENS),
                # The filters of this package decide, with the thresholds in one place.
                no_speech_threshold=None,
                log_prob_threshold=None,
                compression_ratio_threshold=None,
            )
            segments = tuple(_segment(one) for one in found)
        except ValueError as error:
            raise LyricsError(f"Whisper model {self._name!r} cannot transcribe: {error}") from error
        return Transcript(
            segments=segments,
            language=str(info.language),
            language_probability=float(info.language_probability),
        )

    def _loaded(self) -> WhisperModel:
        with self._loading:
            if self._model is None:
                self._model = self._load()
            return self._model

    def _load(self) -> WhisperModel:
        folder = find_weights(self._name, allow_download=self._allow_download)
        from faster_whisper import WhisperModel  # noqa: PLC0415 - heavy; only when lyrics are wanted

        least_steps = self._encode_steps

        class ShortWhisper(WhisperModel):  # type: ignore[misc]
            """Encodes less of the padding: the encoder's time grows faster than the length it is given."""

            def encode(self, features: NDArray[np.float32]) -> Any:
                return super().encode(_cut_padding(features, least_steps=least_steps))

        try:
            model = ShortWhisper(
                str(folder), device=self._device, compute_type=self._compute_type, cpu_threads=self._cpu_threads
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise LyricsError(
                f"Whisper weights in {folder} cannot be loaded on {self._device}: {error}; "
                "check the folder, or name another model"
            ) from error
        _log.info("recogniser ready: %s from %s", self._name, folder)
        return model


def find_weights(model: str, *, allow_download: bool = True) -> Path:
    """Return the folder that holds a model's weights.

    Raises:
        LyricsError: They are missing, damaged, or cannot be written to the cache.
    """
    return weights.resolve(model, allow_download=allow_download, fetch=_fetch)


def _fetch(name: str, *, local_only: bool) -> Path:
    """faster-whisper's own way from a model's name to a folder; raises whatever that raises."""
    from faster_whisper.utils import download_model  # noqa: PLC0415 - heavy; only when no package has the weights

    return Path(download_model(name, local_files_only=local_only))


def _segment(found: Any) -> Segment:
    words = tuple(
        LyricWord(
            t0=float(word.start), t1=float(word.end), text=str(word.word).strip(), probability=float(word.probability)
        )
        for word in found.words or ()
    )
    return Segment(
        words=words,
        no_speech_prob=float(found.no_speech_prob),
        avg_logprob=float(found.avg_logprob),
        compression_ratio=float(found.compression_ratio),
    )


def _cut_padding(features: NDArray[np.float32], *, least_steps: int) -> NDArray[np.float32]:
    """Cut most of the padding behind the audio, before the encoder spends its time on it.

    Args:
        features: Log-mel steps as faster-whisper pads them, with zeros up to 30 s, shape ``[80, 3000]``.
        least_steps: Steps that are kept in any case.
    """
    heard = np.flatnonzero(features.any(axis=0))
    last = int(heard[-1]) + 1 if len(heard) else 0
    return np.ascontiguousarray(features[:, : max(least_steps, last + _MARGIN_STEPS)])
