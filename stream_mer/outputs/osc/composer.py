"""Composes what one receiver gets: changed values at once, all of them now and then, within the limits of safety. Pure.

``OscComposer`` follows a stream; ``Sweep`` moves one address after another. MIDI uses both, with addresses of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stream_mer.outputs.osc.mapping import CATEGORY_CHOICES, HOLD_CHOICES, MAX_TEXT, Argument, OscField, OscMapping
from stream_mer.outputs.safety import FailSafe, FlashLimit, SlewLimit
from stream_mer.outputs.values import ShowValues

REFRESH_S = 1.0
"""Everything is sent again after this time, for receivers that came late or missed a datagram."""

TRIGGER_REST_S = 0.5
"""Shortest time between two firings of a trigger, which may start light: an operator's hand can cross from one category
to another many times a second."""

_TURN = 0.5
"""From this share of neutral on, choices and texts are neutral, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OscMessage:
    """One message with one argument; never part of a bundle."""

    address: str
    argument: Argument


class OscComposer:
    """Composes the messages for one receiver.

    When audio or model are gone, the last values are held and then fade to neutral: valence and arousal 0, even
    probabilities, levels 0, the category unknown. The same neutral values are sent before the first frame. Values that
    an operator holds stay, whatever happens to audio and model.

    Args:
        mapping: What is sent.
        stream: Name of the stream, for the addresses.
        refresh_s: After this time everything is sent again, seconds.
    """

    def __init__(self, mapping: OscMapping, *, stream: str, refresh_s: float = REFRESH_S) -> None:
        self._refresh_s = refresh_s
        self._fail_safe = FailSafe(hold_s=mapping.hold_s, fade_s=mapping.fade_s)
        self._begun = False
        self._refreshed_at: float | None = None
        self._outputs = [_output(field, mapping, stream) for field in mapping.sent]

    def update(self, t: float, values: ShowValues) -> list[OscMessage]:
        """Return the messages to send at ``t``, seconds, rising from call to call."""
        neutral = self._neutral_share(t, values)
        refresh = self._refreshed_at is None or t - self._refreshed_at >= self._refresh_s
        if refresh:
            self._refreshed_at = t
        messages = []
        for output in self._outputs:
            argument = output.update(t, values, neutral, refresh=refresh)
            if argument is not None:
                messages.append(OscMessage(address=output.address, argument=argument))
        return messages

    def reset(self) -> None:
        """Send everything the next time: the receiver is new or missed something."""
        self._refreshed_at = None

    def last_messages(self) -> list[OscMessage]:
        """Return the messages at the end: the stream is no longer alive."""
        return [
            OscMessage(address=output.address, argument=output.field.sent_scale.number(0.0))
            for output in self._outputs
            if output.field.name == "alive"
        ]

    def _neutral_share(self, t: float, values: ShowValues) -> float:
        held = values.hold is not None
        self._begun = self._begun or values.alive or held
        if not self._begun:
            return 1.0
        share = self._fail_safe.update(t, alive=values.alive or held)
        return 0.0 if held else share


class _Output:
    """A field on its way to its address; this one is for texts and choices."""

    def __init__(self, field: OscField, mapping: OscMapping, stream: str) -> None:
        self.field = field
        self.address = field.address_of(stream)
        self.mapping = mapping
        self._sent: Argument | None = None

    def update(self, t: float, values: ShowValues, neutral: float, *, refresh: bool) -> Argument | None:
        """Return the argument to send; None for none."""
        argument = self.argument(t, values, neutral)
        if not refresh and self._sent is not None and not self.differs(argument, self._sent):
            return None
        self._sent = argument
        return argument

    def argument(self, t: float, values: ShowValues, neutral: float) -> Argument:
        del t
        source = self.field.source
        is_neutral = neutral >= _TURN and self.field.name not in {"hold", "hold_name"}
        argument = source.neutral if is_neutral else source.read(values)
        # A zero byte would end the text for the receiver.
        return argument.replace("\0", "")[:MAX_TEXT] if isinstance(argument, str) else argument

    def differs(self, argument: Argument, sent: Argument) -> bool:
        return argument != sent


class _Flag(_Output):
    """0 or 1: never faded."""

    def argument(self, t: float, values: ShowValues, neutral: float) -> Argument:
        del t, neutral
        return self.field.sent_scale.number(float(self.field.source.read(values)))


