"""Opens the ``ports.LyricFeed`` of a stream: joins gate, recogniser, tracker and encoder."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

from stream_mer.config import LyricsSettings
from stream_mer.errors import CheckpointError, LyricsError
from stream_mer.lyrics.feeds import LiveLyrics, NoLyrics, OfflineLyrics
from stream_mer.lyrics.files import read_lyrics
from stream_mer.lyrics.gate import LevelGate, VoiceGate
from stream_mer.lyrics.known import KnownLyrics, LiveKnownLyrics
from stream_mer.lyrics.text_features import SentenceEncoder
from stream_mer.lyrics.tracker import LyricTracker
from stream_mer.lyrics.transcript import Passage, Recogniser, TextEncoder, VocalGate
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.ports import LyricFeed
from stream_mer.types import Samples

_log = logging.getLogger(__name__)


class ShippedGate:
    """A gate with the packaged vocal detector, loaded at the first use.

    Without the detector's weights it detects silence alone, with one warning.
    """

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Implement ``VocalGate``."""
        return self._gate.passages(samples)

    @cached_property
    def _gate(self) -> VocalGate:
        from stream_mer.lyrics.vocals import find_shipped, load_detector  # noqa: PLC0415 - torch; only for recognition

        try:
            return VoiceGate(load_detector(find_shipped()).probabilities)
        except CheckpointError as error:
            _log.warning("the recogniser gets instrumental passages too: %s", error)
            return LevelGate()


def open_gate(settings: LyricsSettings) -> VocalGate:
    """Return the gate for these settings."""
    return ShippedGate() if settings.vocal_gate else LevelGate()


class LyricsOpener:
    """Opens feeds for any number of streams. They share one recogniser and one encoder, loaded at the first use.

    Args:
        settings: Where the lyrics come from.
        recogniser: Replaces Whisper.
        encoder: Replaces the multilingual sentence encoder.
        gate: Replaces the gate of the settings.
    """

    def __init__(
        self,
        settings: LyricsSettings | None = None,
        *,
        recogniser: Recogniser | None = None,
        encoder: TextEncoder | None = None,
        gate: VocalGate | None = None,
    ) -> None:
        self._settings = settings or LyricsSettings()
        self._gate = gate or open_gate(self._settings)
        self._recogniser = recogniser or WhisperRecogniser(
            self._settings.model,
            device=self._settings.device,
            cpu_threads=self._settings.cpu_threads,
            allow_download=self._settings.allow_download,
        )
        self._encoder = encoder or SentenceEncoder()

    def open(self, *, live: bool, file: Path | None = None) -> LyricFeed:
        """Open the feed of one stream.

        Missing weights raise nothing here: the feed's state is then ``unavailable``, and the log says why.

        Args:
            live: The stream does not wait for recogniser and encoder.
            file: Lyrics file of this stream, in place of the settings.

        Raises:
            LyricsError: The lyrics file is missing or cannot be used.
            SettingError: The settings name an unknown encoding.
        """
        settings = self._settings
        if file is None and settings.mode == "off":
            return NoLyrics()
        if file is None and settings.mode == "recognise":
            feed = LiveLyrics if live else OfflineLyrics
            return feed(self._recogniser, self._encoder, tracker=LyricTracker(gate=self._gate))
        file = file or settings.file
        if file is None:
            raise LyricsError("known lyrics were asked for without a file; name one")
        lines = read_lyrics(file, encoding=settings.encoding)
        known = LiveKnownLyrics if live else KnownLyrics
        return known(lines, self._encoder)
