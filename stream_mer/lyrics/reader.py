"""Turns committed lines into what the text branch reads: meaning, style and pace, each line once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_mer.lyrics.encoder import VECTOR_SIZE
from stream_mer.lyrics.style import STYLE_SIZE, LyricStyle
from stream_mer.lyrics.transcript import TextEncoder
from stream_mer.types import EncodedLine, LyricLine

LINE_FEATURES = VECTOR_SIZE + STYLE_SIZE
"""Length of the vector of a line: its sentence embedding, then its style."""


def line_vector(embedding: NDArray[np.float32], style: LyricStyle, text: str, duration_s: float) -> NDArray[np.float32]:
    """What the text branch reads of one line, [LINE_FEATURES]; ``style`` remembers the lines before it."""
    return np.concatenate([embedding, style.feed(text, duration_s)])


class LineReader:
    """Reads the lines of one stream in order.

    Args:
        encoder: Turns a line into its sentence embedding.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._style = LyricStyle()

    def prepare(self) -> None:
        """Load the sentence encoder now, so that the first line need not wait for it.

        Raises:
            LyricsError: It cannot be loaded.
        """
        self._encoder.encode("ready")

    def read(self, line: LyricLine) -> EncodedLine:
        """Encode a committed line, the next one.

        Raises:
            LyricsError: The sentence encoder cannot be loaded.
        """
        return self.encode(line, self.style(line))

    def style(self, line: LyricLine) -> NDArray[np.float32]:
        """Describe the style of the next line, [STYLE_SIZE]. It depends on the lines before, and takes microseconds."""
        return self._style.feed(line.text, line.t1 - line.t0)

    def encode(self, line: LyricLine, style: NDArray[np.float32]) -> EncodedLine:
        """Encode a line of this style; lines may come in any order.

        Its reliability is the mean probability of its words, or 1 where these are not known.

        Raises:
            LyricsError: The sentence encoder cannot be loaded.
        """
        words = line.words
        reliability = sum(word.probability for word in words) / len(words) if words else 1.0
        return EncodedLine(
            t1=line.t1,
            vector=np.concatenate([self._encoder.encode(line.text), style]),
            reliability=min(max(reliability, 0.0), 1.0),
            n_words=len(words) or len(line.text.split()),
        )
