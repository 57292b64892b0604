"""Addresses of this machine in its networks."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys

_SIOCGIFADDR = 0x8915
_NAME_BYTES = 15
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
    if sys.platform != "linux":
        with contextlib.suppress(OSError):
            return [str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
        return []
    import fcntl  # noqa: PLC0415 - not on Windows

    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode()[:_NAME_BYTES])
                answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
                addresses.append(socket.inet_ntoa(answer[20:24]))
    return addresses


def _is_useless(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_unspecified or address.is_link_local
