"""``stream-mer tag`` of a recorded show: drawn and exported without being heard again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_mer import cli
from stream_mer.cli import tag as tag_module
from stream_mer.lyrics.files import read_lyrics
from stream_mer.outputs.recording.format import MESSAGES

Tag = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tag(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tag:
    """Runs the command in this process, where no model can be loaded."""

    def no_engine(*_: object) -> None:
        pytest.fail("a recording needs no model")

    monkeypatch.setattr(tag_module, "_load", no_engine)

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stream-mer", "tag", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def test_the_messages_of_a_show_are_written_as_of_a_file(write: Any, show: Any, tag: Tag) -> None:
    recording = write(show(6))
    code, out, err = tag(recording.folder)
    assert (code, err) == (0, "")
    *messages, summary = map(json.loads, out.splitlines())
    lines = map(json.loads, (recording.folder / MESSAGES).read_text(encoding="utf-8").splitlines()[1:])
    recorded = [line["message"] for line in lines if "message" in line]
    assert messages == [one for one in recorded if one["type"] in {"emotion", "lyrics"}]
    assert (summary["type"], summary["stream"], summary["duration_s"]) == ("summary", "hall", 3.0)
    assert summary["lyrics"] == "and the morning comes again"


@pytest.mark.parametrize(
    ("options", "caption", "message"),
    [
        ((), "the morning comes", "the morning comes"),
        (("--mask-words", "words.txt"), "the m****** comes", "the morning comes"),
        (("--mask-words", "words.txt", "--mask-all"), "the m****** comes", "the m****** comes"),
        (("--mask-words", "off"), "the morning comes", "the morning comes"),
    ],
)
def test_words_are_masked_in_captions_and_where_it_is_asked_for_in_messages(
    *,
    write: Any,
    show: Any,
    tag: Tag,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    caption: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    recording = write(show(6))
    (tmp_path / "words.txt").write_text("morning\n", encoding="utf-8")
    code, out, err = tag(recording.folder, "--srt", "a.srt", *options)
    assert (code, err) == (0, "")
    assert caption in (tmp_path / "a.srt").read_text(encoding="utf-8")
    *messages, summary = map(json.loads, out.splitlines())
    (line,) = (one for one in messages if one["type"] == "lyrics")
    assert message in line["text"]
    assert message in summary["lyrics"]
    assert [word["text"] for word in line["words"]] == line["text"].split()


def test_a_list_of_words_that_is_missing_ends_it(write: Any, show: Any, tag: Tag) -> None:
    code, _, err = tag(write(show(6)).folder, "--mask-words", "no/list.txt")
    assert code == 2
    assert "cannot read the list of words no/list.txt" in err


def test_each_stream_of_a_show_has_files_of_its_own(write: Any, show: Any, tag: Tag, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'offline'")
    recording = write([*show(6, "main floor"), *show(3, "bar/left")])
    out = tmp_path / "out"
    out.mkdir()
    done = tag(
        *(recording.folder.parent / "show", "--format", "csv", "--out", out / "rows.csv"),
        *("--plot", out / "a.png", "--srt", out / "a.srt", "--lrc", out / "a.lrc"),
    )
    assert done == (0, "", "2 tagged\n")
    labels = ("main floor", "bar_left")
    assert {path.name for path in out.iterdir()} == {"rows.csv"} | {
        f"a-{label}.{suffix}" for label in labels for suffix in ("png", "srt", "lrc")
    }
    for label in labels:
        (line,) = read_lyrics(out / f"a-{label}.lrc")
        assert (line.t0, line.text) == (1.0, "and the morning comes again")
    assert (
        (out / "a-main floor.srt").read_text(encoding="utf-8").startswith("1\n00:00:01,000 --> 00:00:01,500\nand the")
    )
    rows = (out / "rows.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 6 + 3
    assert {row.partition(",")[0] for row in rows[1:]} == {"main floor", "bar/left"}


def test_a_show_that_was_cut_off_is_drawn_up_to_there(write: Any, show: Any, tag: Tag) -> None:
    recording = write(show(6), ended=False)
    path = recording.folder / MESSAGES
    path.write_bytes(path.read_bytes()[:-300])
    code, out, err = tag(recording.folder)
    assert code == 0
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["type"] == "summary"


@pytest.mark.parametrize("option", ["--srt", "--lrc"])
def test_lyrics_that_cannot_be_written_are_one_line(
    write: Any, show: Any, tag: Tag, tmp_path: Path, option: str
) -> None:
    code, _, err = tag(write(show(3)).folder, option, tmp_path / "nowhere" / "a")
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"cannot write {tmp_path / 'nowhere' / 'a'}: there is no folder" in err


def test_a_damaged_recording_is_named(write: Any, show: Any, tag: Tag) -> None:
    recording = write(show(3))
    (recording.folder / MESSAGES).write_bytes(b"what is this\n")
    code, out, err = tag(recording.folder)
    assert (code, out) == (1, "")
    assert f"{recording.folder / MESSAGES} does not begin like a recording" in err
