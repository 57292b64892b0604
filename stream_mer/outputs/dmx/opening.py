"""From what a person typed, such as ``mood`` or ``rig.toml@192.168.1.50``, to a rig and an output."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.dmx.artnet import ArtnetLink
from stream_mer.outputs.dmx.output import LightOutput
from stream_mer.outputs.dmx.presets import LOOKS, preset
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import Rig
from stream_mer.outputs.dmx.sacn import SacnLink
from stream_mer.outputs.dmx.tables import read_rig
from stream_mer.utils.hosts import check_host


def find_rig(name: str) -> Rig:
    """Return a preset, or read a rig file.

    Raises:
        SettingError: It is neither, or the file cannot be used.
    """
    if name in LOOKS:
        return preset(name)
    path = Path(name)
    if path.suffix == ".toml" or os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long
        return read_rig(path)
    raise SettingError(
        f"no rig is called {brief(repr(name))}, and a file would end in .toml{did_you_mean(name, LOOKS)}"
    )


def open_sacn(spec: str, stream: str) -> LightOutput:
    """Make the output of ``--sacn RIG[@HOST[,HOST]]``.

    Raises:
        SettingError: The rig cannot be used, or the library is missing.
    """
    rig, hosts = _split(spec)
    settings = rig.sacn if not hosts else replace(rig.sacn, to=hosts)
    show = LightShow(rig)
    link = SacnLink(settings, name=rig.name, universes=show.universes)
    places = settings.to or ("multicast",)
    claims = [f"sACN universe {number} at {place}:{settings.port}" for number in show.universes for place in places]
    return LightOutput(rig, link, show, name=f"sacn {rig.name} {', '.join(places)}", stream=stream, claims=claims)


def open_artnet(spec: str, stream: str) -> LightOutput:
    """Make the output of ``--artnet RIG[@HOST]``.

    Raises:
        SettingError: The rig cannot be used, or nobody said where to.
    """
    rig, hosts = _split(spec)
    if len(hosts) > 1:
        raise SettingError(f"Art-Net is sent to one address, not to {len(hosts)}: give --artnet once for each")
    settings = rig.artnet if not hosts else replace(rig.artnet, to=hosts[0])
    show = LightShow(rig)
    link = ArtnetLink(settings, universes=show.universes)
    claims = [f"Art-Net universe {number} at {settings.to}:{settings.port}" for number in link.port_addresses]
    return LightOutput(rig, link, show, name=f"artnet {rig.name} {settings.to}", stream=stream, claims=claims)


def _split(spec: str) -> tuple[Rig, tuple[str, ...]]:
    name, at, places = spec.rpartition("@")
    if not at or os.path.exists(spec):  # noqa: PTH110 - as above
        return find_rig(spec), ()
    hosts = tuple(place.strip() for place in places.split(","))
    if not all(hosts):
        raise SettingError(f"{brief(spec)}: after the @ stands an address, such as {brief(name)}@192.168.1.50")
    for host in hosts:
        check_host(host, brief(spec))
    return find_rig(name), hosts
