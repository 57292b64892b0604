"""What this machine itself plays, as a sound input: a DJ needs no cable."""

from __future__ import annotations

import os
from collections.abc import Sequence

from stream_mer.errors import DeviceError
from stream_mer.sources.capture_process import PortAudioBackend
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import MicrophoneSource

PULSE_DEVICE = "pulse"
"""ALSA's way into PulseAudio and PipeWire, which give every output a monitor. PortAudio does not list these..."""

PULSE_VARIABLE = "PULSE_SOURCE"
"""...but the device listens to the source that this environment variable names."""

DEFAULT_MONITOR = "@DEFAULT_MONITOR@"
"""The sound server's name for the monitor of the default output."""

NAME = "monitor"
"""What its stream is called."""


def open_monitor(
    *, channels: Sequence[int] | None = None, gain_db: float = 0.0, devices: Sequence[InputDevice] | None = None
) -> MicrophoneSource:
    """Listen to what this machine plays.

    With PulseAudio or PipeWire that is the default output, or the source that ``PULSE_SOURCE`` names; elsewhere the
    first device whose name says that it is a loopback.

    Args:
        channels: Which ones to mix, from 1; None for the first two.
        gain_db: Amplification, decibels.
        devices: Those of this machine; None looks for them.

    Raises:
        DeviceError: There is no such device, or PyAudio is not installed.
        SettingError: The gain is out of range.
    """
    found = PortAudioBackend().devices() if devices is None else devices
    if any(device.name == PULSE_DEVICE for device in found):
        wanted = os.environ.get(PULSE_VARIABLE) or DEFAULT_MONITOR
        backend = PortAudioBackend(environment={PULSE_VARIABLE: wanted})
        source = MicrophoneSource(PULSE_DEVICE, channels=channels, gain_db=gain_db, backend=backend)
    else:
        loopback = next((device for device in found if device.is_monitor), None)
        if loopback is None:
            raise DeviceError(
                "this machine has no input that hears what it plays: on Linux install ALSA's Pulse plugin "
                "(libasound2-plugins), on Windows enable Stereo Mix or a virtual cable, on macOS install BlackHole"
            )
        source = MicrophoneSource(loopback.name, channels=channels, gain_db=gain_db)
    source.name = NAME
    return source
