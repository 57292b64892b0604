"""A show over real websockets, recorded and played again over real websockets; and one that crashes."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers import PATIENCE_S, until
from talking import talking

from stream_mer.config import ServeSettings
from stream_mer.outputs.recording.format import MESSAGES, open_recording
from stream_mer.outputs.recording.player import Player, Playing
from stream_mer.outputs.recording.recorder import Recorder
from stream_mer.runner import host
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo, hello
from stream_mer.sources.file import FileSource
from stream_mer.types import ControlCommand, EmotionFrame, OverrideValues
from tools.examples import CHANGE, FRAME, LINE, STATUS

SETTINGS = ServeSettings(port=0)
INFO = ServerInfo(window_s=10.0, hop_s=0.5)
KINDS = ("emotion", "lyrics", "change", "status")


async def everything(server: Server, streams: tuple[str, ...]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """``hello``, and all that the server remembers, as a client gets it that comes back and saw nothing."""
    async with talking(server) as client:
        greeting = await client.read()
        last_seq = {stream: dict.fromkeys(KINDS, -1) for stream in streams}
        ready = await client.ask("identify", resume={"session": greeting["session"], "last_seq": last_seq})
        assert ready["resumed"] is True
        return greeting, await client.all_so_far()


async def test_what_clients_got_they_get_again(tmp_path: Path) -> None:
    hub = Hub()
    sinks = {stream: hub.sink(stream) for stream in ("hall", "bar")}
    recorder = Recorder(tmp_path, hello=functools.partial(hello, settings=SETTINGS, info=INFO))
    async with Server(hub, SETTINGS, INFO) as server:
        recorder.start(hub)
        for i in range(20):
            for sink in sinks.values():
                sink.publish(replace(FRAME, index=i, t1=0.5 * i, valence=i / 20))
            sinks["bar"].publish(replace(LINE, revision=i, text=f"line {i} – ünï"))
            if i == 10:
                hub.control(ControlCommand(action="override", override=OverrideValues(valence=-1.0, arousal=-1.0)))
                sinks["hall"].publish(STATUS)
            if i == 15:
                hub.control(ControlCommand(action="resume"))
                sinks["hall"].publish(CHANGE)
        sinks["hall"].publish(replace(STATUS, source="ended"))
        sinks["bar"].publish(replace(STATUS, source="ended"))
        before, live = await everything(server, hub.streams)
        recorder.stop()

    recording = open_recording(tmp_path)
    again = Hub()
    player = Player(recording, again, Playing(speed=100.0))
    seen: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []

    async def watch(server: Server) -> None:
        await until(lambda: ("bar", "status") in again.statistics().published)
        seen.append(await everything(server, recording.streams))
        signal.raise_signal(signal.SIGINT)

    watching: list[asyncio.Task[None]] = []
    await host(
        again,
        {"the recording": player},
        SETTINGS,
        info=INFO,
        on_ready=lambda server: watching.append(asyncio.create_task(watch(server))),
    )
    await watching[0]
    [(after, replayed)] = seen
    assert replayed == live
    assert len(live) > 60
    assert after["session"] != before["session"]
    assert {key: value for key, value in after.items() if key != "session"} == {
        key: value for key, value in before.items() if key != "session"
    }


async def frames(url: str, n: int) -> list[dict[str, Any]]:
    async with talking(url) as client:
        await client.ask("identify")
        return [await client.until("emotion") for _ in range(n)]


async def test_a_show_whose_server_is_killed_can_be_played(
    started: Callable[..., Any],
    tiny_model: Path,
    tmp_path: Path,
    music: Callable[..., Any],
    write_wav: Callable[..., Path],
) -> None:
    song = write_wav(tmp_path / "song.wav", music(30.0))
    shows = tmp_path / "shows"
    serve = ("-m", "stream_mer", "serve", "--source", f"hall={song}", "--model", tiny_model)
    options = ("--port", 0, "--no-lyrics", "--hop", 0.2, "--record", shows, "--record-audio")
    serving = await asyncio.to_thread(started, *serve, *options)
    live = await frames(serving.word_after("websocket"), 8)
    # What is older than a flush is on disk; a frame is written before or after any client gets it.
    recorded: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(recorded) < live[-1]["index"] + 1:
            await asyncio.sleep(0.1)
            recorded = [one for one in open_recording(shows).events() if isinstance(one.event, EmotionFrame)]
    serving.process.kill()
    await asyncio.to_thread(serving.process.wait, PATIENCE_S)

    recording = open_recording(shows)
    assert b'"ended":true' not in (recording.folder / MESSAGES).read_bytes()
    by_index = {one.event.index: one.event for one in recording.events() if isinstance(one.event, EmotionFrame)}
    for message in live:
        assert by_index[message["index"]].valence == message["valence"]
    audio = np.concatenate([chunk.samples for chunk in FileSource(recording.folder / "hall.flac").chunks()])
    assert len(audio) > 16_000
    original = np.concatenate([chunk.samples for chunk in FileSource(song).chunks()])
    assert np.abs(audio - original[: len(audio)]).max() < 1e-3

    with (recording.folder / MESSAGES).open("ab") as file:
        file.write(b'{"at":3.0,"message":{"type":"emotion","str')  # as if it had been cut off within a line
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as visuals:
        visuals.bind(("127.0.0.1", 0))
        visuals.settimeout(PATIENCE_S)
        to = f"127.0.0.1:{visuals.getsockname()[1]}"
        options = ("--port", 0, "--speed", 2, "--loop", "--osc", to)
        replaying = await asyncio.to_thread(started, "-m", "stream_mer", "replay", shows, *options)
        for message in await frames(replaying.word_after("websocket"), 4):
            assert message["stream"] == "hall"
        packet = await asyncio.to_thread(visuals.recv, 4096)
        assert packet.startswith(b"/"), "outputs follow a recording as they follow a show"
    assert (await asyncio.to_thread(replaying.end))[0] == 0
