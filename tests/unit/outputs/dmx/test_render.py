"""Whatever the music and the operator do, the bytes that are sent do no harm. The judges look at bytes alone."""

import itertools
from dataclasses import replace

import msgspec
import pytest
from flashes import Seen, assert_does_not_flash, brightness
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.render import FixtureProfile, LightShow
from stream_mer.outputs.dmx.rig import LOOKS, Fixture, Rig, Safety, preset
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES, UNKNOWN

RATE_HZ = 40

LAYOUTS = {
    "rgb": ("red", "green", "blue"),
    "dimmer first": ("dimmer", "red", "green", "blue"),
    "white": ("red", "green", "blue", "white"),
    "16 bit": ("dimmer", "dimmer fine", "red", "red fine", "green", "green fine", "blue", "blue fine", "white"),
    "par": ("dimmer",),
    "warm": ("white", "speed"),
    "amber and uv": ("red", "green", "blue", "amber", "uv"),
    "six colours": ("red", "green", "blue", "white", "amber", "uv", "dimmer"),
    "filters": ("pan", "pan fine", "tilt", "dimmer", "cyan", "magenta", "yellow"),
    "16 bit filters": ("cyan", "magenta", "magenta fine", "yellow", "dimmer"),
    "head": (255, "blue", "speed", "strobe", "red", "dimmer", "white", "green"),
}

WILD = Safety(colour_per_s=1000, intensity_per_s=1000, speed_per_s=1000, hold_s=0, fade_s=0.01, return_s=0.01)
"""No slew limit to speak of: what remains is the flash limit."""


def light_of(channels: tuple, data: bytes, response: float) -> tuple[float, float, float]:
    """What a lamp makes of its bytes, by its manual: fine channels add to coarse ones, white to all three colours."""
    if "cyan" in channels:
        return filtered_light(channels, data, response)
    share = {}
    for name, byte in zip(channels, data, strict=True):
        if isinstance(name, str) and not name.endswith(" fine"):
            share[name] = byte / 255
            if f"{name} fine" in channels:
                share[name] = (256 * byte + data[channels.index(f"{name} fine")]) / 65535
    emitted = {name: value**response for name, value in share.items()}
    dimmer = emitted.get("dimmer", 1.0)
    colours = [emitted.get(name, 0.0) for name in ("red", "green", "blue")]
    white = emitted.get("white", 0.0)
    if not {"red", "green", "blue", "white"} & emitted.keys():
        white = 1.0 if "dimmer" in emitted else 0.0
    amber, uv = emitted.get("amber", 0.0), emitted.get("uv", 0.0)
    others = (amber + 0.1 * uv, 0.4 * amber + 0.1 * uv, uv)
    return tuple(min(1.0, dimmer * (colour + white + other)) for colour, other in zip(colours, others, strict=True))


def filtered_light(channels: tuple, data: bytes, response: float) -> tuple[float, float, float]:
    """White light through cyan, magenta and yellow, each of which takes one colour away."""
    dimmer = (data[channels.index("dimmer")] / 255) ** response

    def passed(name):
        place = channels.index(name)
        taken = data[place] / 255
        if f"{name} fine" in channels:
            taken = (256 * data[place] + data[channels.index(f"{name} fine")]) / 65535
        return (1 - taken) ** response

    return tuple(dimmer * passed(name) for name in ("cyan", "magenta", "yellow"))


signed = st.floats(-1, 1)
values = st.builds(
    ShowValues,
    valence=st.one_of(signed, st.sampled_from([-1.0, 1.0])),
    arousal=st.one_of(signed, st.sampled_from([-1.0, 1.0])),
    category=st.sampled_from([*CATEGORIES, UNKNOWN]),
    alive=st.sampled_from([True, True, True, False]),
    hold=st.sampled_from([None, None, None, "freeze", "override"]),
)
shows = st.lists(st.tuples(values, st.integers(1, 15)), min_size=1, max_size=40)
"""Moments, and how many times each is sent."""


def moments(show) -> list[ShowValues]:
    return [each for each, times in show for _ in range(times)]


def rendered(rig: Rig, show: list[ShowValues], *, rate_hz: float = RATE_HZ) -> list[tuple[float, bytes]]:
    light = LightShow(rig)
    sent = [(0.0, bytes(512))]
    for i, each in enumerate(show, 1):
        universes = light.update(i / rate_hz, each)
        if universes:
            sent.append((i / rate_hz, universes[1]))
    return sent


