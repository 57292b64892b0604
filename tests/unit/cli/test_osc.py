"""``stream-mer osc`` as a user types it."""

import importlib
import re
import socket
import sys
from contextlib import closing

import pytest

from stream_mer.cli import osc
from stream_mer.outputs.osc import composer
from stream_mer.outputs.osc.targets import OTHER_RECEIVERS, PRESETS
from stream_mer.outputs.osc.transport import decode


def test_it_lists_the_presets(stream_mer):
    code, out, _ = stream_mer("osc")
    assert code == 0
    assert {*PRESETS, *OTHER_RECEIVERS} <= set(re.findall(r"^\w+", out, re.MULTILINE))


@pytest.mark.parametrize("name", PRESETS)
def test_it_shows_what_a_preset_sends_and_how_to_set_up_the_receiver(stream_mer, name):
    code, out, _ = stream_mer("osc", name, "--stream", "my song")
    assert code == 0
    for field in PRESETS[name].target.mapping.sent:
        assert re.search(rf"^{re.escape(field.address_of('my song'))} .*{re.escape(field.values)}", out, re.MULTILINE)
    assert PRESETS[name].setup in out


@pytest.mark.parametrize("name", OTHER_RECEIVERS)
def test_it_says_what_happens_with_what_speaks_no_osc(stream_mer, name):
    code, out, _ = stream_mer("osc", name)
    assert code == 0
    assert "knows no OSC" in out


def test_it_shows_and_so_checks_a_mapping_of_ones_own(stream_mer, tmp_path):
    path = tmp_path / "show.toml"
    path.write_text("preset = 'resolume'\n[fields]\nvalence = '/hue'")
    code, out, _ = stream_mer("osc", str(path))
    assert code == 0
    assert re.search(r"^/hue +-1..1 +valence", out, re.MULTILINE)
    path.write_text("preset = 'resolume'\n[fields]\nvalense = '/hue'")
    code, out, err = stream_mer("osc", str(path))
    assert (code, out) == (2, "")
    assert err.startswith(f"stream-mer: {path}: no OSC field is called 'valense'; did you mean 'valence'?")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("osc", "eoss"), "did you mean 'eos'?"),
        (("osc", "--test"), "say WHERE to"),
        (("osc", "wled@10.0.0.1", "--test"), "speaks no OSC"),
        (("serve", "--osc", "wled"), "say where it is: wled@HOST"),
        (("osc", "eos", "--monitor", "7000"), "give it without WHERE"),
        (("osc", "--monitor", "70000"), "70000"),
        (("serve", "--osc", "eos@desk:x"), "is not a place"),
        (("serve", "--osc-in", "everywhere"), "give a port such as 9001"),
    ],
)
def test_what_cannot_be_exits_with_2(stream_mer, arguments, says):
    code, _, err = stream_mer(*arguments)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


def test_a_test_moves_every_address_once(stream_mer, monkeypatch):
    monkeypatch.setattr(composer, "STEP_S", 0.1)
    monkeypatch.setattr(osc, "_moments", lambda _, until: (i / 50 for i in range(round(50 * until))))
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        code, out, _ = stream_mer("osc", f"resolume@127.0.0.1:{receiver.getsockname()[1]}", "--test", "--once")
        assert code == 0
        addresses = [field.address_of("demo") for field in PRESETS["resolume"].target.mapping.sent]
        assert [line.split()[0] for line in out.splitlines()[1:]] == addresses
        seen = set()
        while seen != set(addresses):
            ((address, (value,)),) = decode(receiver.recv(4096))
            assert 0 <= value <= 1
            seen.add(address)


def test_a_desk_that_is_not_there_is_reported(stream_mer):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, _, err = stream_mer("osc", f"eos@127.0.0.1:{port}", "--test")
    assert code == 1
    assert err == f"stream-mer: tcp://127.0.0.1:{port} cannot be sent to: Connection refused\n"


def test_a_monitor_prints_what_comes_and_escapes_control_characters(stream_mer, monkeypatch):
    packets = [b"/a\0\0,f\0\0\x3f\x80\0\0", b"garbage", b"/b\0\0,s\0\0\x1b[2J\0\0\0\0", b"/c\0\0,f\0\0\x3d\xcc\xcc\xcd"]

    class Bound(socket.socket):
        def bind(self, address):
            pass

        def recvfrom(self, _):
            if not packets:
                raise KeyboardInterrupt
            return packets.pop(0), ("10.0.0.1", 9)

    monkeypatch.setattr("stream_mer.cli.osc.socket.socket", Bound)
    code, out, err = stream_mer("osc", "--monitor", "9000")
    assert code == 130
    assert out.splitlines()[1:] == ["10.0.0.1  /a  1", r"10.0.0.1  /b  \u001b[2J", "10.0.0.1  /c  0.1"]
    assert err.rstrip() == "10.0.0.1  7 bytes that are not OSC"


def test_a_port_in_use_is_reported(stream_mer):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("", 0))
        code, _, err = stream_mer("osc", "--monitor", str(taken.getsockname()[1]))
    assert code == 1
    assert "cannot be listened to" in err


def test_without_python_osc_it_says_what_to_install(stream_mer, monkeypatch):
    package = importlib.import_module("stream_mer.outputs")
    monkeypatch.setattr(package, "osc", package.osc)  # what is imported anew takes its place, until the test ends
    for name in [name for name in sys.modules if name.startswith(("pythonosc", "stream_mer.outputs.osc"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pythonosc", None)
    for arguments in (("serve", "--osc", "eos"), ("serve", "--osc-in", "9001"), ("osc", "eos", "--test")):
        code, out, err = stream_mer(*arguments)
        assert (code, out) == (2, "")
        assert err == "stream-mer: OSC needs python-osc: pip install 'stream-mer[osc]'\n"
