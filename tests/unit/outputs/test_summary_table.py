"""A row a file: its figures, its way to a table and back, and as text."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stream_mer.errors import SettingError
from stream_mer.outputs.summary_table import (
    COLUMNS,
    FileRow,
    RowCollector,
    SummaryTable,
    check_table,
    read_table,
    readable,
    write_table,
)
from stream_mer.types import UNKNOWN, CategoryChange
from tools.examples import FRAME, LINE, STATUS


def collector() -> RowCollector:
    made = RowCollector()
    for i, (valence, category) in enumerate([(-0.5, "sad"), (0.0, "sad"), (0.2, "happy"), (0.7, UNKNOWN)]):
        raw = replace(FRAME.raw, valence=valence, arousal=-valence)
        made.publish(replace(FRAME, index=i, t0=0.0, t1=0.5 * (i + 1), raw=raw, category=category))
    made.publish(replace(LINE, segment=0, committed=True, text="one two", words=(), language="en"))
    made.publish(replace(LINE, segment=1, committed=True, text="un deux trois", words=(), language="fr"))
    made.publish(replace(LINE, segment=1, committed=True, text="un deux trois quatre", words=(), language="fr"))
    made.publish(replace(LINE, segment=2, committed=False, text="not sure of that", words=(), settled_words=0))
    made.publish(replace(STATUS, title="Moon", artist="Someone"))
    made.publish(replace(STATUS, title=None, artist=None))
    made.publish(CategoryChange(t=1.5, before="sad", after="happy", dwell_s=1.0))
    return made


def test_a_row_has_the_figures_of_the_file() -> None:
    row = collector().row("moon.mp3")
    assert (row.file, row.title, row.artist, row.duration_s, row.error) == ("moon.mp3", "Moon", "Someone", 2.0, None)
    assert (row.valence_mean, row.valence_median) == (pytest.approx(0.1), pytest.approx(0.1))
    assert row.valence_sd == pytest.approx(0.4301, abs=1e-4)
    assert row.arousal_median == pytest.approx(-0.1)
    shares = (row.happy_share, row.angry_share, row.sad_share, row.relaxed_share, row.unknown_share)
    assert shares == (0.25, 0.0, 0.5, 0.0, 0.25)
    assert (row.words, row.language) == (6, "fr")


def test_a_file_without_a_frame_has_no_figures() -> None:
    row = RowCollector().row("empty.wav")
    assert (row.duration_s, row.valence_mean, row.words, row.language) == (0.0, None, 0, None)
    assert readable(row) == "empty.wav  0:00\n  mood     unknown"


def test_of_lyrics_alone_the_last_frame_counts() -> None:
    made = RowCollector(words_alone=True)
    for i, valence in enumerate((-0.5, 0.4)):
        raw = replace(FRAME.raw, valence=valence, audio_state=None)
        made.publish(replace(FRAME, t0=0.0, t1=0.5 * (i + 1), raw=raw))
    assert made.row("a.lrc").valence_mean == 0.4


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_is_written_and_read_again(name: str, tmp_path: Path) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow comes with the extra 'parquet'")
    rows = [collector().row('月亮, "live".mp3'), FileRow(file="bad.mp3", error="nothing in it, at all")]
    check_table(tmp_path / name)
    write_table(tmp_path / name, rows)
    first, second = read_table(tmp_path / name)
    assert second == rows[1]
    for column in COLUMNS:
        assert getattr(first, column) == pytest.approx(getattr(rows[0], column), abs=1e-4)
    assert read_table(tmp_path / "none.csv") == []


def test_parquet_has_numbers_where_a_file_failed(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow comes with the extra 'parquet'")
    write_table(tmp_path / "t.parquet", [FileRow(file="bad.mp3", error="bad")])
    kinds = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "t.parquet")}
    assert (kinds["file"], kinds["valence_mean"], kinds["words"]) == ("string", "double", "int64")


@pytest.mark.parametrize(
    ("name", "content", "says"), [("t.csv", "a,b\n1,2\n", "is no summary"), ("t.csv", "file,words\nx,many\n", "is no")]
)
def test_another_table_is_not_taken_for_a_summary(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingError, match=says):
        SummaryTable(tmp_path / name, ["x"], keep=True)


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[parquet\]'"):
        check_table(Path("t.parquet"))
    with pytest.raises(SettingError, match=r"\.csv or a \.parquet"):
        check_table(Path("t.xlsx"))


def test_a_table_that_is_gone_on_with_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    before = [FileRow(file="a", words=1), FileRow(file="b", error="bad"), FileRow(file="other", words=2)]
    write_table(path, before)
    table = SummaryTable(path, ["c", "a", "b"], keep=True)
    assert [table.has(name) for name in ("a", "b", "c")] == [True, False, False]
    table.set(2, FileRow(file="b", words=3))
    table.write()
    assert [(row.file, row.words) for row in read_table(path)] == [("other", 2), ("a", 1), ("b", 3)]
    fresh = SummaryTable(path, ["c"], keep=False)
    fresh.set(0, FileRow(file="c"))
    fresh.write()
    assert [row.file for row in read_table(path)] == ["c"]


def test_the_text_says_what_the_file_is_like() -> None:
    made = collector()
    assert readable(made.row("moon.mp3"), made.changes).splitlines() == [
        "moon.mp3  0:02  Someone - Moon",
        "  mood     sad 50%, happy 25%, unknown 25%",
        "  valence  +0.10  (median +0.10, spread 0.43, of -1 to 1)",
        "  arousal  -0.10  (median -0.10, spread 0.43, of -1 to 1)",
        "  changes  sad → happy (0:02)",
        "  lyrics   6 words in fr",
    ]
    many = [CategoryChange(t=float(i), before="sad", after="happy", dwell_s=1.0) for i in range(20)]
    assert " and 8 more" in readable(made.row("moon.mp3"), many)
