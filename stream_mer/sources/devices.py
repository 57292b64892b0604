"""Choose a sound device by its name: never by an index, which changes with every plug, and never another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stream_mer.errors import DeviceError, SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDevice:
    """A device that audio can be captured from.

    Attributes:
        name: As the system calls it.
        host_api: The system's sound interface that leads to it (ALSA, Core Audio, Windows WASAPI...).
        channels: How many it can capture.
        rate_hz: Its own rate.
        is_default: The system's default input.
        is_monitor: Seems to carry what the computer plays, going by its name.
    """

    name: str
    host_api: str
    channels: int
    rate_hz: int
    is_default: bool = False
    is_monitor: bool = False


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
    """Whether a device called so seems to carry what the computer plays."""
    lower = name.casefold()
    return any(mark in lower for mark in _MONITOR_MARKS)


def parse_channels(text: str) -> tuple[int, ...]:
    """Read which channels to hear: ``3,4`` gives (3, 4). Channels count from 1, as on the sockets.

    Raises:
        SettingError: It is no list of such numbers, or one comes twice.
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
        DeviceError: It has not.
    """
    missing = [channel for channel in channels if channel > device.channels]
    if missing:
        what = "1 channel" if device.channels == 1 else f"{device.channels} channels"
        named = " and ".join(str(channel) for channel in missing)
        raise DeviceError(f"the sound input {device.name!r} has {what}; there is no channel {named}")


def choose_device(wanted: str | None, devices: Sequence[InputDevice]) -> InputDevice:
    """Find the device that a person means.

    Args:
        wanted: Its whole name, or a part of it in any case that no other device's name holds; None or empty for the
            default. A whole name wins over parts.
        devices: What there is, in the system's order.

    Raises:
        DeviceError: There is none, or more than one; the message lists what there is.
    """
    if not devices:
        raise DeviceError("there is no sound input on this machine; plug one in, or start the sound server")
    if not wanted:
        default = next((device for device in devices if device.is_default), None)
        if default is None:
            raise DeviceError(f"there is no default sound input; choose one by name: {_names(devices)}")
        return default
    matches = [device for device in devices if device.name == wanted]
    if not matches:
        matches = [device for device in devices if wanted.casefold() in device.name.casefold()]
    if not matches:
        raise DeviceError(f"no sound input is called {wanted!r}; there are: {_names(devices)}")
    if len({device.name for device in matches}) > 1:
        raise DeviceError(
            f"more than one sound input is called like {wanted!r}: {_names(matches)}; give one whole name"
        )
    # One name under several host APIs is one device by several roads: the system's order puts its own favourite first.
    favourite = [device for device in matches if device.host_api == matches[0].host_api]
    if len(favourite) > 1:
        raise DeviceError(
            f"{len(favourite)} sound inputs are called {matches[0].name!r} and cannot be told apart; "
            "unplug or rename one, or make one the default input"
        )
    return favourite[0]


def _names(devices: Sequence[InputDevice]) -> str:
    return ", ".join(dict.fromkeys(repr(device.name) for device in devices))
