"""Files that people write: whatever is wrong with one is said in a line that names it."""

import pytest

from stream_mer.errors import SettingError
from stream_mer.toml_file import MAX_BYTES, read_toml


def what_it_says(table, *, name):
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
    ("data", "told"),
    [
        (b"no = 1", "no is no key"),
        (b"a = ", "is no TOML: Invalid value (at end of document)"),
        (b"\xff\xfea\0", "is no TOML: it is not text in UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (MAX_BYTES + 1), "more than 1000000 bytes"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(path, data, told):
    path.write_bytes(data)
    with pytest.raises(SettingError) as error:
        read_toml(path, what_it_says)
    assert str(error.value).startswith(str(path))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_and_a_folder_are_told(path, tmp_path):
    with pytest.raises(SettingError, match="No such file"):
        read_toml(path, what_it_says)
    with pytest.raises(SettingError, match="directory"):
        read_toml(tmp_path, what_it_says)
