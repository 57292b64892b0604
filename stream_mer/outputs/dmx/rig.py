"""A rig: its lamps, their look and limits, and their receivers.

The structs are the tables of a rig file (TOML); ``Meta`` gives the ranges, and ``__post_init__`` checks
several keys against each other. Below: the layout of channels, the presets, and the reading of rig files.
"""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.dmx.look import HexColour, Look
from stream_mer.utils.hosts import check_host
from stream_mer.utils.toml_file import read_toml, validated

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

ChannelName: TypeAlias = Literal[
    "dimmer",
    "red",
    "green",
    "blue",
    "white",
    "amber",
    "uv",
    "cyan",
    "magenta",
    "yellow",
    "pan",
    "tilt",
    "speed",
    "strobe",
]
FineChannel: TypeAlias = Literal[
    "dimmer fine",
    "red fine",
    "green fine",
    "blue fine",
    "white fine",
    "amber fine",
    "uv fine",
    "cyan fine",
    "magenta fine",
    "yellow fine",
    "pan fine",
    "tilt fine",
    "speed fine",
]  # the low byte of a channel of 16 bits
Channel: TypeAlias = ChannelName | FineChannel | Annotated[int, Meta(ge=0, le=255)]
"""The function of a channel; a number is sent unchanged."""

CHANNELS: tuple[str, ...] = get_args(ChannelName)
FINE: tuple[str, ...] = get_args(FineChannel)

FILTERS = ("cyan", "magenta", "yellow")
"""Channels that take colour away from white light."""

EMITTERS = ("red", "green", "blue", "white", "amber", "uv")
"""Channels that add light."""

_Rate: TypeAlias = Annotated[float, Meta(ge=10, le=MAX_RATE_HZ)]
_Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
_Shares: TypeAlias = Annotated[
    tuple[_Share, _Share], Meta(description="two numbers from 0 to 1 in brackets, such as [0.4, 0.6]")
]
_PerSecond: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
_Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
_Rounds: TypeAlias = Annotated[float, Meta(ge=-1000, le=1000)]
_Port: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]
_LampCount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_LAMPS)]


class Fixture(Struct, frozen=True, kw_only=True):
    """Lamps of one kind, one after another.

    Attributes:
        channels: The function of each of its channels, in order.
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
        strobe: Value of strobe channels, 0..255. The flash limit does not know its effect.
        pan: Of moving heads: where they swing between, shares of the whole range of pan, 0..1. The higher arousal, the
            faster. The first number may be the higher one.
        tilt: Where they point at valence -1 and 1, likewise.
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
    pan: _Shares = (0.42, 0.58)
    tilt: _Shares = (0.4, 0.55)

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
        self._check_colours(names)
        if 0 < self.spacing < len(self.channels):
            raise SettingError(f"{self.name}: spacing is at least the {len(self.channels)} channels of a lamp")
        if self.address - 1 + len(self.channels) > UNIVERSE_LENGTH:
            raise SettingError(
                f"{self.name}: from address {self.address} on it does not fit into universe {self.universe}"
            )
        if self.count * self.pixels > MAX_LAMPS:
            raise SettingError(f"{self.name}: at most {MAX_LAMPS} pixels, not {self.count * self.pixels}")

    def _check_colours(self, names: Sequence[str]) -> None:
        filters = [name for name in FILTERS if name in names]
        if filters and len(filters) < len(FILTERS):
            raise SettingError(f"{self.name}: cyan, magenta and yellow go together")
        if filters and "dimmer" not in names:
            raise SettingError(f"{self.name}: cyan needs a dimmer, as no filters make a lamp dark")
        if filters and (emitter := next((name for name in EMITTERS if name in names), None)):
            raise SettingError(f"{self.name}: a lamp mixes colours with {emitter} or with cyan, not with both")


class Safety(Struct, frozen=True, kw_only=True):
    """Limits of the light, and the look without music. The flash limit is in ``outputs.safety``.

    Attributes:
        colour_per_s: So far each part of a colour moves in a second, as seen, above 0.
        intensity_per_s: So far intensity moves in a second, as seen, above 0.
        speed_per_s: So far speed moves in a second, above 0.
        move_per_s: So far moving heads turn in a second, as a share of their whole range, 0.001..0.5.
        blackout_s: How long an operator's blackout takes from full intensity, 0..1.
        hold_s: Without audio or model: how long the last values stay.
        fade_s: How long the way to the look of ``lost_...`` takes, above 0.
        return_s: How long the way back takes, above 0.
        lost_colour: The colour shown then.
        lost_intensity: Its intensity, as seen, 0..1.
        at_end: The last light when the program ends: the light as it was (``hold``), the look of ``lost_...``
            (``look``), or nothing (``dark``).
        end_fade_s: How long the way there takes, 0.1..1.5.
    """

    colour_per_s: _PerSecond = 0.5
    intensity_per_s: _PerSecond = 0.5
    speed_per_s: _PerSecond = 0.5
    move_per_s: Annotated[float, Meta(ge=0.001, le=0.5)] = 0.08
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
        sync: Universe of synchronisation packets, 1..63999, best one without lamps: receivers that know them show all
            universes of the rig at the same moment. 0 for none.
    """

    to: tuple[str, ...] = ()
    priority: Annotated[int, Meta(ge=0, le=200)] = 100
    interface: str = ""
    port: _Port = 5568
    sync: Annotated[int, Meta(ge=0, le=MAX_UNIVERSE)] = 0

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
                raise SettingError(
                    f"sacn.interface is an address such as 192.168.1.10, not {self.interface!r}"
                ) from None


