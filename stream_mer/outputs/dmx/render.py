"""Turns the values of a stream into the channels of all lamps, moment by moment, and lets nothing harmful pass. Pure.

The way of a lamp's light: what the music wants, blended with the look for when there is no music (``FailSafe``); from
there no further than the slew limits allow; into bytes, with every rounding; and only if the light of these bytes may
follow the light before (``FlashLimit``) they are taken. If not, the lamp stays as it is, and goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stream_mer.outputs.dmx.channels import Personality
from stream_mer.outputs.dmx.colour import GAMMA, as_light
from stream_mer.outputs.dmx.look import Wish, blend, wish
from stream_mer.outputs.dmx.patch import Lamp, lamps_of, universes_of
from stream_mer.outputs.dmx.rig import UNIVERSE_LENGTH, Rig
from stream_mer.outputs.safety import FailSafe, FlashLimit, Rgb
from stream_mer.outputs.values import ShowValues

LONGEST_STEP_S = 0.1
"""After a pause, light goes on as if no more than this had passed."""


class LightShow:
    """The lamps of a rig, following one stream.

    Before the first values nothing is sent, so lamps stay as they are; the first moment is taken as it is. An operator
    is above all: a blackout is dark whatever else there is, and frozen or overridden values stay though the music be
    gone.

    Args:
        rig: The lamps.
    """

    def __init__(self, rig: Rig) -> None:
        safety = rig.safety
        self._rig = rig
        self._fail_safe = FailSafe(hold_s=safety.hold_s, fade_s=safety.fade_s, return_s=safety.return_s)
        self._lost = Wish(colour=safety.lost_colour, intensity=safety.lost_intensity, speed=0.0)
        self._lamps = lamps_of(rig.fixtures)
        self._drivers = _drivers_of(self._lamps)
        self._universes = {number: bytearray(UNIVERSE_LENGTH) for number in universes_of(self._lamps)}
        for driver in self._drivers.values():
            self._put(driver)
        self._last_t: float | None = None
        self.begun = False
        """Whether there is something to send: from the first values on."""
        self._heard = False
        self._ending = False
        self._position = 0.0
        self._speed = 0.0

    @property
    def universes(self) -> tuple[int, ...]:
        """Numbers of the universes that are sent."""
        return tuple(self._universes)

    def lights(self) -> tuple[Rgb, ...]:
        """Return the light of each lamp now: exactly that of the bytes that were returned last."""
        return tuple(self._drivers[_key(lamp)].light for lamp in self._lamps)

    def end(self) -> None:
        """From now on go to what the rig is to show last."""
        self._ending = True

    def feed(self, t: float, values: ShowValues) -> Mapping[int, bytes]:
        """Return what is to be sent at ``t``, 512 channels of each universe; nothing before the first values.

        Args:
            t: Seconds, rising from call to call.
            values: The newest ones.
        """
        share = self._fail_safe.feed(t, alive=values.alive or values.hold in {"freeze", "override"})
        self._heard = self._heard or values.alive or values.hold is not None
        self.begun = self.begun or self._heard or share > 0
        if not self.begun:
            return {}
        self._wander(t, values)
        pace = self._pace(values)
        for driver in self._drivers.values():
            if driver.step(t, self._wish(values, share, driver.offset), pace):
                self._put(driver)
        return {number: bytes(channels) for number, channels in self._universes.items()}

    def _put(self, driver: _Driver) -> None:
        for lamp in driver.lamps:
            for slot in lamp.slots:
                self._universes[slot.universe][slot.start : slot.start + len(driver.data)] = driver.data

    def _wish(self, values: ShowValues, share: float, offset: float) -> Wish:
        """What a lamp is to show, before any limit."""
        if self._ending and self._rig.safety.at_end == "look":
            return self._lost
        music = (
            wish(self._rig.look, values, self._position + offset) if self._heard else replace(self._lost, intensity=0.0)
        )
        return blend(music, self._lost, share)

    def _pace(self, values: ShowValues) -> _Pace:
        """How fast lamps may go there."""
        safety = self._rig.safety
        if values.hold == "blackout":
            per_s = 1 / safety.blackout_s if safety.blackout_s > 0 else math.inf
            return _Pace(colour_per_s=0.0, intensity_per_s=per_s, speed_per_s=safety.speed_per_s, dark=True)
        if self._ending and safety.at_end == "dark":
            return _Pace(
                colour_per_s=0.0, intensity_per_s=1 / safety.end_fade_s, speed_per_s=safety.speed_per_s, dark=True
            )
        if self._ending and safety.at_end == "look":
            per_s = 1 / safety.end_fade_s
            return _Pace(colour_per_s=per_s, intensity_per_s=per_s, speed_per_s=per_s)
        return _Pace(
            colour_per_s=safety.colour_per_s, intensity_per_s=safety.intensity_per_s, speed_per_s=safety.speed_per_s
        )

    def _wander(self, t: float, values: ShowValues) -> None:
        """Move all colours on their way around, while there is music and nobody wants it still."""
        step_s = 0.0 if self._last_t is None else min(LONGEST_STEP_S, max(0.0, t - self._last_t))
        self._last_t = t
        if values.alive and values.hold in {None, "override"} and not self._ending:
            look = self._rig.look
            wanted = wish(look, values, 0.0).speed
            self._speed = _towards(self._speed, wanted, self._rig.safety.speed_per_s * step_s)
            self._position += self._speed * look.rounds_per_min / 60 * step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How fast a lamp may move, and whether to the dark: an operator's blackout, or the end."""

    colour_per_s: float
    intensity_per_s: float
    speed_per_s: float
    dark: bool = False


