"""From what a person typed, or wrote into a file, to a receiver."""

import pytest

from stream_mer.errors import SettingError
from stream_mer.outputs.osc.mapping import FIELDS, SIGNED, UNIT, OscField, Scale
from stream_mer.outputs.osc.targets import OTHER_RECEIVERS, PRESETS, find_other, find_target, open_other, target_of

MAPPING = """
port = 7000
host = "10.0.0.9"
transport = "slip"
prefix = "/show"
rate_hz = 25
strings = true
light = true
step = 0.01
hold_s = 3
fade_s = 1.5

[fields]
valence = "/hue"
arousal = { scale = "0-100", slew_per_s = 1 }
to_happy = { address = "/go/1", scale = "int 0-1", release = true }
onset = ["/a", { address = "/b", scale = "int" }]
"""


def test_presets_send_numbers_that_their_receivers_take():
    for name, preset in PRESETS.items():
        target = preset.target
        assert target.name == name
        assert preset.about
        assert preset.setup
        kinds = {field.source.kind for field in target.mapping.sent}
        assert ("text" in kinds) == (name == "generic"), "texts harm some, and help nobody else"
    assert {field.sent_scale for field in PRESETS["resolume"].target.mapping.sent} == {UNIT}
    assert {field.sent_scale for field in PRESETS["grandma3"].target.mapping.sent} == {Scale(low=0.0, high=100.0)}
    assert {field.name for field in PRESETS["generic"].target.mapping.sent} == set(FIELDS)
    for light in ("eos", "grandma3"):
        assert PRESETS[light].target.mapping.light
        assert not PRESETS[light].target.mapping.wants_levels, "onsets would flash"


