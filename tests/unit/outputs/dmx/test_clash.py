"""Another source with our identity is noticed, by real multicast on the loopback interface."""

import logging
import socket

import pytest

from stream_mer.outputs.dmx.clash import cid_of
from stream_mer.outputs.dmx.rig import SacnSettings
from stream_mer.outputs.dmx.sacn import SacnLink

CID, OTHER = bytes(range(16)), bytes(16)
CHANNELS = bytes(512)
LOOKS = 200


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("", 0))
        return int(bound.getsockname()[1])


@pytest.fixture
def opened():
    """Opens links to one port by multicast on this machine alone."""
    links, port = [], free_port()

    def open_link(cid, universes=(1,)):
        link = SacnLink(SacnSettings(port=port, interface="127.0.0.1"), name="rig", universes=universes, cid=cid)
        link.open()
        links.append(link)
        return link

    yield open_link
    for link in links:
        link.close()


def test_another_source_with_our_identity_is_told_once_a_minute(opened, caplog):
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
    ours, other, ending = opened(CID), opened(OTHER), opened(CID)
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
    link = SacnLink(SacnSettings(to=("127.0.0.1",), port=free_port()), name="rig", universes=(1,), cid=CID)
    link.open()
    assert link._watch._sockets == []
    link.close()
    assert len(opened(CID)._watch._sockets) == 2, "discovery, and the universe"
