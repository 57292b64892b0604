"""A rig file says what is meant, or what is wrong with it, in one line."""

import contextlib
import itertools
import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.output import open_artnet, open_sacn
from stream_mer.outputs.dmx.rig import (
    EXAMPLES,
    LOOKS,
    TABLES,
    Fixture,
    Rig,
    find_rig,
    lamps_of,
    preset,
    rig_of,
    universes_of,
    used_channels,
)

LAMP = '[[fixtures]]\nchannels = ["red", "green", "blue"]\n'


def rig(text: str) -> Rig:
    return rig_of(tomllib.loads(text), name="file")


def plain(struct):
    """The struct as lists, tables and numbers."""
    return msgspec.json.decode(msgspec.json.encode(struct))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_rigs(name):
    assert rig(EXAMPLES[name]).fixtures


def test_what_is_not_said_is_as_in_the_preset():
    made = rig('preset = "wash"\n[safety]\nhold_s = 3\n' + LAMP)
    assert made.look == preset("wash").look
    assert made.safety == msgspec.structs.replace(preset("wash").safety, hold_s=3.0)
    assert made.name == "file"
    assert rig(LAMP).look == preset("mood").look


def test_a_file_that_names_a_preset_and_no_lamps_has_those_of_the_preset():
    made = rig('preset = "mood"\n[sacn]\npriority = 110\n')
    assert made == msgspec.structs.replace(
        preset("mood"), name="file", sacn=msgspec.structs.replace(preset("mood").sacn, priority=110)
    )
    assert rig('preset = "wash"').fixtures == preset("wash").fixtures
    for text in ("", "rate_hz = 30", "[sacn]\npriority = 110", 'preset = "mood"\nfixtures = []'):
        with pytest.raises(SettingError, match="a rig has at least one fixture"):
            rig(text)


@pytest.mark.parametrize("place", ["::1", "[::1]", "fe80::1%eth0", "10.0.0.1:5568", "::", "999.1.1.1", "a desk"])
def test_an_address_that_cannot_be_sent_to_is_refused(place):
    for open_output in (open_sacn, open_artnet):
        with pytest.raises(SettingError, match=r"^mood@") as error:
            open_output(f"mood@{place}", "demo")
        assert "\n" not in str(error.value)
    for table in (f'[sacn]\nto = ["10.0.0.1", "{place}"]\n', f'[artnet]\nto = "{place}"\n'):
        with pytest.raises(SettingError, match=r"^(sacn|artnet)\.to: "):
            rig(table + LAMP)


def test_a_rig_without_end_is_refused():
    for lamp, many in (("count = 4096\n", 2), ("pixels = 4096\n", 9)):
        with pytest.raises(SettingError, match="a rig has at most 4096 lamps and 32768 pixels"):
            rig("".join(f"{LAMP}universe = {1000 * i + 1}\n{lamp}" for i in range(many)))
    with pytest.raises(SettingError, match=r"sacn\.to has at most 64 addresses"):
        rig(f"[sacn]\nto = {['10.0.0.1'] * 65}\n" + LAMP)


def test_a_name_longer_than_any_file_is_no_rig():
    for spec in ("x" * 5000, "x/" * 5000, "x" * 5000 + "@10.0.0.1", "nul\0"):
        with pytest.raises(SettingError, match="no rig is called") as error:
            open_sacn(spec, "demo")
        assert len(str(error.value)) < 600


