"""OSC mappings: the fields, their addresses and the numbers they become. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN

Argument: TypeAlias = int | float | str
"""The one argument of a message."""

FieldKind: TypeAlias = Literal["signed", "share", "level", "flag", "choice", "text", "trigger"]

ADDRESS = "/mer/{stream}/{field}"
"""Default address of a field."""

LEVEL_FLOOR_DB = -60.0
"""Levels of this and less are 0; full scale is 1."""

CATEGORY_CHOICES = (UNKNOWN, *CATEGORIES)
"""``category`` is sent as the index of the category in these."""

HOLD_CHOICES = ("none", "freeze", "blackout", "override")
"""``hold`` is sent as the index of the operator's override in these."""

SLEW_PER_S = 2.0
"""Default slew limit of valence, arousal and probabilities: shares of their range in a second."""

MAX_ADDRESS, MAX_FIELDS = 256, 512
"""Limits of an address, characters, and of one mapping, fields; an address must fit a datagram."""

MAX_TEXT = 512
"""Longer texts are cut, characters: a message always fits a datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSource:
    """Where the value of a field comes from.

    Attributes:
        kind: ``signed`` (-1..1), ``share`` (0..1), ``level`` (from dBFS), ``flag`` (0 or 1), ``choice`` (an index),
            ``text``, or ``trigger`` (sent only when something happens).
        about: Description, for the documentation.
        read: Returns the share of its range, 0..1; for a choice the index, for a text the text, for a trigger a
            number that grows when it fires.
        neutral: The value that it fades to when audio or model are gone, in the same unit.
    """

    kind: FieldKind
    about: str
    read: Callable[[ShowValues], Argument]
    neutral: Argument = 0.0

    @property
    def slew_per_s(self) -> float:
        """Default slew limit; levels have none."""
        return SLEW_PER_S if self.kind in {"signed", "share"} else math.inf


def _prob(name: str) -> FieldSource:
    about = f"probability of the category {name}"
    return FieldSource(kind="share", about=about, read=lambda values: values.probs[name], neutral=1 / len(CATEGORIES))


def _cluster(name: str) -> FieldSource:
    about = f"probability of the MIREX cluster {name}"
    return FieldSource(kind="share", about=about, read=lambda values: values.clusters[name], neutral=1 / len(CLUSTERS))


def _signed(about: str, read: Callable[[ShowValues], float]) -> FieldSource:
    return FieldSource(kind="signed", about=about, read=lambda values: (read(values) + 1) / 2, neutral=0.5)


def _level(about: str, read: Callable[[ShowValues], float]) -> FieldSource:
    return FieldSource(kind="level", about=about, read=lambda values: 1.0 - read(values) / LEVEL_FLOOR_DB)


def _flag(about: str, read: Callable[[ShowValues], bool]) -> FieldSource:
    return FieldSource(kind="flag", about=about, read=lambda values: float(read(values)))


def _entry(name: str) -> FieldSource:
    about = f"sent whenever the category becomes {name}"
    return FieldSource(kind="trigger", about=about, read=lambda values: float(values.cue_category == name))


def _choices(names: tuple[str, ...]) -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(names))


FIELDS: Mapping[str, FieldSource] = {
    "valence": _signed("valence: unpleasant to pleasant", lambda values: values.valence),
    "arousal": _signed("arousal: calm to excited", lambda values: values.arousal),
    **{name: _prob(name) for name in CATEGORIES},
    "confidence": FieldSource(
        kind="share",
        about="probability of the category, or of the likeliest one where it is unknown",
        read=lambda values: values.confidence,
    ),
    **{name: _cluster(name) for name in CLUSTERS},
    "rms": _level(
        f"level of the input: 0 is {LEVEL_FLOOR_DB:g} dBFS and below, 1 full scale", lambda values: values.rms_db
    ),
    "peak": _level("largest sample since the last message, likewise", lambda values: values.peak_db),
    "onset": FieldSource(
        kind="level", about="strongest onset since the last message", read=lambda values: values.onset
    ),
    "category": FieldSource(
        kind="choice",
        about=f"index of the category: {_choices(CATEGORY_CHOICES)}",
        read=lambda values: CATEGORY_CHOICES.index(values.category),
        neutral=0,
    ),
    "category_name": FieldSource(
        kind="text", about="the category's name", read=lambda values: values.category, neutral=UNKNOWN
    ),
    "line": FieldSource(kind="text", about="the newest sung line", read=lambda values: values.line, neutral=""),
    "hold": FieldSource(
        kind="choice",
        about=f"what an operator did: {_choices(HOLD_CHOICES)}",
        read=lambda values: HOLD_CHOICES.index(values.hold or "none"),
    ),
    "hold_name": FieldSource(
        kind="text", about="what an operator did, as a word", read=lambda values: values.hold or "none", neutral="none"
    ),
    "blackout": _flag("1 while an operator wants it dark", lambda values: values.hold == "blackout"),
    "alive": _flag("0 while audio or model are gone", lambda values: values.alive),
    "change": FieldSource(
        kind="trigger", about="sent whenever the category changes", read=lambda values: values.changes
    ),
    **{f"to_{name}": _entry(name) for name in CATEGORY_CHOICES},
}
"""Everything that can be sent, by name, in the order in which it is sent."""

NUMBERS = tuple(name for name, source in FIELDS.items() if source.kind != "text")
"""All fields except texts."""

LEVELS = frozenset({"rms", "peak", "onset"})
"""Fields that need the levels of the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The range of numbers that a receiver expects.

    Attributes:
        low: Sent for the low end of a value's range.
        high: Sent for its high end, above ``low``.
        whole: Send integers.
    """

    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SettingError(f"a scale begins below its end, not {self.low:g}..{self.high:g}")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise SettingError(f"a scale of integers has whole ends, not {self.low:g}..{self.high:g}")

    def number(self, share: float) -> int | float:
        """Return the number for a share (0..1) of the range."""
        number = self.low + (self.high - self.low) * share
        return round(number) if self.whole else number

    def __str__(self) -> str:
        return ("int " if self.whole else "") + f"{self.low:g}..{self.high:g}"


UNIT = Scale(low=0.0, high=1.0)
SIGNED = Scale(low=-1.0, high=1.0)
PERCENT = Scale(low=0.0, high=100.0)

_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_SCALE = re.compile(rf"(?P<int>int)?\s*(?:(?P<low>{_NUMBER})\s*(?:\.\.|-)\s*(?P<high>{_NUMBER}))?")


def parse_scale(text: str) -> Scale:
    """Parse a scale such as ``0-1``, ``0-100``, ``-1..1``, ``int`` (0..127) or ``int 0-255``.

    Raises:
        SettingError: The text is not a scale.
    """
    found = _SCALE.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise SettingError(
            f'a scale is "0-1", "0-100", "-1..1", "int", "int 0-255" or the like, not {brief(repr(text))}'
        )
    low, high = float(found["low"] or 0), float(found["high"] or 127)
    return Scale(low=low, high=high, whole=found["int"] is not None)


_RESERVED = re.compile(r"[^!-~]|[#*,?\[\]{}]")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")


def address_part(name: str) -> str:
    """Return a stream's name as part of an address: all but letters, digits, ``.``, ``_`` and ``-`` becomes ``_``."""
    return _NOT_IN_A_NAME.sub("_", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OscField:
    """One value and its address.

    Attributes:
        name: One of ``FIELDS``.
        address: An OSC address; ``{stream}`` and ``{field}`` are replaced by the names.
        scale: The range that is sent; None for -1..1 of valence and arousal and 0..1 of all else. Choices are always
            sent as their index, and texts unchanged.
        slew_per_s: Slew limit, shares of the range in a second, above 0; None for the field's default.
        release: Of a trigger: send 0 after the 1, for receivers that hold a button down until then.
    """

    name: str
    address: str = ADDRESS
    scale: Scale | None = None
    slew_per_s: float | None = None
    release: bool = False

    def __post_init__(self) -> None:
        if self.name not in FIELDS:
            raise SettingError(f"no OSC field is called {self.name!r}{did_you_mean(self.name, FIELDS)}")
        bare = self.address.replace("{stream}", "").replace("{field}", "")
        if len(self.address) > MAX_ADDRESS:
            raise SettingError(
                f"the OSC address of {self.name} has {len(self.address)} characters: {MAX_ADDRESS} at most"
            )
        if not self.address.startswith("/") or _RESERVED.search(bare):
            raise SettingError(
                f"the OSC address {self.address!r} of {self.name} must begin with / and hold neither spaces nor any of "
                "#*,?[]{} but for {stream} and {field}"
            )
        kind = self.source.kind
        if self.slew_per_s is not None and kind not in {"signed", "share", "level"}:
            raise SettingError(f"{self.name} does not move gradually: slew_per_s is not for it")
        if self.scale is not None and kind in {"choice", "text"}:
            raise SettingError(f"{self.name} is sent as it is: scale is not for it")
        if self.release and kind != "trigger":
            raise SettingError(f"{self.name} is no trigger: release is not for it")

    @property
    def source(self) -> FieldSource:
        return FIELDS[self.name]

    @property
    def sent_scale(self) -> Scale:
        """The scale, or the field's default."""
        return self.scale or (SIGNED if self.source.kind == "signed" else UNIT)

    @property
    def values(self) -> str:
        """Description of the values that are sent."""
        match self.source.kind:
            case "choice":
                return "int"
            case "text":
                return "text"
            case "flag":
                return f"{self.sent_scale.number(0.0):g} or {self.sent_scale.number(1.0):g}"
            case "trigger":
                ends = f", then {self.sent_scale.number(0.0):g}" if self.release else ""
                return f"{self.sent_scale.number(1.0):g}{ends}"
        return str(self.sent_scale)

    def address_of(self, stream: str) -> str:
        """Return the address for a stream."""
        return self.address.replace("{stream}", address_part(stream)).replace("{field}", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OscMapping:
    """Everything that one receiver gets.

    Attributes:
        fields: The fields that are sent; every address once.
        strings: Send texts; without it, text fields are skipped.
        step: Smallest change that is sent immediately, as a share of the range, 0..0.1; smaller changes wait for
            the refresh once a second.
        light: The receiver's faders control light: the flash limit applies, and all go to 0 in a blackout.
        hold_s: How long the last values stay when audio or model are gone, 0 or more.
        fade_s: How long they then take to fade to neutral, above 0.
    """

    fields: tuple[OscField, ...]
    strings: bool = True
    step: float = 0.001
    light: bool = False
    hold_s: float = 10.0
    fade_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.sent:
            raise SettingError("an OSC mapping sends at least one field; give it some under [fields]")
        if len(self.fields) > MAX_FIELDS:
            raise SettingError(f"an OSC mapping has at most {MAX_FIELDS} fields, not {len(self.fields)}")
        taken: dict[str, str] = {}
        for field in self.sent:
            other = taken.setdefault(field.address_of("stream"), field.name)
            if other != field.name:
                raise SettingError(f"{other} and {field.name} are both sent to {field.address}; give each its own")

    @property
    def sent(self) -> tuple[OscField, ...]:
        """The fields that are sent, without texts if ``strings`` is off."""
        return tuple(field for field in self.fields if self.strings or field.source.kind != "text")

    def under(self, prefix: str) -> OscMapping:
        """Return the mapping with a prefix before every address, such as ``/gma3``; empty for none.

        Raises:
            SettingError: The prefix cannot be part of an address.
        """
        fields = tuple(replace(field, address=prefix + field.address) for field in self.fields)
        return replace(self, fields=fields) if prefix else self

    @property
    def wants_levels(self) -> bool:
        """Whether it needs the levels of the input."""
        return any(field.name in LEVELS for field in self.sent)
