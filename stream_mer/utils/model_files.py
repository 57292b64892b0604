"""Reading model files from untrusted origins: bounded, and validated before any network is built."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from stream_mer.errors import CheckpointError

_PACKAGE = Path(__file__).parents[1]
MODEL_FOLDERS = (_PACKAGE / "models", _PACKAGE.parent / "models")
"""Folders of the packaged models: those of the wheel, and those of the repository."""

MAX_CONFIG_BYTES = 4 << 20
"""The largest that training has written has 19 kB."""

MAX_WEIGHTS_BYTES = 2 << 30
"""A hundred times those of the whole published network."""

MAX_WEIGHT = 1e6
"""Trained weights stay below 100; with much larger ones, outputs become NaN."""

Tensors: TypeAlias = "Mapping[str, NDArray[Any]]"
"""Arrays by their names."""

T = TypeVar("T")


def find_packaged(name: str, marker: str) -> Path:
    """Return the folder of a packaged model.

    Args:
        name: Name of the folder.
        marker: Name of a file that it must hold.

    Raises:
        CheckpointError: It is missing.
    """
    for folder in MODEL_FOLDERS:
        if (folder / name / marker).is_file():
            return folder / name
    raise CheckpointError(f"{name} is not in {' or '.join(map(str, MODEL_FOLDERS))}: install stream-mer again")


def read_config(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or no JSON.
    """
    data = _read(path, MAX_CONFIG_BYTES)
    try:
        return json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file of tensors.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or no safetensors file of numpy's types.
    """
    _check_size(path, MAX_WEIGHTS_BYTES)
    try:
        tensors: dict[str, NDArray[Any]] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} holds a type that is not read: {error}") from None
    return tensors


def record_of(config: object, kind: type[T], *, where: str) -> T:
    """Return a dataclass of a part of a config, within the types and ranges that its fields are annotated with.

    Raises:
        ValueError: A field is missing, unknown, of another type or out of range.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"{where} is a table, not {short(config)}")  # noqa: TRY004 - of a file, not of a caller
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    if unknown := [name for name in config if name not in known]:
        raise ValueError(f"{where} has no setting {short(unknown[0])}")
    try:
        return msgspec.convert(config, kind)
    except (msgspec.ValidationError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None


def check_tensors(tensors: Tensors, wanted: Tensors) -> None:
    """Check that tensors are those of a network.

    Args:
        tensors: Of a file.
        wanted: Arrays of the right names, shapes and types, as ``like`` makes them; their values do not count.

    Raises:
        ValueError: One is missing or too many, of another shape or type, NaN or beyond ``MAX_WEIGHT``.
    """
    if missing := [name for name in wanted if name not in tensors]:
        raise ValueError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if unknown := [name for name in tensors if name not in wanted]:
        raise ValueError(f"{len(unknown)} tensors belong to no part of it, such as {short(unknown[0])}")
    for name, tensor in tensors.items():
        shape, dtype = wanted[name].shape, wanted[name].dtype
        if tensor.shape != shape:
            raise ValueError(f"size mismatch for {name}: {list(tensor.shape)} in place of {list(shape)}")
        if tensor.dtype != dtype:
            raise ValueError(f"{name} is of the type {tensor.dtype} in place of {dtype}")
        if tensor.dtype.kind == "f" and not bool((np.abs(tensor) <= MAX_WEIGHT).all()):
            raise ValueError(f"{name} holds NaN or a value beyond {MAX_WEIGHT:g}")


def like(*shape: int) -> NDArray[np.float32]:
    """Return an array of a shape for ``check_tensors``; it takes no memory, however large."""
    return np.broadcast_to(np.float32(0), shape)


def short(value: object) -> str:
    """Return a value of a file as part of an error."""
    return repr(value) if not isinstance(value, str) or len(value) <= 80 else repr(value[:80] + "…")


def reason(error: BaseException) -> str:
    """Return an error as one line."""
    return textwrap.shorten(str(error) or type(error).__name__, 300)


def _read(path: Path, limit: int) -> bytes:
    _check_size(path, limit)
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path.name} is larger than {limit >> 20} MiB")
    return data


def _check_size(path: Path, limit: int) -> None:
    if not path.exists():
        raise FileNotFoundError(f"there is no {path.name}")
    if not path.is_file():
        raise ValueError(f"{path.name} is no file")
    if path.stat().st_size > limit:
        raise ValueError(f"{path.name} is larger than {limit >> 20} MiB")
