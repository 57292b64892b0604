"""OSC out: one receiver as an output of a show."""

from __future__ import annotations

from stream_mer.outputs.osc.composer import OscComposer, OscMessage
from stream_mer.outputs.osc.links import Link, open_link
from stream_mer.outputs.osc.packets import encode
from stream_mer.outputs.osc.target import OscTarget
from stream_mer.outputs.values import ShowValues


class OscOutput:
    """Sends the values of a stream to one receiver; a ``ShowOutput``.

    Args:
        target: The receiver, and what it gets.
        stream: The stream.
    """

    def __init__(self, target: OscTarget, *, stream: str) -> None:
        self._target = target
        self._stream = stream
        self._composer = OscComposer(target.mapping, stream=stream)
        self._link: Link | None = None

    @property
    def name(self) -> str:
        return f"osc {self._target.name} at {self._target.place}"

    @property
    def stream(self) -> str:
        return self._stream

    @property
    def rate_hz(self) -> float:
        return self._target.rate_hz

    @property
    def wants_levels(self) -> bool:
        return self._target.mapping.wants_levels

    @property
    def claims(self) -> frozenset[str]:
        addresses = (field.address_of(self._stream) for field in self._target.mapping.sent)
        return frozenset(f"{address} at {self._target.place}" for address in addresses)

    def open(self) -> None:
        """Find the receiver and, with TCP, connect to it; it gets everything anew.

        Raises:
            OSError: It is not there.
        """
        self._link = open_link(self._target.transport, self._target.host, self._target.port)
        self._composer.forget()

    def send(self, t: float, values: ShowValues) -> int:
        """Send what changed, and everything once a second.

        Raises:
            OSError: It cannot be sent.
        """
        return self._send(self._composer.feed(t, values))

    def farewell(self) -> None:
        """Say that the stream is not alive any more; all other values stay as they are."""
        self._send(self._composer.farewell())

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _send(self, messages: list[OscMessage]) -> int:
        if self._link is None:
            raise OSError("not open")
        for message in messages:
            self._link.send(encode(message.address, message.argument))
        return len(messages)
