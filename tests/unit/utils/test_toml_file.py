"""Whatever is wrong with a file is said in one line that names the file, the key, and what would be right."""

import tomllib
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from stream_mer.errors import SettingError
from stream_mer.utils.toml_file import MAX_BYTES, parse_toml, read_toml, validated


def what_it_says(table, name):
    if "no" in table:
        raise SettingError("no is no key")
    return name, table


@pytest.fixture
def path(tmp_path):
    return tmp_path / "my show.toml"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_becomes_what_is_made_of_it(path, mark):
    path.write_bytes(mark + "stage = 'große Bühne'\r\n".encode())
    assert read_toml(path, what_it_says) == ("my show", {"stage": "große Bühne"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no = 1", "no is no key"),
        (b"a = ", "is no TOML: Invalid value (at end of document)"),
        (b"\xff\xfea\0", "is no TOML: it is not text in UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (MAX_BYTES + 1), "more than 1000000 bytes"),
        (b".".join([b"a"] * 400_000) + b" = 1", "nested too deeply"),
        (b" . ".join([b"a"] * 17) + b" = 1", "nested too deeply"),
        (b"[" + b".".join([b"a"] * 400_000) + b"]", "nested too deeply"),
        (b"[[" + b".".join([b"a"] * 17) + b"]]", "nested too deeply"),
        (b"[" + b"a." * 400_000, "nested too deeply"),
        (b"a = 1\n" + b".".join([b"'x y'"] * 17) + b" = 1", "nested too deeply"),
        (b"a = { " + b".".join([b"a"] * 17) + b" = 1 }", "nested too deeply"),
        (b"a = { b = 1, " + b".".join([b'"a"'] * 17) + b" = 1 }", "nested too deeply"),
        (b"[a.a.a.a.a.a.a.a]\na.a.a.a.a.a.a.a.a = 1", "nested too deeply"),
        (b"a = " + b"[" * 17 + b"]" * 17, "nested too deeply"),
        (b"a = " + b"{a = " * 17 + b"1" + b"}" * 17, "nested too deeply"),
        (b"a" * 900_000 + b" = 1", "a key of 900000 characters"),
        (b'"\\u001b[2J" = 1', "cannot be printed, '\\x1b[2J'"),
        (b"a = '" + b"x" * 900_000 + b"'", "a text of 900000 characters"),
        (b"a = 0x" + b"f" * 100_000, "a whole number of more than 64 bits"),
        (b"a = [1, -9223372036854775809]", "a whole number of more than 64 bits"),
        (b"a = " + b"9" * 10_000, "is no TOML: Exceeds the limit"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line(path, data, message):
    path.write_bytes(data)
    with pytest.raises(SettingError) as error:
        read_toml(path, what_it_says)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o = 1",
        "a = 'a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t = 1'",
        "# a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t\na = 1",
        "a = 9223372036854775807\nb = -9223372036854775808\nc = 1e300",
    ],
)
def test_what_somebody_may_write_is_read(text):
    assert parse_toml(text) == tomllib.loads(text)


def test_a_file_that_is_not_there_and_a_folder_are_reported(path, tmp_path):
    with pytest.raises(SettingError, match="No such file"):
        read_toml(path, what_it_says)
    with pytest.raises(SettingError, match="directory"):
        read_toml(tmp_path, what_it_says)


class Inner(Struct, frozen=True):
    left: float = 0.0


class Table(Struct, frozen=True):
    size: Annotated[int, Meta(ge=1, le=5)]
    rate: Annotated[float, Meta(gt=0, le=50)] = 1.0
    mode: Literal["fast", "slow"] = "slow"
    pair: Annotated[tuple[float, float], Meta(description="two numbers in brackets")] = (0.0, 1.0)
    ports: tuple[Annotated[int, Meta(ge=0, le=255)], ...] = ()
    inner: Inner = Inner()


def test_a_table_becomes_a_struct_on_top_of_a_base():
    base = Table(size=2, mode="fast", inner=Inner(left=0.5))
    assert validated({"rate": 2}, Table, base=base) == Table(size=2, rate=2.0, mode="fast", inner=Inner(left=0.5))
    assert validated({"size": 3, "pair": [1, 2], "ports": [7]}, Table) == Table(size=3, pair=(1.0, 2.0), ports=(7,))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"sise": 1}, "there is no setting part.sise; did you mean 'size'?"),
        ({"size": 1, "inner": {"lefd": 1}}, "there is no setting part.inner.lefd; did you mean 'left'?"),
        ({}, "part.size is missing"),
        ({"size": 6}, "part.size is 1 to 5, not 6"),
        ({"size": "6"}, "part.size is a whole number, not '6'"),
        ({"size": True}, "part.size is a whole number, not True"),
        ({"size": 1, "rate": 0}, "part.rate is above 0 and at most 50, not 0"),
        ({"size": 1, "rate": float("nan")}, "part.rate is a number, not nan"),
        ({"size": 1, "mode": "fats"}, "part.mode: there is no 'fats'; did you mean 'fast'?"),
        ({"size": 1, "pair": [1]}, "part.pair is two numbers in brackets, not [1]"),
        ({"size": 1, "ports": [7, 256]}, "part.ports is 0 to 255, not 256"),
        ({"size": 1, "ports": 7}, "part.ports is a list, not 7"),
        ({"size": 1, "inner": 7}, "part.inner is a table, not 7"),
        ([], "part is a table, not []"),
    ],
)
def test_what_does_not_fit_is_reported_in_one_line(table, says):
    with pytest.raises(SettingError) as error:
        validated(table, Table, where="part")
    assert str(error.value) == says
