"""The checks of ``diagnose``."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_mer.cli import diagnose
from stream_mer.cli.diagnose import Check, Finding, fail, ok, run_checks, warn
from stream_mer.config import DEFAULT_MODEL
from stream_mer.errors import CheckpointError
from stream_mer.sources.devices import InputDevice
from stream_mer.version import __version__


def run(*checks: Check, limit_s: float = 60.0) -> list[Finding]:
    return [finding for _, finding in run_checks(checks, limit_s=limit_s)]


def raising(error: Exception) -> Check:
    def look() -> Finding:
        raise error

    return Check("broken", look)


def test_findings_come_in_order() -> None:
    findings = [ok("a"), warn("b", "do b"), fail("c", "do c")]
    assert run(*(Check(one.said, lambda one=one: one) for one in findings)) == findings


@pytest.mark.parametrize(("needed", "level"), [(True, "fail"), (False, "warn")])
def test_an_expected_error_is_told_with_its_advice(needed: bool, level: str) -> None:
    check = raising(CheckpointError("the model is damaged; install it again"))._replace(needed=needed)
    assert run(check) == [Finding(level=level, said="the model is damaged", advice="install it again")]


def test_an_unexpected_error_is_told_and_the_next_check_goes_on() -> None:
    broken, well = run(raising(ZeroDivisionError("oh")), Check("well", lambda: ok("well")))
    assert broken.level == "fail"
    assert "ZeroDivisionError: oh" in broken.said
    assert well == ok("well")


def test_a_check_that_hangs_is_left_behind() -> None:
    never = threading.Event()

    def hang() -> Finding:
        never.wait(60)
        return ok("at last")

    (hung,) = run(Check("hangs", hang), limit_s=0.1)
    assert (hung.level, hung.said) == ("fail", "no answer within 0.1 s")
    assert run(Check("well", lambda: ok("well"))) == [ok("well")]
    never.set()


def device(name: str, *, is_default: bool = False) -> InputDevice:
    return InputDevice(name=name, host_api="ALSA", channels=2, rate_hz=48_000, is_default=is_default)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_versions_are_listed() -> None:
    said = diagnose.check_versions().said
    assert f"stream_mer {__version__}" in said
    assert "numpy 2" in said
    assert "torch" not in said, "which only training needs"


@pytest.mark.parametrize(
    ("devices", "level", "says"),
    [
        ([device("Line In"), device("USB", is_default=True)], "ok", "2 sound inputs; the default is 'USB'"),
        ([device("Line In")], "ok", "none is the default"),
        ([], "warn", "--source remote"),
    ],
)
def test_sound_inputs_are_counted_and_the_default_is_named(devices: list[InputDevice], level: str, says: str) -> None:
    found = diagnose.judge_devices(devices)
    assert found.level == level
    assert says in found.said


def test_without_pyaudio_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyaudio" else real(name, *rest)
    )
    found = diagnose.check_microphones()
    assert found.level == "warn"
    assert "pip install 'stream-mer[mic]'" in found.advice
    assert diagnose.check_loopback().level == "warn"


def test_a_port_is_free_or_another_one_is_suggested(listener: socket.socket) -> None:
    number = listener.getsockname()[1]
    found = diagnose.check_port("127.0.0.1", number)
    assert (found.level, f"--port {number + 1}" in found.advice) == ("fail", True)
    listener.close()
    for _ in range(2):  # the check leaves it free
        assert diagnose.check_port("127.0.0.1", number).level == "ok"
    assert diagnose.check_port("192.0.2.1", 8765).level == "fail", "the address of another machine"


def test_a_cache_that_can_be_written_is_well_and_left_as_it_was(tmp_path: Path) -> None:
    assert diagnose.judge_cache(tmp_path / "new").level == "ok"
    assert list((tmp_path / "new").iterdir()) == []


def test_a_cache_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = diagnose.judge_cache(tmp_path / "file" / "cache")
    assert found.level == "fail"
    assert "STREAM_MER_CACHE" in found.advice


def test_a_full_disk_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 5 * 2**20

    def usage(_: Any) -> Usage:
        return Usage()

    monkeypatch.setattr(diagnose.shutil, "disk_usage", usage)
    found = diagnose.judge_cache(tmp_path)
    assert (found.level, "5 MiB" in found.said) == ("warn", True)


def test_the_shipped_parts_work_on_the_demo_song() -> None:
    assert diagnose.check_decoding().said.endswith("90 s")
    assert diagnose.check_emotion(DEFAULT_MODEL).said.startswith(f"{DEFAULT_MODEL} runs ")
    assert diagnose.check_vocal_gate().level == "ok"
    assert diagnose.check_sentence_encoder().level == "ok"
    with pytest.raises(CheckpointError, match=DEFAULT_MODEL):
        diagnose.check_emotion("none-such")


@pytest.mark.parametrize(("factor", "level"), [(0.9, "fail"), (1.1, "fail"), (2.0, "warn"), (3.1, "ok"), (85.0, "ok")])
def test_what_a_speed_means(factor: float, level: str) -> None:
    assert diagnose.judge_speed("joint", factor).level == level


@pytest.mark.parametrize(
    ("took_s", "words", "level", "advice"),
    [(0.7, 25, "ok", ""), (2.2, 25, "warn", "--asr-model tiny.en"), (0.7, 0, "warn", "install them again")],
)
def test_what_a_decode_means(took_s: float, words: int, level: str, advice: str) -> None:
    found = diagnose.judge_decode("base", took_s=took_s, step_s=1.5, words=words)
    assert found.level == level
    assert advice in found.advice + found.said