class ArtnetSettings(Struct, frozen=True, kw_only=True):
    """How Art-Net is sent.

    Attributes:
        to: Address of a receiver, or a broadcast address such as 255.255.255.255 or 2.255.255.255.
        first_universe: The Art-Net universe (port address, 0..32767) that universe 1 of the rig is sent to.
        port: UDP port; 6454 by the standard.
        sync: Send ArtSync after each change: nodes then show all universes at the same moment.
    """

    to: str = ""
    first_universe: Annotated[int, Meta(ge=0, le=32_767)] = 0
    port: _Port = 6454
    sync: bool = False

    def __post_init__(self) -> None:
        if self.to:
            check_host(self.to, "artnet.to")


class Rig(Struct, frozen=True, kw_only=True):
    """Everything about the lamps that one stream drives.

    Attributes:
        fixtures: The lamps.
        name: Name on consoles and in logs; at most 63 bytes.
        rate_hz: How often light is computed, and sent where it changed, 10..40.
        look: How it follows the music.
        safety: Its limits.
        sacn: How it is sent as sACN.
        artnet: How it is sent as Art-Net.
    """

    fixtures: tuple[Fixture, ...]
    name: str = "stream_mer"
    rate_hz: _Rate = MAX_RATE_HZ
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The first channel of one pixel.

    Attributes:
        universe: 1..63999.
        start: Index of the channel, from 0.
    """

    universe: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """One lamp: pixels that all show the same.

    Attributes:
        fixture: Kind of lamp.
        offset: Where it is on its way around, rounds.
        slots: First channels of its pixels, in order.
    """

    fixture: Fixture
    offset: float
    slots: tuple[Slot, ...]


def lamps_of(fixtures: Iterable[Fixture]) -> tuple[Lamp, ...]:
    """Lay out the lamps of a rig. A pixel that does not fit into a universe starts the next one.

    Raises:
        SettingError: Two fixtures overlap, or there are not enough universes.
    """
    lamps: list[Lamp] = []
    taken: dict[tuple[int, int], Fixture] = {}
    for fixture in fixtures:
        for lamp in _lay_out(fixture):
            lamps.append(lamp)
            for slot in lamp.slots:
                _take(taken, slot, fixture)
    return tuple(lamps)


def universes_of(lamps: Iterable[Lamp]) -> tuple[int, ...]:
    """Return the numbers of the universes that are used, in order."""
    return tuple(sorted({slot.universe for lamp in lamps for slot in lamp.slots}))


def _lay_out(fixture: Fixture) -> list[Lamp]:
    universe, start = fixture.universe, fixture.address - 1
    lamps = []
    for i in range(fixture.count):
        slots = []
        for _ in range(fixture.pixels):
            if start + len(fixture.channels) > UNIVERSE_LENGTH:
                universe, start = universe + 1, 0
                if universe > MAX_UNIVERSE:
                    raise SettingError(f"{fixture.name}: there is no universe {universe}")
            slots.append(Slot(universe=universe, start=start))
            start += fixture.spacing or len(fixture.channels)
        offset = fixture.offset + i * fixture.offset_step
        lamps.append(Lamp(fixture=fixture, offset=offset, slots=tuple(slots)))
    return lamps


def _take(taken: dict[tuple[int, int], Fixture], slot: Slot, fixture: Fixture) -> None:
    for i in range(len(fixture.channels)):
        other = taken.setdefault((slot.universe, slot.start + i), fixture)
        if other is not fixture:
            place = f"channel {slot.start + i + 1} of universe {slot.universe}"
            raise SettingError(f"{other.name} and {fixture.name} both have {place}: give one another address")


def used_channels(lamps: Iterable[Lamp]) -> Mapping[int, int]:
    """Return how many channels of each universe are used, by number."""
    used: Counter[int] = Counter()
    for lamp in lamps:
        for slot in lamp.slots:
            used[slot.universe] += len(lamp.fixture.channels)
    return used


LOOKS = ("mood", "palette", "wash")
"""Names of the presets; a rig file that names none starts with the first."""

ABOUT: Mapping[str, str] = {
    "mood": "valence chooses the hue (blue, violet, red, amber), arousal intensity and speed",
    "palette": "each category has its colours, through which lamps wander; arousal is intensity and speed",
    "wash": "a subtle wash: pale hues that move slowly, intensity within narrow limits",
}
"""Description of each preset."""

_PRESETS: Mapping[str, tuple[Look, Safety]] = {
    "mood": (Look(), Safety()),
    "palette": (Look(colour="palette", speed=(0.1, 1.0)), Safety()),
    "wash": (
        Look(
            hue=(220.0, 400.0),
            saturation=(0.25, 0.45),
            wander=10.0,
            intensity=(0.45, 0.65),
            speed=(0.0, 0.3),
            rounds_per_min=2.0,
        ),
        Safety(colour_per_s=0.1, intensity_per_s=0.1, return_s=5.0),
    ),
}

_LAMPS = Fixture(name="lamps", channels=("red", "green", "blue"), count=16, offset_step=1 / 16)

TABLES: Mapping[str, type[Struct]] = {
    "look": Look,
    "safety": Safety,
    "sacn": SacnSettings,
    "artnet": ArtnetSettings,
}
"""The tables of a rig file beside ``[[fixtures]]``."""


def preset(name: str) -> Rig:
    """Return a preset, one of ``LOOKS``: 16 RGB lamps, one after another from channel 1 of universe 1 on."""
    look, safety = _PRESETS[name]
    return Rig(fixtures=(_LAMPS,), name=f"stream_mer {name}", look=look, safety=safety)


def find_rig(name: str) -> Rig:
    """Return a preset, or read a rig file.

    Raises:
        SettingError: The name is neither, or the file is not valid.
    """
    if name in LOOKS:
        return preset(name)
    path = Path(name)
    if path.suffix == ".toml" or os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long
        return read_toml(path, rig_of)
    raise SettingError(
        f"no rig is called {brief(repr(name))}, and a file would end in .toml{did_you_mean(name, LOOKS)}"
    )


class _Top(Struct, frozen=True, kw_only=True):
    """A rig file, before its tables are read."""

    preset: str = LOOKS[0]
    name: str | None = None
    rate_hz: _Rate | None = None
    look: dict[str, Any] = {}
    safety: dict[str, Any] = {}
    sacn: dict[str, Any] = {}
    artnet: dict[str, Any] = {}
    fixtures: list[dict[str, Any]] | None = None


def rig_of(table: Mapping[str, Any], name: str) -> Rig:
    """Make a rig of a rig file. Its preset gives what the file leaves out.

    Args:
        table: The file.
        name: Name of the rig, unless the file gives another.

    Raises:
        SettingError: A key is unknown, a value is not valid, or lamps overlap.
    """
    if not isinstance(table.get("fixtures", []), list):
        raise SettingError("fixtures is written [[fixtures]], once for each kind of lamp")
    top = validated(table, _Top)
    if top.preset not in LOOKS:
        raise SettingError(f"preset: there is no {brief(repr(top.preset))}{did_you_mean(top.preset, LOOKS)}")
    base = preset(top.preset)
    parts: dict[str, Any] = {key: _part(key, table.get(key, {}), getattr(base, key)) for key in TABLES}
    if top.fixtures is None and "preset" in table:
        fixtures = base.fixtures  # a file that names a preset and no lamps has those of the preset
    else:
        fixtures = tuple(_fixture(each, i) for i, each in enumerate(top.fixtures or [], 1))
    rate_hz = base.rate_hz if top.rate_hz is None else top.rate_hz
    rig = Rig(fixtures=fixtures, name=name if top.name is None else top.name, rate_hz=rate_hz, **parts)
    lamps_of(rig.fixtures)
    return rig


def _part(key: str, table: Mapping[str, Any], base: Struct) -> Struct:
    if key == "sacn" and isinstance(table.get("to"), str):
        table = {**table, "to": [table["to"]]}
    return validated(table, TABLES[key], where=key, base=base)


def _fixture(table: Mapping[str, Any], number: int) -> Fixture:
    given = table.get("name")
    where = given if isinstance(given, str) else f"fixtures[{number}]"
    return validated({"name": where, **table}, Fixture, where=where)


EXAMPLES: Mapping[str, str] = {
    "rig": """\
