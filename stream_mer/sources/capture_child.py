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
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, BinaryIO, NoReturn, Protocol

from stream_mer.sources.devices import InputDevice, is_monitor_name
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


_HEADER = struct.Struct("<2sBBIQd")
_MAGIC = b"mC"


class Kind(IntEnum):
    """What a message is."""

    BLOCK = 1
    OPENED = 2
    BEAT = 3
    FAILED = 4
    DEVICES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message; see the module for what the fields mean for each kind."""

    kind: Kind
    time: float = 0.0
    start: int = 0
    channels: int = 0
    payload: bytes = b""


class Readable(Protocol):
    """A binary file whose ``read(n)`` gives less than n bytes at its end alone."""

    def read(self, n: int, /) -> bytes: ...


def encode(packet: Packet) -> bytes:
    """Return the message as bytes."""
    header = _HEADER.pack(_MAGIC, packet.kind, packet.channels, len(packet.payload), packet.start, packet.time)
    return header + packet.payload


def read_packet(stream: Readable) -> Packet | None:
    """Read one message; None at the end of the stream, also where it breaks off within a message.

    Raises:
        ValueError: These bytes are no message.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, kind, channels, length, start, time = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise ValueError(f"not a message of the capture process: {header!r}")
    payload = stream.read(length)
    if len(payload) < length:
        return None
    return Packet(kind=Kind(kind), channels=channels, start=start, time=time, payload=payload)


BLOCK_S = 0.02


class InputFailure(Exception):  # noqa: N818 - no error class of stream_mer: it only travels to the parent process
    """A sound input cannot be used.

    Args:
        reason: ``no_pyaudio``, ``no_portaudio``, ``absent`` or ``busy``.
        message: The words of the library.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Take = Callable[[bytes, int, float], None]
"""Takes (interleaved float32, samples per channel, monotonic clock when they came)."""


class PortAudioInput:
    """PortAudio, started once, and at most one open device in it.

    Raises:
        InputFailure: PyAudio is not installed, or PortAudio does not start.
    """

    def __init__(self) -> None:
        try:
            import pyaudio  # noqa: PLC0415  # an extra: whoever has no microphone needs no PortAudio
        except ImportError as error:
            raise InputFailure("no_pyaudio", str(error)) from error
        self._format = pyaudio.paFloat32
        self._go_on = (None, pyaudio.paContinue)
        try:
            self._portaudio = pyaudio.PyAudio()
        except OSError as error:
            raise InputFailure("no_portaudio", _reason(error)) from error
        self._stream: Any = None

    def devices(self) -> list[InputDevice]:
        """Every input, in the system's order."""
        return [device for _, device in self._indexed_devices()]

    def open(self, name: str, host_api: str, *, channels: int, take: Take) -> tuple[InputDevice, int]:
        """Start to capture from the device of this name, in callback mode: a blocking read could hang for good.

        Args:
            name: Its whole name.
            host_api: The sound interface that leads to it.
            channels: How many to capture.
            take: Called by PortAudio's own thread for each block; must neither wait nor raise.

        Returns:
            The device, and the rate it was opened at.

        Raises:
            InputFailure: No device is called so, or it cannot be opened.
        """
        wanted = (name, host_api)
        found = [(index, each) for index, each in self._indexed_devices() if (each.name, each.host_api) == wanted]
        if not found:
            raise InputFailure("absent", "no such device")
        index, device = found[0]

        def called(data: bytes, n_samples: int, _times: Mapping[str, float], _flags: int) -> tuple[None, int]:
            take(data, n_samples, time.monotonic())
            return self._go_on

        try:
            self._stream = self._portaudio.open(
                format=self._format,
                rate=device.rate_hz,
                channels=channels,
                input=True,
                input_device_index=index,
                frames_per_buffer=round(BLOCK_S * device.rate_hz),
                stream_callback=called,
            )
        except (OSError, ValueError) as error:
            raise InputFailure("busy", _reason(error)) from error
        return device, device.rate_hz

    def is_active(self) -> bool:
        """False once the device is gone. True through a stall of the sound server."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def _indexed_devices(self) -> list[tuple[int, InputDevice]]:
        """Every input with its number, which holds for this start of PortAudio alone."""
        try:
            default_index = self._portaudio.get_default_input_device_info()["index"]
        except OSError:
            default_index = None
        found = []
        for index in range(self._portaudio.get_device_count()):
            info = self._portaudio.get_device_info_by_index(index)
            if info["maxInputChannels"] < 1:
                continue
            name = _text(info["name"])
            device = InputDevice(
                name=name,
                host_api=_text(self._portaudio.get_host_api_info_by_index(info["hostApi"])["name"]),
                channels=int(info["maxInputChannels"]),
                rate_hz=round(info["defaultSampleRate"]),
                is_default=index == default_index,
                is_monitor=is_monitor_name(name),
            )
            found.append((index, device))
        return found


def _text(name: str | bytes) -> str:
    """PyAudio gives a name as bytes where it is not UTF-8."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _reason(error: Exception) -> str:
    """The words of a PortAudio error, whose first argument is their number or they themselves."""
    words = [str(part) for part in error.args if isinstance(part, str)]
    return words[0] if words else str(error)


LOOK_S = 1.0
"""How often to look at least; a change that the server tells of is seen at once."""

RETRY_S = 1.0


def follow_default_output() -> NoReturn:
    """Move what this process records whenever the default output changes; for a thread of its own.

    Raises:
        ImportError: pulsectl is not installed.
        OSError: The sound server's library is not.
    """
    import pulsectl  # noqa: PLC0415 - an extra

    def wake(_event: object) -> None:
        raise pulsectl.PulseLoopStop

    while True:
        try:
            with pulsectl.Pulse("stream_mer") as pulse:
                pulse.event_mask_set("server")
                pulse.event_callback_set(wake)
                while True:
                    move_to_default_output(pulse, os.getpid())
                    pulse.event_listen(timeout=LOOK_S)
        except pulsectl.PulseError:  # it went away: what it captured ends with it, and is begun anew
            time.sleep(RETRY_S)


def move_to_default_output(pulse: Any, process_id: int) -> None:
    """Move what a process records to the monitor of the output that is the default one now, if it is elsewhere.

    Args:
        pulse: A connection: ``pulsectl.Pulse``.
        process_id: Whose streams are moved.
    """
    default = pulse.server_info().default_sink_name
    monitor = next((sink.monitor_source for sink in pulse.sink_list() if sink.name == default), None)
    if monitor is None:  # there is no output just now
        return
    for stream in pulse.source_output_list():
        if stream.proplist.get("application.process.id") == str(process_id) and stream.source != monitor:
            pulse.source_output_move(stream.index, monitor)
