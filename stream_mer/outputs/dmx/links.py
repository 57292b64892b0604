"""What ``output`` needs of a network: the seam that sACN and Art-Net fill."""

from __future__ import annotations

from typing import Protocol


class LightLink(Protocol):
    """A way to lamps. Used from one thread."""

    def open(self) -> None:
        """Get a socket.

        Raises:
            OSError: There is none to be had.
        """

    def send(self, universe: int, channels: bytes) -> int:
        """Send 512 channels of a universe of the rig; return how many packets that were.

        Raises:
            OSError: It could not be sent.
        """

    def refresh(self, t: float) -> int:
        """Send what the protocol wants said from time to time at ``t``, seconds; return how many packets that were."""

    def terminate(self) -> None:
        """Say that nothing more follows, where the protocol can.

        Raises:
            OSError: It could not be sent.
        """

    def close(self) -> None:
        """Let go of the socket; idempotent."""
