"""The first message to every client: what this server is."""

from __future__ import annotations

from dataclasses import dataclass

from stream_mer.config import WindowSettings
from stream_mer.ports import EventHub
from stream_mer.server import messages as wire
from stream_mer.server.settings import ServeSettings
from stream_mer.types import CATEGORIES, CLUSTERS
from stream_mer.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What ``hello`` tells of the process.

    Attributes:
        window_s: How much audio one frame may know.
        hop_s: Time between frames.
        name: Name and version of the server.
    """

    window_s: float = WindowSettings().context_s
    hop_s: float = WindowSettings().hop_s
    name: str = f"stream-mer/{__version__}"


def hello(hub: EventHub, settings: ServeSettings, info: ServerInfo) -> wire.Hello:
    """Return what a client that comes now is told first."""
    return wire.Hello(
        protocol=wire.PROTOCOL,
        server=info.name,
        auth_required=settings.needs_token,
        session=hub.session,
        streams=hub.streams,
        categories=CATEGORIES,
        clusters=CLUSTERS,
        va_range=(-1.0, 1.0),
        window_s=info.window_s,
        hop_s=info.hop_s,
        limits=wire.LimitsPart(**{name: getattr(settings, name) for name in wire.LimitsPart.__struct_fields__}),
    )
