"""Lamps as an output of a show: renders the rig and sends its universes over a link."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from stream_mer.errors import SettingError, brief
from stream_mer.outputs.dmx.links import (
    GRADIENT_CHANNELS,
    GRADIENT_LAMPS,
    STRIP_LAMPS,
    ArtnetLink,
    LedFxLink,
    LightLink,
    WledLink,
)
from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import MAX_RATE_HZ, Fixture, Rig, find_rig, lamps_of, universes_of
from stream_mer.outputs.dmx.sacn import SacnLink
from stream_mer.outputs.values import ShowValues
from stream_mer.utils.hosts import check_host

KEEP_ALIVE_S = 0.8
"""An unchanged universe is sent again after this time: E1.31 asks for 0.8 to 1 s, Art-Net for 4 s at most."""

REPEATS = 3
"""A changed universe is sent this many times more at the full rate, as datagrams may be lost (E1.31, 6.6.1)."""

SHORTEST_GAP_S = 0.5 / MAX_RATE_HZ
"""A universe that is due sooner, after a late call, waits for the next call: nodes drop packets that come too fast."""


class LightOutput:
    """Drives the lamps of a rig; a ``ShowOutput``.

    Args:
        rig: The lamps.
        link: The connection to them.
        show: Renders the rig.
        name: Name in logs and metrics.
        stream: The stream that is followed.
        claims: The universes or receivers that it drives, as text.
        clock: Seconds, monotonic: that of ``send``.
        sleep: Waits so many seconds.
    """

    wants_levels = False

    def __init__(
        self,
        rig: Rig,
        link: LightLink,
        show: LightShow,
        *,
        name: str,
        stream: str | None,
        claims: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.stream = stream
        self.claims = frozenset(claims)
        self.rate_hz = rig.rate_hz
        self._safety = rig.safety
        self._link = link
        self._show = show
        self._clock = clock
        self._sleep = sleep
        self._pacings = {number: Pacing() for number in show.universes}
        self._values: ShowValues | None = None

    def open(self) -> None:
        """Open the link."""
        self._link.open()

    def send(self, t: float, values: ShowValues) -> int:
        """Send the universes that changed, and those that were not sent for a while."""
        self._values = values
        universes = self._show.update(t, values)
        if not universes:
            return 0
        sent = self._link.refresh(t)
        due = {number: channels for number, channels in universes.items() if self._pacings[number].due(t, channels)}
        for number, channels in due.items():
            sent += self._link.send(number, channels)
        return sent + (self._link.synchronise() if due else 0)

    def finish(self) -> None:
        """Fade to the final look of the rig, then tell the receivers that nothing follows."""
        if self._values is None or not self._show.begun:
            return
        self._show.end()
        begin = self._clock()
        fade_s = 0.0 if self._safety.at_end == "hold" else self._safety.end_fade_s
        while (t := self._clock()) - begin < fade_s:
            self.send(t, self._values)
            self._sleep(1 / self.rate_hz)
        self.send(self._clock(), self._values)
        self._link.terminate()

    def close(self) -> None:
        """Close the link."""
        self._link.close()


class Pacing:
    """Decides when to send one universe: when it changed, else just often enough to keep receivers alive."""

    def __init__(self) -> None:
        self._sent: bytes | None = None
        self._sent_t = 0.0
        self._repeats = 0

    def due(self, t: float, channels: bytes) -> bool:
        """Return whether to send these channels at ``t`` (seconds, rising); if so they count as sent."""
        if self._sent is not None and t - self._sent_t < SHORTEST_GAP_S:
            return False
        if channels != self._sent:
            self._repeats = REPEATS
        elif self._repeats > 0:
            self._repeats -= 1
        elif t - self._sent_t < KEEP_ALIVE_S:
            return False
        self._sent, self._sent_t = channels, t
        return True


def open_sacn(spec: str, stream: str) -> LightOutput:
    """Make the output of ``--sacn RIG[@HOST[,HOST]]``.

    Raises:
        SettingError: The rig is not valid, or the library is missing.
    """
    rig = _rig_for_sacn(spec)
    settings = rig.sacn
    show = LightShow(rig)
    link = SacnLink(settings, name=rig.name, universes=show.universes)
    places = settings.to or ("multicast",)
    claims = [f"sACN universe {number} at {place}:{settings.port}" for number in show.universes for place in places]
    return LightOutput(rig, link, show, name=f"sacn {rig.name} at {', '.join(places)}", stream=stream, claims=claims)


def open_artnet(spec: str, stream: str) -> LightOutput:
    """Make the output of ``--artnet RIG[@HOST]``.

    Raises:
        SettingError: The rig is not valid, or has no address to send to.
    """
    rig = _rig_for_artnet(spec)
    settings = rig.artnet
    show = LightShow(rig)
    link = ArtnetLink(settings, universes=show.universes)
    claims = [f"Art-Net universe {number} at {settings.to}:{settings.port}" for number in link.port_addresses]
    return LightOutput(rig, link, show, name=f"artnet {rig.name} at {settings.to}", stream=stream, claims=claims)


def open_test(spec: str, protocol: Literal["sacn", "artnet"]) -> tuple[Rig, LightLink]:
    """Return the rig of ``RIG[@HOST]`` and a link that is not open, for a sweep of its channels.

    As sACN it is a source of its own: one with the identity of the show would contradict it.

    Raises:
        SettingError: As of ``open_sacn`` and ``open_artnet``.
    """
    if protocol == "artnet":
        rig = _rig_for_artnet(spec)
        return rig, ArtnetLink(rig.artnet, universes=universes_of(lamps_of(rig.fixtures)))
    rig = _rig_for_sacn(spec)
    return rig, SacnLink(rig.sacn, name=f"test of {rig.name}"[:40], universes=universes_of(lamps_of(rig.fixtures)))


def _rig_for_sacn(spec: str) -> Rig:
    rig, hosts = _split(spec)
    return msgspec.structs.replace(rig, sacn=msgspec.structs.replace(rig.sacn, to=hosts)) if hosts else rig


def _rig_for_artnet(spec: str) -> Rig:
    rig, hosts = _split(spec)
    if len(hosts) > 1:
        raise SettingError(f"Art-Net is sent to one address, not to {len(hosts)}: give --artnet once for each")
    return msgspec.structs.replace(rig, artnet=msgspec.structs.replace(rig.artnet, to=hosts[0])) if hosts else rig


def _split(spec: str) -> tuple[Rig, tuple[str, ...]]:
    name, at, places = spec.rpartition("@")
    if not at or os.path.exists(spec):  # noqa: PTH110 - Path.exists raises where a name is too long
        return find_rig(spec), ()
    hosts = tuple(place.strip() for place in places.split(","))
    if not all(hosts):
        raise SettingError(f"{brief(spec)}: after the @ stands an address, such as {brief(name)}@192.168.1.50")
    for host in hosts:
        check_host(host, brief(spec))
    return find_rig(name), hosts


def wled_output(host: str, port: int, stream: str) -> LightOutput:
    """Make the output for one controller: valence chooses the hue, arousal intensity and speed."""
    strip = Fixture(name="strip", channels=("red", "green", "blue"), count=STRIP_LAMPS, offset_step=1 / STRIP_LAMPS)
    rig = Rig(fixtures=(strip,), name="wled", rate_hz=30.0)
    name = f"wled at {host}:{port}"
    return LightOutput(rig, WledLink(host, port), LightShow(rig), name=name, stream=stream, claims=[name])


def ledfx_output(host: str, port: int, stream: str) -> LightOutput:
    """Make the output for one LedFx: the category chooses the colours, arousal the brightness."""
    look = Look(colour="palette", rounds_per_min=0.0)
    lamps = Fixture(name="gradient", channels=GRADIENT_CHANNELS, count=GRADIENT_LAMPS, offset_step=1 / GRADIENT_LAMPS)
    rig = Rig(fixtures=(lamps,), name="ledfx", rate_hz=10.0, look=look)
    name = f"ledfx at {host}:{port}"
    return LightOutput(rig, LedFxLink(host, port), LightShow(rig), name=name, stream=stream, claims=[name])
