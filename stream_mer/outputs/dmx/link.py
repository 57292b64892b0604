"""The connection to the lamps: what sACN, Art-Net, WLED and LedFx have in common."""

from __future__ import annotations

import contextlib
import socket
from abc import ABC, abstractmethod

_TIMEOUT_S = 0.5


class LightLink(ABC):
    """Sends the universes of a rig. Used from one thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    @abstractmethod
    def open(self) -> None:
        """Open a socket, and look up the receivers.

        Raises:
            OSError: There is no socket, or a receiver is not there.
        """

    @abstractmethod
    def send(self, universe: int, channels: bytes) -> int:
        """Send the 512 channels of a universe of the rig; return how many packets that were.

        Raises:
            OSError: Sending failed.
        """

    def refresh(self, t: float) -> int:
        """Send what the protocol wants from time to time at ``t``, seconds; return how many packets that were.

        Nothing by default: ``LightOutput`` repeats all channels each second.
        """
        del t
        return 0

    def terminate(self) -> None:  # noqa: B027 - optional
        """Tell the receivers that nothing follows, if the protocol can.

        Raises:
            OSError: Sending failed.
        """

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _open_udp(self) -> socket.socket:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(_TIMEOUT_S)
        return self._socket

    def _send_to(self, host: str, port: int, packet: bytes) -> None:
        assert self._socket is not None, "open comes first"  # noqa: S101 - a contract, not a check of input
        self._socket.sendto(packet, (host, port))
