"""The parent's side of the capture process: starts it, reads its messages, and ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from stream_mer.errors import DeviceError
from stream_mer.sources.capture import Health
from stream_mer.sources.capture_child import Kind, Packet, read_packet
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.timeline import CapturedBlock
from stream_mer.utils.mailbox import Mailbox, MailboxClosed

_HELD_BLOCKS = 100
"""Blocks that may wait before the oldest is dropped, about 2 s."""

_LIST_S = 10.0
"""Longest time to list the devices."""

_END_S = 1.0
"""Longest wait for a killed process to end; one that hangs in the kernel is left behind."""

# -P: the process imports the package that runs here, whatever the working directory and the environment.
_BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1));from stream_mer.sources.capture_child import main; main(sys.argv[1:])"
)
_ROOT = str(Path(__file__).parents[2])


class PortAudioBackend:
    """Sound devices through PortAudio, each use of it in a process of its own.

    Args:
        environment: Additional environment variables of these processes.
        follow_default_output: Keep the capture on the monitor of the default output.
    """

    def __init__(self, *, environment: Mapping[str, str] | None = None, follow_default_output: bool = False) -> None:
        self._environment = dict(environment or {})
        self._follow_default_output = follow_default_output

    def devices(self) -> tuple[InputDevice, ...]:
        """Return every input, in the system's order.

        Raises:
            DeviceError: PyAudio is not installed, or PortAudio cannot start or hangs.
        """
        process = _start({}, self._environment)
        limit = threading.Timer(_LIST_S, process.kill)
        limit.daemon = True
        limit.start()
        try:
            packet = read_packet(_pipe(process.stdout))
        finally:
            limit.cancel()
            _end(process)
            _pipe(process.stdout).close()
        if packet is not None and packet.kind == Kind.DEVICES:
            return tuple(InputDevice(**device) for device in json.loads(packet.payload))
        if packet is not None and packet.kind == Kind.FAILED:
            raise DeviceError(_why_no_devices(packet))
        raise DeviceError(
            f"the sound inputs cannot be listed: the capture process {_how_it_ended(process)}; "
            "check or restart the sound server (PulseAudio, PipeWire)"
        )

    def open(self, device: InputDevice, channels: int) -> ProcessCapture:
        """Start to capture from the device of this name and host API.

        Raises:
            DeviceError: The process cannot start.
        """
        request: dict[str, object] = {"name": device.name, "host_api": device.host_api, "channels": channels}
        if self._follow_default_output:
            request["follow"] = True
        return ProcessCapture(request, self._environment)


class ProcessCapture:
    """A running capture process, read by its own thread.

    Args:
        request: As ``sources.capture_child.main`` takes it.
        environment: Additional environment variables of the process.
    """

    def __init__(self, request: dict[str, object], environment: Mapping[str, str] | None = None) -> None:
        self.blocks: Mailbox[CapturedBlock] = Mailbox(capacity=_HELD_BLOCKS, when_full="drop_oldest")
        self.rate_hz = 0
        self._lock = threading.Lock()
        self._alive_at = time.monotonic()
        self._opened_at: float | None = None
        self._audio_at: float | None = None
        self._trouble: str | None = None
        self._process = _start(request, environment or {})
        self._reader = threading.Thread(target=self._read, name="capture", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process identifier."""
        return self._process.pid

    def health(self) -> Health:
        with self._lock:
            return Health(
                alive_at=self._alive_at, opened_at=self._opened_at, audio_at=self._audio_at, trouble=self._trouble
            )

    def close(self) -> None:
        """End the process; waiting blocks can still be read. Idempotent."""
        _end(self._process)
        self._reader.join(_END_S)
        self.blocks.close()

    def _read(self) -> None:
        pipe = _pipe(self._process.stdout)
        try:
            while (packet := read_packet(pipe)) is not None:
                self._handle(packet)
            trouble = f"lost its capture process, which {_how_it_ended(self._process)}"
        except MailboxClosed:
            trouble = "was closed"
        except (OSError, ValueError) as error:
            trouble = f"failed: {error}"
        with self._lock:
            self._trouble = self._trouble or trouble
        self.blocks.close()
        pipe.close()

    def _handle(self, packet: Packet) -> None:
        with self._lock:
            self._alive_at = time.monotonic()
            if packet.kind == Kind.OPENED:
                self.rate_hz = int(json.loads(packet.payload)["rate_hz"])
                self._opened_at = self._alive_at
            elif packet.kind == Kind.BLOCK:
                self._audio_at = self._alive_at
            elif packet.kind == Kind.FAILED:
                self._trouble = _why_no_audio(packet)
        if packet.kind == Kind.BLOCK:
            samples = np.frombuffer(packet.payload, np.float32).reshape(-1, packet.channels)
            self.blocks.put(CapturedBlock(start=packet.start, samples=samples, captured_at=packet.time))


def _start(request: dict[str, object], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # Its own process group: Ctrl-C at the terminal reaches the parent alone.
    group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-P", "-c", _BOOT, _ROOT, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            **group,
        )
    except OSError as error:
        raise DeviceError(f"the capture process cannot start ({error}); free some memory and processes") from error


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - opened as a pipe; for the type checker
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return
    finally:
        _pipe(process.stdin).close()


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return "closed its pipe"
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _why_no_devices(packet: Packet) -> str:
    failure = json.loads(packet.payload)
    if failure["reason"] == "no_pyaudio":
        return (
            "the microphone needs PyAudio: pip install 'stream-mer[mic]' "
            "(on Debian and Ubuntu first: apt install portaudio19-dev)"
        )
    return f"PortAudio cannot list the sound inputs ({failure['message']}); check the sound system"


def _why_no_audio(packet: Packet) -> str:
    """Return what happened to the device, as the predicate of a sentence."""
    failure = json.loads(packet.payload)
    message = failure["message"]
    return {
        "absent": "is not there",
        "busy": f"cannot be opened ({message})",
        "gone": f"is gone ({message})",
    }.get(failure["reason"], f"failed ({message})")
