"""Noise of C libraries is swallowed, and standard error comes back."""

from __future__ import annotations

import os
import threading

import pytest

from stream_mer.sources.quiet import silenced_stderr


def test_what_is_written_to_the_descriptor_is_lost_inside_and_kept_outside(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before ")
    with silenced_stderr():
        os.write(2, b"noise ")
        with silenced_stderr():
            os.write(2, b"more noise ")
        os.write(2, b"still noise ")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_standard_error_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), silenced_stderr():
        raise ValueError("inside")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_a_call_that_hangs_does_not_keep_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with silenced_stderr(0.05):
            inside.set()
            go_on.wait(60)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    assert inside.wait(60)
    written = ""
    for _ in range(1_000):  # until the limit has passed
        os.write(2, b"x")
        written += capfd.readouterr().err
        if written:
            break
        go_on.wait(0.02)
    go_on.set()
    thread.join(60)
    assert written
    os.write(2, b"after")
    assert capfd.readouterr().err.endswith("after")