# Lamps for `stream-mer serve --sacn rig.toml`; docs/DMX.md explains every key.
preset = "mood"                 # mood, palette or wash: gives what this file leaves out
name = "club"                   # what consoles show as the source

[sacn]
priority = 100                  # receivers follow the source of the highest priority
# to = ["192.168.1.50"]         # unicast; without it multicast

[artnet]
# to = "192.168.1.60"           # for --artnet rig.toml
first_universe = 0              # the Art-Net universe that universe 1 is sent to

[look]
intensity = [0.3, 1.0]          # at the calmest and at the most excited
hue = [240, 400]                # degrees, at the least and at the most pleasant

[safety]
hold_s = 10                     # without audio or model: hold for this long,
fade_s = 5                      # then fade so slowly
lost_colour = "#ff9a4d"         # to this colour
lost_intensity = 0.4
at_end = "hold"                 # at the end of the program: hold, look (that of lost_...) or dark

[[fixtures]]
name = "front"
universe = 1
address = 1
channels = ["dimmer", "red", "green", "blue", "white", "strobe"]
count = 4                       # one after another
offset_step = 0.25              # colours wander from lamp to lamp

[[fixtures]]
name = "heads"
universe = 1
address = 101
channels = ["dimmer", "dimmer fine", "red", "green", "blue", "speed", 255]    # 255: a shutter, held open
count = 2

