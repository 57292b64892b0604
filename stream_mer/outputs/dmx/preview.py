"""What a rig would do with events that were recorded: the show, without a network and as fast as it can. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream_mer.outputs.dmx.colour import Colour, as_seen
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import Rig
from stream_mer.outputs.values import ShowState, ShowValues
from stream_mer.types import CategoryChange, EmotionFrame, InputLevels, StreamEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is to be seen at a time.

    Attributes:
        t: Audio time, seconds.
        values: What the music is like.
        lamps: What each lamp looks like; empty before the first values.
    """

    t: float
    values: ShowValues
    lamps: tuple[Colour, ...]


def play(rig: Rig, events: Iterable[tuple[str, StreamEvent]], *, rest_s: float = 0.0) -> Iterator[Moment]:
    """Yield every moment at the rate of the rig, from the first event to ``rest_s`` after the last one.

    The first stream among the events is followed. Events are taken when their audio ends, in the order given.
    """
    now = 0.0
    state = ShowState(None, clock=lambda: now)
    show = LightShow(rig)
    step = 0

    def until(t: float) -> Iterator[Moment]:
        nonlocal now, step
        while step / rig.rate_hz < t:
            now = step / rig.rate_hz
            step += 1
            values = state.values()
            show.feed(now, values)
            yield Moment(t=now, values=values, lamps=tuple(map(as_seen, show.lights())) if show.begun else ())

    last = 0.0
    for stream, event in events:
        last = max(last, _time(event, last))
        yield from until(last)
        now = max(now, last)
        state.on_event(stream, event)
    yield from until(last + rest_s)


def _time(event: StreamEvent, last: float) -> float:
    match event:
        case EmotionFrame():
            return event.t1
        case CategoryChange() | InputLevels():
            return event.t
    return last
