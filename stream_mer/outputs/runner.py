"""Drives all outputs of a show, each in a thread of its own, at its own rate, whatever happens to the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from stream_mer.errors import StreamMerError
from stream_mer.outputs.output import MAX_RATE_HZ, ShowOutput
from stream_mer.outputs.timing import Backoff, Ticks
from stream_mer.outputs.values import ShowState
from stream_mer.ports import EventHub
from stream_mer.types import OutputStatistics

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
"""So long all outputs together may take to say goodbye; who takes longer is left behind."""


class ShowRunner:
    """Follows the hub and sends to outputs, from ``start`` to ``stop``.

    Args:
        outputs: What is sent to.
        clock: Seconds, monotonic.

    Raises:
        ValueError: The rate of an output is not above 0 and at most ``MAX_RATE_HZ``.
    """

    def __init__(self, outputs: Sequence[ShowOutput], *, clock: Callable[[], float] = time.monotonic) -> None:
        for output in outputs:
            if not 0 < output.rate_hz <= MAX_RATE_HZ:
                raise ValueError(f"{output.name}: a rate is above 0 and at most {MAX_RATE_HZ:g}, not {output.rate_hz}")
        self._clock = clock
        self._drivers = [_Driver(output, clock=clock) for output in outputs]

    def start(self, hub: EventHub) -> None:
        """Begin to send what the hub publishes from now on; once."""
        for driver in self._drivers:
            hub.subscribe(driver.state.on_event, levels=driver.output.wants_levels)
            driver.start()

    def stop(self) -> None:
        """Let every output say goodbye, and wait for them, but not for ever; idempotent."""
        for driver in self._drivers:
            driver.end()
        deadline = self._clock() + FAREWELL_S
        for driver in self._drivers:
            if not driver.join(max(0.0, deadline - self._clock())):
                log.warning("%s does not end; it is left behind", driver.output.name)

    def statistics(self) -> tuple[OutputStatistics, ...]:
        """Return how each output fares; from any thread."""
        return tuple(driver.statistics for driver in self._drivers)


class _Driver:
    """One output and its thread."""

    def __init__(self, output: ShowOutput, *, clock: Callable[[], float]) -> None:
        self.output = output
        self.state = ShowState(output.stream, clock=clock)
        self.statistics = OutputStatistics(name=output.name, stream=output.stream or "")
        self._clock = clock
        self._backoff = Backoff()
        self._worked_since: float | None = None
        self._told_of_trouble = False
        self._ending = threading.Event()
        # A daemon: an output that hangs in the network must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"show {output.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end, and tell whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._send_until_end()
            except Exception as error:  # whatever an output does, the show goes on
                if self._ending.is_set():
                    log.info("%s could not be told of the end: %s", self.output.name, _reason(error))
                else:
                    self._ending.wait(self._fail(error))

    def _send_until_end(self) -> None:
        try:
            self.output.open()
            ticks = Ticks(self.output.rate_hz, start=self._clock())
            skipped_before = self.statistics.skipped
            while not self._ending.wait(max(0.0, ticks.after(self._clock()) - self._clock())):
                sent = self.output.send(self._clock(), self.state.values())
                self._succeed(sent, skipped=skipped_before + ticks.skipped)
            if self._worked_since is not None:
                self.output.farewell()
        finally:
            self.output.close()

    def _succeed(self, sent: int, *, skipped: int) -> None:
        self.statistics = replace(self.statistics, up=True, sent=self.statistics.sent + sent, skipped=skipped)
        if self._worked_since is None:
            self._worked_since = self._clock()
            # As loud as the trouble was: who read of that waits for this.
            log.log(logging.WARNING if self._told_of_trouble else logging.INFO, "%s is sent to", self.output.name)
            self._told_of_trouble = False

    def _fail(self, error: Exception) -> float:
        """Count and tell, once; return how long to wait, seconds."""
        self.statistics = replace(self.statistics, up=False, errors=self.statistics.errors + 1)
        worked_s = 0.0 if self._worked_since is None else self._clock() - self._worked_since
        self._worked_since = None
        expected = isinstance(error, OSError | StreamMerError)
        log.log(
            logging.DEBUG if self._told_of_trouble else logging.WARNING,
            "%s cannot be sent to: %s; trying again",
            self.output.name,
            _reason(error),
            exc_info=None if expected else error,
        )
        self._told_of_trouble = True
        return self._backoff.failed(worked_s)


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