[[fixtures]]
name = "spots"                  # moving heads; amber and uv are possible, too
universe = 1
address = 201
channels = ["pan", "pan fine", "tilt", "tilt fine", "dimmer", "cyan", "magenta", "yellow"]
count = 2
offset_step = 0.5               # they swing in opposite directions
pan = [0.42, 0.58]              # they swing between these shares of their range,
tilt = [0.40, 0.55]             # and point here at the least and at the most pleasant
""",
    "wled": """\
# A strip of 300 pixels on a WLED controller, for `stream-mer serve --sacn wled.toml@WLED-ADDRESS`.
# WLED: Config > Sync Interfaces > Realtime: type E1.31 (sACN), start universe 1, DMX mode "Multi RGB", start address 1.
# Without data for its time-out (2.5 s), and at the end of the stream, it goes back to its own effect.
preset = "palette"
name = "strip"

[[fixtures]]
name = "strip"
channels = ["red", "green", "blue"]     # the order of WLED's DMX mode; it knows that of the LEDs itself
count = 20                              # 20 lamps ...
pixels = 15                             # ... of 15 pixels each; past 170 pixels it goes on in universe 2
offset_step = 0.05
response = 1.0                          # 2.8 where "Disable realtime gamma correction" is not ticked
""",
}
"""Example rig files, by name."""