def lamp(sent: list[tuple[float, bytes]], fixture: Fixture) -> Seen:
    size = len(fixture.channels)
    return [(t, light_of(fixture.channels, data[:size], fixture.response)) for t, data in sent]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=20, deadline=None)
@given(shows, st.sampled_from(["mood", "palette"]), st.sampled_from([1.0, 2.2]), st.floats(10, 40))
def test_no_music_makes_a_lamp_flash(layout, show, colour, response, rate_hz):
    fixture = Fixture(channels=LAYOUTS[layout], response=response)
    look = Look(colour=colour, intensity=(0.0, 1.0), hue=(0.0, 240.0), rounds_per_min=60.0, wander=180.0)
    sent = rendered(Rig(fixtures=(fixture,), look=look, safety=WILD), moments(show), rate_hz=rate_hz)
    seen = lamp(sent, fixture)
    assert_does_not_flash(seen)
    assert all(len(data) == 512 and not any(data[len(fixture.channels) :]) for _, data in sent)


@settings(max_examples=60, deadline=None)
@given(shows, st.sampled_from(sorted(LAYOUTS)), st.integers(1, 300))
def test_a_blackout_is_dark_in_time_whatever_was_before(show, layout, dark_from):
    fixture = Fixture(channels=LAYOUTS[layout], strobe=200)
    before = moments(show)[:dark_from]
    dark = [replace(before[-1], hold="blackout")] * 20
    sent = rendered(Rig(fixtures=(fixture,), safety=msgspec.structs.replace(WILD, blackout_s=0.25)), [*before, *dark])
    seen = lamp(sent, fixture)[-20:]
    assert all(rgb == (0, 0, 0) for _, rgb in seen[11:]), "0.25 s are ten steps"
    falling = [brightness(rgb) for _, rgb in seen]
    assert all(b <= a + 1e-3 for a, b in itertools.pairwise(falling)), "a fade, without a flicker"
    if len(before) > 1 and brightness(lamp(sent, fixture)[-21][1]) > 0.3:
        assert falling[0] > 0, "and not a sudden end"
    if "strobe" in fixture.channels:
        assert sent[-20][1][fixture.channels.index("strobe")] == 0, "no strobe from the first moment on"


