"""What well-known receivers of OSC understand, and where they listen. Pure.

Nothing here takes over what an operator already uses: each preset writes where a show has room to be mapped (dashboard
links, submasters and executors of high numbers), and a mapping file says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_mer.outputs.osc.addresses import FIELDS, NUMBERS, PERCENT, UNIT, OscField, OscMapping, Scale
from stream_mer.outputs.osc.target import OscTarget
from stream_mer.types import CATEGORIES


@dataclass(frozen=True, slots=True, kw_only=True)
class OscPreset:
    """A receiver that is known.

    Attributes:
        target: Where it listens by default, and what it gets.
        about: What the preset is for.
        setup: What to do at the receiver.
    """

    target: OscTarget
    about: str
    setup: str


_TOUCHDESIGNER = OscPreset(
    target=OscTarget(
        name="touchdesigner",
        port=7000,
        # A channel stays as it is until something else comes: what fires must go back to 0.
        mapping=OscMapping(
            fields=tuple(OscField(name=name, release=FIELDS[name].kind == "trigger") for name in NUMBERS),
            strings=False,
        ),
    ),
    about="TouchDesigner, OSC In CHOP: every number as a channel; no texts, which the CHOP would warn of.",
    setup="OSC In CHOP: Network Port 7000. An OSC In DAT takes texts, too: use the preset generic for it.",
)

_LINKS = (*CATEGORIES, "onset", "blackout")

_RESOLUME = OscPreset(
    target=OscTarget(
        name="resolume",
        port=7000,
        mapping=OscMapping(
            fields=tuple(
                OscField(name=name, address=f"/composition/dashboard/link{number}", scale=UNIT)
                for number, name in enumerate(("valence", "arousal", *_LINKS), 1)
            ),
            strings=False,
        ),
    ),
    about="Resolume Arena and Avenue: the eight dashboard links of the composition, each 0-1.",
    setup="Preferences > OSC: OSC Input on, port 7000. Then link any parameter to a dashboard link.",
)


def _faders(address: str, *, first: int, scale: Scale) -> tuple[OscField, ...]:
    """What is of use on faders, on faders in a row; ``{}`` of the address is the number of each."""
    names = (*CATEGORIES, "valence", "arousal")
    return tuple(
        OscField(name=name, address=address.format(number), scale=scale) for number, name in enumerate(names, first)
    )


_EOS = OscPreset(
    target=OscTarget(
        name="eos",
        port=3032,
        transport="tcp",
        rate_hz=20.0,
        mapping=OscMapping(fields=_faders("/eos/sub/{}", first=101, scale=UNIT), strings=False, step=0.004, light=True),
    ),
    about="ETC Eos family: a look for each category on submasters 101-104, valence and arousal on 105 and 106.",
    setup="Setup > System > Show Control > OSC: OSC RX on, TCP mode OSC 1.0; record the looks into the submasters. "
    "From version 3.1 on the port for others is 3037: eos@HOST:3037. With OSC 1.1: eos@slip://HOST.",
)

_GRANDMA3 = OscPreset(
    target=OscTarget(
        name="grandma3",
        port=8000,
        rate_hz=20.0,
        mapping=OscMapping(
            fields=_faders("/Page1/Fader{}", first=201, scale=PERCENT), strings=False, step=0.004, light=True
        ),
    ),
    about="MA Lighting grandMA3: a look for each category on the faders of executors 201-204 of page 1, valence "
    "and arousal on 205 and 206, each 0-100; never a bundle, which the desk does not take.",
    setup="Menu > In & Out > OSC: Enable Input, a line with port 8000 and Receive on. Where it has a prefix, "
    "give that too: grandma3@HOST:8000/gma3.",
)

_QLCPLUS = OscPreset(
    target=OscTarget(
        name="qlcplus",
        port=7700,
        mapping=OscMapping(
            fields=tuple(
                OscField(name=name, scale=UNIT, release=name == "change")
                for name in (
                    "valence",
                    "arousal",
                    *CATEGORIES,
                    "confidence",
                    "rms",
                    "onset",
                    "blackout",
                    "alive",
                    "change",
                )
            ),
            strings=False,
            step=0.002,
        ),
    ),
    about="QLC+: inputs 0-1 of universe 1, for sliders and buttons of the virtual console.",
    setup="Inputs/Outputs: tick Input of the plugin OSC for universe 1 (port 7700; universe 2 is 7701 and so on). "
    "Then Auto Detect at a widget while `stream-mer osc qlcplus --test` moves one address after another.",
)

_GENERIC = OscPreset(
    target=OscTarget(
        name="generic", port=9000, mapping=OscMapping(fields=tuple(OscField(name=name) for name in FIELDS))
    ),
    about="Anything that takes OSC: every number and text under /mer/STREAM/.",
    setup="Listen on UDP port 9000, or name another: generic@HOST:PORT, or HOST:PORT alone.",
)

PRESETS: Mapping[str, OscPreset] = {
    preset.target.name: preset for preset in (_GENERIC, _TOUCHDESIGNER, _RESOLUME, _EOS, _GRANDMA3, _QLCPLUS)
}
"""All of them, by name."""
