"""The capture process: opens one sound input and sends its audio to the parent, until either of them is gone.

``sources.capture`` starts it. PortAudio may hang for good in a sound server that no longer answers, crash at
exit, and write some 80 lines to standard error at each start; the library of PulseAudio may hang too. So both live in
this process alone, which may be killed at any time. It must start fast: no numpy, and no clean-up. It ends

* with its parent: standard input, a pipe without a writer, ends;
* when it hangs anywhere: the main loop no longer postpones the alarm (where the system has alarms);
* when the device is gone.

What C libraries write to standard output or error is discarded. Messages leave through a copy of standard output::

    header (24 bytes, little endian):  magic 2 | kind 1 | channels 1 | payload bytes 4 | start 8 | time 8
    block    payload: float32, interleaved; start: index of the first sample; time: monotonic clock of its arrival
    opened   payload: JSON, {"rate_hz": ..., "channels": ...}
    beat     no payload: the process is alive and the device is there
    failed   payload: JSON, {"reason": ..., "message": ...}; the last message
    devices  payload: JSON, a list of input devices; the last message

The monotonic clock is the same for all processes of a machine on Linux, macOS and Windows.
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

from stream_mer.sources.devices import PULSE_DEVICE, InputDevice, is_monitor_name
from stream_mer.utils.mailbox import Mailbox

BEAT_S = 0.2
"""Interval of beats."""

BLOCK_S = 0.02
"""Length of a block."""

_HELD_S = 2.0
"""Audio that may wait for the parent before the oldest is dropped."""

_ALARM_S = 10.0
"""Longer than the parent waits for anything: for a process that hangs after its parent died."""

LOOK_S = 1.0
"""The captured source is checked at least this often; a change that the server reports is seen at once."""

DEFAULT_MONITOR = "@DEFAULT_MONITOR@"
"""The sound server's name for the monitor of the default output."""

_RETRY_S = 1.0

# Messages

_HEADER = struct.Struct("<2sBBIQd")
_MAGIC = b"mC"


class Kind(IntEnum):
    """Kind of a message."""

    BLOCK = 1
    OPENED = 2
    BEAT = 3
    FAILED = 4
    DEVICES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message; for the meaning of the fields see the module."""

    kind: Kind
    time: float = 0.0
    start: int = 0
    channels: int = 0
    payload: bytes = b""


class Readable(Protocol):
    """A binary file whose ``read(n)`` returns less than n bytes only at its end."""

    def read(self, n: int, /) -> bytes: ...


def encode(packet: Packet) -> bytes:
    """Encode a message."""
    header = _HEADER.pack(_MAGIC, packet.kind, packet.channels, len(packet.payload), packet.start, packet.time)
    return header + packet.payload


def read_packet(stream: Readable) -> Packet | None:
    """Read one message; None at the end of the stream, also inside a message.

    Raises:
        ValueError: The bytes are not a message.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, kind, channels, length, start, at = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise ValueError(f"not a message of the capture process: {header!r}")
    payload = stream.read(length)
    if len(payload) < length:
        return None
    return Packet(kind=Kind(kind), channels=channels, start=start, time=at, payload=payload)


# PortAudio


