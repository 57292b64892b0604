"""OSC receivers: the presets, mapping files (TOML), and specifications of the command line. Pure but for the file.

Presets do not take over what an operator already uses: each one writes where a show has room to be mapped (dashboard
links, submasters and executors of high numbers). A mapping file can say otherwise. docs/OSC.md describes its keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.dmx.links import LEDFX_PORT, WLED_PORT
from stream_mer.outputs.dmx.output import ledfx_output, wled_output
from stream_mer.outputs.osc.mapping import (
    ADDRESS,
    FIELDS,
    NUMBERS,
    PERCENT,
    UNIT,
    OscField,
    OscMapping,
    Scale,
    parse_scale,
)
from stream_mer.outputs.runner import MAX_RATE_HZ, ShowOutput
from stream_mer.types import CATEGORIES
from stream_mer.utils.hosts import check_host
from stream_mer.utils.toml_file import read_toml, validated

Transport: TypeAlias = Literal["udp", "tcp", "slip"]
"""``tcp`` is OSC 1.0 with a length before each packet, ``slip`` is OSC 1.1."""

TRANSPORTS: tuple[Transport, ...] = get_args(Transport)

_PLACE = re.compile(
    r"(?:(?P<transport>\w+)://)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]@]+)?(?::(?P<port>\d+))?(?P<prefix>/.*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OscTarget:
    """One receiver.

    Attributes:
        name: Name in logs.
        host: Name or address.
        port: 1..65535.
        transport: How packets travel.
        rate_hz: How often changes are looked for, above 0 and at most ``MAX_RATE_HZ``.
        mapping: The fields that it gets.
    """

    name: str
    host: str = "127.0.0.1"
    port: int
    transport: Transport = "udp"
    rate_hz: float = 30.0
    mapping: OscMapping

    def __post_init__(self) -> None:
        if not self.host:
            raise SettingError(f"{self.name}: the host is empty: give a name or an address")
        check_host(self.host, f"{self.name}: host", ipv6=True)
        if not 1 <= self.port <= 65_535:
            raise SettingError(f"{self.name}: a port is 1 to 65535, not {self.port}")

    @property
    def place(self) -> str:
        """Its address, such as ``udp://127.0.0.1:7000``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    def at(self, place: str) -> OscTarget:
        """Return the receiver at another place: ``[TRANSPORT://]HOST[:PORT][/PREFIX]``.

        Raises:
            SettingError: The text is not a place.
        """
        found = _PLACE.fullmatch(place)
        if found is None or not place:
            raise SettingError(
                f"{brief(repr(place))} is not a place: write HOST, HOST:PORT, HOST:PORT/PREFIX or tcp://HOST:9000"
            )
        transport = found["transport"] or self.transport
        if transport not in TRANSPORTS:
            raise SettingError(f"{place}: no transport is called {transport!r}{did_you_mean(transport, TRANSPORTS)}")
        return replace(
            self,
            host=(found["host"] or self.host).strip("[]"),
            port=int((found["port"] or str(self.port))[:6]),
            transport=transport,
            mapping=self.mapping.under((found["prefix"] or "").rstrip("/")),
        )


def find_target(spec: str) -> OscTarget:
    """Return the receiver that a user means.

    Args:
        spec: ``eos``, ``eos@192.168.1.5``, ``generic@tcp://desk:3032/prefix``, ``mapping.toml``,
            ``mapping.toml@192.168.1.5`` or ``192.168.1.5:9000``.

    Raises:
        SettingError: There is no such preset or file, or the place is not valid.
    """
    if os.path.isfile(spec):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return read_toml(Path(spec), target_of)
    what, at, place = spec.rpartition("@")
    if not at:
        what, place = spec, ""
    if what.endswith(".toml"):
        target = read_toml(Path(what), target_of)
    elif what in PRESETS:
        target = PRESETS[what].target
    elif not at and any(sign in spec for sign in ":."):
        target, at, place = PRESETS["generic"].target, "@", spec
    else:
        known = [*PRESETS, *OTHER_RECEIVERS]
        raise SettingError(f"no OSC preset is called {brief(repr(what))}{did_you_mean(what, known)}")
    return target.at(place) if at else target


class _MappingFile(msgspec.Struct, kw_only=True):
    """A mapping file; the preset gives what the file leaves out."""

    preset: str | None = None
    prefix: str = ""
    host: str | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    transport: Transport | None = None
    rate_hz: Annotated[float, Meta(gt=0, le=MAX_RATE_HZ)] | None = None
    strings: bool | None = None
    light: bool | None = None
    step: Annotated[float, Meta(ge=0, le=0.1)] | None = None
    hold_s: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    fade_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    fields: dict[str, Any] | None = None


class _FieldTable(msgspec.Struct, kw_only=True):
    """One field of a mapping file."""

    address: str = ADDRESS
    scale: str | None = None
    slew_per_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    release: bool = False


