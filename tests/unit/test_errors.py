"""One tree of errors, whose exit codes are promised."""

from __future__ import annotations

import inspect

import pytest

from stream_mer import errors
from stream_mer.errors import StreamMerError

TREE = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, Exception)]


def test_every_error_of_the_module_is_in_the_tree_and_in_its_drawing() -> None:
    assert len(TREE) == 9
    for error in TREE:
        assert issubclass(error, StreamMerError)
        assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("error", TREE)
def test_bad_settings_exit_with_2_and_everything_else_with_1(error: type[StreamMerError]) -> None:
    assert error.exit_code == (2 if error is errors.SettingError else 1)


def test_a_device_that_is_gone_is_a_source_that_failed() -> None:
    assert issubclass(errors.DeviceError, errors.SourceError)
