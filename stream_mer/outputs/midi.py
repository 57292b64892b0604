"""MIDI output: values as control changes, and a note for each change. The only import of mido and python-rtmidi.

A control change is an ``OscField`` with the address ``/cc/NUMBER``, a note one with ``/note/NUMBER``: what is sent
when, and the limits of safety, are those of OSC.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.osc.composer import OscComposer, OscMessage
from stream_mer.outputs.osc.mapping import FIELDS, OscField, OscMapping, Scale
from stream_mer.outputs.runner import MAX_RATE_HZ
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES
from stream_mer.utils.toml_file import read_toml, validated

CLIENT = "stream_mer"
"""Name of this program among the programs for MIDI, and of its virtual port."""

VIRTUAL = "virtual"
"""Stands for a virtual port where the name of a port is expected; ``virtual:NAME`` gives it a name."""

REFRESH_S = 10.0
"""Everything is sent again after this time, for receivers that came late. MIDI loses nothing on its way."""

PORT_CHECK_S = 2.0
"""How often the port is looked for: sending to a device that was pulled out raises no error."""

FULL = Scale(low=0, high=127, whole=True)

Channel: TypeAlias = Annotated[int, Meta(ge=1, le=16)]
Byte: TypeAlias = Annotated[int, Meta(ge=0, le=127)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiTarget:
    """One receiver.

    Attributes:
        name: Name of the preset or mapping file.
        port: Part of the port's name, or ``virtual[:NAME]``.
        channel: 1..16.
        rate_hz: How often changes are looked for, above 0 and at most ``MAX_RATE_HZ``.
        mapping: The fields that it gets. Addresses are ``/cc/NUMBER`` or ``/note/NUMBER``.
    """

    name: str
    port: str = VIRTUAL
    channel: int = 1
    rate_hz: float = 30.0
    mapping: OscMapping

    def __post_init__(self) -> None:
        if not 1 <= self.channel <= 16:
            raise SettingError(f"a MIDI channel is 1 to 16, not {self.channel}")
        if self.is_virtual and sys.platform == "win32":
            raise SettingError(
                f"Windows has no virtual MIDI ports: make one with loopMIDI and name it: {self.name}@loopMIDI"
            )

    @property
    def is_virtual(self) -> bool:
        return self.port == VIRTUAL or self.port.startswith(VIRTUAL + ":")

    @property
    def virtual_name(self) -> str:
        """Name of the virtual port."""
        return self.port.partition(":")[2] or CLIENT

    @property
    def place(self) -> str:
        """The port and the channel, for people."""
        port = f"virtual port {self.virtual_name}" if self.is_virtual else self.port
        return f"{port}, channel {self.channel}"

    @staticmethod
    def sent(field: OscField) -> str:
        """Return what a field is sent as, such as ``control change 20``."""
        kind, number = _address(field.address)
        return f"{kind} {number}"


_SPEC = re.compile(r"(?P<what>.*\.toml|.*?)(?:@(?P<port>.+?))?(?:#(?P<channel>\d{1,3}))?", re.DOTALL)


def find_midi(spec: str) -> MidiTarget:
    """Return the receiver that a user means.

    Args:
        spec: ``PRESET`` or ``FILE.toml``, then perhaps ``@PORT``, then perhaps ``#CHANNEL``: ``generic``,
            ``generic@IAC Driver``, ``light@virtual:to QLC#3``, ``show.toml#2``.

    Raises:
        SettingError: There is no such preset or file, or the channel is out of range.
    """
    if os.path.isfile(spec):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return read_toml(Path(spec), target_of)
    found = _SPEC.fullmatch(spec)
    assert found is not None  # noqa: S101 - it matches every text
    what = found["what"]
    if what.endswith(".toml"):
        target = read_toml(Path(what), target_of)
    elif what in PRESETS:
        target = PRESETS[what].target
    else:
        raise SettingError(
            f"no MIDI preset is called {brief(repr(what))}{did_you_mean(what, PRESETS)}; a port stands behind it: "
            "generic@PORT"
        )
    return replace(target, port=found["port"] or target.port, channel=int(found["channel"] or target.channel))


class _MappingFile(msgspec.Struct, kw_only=True):
    """A mapping file; the preset gives what the file leaves out."""

    preset: str = "generic"
    port: Annotated[str, Meta(min_length=1)] | None = None
    channel: Channel | None = None
    rate_hz: Annotated[float, Meta(gt=0, le=MAX_RATE_HZ)] | None = None
    light: bool | None = None
    hold_s: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    fade_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    controls: dict[str, Any] | None = None
    notes: dict[str, Any] | None = None


class _Control(msgspec.Struct, kw_only=True):
    """One line under ``[controls]``."""

    number: Byte
    range: tuple[Byte, Byte] = (0, 127)
    slew_per_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None


class _Note(msgspec.Struct, kw_only=True):
    """One line under ``[notes]``."""

    number: Byte
    velocity: Annotated[int, Meta(ge=1, le=127)] = 127


def target_of(table: Mapping[str, Any], name: str) -> MidiTarget:
    """Make a receiver of a mapping file.

    Args:
        table: The file.
        name: Name of the receiver.

    Raises:
        SettingError: A key is unknown, or a value is not valid.
    """
    file = validated(table, _MappingFile)
    if file.preset not in PRESETS:
        raise SettingError(f"no MIDI preset is called {brief(repr(file.preset))}{did_you_mean(file.preset, PRESETS)}")
    base = PRESETS[file.preset].target
    given = {key: value for key, value in msgspec.structs.asdict(file).items() if value is not None}
    of_mapping: dict[str, Any] = {key: given[key] for key in ("light", "hold_s", "fade_s") if key in given}
    if file.controls is not None or file.notes is not None:
        controls = (_control(key, value) for key, value in (file.controls or {}).items())
        notes = (_note(key, value) for key, value in (file.notes or {}).items())
        of_mapping["fields"] = (*controls, *notes)
    of_target = {key: given[key] for key in ("port", "channel", "rate_hz") if key in given}
    return replace(base, name=name, mapping=replace(base.mapping, **of_mapping), **of_target)


def _control(name: str, value: object) -> OscField:
    """Read one line under ``[controls]``: a number, or a table."""
    table = validated(_table("controls", name, value), _Control, where=f"controls.{name}")
    source = FIELDS[name]
    if source.kind == "text":
        raise SettingError(f"controls.{name}: MIDI has no texts")
    scale = None if source.kind == "choice" else _scale(f"controls.{name}.range", table.range)
    return OscField(
        name=name,
        address=_cc(table.number),
        scale=scale,
        slew_per_s=table.slew_per_s,
        release=source.kind == "trigger",
    )


def _note(name: str, value: object) -> OscField:
    """Read one line under ``[notes]``: a number, or a table."""
    table = validated(_table("notes", name, value), _Note, where=f"notes.{name}")
    if FIELDS[name].kind != "trigger":
        triggers = ", ".join(key for key, field in FIELDS.items() if field.kind == "trigger")
        raise SettingError(f"notes.{name}: a note is played when something happens: {triggers}")
    return _played(name, table.number, table.velocity)


def _table(section: str, name: str, value: object) -> dict[str, Any]:
    if name not in FIELDS:
        raise SettingError(f"no field is called {name!r}{did_you_mean(name, FIELDS)}")
    if isinstance(value, int) and not isinstance(value, bool):
        return {"number": value}
    if not isinstance(value, dict):
        raise SettingError(f"{section}.{name} is a number from 0 to 127, or a table such as {{ number = 20 }}")
    return value


def _scale(where: str, ends: tuple[int, int]) -> Scale:
    low, high = ends
    if low >= high:
        raise SettingError(f"{where} begins below its end, not {low}..{high}")
    return Scale(low=low, high=high, whole=True)


def _cc(number: int) -> str:
    return f"/cc/{number}"


def _played(name: str, number: int, velocity: int = 127) -> OscField:
    scale = Scale(low=0, high=velocity, whole=True)
    return OscField(name=name, address=f"/note/{number}", scale=scale, release=True)


def _address(address: str) -> tuple[str, int]:
    """Return what an address stands for, and its number."""
    _, kind, number = address.split("/")
    return {"cc": "control change", "note": "note"}[kind], int(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiPreset:
    """A mapping for a kind of receiver.

    Attributes:
        target: Its mapping.
        about: What the preset is for.
        setup: What to do at the receiver.
    """

    target: MidiTarget
    about: str
    setup: str


def _controls(numbers: Mapping[str, int]) -> Iterator[OscField]:
    for name, number in numbers.items():
        yield OscField(name=name, address=_cc(number), scale=FULL)


_NOTES = tuple(_played(f"to_{name}", number) for number, name in enumerate(CATEGORIES, 60))
_LEARN = "Let the program learn: `stream-mer midi {}@PORT --test` moves one after another while you assign them."

PRESETS: Mapping[str, MidiPreset] = {
    preset.target.name: preset
    for preset in (
        MidiPreset(
            target=MidiTarget(
                name="generic",
                mapping=OscMapping(
                    fields=(
                        # 20 to 31 mean nothing in the standard, so no receiver reacts to them unasked.
                        *_controls(
                            {
                                name: number
                                for number, name in enumerate(
                                    ("valence", "arousal", *CATEGORIES, "confidence", "rms", "peak", "onset"), 20
                                )
                            }
                        ),
                        *_controls({"blackout": 30, "alive": 31}),
                        *_NOTES,
                        _played("change", 64),
                    ),
                    strings=False,
                ),
            ),
            about="Anything with MIDI learn: values on control changes 20-31, notes 60-63 (C4 to D#4) for a change to "
            "happy, angry, sad or relaxed, and 64 (E4) for any change.",
            setup=_LEARN.format("generic"),
        ),
        MidiPreset(
            target=MidiTarget(
                name="synth",
                mapping=OscMapping(
                    fields=tuple(_controls({"arousal": 1, "valence": 74, "angry": 71, "confidence": 11})), strings=False
                ),
            ),
            about="Synthesisers, without notes: arousal on the modulation wheel (1), valence on brightness (74), angry "
            "on resonance (71), confidence on expression (11).",
            setup="Choose the channel of the instrument: synth@PORT#CHANNEL.",
        ),
        MidiPreset(
            target=MidiTarget(
                name="light",
                rate_hz=20.0,
                mapping=OscMapping(
                    fields=(
                        *_controls(
                            {name: number for number, name in enumerate((*CATEGORIES, "valence", "arousal"), 102)}
                        ),
                        *_NOTES,
                    ),
                    strings=False,
                    light=True,
                ),
            ),
            about="Lighting software: a look for each category on control changes 102-105, valence and arousal on 106 "
            "and 107, notes 60-63 for cues. All go to 0 in a blackout, and none flashes.",
            setup=_LEARN.format("light"),
        ),
    )
}
"""All presets, by name."""


def encode(message: OscMessage, channel: int) -> bytes:
    """Return the bytes of one message.

    Args:
        message: A control change or a note, as ``OscComposer`` makes it; a note of velocity 0 ends.
        channel: 1..16.
    """
    mido = _mido()
    kind, number = _address(message.address)
    value = int(message.argument)
    if kind == "control change":
        made = mido.Message("control_change", channel=channel - 1, control=number, value=value)
    else:
        made = mido.Message("note_on" if value else "note_off", channel=channel - 1, note=number, velocity=value)
    return bytes(made.bytes())


class MidiOutput:
    """Sends the values of a stream to one port; a ``ShowOutput``.

    Args:
        target: The receiver, with its mapping.
        stream: The stream.

    Raises:
        SettingError: A package is missing.
    """

    def __init__(self, target: MidiTarget, *, stream: str) -> None:
        _rtmidi(), _mido()
        self.name = f"midi {target.name} at {target.place}"
        self.stream = stream
        self.rate_hz = target.rate_hz
        self.wants_levels = target.mapping.wants_levels
        self.claims = frozenset(f"{target.sent(field)} at {target.place}" for field in target.mapping.sent)
        self._target = target
        self._composer = OscComposer(target.mapping, stream=stream, refresh_s=REFRESH_S)
        self._port: MidiPort | None = None
        self._held: dict[str, OscMessage] = {}

    def open(self) -> None:
        """Open the port; the receiver gets everything again.

        Raises:
            OSError: There is no such port, or no MIDI at all.
        """
        self._port = MidiPort(self._target)
        self._held = {}
        self._composer.reset()

    def send(self, t: float, values: ShowValues) -> int:
        """Send changed values and notes.

        Raises:
            OSError: The port is gone.
        """
        self._require().check(t)
        return self._send(self._composer.update(t, values))

    def finish(self) -> None:
        """End held notes, and send that the stream is no longer alive; all other values stay."""
        ended = [replace(message, argument=0) for message in self._held.values()]
        self._send([*ended, *self._composer.last_messages()])

    def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _require(self) -> MidiPort:
        if self._port is None:
            raise OSError("not open")
        return self._port

    def _send(self, messages: Iterable[OscMessage]) -> int:
        port, count = self._require(), 0
        for count, message in enumerate(messages, 1):  # noqa: B007 - the last one is the count
            port.send(encode(message, self._target.channel))
            if message.address.startswith("/note/"):
                self._held.pop(message.address, None)
                if message.argument:
                    self._held[message.address] = message
        return count


class MidiPort:
    """An open port: one that is there, or a virtual one that other programs connect to.

    Args:
        target: Names the port.

    Raises:
        OSError: There is no such port, or no MIDI at all.
    """

    def __init__(self, target: MidiTarget) -> None:
        self._client = _client()
        self._name: str | None = None
        self._checked_at: float | None = None
        try:
            if target.is_virtual:
                self._client.open_virtual_port(target.virtual_name)
            else:
                names = self._client.get_ports()
                self._name = choose_port(target.port, names)
                self._client.open_port(names.index(self._name), CLIENT)
        except BaseException:
            self.close()
            raise

    def check(self, t: float) -> None:
        """Look now and then whether the port is still there; ``t`` in seconds.

        Raises:
            OSError: It is gone.
        """
        if self._name is None or (self._checked_at is not None and t - self._checked_at < PORT_CHECK_S):
            return
        self._checked_at = t
        if self._name not in self._client.get_ports():
            raise OSError(f"the MIDI port {self._name!r} is gone")

    def send(self, message: bytes) -> None:
        self._client.send_message(message)

    def close(self) -> None:
        """Close the port; idempotent."""
        with contextlib.suppress(Exception):  # it may be gone
            self._client.close_port()
        with contextlib.suppress(Exception):
            self._client.delete()


_ALSA_NUMBERS = re.compile(r" \d+:\d+$")


def choose_port(wanted: str, names: Sequence[str]) -> str:
    """Return the name of the port that a user means.

    Args:
        wanted: Its name, or a part of it; case does not matter.
        names: The ports that are there.

    Raises:
        OSError: There is no such port.
    """
    key = wanted.casefold()
    whole = (name for name in names if key in {name.casefold(), _ALSA_NUMBERS.sub("", name).casefold()})
    part = (name for name in names if key in name.casefold())
    found = next(whole, None) or next(part, None)
    if found is None:
        there = ", ".join(map(repr, names)) or "none; without @PORT a virtual one is made"
        raise OSError(f"no MIDI port is called {wanted!r}; ports: {there}")
    return found


def list_ports() -> list[str]:
    """Return the names of the ports that can be sent to.

    Raises:
        SettingError: python-rtmidi is not installed.
        OSError: There is no MIDI on this machine.
    """
    client = _client()
    try:
        return [str(name) for name in client.get_ports()]
    finally:
        client.delete()


def _client() -> Any:
    """Return a client of the first MIDI system that works."""
    rtmidi = _rtmidi()
    for api in rtmidi.get_compiled_api():
        if sys.platform == "linux" and not _may_work(api, rtmidi):
            continue
        with contextlib.suppress(rtmidi.SystemError):
            return rtmidi.MidiOut(rtapi=api, name=CLIENT)
    hint = ": load the module snd-seq for ALSA, or start JACK or PipeWire" if sys.platform == "linux" else ""
    raise OSError(f"this machine has no MIDI{hint}")


def _may_work(api: int, rtmidi: Any) -> bool:
    """Return whether a system of MIDI may be there: the libraries of those that are not print errors at each try."""
    if api == rtmidi.API_LINUX_ALSA:
        return Path("/dev/snd/seq").exists()
    if api == rtmidi.API_UNIX_JACK:
        pipewire = Path(os.environ.get("XDG_RUNTIME_DIR", "/run"), "pipewire-0")
        return pipewire.exists() or any(Path("/dev/shm").glob("jack-[0-9]*"))  # noqa: S108 - where jackd has its state
    return True


_INSTALL = "MIDI needs mido and python-rtmidi: pip install 'stream-mer[midi]'"


def _rtmidi() -> Any:
    try:
        import rtmidi  # noqa: PLC0415 - an extra: who does without pays nothing
    except ImportError as error:
        raise SettingError(_INSTALL) from error
    return rtmidi


def _mido() -> Any:
    try:
        import mido  # noqa: PLC0415 - as above
    except ImportError as error:
        raise SettingError(_INSTALL) from error
    return mido


def open_midi(spec: str, stream: str) -> MidiOutput:
    """Make the output of ``--midi PRESET[@PORT][#CHANNEL]``.

    Raises:
        SettingError: There is no such preset or file, or a package is missing.
    """
    return MidiOutput(find_midi(spec), stream=stream)
