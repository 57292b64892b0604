"""What this machine itself plays, as a sound input: a DJ needs no cable."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stream_mer.errors import DeviceError
from stream_mer.sources.capture_process import PortAudioBackend
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import MicrophoneSource

_LOG = logging.getLogger(__name__)

PULSE_DEVICE = "pulse"
"""ALSA's way into PulseAudio and PipeWire, which give every output a monitor. PortAudio does not list these..."""

PULSE_VARIABLE = "PULSE_SOURCE"
"""...but the device listens to the source that this environment variable names."""

DEFAULT_MONITOR = "@DEFAULT_MONITOR@"
"""The sound server's name for the monitor of the default output."""

_PLUGINS = tuple(
    f"usr/{folder}/alsa-lib/libasound_module_pcm_pulse.so" for folder in ("lib", "lib64", "lib/*", "local/lib")
)
"""Where ALSA's Pulse plugin lies: where it does and shows no device, it is the sound server that is missing."""

NAME = "monitor"
"""What its stream is called."""


def open_monitor(
    *, channels: Sequence[int] | None = None, gain_db: float = 0.0, devices: Sequence[InputDevice] | None = None
) -> MicrophoneSource:
    """Listen to what this machine plays.

    With PulseAudio or PipeWire that is the default output, also when another one becomes the default, or the source
    that ``PULSE_SOURCE`` names; elsewhere the first device whose name says that it is a loopback.

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
        named = os.environ.get(PULSE_VARIABLE)
        if not named and find_spec("pulsectl") is None:
            _LOG.warning("the output that is the default one now is heard, also after a change: pip install pulsectl")
        backend = PortAudioBackend(
            environment={PULSE_VARIABLE: named or DEFAULT_MONITOR}, follow_default_output=not named
        )
        source = MicrophoneSource(PULSE_DEVICE, channels=channels, gain_db=gain_db, backend=backend)
    else:
        loopback = next((device for device in found if device.is_monitor), None)
        if loopback is None:
            raise DeviceError(_why_none())
        source = MicrophoneSource(loopback.name, channels=channels, gain_db=gain_db)
    source.name = NAME
    return source


def _why_none() -> str:
    """Why nothing hears what this machine plays, and what to do."""
    if any(path.is_file() for pattern in _PLUGINS for path in Path("/").glob(pattern)):
        return (
            "the sound server (PulseAudio or PipeWire) cannot be reached: start it (systemctl --user start "
            "pipewire-pulse, or pulseaudio --start), and run stream-mer as the user whose session it is"
        )
    return (
        "this machine has no input that hears what it plays: on Linux install ALSA's Pulse plugin "
        "(libasound2-plugins), on Windows enable Stereo Mix or a virtual cable, on macOS install BlackHole"
    )
