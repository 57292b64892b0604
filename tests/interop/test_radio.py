"""Icecast and Liquidsoap: a station in five formats, whose tracks change under titles with accents."""

from __future__ import annotations

import itertools
import json
import signal
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import free_port, wait_for
from interop.programs import Listener, Program, Serve, give, need, ordinary

RATE_HZ = 44_100
HEARD_HZ = 16_000
TRACK_S = 6.0
TONES_HZ = (440, 660, 880)
TITLES = ("Café déjà vu", "Für Élise", "Ça ira, señor")
HEARD_S = 30.0

ICECAST = """\
<icecast>
  <location>test</location><admin>nobody@localhost</admin><hostname>localhost</hostname>
  <limits><clients>50</clients><sources>10</sources><burst-size>65535</burst-size></limits>
  <authentication>
    <source-password>hackme</source-password><admin-user>admin</admin-user><admin-password>hackme</admin-password>
  </authentication>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths>
    <basedir>{folder}</basedir><logdir>{folder}</logdir>
    <webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot>
  </paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>3</loglevel></logging>
</icecast>
"""

LIQUIDSOAP = """\
settings.log.stdout.set(true)
settings.log.file.set(false)
radio = mksafe(playlist(mode="normal", "{playlist}"))
output.icecast(%mp3(bitrate=128), mount="mp3", port={port}, password="hackme", radio)
output.icecast(%vorbis(quality=0.4), mount="vorbis", port={port}, password="hackme", radio)
output.icecast(%opus(bitrate=96), mount="opus", port={port}, password="hackme", radio)
output.icecast(%ogg(%flac), mount="flac", port={port}, password="hackme", radio)
output.icecast(
  %ffmpeg(format="adts", %audio(codec="aac", b="128k")), mount="aac", format="audio/aac",
  port={port}, password="hackme", radio
)
"""
FORMATS = ("mp3", "vorbis", "opus", "flac", "aac")


@dataclass
class Station:
    """A running station; its mounts are below the address."""

    url: str
    program: Any

    def is_late(self) -> bool:
        """Whether Liquidsoap itself could not keep pace, so that gaps are its own."""
        return "must catchup" in self.program.text()


@pytest.fixture
def station(start: Callable[..., Program], home: Path) -> Station:
    need("icecast2", "icecast2")
    need("liquidsoap", "liquidsoap")
    folder = home / "station"
    folder.mkdir()
    port = free_port()
    entries = []
    for tone_hz, title in zip(TONES_HZ, TITLES, strict=True):
        path = folder / f"{tone_hz}.wav"
        samples = np.sin(2 * np.pi * tone_hz * np.arange(round(TRACK_S * RATE_HZ)) / RATE_HZ) / 4
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
            frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        entries.append(f'annotate:title="{title}",artist="Zoë":{path}')
    (folder / "list.m3u").write_text("\n".join(entries) + "\n")
    (folder / "icecast.xml").write_text(ICECAST.format(port=port, folder=folder))
    (folder / "radio.liq").write_text(LIQUIDSOAP.format(port=port, playlist=folder / "list.m3u"))
    give(folder)
    start("icecast", ordinary("icecast2", "-c", str(folder / "icecast.xml")))
    url = f"http://127.0.0.1:{port}"

    def mounts() -> set[str]:
        try:
            with urllib.request.urlopen(f"{url}/status-json.xsl", timeout=10) as answer:  # noqa: S310 - of the test
                sources = json.load(answer)["icestats"].get("source", [])
        except (OSError, ValueError):
            return set()
        return {one["listenurl"].rpartition("/")[2] for one in (sources if isinstance(sources, list) else [sources])}

    wait_for((folder / "error.log").exists, "Icecast")
    program = start("liquidsoap", ordinary("liquidsoap", str(folder / "radio.liq")), cwd=folder)
    wait_for(lambda: mounts() == set(FORMATS), "all mounts")
    return Station(url, program)


def pitches(path: Path) -> list[int]:
    """The tone of each fifth of a second of a recording, Hz; 0 where it is silent."""
    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    size = HEARD_HZ // 5
    windows = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    windows /= np.iinfo(samples.dtype).max
    loudest = np.argmax(np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)), axis=1) * 5
    return [int(hz) if rms > 0.05 else 0 for hz, rms in zip(loudest, np.sqrt((windows**2).mean(1)), strict=True)]


def test_a_station_is_heard_through_its_changes_of_track(
    station: Station, serve: Callable[..., Serve], listen: Callable[[str], Listener], home: Path
) -> None:
    sources = [option for name in FORMATS for option in ("--source", f"{name}={station.url}/{name}")]
    server = serve(*sources, "--hop", "2", "--record", str(home / "shows"), "--record-audio")
    recording = home / "shows"

    client = listen(server.url)

    def heard_s() -> float:
        """How much of each stream was heard at least, s."""
        return min(client.get("emotion", "t1", name) or 0.0 for name in FORMATS)

    wait_for(lambda: heard_s() > HEARD_S, "half a minute of each", patience_s=240)
    assert server.stop(signal.SIGINT) == 0
    # Five streams on a busy machine may take longer to end than they get; that says nothing of the station.
    trouble = [line for line in server.text().splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert not [line for line in trouble if "does not end within" not in line]
    folder = next(recording.glob("*/messages.jsonl")).parent
    lines = [json.loads(line) for line in (folder / "messages.jsonl").read_text().splitlines()[1:]]
    messages = [line["message"] for line in lines if "message" in line]
    states = {(one["stream"], one["source"]) for one in messages if one["type"] == "status"}
    assert not [state for state in states if state[1] == "reconnecting"]
    for name in FORMATS:
        told = [one for one in messages if one["type"] == "status" and one["stream"] == name and one.get("title")]
        titles = {f"{one['artist']} - {one['title']}" if one.get("artist") else one["title"] for one in told}
        assert titles == {f"Zoë - {title}" for title in TITLES}, name
        heard = pitches(folder / f"{name}.flac")
        begun = heard[next(i for i, hz in enumerate(heard) if hz) :]
        tracks = [hz for hz, _ in itertools.groupby(hz for hz in begun if hz in TONES_HZ)]
        assert len(tracks) >= 4, f"{name}: {begun}"
        order = dict(zip(TONES_HZ, TONES_HZ[1:] + TONES_HZ[:1], strict=True))
        assert all(after == order[before] for before, after in itertools.pairwise(tracks)), f"{name}: {begun}"
        strange = [hz for hz in begun if hz and hz not in TONES_HZ]
        assert len(strange) <= 2 * len(tracks), f"{name}: {begun}"  # the windows in which tracks change
        silent = max((len(list(run)) for hz, run in itertools.groupby(begun) if hz == 0), default=0)
        assert silent <= 1 or station.is_late(), f"{name}: {begun}"
