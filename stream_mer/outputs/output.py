"""The seam of all show outputs: what is told the values of a stream again and again, such as OSC, sACN or Art-Net."""

from __future__ import annotations

from typing import Protocol

from stream_mer.outputs.values import ShowValues

MAX_RATE_HZ = 50.0
"""No output is called more often; the levels of the input do not come faster."""


class ShowOutput(Protocol):
    """Something that a show is sent to.

    Each output has a thread of its own, in which all its methods are called, so one that waits for the network holds
    up itself alone. What it raises never ends the show: it is logged once, counted, and after a while the output is
    closed and opened again.
    """

    @property
    def name(self) -> str:
        """What it is called in logs and metrics, such as ``osc touchdesigner 127.0.0.1:7000``."""

    @property
    def stream(self) -> str | None:
        """Name of the stream that it follows; None for the first one that is heard."""

    @property
    def rate_hz(self) -> float:
        """How often ``send`` is called, above 0 and at most ``MAX_RATE_HZ``."""

    @property
    def wants_levels(self) -> bool:
        """Whether the levels of the input must be measured for it."""

    @property
    def claims(self) -> frozenset[str]:
        """What it drives and no other output of the show may: two that take turns at a lamp make it flicker."""

    def open(self) -> None:
        """Get ready to send; before the first ``send``, and again after each error.

        Raises:
            OSError: The network, or whoever is at its other end, is not there.
        """

    def send(self, t: float, values: ShowValues) -> int:
        """Send what is due, and return how many packets that were.

        The time between calls is that of the rate, or longer where the output itself takes longer: what was missed is
        passed over, never made up for.

        Args:
            t: Seconds on the monotonic clock, rising from call to call.
            values: The newest ones.

        Raises:
            OSError: It could not be sent.
        """

    def farewell(self) -> None:
        """Tell the other end that nothing follows; once, after the last ``send``, and only where that worked."""

    def close(self) -> None:
        """Let go of what ``open`` took; after each ``open``, also one that failed. May not raise."""
