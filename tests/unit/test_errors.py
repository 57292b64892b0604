"""One tree of errors, whose exit codes are promised."""

from __future__ import annotations

import inspect

import pytest

from stream_mer import errors
from stream_mer.errors import StreamMerError

TREE = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, Exception)]


def test_every_error_of_the_module_is_in_the_tree_and_in_its_drawing() -> None:
    assert len(TREE) == 12
    for error in TREE:
        assert issubclass(error, StreamMerError)
        assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("error", TREE)
def test_what_a_user_gave_that_cannot_be_exits_with_2_and_everything_else_with_1(error: type[StreamMerError]) -> None:
    given = {errors.SettingError, errors.CheckpointError, errors.CorpusError, errors.RecordingError, errors.LyricsError}
    assert error.exit_code == (2 if error in given else 1)


def test_a_device_that_is_gone_is_a_source_that_failed() -> None:
    assert issubclass(errors.DeviceError, errors.SourceError)


def test_a_name_of_a_megabyte_is_like_none_and_takes_no_time_to_compare() -> None:
    assert errors.did_you_mean("port" * 250_000, ["port", "host"]) == ""
    assert errors.did_you_mean("prot", ["port", "host"]) == "; did you mean 'port'?"


def test_a_text_without_end_is_shown_by_its_beginning() -> None:
    assert errors.brief("x" * 200) == "x" * 200
    assert errors.brief("x" * 10**6) == "x" * 200 + "…"