def target_of(table: Mapping[str, Any], name: str) -> OscTarget:
    """Make a receiver of a mapping file.

    Args:
        table: The file.
        name: Name of the receiver.

    Raises:
        SettingError: A key is unknown, or a value is not valid.
    """
    file = validated(table, _MappingFile)
    base: OscTarget | None = None
    if file.preset is not None:
        if file.preset not in PRESETS:
            raise SettingError(f"no preset is called {brief(repr(file.preset))}{did_you_mean(file.preset, PRESETS)}")
        base = PRESETS[file.preset].target
    if file.fields is not None:
        fields = tuple(field for key, value in file.fields.items() for field in _fields(key, value))
    elif base is not None:
        fields = base.mapping.fields
    else:
        fields = ()
    given = {key: value for key, value in msgspec.structs.asdict(file).items() if value is not None}
    of_mapping = {key: given[key] for key in ("strings", "light", "step", "hold_s", "fade_s") if key in given}
    of_target = {key: given[key] for key in ("host", "port", "transport", "rate_hz") if key in given}
    if base is not None:
        mapping = replace(base.mapping, fields=fields, **of_mapping).under(file.prefix)
        return replace(base, name=name, mapping=mapping, **of_target)
    if file.port is None or file.fields is None:
        raise SettingError("a mapping without a preset needs at least port and [fields]")
    return OscTarget(name=name, mapping=OscMapping(fields=fields, **of_mapping).under(file.prefix), **of_target)


def _fields(name: str, value: Any) -> list[OscField]:
    """Read one line under ``[fields]``: an address, a table, or a list of both."""
    if name not in FIELDS:
        raise SettingError(f"no OSC field is called {name!r}{did_you_mean(name, FIELDS)}")
    if isinstance(value, list):
        return [field for each in value for field in _fields(name, each)]
    if isinstance(value, str):
        return [OscField(name=name, address=value)]
    if not isinstance(value, dict):
        raise SettingError(f'fields.{name} is an address such as "/a", a table with one, or a list of them')
    table = msgspec.structs.asdict(validated(value, _FieldTable, where=f"fields.{name}"))
    scale = None if table["scale"] is None else parse_scale(table["scale"])
    return [OscField(name=name, **{**table, "scale": scale})]


@dataclass(frozen=True, slots=True, kw_only=True)
class OscPreset:
    """A well-known receiver.

    Attributes:
        target: Its default address and mapping.
        about: What the preset is for.
        setup: What to do at the receiver.
    """

    target: OscTarget
    about: str
    setup: str


_GENERIC = OscPreset(
    target=OscTarget(
        name="generic", port=9000, mapping=OscMapping(fields=tuple(OscField(name=name) for name in FIELDS))
    ),
    about="Anything that takes OSC: every number and text under /mer/STREAM/.",
    setup="Listen on UDP port 9000, or name another: generic@HOST:PORT, or HOST:PORT alone.",
)

_TOUCHDESIGNER = OscPreset(
    target=OscTarget(
        name="touchdesigner",
        port=7000,
        # A channel stays as it is until something else comes: triggers must go back to 0.
        mapping=OscMapping(
            fields=tuple(OscField(name=name, release=FIELDS[name].kind == "trigger") for name in NUMBERS),
            strings=False,
        ),
    ),
    about="TouchDesigner, OSC In CHOP: every number as a channel; no texts, which the CHOP would warn of.",
    setup="OSC In CHOP: Network Port 7000. An OSC In DAT takes texts, too: use the preset generic for it.",
)

_DASHBOARD = ("valence", "arousal", *CATEGORIES, "onset", "blackout")

_RESOLUME = OscPreset(
    target=OscTarget(
        name="resolume",
        port=7000,
        mapping=OscMapping(
            fields=tuple(
                OscField(name=name, address=f"/composition/dashboard/link{number}", scale=UNIT)
                for number, name in enumerate(_DASHBOARD, 1)
            ),
            strings=False,
        ),
    ),
    about="Resolume Arena and Avenue: the eight dashboard links of the composition, each 0-1.",
    setup="Preferences > OSC: OSC Input on, port 7000. Then link any parameter to a dashboard link.",
)


def _faders(address: str, *, first: int, scale: Scale) -> OscMapping:
    """Return the looks of a desk on faders in a row; ``{}`` in the address is the number of each."""
    names = (*CATEGORIES, "valence", "arousal")
    fields = (OscField(name=name, address=address.format(i), scale=scale) for i, name in enumerate(names, first))
    return OscMapping(fields=tuple(fields), strings=False, step=0.004, light=True)


