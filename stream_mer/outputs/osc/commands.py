"""What an operator may say over OSC, and what it means. Pure.

::

    /mer/control/freeze                              all streams
    /mer/control/blackout
    /mer/control/override  valence arousal [ttl_s]   -1..1 each; after ttl_s seconds they are live again
    /mer/control/resume
    /mer/STREAM/control/freeze                       one stream, and so on

A button says 1 when it is pressed and 0 when it is let go: the latter, a 0 or false alone, means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stream_mer.errors import did_you_mean
from stream_mer.outputs.osc.addresses import address_part
from stream_mer.types import MAX_SECONDS, ControlAction, ControlCommand, OverrideValues

ACTIONS: tuple[ControlAction, ...] = ("freeze", "blackout", "override", "resume")


class BadCommandError(ValueError):
    """A message that asks for nothing that there is."""


def command_of(address: str, arguments: Sequence[object], *, streams: Sequence[str]) -> ControlCommand | None:
    """Return what a message asks for; None for a button that is let go.

    Args:
        address: Of the message.
        arguments: Of the message.
        streams: Names of all streams.

    Raises:
        BadCommandError: It is no command, its arguments do not fit, or the stream is not there.
    """
    match address.split("/"):
        case ["", "mer", "control", action]:
            meant: tuple[str, ...] = ()
        case ["", "mer", stream, "control", action]:
            meant = tuple(name for name in streams if address_part(name) == stream)
            if not meant:
                raise BadCommandError(f"there is no stream {stream[:80]!r}; there is {', '.join(streams)[:200]}")
        case _:
            raise BadCommandError(f"{address[:80]!r} is no command; there is /mer/control/{{{','.join(ACTIONS)}}}")
    known = next((each for each in ACTIONS if each == action), None)
    if known is None:
        raise BadCommandError(f"no command is called {action[:80]!r}{did_you_mean(action[:80], ACTIONS)}")
    if known == "override":
        return ControlCommand(action=known, streams=meant, override=_override(arguments))
    if len(arguments) == 1 and arguments[0] in (0, False):
        return None
    return ControlCommand(action=known, streams=meant)


def _override(arguments: Sequence[object]) -> OverrideValues:
    numbers = [float(each) for each in arguments if isinstance(each, int | float) and math.isfinite(each)]
    if len(numbers) != len(arguments) or len(numbers) not in {2, 3}:
        raise BadCommandError("override takes valence, arousal and perhaps seconds: two or three numbers")
    valence, arousal, *ttl_s = numbers
    if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise BadCommandError(f"override takes valence and arousal from -1 to 1, not {valence:g} and {arousal:g}")
    if ttl_s and not ttl_s[0] > 0:
        raise BadCommandError(f"override lasts more than 0 seconds, not {ttl_s[0]:g}; leave them out for no end")
    if ttl_s and ttl_s[0] > MAX_SECONDS:
        raise BadCommandError(f"override lasts at most {MAX_SECONDS:g} seconds, not {ttl_s[0]:g}; leave them out")
    return OverrideValues(valence=valence, arousal=arousal, ttl_s=ttl_s[0] if ttl_s else None)
