"""One value of a settings file changes, and nothing else."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.utils.toml_edit import difference, set_values
from stream_mer.utils.toml_file import BadTomlError

FILE = """\
# My show.
model = "joint-v3"

[serve]
# A calm one.
hop = 0.5   # seconds
source = [
    "demo",  # not for the show
]

[serve.more]
hop = 3

[tag]
hop = 2
"""


def test_a_value_is_replaced_in_its_place() -> None:
    after = set_values(FILE, "serve", {"hop": "0.25"})
    assert after == FILE.replace("hop = 0.5   # seconds", "hop = 0.25  # seconds")
    assert difference(FILE, after) == "- hop = 0.5   # seconds\n+ hop = 0.25  # seconds\n"


def test_a_list_over_several_lines_is_replaced_whole() -> None:
    after = set_values(FILE, "serve", {"source": '["mic"]'})
    assert '\nsource = ["mic"]\n\n[serve.more]' in after


def test_a_value_is_removed_with_its_line() -> None:
    after = set_values(FILE, "serve", {"hop": None, "missing": None})
    assert after == FILE.replace("hop = 0.5   # seconds\n", "")
    assert set_values("[serve]\nhop = 1\n", "serve", {"hop": None}) == "[serve]\n"
    assert set_values("", "serve", {"hop": None}) == ""


def test_new_values_follow_those_of_the_table() -> None:
    after = set_values(FILE, "serve", {"dwell": "2", "spread": "false"})
    assert "]\ndwell = 2\nspread = false\n\n[serve.more]" in after


@pytest.mark.parametrize("before", ["", "# Nothing yet.\n", 'model = "x"\n', "[tag]\nhop = 1"])
def test_a_missing_table_is_added_at_the_end(before) -> None:
    after = set_values(before, "serve", {"hop": "1"})
    assert after.startswith(before)
    assert after.endswith("[serve]\nhop = 1\n")
    assert difference(before, after).endswith("+ [serve]\n+ hop = 1\n")


def test_what_looks_like_a_setting_inside_a_text_is_none() -> None:
    before = '[tag]\nnote = """\n[serve]\nhop = 1\n"""\n'
    after = set_values(before, "serve", {"hop": "2"})
    assert after == before + "\n[serve]\nhop = 2\n"


def test_a_sign_of_a_comment_inside_a_text_is_none() -> None:
    assert set_values('[serve]\nname = "a # b" # c\n', "serve", {"name": '"d"'}) == '[serve]\nname = "d"  # c\n'


def test_line_ends_of_windows_stay() -> None:
    assert set_values("[serve]\r\nhop = 1\r\n", "serve", {"dwell": "2"}) == "[serve]\r\nhop = 1\r\ndwell = 2\r\n"


@pytest.mark.parametrize("before", ["serve = {hop = 1}\n", "serve.hop = 1\n", "[[serve]]\nhop = 1\n", "serve = 3\n"])
def test_what_is_written_otherwise_is_refused(before) -> None:
    with pytest.raises(BadTomlError, match="by hand"):
        set_values(before, "serve", {"hop": "2"})


def test_what_is_no_toml_is_refused() -> None:
    with pytest.raises(BadTomlError, match="no TOML"):
        set_values("[serve\n", "serve", {"hop": "2"})


@given(
    st.dictionaries(st.sampled_from(["hop", "source", "name"]), st.sampled_from(["1", '"a # b"', '["x", "y"]', "[]"])),
    st.dictionaries(st.sampled_from(["hop", "source", "dwell"]), st.sampled_from(["2", '"c"', '["z"]', "true"])),
    st.sampled_from(["", "[tag]\nhop = 9\n\n"]),
    st.sampled_from(["", "\n[tag2]\nsource = 'x' # y\n"]),
)
def test_the_result_says_what_was_said_and_the_new(old, new, head, tail) -> None:
    before = head + "[serve]\n" + "".join(f"{key} = {value}  # why\n" for key, value in old.items()) + tail
    after = tomllib.loads(set_values(before, "serve", new))
    values = {key: tomllib.loads(f"v = {value}")["v"] for key, value in (old | new).items()}
    assert after == tomllib.loads(before) | {"serve": values}
