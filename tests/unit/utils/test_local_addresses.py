"""Addresses for other devices, and as a QR code."""

from __future__ import annotations

import ipaddress
import re
import socket

from stream_mer.utils import local_addresses as module
from stream_mer.utils.local_addresses import local_addresses
from stream_mer.utils.qr_code import qr_svg, qr_terminal

ADDRESS = "http://192.168.1.20:8765/#token=0123456789abcdef0123456789abcdef"


def test_own_addresses_can_be_bound_and_are_no_loopback() -> None:
    for address in local_addresses():
        assert not ipaddress.ip_address(address).is_loopback
        with socket.socket() as bound:
            bound.bind((address, 0))


def test_the_address_of_the_default_route_is_first_and_none_comes_twice(monkeypatch) -> None:
    monkeypatch.setattr(module, "_of_default_route", lambda: ["192.168.1.20"])
    monkeypatch.setattr(module, "_of_interfaces", lambda: ["127.0.0.1", "10.0.0.2", "192.168.1.20", "169.254.3.4"])
    assert local_addresses() == ["192.168.1.20", "10.0.0.2"]


def test_a_code_for_the_page_is_one_element_that_scales() -> None:
    svg = qr_svg(ADDRESS)
    assert re.match(r'<svg [^>]*viewBox="0 0 \d+ \d+"', svg)
    assert svg.count("<svg") == 1
    assert "width" not in svg.partition(">")[0]


def test_a_code_for_the_terminal_is_a_square_of_half_blocks() -> None:
    lines = qr_terminal(ADDRESS).splitlines()
    assert set("".join(lines)) <= set("█▀▄ ")
    assert {len(line) for line in lines} == {len(lines[0])}
    assert abs(len(lines[0]) - 2 * len(lines)) <= 1
