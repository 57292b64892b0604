"""``stream-mer lights``: what people see before they have a lamp."""

import contextlib
import socket
from dataclasses import replace

import pytest
from click.testing import CliRunner

from stream_mer.cli.lights import command
from stream_mer.errors import SettingError
from stream_mer.event_json import MessageEncoder, encode
from stream_mer.outputs.dmx.render import preview
from stream_mer.outputs.dmx.rig import EXAMPLES, LOOKS, preset
from tools.examples import FRAME, LINE


def run(*arguments, typed: str | None = None):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=typed)


def events(seconds: int = 10):
    """Ever happier music, with a line in it."""
    frames = [replace(FRAME, t0=0.0, t1=i / 2, valence=i / seconds - 1, arousal=1.0) for i in range(2 * seconds)]
    return [("song", event) for event in (frames[0], LINE, *frames[1:])]


@pytest.fixture
def tags(tmp_path):
    path = tmp_path / "tags.jsonl"
    encoder = MessageEncoder("song")
    path.write_bytes(
        b"\n".join(encode(encoder.message(event)) for _, event in events())
        + b'\n{"type":"summary","stream":"song"}\n\n'
    )
    return path


def test_the_presets_are_listed():
    found = run().output
    assert all(name in found for name in LOOKS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_kept_and_is_a_rig(name, tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(run("--example", name).output)
    found = run(path)
    assert found.exit_code == 0
    assert found.output.endswith("No conflicts.\n")


def test_every_lamp_has_its_place_in_the_list(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(run("--example", "wled").output)
    assert "20 strip of 15 pixels  1 .. 2    1 .. 388  red, green, blue" in run(path).output


def test_a_recording_is_shown_as_colours(tags):
    found = run("mood", "--tags", tags)
    rows = found.output.splitlines()
    assert rows[0].startswith("stream_mer mood: 16 lamps")
    assert "#" in rows[-1]
    assert rows[-1] != rows[len(rows) // 2]
    assert run("mood", "--tags", "-", typed=tags.read_text()).output == found.output


def test_it_is_drawn(tags, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "lamps.png"
    assert run("palette", "--tags", tags, "--picture", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "cannot write" in str(run("mood", "--tags", tags, "--picture", tmp_path / "no" / "x.png").exception)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rubbish\n", "line 1: this is not what `stream-mer tag` writes"),
        (b"", "nothing to preview"),
        (b"\xff\xfe\x00\x80", "is no text"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_recording_is_an_error(content, says, tmp_path):
    path = tmp_path / "tags.jsonl"
    if content is not None:
        path.write_bytes(content)
    error = run("mood", "--tags", path).exception
    assert isinstance(error, SettingError)
    assert says in str(error)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--demo"], "say which RIG"),
        (["mood", "--picture", "x.png"], "give --tags or --demo"),
        (["mood", "--demo", "--tags", "x.jsonl"], "two shows"),
        (["--test"], "say which RIG"),
        (["mood", "--test", "--demo"], "give one"),
        (["mood", "--once"], "go with --test"),
    ],
)
def test_options_that_do_not_fit_together_exit_with_2(arguments, says):
    found = run(*arguments)
    assert found.exit_code == 2
    assert says in found.output


ONE_LAMP = """\
name = "club"
[sacn]
port = {port}
[artnet]
port = {port}
[[fixtures]]
name = "par"
address = 7
channels = ["red", 42]
"""


@pytest.mark.parametrize("options", [[], ["--artnet"]])
def test_a_test_moves_the_lamps_and_leaves_them_dark(options, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        rig = tmp_path / "rig.toml"
        rig.write_text(ONE_LAMP.format(port=receiver.getsockname()[1]))
        done = run(f"{rig}@127.0.0.1", "--test", "--once", *options)
        packets = []
        with contextlib.suppress(TimeoutError):
            receiver.settimeout(0.5)
            while True:
                packets.append(receiver.recv(2048))
    assert done.exit_code == 0, done.output
    assert "par 1" in done.output
    assert "universe 1, channel 7" in done.output
    start = (18 if options else 126) + 6
    reds = [packet[start] for packet in packets]
    assert max(reds) > 200
    assert reds[-1] == 0
    assert {packet[start + 1] for packet in packets} == {42}


def test_a_rig_that_cannot_be_moved_or_reached_is_an_error(tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text('[[fixtures]]\nchannels = ["strobe", 255]\n')
    assert "no channel that can be moved" in str(run(rig, "--test").exception)
    assert "sent to an address" in str(run("mood", "--test", "--artnet").exception)


def test_an_unknown_rig_is_an_error_with_the_nearest_name():
    assert "did you mean 'mood'" in str(run("moood").exception)


def test_the_show_is_played_from_beginning_to_end_and_as_long_after_it_as_is_asked():
    moments = list(preview(preset("mood"), events(), rest_s=20.0))
    times = [moment.t for moment in moments]
    assert times == [i / 40 for i in range(len(times))]
    assert times[-1] == pytest.approx(9.5 + 20.0, abs=0.03)
    assert moments[20].values.alive
    assert not moments[-1].values.alive, "the music is over, and the lamps show the look for that"
    red, green, blue = moments[-1].lamps[0]
    assert red > green > blue > 0
