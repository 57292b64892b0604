"""Hosts as people type them: names and addresses, checked before anything is sent or bound. Pure."""

from __future__ import annotations

import ipaddress
import re

from stream_mer.errors import SettingError, brief
from stream_mer.utils.sanitise import redact_address

_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_LONGEST_NAME = 253


def is_address(host: str) -> bool:
    """Tell whether a host is given as an IP address and not by a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine and no other."""
    name = host.strip("[]").lower()
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def check_host(host: str, what: str, *, ipv6: bool = False) -> str:
    """Return the address or name of a receiver as it was given.

    Args:
        host: ``192.168.1.50``, ``desk.local`` or, with ``ipv6``, ``fe80::1%eth0``; without brackets and port.
        what: Name of the setting, such as ``sacn.to``; the message begins with it.
        ipv6: Whether that is sent over IPv6, too.

    Raises:
        SettingError: The host is neither, or of a kind that cannot be sent to.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        address = None
    if address is None:
        _check_name(host, what)
    elif address.version == 6 and not ipv6:
        raise SettingError(f"{what}: {host} is an address of IPv6, over which this is not sent: give one of IPv4")
    elif address.is_unspecified:
        raise SettingError(f"{what}: {host} stands for no receiver: give its own address")
    return host


def _check_name(host: str, what: str) -> None:
    shown = brief(repr(redact_address(host)))
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        raise SettingError(f"{what}: {shown} holds a port: give the host alone; the port is a setting of its own")
    labels = host.removesuffix(".").split(".")
    try:
        is_name = len(host.encode("idna")) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))
    except UnicodeError:
        is_name = False
    if not is_name or labels[-1].isdigit():
        raise SettingError(f"{what}: {shown} is neither an address such as 192.168.1.50 nor the name of a host")
