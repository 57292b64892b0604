"""``stream-mer midi`` as a user types it."""

import pytest

from stream_mer.cli import midi, osc
from stream_mer.outputs.midi import PRESETS
from stream_mer.outputs.osc import composer


def test_it_lists_presets_and_ports(stream_mer, monkeypatch):
    monkeypatch.setattr(midi, "list_ports", lambda: ["Synth 20:0", "\x1b[2J"])
    code, out, _ = stream_mer("midi")
    assert code == 0
    assert set(PRESETS) <= {line.split(" ")[0] for line in out.splitlines()}
    assert "  Synth 20:0\n  \\u001b[2J\n" in out


def test_where_there_is_no_midi_it_says_so(stream_mer, monkeypatch):
    def none():
        raise OSError("this machine has no MIDI")

    monkeypatch.setattr(midi, "list_ports", none)
    code, out, _ = stream_mer("midi")
    assert (code, out.splitlines()[-1]) == (0, "  this machine has no MIDI")


def test_it_shows_what_a_preset_sends(stream_mer):
    code, out, _ = stream_mer("midi", "light@desk#4")
    assert code == 0
    assert out.startswith("light at desk, channel 4, up to 20 times a second\n")
    assert "control change 102  int 0..127" in out
    assert "note 63" in out


def test_a_test_moves_every_control(stream_mer, monkeypatch):
    sent = []

    class Port:
        def __init__(self, target):
            assert target.port == "desk"

        send = sent.append

        def close(self):
            sent.append("closed")

    monkeypatch.setattr(midi, "MidiPort", Port)
    monkeypatch.setattr(composer, "STEP_S", 0.1)
    monkeypatch.setattr(osc, "_moments", lambda _, until: (i / 50 for i in range(round(50 * until))))
    code, out, _ = stream_mer("midi", "synth@desk#2", "--test", "--once")
    assert code == 0
    assert [line.split("  ")[1] for line in out.splitlines()[1:]] == [f"control change {n}" for n in (1, 74, 71, 11)]
    assert sent.pop() == "closed"
    assert {(message[0], message[1]) for message in sent} == {(0xB1, n) for n in (1, 74, 71, 11)}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("midi", "generik"), 2, "did you mean 'generic'"),
        (("midi", "--test"), 2, "say WHERE to"),
        (("serve", "--midi", "generic#99"), 2, "1 to 16"),
    ],
)
def test_what_cannot_be_is_told(stream_mer, arguments, status, told):
    code, _, err = stream_mer(*arguments)
    assert code == status
    assert told in err


def test_a_port_that_is_not_there_is_told(stream_mer, monkeypatch):
    def gone(target):
        raise OSError(f"no MIDI port is called {target.port!r}")

    monkeypatch.setattr(midi, "MidiPort", gone)
    code, _, err = stream_mer("midi", "generic@desk", "--test")
    assert (code, err) == (1, "stream-mer: desk, channel 1 cannot be sent to: no MIDI port is called 'desk'\n")
