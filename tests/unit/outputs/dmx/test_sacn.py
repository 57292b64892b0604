"""What goes over the network, received by real receivers on this machine."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from pathlib import Path

import pytest
from helpers import free_port, wait_for
from sacn.messages.data_packet import DataPacket
from sacn.messages.sync_packet import SyncPacket
from sacn.receiver import sACNreceiver

from stream_mer.outputs.dmx.links import ArtnetLink
from stream_mer.outputs.dmx.rig import ArtnetSettings, SacnSettings
from stream_mer.outputs.dmx.sacn import DISCOVERY_S, FILE, SacnLink, cid_of, source_id, state_folder

ONE = bytes([255, 128, 7]) + bytes(509)
OTHER = bytes([1, 2, 3]) + bytes(509)


def sacn_to(port: int, **more) -> SacnLink:
    link = SacnLink(SacnSettings(to=("127.0.0.1",), port=port, **more), name="the rig", universes=(1, 7))
    link.open()
    return link


def test_sacn_says_who_sends_what_in_which_order(receiver):
    link = sacn_to(receiver.getsockname()[1], priority=150)
    assert link.send(7, ONE) == 1
    assert link.send(1, OTHER) == 1
    link.send(7, OTHER)
    link.close()
    first, second, third = (DataPacket.make_data_packet(tuple(receiver.recv(2048))) for _ in range(3))
    assert (first.universe, second.universe, third.universe) == (7, 1, 7)
    assert bytes(first.dmxData) == ONE
    assert bytes(third.dmxData) == OTHER
    assert (first.sequence + 1) % 256 == third.sequence, "each universe counts for itself"
    assert {packet.priority for packet in (first, second, third)} == {150}
    assert first.sourceName.rstrip("\0") == "the rig"
    assert first.option_StreamTerminated is False


def test_sacn_is_the_same_source_after_a_restart(receiver):
    for _ in range(2):
        link = sacn_to(receiver.getsockname()[1])
        link.send(1, ONE)
        link.close()
    before, after = (DataPacket.make_data_packet(tuple(receiver.recv(2048))) for _ in range(2))
    assert before._cid == after._cid


def test_sacn_ends_every_universe_with_three_packets_that_say_so(receiver):
    link = sacn_to(receiver.getsockname()[1])
    link.send(1, ONE)
    link.terminate()
    link.close()
    receiver.recv(2048)
    ends = [DataPacket.make_data_packet(tuple(receiver.recv(2048))) for _ in range(6)]
    assert [packet.universe for packet in ends] == [1, 1, 1, 7, 7, 7]
    assert all(packet.option_StreamTerminated for packet in ends)


def test_sacn_synchronises_what_was_sent_where_the_rig_asks_for_it(receiver):
    link = sacn_to(receiver.getsockname()[1], sync=7962)
    link.send(1, ONE)
    link.send(7, ONE)
    assert [link.synchronise(), link.synchronise()] == [1, 1]
    link.close()
    data = [DataPacket.make_data_packet(tuple(receiver.recv(2048))) for _ in range(2)]
    assert {packet.syncAddr for packet in data} == {7962}
    syncs = [SyncPacket.make_sync_packet(tuple(receiver.recv(2048))) for _ in range(2)]
    assert [packet.syncAddr for packet in syncs] == [7962, 7962]
    assert (syncs[0].sequence + 1) % 256 == syncs[1].sequence
    assert syncs[0]._cid == data[0]._cid


def test_without_a_universe_for_it_nothing_is_synchronised(receiver):
    link = sacn_to(receiver.getsockname()[1])
    link.send(1, ONE)
    assert link.synchronise() == 0
    link.close()
    assert DataPacket.make_data_packet(tuple(receiver.recv(2048))).syncAddr == 0


def test_a_network_card_that_is_not_there_is_named_and_matters_to_multicast_alone(receiver):
    elsewhere = "203.0.113.77"
    link = SacnLink(SacnSettings(interface=elsewhere), name="the rig", universes=(1,))
    with contextlib.closing(link), pytest.raises(OSError, match=f"no network card has the address {elsewhere}"):
        link.open()
    link = sacn_to(receiver.getsockname()[1], interface=elsewhere)
    link.send(1, ONE)
    link.close()
    assert receiver.recv(2048)


@pytest.mark.parametrize("multicast", [False, True])
def test_a_real_sacn_receiver_takes_it_and_hears_of_the_end(multicast):
    port = free_port(socket.SOCK_DGRAM)
    receiver = sACNreceiver(bind_address="127.0.0.1", bind_port=port)
    got, gone = threading.Event(), threading.Event()
    receiver.register_listener("universe", lambda packet: bytes(packet.dmxData) == ONE and got.set(), universe=7)
    receiver.register_listener("availability", lambda changed, **_: changed == "timeout" and gone.set())
    receiver.start()
    link = SacnLink(
        SacnSettings(to=() if multicast else ("127.0.0.1",), port=port, interface="127.0.0.1"),
        name="the rig",
        universes=(7,),
    )
    try:
        if multicast:
            receiver.join_multicast(7)
        link.open()
        wait_for(lambda: link.send(7, ONE) and got.is_set())
        link.terminate()
        wait_for(gone.is_set)
    finally:
        link.close()
        receiver.stop()


def test_universe_discovery_is_sent_by_multicast_alone(receiver):
    link = SacnLink(
        SacnSettings(interface="127.0.0.1", port=free_port(socket.SOCK_DGRAM)), name="the rig", universes=(1, 7)
    )
    link.open()
    assert link.refresh(100.0) == 1
    assert link.refresh(101.0) == 0
    assert link.refresh(100.0 + DISCOVERY_S) == 1
    link.close()
    unicast = sacn_to(receiver.getsockname()[1])
    assert unicast.refresh(0.0) == 0
    unicast.close()


@pytest.mark.parametrize("kind", ["sacn", "artnet"])
def test_a_host_that_is_not_there_is_an_error_of_the_network(kind):
    host = "no-such-host.invalid"
    link = (
        SacnLink(SacnSettings(to=(host,)), name="x", universes=(1,))
        if kind == "sacn"
        else ArtnetLink(ArtnetSettings(to=host), universes=(1,))
    )
    with pytest.raises(OSError, match=r"."):
        link.open()
    link.close()
    link.close()


CID, OTHER_CID = bytes(range(16)), bytes(16)
CHANNELS = bytes(512)
LOOKS = 200


@pytest.fixture
def opened():
    """Opens links to one port by multicast on this machine alone."""
    links, port = [], free_port(socket.SOCK_DGRAM)

    def open_link(cid, universes=(1,)):
        link = SacnLink(SacnSettings(port=port, interface="127.0.0.1"), name="rig", universes=universes, cid=cid)
        link.open()
        links.append(link)
        return link

    yield open_link
    for link in links:
        link.close()


def test_another_source_with_our_identity_is_reported_once_a_minute(opened, caplog):
    ours, theirs = opened(CID), opened(CID)
    with caplog.at_level(logging.WARNING):
        for _ in range(LOOKS):
            theirs.send(1, CHANNELS)
            ours.refresh(0.0)
    [record] = caplog.records
    port = theirs._socket.getsockname()[1]
    assert f"another source at 127.0.0.1:{port} sends sACN with our identity (CID)" in record.getMessage()


def test_it_is_noticed_by_its_discovery_whatever_universe_it_drives(opened, caplog):
    ours, theirs = opened(CID, universes=(1,)), opened(CID, universes=(9,))
    for i in range(LOOKS):
        theirs.refresh(10.0 * i)
        ours.refresh(0.0)
    assert "with our identity" in caplog.text


def test_neither_our_own_packets_nor_those_of_others_nor_an_end_are_a_clash(opened, caplog):
    ours, other, ending = opened(CID), opened(OTHER_CID), opened(CID)
    ending.terminate()
    for i in range(LOOKS):
        ours.send(1, CHANNELS)
        other.send(1, CHANNELS)
        ours.refresh(10.0 * i)
        other.refresh(10.0 * i)
    assert caplog.records == []


@pytest.mark.parametrize("packet", [b"", b"\0" * 21, b"\0" * 638, b"\0\x10\0\0ASC-E1.17\0\0\0", b"\xff" * 2048])
def test_what_is_no_sacn_has_no_identity(packet):
    assert cid_of(packet) is None


def test_unicast_listens_to_nobody(opened):
    link = SacnLink(
        SacnSettings(to=("127.0.0.1",), port=free_port(socket.SOCK_DGRAM)), name="rig", universes=(1,), cid=CID
    )
    link.open()
    assert link._watch._sockets == []
    link.close()
    assert len(opened(CID)._watch._sockets) == 2, "discovery, and the universe"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef\n")
    return path


def identity(state: Path, machine: Path, name: str = "the rig") -> bytes:
    return source_id(name, environ={"XDG_STATE_HOME": str(state)}, machine_id=machine)


def test_it_is_the_same_after_a_restart_and_another_one_for_each_rig(tmp_path: Path, machine: Path) -> None:
    assert len(identity(tmp_path, machine)) == 16
    assert identity(tmp_path, machine) == identity(tmp_path, machine)
    assert identity(tmp_path, machine) != identity(tmp_path, machine, "another rig")
    assert [path.name for path in (tmp_path / "stream_mer").iterdir()] == [FILE]


def test_two_machines_of_one_host_name_differ(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "stage")
    assert identity(tmp_path / "one", machine) != identity(tmp_path / "other", machine), "copies of one image"
    other = tmp_path / "other-machine-id"
    other.write_text("fedcba9876543210\n")
    assert identity(tmp_path / "one", machine) != identity(tmp_path / "one", other), "one home folder for both"
    assert identity(tmp_path / "one", tmp_path / "none") != identity(tmp_path / "other", tmp_path / "none")


@pytest.mark.parametrize("damage", [b"", b"x" * 10_000, b"\xff\xfe", b"0123"])
def test_a_damaged_file_is_replaced(damage: bytes, tmp_path: Path, machine: Path) -> None:
    before = identity(tmp_path, machine)
    (tmp_path / "stream_mer" / FILE).write_bytes(damage)
    after = identity(tmp_path, machine)
    assert after != before
    assert identity(tmp_path, machine) == after


def test_where_nothing_can_be_kept_that_of_the_machine_counts_or_it_is_said(
    tmp_path: Path, machine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert identity(blocked, machine) == identity(blocked, machine)
    assert caplog.records == []
    assert identity(blocked, tmp_path / "none") != identity(blocked, tmp_path / "none")
    assert "it changes with every restart" in caplog.text


def test_the_state_lies_where_states_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert state_folder({}, platform="linux") == Path("/home/me/.local/state/stream_mer")
    assert state_folder({"XDG_STATE_HOME": "/s", "LOCALAPPDATA": "/l"}, platform="win32") == Path("/s/stream_mer")
    assert state_folder({"LOCALAPPDATA": "/l"}, platform="win32") == Path("/l/stream_mer")
