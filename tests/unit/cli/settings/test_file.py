"""Where the file of settings is, what is read of it, and on which line each key stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.cli.settings import MAX_FILE_BYTES, default_path, find_lines, find_settings_file, read_settings_file
from stream_mer.errors import SettingError


def test_the_option_overrides_the_variable_and_that_the_users_own_file(tmp_path: Path) -> None:
    own = tmp_path / "stream_mer" / "config.toml"
    own.parent.mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert find_settings_file(None, environ) is None
    own.touch()
    assert find_settings_file(None, environ) == own
    assert find_settings_file("", environ) is None
    assert find_settings_file(None, environ | {"STREAM_MER_CONFIG": ""}) is None
    environ["STREAM_MER_CONFIG"] = "/from/variable.toml"
    assert find_settings_file(None, environ) == Path("/from/variable.toml")
    assert find_settings_file("given.toml", environ) == Path("given.toml")


@pytest.mark.parametrize(
    ("environ", "platform", "place"),
    [
        ({"XDG_CONFIG_HOME": "/x", "APPDATA": "/a"}, "linux", "/x/stream_mer/config.toml"),
        ({"APPDATA": "/a"}, "linux", "/home/me/.config/stream_mer/config.toml"),
        ({"APPDATA": "/a"}, "win32", "/a/stream_mer/config.toml"),
        ({"XDG_CONFIG_HOME": ""}, "darwin", "/home/me/.config/stream_mer/config.toml"),
    ],
)
def test_the_users_own_file_lies_where_such_files_lie(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], platform: str, place: str
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert default_path(environ, platform=platform) == Path(place)


def test_every_way_to_write_a_key_has_its_line() -> None:
    text = (
        "# a comment\n"
        'model = "m"\n'
        "serve.port = 1\n"
        "\n"
        "[serve]   # the server\n"
        "hop=1\n"
        '"host" = "h"\n'
        "[ serve . limit ]\n"
        "max_clients = 3\n"
        "[tag]\n"
        "  plot = 'a.png'\n"
    )
    assert find_lines(text) == {
        ("model",): 2,
        ("serve", "port"): 3,
        ("serve",): 5,
        ("serve", "hop"): 6,
        ("serve", "host"): 7,
        ("serve", "limit"): 8,
        ("serve", "limit", "max_clients"): 9,
        ("tag",): 10,
        ("tag", "plot"): 11,
    }


def test_the_line_of_a_key_is_told_where_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "show.toml"
    path.write_bytes(b"\xef\xbb\xbf[serve]\r\nport = 1\r\nsource = { a = 'x' }\r\n")
    file = read_settings_file(path)
    assert file.values == {"serve": {"port": 1, "source": {"a": "x"}}}
    assert file.where("serve", "port") == f"{path}, line 2"
    assert file.where("serve", "source", "a") == str(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"port = ", "is no TOML"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"a = 1\na = 2\n", "is no TOML"),
        (b"x = " + b"[" * 100_000, "is no TOML"),
        (b"#" * (MAX_FILE_BYTES + 1), "that is no file of settings"),
        (b".".join([b"a"] * 500_000) + b" = 1\n", "nested too deeply"),
        (b"a" * 1_000_000 + b" = 1\n", "a key of 1000000 characters"),
        (b"port = 0x" + b"f" * 100_000, "more than 64 bits"),
        (b"port = " + b"9" * 10_000, "Exceeds the limit"),
    ],
)
def test_garbage_is_one_line_that_names_the_file(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "show.toml"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=says) as error:
        read_settings_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path, Path("nul\0.toml")):
        with pytest.raises(SettingError, match="cannot read the settings in"):
            read_settings_file(path)


@given(st.binary(max_size=200) | st.text(alphabet="[]{}=\"'.,#\n ab1", max_size=80).map(str.encode))
def test_no_content_at_all_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_bytes(content)
    try:
        file = read_settings_file(path)
    except SettingError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most content is none, but some is
    else:
        count = content.count(b"\n") + 1
        assert all(1 <= line <= count for line in file.lines.values())
