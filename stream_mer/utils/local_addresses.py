"""Addresses of this machine in its networks; ifaddr is imported here alone. Does I/O, unlike ``utils.hosts``."""

from __future__ import annotations

import ipaddress
import socket

_TEST_NET = "192.0.2.1"
"""An address of documentation (RFC 5737). Nothing is sent to it: it only makes the system choose a way out."""


def local_addresses() -> list[str]:
    """Return the IPv4 addresses at which other machines may reach this one; that of the default route first."""
    found = [*_of_default_route(), *_of_interfaces()]
    return [one for one in dict.fromkeys(found) if not _is_useless(ipaddress.ip_address(one))]


def _of_default_route() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_TEST_NET, 9))
        except OSError:  # there is no way out
            return []
        return [str(probe.getsockname()[0])]


def _of_interfaces() -> list[str]:
    import ifaddr  # noqa: PLC0415 - only servers in a network need it

    return [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]


def _is_useless(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_unspecified or address.is_link_local
