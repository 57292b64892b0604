"""OSC output: sends what ``OscComposer`` composes to one receiver."""

from __future__ import annotations

from stream_mer.outputs.osc.composer import OscComposer, OscMessage
from stream_mer.outputs.osc.targets import OscTarget
from stream_mer.outputs.osc.transport import Link, encode, open_link
from stream_mer.outputs.values import ShowValues


class OscOutput:
    """Sends the values of a stream to one receiver; a ``ShowOutput``.

    Args:
        target: The receiver, with its mapping.
        stream: The stream.
    """

    def __init__(self, target: OscTarget, *, stream: str) -> None:
        self.name = f"osc {target.name} at {target.place}"
        self.stream = stream
        self.rate_hz = target.rate_hz
        self.wants_levels = target.mapping.wants_levels
        addresses = (field.address_of(stream) for field in target.mapping.sent)
        self.claims = frozenset(f"{address} at {target.place}" for address in addresses)
        self._target = target
        self._composer = OscComposer(target.mapping, stream=stream)
        self._link: Link | None = None

    def open(self) -> None:
        """Find the receiver and, with TCP, connect to it; it gets everything again.

        Raises:
            OSError: The receiver cannot be reached.
        """
        self._link = open_link(self._target.transport, self._target.host, self._target.port)
        self._composer.reset()

    def send(self, t: float, values: ShowValues) -> int:
        """Send changed values, and all of them once a second.

        Raises:
            OSError: A message cannot be sent.
        """
        return self._send(self._composer.update(t, values))

    def finish(self) -> None:
        """Send that the stream is no longer alive; all other values stay."""
        self._send(self._composer.last_messages())

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