@pytest.mark.parametrize(
    ("spec", "name", "place", "address"),
    [
        ("touchdesigner", "touchdesigner", "udp://127.0.0.1:7000", "/mer/main/valence"),
        ("touchdesigner@192.168.1.20", "touchdesigner", "udp://192.168.1.20:7000", "/mer/main/valence"),
        ("resolume@vj:7001", "resolume", "udp://vj:7001", "/composition/dashboard/link1"),
        ("eos@192.168.1.5", "eos", "tcp://192.168.1.5:3032", "/eos/sub/101"),
        ("eos@slip://desk.local", "eos", "slip://desk.local:3032", "/eos/sub/101"),
        ("grandma3@10.0.0.5:8000/gma3", "grandma3", "udp://10.0.0.5:8000", "/gma3/Page1/Fader201"),
        ("qlcplus@:7701", "qlcplus", "udp://127.0.0.1:7701", "/mer/main/valence"),
        ("10.0.0.1:9001", "generic", "udp://10.0.0.1:9001", "/mer/main/valence"),
        ("tcp://10.0.0.1:9001/x/", "generic", "tcp://10.0.0.1:9001", "/x/mer/main/valence"),
        ("desk.local", "generic", "udp://desk.local:9000", "/mer/main/valence"),
        ("[::1]:9001", "generic", "udp://[::1]:9001", "/mer/main/valence"),
    ],
)
def test_what_was_typed_finds_its_receiver(spec, name, place, address):
    target = find_target(spec)
    assert (target.name, target.place) == (name, place)
    assert target.mapping.sent[0].address_of("main") == address


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("touchdesinger", "no OSC preset is called 'touchdesinger'; did you mean 'touchdesigner'?"),
        ("zzz@10.0.0.1", "no OSC preset is called 'zzz'; choose from generic,"),
        ("", "no OSC preset is called ''"),
        ("eos@", "'' is not a place: write HOST, HOST:PORT"),
        ("eos@a b", "'a b' is not a place"),
        ("eos@desk:70000", "a port is 1 to 65535, not 70000"),
        ("eos@desk:0", "a port is 1 to 65535, not 0"),
        ("eos@ftp://desk", "no transport is called 'ftp'"),
        ("grandma3@desk/g ma", "neither spaces"),
        ("none.toml", "none.toml: No such file"),
        ("x" * 5000, "no OSC preset is called"),
        ("x/" * 5000, "no OSC preset is called"),
        ("eos@999.1.1.1", "neither an address"),
        ("eos@" + "a" * 64, "neither an address"),
        ("eos@desk:" + "9" * 5000, "a port is 1 to 65535, not 999999"),
        ("eos@desk/" + "a" * 300, "has "),
    ],
)
def test_what_cannot_be_is_an_error(spec, message):
    with pytest.raises(SettingError) as error:
        find_target(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_mapping_file_says_everything(tmp_path):
    path = tmp_path / "my show.toml"
    path.write_text(MAPPING)
    target = find_target(str(path))
    assert (target.name, target.place, target.rate_hz) == ("my show", "slip://10.0.0.9:7000", 25)
    mapping = target.mapping
    assert (mapping.strings, mapping.light, mapping.step, mapping.hold_s, mapping.fade_s) == (True, True, 0.01, 3, 1.5)
    assert [(field.name, field.address_of("m"), str(field.sent_scale)) for field in mapping.sent] == [
        ("valence", "/show/hue", "-1..1"),
        ("arousal", "/show/mer/m/arousal", "0..100"),
        ("to_happy", "/show/go/1", "int 0..1"),
        ("onset", "/show/a", "0..1"),
        ("onset", "/show/b", "int 0..127"),
    ]
    assert mapping.sent[1].slew_per_s == 1
    assert mapping.sent[2].release
    assert find_target(f"{path}@10.0.0.77").place == "slip://10.0.0.77:7000"


def test_a_mapping_may_begin_with_a_preset():
    same = target_of({"preset": "eos"}, name="x")
    assert same.mapping == PRESETS["eos"].target.mapping
    assert (same.name, same.place) == ("x", "tcp://127.0.0.1:3032")
    other = target_of({"preset": "eos", "host": "desk", "step": 0.1, "fields": {"valence": "/eos/sub/7"}}, name="x")
    assert other.place == "tcp://desk:3032"
    assert other.mapping.fields == (OscField(name="valence", address="/eos/sub/7"),)
    assert other.mapping.sent[0].sent_scale == SIGNED
    assert (other.mapping.step, other.mapping.light) == (0.1, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = ", "is no TOML: "),
        ("prot = 7000", "there is no setting prot; did you mean 'port'?"),
        ("port = 7000", "at least port and [fields]"),
        ("[fields]\nvalence = '/v'", "at least port"),
        ("preset = 'eoss'", "no preset is called 'eoss'; did you mean 'eos'?"),
        ("preset = 'eos'\nport = '1'", "port is a whole number, not '1'"),
        ("preset = 'eos'\nport = true", "port is a whole number, not True"),
        ("preset = 'eos'\nstrings = 1", "strings is true or false, not 1"),
        ("preset = 'eos'\nrate_hz = 0", "rate_hz is above 0"),
        ("preset = 'eos'\nrate_hz = nan", "rate_hz is a number, not nan"),
        ("preset = 'eos'\ntransport = 'tpc'", "transport: there is no 'tpc'; did you mean 'tcp'?"),
        ("preset = 'eos'\nprefix = 'gma3'", "must begin with /"),
        ("preset = 'eos'\nport = 65536", "port is 1 to 65535, not 65536"),
        ("preset = 'eos'\nstep = 0.2", "step is 0 to 0.1, not 0.2"),
        ("preset = 'eos'\nhold_s = -1", "hold_s is 0 to 1e+06, not -1"),
        ("preset = 'eos'\nfade_s = 0", "fade_s is above 0"),
        ("preset = 'eos'\n[fields]\nvalence = {slew_per_s = 0}", "fields.valence.slew_per_s is above 0"),
        ("preset = 'eos'\n[fields]\nvalence = {slew_per_s = nan}", "fields.valence.slew_per_s is a number, not nan"),
        ("preset = 'eos'\nfields = 3", "fields is a table, not 3"),
        ("preset = 'eos'\n[fields]", "at least one field"),
        ("preset = 'eos'\nhost = 'a desk'", "neither an address such as"),
        ("preset = 'eos'\nhost = '::'", "stands for no receiver"),
        (f"preset = 'eos'\n[fields]\nvalence = '/{'a' * 300}'", "characters"),
        (f"preset = 'eos'\n[fields]\nvalence = {['/a'] * 513}", "at most 512 fields, not 513"),
        ("preset = 'eos'\n[fields]\nvalense = '/v'", "no OSC field is called 'valense'; did you mean 'valence'?"),
        ("preset = 'eos'\n[fields]\nvalence = 3", "fields.valence is an address"),
        ("preset = 'eos'\n[fields]\nvalence = {adress = '/v'}", "fields.valence.adress; did you mean 'address'?"),
        ("preset = 'eos'\n[fields]\nvalence = {scale = 'wide'}", "a scale is"),
        ("preset = 'eos'\n[fields]\nvalence = {slew_per_s = 'x'}", "fields.valence.slew_per_s is a number"),
        ("preset = 'eos'\n[fields]\nvalence = [['/v', 3]]", "fields.valence is an address"),
    ],
)
def test_a_mapping_that_cannot_be_is_an_error_with_its_file(tmp_path, text, message):
    path = tmp_path / "show.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as error:
        find_target(str(path))
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "show.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="is no TOML"):
        find_target(str(path))


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
    output = open_other(find_other(spec), spec, stream="foyer")
    assert (output.name, output.stream) == (name, "foyer")


@pytest.mark.parametrize("spec", ["wled", "wled@", "wled@:21324", "wled@a b", "ledfx@h:0", "ledfx@h:99999", "ledfx@/"])
def test_what_is_no_place_is_an_error(spec):
    with pytest.raises(SettingError, match=r"say where it is: (wled|ledfx)@HOST"):
        open_other(find_other(spec), spec, stream="foyer")


def test_others_are_none_of_them_and_typing_mistakes_find_them():
    assert find_other("eos@10.0.0.1") is None
    with pytest.raises(SettingError, match="did you mean 'wled'"):
        find_target("wledd")
    assert all(each.about and each.setup and each.speaks for each in OTHER_RECEIVERS.values())
