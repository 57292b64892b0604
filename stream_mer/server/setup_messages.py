"""The part of ``mer.v1`` with which operators set up a running server: streams, inputs, outputs, settings file."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stream_mer.event_json import Decibels, Message

Id: TypeAlias = str | int | float | None
RequestId: TypeAlias = Annotated[Id, Meta(description="Chosen by the client; comes back in `result`.")]

SetupAction: TypeAlias = Literal[
    "get",
    "inputs",
    "watch_inputs",
    "apply",
    "add_output",
    "remove_output",
    "test_output",
    "preview",
    "save",
    "undo",
]

InputKind: TypeAlias = Literal["mic", "monitor", "demo", "remote", "file", "address", "stdin"]
LyricsChoice: TypeAlias = Literal["recognise", "off"]

RANGES: dict[str, tuple[float, float]] = {
    "gain_db": (-60, 60),
    "hop_s": (0.1, 2),
    "attack_s": (0, 60),
    "release_s": (0, 60),
    "dwell_s": (0, 600),
    "hysteresis": (0, 1),
    "min_confidence": (0, 1),
}
"""Lowest and highest value of each number that can be changed."""

MAX_WATCH_S = 60.0
"""Longest time of one ``watch_inputs``, seconds."""

Text: TypeAlias = Annotated[str, Meta(max_length=2000)]
ShortText: TypeAlias = Annotated[str, Meta(max_length=200)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Language: TypeAlias = Annotated[str, Meta(max_length=16, description="ISO 639-1 code.")]


class SetupChanges(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a stream. What is left out stays, but a new source resets channels, gain and track."""

    source: Annotated[Text | UnsetType, Meta(description="As on the command line: `demo`, `mic:NAME`, a file, ...")] = (
        UNSET
    )
    channels: Annotated[
        ShortText | UnsetType | None, Meta(description="Channels of a device, such as `3,4`; null for the first two.")
    ] = UNSET
    gain_db: Annotated[float, Meta(ge=-60, le=60)] | UnsetType | None = UNSET
    track: Annotated[
        ShortText | UnsetType | None, Meta(description="Audio track of a file or an address; null for the best one.")
    ] = UNSET
    loop: Annotated[bool | UnsetType, Meta(description="Start a file again at its end.")] = UNSET
    lyrics: LyricsChoice | UnsetType = UNSET
    languages: Annotated[
        Annotated[tuple[Language, ...], Meta(max_length=20)] | UnsetType,
        Meta(description="Languages that are sung; empty to detect them."),
    ] = UNSET
    hop_s: Annotated[float, Meta(ge=0.1, le=2)] | UnsetType = UNSET
    attack_s: Annotated[float, Meta(ge=0, le=60)] | UnsetType = UNSET
    release_s: Annotated[float, Meta(ge=0, le=60)] | UnsetType = UNSET
    dwell_s: Annotated[float, Meta(ge=0, le=600)] | UnsetType = UNSET
    hysteresis: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    min_confidence: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    spread: Annotated[bool | UnsetType, Meta(description="Outputs: map values to the range of listeners' ratings.")] = (
        UNSET
    )