@pytest.mark.parametrize("dark_from", range(20, 70, 3))
def test_a_blackout_does_not_wait_for_flashes_that_were_spent_before(dark_from):
    fixture = Fixture(channels=LAYOUTS["rgb"])
    strobe = [ShowValues(alive=True, arousal=1 if i // 3 % 2 else -1) for i in range(dark_from)]
    rig = Rig(fixtures=(fixture,), look=Look(intensity=(0, 1), saturation=(0, 0)), safety=WILD)
    seen = lamp(rendered(rig, [*strobe, *[replace(strobe[-1], hold="blackout")] * 11]), fixture)
    assert seen[-1][1] == (0, 0, 0)


def test_an_operator_who_is_in_a_hurry_gets_dark_at_once():
    fixture = Fixture(channels=LAYOUTS["rgb"])
    light = LightShow(Rig(fixtures=(fixture,), safety=Safety(blackout_s=0)))
    light.update(0.0, ShowValues(alive=True, arousal=1))
    assert any(light.update(0.025, ShowValues(alive=True, arousal=1))[1])
    assert not any(light.update(0.05, ShowValues(alive=True, arousal=1, hold="blackout"))[1])


@settings(max_examples=60, deadline=None)
@given(shows, st.sampled_from(LOOKS), st.sampled_from(sorted(LAYOUTS)))
def test_light_moves_no_faster_than_the_slew_limits(show, look, layout):
    fixture = Fixture(channels=LAYOUTS[layout])
    rig = msgspec.structs.replace(preset(look), fixtures=(fixture,))
    seen = lamp(rendered(rig, moments(show))[1:], fixture)
    # Of two factors, colour and intensity, each moves by its own limit: as seen, their product by no more than the sum.
    most = (rig.safety.colour_per_s + rig.safety.intensity_per_s) * 0.1
    for (_, before), (_, after) in itertools.pairwise(seen):
        for a, b in zip(before, after, strict=True):
            rounding = 0.5 / 255 if max(a, b) > 0.05 else 0.12  # near the dark one step of a byte is much to the eye
            assert abs(b ** (1 / 2.2) - a ** (1 / 2.2)) <= most + rounding + 0.02


def test_no_other_lamp_is_touched_by_speed_and_fixed_values_are_always_sent():
    fixture = Fixture(channels=(7, "speed", 9), address=5)
    sent = rendered(Rig(fixtures=(fixture,)), [ShowValues(alive=True, arousal=1.0)] * 200)
    assert sent[-1][1][4:7] == bytes([7, 255, 9])
    assert sum(sent[-1][1]) == 7 + 255 + 9


def test_before_the_first_values_nothing_is_sent_and_then_they_are_taken_as_they_are():
    light = LightShow(preset("mood"))
    assert light.update(0.0, ShowValues()) == {}
    assert light.update(5.0, ShowValues()) == {}
    assert not light.begun
    first = light.update(5.1, ShowValues(alive=True, arousal=1.0))
    assert max(first[1]) == 255
    assert light.begun


class Played:
    """A show that is played for some seconds at a time."""

    def __init__(self, rig: Rig) -> None:
        self.light = LightShow(rig)
        self.calls = 0

    def show(self, values: ShowValues, seconds: float) -> list[tuple]:
        """Return the lights of each call."""
        lights = []
        for _ in range(round(seconds * RATE_HZ)):
            self.light.update(self.calls / RATE_HZ, values)
            self.calls += 1
            lights.append(self.light.lights())
        return lights


def test_without_any_music_at_all_the_look_comes_slowly_from_the_dark():
    light = LightShow(preset("mood"))
    levels = [max(light.update(i / RATE_HZ, ShowValues()).get(1, b"\0")) for i in range(RATE_HZ * 20)]
    assert max(levels[: 10 * RATE_HZ]) == 0
    assert levels[-1] > 30
    assert max(b - a for a, b in itertools.pairwise(levels)) <= 3


def test_on_loss_it_holds_then_fades_to_the_look_and_comes_back():
    played = Played(Rig(fixtures=(Fixture(channels=LAYOUTS["16 bit"]),), look=Look(wander=0.0)))
    music = ShowValues(alive=True, valence=-1, arousal=1)
    bright = played.show(music, 3)[-1]
    lost = replace(music, alive=False)
    assert set(played.show(lost, 9)) == {bright}, "held"
    fading = played.show(lost, 13)
    [(red, green, blue)] = fading[-1]
    assert red > green > blue > 0, "amber"
    assert min(brightness(light) for [light] in fading) > 0.01, "never black"
    assert played.show(music, 7)[-1] == bright


@pytest.mark.parametrize("hold", ["freeze", "override"])
def test_what_an_operator_set_stays_though_the_music_is_gone(hold):
    played = Played(preset("mood"))
    held = ShowValues(alive=True, valence=1, arousal=1, hold=hold)
    before = played.show(held, 5)[-1]
    assert played.show(replace(held, alive=False), 35)[-1] == before


def test_frozen_colours_do_not_wander():
    played = Played(preset("palette"))
    music = ShowValues(alive=True, arousal=1, category="happy")
    played.show(music, 5)
    frozen = played.show(replace(music, hold="freeze"), 10)
    assert len(set(frozen[RATE_HZ * 3 :])) == 1
    assert played.show(music, 3)[-1] != frozen[-1]


def test_after_a_long_pause_light_goes_on_from_where_it_was():
    light = LightShow(msgspec.structs.replace(preset("mood"), fixtures=(Fixture(channels=("dimmer",)),)))
    light.update(0.0, ShowValues(alive=True, arousal=-1))
    dim = light.update(0.1, ShowValues(alive=True, arousal=-1))[1][0]
    assert light.update(60.0, ShowValues(alive=True, arousal=1))[1][0] - dim < 20


@pytest.mark.parametrize(("at_end", "last"), [("hold", "as it was"), ("look", "amber"), ("dark", "black")])
def test_at_the_end_it_shows_what_was_chosen(at_end, last):
    rig = Rig(fixtures=(Fixture(channels=LAYOUTS["rgb"]),), safety=Safety(at_end=at_end, end_fade_s=1.0))
    played = Played(rig)
    music = ShowValues(alive=True, valence=-1, arousal=1)
    before = played.show(music, 5)[-1]
    played.light.end()
    lights = played.show(music, 1.05)
    [(red, green, blue)] = lights[-1]
    assert {
        "as it was": lights[-1] == before,
        "amber": red > green > blue > 0,
        "black": (red, green, blue) == (0, 0, 0),
    }[last]
    if at_end != "hold":
        assert len(set(lights)) > 10, "a fade"


@given(st.tuples(*[st.floats(0, 1)] * 3), st.floats(0, 1), st.sampled_from([1.0, 2.2]))
@pytest.mark.parametrize(
    "channels",
    [
        ("red", "green", "blue"),
        ("red", "green", "blue", "white"),
        ("white", "dimmer", "dimmer fine", "blue", "green", "red"),
        ("red", "red fine", "green", "green fine", "blue", "blue fine"),
        ("red", "green", "blue", "amber"),
        ("amber", "white", "blue", "green", "red"),
        ("yellow", "dimmer", "cyan", "magenta"),
    ],
)
def test_the_bytes_make_the_light_that_was_meant(channels, colour, intensity, response):
    lamp = FixtureProfile(Fixture(channels=channels, response=response))
    data = lamp.encode(colour, intensity, 0.0)
    light = lamp.light(data)
    assert light == pytest.approx([part * intensity for part in colour], abs=0.02), "but for rounding"


def test_bytes_are_those_of_the_manual():
    head = FixtureProfile(Fixture(channels=("dimmer", "dimmer fine", 255, "red", "speed", "strobe"), strobe=9))
    assert head.encode((0.5, 0, 0), 0.5, 1.0) == bytes([128, 0, 255, 128, 255, 9])
    assert head.encode((0.5, 0, 0), 0.5, 1.0, strobe=False)[5] == 0
    six = FixtureProfile(Fixture(channels=("red", "green", "blue", "white", "amber", "uv")))
    assert six.encode((1.0, 0.4, 0.0), 1.0, 0.0) == bytes([0, 0, 0, 0, 255, 0])
    assert six.encode((0.6, 0.2, 1.0), 1.0, 0.0) == bytes([102, 0, 204, 51, 0, 204])
    spot = FixtureProfile(Fixture(channels=("cyan", "magenta", "yellow", "dimmer", "pan", "tilt", "tilt fine")))
    assert spot.encode((1.0, 0.6, 0.0), 0.2, 0.0) == bytes([0, 102, 255, 51, 128, 121, 153])
    rgbw = FixtureProfile(Fixture(channels=("red", "green", "blue", "white")))
    assert rgbw.encode((1.0, 0.6, 0.2), 1.0, 0.0) == bytes([204, 102, 0, 51])


HEADS = Fixture(channels=("pan", "pan fine", "tilt", "tilt fine", "dimmer"), pan=(0.8, 0.2), tilt=(0.3, 0.7))


def heads(sent: list[tuple[float, bytes]]) -> list[tuple[float, float]]:
    return [((256 * data[0] + data[1]) / 65535, (256 * data[2] + data[3]) / 65535) for _, data in sent]


@settings(max_examples=40, deadline=None)
@given(shows, st.floats(0.001, 0.5), st.floats(10, 40))
def test_heads_turn_no_faster_than_they_may_and_stay_between_their_ends(show, move_per_s, rate_hz):
    rig = Rig(fixtures=(HEADS,), look=Look(rounds_per_min=60.0, speed=(1.0, 1.0)), safety=Safety(move_per_s=move_per_s))
    seen = heads(rendered(rig, moments(show), rate_hz=rate_hz)[1:])
    for before, after in itertools.pairwise(seen):
        for a, b in zip(before, after, strict=True):
            assert abs(b - a) <= move_per_s / 10 + 2 / 65535, "no call counts for more than a tenth of a second"
    assert all(0.1999 <= pan <= 0.8001 and 0.2999 <= tilt <= 0.7001 for pan, tilt in seen)


def test_heads_swing_with_arousal_and_rise_with_valence():
    rig = Rig(fixtures=(HEADS,))

    def way(arousal):
        seen = heads(rendered(rig, [ShowValues(alive=True, arousal=arousal, valence=1.0)] * 400)[1:])
        return sum(abs(b[0] - a[0]) for a, b in itertools.pairwise(seen)), seen[-1][1]

    (calm, high), (excited, _) = way(-1.0), way(1.0)
    assert excited > 3 * calm
    assert high == pytest.approx(0.7, abs=0.001)
    (_, low) = heads(rendered(rig, [ShowValues(alive=True, valence=-1.0)] * 3))[-1]
    assert low == pytest.approx(0.3, abs=0.001)


def test_heads_rest_in_a_blackout_and_when_the_music_is_gone():
    music = ShowValues(alive=True, arousal=1.0)
    for still in (replace(music, hold="blackout"), replace(music, hold="freeze"), ShowValues(alive=False, arousal=1.0)):
        seen = heads(rendered(Rig(fixtures=(HEADS,)), [music] * 200 + [still] * 900))
        assert len(set(seen[-300:])) == 1
