"""Which web pages may connect."""

import pytest

from stream_mer.serve.admission import may_connect
from stream_mer.serve.settings import ServeSettings

OPEN = ServeSettings()
GUARDED = ServeSettings(host="0.0.0.0", token="secret")  # noqa: S104, S106 - nothing is bound, and the token is a test's
LISTED = ServeSettings(allowed_origins=("https://vj.example", "null"))


@pytest.mark.parametrize(
    ("origin", "host", "settings", "expected"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765", OPEN, True),
        ("http://localhost:3000", "127.0.0.1:8765", OPEN, True),
        ("http://[::1]:8765", "[::1]:8765", OPEN, True),
        ("https://evil.example", "127.0.0.1:8765", OPEN, False),
        ("http://rebound.example:8765", "rebound.example:8765", OPEN, False),
        ("http://localhost.evil.example", "127.0.0.1:8765", OPEN, False),
        ("null", "127.0.0.1:8765", OPEN, False),
        ("http://[", "127.0.0.1:8765", OPEN, False),
        ("http://[::1", "[::1", OPEN, False),
        ("", "", OPEN, False),
        ("http://192.168.1.4:8765", "192.168.1.4:8765", GUARDED, True),
        ("http://stage-pc.local:8765", "stage-pc.local:8765", GUARDED, True),
        ("http://other.local:8765", "stage-pc.local:8765", GUARDED, False),
        ("https://vj.example", "127.0.0.1:8765", LISTED, True),
        ("null", "127.0.0.1:8765", LISTED, True),
        ("https://vj.example.evil", "127.0.0.1:8765", LISTED, False),
        ("https://anyone.example", "127.0.0.1:8765", ServeSettings(allowed_origins=("*",)), True),
    ],
)
def test_may_connect(origin, host, settings, expected):
    assert may_connect(origin, host=host, settings=settings) is expected
