"""Files are called like what they are of, on every file system."""

import os

from stream_mer.utils.file_names import as_text, file_names


def test_no_two_are_alike_and_none_is_too_long_or_leads_elsewhere() -> None:
    names = file_names(("A b", "a b", "a/b", "a:b", "...", "", "x" * 300, "x" * 299, "ü"))
    assert names[:6] == ["A b", "a b-2", "a_b", "a_b-2", "stream", "stream-2"]
    assert len({name.casefold() for name in names}) == len(names)
    assert all(len(name) < 100 for name in names)


def test_a_name_that_is_no_utf_8_is_text_for_every_message() -> None:
    assert as_text(os.fsdecode(b"bad\x9b.ogg")) == r"bad\x9b.ogg"
    assert as_text("Größe 愛.ogg") == "Größe 愛.ogg"