class InputFailure(Exception):  # noqa: N818 - not an error of stream_mer: it only travels to the parent process
    """A sound input cannot be used.

    Args:
        reason: ``no_pyaudio``, ``no_portaudio``, ``absent`` or ``busy``; ``gone`` later.
        message: The library's message.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PortAudioInput:
    """PortAudio, with at most one open device.

    Raises:
        InputFailure: PyAudio is not installed, or PortAudio does not start.
    """

    def __init__(self) -> None:
        try:
            import pyaudio  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise InputFailure("no_pyaudio", str(error)) from error
        self._format = pyaudio.paFloat32
        self._go_on = (None, pyaudio.paContinue)
        try:
            self._portaudio = pyaudio.PyAudio()
        except OSError as error:
            raise InputFailure("no_portaudio", _message(error)) from error
        self._stream: Any = None

    def devices(self) -> list[InputDevice]:
        """Return every input, in the system's order."""
        return [device for _, device in self._indexed_devices()]

    def open(
        self, name: str, host_api: str, *, channels: int, on_block: Callable[[bytes, int, float], None]
    ) -> InputDevice:
        """Start to capture from a device, in callback mode: a blocking read could hang for good.

        Args:
            name: Whole name of the device.
            host_api: The sound interface that leads to it.
            channels: Number of channels.
            on_block: Called by PortAudio's own thread with interleaved float32, the samples per channel, and the
                monotonic clock of their arrival; must neither wait nor raise.

        Returns:
            The device, opened at its own rate.

        Raises:
            InputFailure: There is no such device, or it cannot be opened.
        """
        wanted = (name, host_api)
        found = [(index, each) for index, each in self._indexed_devices() if (each.name, each.host_api) == wanted]
        if not found:
            raise InputFailure("absent", "no such device")
        index, device = found[0]

        def callback(data: bytes, n_samples: int, _times: Mapping[str, float], _flags: int) -> tuple[None, int]:
            on_block(data, n_samples, time.monotonic())
            return self._go_on

        try:
            self._stream = self._portaudio.open(
                format=self._format,
                rate=device.rate_hz,
                channels=channels,
                input=True,
                input_device_index=index,
                frames_per_buffer=round(BLOCK_S * device.rate_hz),
                stream_callback=callback,
            )
        except (OSError, ValueError) as error:
            raise InputFailure("busy", _message(error)) from error
        return device

    def is_active(self) -> bool:
        """Return False once the device is gone; True through a stall of the sound server."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def _indexed_devices(self) -> list[tuple[int, InputDevice]]:
        """Return every input with its index, which is valid for this start of PortAudio alone."""
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
    """Decode a name; PyAudio gives one that is not UTF-8 as bytes."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _message(error: Exception) -> str:
    """Return the text of a PortAudio error, whose first argument may be a number."""
    texts = [part for part in error.args if isinstance(part, str)]
    return texts[0] if texts else str(error)


# The sound server (PulseAudio, PipeWire)

_CONNECT_S = 2.0


def all_devices(devices: list[InputDevice]) -> list[InputDevice]:
    """Return PortAudio's devices, and behind them the sources of the sound server, which PortAudio may not list."""
    if not any(device.name == PULSE_DEVICE for device in devices):  # there is no way to capture from the server
        return devices
    names = {device.name for device in devices}
    with contextlib.suppress(ImportError, OSError):  # pulsectl, or the server's library, is not installed
        return devices + [source for source in server_sources() if source.name not in names]
    return devices


def server_sources() -> list[InputDevice]:
    """Return the sources of the sound server; none where it does not answer.

    Raises:
        ImportError: pulsectl is not installed.
        OSError: The sound server's library is not installed.
    """
    import pulsectl  # noqa: PLC0415 - an extra

    try:
        with pulsectl.Pulse("stream_mer", connect=False) as pulse:
            pulse.connect(timeout=_CONNECT_S)
            server, sources = pulse.server_info(), pulse.source_list()
    except pulsectl.PulseError:
        return []
    described = [source.description for source in sources]
    return [
        InputDevice(
            # Two devices of one model have the same description.
            name=source.description if described.count(source.description) == 1 else source.name,
            host_api="PipeWire" if "PipeWire" in server.server_name else "PulseAudio",
            channels=int(source.channel_count),
            rate_hz=int(source.sample_spec.rate),
            is_default=source.name == server.default_source_name,
            is_monitor=bool(source.monitor_of_sink_name),
            server_name=source.name,
        )
        for source in sources
    ]


# The source that is captured


def keep_source(name: str) -> NoReturn:
    """Keep what this process captures on a source, whatever the default output is; for its own thread.

    PulseAudio leaves a stream that records a monitor where it is when the default output changes. WirePlumber moves it
    with the default output, from the moment when that is the output of the monitor, even if the monitor was named.

    Args:
        name: As ``move_to_source`` takes it.

    Raises:
        ImportError: pulsectl is not installed.
        OSError: The sound server's library is not installed.
    """
    import pulsectl  # noqa: PLC0415 - an extra

    def stop_listening(_event: object) -> None:
        raise pulsectl.PulseLoopStop

    while True:
        try:
            with pulsectl.Pulse("stream_mer") as pulse:
                pulse.event_mask_set("server")
                pulse.event_callback_set(stop_listening)
                while True:
                    move_to_source(pulse, os.getpid(), name)
                    pulse.event_listen(timeout=LOOK_S)
        except pulsectl.PulseError:  # the server went away; the capture ends with it, and is started again
            time.sleep(_RETRY_S)


