"""Files that are replaced whole or not at all, checks of paths to write, and names of files as text."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stream_mer.errors import SettingError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


LONGEST = 80
"""Characters of a name that ``file_names`` returns."""


def as_text(name: str) -> str:
    r"""Return a name of the file system as text for every message: bytes that are no UTF-8 become ``\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def file_names(names: Iterable[str]) -> list[str]:
    """Return a file name without suffix for each, valid and unique on every file system."""
    given: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w .-]+", "_", name)[:LONGEST].strip("._ ") or "stream"
        unique, number = plain, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain}-{number}"
        taken.add(unique.casefold())
        given.append(unique)
    return given


def check_target(path: Path) -> None:
    """Find out whether a file can be written, before the work whose result it takes; changes nothing.

    Raises:
        SettingError: It cannot.
    """
    if _is_special(path):
        return
    target = _resolved(path)
    if target.is_dir():
        raise SettingError(f"cannot write {path}: it is a folder; give a file in it")
    if not target.parent.is_dir():
        raise SettingError(f"cannot write {path}: there is no folder {target.parent}; make it first")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise SettingError(f"cannot write {path}: not permitted; check its owner and mode, or give another place")


def check_folder(path: Path) -> None:
    """Find out whether files can be written to a folder, which need not be there yet; changes nothing.

    Raises:
        SettingError: They cannot.
    """
    there = _resolved(path)
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise SettingError(f"cannot write to {path}: {there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingError(f"cannot write to {path}: not permitted; check its owner and mode, or give another place")


def check_targets(targets: Iterable[Path], *, inputs: Iterable[Path] = ()) -> None:
    """Check all files that a command writes, as ``check_target`` does.

    Raises:
        SettingError: One cannot be written, two are the same, or one is also read: it would be lost.
    """
    read = {_resolved(one): one for one in inputs}
    written: dict[Path, Path] = {}
    for path in targets:
        check_target(path)
        if _is_special(path):
            continue
        target = _resolved(path)
        if target in read or any(_is_same(target, one) for one in read):
            raise SettingError(f"{path} is read and would be overwritten: give another file to write to")
        if target in written:
            raise SettingError(f"{path} would be written twice: give each output a file of its own")
        written[target] = path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``path`` once it is complete: when the block ends without an error.

    It is written beside its target, whose links, mode and owner stay. A device or a pipe is written as it is.

    Raises:
        SettingError: It cannot be written; also raised by the file itself, where the disk is full.
    """
    if _is_special(path):
        with _naming(path):
            device = _Writer(path, "wb", path)
        with device:
            yield device
        return
    target = _resolved(path)
    parts: list[Path] = []
    try:  # from before it is made: a signal may interrupt anywhere
        with _naming(path):
            file = _open_part(target, path, parts)
        with file:
            yield file
            file.flush()
            with _naming(path):
                os.fsync(file.fileno())
        with _naming(path):
            _move(file.path, target)
    finally:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink()


def replace_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with plain line feeds, as ``replacing`` does.

    Raises:
        SettingError: It cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


class _Writer(io.BufferedWriter):
    """A file whose errors name the path that the user gave.

    Args:
        file: The file that is opened.
        mode: As of ``open``.
        path: The path that the user gave.
    """

    def __init__(self, file: Path, mode: str, path: Path) -> None:
        super().__init__(io.FileIO(file, mode))
        self.path = file
        self._shown = path

    def write(self, data: Buffer, /) -> int:
        with _naming(self._shown):
            return super().write(data)

    def flush(self) -> None:
        with _naming(self._shown):
            super().flush()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise errors of the system as a ``SettingError`` that names the path."""
    try:
        yield
    except OSError as error:
        raise SettingError(f"cannot write {path}: {error.strerror or error}") from error


def _open_part(target: Path, path: Path, parts: list[Path]) -> _Writer:
    """Open a new file beside the target, or elsewhere if none can be made there and the target exists.

    Where it may be is added to ``parts`` before it is made.
    """
    name = f"stream-mer-{secrets.token_hex(8)}.part"
    parts.append(target.with_name(f".{name}"))
    try:
        return _Writer(parts[-1], "xb", path)
    except PermissionError:
        if not target.exists():
            raise
        parts.append(Path(tempfile.gettempdir(), name))
        return _Writer(parts[-1], "xb", path)


def _move(part: Path, target: Path) -> None:
    try:
        if target.exists():
            before = target.stat()
            part.chmod(before.st_mode & 0o7777)
            if hasattr(os, "chown"):
                with contextlib.suppress(OSError):
                    os.chown(part, before.st_uid, before.st_gid)
        part.replace(target)
    except OSError:
        if not target.exists():
            raise
        shutil.copyfile(part, target)  # a single file that is mounted into a container cannot be replaced


def _resolved(path: Path) -> Path:
    """Return the file behind links."""
    return Path(os.path.realpath(path))


def _is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, which holds nothing that could be lost."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False
