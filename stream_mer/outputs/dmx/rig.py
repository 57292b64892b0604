"""A rig: its lamps, how they look, what must never happen to them, and how they are reached. Pure.

The structs are the tables of a rig file; ``Meta`` gives the ranges, and ``__post_init__`` checks what concerns several
keys. ``presets`` reads the file.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.look import HexColour, Look
from stream_mer.utils.hosts import check_host

UNIVERSE_LENGTH = 512
"""Channels of a universe."""

MAX_UNIVERSE = 63_999
"""sACN numbers universes from 1 to this."""

MAX_RATE_HZ = 40.0
"""A DMX line cannot repeat all its channels faster."""

MAX_LAMPS, MAX_PIXELS = 4096, 32_768
"""Limits of one rig; more are a typing mistake."""

MAX_RECEIVERS = 64
"""Limit of unicast receivers: each gets every packet."""

ChannelName: TypeAlias = Literal["dimmer", "red", "green", "blue", "white", "speed", "strobe"]
FineChannel: TypeAlias = Literal[
    "dimmer fine", "red fine", "green fine", "blue fine", "white fine", "speed fine"
]  # the low byte of a channel of 16 bits
Channel: TypeAlias = ChannelName | FineChannel | Annotated[int, Meta(ge=0, le=255)]
"""What a channel of a lamp does; a number is sent unchanged."""

CHANNELS: tuple[str, ...] = get_args(ChannelName)
FINE: tuple[str, ...] = get_args(FineChannel)

Rate: TypeAlias = Annotated[float, Meta(ge=10, le=MAX_RATE_HZ)]
_Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
_PerSecond: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
_Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
_Rounds: TypeAlias = Annotated[float, Meta(ge=-1000, le=1000)]
_Port: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]
_LampCount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_LAMPS)]


class Fixture(Struct, frozen=True, kw_only=True):
    """Lamps of one kind, one after another.

    Attributes:
        channels: What each of its channels does, in order.
        name: For people.
        universe: Universe of the first lamp, 1..63999.
        address: Its first channel, 1..512.
        count: How many lamps there are.
        pixels: How many times each lamp repeats its channels: the pixels of a strip that show one colour.
        spacing: Channels from one lamp or pixel to the next; 0 for as many as each has.
        offset: Where the first lamp is on its way around, in rounds, -1000..1000.
        offset_step: How much further each following one is, likewise.
        intensity: Share of the look's intensity, as seen, 0..1.
        response: The light of a channel is its share of 255 to this power: 1 for most lamps, 2.2 or more for those
            with a dimmer curve of their own. 0.2..5.
        strobe: What strobe channels are sent, 0..255. The flash limit cannot know what a lamp makes of it.
    """

    channels: tuple[Channel, ...]
    name: str = "lamps"
    universe: Annotated[int, Meta(ge=1, le=MAX_UNIVERSE)] = 1
    address: Annotated[int, Meta(ge=1, le=UNIVERSE_LENGTH)] = 1
    count: _LampCount = 1
    pixels: _LampCount = 1
    spacing: Annotated[int, Meta(ge=0, le=UNIVERSE_LENGTH)] = 0
    offset: _Rounds = 0.0
    offset_step: _Rounds = 0.0
    intensity: _Share = 1.0
    response: Annotated[float, Meta(ge=0.2, le=5)] = 1.0
    strobe: Annotated[int, Meta(ge=0, le=255)] = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.channels) <= UNIVERSE_LENGTH:
            raise SettingError(f"{self.name}: a lamp has 1 to {UNIVERSE_LENGTH} channels")
        names = [channel for channel in self.channels if isinstance(channel, str)]
        for name in names:
            coarse = name.removesuffix(" fine")
            if names.count(name) > 1:
                raise SettingError(
                    f"{self.name}: the channel {name!r} is there twice; give each pixel once, see pixels"
                )
            if coarse not in names:
                raise SettingError(f"{self.name}: {name!r} goes with {coarse!r}, which is not there")
        if 0 < self.spacing < len(self.channels):
            raise SettingError(f"{self.name}: spacing is at least the {len(self.channels)} channels of a lamp")
        if self.address - 1 + len(self.channels) > UNIVERSE_LENGTH:
            raise SettingError(
                f"{self.name}: from address {self.address} on it does not fit into universe {self.universe}"
            )
        if self.count * self.pixels > MAX_LAMPS:
            raise SettingError(f"{self.name}: at most {MAX_LAMPS} pixels, not {self.count * self.pixels}")


class Safety(Struct, frozen=True, kw_only=True):
    """Limits of the light, and what it shows when there is nothing to follow. The flash limit is in ``outputs.safety``.

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

    colour_per_s: _PerSecond = 0.5
    intensity_per_s: _PerSecond = 0.5
    speed_per_s: _PerSecond = 0.5
    blackout_s: _Share = 0.25
    hold_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    fade_s: _Seconds = 5.0
    return_s: _Seconds = 2.0
    lost_colour: HexColour = "#ff9a4d"
    lost_intensity: _Share = 0.4
    at_end: Literal["hold", "look", "dark"] = "hold"
    end_fade_s: Annotated[float, Meta(ge=0.1, le=1.5)] = 1.0