def move_to_source(pulse: Any, process_id: int, name: str) -> None:
    """Move what a process captures to a source, if it is elsewhere.

    Args:
        pulse: A connection: ``pulsectl.Pulse``.
        process_id: Whose streams are moved.
        name: A source of the sound server; ``@DEFAULT_MONITOR@`` for the monitor of the current default output.
    """
    if name == DEFAULT_MONITOR:
        default = pulse.server_info().default_sink_name
        source = next((sink.monitor_source for sink in pulse.sink_list() if sink.name == default), None)
    else:
        source = next((one.index for one in pulse.source_list() if one.name == name), None)
    if source is None:  # there is no such source now
        return
    for stream in pulse.source_output_list():
        if stream.proplist.get("application.process.id") == str(process_id) and stream.source != source:
            pulse.source_output_move(stream.index, source)


# The process


def main(arguments: list[str]) -> NoReturn:
    """Run the capture process.

    Args:
        arguments: One argument of JSON: ``{}`` to list the devices, ``{"name", "host_api", "channels"}`` to capture,
            with ``"keep"`` from this source of the sound server.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    out = _take_stdout()
    threading.Thread(target=_exit_with_parent, name="parent", daemon=True).start()
    _postpone_alarm()
    request = json.loads(arguments[0])
    try:
        if request:
            if request.get("keep"):
                threading.Thread(target=_keep_source, args=(request["keep"],), name="keep", daemon=True).start()
            _capture(out, request["name"], request["host_api"], request["channels"])
        else:
            devices = [asdict(device) for device in all_devices(PortAudioInput().devices())]
            _send(out, Packet(kind=Kind.DEVICES, payload=json.dumps(devices).encode()))
    except InputFailure as failure:
        _send_failure(out, failure.reason, str(failure))
    except OSError:  # the pipe is broken: the parent is gone
        pass
    except Exception as error:  # the parent gets no other sign of it
        _send_failure(out, "defect", f"{type(error).__name__}: {error}")
    os._exit(0)  # PortAudio may crash or hang at a regular exit with a device open


def _capture(out: BinaryIO, name: str, host_api: str, channels: int) -> None:
    """Send blocks and beats until the device is gone."""
    blocks: Mailbox[Packet] = Mailbox(capacity=round(_HELD_S / BLOCK_S), when_full="drop_oldest")
    position = 0

    def on_block(data: bytes, n_samples: int, at: float) -> None:
        nonlocal position
        blocks.put(Packet(kind=Kind.BLOCK, channels=channels, start=position, time=at, payload=data))
        position += n_samples

    portaudio = PortAudioInput()
    device = portaudio.open(name, host_api, channels=channels, on_block=on_block)
    opened = json.dumps({"rate_hz": device.rate_hz, "channels": channels}).encode()
    _send(out, Packet(kind=Kind.OPENED, time=time.monotonic(), payload=opened))
    beat_at = 0.0
    while True:
        try:
            _send(out, blocks.get(timeout_s=BEAT_S / 2))
        except TimeoutError:
            if not portaudio.is_active():
                raise InputFailure("gone", "unplugged, or its sound server ended") from None
        now = time.monotonic()
        if now - beat_at >= BEAT_S:
            beat_at = now
            _postpone_alarm()
            _send(out, Packet(kind=Kind.BEAT, time=now))


def _keep_source(name: str) -> None:
    with contextlib.suppress(ImportError, OSError):  # without it, the sound server decides where the capture stays
        keep_source(name)


def _send(out: BinaryIO, packet: Packet) -> None:
    out.write(encode(packet))
    out.flush()


def _send_failure(out: BinaryIO, reason: str, message: str) -> None:
    _send(out, Packet(kind=Kind.FAILED, payload=json.dumps({"reason": reason, "message": message}).encode()))


def _take_stdout() -> BinaryIO:
    """Return a copy of standard output for messages, and discard everything else that is written to it."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return os.fdopen(kept, "wb")


def _exit_with_parent() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


def _postpone_alarm() -> None:
    # The alarm's default action ends the process without Python, which may hang inside PortAudio.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _ALARM_S)


if __name__ == "__main__":
    main(sys.argv[1:])
