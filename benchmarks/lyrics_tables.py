"""The tables of the lyrics benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import Cell, Column, Table
from benchmarks.word_scoring import Lags, WordErrors, percentile

NO_LAGS = Lags([], [], [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one way to listen gave on one song.

    Attributes:
        errors: Of its text.
        invented: Words in passages without singing.
        took_s: Time that all of it took.
        cpu_s: Processor time that all of it took.
        audio_lags: Lags as if decodes took no time.
        lags: Lags with compute time.
    """

    errors: WordErrors
    invented: int
    took_s: float
    cpu_s: float
    audio_lags: Lags = NO_LAGS
    lags: Lags = NO_LAGS


@dataclass(frozen=True, slots=True, kw_only=True)
class SongResult:
    """What one song gave, heard in three ways; ``quiet_s`` is how long nobody sings in it."""

    name: str
    duration_s: float
    quiet_s: float
    streamed: Heard
    windows: Heard
    whole: Heard


_SONG = Column(key="song", title="song")

_ERRORS = (
    _SONG,
    Column(key="duration_s", title="length s", digits=0),
    Column(key="words", title="words"),
    Column(key="wer", title="WER", digits=3),
    Column(key="substituted", title="substituted"),
    Column(key="deleted", title="deleted"),
    Column(key="inserted", title="inserted"),
    Column(key="windows_wer", title="WER, 5 s windows", digits=3),
    Column(key="whole_wer", title="WER, whole song", digits=3),
    Column(key="points_over_whole", title="points over whole", digits=1),
)
_LAGS = (
    _SONG,
    Column(key="timed_words", title="right words"),
    Column(key="audio_settled_p50_s", title="settled, audio alone: p50 s", digits=1),
    Column(key="audio_settled_p90_s", title="p90", digits=1),
    Column(key="shown_p50_s", title="shown: p50 s", digits=1),
    Column(key="shown_p90_s", title="p90", digits=1),
    Column(key="settled_p50_s", title="settled: p50 s", digits=1),
    Column(key="settled_p90_s", title="p90", digits=1),
    Column(key="line_p50_s", title="line ended: p50 s", digits=1),
    Column(key="line_p90_s", title="p90", digits=1),
    Column(key="windows_audio_p50_s", title="5 s windows, audio alone: p50 s", digits=1),
    Column(key="windows_audio_p90_s", title="p90", digits=1),
    Column(key="windows_p50_s", title="5 s windows: p50 s", digits=1),
    Column(key="windows_p90_s", title="p90", digits=1),
)
_WORK = (
    _SONG,
    Column(key="quiet_min", title="min without singing", digits=2),
    Column(key="invented_per_min", title="invented a min", digits=1),
    Column(key="windows_invented_per_min", title="5 s windows", digits=1),
    Column(key="whole_invented_per_min", title="whole song", digits=1),
    Column(key="real_time_factor", title="real-time factor"),
    Column(key="windows_real_time_factor", title="5 s windows"),
    Column(key="whole_real_time_factor", title="whole song"),
    Column(key="cpu_share", title="CPU s a s"),
    Column(key="windows_cpu_share", title="5 s windows"),
    Column(key="whole_cpu_share", title="whole song"),
)


def make_tables(results: Sequence[SongResult]) -> tuple[Table, Table, Table]:
    """One row a song, and one of all songs as if they were one."""
    rows = [_row(result) for result in (*results, pool(results))]
    return (
        _table(rows, "errors", "Sung words got right: streamed, in fixed windows, and of the whole song", _ERRORS),
        _table(rows, "lags", "Seconds from the end of a sung word", _LAGS),
        _table(rows, "work", "Words that nobody sang, and what it takes", _WORK),
    )


def pool(results: Sequence[SongResult]) -> SongResult:
    """All songs as one."""
    return SongResult(
        name="all",
        duration_s=sum(result.duration_s for result in results),
        quiet_s=sum(result.quiet_s for result in results),
        streamed=_pool_heard([result.streamed for result in results]),
        windows=_pool_heard([result.windows for result in results]),
        whole=_pool_heard([result.whole for result in results]),
    )


def _pool_heard(heard: Sequence[Heard]) -> Heard:
    return Heard(
        errors=WordErrors(*(sum(counts) for counts in zip(*(one.errors for one in heard), strict=True))),
        invented=sum(one.invented for one in heard),
        took_s=sum(one.took_s for one in heard),
        cpu_s=sum(one.cpu_s for one in heard),
        audio_lags=_pool_lags([one.audio_lags for one in heard]),
        lags=_pool_lags([one.lags for one in heard]),
    )


def _pool_lags(lags: Sequence[Lags]) -> Lags:
    return Lags(*([value for one in kind for value in one] for kind in zip(*lags, strict=True)))


def _table(rows: Sequence[Mapping[str, Cell]], key: str, title: str, columns: tuple[Column, ...]) -> Table:
    chosen = tuple({column.key: row[column.key] for column in columns} for row in rows)
    return Table(key=key, title=title, columns=columns, rows=chosen)


def _row(result: SongResult) -> dict[str, Cell]:
    errors = result.streamed.errors
    row: dict[str, Cell] = {
        "song": result.name,
        "duration_s": result.duration_s,
        "words": errors.words,
        "substituted": errors.substituted,
        "deleted": errors.deleted,
        "inserted": errors.inserted,
        "points_over_whole": 100 * (errors.rate - result.whole.errors.rate),
        "timed_words": len(result.streamed.lags.settled_s),
        "quiet_min": result.quiet_s / 60,
    }
    lags = {
        "audio_settled": result.streamed.audio_lags.settled_s,
        "shown": result.streamed.lags.shown_s,
        "settled": result.streamed.lags.settled_s,
        "line": result.streamed.lags.line_s,
        "windows_audio": result.windows.audio_lags.settled_s,
        "windows": result.windows.lags.settled_s,
    }
    for name, values in lags.items():
        row |= {f"{name}_p{q}_s": percentile(values, q) for q in (50, 90)}
    for prefix, heard in (("", result.streamed), ("windows_", result.windows), ("whole_", result.whole)):
        row[f"{prefix}wer"] = heard.errors.rate
        row[f"{prefix}invented_per_min"] = heard.invented / result.quiet_s * 60 if result.quiet_s else None
        row[f"{prefix}real_time_factor"] = heard.took_s / result.duration_s
        row[f"{prefix}cpu_share"] = heard.cpu_s / result.duration_s
    return row
