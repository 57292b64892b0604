"""Renders the values of a stream into the channels of all lamps, within the limits of safety. Pure.

The steps for each lamp: the target for the music, blended with the look without music (``FailSafe``);
towards it no faster than the slew limits allow; encoded into bytes, with all rounding. The bytes are used only if the
light that they make may follow the light before (``FlashLimit``). If not, the lamp stays as it is and goes on from
there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from stream_mer.outputs.dmx.look import GAMMA, Colour, Target, as_light, as_seen, blend, parse_colour, target
from stream_mer.outputs.dmx.rig import EMITTERS, FILTERS, UNIVERSE_LENGTH, Fixture, Lamp, Rig, lamps_of, universes_of
from stream_mer.outputs.safety import FailSafe, FlashLimit, Rgb
from stream_mer.outputs.values import ShowState, ShowValues
from stream_mer.types import CategoryChange, EmotionFrame, InputLevels, StreamEvent

_COLOURS = ("red", "green", "blue")

AMBER: Rgb = (1.0, 0.4, 0.0)
"""Light of an amber channel."""

UV: Rgb = (0.1, 0.1, 1.0)
"""Light that a UV channel counts as: what is seen of it, and of white clothes in it."""

LONGEST_STEP_S = 0.1
"""Longest time step, seconds: a longer pause counts as this."""

_SMALLEST_WAY = 1e-6


class LightShow:
    """The lamps of a rig, following one stream.

    Nothing is sent before the first values, so lamps stay as they are. The first values are shown without a fade. An
    operator has priority: a blackout is always dark, and frozen or overridden values stay even if the music is gone.

    Args:
        rig: The lamps.
    """

    def __init__(self, rig: Rig) -> None:
        safety = rig.safety
        self._rig = rig
        self._fail_safe = FailSafe(hold_s=safety.hold_s, fade_s=safety.fade_s, return_s=safety.return_s)
        self._lost = Target(colour=parse_colour(safety.lost_colour), intensity=safety.lost_intensity, speed=0.0)
        self._lamps = lamps_of(rig.fixtures)
        self._drivers: dict[object, _Driver] = {}
        for lamp in self._lamps:
            if (key := _key(lamp)) not in self._drivers:
                self._drivers[key] = _Driver(lamp)
            self._drivers[key].lamps.append(lamp)
        self._universes = {number: bytearray(UNIVERSE_LENGTH) for number in universes_of(self._lamps)}
        for driver in self._drivers.values():
            self._put(driver)
        self._last_t: float | None = None
        self.begun = False
        """True from the first values on, when there is something to send."""
        self._has_values = False
        self._ending = False
        self._position = 0.0
        self._speed = 0.0

    @property
    def universes(self) -> tuple[int, ...]:
        """Numbers of the universes that are sent."""
        return tuple(self._universes)

    def lights(self) -> tuple[Rgb, ...]:
        """Return the light of each lamp: exactly that of the bytes that were returned last."""
        return tuple(self._drivers[_key(lamp)].light for lamp in self._lamps)

    def end(self) -> None:
        """From now on fade to the final look of the rig."""
        self._ending = True

    def update(self, t: float, values: ShowValues) -> Mapping[int, bytes]:
        """Return the channels to send at ``t``.

        Args:
            t: Seconds, rising from call to call.
            values: The newest values.

        Returns:
            512 channels of each universe, by its number; empty before the first values.
        """
        share = self._fail_safe.update(t, alive=values.alive or values.hold in {"freeze", "override"})
        self._has_values = self._has_values or values.alive or values.hold is not None
        self.begun = self.begun or self._has_values or share > 0
        if not self.begun:
            return {}
        self._wander(t, values)
        pace = self._pace(values)
        for driver in self._drivers.values():
            if driver.step(t, self._target(values, share, driver.offset), pace):
                self._put(driver)
        return {number: bytes(channels) for number, channels in self._universes.items()}

    def _put(self, driver: _Driver) -> None:
        for lamp in driver.lamps:
            for slot in lamp.slots:
                self._universes[slot.universe][slot.start : slot.start + len(driver.data)] = driver.data

    def _target(self, values: ShowValues, share: float, offset: float) -> Target:
        """Return the target of a lamp, before any limit."""
        if self._ending and self._rig.safety.at_end == "look":
            return self._lost
        music = (
            target(self._rig.look, values, self._position + offset)
            if self._has_values
            else replace(self._lost, intensity=0.0)
        )
        return blend(music, self._lost, share)

    def _pace(self, values: ShowValues) -> _Pace:
        """How fast lamps may move."""
        safety = self._rig.safety
        end_per_s = 1 / safety.end_fade_s
        if values.hold == "blackout":
            per_s = 1 / safety.blackout_s if safety.blackout_s > 0 else math.inf
            return _Pace(colour_per_s=0.0, intensity_per_s=per_s, speed_per_s=safety.speed_per_s, dark=True)
        if self._ending and safety.at_end == "dark":
            return _Pace(colour_per_s=0.0, intensity_per_s=end_per_s, speed_per_s=safety.speed_per_s, dark=True)
        if self._ending and safety.at_end == "look":
            return _Pace(colour_per_s=end_per_s, intensity_per_s=end_per_s, speed_per_s=end_per_s)
        return _Pace(
            colour_per_s=safety.colour_per_s,
            intensity_per_s=safety.intensity_per_s,
            speed_per_s=safety.speed_per_s,
            move_per_s=safety.move_per_s,
        )

    def _wander(self, t: float, values: ShowValues) -> None:
        """Move all colours on their way around, while there is music that is not frozen."""
        step_s = 0.0 if self._last_t is None else min(LONGEST_STEP_S, max(0.0, t - self._last_t))
        self._last_t = t
        if values.alive and values.hold in {None, "override"} and not self._ending:
            look = self._rig.look
            wanted = target(look, values, 0.0).speed
            self._speed = _towards(self._speed, wanted, self._rig.safety.speed_per_s * step_s)
            self._position += self._speed * look.rounds_per_min / 60 * step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How fast a lamp may change, and whether it goes dark: an operator's blackout, or the end. Heads rest then."""

    colour_per_s: float
    intensity_per_s: float
    speed_per_s: float
    move_per_s: float = 0.0
    dark: bool = False


