"""Checks: one that fails or hangs is a finding, and the others go on."""

import threading

import pytest

from stream_mer.cli.diagnosis.finding import Check, Finding, fail, ok, run_checks, warn
from stream_mer.errors import CheckpointError


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
