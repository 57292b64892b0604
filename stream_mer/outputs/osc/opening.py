"""From what a person typed to a receiver: ``[PRESET][@PLACE]``, a mapping file, or a place alone."""

from __future__ import annotations

import os
from pathlib import Path

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.osc.neighbours import NEIGHBOURS
from stream_mer.outputs.osc.presets import PRESETS
from stream_mer.outputs.osc.tables import read_target
from stream_mer.outputs.osc.target import OscTarget


def find_target(spec: str) -> OscTarget:
    """Return the receiver that is meant.

    Args:
        spec: ``eos``, ``eos@192.168.1.5``, ``generic@tcp://desk:3032/prefix``, ``mapping.toml``,
            ``mapping.toml@192.168.1.5`` or ``192.168.1.5:9000``.

    Raises:
        SettingError: There is no such preset or file, or the place is none.
    """
    if os.path.isfile(spec):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return read_target(Path(spec))
    what, at, place = spec.rpartition("@")
    if not at:
        what, place = spec, ""
    if what.endswith(".toml"):
        target = read_target(Path(what))
    elif what in PRESETS:
        target = PRESETS[what].target
    elif not at and any(sign in spec for sign in ":."):
        target, at, place = PRESETS["generic"].target, "@", spec
    else:
        raise SettingError(f"no OSC preset is called {brief(repr(what))}{did_you_mean(what, [*PRESETS, *NEIGHBOURS])}")
    return target.at(place) if at else target
