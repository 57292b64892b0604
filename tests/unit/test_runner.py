"""Whatever is served ends when it is asked to, and what was built is closed."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading

import pytest
from helpers import PATIENCE_S, until

from stream_mer import runner
from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError, SettingError, SourceError
from stream_mer.runner import host
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo

INFO = ServerInfo(window_s=10.0, hop_s=0.5)
SETTINGS = ServeSettings(port=0)


class EventProducer:
    """Runs until it is stopped, or for ever."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.go_on = threading.Event()
        self.began = threading.Event()
        self.stopped = self.closed = False

    def run(self) -> None:
        self.began.set()
        self.go_on.wait(PATIENCE_S)

    def stop(self) -> None:
        self.stopped = True
        if not self.hangs:
            self.go_on.set()

    def close(self) -> None:
        self.stop()
        self.closed = True


class FailingProducer(EventProducer):
    def run(self) -> None:
        raise SourceError("the cable was pulled")


class Plugin:
    notice = "here"

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.started = self.stopped = False

    def start(self, hub: Hub) -> None:
        del hub
        if self.fails:
            raise SettingError("it cannot")
        self.started = True

    def stop(self) -> None:
        self.stopped = True


def interrupt(server: Server) -> None:
    del server
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)


async def test_a_signal_ends_what_is_served() -> None:
    producer, plugin = EventProducer(), Plugin()
    await host(Hub(), {"it": producer}, SETTINGS, info=INFO, on_ready=interrupt, plugins=[plugin])
    assert producer.stopped
    assert producer.closed
    assert plugin.stopped


async def test_of_several_producers_one_that_ends_or_fails_leaves_the_server_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends, goes_on = EventProducer(), EventProducer()
    ends.go_on.set()
    reports = ("ends has ended; still serving", "fails has failed: the cable was pulled; the other streams go on")

    async def stop_when_reported() -> None:
        await until(lambda: all(report in caplog.text for report in reports))
        signal.raise_signal(signal.SIGTERM)

    stopping = []
    with caplog.at_level(logging.INFO):
        await host(
            Hub(),
            {"ends": ends, "fails": FailingProducer(), "goes on": goes_on},
            SETTINGS,
            info=INFO,
            on_ready=lambda _: stopping.append(asyncio.create_task(stop_when_reported())),
        )
    await stopping[0]
    assert goes_on.stopped


async def test_the_only_producer_that_fails_ends_the_server() -> None:
    with pytest.raises(SourceError, match="the cable was pulled"):
        await host(Hub(), {"it": FailingProducer()}, SETTINGS, info=INFO, on_ready=lambda _: None)


async def test_a_producer_that_hangs_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "PRODUCERS_END_WITHIN_S", 0.05)

    class LastToStop(EventProducer):
        """The time that is left begins once the other one has ended."""

        def stop(self) -> None:
            super().stop()
            for thread in threading.enumerate():
                if thread.name == "inference other":
                    thread.join(PATIENCE_S)

    other, stuck, plugin = EventProducer(), LastToStop(hangs=True), Plugin()
    with caplog.at_level(logging.ERROR):
        await host(Hub(), {"other": other, "stuck": stuck}, SETTINGS, info=INFO, on_ready=interrupt, plugins=[plugin])
    assert plugin.stopped
    assert [record.getMessage() for record in caplog.records] == ["stuck does not end within 0.05 s; abandoned"]
    stuck.go_on.set()


async def test_a_port_that_cannot_be_bound_leaves_nothing_open() -> None:
    producer, plugin = EventProducer(), Plugin()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(port=taken.getsockname()[1])
        with pytest.raises(ServeError, match="in use"):
            await host(Hub(), {"it": producer}, settings, info=INFO, on_ready=interrupt, plugins=[plugin])
    assert producer.closed
    assert not producer.began.is_set()
    assert not plugin.started


async def test_a_plugin_that_cannot_start_leaves_nothing_open() -> None:
    producer, first = EventProducer(), Plugin()
    with pytest.raises(SettingError, match="it cannot"):
        await host(
            Hub(), {"it": producer}, SETTINGS, info=INFO, on_ready=interrupt, plugins=[first, Plugin(fails=True)]
        )
    assert first.stopped
    assert producer.closed


async def test_a_second_signal_closes_what_plugins_write(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, plugin, closed = EventProducer(hangs=True), Plugin(), threading.Event()
    codes = []

    def exit_at_once(code: int, close_files: object) -> None:
        codes.append(code)
        assert callable(close_files)
        close_files()
        closed.set()
        stuck.go_on.set()

    monkeypatch.setattr("stream_mer.utils.stopping.exit_at_once", exit_at_once)

    def twice(server: Server) -> None:
        interrupt(server)
        interrupt(server)

    await host(Hub(), {"stuck": stuck}, SETTINGS, info=INFO, on_ready=twice, plugins=[plugin])
    assert codes == [143]
    assert closed.is_set()
    assert plugin.stopped
