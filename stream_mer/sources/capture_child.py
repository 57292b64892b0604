"""The capture process: opens one sound input and tells its parent what it hears, until either of them is gone.

Started by ``sources.capture_process``. It must start in no time and be free to be killed at any moment, so it imports
little and keeps nothing: no numpy, no clean-up. It ends

* with its parent: standard input, a pipe that nobody writes to, ends;
* when it hangs, wherever that is: an alarm that the main loop puts off is not put off (where there are alarms);
* when the device is gone.

What C libraries write to standard output or error goes nowhere; messages leave through a copy of standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import BinaryIO, NoReturn

from stream_mer.sources.capture_wire import Kind, Packet, encode
from stream_mer.sources.default_output import follow_default_output
from stream_mer.sources.portaudio import BLOCK_S, InputFailure, PortAudioInput
from stream_mer.utils.mailbox import Mailbox

BEAT_S = 0.2
_HELD_S = 2.0
"""How much audio may wait for the parent before the oldest is dropped."""

_ALARM_S = 10.0
"""Longer than the parent waits for anything: this is for a process that hangs after its parent died."""


def main(arguments: list[str]) -> NoReturn:
    """Run the capture process.

    Args:
        arguments: One of JSON: ``{}`` to list the devices, ``{"name", "host_api", "channels"}`` to capture, with
            ``"follow": true`` from the monitor of the default output, whichever that is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to judge
    out = _own_output()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _put_off_alarm()
    request = json.loads(arguments[0])
    try:
        if request:
            if request.get("follow"):
                threading.Thread(target=_follow_default_output, name="follow", daemon=True).start()
            _capture(out, request["name"], request["host_api"], request["channels"])
        else:
            devices = [asdict(device) for device in PortAudioInput().devices()]
            _say(out, Packet(kind=Kind.DEVICES, payload=json.dumps(devices).encode()))
    except InputFailure as failure:
        _say_failure(out, failure.reason, str(failure))
    except OSError:  # The pipe is broken: the parent is gone.
        pass
    except Exception as error:  # the parent must hear of it: there is no other way out
        _say_failure(out, "defect", f"{type(error).__name__}: {error}")
    os._exit(0)  # Not the usual way: PortAudio was seen to crash or hang at exit with a device open.


def _capture(out: BinaryIO, name: str, host_api: str, channels: int) -> None:
    blocks: Mailbox[Packet] = Mailbox(capacity=round(_HELD_S / BLOCK_S), when_full="drop_oldest")
    position = 0

    def take(data: bytes, n_samples: int, at: float) -> None:
        nonlocal position
        blocks.put(Packet(kind=Kind.BLOCK, channels=channels, start=position, time=at, payload=data))
        position += n_samples

    portaudio = PortAudioInput()
    _, rate_hz = portaudio.open(name, host_api, channels=channels, take=take)
    opened = json.dumps({"rate_hz": rate_hz, "channels": channels}).encode()
    _say(out, Packet(kind=Kind.OPENED, time=time.monotonic(), payload=opened))
    _relay(out, blocks, portaudio.is_active)


def _follow_default_output() -> None:
    with contextlib.suppress(
        ImportError, OSError
    ):  # what was the default output at the beginning is heard all the same
        follow_default_output()


def _relay(out: BinaryIO, blocks: Mailbox[Packet], is_active: Callable[[], bool]) -> None:
    """Pass blocks on until the device is gone."""
    beat_at = 0.0
    while True:
        try:
            _say(out, blocks.get(timeout_s=BEAT_S / 2))
        except TimeoutError:
            if not is_active():
                raise InputFailure("gone", "unplugged, or its sound server ended") from None
        now = time.monotonic()
        if now - beat_at >= BEAT_S:
            beat_at = now
            _put_off_alarm()
            _say(out, Packet(kind=Kind.BEAT, time=now))


def _say(out: BinaryIO, packet: Packet) -> None:
    out.write(encode(packet))
    out.flush()


def _say_failure(out: BinaryIO, reason: str, message: str) -> None:
    _say(out, Packet(kind=Kind.FAILED, payload=json.dumps({"reason": reason, "message": message}).encode()))


def _own_output() -> BinaryIO:
    """Keep standard output for messages alone: whatever else writes there writes to nowhere."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return os.fdopen(kept, "wb")


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


def _put_off_alarm() -> None:
    # Its default action ends the process without asking Python, which may hang inside PortAudio.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _ALARM_S)


if __name__ == "__main__":
    main(sys.argv[1:])
