"""Real processes with what hangs in practice: a signal ends them, and what they recorded is whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE_S

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="wants named pipes and signals of POSIX")


def ended(folder: Path) -> bool:
    """Whether the recording in a folder has its last line."""
    (messages,) = folder.glob("*/messages.jsonl")
    return bool(json.loads(messages.read_text().splitlines()[-1]).get("ended"))


@pytest.mark.timeout(300)  # a process that loads its models beside many others
@pytest.mark.parametrize(("number", "writer"), [(signal.SIGINT, "idle"), (signal.SIGTERM, "none")])
def test_a_pipe_to_which_nobody_writes_does_not_hold_the_end_up(
    number: signal.Signals, writer: str, started: Callable[..., Any], tiny_model: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "x.fifo"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR) if writer == "idle" else None  # so that opening waits for no reader
    process = started(
        *("-m", "stream_mer", "serve", "--source", pipe, "--model", tiny_model, "--no-lyrics", "--port", "0"),
        *("--record", tmp_path / "shows"),
    )
    assert process.end(number)[0] == 0
    assert ended(tmp_path / "shows")
    if held is not None:
        os.close(held)


HANGS = """
import asyncio, functools, sys, threading
from pathlib import Path
from stream_mer.runner import host
from stream_mer.outputs.recording.recorder import Recorder
from tools.examples import FRAME
from stream_mer.server.session import ServerInfo, hello
from stream_mer.server.hub import Hub
from stream_mer.config import ServeSettings

class Hangs:
    def run(self):
        sink.publish(FRAME)
        print("hangs", flush=True)
        threading.Event().wait()
    def stop(self):
        threading.Event().wait()  # in the thread of the loop
    close = stop

info, settings, hub = ServerInfo(), ServeSettings(port=0), Hub()
sink = hub.sink("hall")
recorder = Recorder(Path(sys.argv[1]), hello=functools.partial(hello, settings=settings, info=info))
asyncio.run(host(hub, {"it": Hangs()}, settings, info=info, on_ready=lambda _: None, plugins=[recorder]))
"""


def test_a_second_signal_ends_what_hangs_and_the_recording_is_closed(
    started: Callable[..., Any], tmp_path: Path
) -> None:
    process = started("-c", HANGS, tmp_path / "shows", ready="hangs").process
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)  # it hangs, even its loop
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert ended(tmp_path / "shows")
