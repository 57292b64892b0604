"""Lamps as an output of a show: renders the rig and sends it over a link."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from stream_mer.outputs.dmx.links import LightLink
from stream_mer.outputs.dmx.pacing import Pacing
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import Rig
from stream_mer.outputs.values import ShowValues


class LightOutput:
    """Drives the lamps of a rig; a ``ShowOutput``.

    Args:
        rig: The lamps.
        link: The way to them.
        show: What renders the rig.
        name: For logs and metrics.
        stream: The stream that is followed.
        claims: What it drives, for people: each universe or receiver.
        clock: Seconds, monotonic: that of ``send``.
        sleep: Waits so many seconds.
    """

    wants_levels = False

    def __init__(
        self,
        rig: Rig,
        link: LightLink,
        show: LightShow,
        *,
        name: str,
        stream: str | None,
        claims: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.stream = stream
        self.claims = frozenset(claims)
        self.rate_hz = rig.rate_hz
        self._safety = rig.safety
        self._link = link
        self._show = show
        self._clock = clock
        self._sleep = sleep
        self._pacings = {number: Pacing() for number in show.universes}
        self._values: ShowValues | None = None

    def open(self) -> None:
        """Get a socket."""
        self._link.open()

    def send(self, t: float, values: ShowValues) -> int:
        """Send the universes that changed, and those that were not sent for a while."""
        self._values = values
        universes = self._show.feed(t, values)
        if not universes:
            return 0
        sent = self._link.refresh(t)
        for number, channels in universes.items():
            if self._pacings[number].due(t, channels):
                sent += self._link.send(number, channels)
        return sent

    def farewell(self) -> None:
        """Go to what the rig is to show last, then say that nothing follows."""
        if self._values is None or not self._show.begun:
            return
        self._show.end()
        begin = self._clock()
        fade_s = 0.0 if self._safety.at_end == "hold" else self._safety.end_fade_s
        while (t := self._clock()) - begin < fade_s:
            self.send(t, self._values)
            self._sleep(1 / self.rate_hz)
        self.send(self._clock(), self._values)
        self._link.terminate()

    def close(self) -> None:
        """Let go of the socket."""
        self._link.close()
