"""What people type as an address of a server."""

import pytest

from stream_mer.errors import SettingError
from stream_mer.server.address import complete_url


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("ws://127.0.0.1:8765/v1/stream", "ws://127.0.0.1:8765/v1/stream"),
        ("127.0.0.1:9000", "ws://127.0.0.1:9000/v1/stream"),
        ("stage-pc", "ws://stage-pc:8765/v1/stream"),
        ("http://127.0.0.1:8765/", "ws://127.0.0.1:8765/v1/stream"),
        ("https://mer.example", "wss://mer.example/v1/stream"),
        ("wss://mer.example/proxied/stream", "wss://mer.example/proxied/stream"),
        ("https://mer.example/mer/", "wss://mer.example/mer/v1/stream"),
        ("mer.example:80/show/mer/", "ws://mer.example:80/show/mer/v1/stream"),
        ("ws://127.0.0.1:8765/mer/v1/stream/", "ws://127.0.0.1:8765/mer/v1/stream"),
        ("http://127.0.0.1:8765//", "ws://127.0.0.1:8765/v1/stream"),
        ("[::1]", "ws://[::1]:8765/v1/stream"),
        ("[::1]:9000", "ws://[::1]:9000/v1/stream"),
        (" WSS://mer.example:443/ ", "wss://mer.example:443/v1/stream"),
    ],
)
def test_an_address_is_completed(typed, url):
    assert complete_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    ["", " ", "ws://", "ws://h:abc", "localhost:99999", "localhost:0", "front desk", "ftp://host", "http://[::1"],
)
def test_what_is_no_address_is_said_to_be_none(typed):
    with pytest.raises(
        SettingError, match=r"is no address of a server; one looks like ws://127\.0\.0\.1:8765/v1/stream"
    ):
        complete_url(typed)