_EOS = OscPreset(
    target=OscTarget(
        name="eos", port=3032, transport="tcp", rate_hz=20.0, mapping=_faders("/eos/sub/{}", first=101, scale=UNIT)
    ),
    about="ETC Eos family: a look for each category on submasters 101-104, valence and arousal on 105 and 106.",
    setup="Setup > System > Show Control > OSC: OSC RX on, TCP mode OSC 1.0; record the looks into the submasters. "
    "From version 3.1 on the port for others is 3037: eos@HOST:3037. With OSC 1.1: eos@slip://HOST.",
)

_GRANDMA3 = OscPreset(
    target=OscTarget(
        name="grandma3", port=8000, rate_hz=20.0, mapping=_faders("/Page1/Fader{}", first=201, scale=PERCENT)
    ),
    about="MA Lighting grandMA3: a look for each category on the faders of executors 201-204 of page 1, valence "
    "and arousal on 205 and 206, each 0-100; never a bundle, which the desk does not take.",
    setup="Menu > In & Out > OSC: Enable Input, a line with port 8000 and Receive on. Where it has a prefix, "
    "give that too: grandma3@HOST:8000/gma3.",
)

_INPUTS = ("valence", "arousal", *CATEGORIES, "confidence", "rms", "onset", "blackout", "alive", "change")

_QLCPLUS = OscPreset(
    target=OscTarget(
        name="qlcplus",
        port=7700,
        mapping=OscMapping(
            fields=tuple(OscField(name=name, scale=UNIT, release=name == "change") for name in _INPUTS),
            strings=False,
            step=0.002,
        ),
    ),
    about="QLC+: inputs 0-1 of universe 1, for sliders and buttons of the virtual console.",
    setup="Inputs/Outputs: tick Input of the plugin OSC for universe 1 (port 7700; universe 2 is 7701 and so on), "
    "in the line of the address that is sent to: 127.0.0.1 for QLC+ on this machine. "
    "Then Auto Detect at a widget while `stream-mer osc qlcplus --test` moves one address after another.",
)

PRESETS: Mapping[str, OscPreset] = {
    preset.target.name: preset for preset in (_GENERIC, _TOUCHDESIGNER, _RESOLUME, _EOS, _GRANDMA3, _QLCPLUS)
}
"""All presets, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherReceiver:
    """A receiver that users look for among the presets, but that speaks another protocol.

    Attributes:
        port: Its default port.
        host: Its default host; empty where the user must give it.
        speaks: Its protocol.
        about: What it is sent.
        setup: What to do at the receiver.
        open: Makes the output from host, port and stream.
    """

    port: int
    host: str = ""
    speaks: str
    about: str
    setup: str
    open: Callable[[str, int, str], ShowOutput]


OTHER_RECEIVERS: Mapping[str, OtherReceiver] = {
    "wled": OtherReceiver(
        port=WLED_PORT,
        speaks="WLED's own UDP, DRGB",
        about="WLED, which knows no OSC: colours along the strip, up to 490 LEDs; valence is hue, arousal intensity "
        "and speed. At the end it goes back to its own effect.",
        setup="Config > Sync Interfaces: Receive UDP realtime is on from the start. Several strips, more LEDs or other "
        "looks: a rig over sACN.",
        open=wled_output,
    ),
    "ledfx": OtherReceiver(
        host="127.0.0.1",
        port=LEDFX_PORT,
        speaks="LedFx's HTTP interface",
        about="LedFx, which knows no OSC: the category gives all running effects their gradient, arousal their "
        "brightness; LedFx itself moves with the music. At most once in two seconds, as LedFx writes it to disk.",
        setup="Nothing but running effects. Tried with LedFx 2.2.1; one from before autumn 2025 does not know "
        "apply_global, and says so.",
        open=ledfx_output,
    ),
}
"""All of them, by name."""

_HOST_PORT = re.compile(r"(?P<host>[^\s:/@\[\]]+)?(?::(?P<port>\d{1,5}))?")


def find_other(spec: str) -> OtherReceiver | None:
    """Return the receiver that ``NAME[@PLACE]`` means; None for a receiver of OSC."""
    return OTHER_RECEIVERS.get(spec.partition("@")[0])


def open_other(receiver: OtherReceiver, spec: str, *, stream: str) -> ShowOutput:
    """Make the output for ``NAME[@HOST[:PORT]]``.

    Raises:
        SettingError: The place is not valid, or is missing where there is no default.
    """
    name, at, place = spec.partition("@")
    found = _HOST_PORT.fullmatch(place)
    host = (found and found["host"]) or receiver.host
    port = int((found and found["port"]) or receiver.port)
    if found is None or not host or (at and not place) or not 1 <= port <= 65_535:
        raise SettingError(
            f"{brief(spec)}: say where it is: {name}@HOST or {name}@HOST:PORT, such as {name}@192.168.1.50"
        )
    return receiver.open(check_host(host, brief(spec)), port, stream)
