"""A rig: which lamps there are, how they look, what must never happen to them, and how they are reached. Pure."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.colour import Colour, parse_colour
from stream_mer.outputs.dmx.look import Look
from stream_mer.utils.hosts import check_host

UNIVERSE_LENGTH = 512
"""Channels of a universe."""

MAX_UNIVERSE = 63_999
"""sACN numbers its universes from 1 to this."""

MAX_RATE_HZ = 40.0
"""Faster than this, a DMX line does not repeat all its channels."""

_AMBER = parse_colour("#ff9a4d")

Channel: TypeAlias = str | int
"""What a channel of a lamp does: one of ``CHANNELS``, one of ``FINE``, or a number that is sent as it is."""

CHANNELS = ("dimmer", "red", "green", "blue", "white", "speed", "strobe")
"""What a channel can do."""

FINE = tuple(f"{name} fine" for name in CHANNELS if name != "strobe")
"""The low byte of a channel of 16 bits."""

MAX_LAMPS, MAX_PIXELS = 4096, 32_768
"""More in one rig are a typing mistake."""

MAX_RECEIVERS = 64
"""Each gets every packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """Lamps of one kind, one after another.

    Attributes:
        channels: What each of its channels does, in order.
        name: For people.
        universe: Of the first lamp, 1..63999.
        address: Of its first channel, 1..512.
        count: How many lamps there are.
        pixels: How many times each lamp repeats its channels: the pixels of a strip that show one colour.
        spacing: Channels from one lamp or pixel to the next; 0 for as many as each has.
        offset: Where the first lamp is on its way around, in rounds.
        offset_step: How much further each following one is.
        intensity: Share of the look's intensity, as seen, 0..1.
        response: The light of a channel is its share of 255 to this power: 1 for most lamps, 2.2 or more for those
            with a dimmer curve of their own. 0.2..5.
        strobe: What strobe channels are sent, 0..255. The flash limit cannot know what a lamp makes of it.
    """

    channels: tuple[Channel, ...]
    name: str = "lamps"
    universe: int = 1
    address: int = 1
    count: int = 1
    pixels: int = 1
    spacing: int = 0
    offset: float = 0.0
    offset_step: float = 0.0
    intensity: float = 1.0
    response: float = 1.0
    strobe: int = 0

    def __post_init__(self) -> None:
        self._check_channels()
        for name, low, high in (
            ("universe", 1, MAX_UNIVERSE),
            ("address", 1, UNIVERSE_LENGTH),
            ("count", 1, MAX_LAMPS),
            ("pixels", 1, MAX_LAMPS),
            ("spacing", 0, UNIVERSE_LENGTH),
            ("intensity", 0, 1),
            ("response", 0.2, 5),
            ("strobe", 0, 255),
        ):
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"{self.name}: {name} is {low} to {high}, not {getattr(self, name)}")
        if 0 < self.spacing < len(self.channels):
            raise SettingError(f"{self.name}: spacing is at least the {len(self.channels)} channels of a lamp")
        if self.address - 1 + len(self.channels) > UNIVERSE_LENGTH:
            raise SettingError(
                f"{self.name}: from address {self.address} on it does not fit into universe {self.universe}"
            )
        if self.count * self.pixels > MAX_LAMPS:
            raise SettingError(f"{self.name}: at most {MAX_LAMPS} pixels, not {self.count * self.pixels}")
        if not (math.isfinite(self.offset) and math.isfinite(self.offset_step)):
            raise SettingError(f"{self.name}: offset and offset_step are numbers of rounds")

    def _check_channels(self) -> None:
        if not 1 <= len(self.channels) <= UNIVERSE_LENGTH:
            raise SettingError(f"{self.name}: a lamp has 1 to {UNIVERSE_LENGTH} channels")
        names = [channel for channel in self.channels if isinstance(channel, str)]
        for name in names:
            if names.count(name) > 1:
                raise SettingError(
                    f"{self.name}: the channel {name!r} is there twice; give each pixel once, see pixels"
                )
            if name in FINE and name.removesuffix(" fine") not in names:
                raise SettingError(
                    f"{self.name}: {name!r} goes with {name.removesuffix(' fine')!r}, which is not there"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What light may do, and what it does when there is nothing to follow. See ``outputs.safety`` for the flash limit.

    Attributes:
        colour_per_s: So far each part of a colour moves in a second, as seen, above 0.
        intensity_per_s: So far intensity moves in a second, as seen, above 0.
        speed_per_s: So far speed moves in a second, above 0.
        blackout_s: How long an operator's blackout takes from full intensity, 0..1.
        hold_s: Without audio or model: how long the last values stay.
        fade_s: How long the way to the look of ``lost_...`` takes, above 0.
        return_s: How long the way back takes, above 0.
        lost_colour: The colour shown then.
        lost_intensity: Its intensity, as seen, 0..1.
        at_end: What is shown last when the program ends: the light as it was (``hold``), the look of ``lost_...``
            (``look``), or nothing (``dark``).
        end_fade_s: How long the way there takes, 0.1..1.5.
    """

    colour_per_s: float = 0.5
    intensity_per_s: float = 0.5
    speed_per_s: float = 0.5
    blackout_s: float = 0.25
    hold_s: float = 10.0
    fade_s: float = 5.0
    return_s: float = 2.0
    lost_colour: Colour = _AMBER
    lost_intensity: float = 0.4
    at_end: Literal["hold", "look", "dark"] = "hold"
    end_fade_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("colour_per_s", "intensity_per_s", "speed_per_s", "fade_s", "return_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"safety.{name} is above 0, not {getattr(self, name):g}")
        for name, low, high in (
            ("blackout_s", 0, 1),
            ("hold_s", 0, 3600),
            ("lost_intensity", 0, 1),
            ("end_fade_s", 0.1, 1.5),
        ):
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"safety.{name} is {low:g} to {high:g}, not {getattr(self, name):g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SacnSettings:
    """How sACN is sent.

    Attributes:
        to: Addresses of receivers; none: multicast, as receivers expect.
        priority: 0..200; among several sources of a universe, receivers follow the highest.
        interface: Address of the network card to send multicast from; empty for the system's choice.
        port: UDP port; 5568 by the standard.
    """

    to: tuple[str, ...] = ()
    priority: int = 100
    interface: str = ""
    port: int = 5568

    def __post_init__(self) -> None:
        if not 0 <= self.priority <= 200:
            raise SettingError(f"sacn.priority is 0 to 200, not {self.priority}")
        if not all(self.to):
            raise SettingError("sacn.to has an address that is empty; leave sacn.to out for multicast")
        if len(self.to) > MAX_RECEIVERS:
            raise SettingError(f"sacn.to has at most {MAX_RECEIVERS} addresses, not {len(self.to)}: use multicast")
        for host in self.to:
            check_host(host, "sacn.to")
        if self.interface and not _is_address(self.interface):
            raise SettingError(f"sacn.interface is an address such as 192.168.1.10, not {self.interface!r}")
        _check_port("sacn", self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtnetSettings:
    """How Art-Net is sent.

    Attributes:
        to: Address of a receiver, or a broadcast address such as 255.255.255.255 or 2.255.255.255.
        first_universe: The Art-Net universe (port address, 0..32767) that universe 1 of the rig is sent to.
        port: UDP port; 6454 by the standard.
    """

    to: str = ""
    first_universe: int = 0
    port: int = 6454

    def __post_init__(self) -> None:
        if not 0 <= self.first_universe <= 32767:
            raise SettingError(f"artnet.first_universe is 0 to 32767, not {self.first_universe}")
        if self.to:
            check_host(self.to, "artnet.to")
        _check_port("artnet", self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Everything about the lamps that one stream drives.

    Attributes:
        fixtures: The lamps.
        name: What consoles and logs call it; at most 63 bytes.
        rate_hz: How often light is computed, and sent where it changed, 10..40.
        look: How it follows the music.
        safety: What it may do.
        sacn: How it is sent as sACN.
        artnet: How it is sent as Art-Net.
    """

    fixtures: tuple[Fixture, ...]
    name: str = "stream_mer"
    rate_hz: float = MAX_RATE_HZ
    look: Look = field(default_factory=Look)
    safety: Safety = field(default_factory=Safety)
    sacn: SacnSettings = field(default_factory=SacnSettings)
    artnet: ArtnetSettings = field(default_factory=ArtnetSettings)

    def __post_init__(self) -> None:
        if not self.fixtures:
            raise SettingError("a rig has at least one fixture: write [[fixtures]] and its channels")
        lamps = sum(fixture.count for fixture in self.fixtures)
        pixels = sum(fixture.count * fixture.pixels for fixture in self.fixtures)
        if lamps > MAX_LAMPS or pixels > MAX_PIXELS:
            raise SettingError(
                f"a rig has at most {MAX_LAMPS} lamps and {MAX_PIXELS} pixels, not {lamps} and {pixels}: make two rigs"
            )
        if not 10 <= self.rate_hz <= MAX_RATE_HZ:
            raise SettingError(f"rate_hz is 10 to {MAX_RATE_HZ:g}, not {self.rate_hz:g}")
        if not 1 <= len(self.name.encode()) <= 63:
            raise SettingError(f"name is 1 to 63 bytes long, not {len(self.name.encode())}")


def _check_port(where: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise SettingError(f"{where}.port is 1 to 65535, not {port}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
