"""Messages as lines of JSON: what ``stream-mer tag`` writes is what a live listener would have got."""

from __future__ import annotations

from typing import BinaryIO

from stream_mer.event_json import Message, MessageEncoder, Summary, encode
from stream_mer.types import EmotionFrame, LyricLine, StreamEvent


class JsonlWriter:
    """Writes the ``emotion`` and ``lyrics`` messages of one stream, one a line; other events are not written.

    Args:
        file: Open for writing bytes; stays the caller's, who flushes and closes it.
        stream: Name of the stream, such as the file's name.
    """

    def __init__(self, file: BinaryIO, stream: str) -> None:
        self._file = file
        self._encoder = MessageEncoder(stream)

    def publish(self, event: StreamEvent) -> None:
        """Write one event. Raises what the file raises, such as ``BrokenPipeError``."""
        if isinstance(event, (EmotionFrame, LyricLine)):
            self._write(self._encoder.message(event))

    def finish(self, summary: Summary) -> None:
        """Write the last line of the stream; see ``event_json.summary``."""
        self._write(summary)

    def _write(self, message: Message) -> None:
        self._file.write(encode(message) + b"\n")
