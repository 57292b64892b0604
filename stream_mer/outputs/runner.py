"""Drives the outputs of a show, each in its own thread at its own rate, unaffected by the others."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from stream_mer.errors import SettingError, StreamMerError
from stream_mer.outputs.values import TEST_S, ShowState, ShowValues, pattern_values
from stream_mer.ports import EventHub
from stream_mer.types import OutputStatistics

log = logging.getLogger(__name__)

MAX_RATE_HZ = 50.0
"""Highest rate of an output: that of the input's levels."""

FINISH_WITHIN_S = 2.0
"""How long all outputs together may take to finish; one that takes longer is abandoned."""


class ShowOutput(Protocol):
    """Something that the values of a stream are sent to, such as OSC, sACN or Art-Net.

    Each output has its own thread, in which all its methods are called: one that waits for the network delays no
    other. An exception never ends the show. It is logged once and counted, and the output is closed and, after a
    while, opened again.
    """

    @property
    def name(self) -> str:
        """Name in logs and metrics, such as ``osc touchdesigner at udp://127.0.0.1:7000``: kind, what, place."""

    @property
    def stream(self) -> str | None:
        """Name of the stream that it follows; None for the first one that publishes."""

    @property
    def rate_hz(self) -> float:
        """How often ``send`` is called, above 0 and at most ``MAX_RATE_HZ``."""

    @property
    def wants_levels(self) -> bool:
        """Whether it needs the levels of the input."""

    @property
    def claims(self) -> frozenset[str]:
        """The addresses or universes that it alone may drive: two outputs that take turns at a lamp make it flicker."""

    def open(self) -> None:
        """Prepare to send; before the first ``send``, and again after each error.

        Raises:
            OSError: The network or the receiver is not there.
        """

    def send(self, t: float, values: ShowValues) -> int:
        """Send the messages that are due.

        A call that takes long delays the next one; missed calls are skipped, never made up for.

        Args:
            t: Seconds on the monotonic clock, rising from call to call.
            values: The newest values.

        Returns:
            How many packets were sent.

        Raises:
            OSError: Sending failed.
        """

    def finish(self) -> None:
        """Tell the receiver that nothing follows; once, after the last ``send`` that succeeded."""

    def close(self) -> None:
        """Release the resources of ``open``; after each ``open``, also a failed one. May not raise."""


