"""What light the music wants."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.outputs.dmx.look import Look, Target, as_light, as_seen, blend, hex_of, parse_colour, target
from stream_mer.outputs.dmx.render import FixtureProfile
from stream_mer.outputs.dmx.rig import LOOKS, Fixture, lamps_of, preset, universes_of, used_channels
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES, UNKNOWN

STILL = Look(wander=0.0)


def test_valence_chooses_the_hue_and_arousal_intensity_and_speed():
    low = target(STILL, ShowValues(valence=-1, arousal=-1), 0.0)
    high = target(STILL, ShowValues(valence=1, arousal=1), 0.0)
    assert hex_of(low.colour) == "#4040ff", "blue, a little pale"
    assert hex_of(high.colour) == "#ffaa00", "amber"
    assert (low.intensity, high.intensity) == STILL.intensity
    assert (low.speed, high.speed) == STILL.speed


def test_each_category_has_its_colours_and_lamps_wander_through_them():
    look = Look(colour="palette")
    for category in (*CATEGORIES, UNKNOWN):
        values = ShowValues(category=category)
        palette = getattr(look.palettes, category)
        shown = [target(look, values, 3 + i / len(palette)).colour for i in range(len(palette))]
        assert shown == [pytest.approx(parse_colour(colour)) for colour in palette]


@pytest.mark.parametrize("name", LOOKS)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 100))
def test_every_target_is_a_light_and_colours_wander_without_a_jump(name, valence, arousal, position):
    look = preset(name).look
    for category in (*CATEGORIES, UNKNOWN):
        values = ShowValues(valence=valence, arousal=arousal, category=category)
        here, near = target(look, values, position), target(look, values, position + 1e-4)
        assert all(0 <= part <= 1 for part in (*here.colour, here.intensity, here.speed))
        assert max(abs(a - b) for a, b in zip(here.colour, near.colour, strict=True)) < 0.01


def test_the_wash_is_subtler_than_the_mood():
    mood, wash = preset("mood"), preset("wash")
    assert wash.look.intensity[1] - wash.look.intensity[0] < mood.look.intensity[1] - mood.look.intensity[0]
    assert wash.look.saturation[1] < mood.look.saturation[0]
    assert wash.safety.colour_per_s < mood.safety.colour_per_s


def test_a_blend_goes_from_one_to_the_other():
    one = Target(colour=(0.0, 0.0, 0.0), intensity=0.0, speed=1.0)
    other = Target(colour=(1.0, 0.5, 0.0), intensity=1.0, speed=0.0)
    assert blend(one, other, 0.0) == one
    assert blend(one, other, 1.0) == other
    assert blend(one, other, 0.5) == Target(colour=(0.5, 0.25, 0.0), intensity=0.5, speed=0.5)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_light_looks_like_the_colour_that_was_chosen(colour):
    assert as_seen(as_light(colour)) == pytest.approx(colour, abs=1e-6)


@given(st.tuples(*[st.floats(0, 1)] * 3), st.floats(0, 1), st.sampled_from([1.0, 2.2]))
@pytest.mark.parametrize(
    "channels",
    [
        ("red", "green", "blue"),
        ("red", "green", "blue", "white"),
        ("white", "dimmer", "dimmer fine", "blue", "green", "red"),
        ("red", "red fine", "green", "green fine", "blue", "blue fine"),
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
    rgbw = FixtureProfile(Fixture(channels=("red", "green", "blue", "white")))
    assert rgbw.encode((1.0, 0.6, 0.2), 1.0, 0.0) == bytes([204, 102, 0, 51])


def test_lamps_lie_one_after_another_and_never_across_two_universes():
    strip = Fixture(channels=("red", "green", "blue"), count=4, pixels=60, universe=3)
    lamps = lamps_of([strip])
    slots = [slot for lamp in lamps for slot in lamp.slots]
    assert [(slot.universe, slot.start) for slot in slots[:2]] == [(3, 0), (3, 3)]
    assert (slots[169].universe, slots[169].start) == (3, 507)
    assert (slots[170].universe, slots[170].start) == (4, 0), "as WLED has it"
    assert universes_of(lamps) == (3, 4)
    assert used_channels(lamps) == {3: 510, 4: 210}
    spaced = lamps_of([Fixture(channels=("dimmer",), address=10, count=3, spacing=16, offset=0.5, offset_step=0.25)])
    assert [lamp.slots[0].start for lamp in spaced] == [9, 25, 41]
    assert [lamp.offset for lamp in spaced] == [0.5, 0.75, 1.0]
    taken = {(slot.universe, slot.start + i) for slot in slots for i in range(3)}
    assert len(taken) == 4 * 60 * 3
    assert all(a.start != b.start or a.universe != b.universe for a, b in itertools.pairwise(slots))