class _Driver:
    """Lamps of equal settings, which always show the same: computed once."""

    def __init__(self, lamp: Lamp) -> None:
        self.lamps: list[Lamp] = []
        self.offset = lamp.offset
        self._fixture = lamp.fixture
        self._profile = FixtureProfile(lamp.fixture)
        self._limit = FlashLimit()
        self._shown: Target | None = None
        self._shown_t = 0.0
        self.data = self._profile.encode((0.0, 0.0, 0.0), 0.0, 0.0, strobe=False)
        # One whole way of a head is 2 of swing, and 1 of lift.
        self._swing_way = 2 / max(_SMALLEST_WAY, abs(lamp.fixture.pan[1] - lamp.fixture.pan[0]))
        self._lift_way = 1 / max(_SMALLEST_WAY, abs(lamp.fixture.tilt[1] - lamp.fixture.tilt[0]))

    @property
    def light(self) -> Rgb:
        return self._profile.light(self.data)

    def step(self, t: float, wanted: Target, pace: _Pace) -> bool:
        """Move towards the target as far as the limits allow; return whether the bytes changed."""
        before = self.data
        if pace.dark:
            wanted = replace(wanted, intensity=0.0)
        moved = wanted if self._shown is None else self._moved(self._shown, wanted, t, pace)
        data = self._encode(moved, pace)
        if self._limit.passes(t, self._profile.light(data), urgent=pace.dark):
            self._shown, self._shown_t, self.data = moved, t, data
        elif self._shown is None:
            self._shown, self._shown_t = replace(wanted, intensity=0.0), t
        else:
            self.data = self._encode(self._shown, pace)  # the same light, but a blackout stops a strobe immediately
        return self.data != before

    def _moved(self, shown: Target, wanted: Target, t: float, pace: _Pace) -> Target:
        # Since the light last moved, not since the last call: a step that did not pass is tried again a little further.
        step_s = min(LONGEST_STEP_S, max(0.0, t - self._shown_t))
        red, green, blue = (
            _towards(a, b, pace.colour_per_s * step_s) for a, b in zip(shown.colour, wanted.colour, strict=True)
        )
        at_once = math.isinf(pace.intensity_per_s)
        return Target(
            colour=(red, green, blue),
            intensity=wanted.intensity
            if at_once
            else _towards(shown.intensity, wanted.intensity, pace.intensity_per_s * step_s),
            speed=_towards(shown.speed, wanted.speed, pace.speed_per_s * step_s),
            swing=_towards(shown.swing, wanted.swing, pace.move_per_s * step_s * self._swing_way),
            lift=_towards(shown.lift, wanted.lift, pace.move_per_s * step_s * self._lift_way),
        )

    def _encode(self, shown: Target, pace: _Pace) -> bytes:
        intensity = (shown.intensity * self._fixture.intensity) ** GAMMA
        colour, strobe = as_light(shown.colour), not pace.dark
        return self._profile.encode(colour, intensity, shown.speed, strobe=strobe, swing=shown.swing, lift=shown.lift)


def _key(lamp: Lamp) -> object:
    """Equal for lamps that always show the same."""
    fixture = lamp.fixture
    settings = (fixture.intensity, fixture.response, fixture.strobe, fixture.pan, fixture.tilt)
    return (fixture.channels, settings, lamp.offset % 1.0)


def _towards(value: float, wanted: float, most: float) -> float:
    return value + min(most, max(-most, wanted - value))


