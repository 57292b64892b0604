"""Which requests, web pages and tokens are looked at, and how often."""

import pytest
from helpers import FakeClock

from stream_mer.config import ServeSettings
from stream_mer.server.auth import (
    FIRST_DELAY_S,
    FORGOTTEN_AFTER_S,
    MAX_ADDRESSES,
    MAX_DELAY_S,
    MAX_WAIT_S,
    GuessLimit,
    client_address,
    may_connect,
    role_of,
)

OPEN = ServeSettings()
GUARDED = ServeSettings(host="0.0.0.0", token="a secret of a test")  # noqa: S104, S106 - nothing is bound, and the token is a test's
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


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("10.0.0.7", [], (), "10.0.0.7"),
        ("10.0.0.7", ["1.2.3.4"], (), "10.0.0.7"),
        ("::ffff:10.0.0.7", [], (), "10.0.0.7"),
        ("fe80::1%eth0", [], (), "fe80::/64"),
        ("2001:db8:1:2:3:4:5:6", [], (), "2001:db8:1:2::/64"),
        ("127.0.0.1", ["1.2.3.4"], ("127.0.0.1",), "1.2.3.4"),
        ("::ffff:127.0.0.1", ["1.2.3.4:5678"], ("127.0.0.1",), "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6, 1.2.3.4"], ("127.0.0.1",), "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6, 1.2.3.4", "10.0.0.2"], ("127.0.0.1", "10.0.0.2"), "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6"], ("10.0.0.2",), "127.0.0.1"),
        ("127.0.0.1", ["[2001:db8::7]:443"], ("127.0.0.1",), "2001:db8::/64"),
        ("127.0.0.1", ["unknown"], ("127.0.0.1",), "127.0.0.1"),
        ("127.0.0.1", [], ("127.0.0.1",), "127.0.0.1"),
        ("", [], (), ""),
    ],
)
def test_the_address_of_a_client_is_what_the_last_proxy_that_is_believed_saw(peer, forwarded, proxies, address):
    assert client_address(peer, forwarded, proxies=proxies) == address


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def guesses(clock):
    return GuessLimit(clock)


def test_each_wrong_token_makes_the_next_one_wait_longer(guesses, clock):
    waits = []
    for _ in range(8):
        wait_s, may_wait = guesses.book("10.0.0.7")
        assert may_wait
        waits.append(wait_s)
        clock.now += wait_s
        guesses.was_wrong("10.0.0.7")
    assert waits == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, MAX_DELAY_S, MAX_DELAY_S]
    assert guesses.book("10.0.0.8") == (0.0, True), "another address is not concerned"


def test_however_many_guess_at_once_from_an_address_few_are_looked_at(guesses, clock):
    """200 a second in parallel for ten minutes: they share the delay of their address."""
    looked_at = 0
    due: list[float] = []
    for step in range(6_000):
        clock.now = 1000.0 + step / 10
        looked_at += sum(at <= clock.now for at in due)
        for _ in [at for at in due if at <= clock.now]:
            guesses.was_wrong("10.0.0.7")
        due = [at for at in due if at > clock.now]
        for _ in range(20):
            wait_s, may_wait = guesses.book("10.0.0.7")
            if may_wait and wait_s == 0.0:
                guesses.was_wrong("10.0.0.7")
                looked_at += 1
            elif may_wait:
                due.append(clock.now + wait_s)
            else:
                assert wait_s > MAX_WAIT_S
        assert len(due) <= MAX_WAIT_S / FIRST_DELAY_S
    assert looked_at <= 600 / MAX_DELAY_S + MAX_WAIT_S / FIRST_DELAY_S + 10


def test_behind_one_address_a_right_token_gets_its_turn(guesses, clock):
    """Somebody guesses, one after another, behind the same NAT: a client with the right token waits for seconds."""
    for _ in range(20):
        wait_s, _ = guesses.book("10.0.0.7")
        clock.now += wait_s
        guesses.was_wrong("10.0.0.7")
    wait_s, may_wait = guesses.book("10.0.0.7")
    assert may_wait
    assert wait_s <= MAX_DELAY_S


def test_an_address_that_has_not_guessed_for_long_begins_anew(guesses, clock):
    for _ in range(9):
        guesses.was_wrong("10.0.0.7")
    clock.now += FORGOTTEN_AFTER_S - 1
    guesses.was_wrong("10.0.0.7")
    assert guesses.book("10.0.0.7")[0] == MAX_DELAY_S
    clock.now += FORGOTTEN_AFTER_S + 1
    assert guesses.book("10.0.0.7") == (0.0, True)
    guesses.was_wrong("10.0.0.7")
    assert guesses.book("10.0.0.7")[0] == 0.25


def test_addresses_are_not_remembered_without_end(guesses):
    for i in range(MAX_ADDRESSES + 500):
        guesses.was_wrong(f"10.{i >> 8 & 255}.{i & 255}.{i >> 16}")
    assert len(guesses._addresses) == MAX_ADDRESSES


IN, DESK = "a token to get in", "the desk's own token"


@pytest.mark.parametrize(
    ("tokens", "shown", "role"),
    [
        ({}, None, "operator"),
        ({}, "anything", "operator"),
        ({"token": IN}, None, None),
        ({"token": IN}, "", None),
        ({"token": IN}, "out", None),
        ({"token": IN}, IN, "operator"),
        ({"token": IN, "operator_token": DESK}, IN, "viewer"),
        ({"token": IN, "operator_token": DESK}, DESK, "operator"),
        ({"operator_token": DESK}, None, "viewer"),
        ({"operator_token": DESK}, DESK, "operator"),
        ({"operator_token": DESK}, IN, None),
        ({"token": IN}, f"{IN}\ud800", None),
    ],
)
def test_a_token_decides_on_the_role(tokens, shown, role):
    assert role_of(shown, ServeSettings(**tokens)) == role
