"""A supervised capture as endless chunks.

A ``CaptureBackend`` starts a ``Capture``, which puts blocks into a bounded mailbox and can be closed at any time.
``capture_chunks`` keeps one running, restarts it whenever it fails, and fills in silence meanwhile. ``Supervisor``
decides when to restart; it is pure. ``PortAudioBackend`` captures in a process of its own (``sources.capture_child``).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from stream_mer.errors import DeviceError
from stream_mer.sources.capture_child import Kind, Packet, read_packet
from stream_mer.sources.devices import PULSE_DEVICE, PULSE_VARIABLE, InputDevice
from stream_mer.sources.timeline import CapturedBlock, Timeline
from stream_mer.types import AudioChunk, SourceState
from stream_mer.utils.mailbox import Mailbox, MailboxClosed

_LOG = logging.getLogger(__name__)

_POLL_S = 0.05
"""The capture is checked this often while it gives nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """State of a capture as seen from outside. Times are readings of the monotonic clock, seconds.

    Attributes:
        alive_at: Last sign of life; at first the time of its start.
        opened_at: When the device was open; None before.
        audio_at: When it last gave audio; None before the first.
        trouble: Why it is over, such as a lost device; None while it works.
    """

    alive_at: float
    opened_at: float | None = None
    audio_at: float | None = None
    trouble: str | None = None


class Capture(Protocol):
    """A device being captured."""

    @property
    def rate_hz(self) -> int:
        """Sample rate of the blocks; known once there is one."""
        ...

    @property
    def blocks(self) -> Mailbox[CapturedBlock]:
        """Bounded; drops the oldest block."""
        ...

    def health(self) -> Health: ...

    def close(self) -> None:
        """End it in any state; waiting blocks can still be read. Idempotent."""
        ...