class FixtureProfile:
    """Converts between light and the bytes of one kind of lamp.

    Intensity goes to the dimmer if the lamp has one, else into the colours. The common part of
    red, green and blue goes to the white channel if the lamp has one, and then that of red and green to amber. UV is
    added where blue exceeds green. Cyan, magenta and yellow take away what red, green and blue are not.

    Args:
        fixture: The functions of the channels.
    """

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        channels = fixture.channels
        places: dict[str, int] = {name: i for i, name in enumerate(channels) if isinstance(name, str)}
        self._places = {
            name: (place, places.get(f"{name} fine"))
            for name, place in places.items()
            if name != "strobe" and not name.endswith(" fine")
        }
        self._strobe = places.get("strobe")
        self._fixed = bytes(channel if isinstance(channel, int) else 0 for channel in channels)
        self._has_dimmer = "dimmer" in places
        self._has_white = "white" in places
        self._has_colours = any(name in places for name in _COLOURS)
        self._has_filters = FILTERS[0] in places

    def encode(
        self,
        colour: Rgb,
        intensity: float,
        speed: float,
        *,
        strobe: bool = True,
        swing: float = 0.0,
        lift: float = 0.5,
    ) -> bytes:
        """Return the bytes of one lamp or pixel.

        Args:
            colour: Linear light of the colour at its brightest, each part 0..1.
            intensity: Share of that light, 0..1.
            speed: 0..1.
            strobe: Send the fixture's value to strobe channels; else 0.
            swing: Where a moving head is between its ends of pan, -1..1.
            lift: Where it is between its ends of tilt, 0..1.
        """
        left = 1.0 if self._has_dimmer else intensity
        red, green, blue = (part * left for part in colour)
        data = bytearray(self._fixed)
        for name, share in {"dimmer": intensity, **self._mixed(red, green, blue, left)}.items():
            self._put(data, name, max(0.0, share) ** (1 / self._fixture.response))
        if self._has_filters:
            for name, part in zip(FILTERS, (red, green, blue), strict=True):
                self._put(data, name, 1.0 - part ** (1 / self._fixture.response))
        self._put(data, "speed", speed)
        self._put(data, "pan", _between(self._fixture.pan, (swing + 1) / 2))
        self._put(data, "tilt", _between(self._fixture.tilt, lift))
        if self._strobe is not None and strobe:
            data[self._strobe] = self._fixture.strobe
        return bytes(data)

    def _mixed(self, red: float, green: float, blue: float, left: float) -> Mapping[str, float]:
        """Return the light of each emitter that makes a colour; ``left`` is what the dimmer leaves to do."""
        uv = max(0.0, blue - green)
        white = amber = 0.0
        if self._has_white:
            white = min(red, green, blue) if self._has_colours else left
            red, green, blue = red - white, green - white, blue - white
        if "amber" in self._places:
            amber = min(red / AMBER[0], green / AMBER[1])
            red, green = red - amber * AMBER[0], green - amber * AMBER[1]
        return {"red": red, "green": green, "blue": blue, "white": white, "amber": amber, "uv": uv}

    def light(self, data: bytes) -> Rgb:
        """Return the linear light that these bytes make, with white and dimmer; black for a lamp without light."""
        dimmer = self._emitted(data, "dimmer") if self._has_dimmer else 1.0
        white = self._emitted(data, "white")
        if self._has_filters:
            red, green, blue = (dimmer * self._passed(data, name) for name in FILTERS)
            return red, green, blue
        if not any(name in self._places for name in EMITTERS):
            white = 1.0 if self._has_dimmer else 0.0
        amber, uv = self._emitted(data, "amber"), self._emitted(data, "uv")
        red, green, blue = (
            min(1.0, dimmer * (self._emitted(data, name) + white + amber * of_amber + uv * of_uv))
            for name, of_amber, of_uv in zip(_COLOURS, AMBER, UV, strict=True)
        )
        return red, green, blue

    def _put(self, data: bytearray, name: str, share: float) -> None:
        if name not in self._places:
            return
        coarse, fine = self._places[name]
        share = min(1.0, max(0.0, share))
        if fine is None:
            data[coarse] = round(255 * share)
        else:
            data[coarse], data[fine] = divmod(round(65535 * share), 256)

    def _emitted(self, data: bytes, name: str) -> float:
        if name not in self._places:
            return 0.0
        return float(self._share(data, name) ** self._fixture.response)

    def _passed(self, data: bytes, name: str) -> float:
        """Return the light that a filter lets through."""
        return float((1.0 - self._share(data, name)) ** self._fixture.response)

    def _share(self, data: bytes, name: str) -> float:
        coarse, fine = self._places[name]
        return data[coarse] / 255 if fine is None else (256 * data[coarse] + data[fine]) / 65535


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment of a preview.

    Attributes:
        t: Audio time, seconds.
        values: Values of the stream.
        lamps: Colour of each lamp, as seen; empty before the first values.
    """

    t: float
    values: ShowValues
    lamps: tuple[Colour, ...]


def preview(rig: Rig, events: Iterable[tuple[str, StreamEvent]], *, rest_s: float = 0.0) -> Iterator[Moment]:
    """Render recorded events without a network and as fast as possible.

    Yields every moment at the rate of the rig, from the start to ``rest_s`` seconds after the last event.

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
            show.update(now, values)
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
