"""Tasks that belong together: they run together and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

AGAIN_S = 0.25


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run everything until one fails, or this is cancelled; then end all of it."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: the client of NATS, and ``asyncio.wait_for`` of Python 3.11, swallow a cancellation when what
    they wait for comes in the same moment.
    """
    asked_ourselves = False
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN_S)
        except asyncio.CancelledError:
            asked_ourselves = True
    if asked_ourselves:
        raise asyncio.CancelledError