class CaptureBackend(Protocol):
    """Access to the sound devices."""

    def devices(self) -> tuple[InputDevice, ...]: ...

    def open(self, device: InputDevice, channels: int) -> Capture:
        """Start to capture; the capture's health shows whether that works."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureTimeouts:
    """Limits of waiting, seconds.

    Attributes:
        opening_s: For the device to open. The sound server may be slow, or hang.
        first_audio_s: For the first audio of an open device. An idle device takes 0.8 to 1.3 s, 2 s on a busy machine.
        stalled_s: Without audio for this long the input is reported as stalled.
        stall_s: Without audio for this long the capture is restarted: a slow server recovers by itself, but a device
            that lost its server does not.
        silent_s: For a sign of life of the capture itself.
        first_retry_s: Pause before the first restart; doubles with every failure.
        longest_retry_s: Longest pause between restarts. Each costs about 0.07 s of one core.
        steady_s: Audio for this long resets the pause.
    """

    opening_s: float = 6.0
    first_audio_s: float = 5.0
    stalled_s: float = 0.6
    stall_s: float = 3.0
    silent_s: float = 3.0
    first_retry_s: float = 0.1
    longest_retry_s: float = 1.0
    steady_s: float = 2.0


def capture_chunks(
    backend: CaptureBackend,
    device: InputDevice,
    *,
    channels: tuple[int, ...],
    gain: float = 1.0,
    stop: threading.Event,
    timeouts: CaptureTimeouts | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[AudioChunk]:
    """Capture from a device until ``stop`` is set, through every interruption.

    Args:
        backend: Access to the device.
        device: The device; found again by its name.
        channels: Channels to mix, from 1.
        gain: Factor on every sample.
        stop: Ends the iteration.
        timeouts: Limits of waiting.
        clock: Monotonic clock, seconds; the one that stamps the blocks.

    Yields:
        Mono chunks at 16 kHz. While audio is missing they are silence in real time, and ``AudioChunk.source`` says why.
        Every change of it is reported immediately, if need be by a chunk without samples.

    Raises:
        DeviceError: The device cannot be opened at first. Once it was open, it is awaited without end.
    """
    loop = _CaptureLoop(
        backend=backend, device=device, channels=channels, gain=gain, supervisor=Supervisor(timeouts), clock=clock
    )
    try:
        while not stop.is_set():
            yield from loop.step(stop)
    finally:
        loop.close()


def channels_to_open(device: InputDevice, channels: tuple[int, ...]) -> int:
    """Return how many channels to open to get these.

    Never one of several: a sound server would mix all of them into it.
    """
    return min(device.channels, max(2, *channels))


class _CaptureLoop:
    """One device, one capture of it at a time, and the timeline that all captures share."""

    def __init__(
        self,
        *,
        backend: CaptureBackend,
        device: InputDevice,
        channels: tuple[int, ...],
        gain: float,
        supervisor: Supervisor,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._device = device
        self._n_channels = channels_to_open(device, channels)
        self._picked = np.array(channels) - 1
        self._supervisor = supervisor
        self._clock = clock
        self._timeline = Timeline(gain=gain)
        self._capture: Capture | None = None
        self._is_placed = False  # whether the timeline knows this capture
        self._reported: SourceState = "live"

    def step(self, stop: threading.Event) -> list[AudioChunk]:
        """Check the capture and take what it gives, waiting ``_POLL_S`` at most."""
        capture = self._capture
        action = self._supervisor.step(self._clock(), None if capture is None else capture.health())
        blocks: list[CapturedBlock] = []
        if action is Action.START:
            self._start()
        elif capture is None:
            stop.wait(_POLL_S)
        elif action is Action.STOP:
            blocks = self._stop(capture)
        else:
            blocks = _next_block(capture)
        chunks = self._place(capture, blocks) if capture is not None and blocks else []
        now = self._clock()
        if self._supervisor.state != self._reported:
            chunks += self._report(now)
        if self._reported != "live" and not blocks:
            chunks += self._timeline.fill(now, self._reported)
        return chunks

    def close(self) -> None:
        if self._capture is not None:
            self._capture.close()

    def _start(self) -> None:
        """Start a capture.

        Raises:
            DeviceError: It cannot start, and none ever worked.
        """
        try:
            self._capture, self._is_placed = self._backend.open(self._device, self._n_channels), False
        except DeviceError as error:
            if not self._supervisor.ever_opened:
                raise
            now = self._clock()
            self._supervisor.fail(now, now, f"cannot be captured ({error})")

    def _stop(self, capture: Capture) -> list[CapturedBlock]:
        """End the capture; return its last blocks.

        Raises:
            DeviceError: None ever worked.
        """
        capture.close()
        self._capture = None
        if not self._supervisor.ever_opened:
            raise DeviceError(
                f"the sound input {self._device.name!r} {self._supervisor.trouble}; check its connection and the sound "
                "server, close other programs that use it, or choose another one (stream-mer devices lists them)"
            )
        return list(capture.blocks)

    def _place(self, capture: Capture, blocks: list[CapturedBlock]) -> list[AudioChunk]:
        if not self._is_placed:
            self._timeline.begin(capture.rate_hz)
            self._is_placed = True
        return [
            chunk
            for block in blocks
            for chunk in self._timeline.feed(
                CapturedBlock(start=block.start, samples=block.samples[:, self._picked], captured_at=block.captured_at)
            )
        ]

    def _report(self, now: float) -> list[AudioChunk]:
        """Log a change of state, and report it by a chunk without samples."""
        supervisor, name = self._supervisor, self._device.name
        state = self._reported = supervisor.state
        rest: list[AudioChunk] = []
        if state == "live":
            _LOG.warning("%s: audio again after %.1f s", name, supervisor.last_outage_s)
        else:
            rest = self._timeline.flush(now)
            if state == "stalled":
                _LOG.warning("%s: no audio arrives; waiting for it", name)
            else:
                _LOG.warning("%s %s; opening it again until it is there", name, supervisor.trouble)
        nothing = np.empty(0, np.float32)
        change = AudioChunk(start_sample=self._timeline.end_sample, samples=nothing, captured_at=now, source=state)
        return [*rest, change]


def _next_block(capture: Capture) -> list[CapturedBlock]:
    try:
        return [capture.blocks.get(timeout_s=_POLL_S)]
    except (TimeoutError, MailboxClosed):
        return []


class Action(Enum):
    """What the supervisor requests."""

    WAIT = "wait"
    START = "start"
    STOP = "stop"


_PAUSE_S = 1.0
"""Longer between two steps means that the supervising process was suspended, and missed signs of life."""


class Supervisor:
    """Watches one capture after another. Call ``step`` often and carry out its action; the attributes give the state.

    ::

                      START                first audio              no audio
        (waiting) ------------> opening --------------> live <----------------> stalled
            ^                      |                      |                        |
            |   STOP: failed,      |   STOP: gone,        |   STOP: nothing for    |
            +---- hangs -----------+---- died, hangs -----+---- stall_s -----------+
            state: reconnecting, until there is audio again

    Args:
        timeouts: Limits of waiting.
    """

    def __init__(self, timeouts: CaptureTimeouts | None = None) -> None:
        self._timeouts = timeouts or CaptureTimeouts()
        self._start_at = float("-inf")
        self._retry_s = self._timeouts.first_retry_s
        self._started_at = 0.0
        self._live_since: float | None = None
        self._stepped_at: float | None = None
        self._resumed_at = float("-inf")
        self._out_since: float | None = None
        self.state: SourceState = "live"
        """State of the source; ``live`` also before the first audio."""
        self.ever_opened = False
        """Whether the device was ever open. If not, the failure is for the user to mend."""
        self.trouble = ""
        """Why the last capture was stopped."""
        self.restarts = 0
        """Number of captures that failed."""
        self.last_outage_s = 0.0
        """Time without audio in the newest outage, seconds."""

    def step(self, now: float, health: Health | None) -> Action:
        """Return what to do.

        Args:
            now: Monotonic clock, seconds.
            health: Of the running capture; None if none runs.
        """
        if self._stepped_at is not None and now - self._stepped_at > _PAUSE_S:
            self._resumed_at = now
        self._stepped_at = now
        if health is None:
            if now < self._start_at:
                return Action.WAIT
            self._started_at = now
            return Action.START
        if health.opened_at is not None:
            self.ever_opened = True
        trouble = health.trouble or self._timed_out(now, health)
        if trouble is None:
            self._update_state(now, health)
            return Action.WAIT
        self.fail(now if health.audio_at is None else health.audio_at, now, trouble)
        return Action.STOP

    def fail(self, last_audio_at: float, now: float, trouble: str) -> None:
        """Note that a capture failed or could not start; the next one starts after a pause.

        Args:
            last_audio_at: When there was audio last, monotonic clock, seconds.
            now: Monotonic clock, seconds.
            trouble: Why.
        """
        self.trouble = trouble
        self.restarts += 1
        self._lose(last_audio_at, "reconnecting")
        self._start_at = now + self._retry_s
        self._retry_s = min(2 * self._retry_s, self._timeouts.longest_retry_s)

    def _timed_out(self, now: float, health: Health) -> str | None:
        """Return which timeout has passed, as the predicate of a sentence; None if none has."""
        if health.opened_at is None:
            waited_s = self._since(now, self._started_at)
            return f"did not open within {waited_s:.1f} s" if waited_s > self._timeouts.opening_s else None
        if self._since(now, health.alive_at) > self._timeouts.silent_s:
            return f"gave no sign of life for {now - health.alive_at:.1f} s"
        if health.audio_at is None:
            silent_s, limit_s = self._since(now, health.opened_at), self._timeouts.first_audio_s
        else:
            silent_s, limit_s = self._since(now, health.audio_at), self._timeouts.stall_s
        return f"gave no audio for {silent_s:.1f} s" if silent_s > limit_s else None

    def _since(self, now: float, then: float) -> float:
        return now - max(then, self._resumed_at)

    def _update_state(self, now: float, health: Health) -> None:
        if health.audio_at is None:
            return
        if self._since(now, health.audio_at) > self._timeouts.stalled_s:
            if self.state == "live":
                self._lose(health.audio_at, "stalled")
            return
        if self._live_since is None or self.state != "live":
            self._live_since = health.audio_at
        if self.state != "live":
            self.state = "live"
            self.last_outage_s = health.audio_at - (self._out_since or health.audio_at)
            self._out_since = None
        if now - self._live_since > self._timeouts.steady_s:
            self._retry_s = self._timeouts.first_retry_s

    def _lose(self, last_audio_at: float, state: SourceState) -> None:
        if self._out_since is None:
            self._out_since = last_audio_at
        self._live_since = None
        self.state = state


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
        kept_source: Keep the capture on this source of the sound server; empty to leave that to the server.
    """

    def __init__(self, *, environment: Mapping[str, str] | None = None, kept_source: str = "") -> None:
        self._environment = dict(environment or {})
        self._kept_source = kept_source

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
        environment, kept = self._environment, self._kept_source
        if device.server_name:
            request |= {"name": PULSE_DEVICE, "host_api": "ALSA"}
            environment = environment | {PULSE_VARIABLE: device.server_name}
            kept = device.server_name
        if kept:
            request["keep"] = kept
        return ProcessCapture(request, environment)


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
