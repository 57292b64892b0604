"""Settings refuse values out of range, and a public address without a token."""

import re

import pytest

from stream_mer.config import ServeSettings
from stream_mer.errors import SettingError
from stream_mer.utils.hosts import is_loopback

IN, DESK = "a token to get in", "the desk's own token"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8", "[::1]", "LOCALHOST"])
def test_this_machine_needs_no_token(host):
    assert is_loopback(host)
    assert ServeSettings(host=host).is_private


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "stage-pc.local", ""])  # noqa: S104 - refused, not bound
def test_a_public_address_without_a_token_is_refused_with_the_line_to_type(host):
    made_up = set()
    for _ in range(2):
        with pytest.raises(SettingError, match=r"Type: stream-mer serve --host \S+ --token \S+") as refused:
            ServeSettings(host=host)
        made_up.add(re.search(r"--token (\w{16,}) ", str(refused.value))[1])
    assert len(made_up) == 2, "a token that everybody finds in the manual is none"
    assert not ServeSettings(host=host, token="a secret of a test").is_private  # noqa: S106 - a token of a test


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("port", 65_536),
        ("max_clients", 0),
        ("max_message_bytes", 10),
        ("max_messages_per_s", 0),
        ("identify_timeout_s", 0.0),
        ("queued_messages", 0),
        ("stuck_after_s", 0.0),
        ("close_timeout_s", 0.0),
        ("token", "  "),
        ("token", "fifteen letters"),
        ("token", " a token with a space"),
        ("operator_token", "fifteen letters"),
        ("frame_origins", ("https://a.example; script-src *",)),
        ("frame_origins", ("a.example",)),
        ("proxies", ("nginx.example",)),
    ],
)
def test_what_cannot_be_is_refused(name, value):
    with pytest.raises(SettingError):
        ServeSettings(**{name: value})


def test_the_token_shows_in_no_log():
    assert "hush" not in repr(ServeSettings(token="hush, hush, hush, hush"))  # noqa: S106 - a token of a test


def test_two_tokens_differ():
    with pytest.raises(SettingError, match="both tokens are the same"):
        ServeSettings(token=IN, operator_token=IN)


def test_an_operator_token_alone_does_not_open_a_public_address():
    with pytest.raises(SettingError, match="a token is required"):
        ServeSettings(host="0.0.0.0", operator_token=DESK)  # noqa: S104 - refused, not bound