class ShowRunner:
    """Follows the hub and sends to outputs, from ``start`` to ``stop``. Outputs come and go at any time.

    Args:
        outputs: The outputs.
        spread: Map valence and arousal to the raters' range; see ``values.spread_point``.
        clock: Seconds, monotonic.

    Raises:
        ValueError: The rate of an output is not above 0 and at most ``MAX_RATE_HZ``.
    """

    def __init__(
        self, outputs: Sequence[ShowOutput], *, spread: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards the list and the hub
        self._hub: EventHub | None = None
        self._drivers = [_Driver(output, spread=spread, clock=clock) for output in outputs]

    def start(self, hub: EventHub) -> None:
        """Begin to send what the hub publishes from now on; once."""
        with self._lock:
            self._hub = hub
            for driver in self._drivers:
                driver.start(hub)

    def stop(self) -> None:
        """Let every output finish, for at most ``FINISH_WITHIN_S``; idempotent."""
        with self._lock:
            self._hub = None
            drivers = list(self._drivers)
        self._end(drivers)

    def add(self, output: ShowOutput, *, spread: bool = True) -> None:
        """Send to another output from now on.

        Args:
            output: What is sent to.
            spread: As of the class.

        Raises:
            SettingError: It drives what another one drives already.
        """
        driver = _Driver(output, spread=spread, clock=self._clock)
        with self._lock:
            for other in self._drivers:
                both = sorted(other.output.claims & output.claims)
                if both:
                    raise SettingError(f"{both[0]} is driven by {other.output.name} already, and only one can")
            self._drivers.append(driver)
            if self._hub is not None:
                driver.start(self._hub)

    def remove(self, output: ShowOutput) -> None:
        """Let an output finish, and send to it no more; waits for that. Idempotent."""
        with self._lock:
            gone = [driver for driver in self._drivers if driver.output is output]
            self._drivers = [driver for driver in self._drivers if driver.output is not output]
            for driver in gone:
                if self._hub is not None:
                    self._hub.unsubscribe(driver.state.on_event)
        self._end(gone)

    def test(self, output: ShowOutput) -> None:
        """Send a test pattern to an output for ``values.TEST_S`` in place of its values.

        Raises:
            SettingError: It cannot be sent to now, or a blackout is on.
        """
        for driver in self._of(output):
            driver.test()

    def set_spread(self, stream: str, *, spread: bool) -> None:
        """Change ``spread`` for the outputs that follow a stream."""
        with self._lock:
            drivers = list(self._drivers)
        for driver in drivers:
            if driver.state.stream in (stream, None):
                driver.state.set_spread(spread)

    def statistics_of(self, output: ShowOutput) -> OutputStatistics:
        """Return state and counts of one output; from any thread."""
        found = self._of(output)
        return found[0].statistics if found else OutputStatistics(name=output.name)

    def _of(self, output: ShowOutput) -> list[_Driver]:
        with self._lock:
            return [driver for driver in self._drivers if driver.output is output]

    def _end(self, drivers: Sequence[_Driver]) -> None:
        for driver in drivers:
            driver.ending.set()
        deadline = self._clock() + FINISH_WITHIN_S
        for driver in drivers:
            if driver.thread.ident is not None:
                driver.thread.join(max(0.0, deadline - self._clock()))
            if driver.thread.is_alive():
                log.warning("%s does not end; it is abandoned", driver.output.name)

    def statistics(self) -> tuple[OutputStatistics, ...]:
        """Return state and counts of each output; from any thread."""
        with self._lock:
            return tuple(driver.statistics for driver in self._drivers)


class _Driver:
    """One output and its thread."""

    def __init__(self, output: ShowOutput, *, spread: bool, clock: Callable[[], float]) -> None:
        if not 0 < output.rate_hz <= MAX_RATE_HZ:
            raise ValueError(f"{output.name}: a rate is above 0 and at most {MAX_RATE_HZ:g}, not {output.rate_hz}")
        self.output = output
        self.state = ShowState(output.stream, clock=clock, spread=spread)
        self.ending = threading.Event()
        # A daemon: an output that hangs in the network must not keep the process from ending.
        self.thread = threading.Thread(target=self._run, name=f"show {output.name}", daemon=True)
        self._statistics = OutputStatistics(name=output.name, stream=output.stream or "")
        self._clock = clock
        self._backoff = Backoff()
        self._worked_since: float | None = None
        self._failure_logged = False
        self._test_began_at = float("-inf")

    @property
    def statistics(self) -> OutputStatistics:
        """State and counts; from any thread."""
        return replace(self._statistics, testing=self._is_testing())

    def start(self, hub: EventHub) -> None:
        """Begin to send; once."""
        hub.subscribe(self.state.on_event, levels=self.output.wants_levels)
        self.thread.start()

    def test(self) -> None:
        """Send a test pattern; see ``ShowRunner.test``."""
        if not self._statistics.up:
            reason = self._statistics.last_error or "nothing was sent to it yet"
            raise SettingError(f"{self.output.name} cannot be tested: {reason}")
        if self.state.values().hold == "blackout":
            raise SettingError("a blackout is on: end it, then test")
        self._test_began_at = self._clock()

    def _is_testing(self) -> bool:
        return self._clock() - self._test_began_at < TEST_S

    def _values(self) -> ShowValues:
        live = self.state.values()
        if not self._is_testing() or live.hold == "blackout":
            return live
        return pattern_values(self._clock() - self._test_began_at, live)

    def _run(self) -> None:
        while not self.ending.is_set():
            try:
                self._send_until_end()
            except Exception as error:  # whatever goes wrong with an output, the show goes on
                if self.ending.is_set():
                    log.info("%s could not finish: %s", self.output.name, _reason(error))
                else:
                    self.ending.wait(self._fail(error))

    def _send_until_end(self) -> None:
        try:
            self.output.open()
            ticks = Ticks(self.output.rate_hz, start=self._clock())
            skipped_before = self._statistics.skipped
            while not self.ending.wait(max(0.0, ticks.after(self._clock()) - self._clock())):
                sent = self.output.send(self._clock(), self._values())
                self._succeed(sent, skipped=skipped_before + ticks.skipped)
            if self._worked_since is not None:
                self.output.finish()
        finally:
            self.output.close()

    def _succeed(self, sent: int, *, skipped: int) -> None:
        self._statistics = replace(self._statistics, up=True, sent=self._statistics.sent + sent, skipped=skipped)
        if self._worked_since is None:
            self._worked_since = self._clock()
            # Same level as the failure, so that a log that shows the failure shows its end.
            log.log(logging.WARNING if self._failure_logged else logging.INFO, "%s is sent to", self.output.name)
            self._failure_logged = False

    def _fail(self, error: Exception) -> float:
        """Count a failure and log the first one; return how long to wait, seconds."""
        self._statistics = replace(
            self._statistics, up=False, errors=self._statistics.errors + 1, last_error=_reason(error)
        )
        worked_s = 0.0 if self._worked_since is None else self._clock() - self._worked_since
        self._worked_since = None
        expected = isinstance(error, OSError | StreamMerError)
        log.log(
            logging.DEBUG if self._failure_logged else logging.WARNING,
            "%s cannot be sent to: %s; trying again",
            self.output.name,
            _reason(error),
            exc_info=None if expected else error,
        )
        self._failure_logged = True
        return self._backoff.failed(worked_s)


class Ticks:
    """Absolute deadlines at a steady rate: without drift, and without catching up.

    Args:
        rate_hz: Deadlines per second, above 0.
        start: The first deadline, seconds on any clock.
    """

    def __init__(self, rate_hz: float, *, start: float) -> None:
        self._rate_hz = rate_hz
        self._start = start
        self._next = 0
        self.skipped = 0
        """Deadlines that passed before they were asked for."""

    def after(self, now: float) -> float:
        """Return the next deadline; of those before ``now`` only the newest."""
        newest = math.floor((now - self._start) * self._rate_hz)
        if newest > self._next:
            self.skipped += newest - self._next
            self._next = newest
        deadline = self._start + self._next / self._rate_hz
        self._next += 1
        return deadline


class Backoff:
    """How long to wait before the next try: doubled after each failure, short again after a calm time.

    Args:
        first_s: The first wait, seconds.
        longest_s: The longest wait, seconds.
        calm_s: After working for this time, the next failure counts as the first again, seconds.
    """

    def __init__(self, *, first_s: float = 0.25, longest_s: float = 8.0, calm_s: float = 10.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._calm_s = calm_s
        self._wait_s = first_s

    def failed(self, worked_s: float) -> float:
        """Return the wait after a failure, seconds.

        Args:
            worked_s: How long it had worked before, seconds; 0 if it had not.
        """
        if worked_s >= self._calm_s:
            self._wait_s = self._first_s
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, self._longest_s)
        return wait_s


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
