"""What a check found, and how checks are run: one that fails or hangs is itself a finding, and the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from stream_mer.errors import StreamMerError

Level: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        level: ``warn`` where something will not work that need not, ``fail`` where the main job will not.
        said: What was found.
        advice: What to do about it; empty where all is well.
    """

    level: Level
    said: str
    advice: str = ""


class Check(NamedTuple):
    """A check by its title; ``needed`` says whether the main job depends on it."""

    title: str
    look: Callable[[], Finding]
    needed: bool = True


def ok(said: str) -> Finding:
    """All is well."""
    return Finding(level="ok", said=said)


def warn(said: str, advice: str) -> Finding:
    """Something will not work that the main job can do without."""
    return Finding(level="warn", said=said, advice=advice)


def fail(said: str, advice: str) -> Finding:
    """The main job will not work."""
    return Finding(level="fail", said=said, advice=advice)


def run_checks(checks: Sequence[Check], *, limit_s: float) -> Iterator[tuple[Check, Finding]]:
    """Run one check after the other; each gets ``limit_s`` seconds.

    A check that takes longer is left behind in its thread, which ends with the process.
    """
    for check in checks:
        yield check, _run(check, limit_s)


def _run(check: Check, limit_s: float) -> Finding:
    found: list[Finding] = []

    def look() -> None:
        try:
            found.append(check.look())
        except StreamMerError as error:
            what, _, advice = str(error).partition("; ")
            found.append(Finding(level="fail" if check.needed else "warn", said=what, advice=advice))
        except Exception as error:  # whatever it is, it is what the user wants to know, and the next check goes on
            reason = f"{type(error).__name__}: {error}"
            found.append(fail(f"the check itself failed: {reason}", "please report this with the output of --json"))

    worker = threading.Thread(target=look, name=check.title, daemon=True)
    worker.start()
    worker.join(limit_s)
    return found[0] if found else fail(f"no answer within {limit_s:g} s", "run it again, with nothing else running")
