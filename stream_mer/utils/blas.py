"""Threads of the linear algebra behind numpy. The only import of threadpoolctl."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

import numpy as np  # noqa: F401 - loads the libraries
from threadpoolctl import ThreadpoolController


def use_one_thread() -> None:
    """Limit numpy's products to one thread for the whole process. For the command line.

    A hop is little work: a second thread costs more than it saves, and on busy cores a hop that waits for it takes a
    hundred times longer.
    """
    _libraries().limit(limits=1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit numpy's products to one thread within the block. For programs that multiply larger matrices, too.

    Where blocks of several threads overlap, the limit ends with the first one that set it.
    """
    libraries = _libraries()
    with _LOCK:  # else a second block might take the limit of the first one for the state to restore
        is_limited = all(library["num_threads"] == 1 for library in libraries.info())
        limit = contextlib.nullcontext() if is_limited else libraries.limit(limits=1)
    with limit:
        yield


_LOCK = threading.Lock()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return the libraries of linear algebra that are loaded; looking for them takes a millisecond."""
    return ThreadpoolController().select(user_api="blas")