class _Driver:
    """Lamps that are alike, and so always show the same: computed once."""

    def __init__(self, lamp: Lamp) -> None:
        self.lamps = [lamp]
        self.offset = lamp.offset
        self._fixture = lamp.fixture
        self._personality = Personality(lamp.fixture)
        self._limit = FlashLimit()
        self._shown: Wish | None = None
        self._shown_t = 0.0
        self.data = self._personality.encode((0.0, 0.0, 0.0), 0.0, 0.0, strobe=False)

    @property
    def light(self) -> Rgb:
        return self._personality.light(self.data)

    def step(self, t: float, wanted: Wish, pace: _Pace) -> bool:
        """Go towards what is wanted, as far as that does no harm; tell whether the bytes are others now."""
        before = self.data
        if pace.dark:
            wanted = replace(wanted, intensity=0.0)
        moved = wanted if self._shown is None else self._moved(self._shown, wanted, t, pace)
        data = self._encode(moved, pace)
        if self._limit.passes(t, self._personality.light(data), urgent=pace.dark):
            self._shown, self._shown_t, self.data = moved, t, data
        elif self._shown is None:
            self._shown, self._shown_t = replace(wanted, intensity=0.0), t
        else:
            self.data = self._encode(self._shown, pace)  # the same light; an operator's blackout stops a strobe at once
        return self.data != before

    def _moved(self, shown: Wish, wanted: Wish, t: float, pace: _Pace) -> Wish:
        # Since the light moved last, not since the last call: so a step that did not pass is tried a little further on.
        step_s = min(LONGEST_STEP_S, max(0.0, t - self._shown_t))
        red, green, blue = (
            _towards(a, b, pace.colour_per_s * step_s) for a, b in zip(shown.colour, wanted.colour, strict=True)
        )
        at_once = math.isinf(pace.intensity_per_s)
        return Wish(
            colour=(red, green, blue),
            intensity=wanted.intensity
            if at_once
            else _towards(shown.intensity, wanted.intensity, pace.intensity_per_s * step_s),
            speed=_towards(shown.speed, wanted.speed, pace.speed_per_s * step_s),
        )

    def _encode(self, shown: Wish, pace: _Pace) -> bytes:
        intensity = (shown.intensity * self._fixture.intensity) ** GAMMA
        return self._personality.encode(as_light(shown.colour), intensity, shown.speed, strobe=not pace.dark)


def _drivers_of(lamps: Sequence[Lamp]) -> dict[object, _Driver]:
    drivers: dict[object, _Driver] = {}
    for lamp in lamps:
        if _key(lamp) in drivers:
            drivers[_key(lamp)].lamps.append(lamp)
        else:
            drivers[_key(lamp)] = _Driver(lamp)
    return drivers


def _key(lamp: Lamp) -> object:
    """Equal for lamps that always show the same."""
    fixture = lamp.fixture
    return (fixture.channels, fixture.intensity, fixture.response, fixture.strobe, lamp.offset % 1.0)


def _towards(value: float, wanted: float, most: float) -> float:
    return value + min(most, max(-most, wanted - value))
