"""MIDI: what is sent when, judged by mido's parser, to ports of a system that tests make up."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.outputs import midi
from stream_mer.outputs.midi import PORT_CHECK_S, PRESETS, REFRESH_S, choose_port, find_midi, list_ports, open_midi
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES

RATE_HZ = 30
LIVE = ShowValues(
    valence=1.0,
    arousal=-1.0,
    confidence=0.5,
    probs=dict(zip(CATEGORIES, (1.0, 0.0, 0.0, 0.0), strict=True)),
    category="happy",
    rms_db=-30.0,
    alive=True,
)


class Machine:
    """Stands in for ``rtmidi``: a machine with these ports. The first system of two does not work."""

    API_LINUX_ALSA, API_UNIX_JACK = 2, 3

    class SystemError(OSError):  # noqa: A001 - rtmidi's name
        pass

    def __init__(self, *ports):
        self.ports = list(ports)
        self.apis = [4, 5]
        self.opened = []
        self.parser = mido.Parser()
        self.clients = 0

    def get_compiled_api(self):
        return self.apis

    def MidiOut(self, *, rtapi, name):  # noqa: N802 - rtmidi's name
        if rtapi == 4:
            raise self.SystemError("not running")
        self.clients += 1
        return SimpleNamespace(
            get_ports=lambda: list(self.ports),
            open_port=lambda number, port: self.opened.append((name, self.ports[number], port)),
            open_virtual_port=lambda port: self.opened.append((name, "virtual", port)),
            send_message=self.parser.feed,
            close_port=lambda: None,
            delete=self._delete,
        )

    def _delete(self):
        self.clients -= 1

    def heard(self):
        return list(self.parser)


@pytest.fixture
def machine(monkeypatch):
    made = Machine("Midi Through:Midi Through Port-0 14:0", "Synth:Synth MIDI 1 20:0")
    monkeypatch.setattr(midi, "_rtmidi", lambda: made)
    return made


class Show:
    """An output that is sent to at its rate."""

    def __init__(self, spec):
        self.output = open_midi(spec, "main")
        self.output.open()
        self.t = 0.0

    def send(self, values, seconds=1 / RATE_HZ):
        for _ in range(max(1, round(seconds * RATE_HZ))):
            self.output.send(self.t, values)
            self.t += 1 / RATE_HZ


def controls(messages):
    """The newest value of each controller."""
    return {each.control: each.value for each in messages if each.type == "control_change"}


def test_values_arrive_as_control_changes_of_the_channel(machine):
    show = Show("generic@Synth#3")
    show.send(LIVE, 3)
    heard = machine.heard()
    assert {each.channel for each in heard} == {2}
    newest = controls(heard)
    assert [newest[number] for number in (20, 21, 22, 23, 27, 30, 31)] == [127, 0, 127, 0, 64, 0, 127]
    assert newest[26] in {63, 64}
    assert machine.opened == [("stream_mer", "Synth:Synth MIDI 1 20:0", "stream_mer")]


def test_what_stays_the_same_is_sent_seldom(machine):
    show = Show("generic")
    show.send(LIVE, REFRESH_S / 2)
    machine.heard()
    show.send(LIVE, REFRESH_S / 2 - 1)
    assert machine.heard() == []
    show.send(LIVE, 2)
    assert len(machine.heard()) == 12, "for receivers that came late"
    show.output.close()
    show.output.open()
    show.send(LIVE)
    assert len(machine.heard()) == 12, "the port is new"


def test_a_change_plays_its_note_and_ends_it(machine):
    show = Show("generic")
    show.send(LIVE, 1)
    machine.heard()
    show.send(replace(LIVE, category="sad", changes=1))
    notes = [(each.type, each.note, each.velocity) for each in machine.heard() if each.type.startswith("note")]
    assert notes == [("note_on", 62, 127), ("note_on", 64, 127)]
    show.send(replace(LIVE, category="sad", changes=1), 1)
    ended = [(each.type, each.note) for each in machine.heard() if each.type.startswith("note")]
    assert ended == [("note_off", 62), ("note_off", 64)]


def test_at_the_end_no_note_hangs_and_alive_is_off(machine):
    show = Show("generic")
    show.send(LIVE, 1)
    show.send(replace(LIVE, category="sad", changes=1))
    machine.heard()
    show.output.finish()
    heard = machine.heard()
    assert {each.note for each in heard if each.type == "note_off"} == {62, 64}
    assert controls(heard) == {31: 0}
    show.output.close()
    assert machine.clients == 0


def test_light_goes_dark_in_a_blackout(machine):
    show = Show("light")
    show.send(LIVE, 5)
    assert controls(machine.heard())[102] == 127
    show.send(replace(LIVE, hold="blackout"), 3)
    assert set(controls(machine.heard()).values()) == {0}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
def test_whatever_comes_mido_reads_it(numbers):
    made = Machine("Synth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(midi, "_rtmidi", lambda: made)
        show = Show("generic")
        for number in numbers:
            show.send(replace(LIVE, valence=number, rms_db=number, onset=number))
    for message in made.heard():
        assert message.type == "control_change"
        assert 20 <= message.control <= 31


def test_a_device_that_was_pulled_out_is_noticed(machine):
    show = Show("generic@synth")
    show.send(LIVE, 1)
    machine.ports.pop()
    with pytest.raises(OSError, match="'Synth:Synth MIDI 1 20:0' is gone"):
        show.send(LIVE, 2 * PORT_CHECK_S)
    show.output.close()
    with pytest.raises(OSError, match="no MIDI port is called 'synth'; ports: 'Midi Through"):
        show.output.open()
    assert machine.clients == 0, "nothing is left open"


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("b", "A:B 14:0"),
        ("iac driver", "IAC Driver"),
        ("IAC Driver Bus 2", "IAC Driver Bus 2"),
        ("a:b", "A:B 14:0"),
    ],
)
def test_a_port_is_found_by_its_name_or_a_part_of_it(wanted, chosen):
    assert choose_port(wanted, ["A:B 14:0", "IAC Driver Bus 2", "IAC Driver"]) == chosen


def test_without_ports_it_says_what_is_possible():
    with pytest.raises(OSError, match="without @PORT a virtual one is made"):
        choose_port("x", [])


@pytest.mark.parametrize(
    ("spec", "opened", "name"),
    [
        ("generic", ("stream_mer", "virtual", "stream_mer"), "midi generic at virtual port stream_mer, channel 1"),
        (
            "synth@virtual:to QLC#16",
            ("stream_mer", "virtual", "to QLC"),
            "midi synth at virtual port to QLC, channel 16",
        ),
    ],
)
def test_a_virtual_port_gets_its_name(machine, spec, opened, name):
    output = open_midi(spec, "main")
    output.open()
    assert machine.opened == [opened]
    assert output.name == name


def test_two_outputs_share_a_port_but_no_controller(machine):  # noqa: ARG001 - the machine stands in
    claims = open_midi("generic@synth", "a").claims
    assert claims & open_midi("generic@synth", "b").claims
    assert not claims & open_midi("generic@synth#2", "b").claims
    assert not claims & open_midi("light@synth", "b").claims - {f"note {n} at synth, channel 1" for n in range(60, 64)}


def test_windows_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SettingError, match="loopMIDI"):
        find_midi("generic")
    assert find_midi("generic@loopMIDI").port == "loopMIDI"


def test_without_any_midi_it_says_so(machine):
    assert list_ports() == machine.ports
    machine.apis = [4]
    with pytest.raises(OSError, match="this machine has no MIDI"):
        list_ports()


def test_on_linux_a_system_that_is_not_there_is_not_asked(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(midi, "Path", lambda *parts: tmp_path.joinpath(*(part.lstrip("/") for part in parts[-1:])))
    for api, sign in ((2, "dev/snd/seq"), (3, "pipewire-0"), (3, "dev/shm/jack-0-0")):
        machine.apis = [api]
        with pytest.raises(OSError, match="this machine has no MIDI"):
            list_ports()
        path = tmp_path / sign
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert list_ports() == machine.ports
        path.unlink()


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    for package in ("rtmidi", "mido"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(SettingError, match=r"pip install 'stream-mer\[midi\]'"):
                open_midi("generic", "main")


FILE = """\
preset = "light"
port = "Synth"
channel = 5
[controls]
valence = 1
arousal = { number = 2, range = [10, 20], slew_per_s = 9 }
category = 3
change = 4
[notes]
to_sad = { number = 36, velocity = 100 }
"""


def test_a_mapping_file_says_what_is_sent(machine, tmp_path):
    path = tmp_path / "my@show#1.toml"
    path.write_text(FILE)
    show = Show(str(path))
    show.send(replace(LIVE, arousal=1.0), 3)
    assert controls(machine.heard()) == {1: 127, 2: 20, 3: 1}
    show.send(replace(LIVE, category="sad", changes=1), 1)
    heard = machine.heard()
    assert [each.value for each in heard if each.is_cc(4)] == [127, 0]
    assert [(each.note, each.velocity, each.channel) for each in heard if each.type == "note_on"] == [(36, 100, 4)]
    assert find_midi(f"{path}@other#7").place == "other, channel 7"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[controls]\nvalense = 1", "did you mean 'valence'"),
        ("[controls]\nvalence = 128", "controls.valence"),
        ("[controls]\nvalence = 'x'", "a number from 0 to 127, or a table"),
        ("[controls]\nvalence = true", "a number from 0 to 127, or a table"),
        ("[controls]\nvalence = 1\narousal = 1", "both sent to /cc/1"),
        ("[controls]\nline = 1", "MIDI has no texts"),
        ("[controls]\nvalence = { number = 1, range = [5, 5] }", "begins below its end"),
        ("[notes]\nhappy = 60", "a note is played when something happens: change, to_"),
        ("channel = 0", "channel"),
        ("preset = 'lights'", "did you mean 'light'"),
        ("chanel = 1", "chanel"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path, text, told):
    path = tmp_path / "show.toml"
    path.write_text(text)
    with pytest.raises(SettingError, match=told):
        find_midi(str(path))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("IAC Driver", r"a port stands behind it: generic@PORT"),
        ("generik", "did you mean 'generic'"),
        ("generic#0", "1 to 16, not 0"),
        ("no.toml", "no.toml"),
    ],
)
def test_what_cannot_be_is_told(spec, told):
    with pytest.raises(SettingError, match=told):
        find_midi(spec)


def test_presets_disturb_no_receiver_that_was_not_mapped():
    for name in ("generic", "light"):
        numbers = {number for kind, number in _sent(name) if kind == "control change"}
        assert numbers <= {*range(20, 32), *range(102, 120)}, "those that the standard leaves free"


def _sent(name):
    return [midi._address(field.address) for field in PRESETS[name].target.mapping.sent]
