"""``stream-mer send``: a source here becomes a stream there, also when the server goes away and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
import time
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE_S, free_port, until

from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError, SettingError
from stream_mer.server.hub import Hub
from stream_mer.server.sending import ANSWERED_S, AudioSender, Progress
from stream_mer.server.server import Server
from stream_mer.sources.remote import RemoteSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, seconds

TOKEN, OPERATOR = "open sesame, open", "the key of the desk"


class Playing:
    """A live source: a tone of this length, or until it is told to end.

    Attributes:
        played_s: How much it has given, seconds.
        may_end: Tells it to end.
    """

    name, live = "playing", True

    def __init__(self, length_s: float | None = None) -> None:
        self.closed = False
        self.played_s = 0.0
        self.may_end = threading.Event()
        self._blocks = None if length_s is None else round(length_s / 0.1)

    def chunks(self) -> Iterator[AudioChunk]:
        length, began = SAMPLE_RATE_HZ // 10, time.monotonic()
        for i in itertools.count():
            if i == self._blocks or self.may_end.is_set():
                return
            time.sleep(max(0.0, began + 0.1 * (i + 1) - time.monotonic()))
            self.played_s = seconds((i + 1) * length)
            yield AudioChunk(start_sample=i * length, samples=np.full(length, 0.25, np.float32))

    def close(self) -> None:
        self.closed = True


class Heard:
    """What the server's stream hears, read as a pipeline does."""

    def __init__(self, name: str = "desk") -> None:
        self.source = RemoteSource(name)
        self.chunks: list[AudioChunk] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for chunk in self.source.chunks():
            self.chunks.append(chunk)

    def loud_s(self) -> float:
        return sum(int((np.abs(chunk.samples) > 0.1).sum()) for chunk in self.chunks) / SAMPLE_RATE_HZ


@contextlib.asynccontextmanager
async def serving(*heard: Heard, port: int = 0, **settings: str) -> AsyncIterator[Server]:
    hub, inlets = Hub(), {one.source.name: one.source for one in heard}
    for name in inlets:
        hub.sink(name)
    async with Server(hub, ServeSettings(port=port, close_timeout_s=0.2, **settings), inlets=inlets) as server:
        yield server


async def test_all_of_a_source_arrives_and_its_end_ends_the_sending() -> None:
    heard, told = Heard(), list[Progress]()
    async with serving(heard) as server:
        source = Playing(1.5)
        done = await AudioSender(source, server.page_url, report=told.append).run()
        await until(lambda: heard.loud_s() > 1.4)
    assert (done.stream, done.sent_s, done.dropped_s) == ("desk", 1.5, 0.0)
    assert heard.loud_s() == pytest.approx(1.5, abs=0.05)
    assert source.closed
    assert [one.sending for one in told[:1]] == [True]
    assert told[-1].peak_db == pytest.approx(-12.0, abs=0.1)


async def test_a_file_is_sent_in_real_time(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.full(SAMPLE_RATE_HZ, 9000, np.int16).tobytes())
    heard = Heard()
    async with serving(heard) as server:
        began = time.monotonic()
        command = [sys.executable, "-m", "stream_mer", "send", str(path), "--to", server.page_url, "--config", ""]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert time.monotonic() - began > 1.0
        await until(lambda: heard.loud_s() > 0.9)
    assert done.returncode == 0, done.stderr
    assert "song.wav has ended: 0:01.0 sent to desk" in done.stderr


async def test_a_server_that_comes_back_gets_the_rest() -> None:
    port, heard, source, told = free_port(), Heard(), Playing(), list[Progress]()
    async with serving(heard, port=port) as server:
        sending = asyncio.create_task(AudioSender(source, server.page_url, report=told.append).run())
        await until(lambda: heard.loud_s() > 0.4)
    before_s = heard.loud_s()
    async with serving(heard, port=port):
        await until(lambda: heard.loud_s() > before_s + 0.4)
        source.may_end.set()
        done = await sending
    assert done.sent_s + done.dropped_s == pytest.approx(source.played_s, abs=0.11)
    turns = [one.sending for one in told]
    assert turns[0]
    assert turns[-1]
    assert False in turns


@pytest.mark.parametrize(
    ("streams", "wanted", "token", "error", "message"),
    [
        ((), None, None, SettingError, "no stream of this server takes audio: start it with"),
        (("one", "two"), None, None, SettingError, "choose one with --stream: one, two"),
        (("one", "two"), "tow", None, SettingError, "'tow' takes audio.*two"),
        (("desk",), None, TOKEN, ServeError, "give the operator's token with --token"),
        (("desk",), None, "wrong, all wrong", ServeError, "token"),
    ],
)
async def test_a_refusal_says_what_to_do(
    streams: tuple[str, ...], wanted: str | None, token: str | None, error: type[Exception], message: str
) -> None:
    settings = {} if token is None else {"token": TOKEN, "operator_token": OPERATOR}
    async with serving(*map(Heard, streams), **settings) as server:
        source = Playing(1.0)
        with pytest.raises(error, match=message):
            await AudioSender(source, server.page_url, stream=wanted, token=token).run()
        assert source.closed


async def test_another_sender_is_not_pushed_aside() -> None:
    heard, source = Heard(), Playing()
    async with serving(heard) as server:
        first = asyncio.create_task(AudioSender(source, server.page_url).run())
        await until(lambda: heard.loud_s() > 0.2)
        with pytest.raises(ServeError, match="from another client"):
            await AudioSender(Playing(1.0), server.page_url).run()
        source.may_end.set()
        assert (await first).sent_s == source.played_s


async def test_a_sender_that_is_replaced_does_not_fight_for_its_place() -> None:
    heard = Heard()
    async with serving(heard, token=TOKEN) as server:
        first = asyncio.create_task(AudioSender(Playing(), server.page_url, token=TOKEN).run())
        await until(lambda: heard.loud_s() > ANSWERED_S + 0.2)
        second = asyncio.create_task(AudioSender(Playing(1.0), server.page_url, token=TOKEN).run())
        with pytest.raises(ServeError, match="another client sends to desk now"):
            await first
        assert (await second).sent_s == 1.0


async def test_a_server_that_comes_later_is_waited_for() -> None:
    port, heard, told = free_port(), Heard(), list[Progress]()
    sender = AudioSender(Playing(0.5), f"127.0.0.1:{port}", wait=True, report=told.append)
    sending = asyncio.create_task(sender.run())
    await until(lambda: told and not told[0].sending)
    async with serving(heard, port=port):
        assert (await sending).sent_s == 0.5


async def test_without_a_server_the_error_says_so() -> None:
    with pytest.raises(ServeError, match="is stream-mer serve running there"):
        await AudioSender(Playing(1.0), f"127.0.0.1:{free_port()}").run()