class SacnSettings(Struct, frozen=True, kw_only=True):
    """How sACN is sent.

    Attributes:
        to: Addresses of receivers; none: multicast, as receivers expect.
        priority: 0..200; among several sources of a universe, receivers follow the highest.
        interface: Address of the network card to send multicast from; empty for the system's choice.
        port: UDP port; 5568 by the standard.
    """

    to: tuple[str, ...] = ()
    priority: Annotated[int, Meta(ge=0, le=200)] = 100
    interface: str = ""
    port: _Port = 5568

    def __post_init__(self) -> None:
        if not all(self.to):
            raise SettingError("sacn.to has an address that is empty; leave sacn.to out for multicast")
        if len(self.to) > MAX_RECEIVERS:
            raise SettingError(f"sacn.to has at most {MAX_RECEIVERS} addresses, not {len(self.to)}: use multicast")
        for host in self.to:
            check_host(host, "sacn.to")
        if self.interface:
            try:
                ipaddress.IPv4Address(self.interface)
            except ValueError:
                told = f"sacn.interface is an address such as 192.168.1.10, not {self.interface!r}"
                raise SettingError(told) from None


class ArtnetSettings(Struct, frozen=True, kw_only=True):
    """How Art-Net is sent.

    Attributes:
        to: Address of a receiver, or a broadcast address such as 255.255.255.255 or 2.255.255.255.
        first_universe: The Art-Net universe (port address, 0..32767) that universe 1 of the rig is sent to.
        port: UDP port; 6454 by the standard.
    """

    to: str = ""
    first_universe: Annotated[int, Meta(ge=0, le=32_767)] = 0
    port: _Port = 6454

    def __post_init__(self) -> None:
        if self.to:
            check_host(self.to, "artnet.to")


class Rig(Struct, frozen=True, kw_only=True):
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
    rate_hz: Rate = MAX_RATE_HZ
    look: Look = Look()
    safety: Safety = Safety()
    sacn: SacnSettings = SacnSettings()
    artnet: ArtnetSettings = ArtnetSettings()

    def __post_init__(self) -> None:
        if not self.fixtures:
            raise SettingError("a rig has at least one fixture: write [[fixtures]] and its channels")
        lamps = sum(fixture.count for fixture in self.fixtures)
        pixels = sum(fixture.count * fixture.pixels for fixture in self.fixtures)
        if lamps > MAX_LAMPS or pixels > MAX_PIXELS:
            raise SettingError(
                f"a rig has at most {MAX_LAMPS} lamps and {MAX_PIXELS} pixels, not {lamps} and {pixels}: make two rigs"
            )
        if not 1 <= len(self.name.encode()) <= 63:
            raise SettingError(f"name is 1 to 63 bytes long, not {len(self.name.encode())}")
