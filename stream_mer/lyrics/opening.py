"""Which `LyricFeed` a stream gets: the one door to this room for the composition root."""

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
    """The gate with the detector that comes with the package, loaded when it is first asked.

    Without its weights it knows silence alone, and says so once.
    """

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """See ``VocalGate``."""
        return self._gate.passages(samples)

    @cached_property
    def _gate(self) -> VocalGate:
        from stream_mer.lyrics.vocals import find_shipped, load_detector  # noqa: PLC0415 - torch; only for recognition

        try:
            return VoiceGate(load_detector(find_shipped()).probabilities)
        except CheckpointError as error:
            _log.warning("the recogniser hears instruments too: %s", error)
            return LevelGate()


def open_gate(settings: LyricsSettings) -> VocalGate:
    """The gate that the settings ask for."""
    return ShippedGate() if settings.vocal_gate else LevelGate()


class LyricsOpener:
    """Opens feeds for one stream after another, over one recogniser and one encoder, both loaded when first used.

    Args:
        settings: Where the words come from.
        recogniser: Instead of Whisper.
        encoder: Instead of the multilingual sentence encoder.
        gate: Instead of the one that the settings ask for.
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
        """Open a feed for one stream.

        Missing weights are no error here: such a feed says in its state that it is unavailable, and why in its log.

        Args:
            live: Whether the world does not wait for the recogniser and the encoder.
            file: The lyrics of this stream, whatever the settings say.

        Raises:
            LyricsError: The lyrics file is missing or cannot be used.
            SettingError: There is no encoding of the name in the settings.
        """
        settings = self._settings
        if file is not None:
            return self._open_known(file, live=live)
        if settings.mode == "off":
            return NoLyrics()
        if settings.mode == "known":
            if settings.file is None:
                raise LyricsError("known lyrics were asked for without a file; name one")
            return self._open_known(settings.file, live=live)
        feed = LiveLyrics if live else OfflineLyrics
        return feed(self._recogniser, self._encoder, tracker=LyricTracker(gate=self._gate))

    def _open_known(self, file: Path, *, live: bool) -> LyricFeed:
        lines = read_lyrics(file, encoding=self._settings.encoding)
        feed = LiveKnownLyrics if live else KnownLyrics
        return feed(lines, self._encoder)


def open_lyrics(settings: LyricsSettings | None = None, *, live: bool) -> LyricFeed:
    """Open a feed for a single stream; `LyricsOpener` shares its models between several."""
    return LyricsOpener(settings).open(live=live)
