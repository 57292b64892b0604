"""Files that are written whole or not at all, and their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream_mer.errors import SettingError
from stream_mer.utils import files as file_writing
from stream_mer.utils.files import (
    as_text,
    check_folder,
    check_target,
    check_targets,
    file_names,
    replace_text,
    replacing,
)


def test_no_two_are_alike_and_none_is_too_long_or_leads_elsewhere() -> None:
    names = file_names(("A b", "a b", "a/b", "a:b", "...", "", "x" * 300, "x" * 299, "ü"))
    assert names[:6] == ["A b", "a b-2", "a_b", "a_b-2", "stream", "stream-2"]
    assert len({name.casefold() for name in names}) == len(names)
    assert all(len(name) < 100 for name in names)


def test_a_name_that_is_no_utf_8_is_text_for_every_message() -> None:
    assert as_text(os.fsdecode(b"bad\x9b.ogg")) == r"bad\x9b.ogg"
    assert as_text("Größe 愛.ogg") == "Größe 愛.ogg"


posix = pytest.mark.skipif(os.name != "posix", reason="wants links, modes and devices of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_changes_only_when_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["results.csv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", ["old", None])
def test_an_interruption_leaves_what_was_there_and_nothing_else(
    error: type[BaseException], before: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "results.csv"
    if before is not None:
        path.write_text(before)

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == ([] if before is None else ["results.csv"])
    assert before is None or path.read_text() == before


def test_an_interruption_while_it_is_opened_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = file_writing._open_part

    def interrupted(*arguments: object) -> None:
        opened(*arguments).close()  # type: ignore[arg-type]
        assert len(names(tmp_path)) == 1
        raise SystemExit

    monkeypatch.setattr(file_writing, "_open_part", interrupted)
    with pytest.raises(SystemExit), replacing(tmp_path / "results.csv"):
        pytest.fail("it never was opened")
    assert names(tmp_path) == []


@posix
def test_links_and_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real" / "results.csv", tmp_path / "results.csv"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    replace_text(link, "nëw\n")
    assert link.is_symlink()
    assert path.read_bytes() == "nëw\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640


@posix
def test_a_new_file_has_the_mode_that_every_new_file_has(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    replace_text(tmp_path / "results.csv", "new")
    assert (tmp_path / "results.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


@posix
def test_a_device_is_written_as_it_is(tmp_path: Path) -> None:
    replace_text(Path(os.devnull), "new")
    assert not Path(os.devnull).is_file()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    replace_text(tmp_path / "pipe", "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="wants a device that is full")  # noqa: PTH110
def test_a_full_disk_is_reported_in_one_line() -> None:
    with pytest.raises(SettingError, match=r"^cannot write /dev/full: No space left on device$"):
        replace_text(Path("/dev/full"), "new")


def test_a_target_that_cannot_be_replaced_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old, and longer")

    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, f"{self} is mounted on {target}")

    monkeypatch.setattr(Path, "replace", busy)
    replace_text(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(SettingError, match="cannot write"):
        replace_text(tmp_path / "other.csv", "new")
    assert names(tmp_path) == ["results.csv"]


def test_a_file_in_a_folder_that_takes_no_new_ones_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(file_writing.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    path, make = tmp_path / "results.csv", file_writing._Writer
    path.write_text("old")

    def refuse(file: Path, mode: str, shown: Path) -> file_writing._Writer:
        if file.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return make(file, mode, shown)

    monkeypatch.setattr(file_writing, "_Writer", refuse)
    replace_text(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(SettingError, match="Permission denied"):
        replace_text(tmp_path / "other.csv", "new")
    assert names(tmp_path / "elsewhere") == []


def test_what_cannot_be_written_is_found_beforehand(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(SettingError, match="there is no folder"):
        check_target(tmp_path / "nowhere" / "x.csv")
    with pytest.raises(SettingError, match="it is a folder"):
        check_target(tmp_path)
    with pytest.raises(SettingError, match="is a file; give a folder"):
        check_folder(file / "model")
    check_target(file)
    check_target(tmp_path / "new")
    check_folder(tmp_path / "a" / "b")
    check_target(Path(os.devnull))
    assert names(tmp_path) == ["file"]
    assert file.read_text() == "old"


def test_what_is_read_or_written_twice_is_no_target(tmp_path: Path) -> None:
    song, other = tmp_path / "song.lrc", tmp_path / "other.lrc"
    song.write_text("words")
    other.hardlink_to(song)
    for target in (song, other, tmp_path / "." / "song.lrc"):
        with pytest.raises(SettingError, match="is read and would be overwritten"):
            check_targets([target], inputs=[song])
    with pytest.raises(SettingError, match="would be written twice"):
        check_targets([tmp_path / "x", tmp_path / "." / "x"])
    check_targets([tmp_path / "x", tmp_path / "y", Path(os.devnull), Path(os.devnull)], inputs=[song])