class SetupOutput(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An output: its kind and place to add it, its `id` to remove or test it."""

    id: ShortText | None = None
    kind: ShortText | None = None
    spec: Annotated[Text | None, Meta(description="As on the command line, such as `resolume@192.168.1.5`.")] = None
    stream: Annotated[ShortText | None, Meta(description="The stream that it follows; null for the first one.")] = None


class Setup(Message, tag="setup", kw_only=True, frozen=True):
    """An operator reads or changes the set-up of the server; see docs/SETUP.md. The answer is a `result`."""

    id: RequestId = None
    action: Annotated[
        SetupAction,
        Meta(
            description="`get`: the state, and every later change of it. `inputs`: what can be listened to. "
            "`watch_inputs`: the level of each input for some seconds. `apply`: change a stream. `add_output`, "
            "`remove_output`, `test_output`. `preview`, `save`: the settings file. `undo`: the last change."
        ),
    ]
    stream: Annotated[ShortText | None, Meta(description="For `apply`; null for the only stream.")] = None
    changes: Annotated[SetupChanges | None, Meta(description="For `apply`.")] = None
    output: Annotated[SetupOutput | None, Meta(description="For the actions on outputs.")] = None
    seconds: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_WATCH_S)], Meta(description="For `watch_inputs`; 0 ends it.")
    ] = 30.0


class StreamSetupPart(Struct, kw_only=True, frozen=True):
    """The settings of one stream."""

    name: str
    source: Annotated[str, Meta(description="As on the command line, with secrets as `***`.")]
    kind: InputKind
    device: Annotated[str, Meta(description="Name of the device, file or address.")]
    channels: str | None
    gain_db: float | None
    track: str | None
    loop: bool
    lyrics: Literal["recognise", "off", "known"]
    languages: tuple[str, ...]
    hop_s: float
    attack_s: float
    release_s: float
    dwell_s: float
    hysteresis: float
    min_confidence: float
    spread: bool


class OutputKindPart(Struct, kw_only=True, frozen=True):
    """A kind of output that can be added."""

    kind: str
    title: str
    presets: tuple[str, ...]
    hint: Annotated[str, Meta(description="How `spec` is written.")]


class OutputPart(Struct, kw_only=True, frozen=True):
    """An output and its health."""

    id: str
    kind: str
    spec: str
    name: str
    stream: str | None
    up: Annotated[bool, Meta(description="Whether the newest packets could be sent.")]
    sent: Annotated[Count, Meta(description="Packets sent.")]
    refused: Annotated[Count, Meta(description="How often sending or connecting failed.")]
    skipped: Annotated[Count, Meta(description="Packets left out because the receiver was slow.")]
    last_error: str | None
    testing: bool = False


class SetupStatePart(Struct, kw_only=True, frozen=True):
    """The set-up of the server."""

    can_save: Annotated[bool, Meta(description="Whether there is a settings file to write.")]
    path: Annotated[str | None, Meta(description="The settings file; null where none is used.")]
    dirty: Annotated[bool, Meta(description="Whether something was changed and not saved.")]
    can_undo: bool
    streams: tuple[StreamSetupPart, ...]
    ranges: dict[str, tuple[float, float]]
    languages: Annotated[tuple[str, ...], Meta(description="Codes of the languages that the recogniser knows.")]
    output_kinds: tuple[OutputKindPart, ...]
    outputs: tuple[OutputPart, ...]
    addresses: Annotated[tuple[str, ...], Meta(description="Where other devices reach the page; empty if they cannot.")]
    qr_svg: Annotated[str | None, Meta(description="The first address as a QR code.")]
    first_start: Annotated[bool, Meta(description="Whether nothing has been set up yet.")]


class InputPart(Struct, kw_only=True, frozen=True):
    """Something that a stream can listen to."""

    source: Annotated[str, Meta(description="For `changes.source`.")]
    name: str
    kind: InputKind
    channels: int | None = None
    default: bool = False
    in_use: Annotated[bool, Meta(description="Whether a stream listens to it now.")] = False


class InputLevelPart(Struct, kw_only=True, frozen=True):
    """The level of an input."""

    source: str
    rms_db: Decibels | None
    peak_db: Decibels | None
    error: Annotated[str | None, Meta(description="Why there is no level.")] = None


class PreviewPart(Struct, kw_only=True, frozen=True):
    """What saving would change in the settings file."""

    path: str
    diff: Annotated[str, Meta(description="Lines behind `- ` go, lines behind `+ ` come; empty if nothing changes.")]
    notes: Annotated[tuple[str, ...], Meta(description="What the file cannot hold, or what overrides it.")] = ()


class SetupPart(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The answer to a `setup`."""

    state: SetupStatePart | None = None
    inputs: tuple[InputPart, ...] | None = None
    note: Annotated[str | None, Meta(description="Why sound inputs are missing.")] = None
    preview: PreviewPart | None = None


class SetupUpdate(Message, tag="setup.update", kw_only=True, frozen=True, omit_defaults=True):
    """What changed in the set-up; to operators who asked for it.

    The whole state after every change; the outputs alone while their counts change; levels while they are watched.
    """

    state: SetupStatePart | None = None
    outputs: tuple[OutputPart, ...] | None = None
    levels: tuple[InputLevelPart, ...] | None = field(default=None)
