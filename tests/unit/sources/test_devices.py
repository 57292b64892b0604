"""Devices by name, never another one."""

from __future__ import annotations

import pytest

from stream_mer.errors import DeviceError, SettingError
from stream_mer.sources.devices import InputDevice, choose_device, is_monitor_name, parse_channels


def device(name: str, *, host_api: str = "ALSA", is_default: bool = False) -> InputDevice:
    return InputDevice(name=name, host_api=host_api, channels=2, rate_hz=48_000, is_default=is_default)


MIC, MICS, LINE = device("USB Mic"), device("USB Mic 2"), device("Line In", is_default=True)
DEVICES = (MIC, MICS, LINE)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("USB Mic", MIC), ("USB Mic 2", MICS), ("line", LINE), ("mic 2", MICS), (None, LINE), ("", LINE)],
)
def test_a_whole_name_or_a_part_of_one_alone(wanted: str | None, expected: InputDevice) -> None:
    assert choose_device(wanted, DEVICES) is expected


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(DeviceError, match=r"'Tape'; there are: 'USB Mic', 'USB Mic 2', 'Line In'"):
        choose_device("Tape", DEVICES)


@pytest.mark.parametrize("part", ["usb", "usb mic"])
def test_an_ambiguous_part_lists_what_it_fits(part: str) -> None:
    with pytest.raises(DeviceError, match="more than one") as caught:
        choose_device(part, DEVICES)
    assert "'USB Mic', 'USB Mic 2'" in str(caught.value)
    assert "Line In" not in str(caught.value)


def test_two_of_one_name_cannot_be_told_apart() -> None:
    with pytest.raises(DeviceError, match="told apart"):
        choose_device("USB Mic", (MIC, device("USB Mic")))


def test_one_device_by_two_host_apis_is_taken_by_the_first() -> None:
    first, second = device("USB Mic", host_api="MME"), device("USB Mic", host_api="Windows WASAPI")
    assert choose_device("USB Mic", (first, second)) is first


def test_no_default_asks_for_a_name() -> None:
    with pytest.raises(DeviceError, match=r"no default sound input.*'USB Mic'"):
        choose_device(None, (MIC,))


@pytest.mark.parametrize("wanted", [None, "USB Mic"])
def test_no_input_at_all(wanted: str | None) -> None:
    with pytest.raises(DeviceError, match="no sound input on this machine"):
        choose_device(wanted, ())


@pytest.mark.parametrize(
    ("text", "channels"), [("1", (1,)), ("3,4", (3, 4)), (" 4 , 3", (4, 3)), ("1,2,3,4", (1, 2, 3, 4))]
)
def test_channels_as_a_person_writes_them(text: str, channels: tuple[int, ...]) -> None:
    assert parse_channels(text) == channels


@pytest.mark.parametrize("text", ["", "0", "1,", "a", "1-2", "1;2", "-1", "1.5", "²", "3,4,3"])
def test_what_is_no_list_of_channels_says_how_one_looks(text: str) -> None:
    with pytest.raises(SettingError, match="twice" if text == "3,4,3" else "such as 3,4"):
        parse_channels(text)


@pytest.mark.parametrize(
    ("name", "monitor"),
    [
        ("Monitor of Built-in Audio", True),
        ("BlackHole 2ch", True),
        ("Speakers (Realtek) [Loopback]", True),
        ("Stereo Mix (Realtek)", True),
        ("CABLE Output (VB-Audio Virtual Cable)", True),
        ("USB Audio CODEC", False),
        ("Microphone", False),
    ],
)
def test_what_seems_to_carry_what_the_computer_plays(name: str, monitor: bool) -> None:
    assert is_monitor_name(name) is monitor
