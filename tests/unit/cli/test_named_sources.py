"""Several streams from one command line."""

import pytest

from stream_mer.cli.named_sources import open_sources, split_name
from stream_mer.cli.server_options import parse_limits
from stream_mer.errors import SettingError
from stream_mer.sources.file import demo_song


@pytest.mark.parametrize(
    ("typed", "split"),
    [
        ("demo", (None, "demo")),
        ("main=demo", ("main", "demo")),
        ("Stage 1=mic:USB Audio", ("Stage 1", "mic:USB Audio")),
        ("http://radio.example/live?key=1", (None, "http://radio.example/live?key=1")),
        ("radio=http://radio.example/live?key=1", ("radio", "http://radio.example/live?key=1")),
        ("mic:A=B", (None, "mic:A=B")),
        ("/music/a=b.wav", (None, "/music/a=b.wav")),
        ("=demo", (None, "=demo")),
    ],
)
def test_a_name_stands_before_the_source(typed, split):
    assert split_name(typed) == split


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.ogg").write_bytes(demo_song().read_bytes())
    assert split_name("a=b.ogg") == (None, "a=b.ogg")


NOTHING = {"rate_hz": None, "sample_format": None, "channels": None, "gain_db": None}


def test_streams_are_called_as_they_were_named_or_as_their_source_is():
    streams = open_sources(["left=demo", str(demo_song())], name=None, loop=False, options=NOTHING)
    assert list(streams) == ["left", "demo.ogg"]
    assert list(open_sources(["demo"], name="hall", loop=False, options=NOTHING)) == ["hall"]


@pytest.mark.parametrize(
    ("sources", "name", "told"),
    [
        (["demo", "demo"], None, "two streams are called 'demo': name them"),
        (["a=demo", "a=remote"], None, "two streams are called 'a'"),
        (["a=demo", "b=remote"], "hall", "--name is for a single source"),
        (["a=-", "b=-"], None, "standard input can be one source only"),
        (["a=dmo"], None, "no source is called 'dmo'"),
    ],
)
def test_what_cannot_be_is_refused(sources, name, told):
    with pytest.raises(SettingError, match=told):
        open_sources(sources, name=name, loop=False, options=NOTHING)


def test_an_option_goes_to_the_sources_that_it_fits():
    options = NOTHING | {"rate_hz": 48_000}
    assert set(open_sources(["a=demo", "b=remote"], name=None, loop=False, options=options)) == {"a", "b"}
    with pytest.raises(SettingError, match="rate and format are for raw PCM"):
        open_sources(["demo"], name=None, loop=False, options=options)


def test_limits_are_read_by_the_names_that_hello_tells():
    assert parse_limits(["max_clients=7", "stuck_after_s=2.5"]) == {"max_clients": 7, "stuck_after_s": 2.5}
    with pytest.raises(SettingError, match="did you mean 'max_clients'"):
        parse_limits(["max_client=7"])
    with pytest.raises(SettingError, match=r"a number, such as max_clients=1000; not 'many'"):
        parse_limits(["max_clients=many"])
    with pytest.raises(SettingError, match="not ''"):
        parse_limits(["max_clients"])
