"""One line makes an output of each kind, and says what is wrong with it."""

import pytest

from stream_mer.errors import SettingError
from stream_mer.outputs.catalogue import OUTPUT_KINDS, open_output


@pytest.mark.parametrize(
    ("kind", "spec", "begins"),
    [
        ("osc", "resolume@10.0.0.1", "osc resolume"),
        ("osc", "wled@10.0.0.1", "wled"),
        ("sacn", "mood", "sacn"),
        ("artnet", "wash@10.0.0.1", "artnet"),
        ("midi", "generic@desk", "midi generic at desk"),
        ("mqtt", "mqtt://me:hunter2@broker/home", "mqtt main at broker:1883/home"),
    ],
)
def test_a_line_makes_an_output(kind, spec, begins):
    output = open_output(kind, spec, "main")
    assert output.stream == "main"
    assert output.name.startswith(begins)


def test_every_kind_says_how_it_is_written():
    for name, kind in OUTPUT_KINDS.items():
        assert kind.kind == name
        assert kind.title
        assert kind.hint
        assert kind.presets() or name == "mqtt"


@pytest.mark.parametrize(
    ("kind", "spec", "told"), [("ocs", "x", "did you mean 'osc'"), ("artnet", "mood", "an address")]
)
def test_what_is_wrong_is_told(kind, spec, told):
    with pytest.raises(SettingError, match=told):
        open_output(kind, spec, "main")
