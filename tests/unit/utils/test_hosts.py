"""A host that cannot be sent to is refused before the show begins."""

import pytest

from stream_mer.errors import SettingError
from stream_mer.utils.hosts import check_host


@pytest.mark.parametrize(
    "host", ["192.168.1.50", "255.255.255.255", "239.255.0.1", "desk", "desk.local.", "a_b-c", "bühne"]
)
def test_addresses_and_names_are_taken(host):
    assert check_host(host, "sacn.to") == host


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("::1", "an address of IPv6, over which this is not sent"),
        ("[::1]", "an address of IPv6"),
        ("fe80::1%eth0", "an address of IPv6"),
        ("::ffff:10.0.0.1", "an address of IPv6"),
        ("192.168.1.50:5568", "holds a port"),
        ("desk:5568", "holds a port"),
        ("0.0.0.0", "stands for no receiver"),  # noqa: S104 - refused
        ("999.1.1.1", "neither an address"),
        ("1.2.3", "neither an address"),
        ("192.168.1.50/24", "neither an address"),
        ("http://desk", "neither an address"),
        ("a desk", "neither an address"),
        ("-desk", "neither an address"),
        ("desk..local", "neither an address"),
        ("a" * 64, "neither an address"),
        ("a." * 200, "neither an address"),
        ("desk\0", "neither an address"),
        ("\x1b[2J", "neither an address"),
        ("", "neither an address"),
    ],
)
def test_what_is_neither_is_one_line(host, says):
    with pytest.raises(SettingError) as error:
        check_host(host, "sacn.to")
    assert str(error.value).startswith("sacn.to: ")
    assert says in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_what_is_sent_over_ipv6_too_takes_it():
    assert check_host("fe80::1%eth0", "host", ipv6=True) == "fe80::1%eth0"
    with pytest.raises(SettingError, match="stands for no receiver"):
        check_host("::", "host", ipv6=True)
