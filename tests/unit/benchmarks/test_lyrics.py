from pathlib import Path

import pytest

from benchmarks.lyrics import Listener
from benchmarks.lyrics_songs import find_songs
from stream_mer.errors import SettingError
from stream_mer.types import CATEGORIES, CLUSTERS, EmotionEstimate, EmotionFrame, Interval, LyricLine


def _song(folder: Path, words: str) -> None:
    folder.mkdir()
    (folder / "audio.opus").write_bytes(b"")
    (folder / "lyrics.tsv").write_text(words)


def _frame(t1: float) -> EmotionFrame:
    probs, clusters = dict.fromkeys(CATEGORIES, 0.25), dict.fromkeys(CLUSTERS, 0.2)
    interval = Interval(valence=(-1, 1), arousal=(-1, 1), level=0.8)
    raw = EmotionEstimate(valence=0, arousal=0, interval=interval, categories=probs, clusters=clusters)
    return EmotionFrame(
        index=0, t0=0, t1=t1, valence=0, arousal=0, raw=raw, category="sad", confidence=0.25, probs=probs
    )


def _line(segment: int) -> LyricLine:
    return LyricLine(segment=segment, revision=0, t0=0, t1=1, text="la", committed=True)


def test_a_line_is_there_when_the_frame_after_it_is() -> None:
    listener = Listener()
    for event in (_frame(0.5), _line(0), _line(1), _frame(1.0), _frame(1.5), _line(2)):
        listener.publish(event)
    listener.finish()
    assert [(one.line.segment, one.at_s) for one in listener.published] == [(0, 1.0), (1, 1.0), (2, None)]
    assert listener.duration_s == 1.5


def test_songs_are_read_by_name_and_those_without_words_left_out(tmp_path: Path) -> None:
    _song(tmp_path / "b", '1.0\t1.5\t"Code\n2\t2.5\tMonkey\n')
    _song(tmp_path / "a", "0\t1\tla\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "audio.opus").write_bytes(b"")
    songs = find_songs(tmp_path)
    assert [song.name for song in songs] == ["a", "b"]
    assert [(word.t0, word.t1, word.text) for word in songs[1].words] == [(1.0, 1.5, '"Code'), (2.0, 2.5, "Monkey")]


@pytest.mark.parametrize("words", ["", "1.0\t1.5\n", "one\ttwo\tthree\n"])
def test_a_reference_that_cannot_be_read_is_named(tmp_path: Path, words: str) -> None:
    _song(tmp_path / "a", words)
    with pytest.raises(SettingError, match=r"lyrics\.tsv"):
        find_songs(tmp_path)
