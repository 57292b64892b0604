"""Choose a sound device by its name, never by an index, which changes with every plug. Standard library alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stream_mer.errors import DeviceError, SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDevice:
    """A sound input.

    Attributes:
        name: The system's name of it.
        host_api: The system's sound interface that leads to it (ALSA, Core Audio, Windows WASAPI...).
        channels: Number of channels.
        rate_hz: Native sample rate.
        is_default: Whether it is the default input of PortAudio, or of the sound server that it is a source of.
        is_monitor: Whether it is a monitor of what the computer plays, or its name looks like one.
        server_name: For a source of the sound server (PulseAudio, PipeWire), the server's name of it; ``name`` is what
            the server calls it for people. Else empty.
    """

    name: str
    host_api: str
    channels: int
    rate_hz: int
    is_default: bool = False
    is_monitor: bool = False
    server_name: str = ""


PULSE_DEVICE = "pulse"
"""ALSA's device for PulseAudio and PipeWire, which PortAudio lists in place of their sources..."""

PULSE_VARIABLE = "PULSE_SOURCE"
"""...but this environment variable makes the device capture the source that it names."""


_MONITOR_MARKS = (
    "monitor",  # PulseAudio and PipeWire
    "loopback",  # WASAPI by way of PyAudio builds that know it, Rogue Amoeba's Loopback, ALSA's snd-aloop
    "stereo mix",  # Windows drivers; some say it otherwise:
    "what u hear",
    "wave out mix",
    "blackhole",  # macOS
    "soundflower",
    "cable output",  # VB-Audio
)


def is_monitor_name(name: str) -> bool:
    """Return whether a name looks like a monitor of what the computer plays."""
    lower = name.casefold()
    return any(mark in lower for mark in _MONITOR_MARKS)


def parse_channels(text: str) -> tuple[int, ...]:
    """Parse a list of channels: ``3,4`` gives (3, 4). Channels count from 1, as on the sockets.

    Raises:
        SettingError: It is not a list of such numbers, or one is repeated.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise SettingError(f"channels are numbers from 1 with commas between them, such as 3,4; not {text!r}")
    channels = tuple(int(part) for part in parts)
    if len(set(channels)) < len(channels):
        raise SettingError(f"a channel is named twice in {text!r}; name each one once")
    return channels


def require_channels(device: InputDevice, channels: Sequence[int]) -> None:
    """Check that a device has these channels.

    Raises:
        DeviceError: One is missing.
    """
    missing = [channel for channel in channels if channel > device.channels]
    if missing:
        what = "1 channel" if device.channels == 1 else f"{device.channels} channels"
        named = " and ".join(str(channel) for channel in missing)
        raise DeviceError(f"the sound input {device.name!r} has {what}; there is no channel {named}")


def choose_device(wanted: str | None, devices: Sequence[InputDevice]) -> InputDevice:
    """Find a device by its name.

    A device that PortAudio lists wins over a source of the sound server.

    Args:
        wanted: Whole name, or a part in any case that fits one device alone; None or empty for the default. A whole
            name wins over parts.
        devices: The devices, in the system's order.

    Raises:
        DeviceError: None fits, or more than one does; the message lists the devices.
    """
    if not devices:
        raise DeviceError("there is no sound input on this machine; plug one in, or start the sound server")
    if not wanted:
        default = next((device for device in devices if device.is_default), None)
        if default is None:
            raise DeviceError(f"there is no default sound input; choose one by name: {_names(devices)}")
        return default
    matches = _matches(wanted, [device for device in devices if not device.server_name]) or _matches(wanted, devices)
    if not matches:
        raise DeviceError(f"no sound input is called {wanted!r}; there are: {_names(devices)}")
    if len({device.name for device in matches}) > 1:
        raise DeviceError(
            f"more than one sound input is called like {wanted!r}: {_names(matches)}; give one whole name"
        )
    # One name under several host APIs is one device; the system lists its preferred API first.
    preferred = [device for device in matches if device.host_api == matches[0].host_api]
    if len(preferred) > 1:
        raise DeviceError(
            f"{len(preferred)} sound inputs are called {matches[0].name!r} and cannot be told apart; "
            "unplug or rename one, or make one the default input"
        )
    return preferred[0]


def _matches(wanted: str, devices: Sequence[InputDevice]) -> list[InputDevice]:
    whole = [device for device in devices if wanted in (device.name, device.server_name)]
    return whole or [device for device in devices if wanted.casefold() in device.name.casefold()]


def _names(devices: Sequence[InputDevice]) -> str:
    return ", ".join(dict.fromkeys(repr(device.name) for device in devices))
