"""Threads share the heaps of the C library."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from stream_mer.utils.allocator import limit_arenas
limit_arenas()
everybody, kept = threading.Barrier(40), []
def work():
    everybody.wait()
    kept.append([bytes(5_000) for _ in range(50)])
    everybody.wait()
threads = [threading.Thread(target=work) for _ in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize("users", [None, "3"])
def test_many_threads_share_a_heap_a_core_or_as_many_as_the_user_says(users: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    environment |= {} if users is None else {"MALLOC_ARENA_MAX": users}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    heaps = done.stderr.count("Arena ")
    assert 1 <= heaps <= (len(os.sched_getaffinity(0)) if users is None else int(users))
