"""The one import of torchaudio, which also works beside a CPU-only torch.

The Linux wheel of torchaudio 2.11 links its native half against CUDA, so beside a CPU-only torch ``import torchaudio``
raises ``OSError: libc10_cuda.so``. Its Python half, which is all that stream_mer uses (``transforms``), needs none of
it. On that error the loader of the native half is replaced by one that reports it absent, which torchaudio handles,
and the import is repeated. With a matching torch nothing of this runs.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

_ONE_BY_ONE = threading.Lock()
"""Streams that start together ask for it in many threads, and the second try takes the first one's modules away."""


def import_torchaudio() -> ModuleType:
    """Import torchaudio, without its native half where that cannot be loaded; from any thread.

    Raises:
        ImportError: torchaudio is not installed.
    """
    with _ONE_BY_ONE:
        return _import()


def _import() -> ModuleType:
    try:
        import torchaudio  # noqa: PLC0415 - slow to import, and may need the second try below
    except OSError:
        _replace_native_loader()
        import torchaudio  # noqa: PLC0415 - the second try
    module: ModuleType = torchaudio
    return module


def _replace_native_loader() -> None:
    # A copy of the names, because other threads may be importing meanwhile.
    for name in [name for name in list(sys.modules) if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    package = importlib.util.find_spec("torchaudio")
    if package is None or not package.submodule_search_locations:
        raise ImportError("torchaudio is installed without its Python files; reinstall it")
    path = Path(package.submodule_search_locations[0]) / "_extension" / "utils.py"
    spec = importlib.util.spec_from_file_location("torchaudio._extension.utils", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}; reinstall torchaudio")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["_load_lib"] = lambda _name: False
    sys.modules["torchaudio._extension.utils"] = module
