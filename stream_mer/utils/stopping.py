"""How a process ends.

The first SIGINT or SIGTERM asks for an orderly end, the second one ends the process immediately.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

EXIT_WITHIN_S = 2.0
"""Time limit for closing files after a second signal; usually it takes milliseconds."""


abandoned = threading.Event()
"""Set where a thread that does not end is left behind; for ``exit_process``."""


def exit_process(code: int) -> NoReturn:
    """End the process: as usual, but at once if a thread was abandoned.

    A thread that returns from native code (ONNX Runtime, FFmpeg) while the interpreter shuts down aborts the process.
    """
    if abandoned.is_set():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader has gone
                stream.flush()
        os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def stop_signals(close_files: Callable[[], object] = lambda: None) -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets.

    Handled by Python itself and not by the loop, so that a second signal works while the loop is stuck. Outside the
    main thread, where no signal can be handled, the event is never set.

    Args:
        close_files: Called on the second signal, in a thread of its own, before the process ends with 128 and the
            number of the signal; it has ``EXIT_WITHIN_S``.
    """
    import asyncio  # noqa: PLC0415 - takes 20 ms: every command loads this module, and few have a loop

    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    asked = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            exit_at_once(128 + number, close_files)
            return
        asked.set()
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            loop.call_soon_threadsafe(stopping.set)

    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread
                previous[number] = signal.signal(number, handle)
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def orderly_exit() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that unfinished files are removed; a second one kills."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)

    try:
        previous = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def exit_at_once(
    code: int, close_files: Callable[[], object], *, exit_process: Callable[[int], object] = os._exit
) -> None:
    """End the process even if something hangs, after closing files.

    Args:
        code: Exit code.
        close_files: Called first; it has ``EXIT_WITHIN_S``.
        exit_process: Ends the process without waiting for anything.
    """

    def end() -> None:
        try:
            close_files()
        except Exception:
            log.exception("a file could not be closed")
        finally:
            exit_process(code)

    limit = threading.Timer(EXIT_WITHIN_S, exit_process, [code])
    limit.daemon = True
    try:
        limit.start()
        # In a thread: a handler of signals interrupts the main one anywhere, and may not wait for locks that it holds.
        threading.Thread(target=end, name="exit", daemon=True).start()
    except RuntimeError:  # the interpreter is shutting down, which closes files
        exit_process(code)
