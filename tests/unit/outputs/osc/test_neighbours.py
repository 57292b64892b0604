"""What speaks no OSC and is found among the presets all the same."""

import pytest

from stream_mer.errors import SettingError
from stream_mer.outputs.osc.neighbours import NEIGHBOURS, find_neighbour, open_neighbour
from stream_mer.outputs.osc.opening import find_target


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("wled@192.168.1.50", "wled at 192.168.1.50:21324"),
        ("wled@strip.local:4048", "wled at strip.local:4048"),
        ("ledfx", "ledfx at 127.0.0.1:8888"),
        ("ledfx@10.0.0.1", "ledfx at 10.0.0.1:8888"),
        ("ledfx@:8889", "ledfx at 127.0.0.1:8889"),
    ],
)
def test_it_is_found_where_it_is(spec, name):
    output = open_neighbour(find_neighbour(spec), spec, stream="foyer")
    assert (output.name, output.stream) == (name, "foyer")


@pytest.mark.parametrize("spec", ["wled", "wled@", "wled@:21324", "wled@a b", "ledfx@h:0", "ledfx@h:99999", "ledfx@/"])
def test_what_is_no_place_is_told(spec):
    with pytest.raises(SettingError, match=r"say where it is: (wled|ledfx)@HOST"):
        open_neighbour(find_neighbour(spec), spec, stream="foyer")


def test_others_are_none_of_them_and_typing_mistakes_find_them():
    assert find_neighbour("eos@10.0.0.1") is None
    with pytest.raises(SettingError, match="did you mean 'wled'"):
        find_target("wledd")
    assert all(each.about and each.setup and each.speaks for each in NEIGHBOURS.values())
