import pytest

from benchmarks.lyrics_tables import Heard, SongResult, make_tables
from benchmarks.word_scoring import Lags, WordErrors


def _heard(wrong: int, invented: int, lags_s: list[float]) -> Heard:
    lags = Lags(lags_s, lags_s, lags_s)
    errors = WordErrors(words=10, substituted=wrong, deleted=0, inserted=0)
    return Heard(errors=errors, invented=invented, took_s=20.0, cpu_s=30.0, audio_lags=lags, lags=lags)


def _song(name: str, wrong: int, quiet_s: float, lags_s: list[float]) -> SongResult:
    return SongResult(
        name=name,
        duration_s=100.0,
        quiet_s=quiet_s,
        streamed=_heard(wrong, 1, lags_s),
        windows=_heard(wrong + 2, 3, [5.0]),
        whole=_heard(wrong - 1, 0, []),
    )


def test_songs_are_pooled_over_their_words() -> None:
    errors, lags, work = make_tables([_song("a", 2, 30.0, [1.0, 2.0]), _song("b", 4, 0.0, [3.0])])
    assert [row["wer"] for row in errors.rows] == pytest.approx([0.2, 0.4, 0.3])
    assert [row["points_over_whole"] for row in errors.rows] == pytest.approx([10.0, 10.0, 10.0])
    assert [row["settled_p50_s"] for row in lags.rows] == pytest.approx([1.5, 3.0, 2.0])
    assert [row["timed_words"] for row in lags.rows] == [2, 1, 3]
    assert [row["invented_per_min"] for row in work.rows] == [2.0, None, 4.0]
    assert [row["windows_invented_per_min"] for row in work.rows] == [6.0, None, 12.0]
    assert [row["real_time_factor"] for row in work.rows] == pytest.approx([0.2, 0.2, 0.2])
    assert [row["cpu_share"] for row in work.rows] == pytest.approx([0.3, 0.3, 0.3])
    for table in (errors, lags, work):
        assert all(set(row) == {column.key for column in table.columns} for row in table.rows)
