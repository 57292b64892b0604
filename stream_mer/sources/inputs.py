"""What a stream can listen to on this machine, and the level of each input while somebody chooses one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stream_mer.errors import DeviceError, StreamMerError
from stream_mer.sources.capture import PortAudioBackend
from stream_mer.sources.devices import PULSE_DEVICE, InputDevice
from stream_mer.sources.microphone import Reading, list_devices, open_monitor, read_meter

_LOG = logging.getLogger(__name__)

SourceKind: TypeAlias = Literal["mic", "monitor", "demo", "remote", "file", "address", "stdin"]

MAX_METERS = 8
"""Inputs that are measured at once: each is a process."""

_DEFAULT_CHANNELS = 2
_LONGEST_S = 3600.0
_ALIASES = frozenset({PULSE_DEVICE, "default", "sysdefault", "pipewire", "jack"})
"""ALSA's names for what the sound server offers; its sources themselves are listed in their place."""


def kind_of_source(spec: str) -> SourceKind:
    """Return of which kind a source is, by what is typed for it."""
    if spec.startswith("mic:"):
        return "mic"
    if spec in ("mic", "monitor", "demo", "remote"):
        return spec  # type: ignore[return-value]  # one of these
    return "stdin" if spec == "-" else "address" if "://" in spec else "file"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input:
    """Something that a stream can listen to.

    Attributes:
        source: What is typed for it.
        name: Its name for people.
        kind: Of which kind it is.
        device: The sound input; None where it is none, or another one at each time.
        is_default: Whether it is the default input.
        meter: Measures it for at most the given seconds; None where nothing can be measured.
    """

    source: str
    name: str
    kind: SourceKind
    device: InputDevice | None = None
    is_default: bool = False
    meter: Callable[[float], Iterator[Reading]] | None = None

    @property
    def channels(self) -> int | None:
        """How many channels it has, where that is known."""
        return None if self.device is None else self.device.channels


def list_inputs(devices: Callable[[], Sequence[InputDevice]] = list_devices) -> tuple[list[Input], str]:
    """Return all inputs, and why sound inputs cannot be listed; empty if they can.

    Args:
        devices: Lists the sound inputs.
    """
    try:
        found, why = tuple(devices()), ""
    except DeviceError as error:
        found, why = (), str(error)
    has_server = any(device.server_name for device in found)
    first: dict[str, InputDevice] = {}
    for device in found:  # Windows lists a device once for each sound interface; its name opens the first one
        first.setdefault(device.name, device)
    shown = [device for device in first.values() if not (has_server and device.name in _ALIASES)]
    shown.sort(key=lambda device: (not device.is_default, not device.server_name))
    has_default = False
    inputs = []
    for device in shown:
        is_default = device.is_default and not has_default
        has_default = has_default or is_default
        inputs.append(_of_device(device, is_default=is_default))
    if any(device.is_monitor or device.name == PULSE_DEVICE for device in found):
        monitor = Input(
            source="monitor",
            name="What this machine plays",
            kind="monitor",
            meter=lambda duration_s: open_monitor(devices=found).read_meter(duration_s),
        )
        inputs.insert(0, monitor)
    inputs.append(Input(source="demo", name="Demo song", kind="demo"))
    inputs.append(Input(source="remote", name="Another device", kind="remote"))
    return inputs, why


def _of_device(device: InputDevice, *, is_default: bool) -> Input:
    channels = tuple(range(1, min(_DEFAULT_CHANNELS, device.channels) + 1))
    return Input(
        source=f"mic:{device.name}",
        name=device.name,
        kind="monitor" if device.is_monitor else "mic",
        device=device,
        is_default=is_default,
        meter=lambda duration_s: read_meter(PortAudioBackend(), device, channels=channels, duration_s=duration_s),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """The newest level of an input.

    Attributes:
        rms_db: Of the loudest channel, dBFS; None before the first reading, and where there is an error.
        peak_db: Likewise.
        error: Why it cannot be measured; empty if it can.
    """

    rms_db: float | None = None
    peak_db: float | None = None
    error: str = ""


class InputMeters:
    """Measures several inputs, each in a thread, while that is asked for again and again.

    Args:
        clock: Monotonic clock, seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[str, Input] = {}
        self._until = float("-inf")
        self._running: set[str] = set()
        self._readings: dict[str, MeterReading] = {}

    def watch(self, inputs: Sequence[Input], seconds: float) -> None:
        """Measure these inputs, and no others, for some seconds: the first ``MAX_METERS`` that can be measured.

        One that failed is tried again only after it was not watched for a while.
        """
        wanted = {one.source: one for one in inputs if one.meter is not None}
        with self._lock:
            self._wanted = dict(list(wanted.items())[:MAX_METERS])
            self._until = self._clock() + seconds
            self._readings = {name: reading for name, reading in self._readings.items() if name in self._wanted}
            failed = {name for name, reading in self._readings.items() if reading.error}
            starting = [one for name, one in self._wanted.items() if name not in self._running | failed]
            self._running.update(one.source for one in starting)
        for one in starting:
            threading.Thread(target=self._measure, args=(one,), name=f"meter {one.name}", daemon=True).start()

    def stop(self) -> None:
        """Measure nothing any more."""
        self.watch((), 0.0)

    def readings(self) -> Mapping[str, MeterReading]:
        """Return the newest level of each watched input, by its source; empty once the time is over."""
        with self._lock:
            return (
                {}
                if self._clock() >= self._until
                else {name: self._readings.get(name, MeterReading()) for name in self._wanted}
            )

    def _measure(self, one: Input) -> None:
        assert one.meter is not None  # noqa: S101 - narrows the type
        try:
            readings = one.meter(_LONGEST_S)
            for reading in readings:
                if not self._keep(one.source, _loudest(reading)):
                    break
            readings.close()  # type: ignore[attr-defined]  # a generator: it ends the capture
        except StreamMerError as error:
            self._keep(one.source, MeterReading(error=str(error)))
        except Exception as error:  # one input of many
            _LOG.debug("%s cannot be measured", one.name, exc_info=True)
            self._keep(one.source, MeterReading(error=str(error) or type(error).__name__))
        finally:
            with self._lock:
                self._running.discard(one.source)

    def _keep(self, source: str, reading: MeterReading) -> bool:
        """Keep a reading; return whether the input is still watched."""
        with self._lock:
            if source not in self._wanted or self._clock() >= self._until:
                return False
            self._readings[source] = reading
            return True


def _loudest(reading: Reading) -> MeterReading:
    levels = [channel.level for channel in reading.now]
    return MeterReading(
        rms_db=max(level.rms_dbfs for level in levels), peak_db=max(level.peak_dbfs for level in levels)
    )
