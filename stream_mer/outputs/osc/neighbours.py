"""Receivers that people look for among the presets and that speak no OSC: each is sent what it does understand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream_mer.errors import SettingError, brief
from stream_mer.outputs.output import ShowOutput
from stream_mer.utils.hosts import check_host

_PLACE = re.compile(r"(?P<host>[^\s:/@\[\]]+)?(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One of them.

    Attributes:
        port: Where it listens by default.
        host: Where it is by default; empty where somebody must say so.
        speaks: What it understands.
        about: What it is sent.
        setup: What to do at the receiver.
        open: Makes the output from host, port and stream.
    """

    port: int
    host: str = ""
    speaks: str
    about: str
    setup: str
    open: Callable[[str, int, str], ShowOutput]


def _open_wled(host: str, port: int, stream: str) -> ShowOutput:
    from stream_mer.outputs.dmx.wled import wled_output  # noqa: PLC0415 - who only lists the presets does without

    return wled_output(host, port, stream=stream)


def _open_ledfx(host: str, port: int, stream: str) -> ShowOutput:
    from stream_mer.outputs.dmx.ledfx import ledfx_output  # noqa: PLC0415 - as above

    return ledfx_output(host, port, stream=stream)


NEIGHBOURS: Mapping[str, Neighbour] = {
    "wled": Neighbour(
        port=21324,
        speaks="WLED's own UDP, DRGB",
        about="WLED, which knows no OSC: colours along the strip, up to 490 LEDs; valence is hue, arousal intensity "
        "and speed. At the end it goes back to its own effect.",
        setup="Config > Sync Interfaces: Receive UDP realtime is on from the start. Several strips, more LEDs or other "
        "looks: a rig over sACN.",
        open=_open_wled,
    ),
    "ledfx": Neighbour(
        host="127.0.0.1",
        port=8888,
        speaks="LedFx's HTTP interface",
        about="LedFx, which knows no OSC: the category gives all running effects their gradient, arousal their "
        "brightness; LedFx itself moves with the music. At most once in two seconds, as LedFx writes it to disk.",
        setup="Nothing but running effects. Tried with LedFx 2.2.1; one from before autumn 2025 does not know "
        "apply_global, and says so.",
        open=_open_ledfx,
    ),
}
"""All of them, by name."""


def find_neighbour(spec: str) -> Neighbour | None:
    """Return the one that ``NAME[@PLACE]`` means; None for what is none of them."""
    return NEIGHBOURS.get(spec.partition("@")[0])


def open_neighbour(neighbour: Neighbour, spec: str, *, stream: str) -> ShowOutput:
    """Make the output for ``NAME[@HOST[:PORT]]``.

    Raises:
        SettingError: The place is none, or is missing where it must be said.
    """
    name, at, place = spec.partition("@")
    found = _PLACE.fullmatch(place)
    host = (found and found["host"]) or neighbour.host
    port = int((found and found["port"]) or neighbour.port)
    if found is None or not host or (at and not place) or not 1 <= port <= 65_535:
        raise SettingError(
            f"{brief(spec)}: say where it is: {name}@HOST or {name}@HOST:PORT, such as {name}@192.168.1.50"
        )
    return neighbour.open(check_host(host, brief(spec)), port, stream)
