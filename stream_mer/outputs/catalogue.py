"""The kinds of outputs, and how each is made of one line of text. Loads a kind's modules only when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stream_mer.errors import SettingError, did_you_mean
from stream_mer.outputs.runner import ShowOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputKind:
    """One kind of output.

    Attributes:
        kind: Its name, which is also that of its option.
        title: Its name for people.
        hint: How the text of ``open`` is written.
        presets: Returns the names of the presets.
        open: Returns an output for a text and the name of a stream.

    Raises:
        SettingError: By ``open``: the text is not valid, or a package is missing.
    """

    kind: str
    title: str
    hint: str
    presets: Callable[[], Sequence[str]]
    open: Callable[[str, str], ShowOutput]


def open_output(kind: str, spec: str, stream: str) -> ShowOutput:
    """Make an output of one line.

    Args:
        kind: One of ``OUTPUT_KINDS``.
        spec: Where it sends, such as ``resolume@192.168.1.5``; as its option takes it.
        stream: The stream that it follows.

    Raises:
        SettingError: There is no such kind, the text is not valid, or a package is missing.
    """
    if kind not in OUTPUT_KINDS:
        raise SettingError(f"no output is called {kind[:80]!r}{did_you_mean(kind, OUTPUT_KINDS)}")
    return OUTPUT_KINDS[kind].open(spec, stream)


def _open_osc(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.osc.targets import find_other, open_other  # noqa: PLC0415 - only where it is used

    other = find_other(spec)
    if other is not None:
        return open_other(other, spec, stream=stream)
    from stream_mer.outputs.osc.output import OscOutput  # noqa: PLC0415 - as above, and python-osc may be missing
    from stream_mer.outputs.osc.targets import find_target  # noqa: PLC0415 - as above

    return OscOutput(find_target(spec), stream=stream)


def _osc_presets() -> Sequence[str]:
    from stream_mer.outputs.osc.targets import OTHER_RECEIVERS, PRESETS  # noqa: PLC0415 - as above

    return (*PRESETS, *OTHER_RECEIVERS)


def _open_sacn(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.dmx.output import open_sacn  # noqa: PLC0415 - as above

    return open_sacn(spec, stream)


def _open_artnet(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.dmx.output import open_artnet  # noqa: PLC0415 - as above

    return open_artnet(spec, stream)


def _rigs() -> Sequence[str]:
    from stream_mer.outputs.dmx.rig import LOOKS  # noqa: PLC0415 - as above

    return LOOKS


def _open_midi(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.midi import open_midi  # noqa: PLC0415 - as above

    return open_midi(spec, stream)


def _midi_presets() -> Sequence[str]:
    from stream_mer.outputs.midi import PRESETS  # noqa: PLC0415 - as above

    return tuple(PRESETS)


def _open_mqtt(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.mqtt import open_mqtt  # noqa: PLC0415 - as above

    return open_mqtt(spec, stream)


OUTPUT_KINDS: Mapping[str, OutputKind] = {
    kind.kind: kind
    for kind in (
        OutputKind(
            kind="osc",
            title="OSC",
            hint="PRESET@HOST:PORT, HOST:PORT or FILE.toml",
            presets=_osc_presets,
            open=_open_osc,
        ),
        OutputKind(
            kind="sacn", title="sACN (E1.31)", hint="RIG, or RIG@HOST for unicast", presets=_rigs, open=_open_sacn
        ),
        OutputKind(
            kind="artnet",
            title="Art-Net",
            hint="RIG@HOST, such as mood@2.255.255.255",
            presets=_rigs,
            open=_open_artnet,
        ),
        OutputKind(
            kind="midi",
            title="MIDI",
            hint="PRESET or FILE.toml for a virtual port, PRESET@PORT#CHANNEL for another",
            presets=_midi_presets,
            open=_open_midi,
        ),
        OutputKind(
            kind="mqtt",
            title="MQTT",
            hint="mqtt://USER:PASSWORD@HOST/PREFIX, or mqtts:// for TLS",
            presets=tuple,
            open=_open_mqtt,
        ),
    )
}
"""All kinds, by name."""
