"""What can be sent, where to, and as which numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.outputs.osc.mapping import (
    FIELDS,
    NUMBERS,
    PERCENT,
    SIGNED,
    UNIT,
    OscField,
    OscMapping,
    Scale,
    address_part,
    parse_scale,
)
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES


def test_every_field_can_be_read_and_has_a_neutral_value_of_its_kind():
    for name, source in FIELDS.items():
        value = source.read(ShowValues())
        assert isinstance(value, str) == (source.kind == "text") == isinstance(source.neutral, str), name
        assert source.about
    assert {"valence", "arousal", *CATEGORIES, "confidence", "category", "alive", "hold"} <= set(NUMBERS)
    assert not {"line", "category_name", "hold_name"} & set(NUMBERS)


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("0-1", UNIT),
        ("0..1", UNIT),
        ("-1..1", SIGNED),
        ("-1-1", SIGNED),
        (" 0 - 100 ", PERCENT),
        ("int", Scale(low=0, high=127, whole=True)),
        ("int 0-255", Scale(low=0, high=255, whole=True)),
        ("-0.5..+2.25", Scale(low=-0.5, high=2.25)),
    ],
)
def test_scales_are_written_in_many_ways(text, scale):
    assert parse_scale(text) == scale


@pytest.mark.parametrize("text", ["", "1", "0-", "a-b", "1..0", "0..0", "int 0-0.5", "0-1-2", "1e999..2"])
def test_what_is_no_scale_is_an_error(text):
    with pytest.raises(SettingError, match="scale"):
        parse_scale(text)


@given(st.floats(0, 1), st.floats(-1e6, 1e6), st.floats(0.01, 1e6))
def test_a_share_becomes_a_number_between_the_ends(share, low, width):
    scale = Scale(low=low, high=low + width)
    assert scale.low - 1e-6 <= scale.number(share) <= scale.high + 1e-6
    assert (scale.number(0.0), scale.number(1.0)) == (scale.low, pytest.approx(scale.high))


@given(st.integers(-1000, 1000), st.integers(1, 1000), st.floats(0, 1))
def test_integers_stay_integers_and_a_scale_reads_itself(low, width, share):
    scale = Scale(low=low, high=low + width, whole=True)
    assert isinstance(scale.number(share), int)
    assert low <= scale.number(share) <= low + width
    assert parse_scale(str(scale)) == scale


def test_both_names_stand_in_an_address_and_nothing_that_osc_would_misread():
    assert OscField(name="valence").address_of("my song #1/*") == "/mer/my_song__1__/valence"
    assert OscField(name="valence", address="/fixed").address_of("x") == "/fixed"


@given(st.text())
def test_any_name_becomes_part_of_an_address(name):
    part = address_part(name)
    assert len(part) == len(name)
    assert part.isascii()
    assert not set(part) & set(" #*,/?[]{}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "valense"}, "no OSC field is called 'valense'; did you mean 'valence'?"),
        ({"name": "valence", "address": "no/slash"}, "must begin with /"),
        ({"name": "valence", "address": "/a b"}, "neither spaces"),
        ({"name": "valence", "address": "/{strem}"}, "neither spaces"),
        ({"name": "category", "slew_per_s": 1.0}, "does not move gradually"),
        ({"name": "line", "scale": UNIT}, "is sent as it is"),
        ({"name": "arousal", "release": True}, "is no trigger"),
    ],
)
def test_a_field_that_cannot_be_is_an_error(fields, message):
    with pytest.raises(SettingError) as error:
        OscField(**fields)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fields": ()}, "at least one field"),
        ({"fields": (OscField(name="line"),), "strings": False}, "at least one field"),
        ({"fields": (OscField(name="valence", address="/a"), OscField(name="arousal", address="/a"))}, "both sent to"),
    ],
)
def test_a_mapping_that_cannot_be_is_an_error(fields, message):
    with pytest.raises(SettingError, match=message):
        OscMapping(**fields)


def test_a_prefix_goes_before_every_address():
    mapping = OscMapping(fields=(OscField(name="valence"), OscField(name="arousal", address="/a")))
    assert [field.address_of("m") for field in mapping.under("/gma3").fields] == ["/gma3/mer/m/valence", "/gma3/a"]
    assert mapping.under("") is mapping
    with pytest.raises(SettingError, match="must begin with /"):
        mapping.under("gma3")


def test_only_levels_must_be_measured():
    assert OscMapping(fields=(OscField(name="onset"),)).wants_levels
    assert not OscMapping(fields=(OscField(name="valence"), OscField(name="line"))).wants_levels
