"""Checks of the machine around stream_mer."""

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_mer.cli.diagnosis import machine
from stream_mer.sources.devices import InputDevice
from stream_mer.version import __version__


def device(name: str, *, is_default: bool = False) -> InputDevice:
    return InputDevice(name=name, host_api="ALSA", channels=2, rate_hz=48_000, is_default=is_default)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_versions_are_told() -> None:
    said = machine.versions().said
    assert f"stream_mer {__version__}" in said
    assert "torch 2" in said


def test_the_default_input_is_named() -> None:
    found = machine.judge_devices([device("Line In"), device("USB Audio", is_default=True)])
    assert (found.level, found.said) == ("ok", "2 sound inputs; the default is 'USB Audio'")
    assert "none is the default" in machine.judge_devices([device("Line In")]).said


def test_without_a_sound_input_the_other_ways_are_told() -> None:
    found = machine.judge_devices([])
    assert found.level == "warn"
    assert "--source remote" in found.said


def test_without_pyaudio_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyaudio" else real(name, *rest)
    )
    found = machine.microphones()
    assert found.level == "warn"
    assert "pip install 'stream-mer[mic]'" in found.advice
    assert machine.loopback().level == "warn"


def test_a_free_port_is_free_and_stays_so(listener: socket.socket) -> None:
    number = listener.getsockname()[1]
    listener.close()
    assert machine.port("127.0.0.1", number).level == "ok"
    assert machine.port("127.0.0.1", number).level == "ok"


def test_a_port_that_somebody_else_has_is_a_failure_with_another_one(listener: socket.socket) -> None:
    number = listener.getsockname()[1]
    found = machine.port("127.0.0.1", number)
    assert found.level == "fail"
    assert f"--port {number + 1}" in found.advice


def test_an_address_of_another_machine_cannot_be_had() -> None:
    assert machine.port("192.0.2.1", 8765).level == "fail"


def test_a_cache_that_can_be_written_is_well_and_left_as_it_was(tmp_path: Path) -> None:
    assert machine.judge_cache(tmp_path / "new").level == "ok"
    assert list((tmp_path / "new").iterdir()) == []


def test_a_cache_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = machine.judge_cache(tmp_path / "file" / "cache")
    assert found.level == "fail"
    assert "STREAM_MER_CACHE" in found.advice


def test_a_full_disk_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 5 * 2**20

    def usage(_: Any) -> Usage:
        return Usage()

    monkeypatch.setattr(machine.shutil, "disk_usage", usage)
    found = machine.judge_cache(tmp_path)
    assert (found.level, "5 MiB" in found.said) == ("warn", True)
