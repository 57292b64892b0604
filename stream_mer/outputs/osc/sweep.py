"""Moves one address after another slowly, so that a desk can learn them. Pure: the time is given."""

from __future__ import annotations

from dataclasses import dataclass

from stream_mer.outputs.osc.addresses import CATEGORY_CHOICES, HOLD_CHOICES, Argument, OscField, OscMapping
from stream_mer.outputs.osc.composer import OscMessage

STEP_S = 4.0
"""How long each address moves."""

_TOP = 0.475
"""When a number is highest, as a share of its turn; it is back a little before the end."""

_CHOICES = {"category": CATEGORY_CHOICES, "hold": HOLD_CHOICES}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStep:
    """One moment of the sweep.

    Attributes:
        field: What moves now.
        message: What is sent; None for nothing new.
    """

    field: OscField
    message: OscMessage | None


class Sweep:
    """Goes through all that a receiver gets, again and again.

    Args:
        mapping: What it gets.
        stream: Name of the stream, for the addresses.
    """

    def __init__(self, mapping: OscMapping, *, stream: str) -> None:
        self._fields = mapping.sent
        self._stream = stream
        self._sent: tuple[int, Argument] | None = None

    @property
    def duration_s(self) -> float:
        """How long one round takes, seconds."""
        return STEP_S * len(self._fields)

    def feed(self, t: float) -> SweepStep:
        """Return what happens ``t`` seconds after the beginning."""
        turn = int(t // STEP_S)
        field = self._fields[turn % len(self._fields)]
        argument = _argument(field, t % STEP_S / STEP_S)
        if self._sent == (turn, argument):
            return SweepStep(field=field, message=None)
        self._sent = (turn, argument)
        return SweepStep(field=field, message=OscMessage(address=field.address_of(self._stream), argument=argument))


def _argument(field: OscField, share: float) -> Argument:
    """Return what a field is at a share of its turn: numbers rise and fall, and end where they began."""
    match field.source.kind:
        case "text":
            return "stream-mer test"
        case "choice":
            choices = _CHOICES[field.name]
            return int(share * len(choices)) % len(choices)
        case "flag" | "trigger":
            return field.sent_scale.number(float(share < 0.5))
    return field.sent_scale.number(max(0.0, 1.0 - abs(share / _TOP - 1.0)))