def test_everything_can_be_said():
    text = (
        'name = "all"\nrate_hz = 25\n'
        '[look]\ncolour = "palette"\nhue = [0, 1]\nsaturation = [0, 1]\nwander = 1\nintensity = [0.5, 0.6]\n'
        'speed = [0, 0]\nrounds_per_min = 0\n[look.palettes]\nhappy = ["#ffffff"]\n'
        '[safety]\nlost_colour = "#000000"\nat_end = "dark"\n'
        '[sacn]\nto = "10.0.0.1"\npriority = 1\ninterface = "10.0.0.2"\nport = 5569\n'
        '[artnet]\nto = "10.0.0.1"\nfirst_universe = 1\nport = 6455\n'
        '[[fixtures]]\nname = "a"\nuniverse = 2\naddress = 3\nchannels = ["dimmer", "dimmer fine", "strobe", 9]\n'
        "count = 2\npixels = 3\nspacing = 8\noffset = 0.5\noffset_step = 0.25\nintensity = 0.5\nresponse = 2.2\n"
        "strobe = 10\npan = [0.1, 0.2]\ntilt = [0.4, 0.3]\n"
    )
    table, made = tomllib.loads(text), plain(rig(text))
    assert (made["name"], made["rate_hz"]) == ("all", 25)
    palettes = plain(Look().palettes) | table["look"].pop("palettes")
    assert made["look"]["palettes"] == palettes, "the other palettes stay"
    assert made["sacn"]["to"] == [table["sacn"].pop("to")]
    for part in ("look", "safety", "sacn", "artnet"):
        assert {key: made[part][key] for key in table[part]} == table[part]
    assert made["fixtures"] == table["fixtures"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one fixture"),
        ("presett = 1\n" + LAMP, "no setting presett; did you mean 'preset'"),
        ('preset = "mod"\n' + LAMP, "did you mean 'mood'"),
        ("rate_hz = 60\n" + LAMP, "rate_hz is 10 to 40"),
        (f"rate_hz = 1{'0' * 400}\n" + LAMP, "rate_hz is 10 to 40, not 1000"),
        ('name = ""\n' + LAMP, "1 to 63 bytes"),
        ("[look]\nhues = [1, 2]\n" + LAMP, "no setting look.hues; did you mean 'hue'"),
        ("[look]\nhue = 3\n" + LAMP, "look.hue is two angles"),
        ("[look]\nhue = [0, 721]\n" + LAMP, "look.hue is two angles"),
        ("[look]\nintensity = [0, 2]\n" + LAMP, "look.intensity is two numbers from 0 to 1"),
        ("[look]\nwander = 181\n" + LAMP, "look.wander"),
        ("[look]\nrounds_per_min = -1\n" + LAMP, "look.rounds_per_min"),
        ('[look]\ncolour = "rainbow"\n' + LAMP, "choose from mood, palette"),
        ('[look.palettes]\nhapy = ["#ffffff"]\n' + LAMP, "did you mean 'happy'"),
        ("[look.palettes]\nhappy = []\n" + LAMP, "look.palettes.happy is a list of colours"),
        ('[look.palettes]\nhappy = ["red"]\n' + LAMP, 'a list of colours, such as ["#ffb000", "#ff6a00"]'),
        ("[safety]\nhold_s = -1\n" + LAMP, "safety.hold_s is 0 to 3600"),
        ("[safety]\nfade_s = 0\n" + LAMP, "safety.fade_s is above 0"),
        ("[safety]\nintensity_per_s = 0\n" + LAMP, "safety.intensity_per_s is above 0"),
        ("[safety]\nend_fade_s = 9\n" + LAMP, "safety.end_fade_s is 0.1 to 1.5"),
        ('[safety]\nlost_colour = "amber"\n' + LAMP, "not 'amber'"),
        ("[sacn]\npriority = 201\n" + LAMP, "sacn.priority is 0 to 200"),
        ('[sacn]\nto = [""]\n' + LAMP, "sacn.to has an address that is empty"),
        ('[sacn]\ninterface = "eth0"\n' + LAMP, "sacn.interface is an address such as"),
        ("[sacn]\nport = 0\n" + LAMP, "sacn.port is 1 to 65535"),
        ("[artnet]\nfirst_universe = 40000\n" + LAMP, "artnet.first_universe is 0 to 32767"),
        ("fixtures = 3", "[[fixtures]]"),
        ("[[fixtures]]\ncount = 2", "channels is missing"),
        ('[[fixtures]]\nchanels = ["red"]', "there is no setting fixtures[1].chanels; did you mean 'channels'?"),
        ('[[fixtures]]\nname = "par"\nadress = 1\nchannels = ["red"]', "no setting par.adress; did you mean 'address'"),
        ('[[fixtures]]\nchannels = ["rde"]', "there is no 'rde'; did you mean 'red'"),
        ("[[fixtures]]\nchannels = [256]", "channels is 0 to 255, not 256"),
        ("[[fixtures]]\nchannels = []", "a lamp has 1 to 512 channels"),
        ('[[fixtures]]\nchannels = ["red", "red"]', "is there twice"),
        ('[[fixtures]]\nchannels = ["red fine"]', "goes with 'red'"),
        ('[[fixtures]]\nchannels = ["dimmer", "cyan", "yellow"]', "cyan, magenta and yellow go together"),
        ('[[fixtures]]\nchannels = ["cyan", "magenta", "yellow"]', "cyan needs a dimmer"),
        ('[[fixtures]]\nchannels = ["dimmer", "cyan", "magenta", "yellow", "amber"]', "with amber or with cyan"),
        ('[[fixtures]]\nchannels = ["pan"]\npan = [0, 1.5]', "two numbers from 0 to 1"),
        ('[[fixtures]]\nchannels = ["red"]\naddress = 513', "address is 1 to 512"),
        ('[[fixtures]]\nchannels = ["red"]\noffset = 1e308', "offset is -1000 to 1000, not 1e+308"),
        ('[[fixtures]]\nchannels = ["red"]\noffset_step = inf', "is a number, not inf"),
        ('[[fixtures]]\nchannels = ["red", "blue"]\naddress = 512', "does not fit"),
        ('[[fixtures]]\nchannels = ["red", "blue"]\nspacing = 1', "spacing is at least the 2 channels"),
        ('[[fixtures]]\nchannels = ["red"]\ncount = 4096\npixels = 2', "at most 4096 pixels"),
        ('[[fixtures]]\nchannels = ["red"]\nuniverse = 63999\ncount = 513', "no universe 64000"),
        (LAMP + LAMP, "both have channel 1 of universe 1"),
    ],
)
def test_what_is_not_valid_is_one_line_with_the_way_out(text, says):
    with pytest.raises(SettingError) as error:
        rig(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


json_like = st.recursive(
    st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
KEYS = [*TABLES, "fixtures", "name", "rate_hz", "preset"]
PARTS = {name: list(kind.__struct_fields__) for name, kind in TABLES.items()}
PARTS["fixtures"] = list(Fixture.__struct_fields__)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_is_written_is_a_rig_or_a_setting_error(data):
    key = data.draw(st.sampled_from(KEYS))
    value = data.draw(json_like)
    if key in PARTS and data.draw(st.booleans()):
        value = {data.draw(st.sampled_from(PARTS[key])): value}
    table = {"fixtures": [{"channels": ["red"]}], key: value}
    if key == "fixtures":
        table = {"fixtures": [{"channels": ["red"], **value} if isinstance(value, dict) else value]}
    with contextlib.suppress(SettingError):
        assert isinstance(rig_of(table, name="file"), Rig)


def test_an_error_of_a_file_begins_with_its_name(tmp_path):
    with pytest.raises(SettingError, match=r"not-there\.toml: No such file"):
        find_rig(str(tmp_path / "not-there.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("[look")
    with pytest.raises(SettingError, match=r"broken\.toml is no TOML"):
        find_rig(str(broken))
    broken.write_text("rate_hz = 99\n" + LAMP)
    with pytest.raises(SettingError, match=r"broken\.toml: rate_hz"):
        find_rig(str(broken))


def test_names_and_places_are_read(tmp_path):
    path = tmp_path / "club@home.toml"
    path.write_text(LAMP)
    assert find_rig(str(path)).name == "club@home"
    assert open_sacn("mood", "demo").name == "sacn stream_mer mood at multicast"
    assert open_sacn("wash@10.0.0.1, 10.0.0.2", "demo").name == "sacn stream_mer wash at 10.0.0.1, 10.0.0.2"
    assert open_sacn(f"{path}@10.0.0.1", "demo").name == "sacn club@home at 10.0.0.1"
    assert open_sacn(str(path), "demo").name == "sacn club@home at multicast"
    assert open_artnet("palette@10.0.0.1", "demo").stream == "demo"
    for spec, says in (("mod", "did you mean 'mood'"), ("xyz", ", ".join(LOOKS)), ("mood@", "after the @")):
        with pytest.raises(SettingError, match=says):
            open_sacn(spec, "demo")
    with pytest.raises(SettingError, match="one address"):
        open_artnet("mood@10.0.0.1,10.0.0.2", "demo")
    with pytest.raises(SettingError, match="RIG@HOST"):
        open_artnet("mood", "demo")


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