class _Number(_Output):
    """A value that moves gradually, within its slew limit and, for light, the flash limit."""

    def __init__(self, field: OscField, mapping: OscMapping, stream: str) -> None:
        super().__init__(field, mapping, stream)
        scale = field.sent_scale
        self._step = mapping.step * (scale.high - scale.low)
        per_s = field.source.slew_per_s if field.slew_per_s is None else field.slew_per_s
        self._slew = SlewLimit(per_s) if math.isfinite(per_s) else None
        self._flash = FlashLimit() if mapping.light else None

    def argument(self, t: float, values: ShowValues, neutral: float) -> Argument:
        share = (1 - neutral) * self._live(values) + neutral * float(self.field.source.neutral)
        dark = self.mapping.light and values.hold == "blackout"
        if dark:
            share = 0.0
        if self._slew is not None:
            share = self._slew.update(t, share)
        if self._flash is not None:
            share, _, _ = self._flash.update(t, (share, share, share), urgent=dark)
        return self.field.sent_scale.number(share)

    def differs(self, argument: Argument, sent: Argument) -> bool:
        # Rounding must not hide a change of exactly one step.
        return argument != sent and abs(float(argument) - float(sent)) >= 0.999 * self._step

    def _live(self, values: ShowValues) -> float:
        share = float(self.field.source.read(values))
        return min(1.0, max(0.0, share)) if math.isfinite(share) else float(self.field.source.neutral)


class _Trigger(_Output):
    """An occurrence: sent once and never refreshed. One that comes too soon waits, and is sent if it is still true."""

    def __init__(self, field: OscField, mapping: OscMapping, stream: str) -> None:
        super().__init__(field, mapping, stream)
        self._seen: Argument | None = None
        self._fired_at = -math.inf
        self._pressed = False

    def update(self, t: float, values: ShowValues, neutral: float, *, refresh: bool) -> Argument | None:
        del neutral, refresh
        count = self.field.source.read(values)
        happened = self._seen is not None and float(count) > float(self._seen)
        fires = happened and t - self._fired_at >= TRIGGER_REST_S
        if fires:
            self._fired_at = t
        if fires or not happened:
            self._seen = count
        released = self._pressed and not fires
        self._pressed = fires and self.field.release
        if not fires and not released:
            return None
        return self.field.sent_scale.number(1.0 if fires else 0.0)


def _output(field: OscField, mapping: OscMapping, stream: str) -> _Output:
    match field.source.kind:
        case "signed" | "share" | "level":
            return _Number(field, mapping, stream)
        case "flag":
            return _Flag(field, mapping, stream)
        case "trigger":
            return _Trigger(field, mapping, stream)
    return _Output(field, mapping, stream)


STEP_S = 4.0
"""How long each address moves, seconds."""

_TOP = 0.475
"""Where in its step a number is highest, as a share; it is back a little before the end."""

_CHOICES = {"category": CATEGORY_CHOICES, "hold": HOLD_CHOICES}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStep:
    """One moment of a sweep.

    Attributes:
        field: The field that moves now.
        message: The message to send; None if nothing changed.
    """

    field: OscField
    message: OscMessage | None


class Sweep:
    """Moves one address after another slowly, again and again, so that a desk can learn them.

    Args:
        mapping: The fields of the receiver.
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

    def update(self, t: float) -> SweepStep:
        """Return the step at ``t`` seconds after the start."""
        turn = int(t // STEP_S)
        field = self._fields[turn % len(self._fields)]
        argument = _argument(field, t % STEP_S / STEP_S)
        if self._sent == (turn, argument):
            return SweepStep(field=field, message=None)
        self._sent = (turn, argument)
        return SweepStep(field=field, message=OscMessage(address=field.address_of(self._stream), argument=argument))


def _argument(field: OscField, share: float) -> Argument:
    """Return the argument of a field at a share of its step: numbers rise and fall, and end where they began."""
    match field.source.kind:
        case "text":
            return "stream-mer test"
        case "choice":
            choices = _CHOICES[field.name]
            return int(share * len(choices)) % len(choices)
        case "flag" | "trigger":
            return field.sent_scale.number(float(share < 0.5))
    return field.sent_scale.number(max(0.0, 1.0 - abs(share / _TOP - 1.0)))
