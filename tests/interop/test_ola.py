"""OLA as the node that drives the lamps: sACN and Art-Net arrive, are told to end, and are chosen by priority."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from interop.programs import ROOT, Cable, Program, Serve, give, need

HTTP = "http://127.0.0.1:9090"
UNUSED = "dummy espnet ftdidmx gpio karate kinet milinst opendmx openpixelcontrol osc pathport renard sandnet shownet"
UNUSED += " spi stageprofi uartdmx usbdmx usbserial"
"""Plugins that would look for hardware, or listen to more than is asked here."""

RIG = """\
name = "{name}"
[sacn]
interface = "10.77.0.1"
priority = {priority}
[safety]
at_end = "hold"
[[fixtures]]
universe = {universe}
address = 1
channels = ["dimmer", "red", "green", "blue", {mark}]
[[fixtures]]
universe = {universe}
address = 511
channels = [{mark}, 7]
[[fixtures]]
universe = {after}
address = 101
channels = ["red", "green", "blue", 99]
"""


def rig(folder: Path, name: str, *, universe: int = 1, priority: int = 100, mark: int = 42) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(RIG.format(name=name, universe=universe, after=universe + 1, priority=priority, mark=mark))
    return path


class Ola:
    """A running daemon, asked over HTTP."""

    def __init__(self, cable: Cable, daemon: Any) -> None:
        self._cable = cable
        self.daemon = daemon

    def ask(self, path: str, data: str | None = None) -> Any:
        answer = self._cable.fetch(HTTP + path, data)
        return json.loads(answer) if answer.startswith(("{", "[")) else answer

    def patch(self, device: str, *universes: int) -> None:
        """Give each universe an input of the device."""
        for universe in universes:
            ports = [port for port in self.ask("/json/get_ports") if port["device"].startswith(device)]
            free = next(port["id"] for port in ports if not port["is_output"])
            answer = self.ask("/new_universe", f"id={universe}&name=u{universe}&add_ports={free}")
            assert answer["ok"], answer

    def dmx(self, universe: int) -> list[int]:
        values: list[int] = self.ask(f"/get_dmx?u={universe}")["dmx"]
        return values


@pytest.fixture
def ola(cable: Cable, start: Callable[..., Program], home: Path) -> Ola:
    need("ola", "olad")
    config = home / "ola"
    config.mkdir()
    for plugin in UNUSED.split():
        (config / f"ola-{plugin}.conf").write_text("enabled = false\n")
    give(config)
    command = cable.desk_as_user("olad", "--config-dir", str(config), "--no-register-with-dns-sd", "--log-level", "3")
    daemon = start("olad", command)
    daemon.find("Started E1.31")
    started = Ola(cable, daemon)
    deadline = time.monotonic() + 60
    while True:
        try:
            started.ask("/json/server_stats")
        except Exception:
            assert time.monotonic() < deadline, daemon.text()
            time.sleep(0.5)
        else:
            return started


def lit(values: list[int]) -> bool:
    return len(values) == 512 and values[0] > 20


def test_sacn_by_multicast_arrives_obeys_an_operator_and_ends(
    ola: Ola, cable: Cable, serve: Callable[..., Serve], home: Path
) -> None:
    ola.patch("E1.31", 1, 2)
    server = serve("--sacn", str(rig(home, "club")), at=cable.lamps)
    wait_for(lambda: lit(ola.dmx(1)), "light")
    one = ola.dmx(1)
    assert (one[4], one[510], one[511]) == (42, 42, 7), "each channel is where the rig says"
    assert not any(one[5:510])
    two = ola.dmx(2)
    assert two[103] == 99
    assert max(two[100:103]) > 0
    assert not any(two[:100])
    wait_for(lambda: ola.dmx(1)[:4] != one[:4], "colours that wander")

    cable.control(server.url, action="blackout")
    wait_for(lambda: ola.dmx(1)[0] == 0, "blackout")
    assert ola.dmx(1)[4] == 42, "a fixed channel stays"
    cable.control(server.url, action="resume")
    wait_for(lambda: lit(ola.dmx(1)), "light again")

    assert server.stop(signal.SIGINT) == 0
    for universe in (1, 2):
        ola.daemon.find(f"sent a termination for universe {universe}\\b")
    assert ola.dmx(1)[4] == 42, "OLA keeps the last look"


def test_the_source_of_the_higher_priority_is_followed_as_long_as_it_sends(
    ola: Ola, cable: Cable, serve: Callable[..., Serve], home: Path
) -> None:
    ola.patch("E1.31", 1)
    serve("--sacn", str(rig(home, "first", priority=90, mark=11)), at=cable.lamps)
    wait_for(lambda: lit(ola.dmx(1)) and ola.dmx(1)[4] == 11, "the only source")
    second = serve("--sacn", str(rig(home, "second", priority=120, mark=22)), at=cable.lamps)
    wait_for(lambda: ola.dmx(1)[4] == 22, "the higher priority")
    for _ in range(10):
        assert ola.dmx(1)[4] == 22, "nor do they alternate"
    second.stop(signal.SIGINT)
    wait_for(lambda: lit(ola.dmx(1)) and ola.dmx(1)[4] == 11, "the source that is left")
    killed = serve("--sacn", str(rig(home, "third", priority=120, mark=33)), at=cable.lamps)
    wait_for(lambda: ola.dmx(1)[4] == 33, "the higher priority again")
    killed.stop(signal.SIGKILL)
    wait_for(lambda: lit(ola.dmx(1)) and ola.dmx(1)[4] == 11, "the source that is left, after the loss of data")


def test_sacn_to_this_machine_alone(ola: Ola, cable: Cable, serve: Callable[..., Serve], home: Path) -> None:
    ola.patch("E1.31", 1)
    path = rig(home, "club")
    path.write_text(path.read_text().replace('interface = "10.77.0.1"', ""))
    serve("--sacn", f"{path}@127.0.0.1", at=cable.desk)
    wait_for(lambda: lit(ola.dmx(1)) and ola.dmx(1)[511] == 7, "light")


def test_a_rig_that_is_synchronised_arrives_too(
    ola: Ola, cable: Cable, serve: Callable[..., Serve], home: Path
) -> None:
    ola.patch("E1.31", 1)
    path = rig(home, "club")
    path.write_text(path.read_text().replace("[safety]", "sync = 7962\n[safety]"))
    serve("--sacn", str(path), at=cable.lamps)
    wait_for(lambda: lit(ola.dmx(1)) and ola.dmx(1)[511] == 7, "light")
    before = ola.dmx(1)[:4]
    wait_for(lambda: ola.dmx(1)[:4] != before, "colours that wander")


@pytest.mark.parametrize("device", ["E1.31", "ArtNet"])
def test_a_test_of_the_lamps_moves_their_channels_one_after_another(
    ola: Ola, cable: Cable, start: Callable[..., Program], home: Path, device: str
) -> None:
    universe = 1 if device == "E1.31" else 0
    ola.patch(device, universe)
    to = [f"{rig(home, 'club')}@10.77.0.2", "--artnet"] if device == "ArtNet" else [str(rig(home, "club"))]
    tested = start("lights", cable.lamps(sys.executable, "-m", "stream_mer", "lights", *to, "--test"), cwd=ROOT)
    for place, name in enumerate(("dimmer", "red", "green", "blue")):
        wait_for(lambda place=place: len(ola.dmx(universe)) == 512 and ola.dmx(universe)[place] > 128, name)
    tested.find("channel 4")
    tested.stop(signal.SIGINT)
    wait_for(lambda: not any(ola.dmx(universe)[:4]), "darkness at the end")


@pytest.mark.parametrize("first_universe", [0, 1])
def test_artnet_arrives_where_the_manual_says(
    ola: Ola, cable: Cable, serve: Callable[..., Serve], home: Path, first_universe: int
) -> None:
    ola.patch("ArtNet", first_universe)
    path = rig(home, "club")
    path.write_text(path.read_text().replace("[safety]", f"[artnet]\nfirst_universe = {first_universe}\n[safety]"))
    serve("--artnet", f"{path}@10.77.0.2", at=cable.lamps)
    wait_for(lambda: lit(ola.dmx(first_universe)), "light")
    values = ola.dmx(first_universe)
    assert (values[4], values[510], values[511]) == (42, 42, 7)
