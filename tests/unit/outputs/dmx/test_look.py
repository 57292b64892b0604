"""What light the music wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.outputs.dmx.look import Look, Target, as_light, as_seen, blend, hex_of, parse_colour, target
from stream_mer.outputs.dmx.rig import LOOKS, preset
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


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colours_are_read_as_they_are_written(parts):
    text = "#" + bytes(parts).hex()
    assert hex_of(parse_colour(text)) == text
