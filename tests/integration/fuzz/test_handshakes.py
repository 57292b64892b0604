"""What comes in place of a handshake: garbage, half of one, one that takes its time, requests for something else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import REPEATABLE

from benchmarks.frames import handshake

BATCH = 20

GOOD = handshake(8765, "/v1/stream").decode("ascii")
HEADERS = ("Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
NEEDED = frozenset(HEADERS) - {"Host"}
REFUSALS = frozenset({400, 405, 414, 426, 431, 505})
"""How HTTP says that a request is none that can be met; 5xx would mean that the server failed, but for a version."""


def without(name: str) -> str:
    return "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(f"{name}:"))


def with_value(name: str, value: str) -> str:
    return without(name).replace("\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n")


words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)

requests = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=40).map(lambda junk: GOOD.encode()[:-2] + junk + b"\r\n\r\n"),
    st.integers(0, len(GOOD) - 1).map(lambda n: GOOD[:n].encode()),
    st.sampled_from(sorted(NEEDED)).map(without).map(str.encode),
    st.builds(with_value, st.sampled_from(sorted(NEEDED)), words).map(str.encode),
    st.sampled_from(("POST", "HEAD", "PUT", "OPTIONS", "get", "CONNECT", "")).map(
        lambda method: GOOD.replace("GET", method, 1).encode()
    ),
    st.sampled_from(("HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "ICY")).map(
        lambda version: GOOD.replace("HTTP/1.1", version, 1).encode()
    ),
    words.map(lambda path: GOOD.replace("/v1/stream", f"/{path}", 1).encode()),
    st.integers(9000, 70_000).map(lambda n: with_value("X-Long", "x" * n).encode()),
    st.integers(200, 2000).map(lambda n: GOOD.replace("\r\n\r\n", "\r\n" + "X: y\r\n" * n + "\r\n").encode()),
    st.integers(9000, 70_000).map(lambda n: GOOD.replace("/v1/stream", "/" + "x" * n, 1).encode()),
    st.sampled_from(("/", "/healthz", "/metrics", "/readyz", "/overlay", "/nothing")).map(
        lambda path: f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    ),
)


@settings(max_examples=100, **REPEATABLE)
@given(batch=st.lists(requests, min_size=BATCH, max_size=BATCH))
def test_whatever_comes_instead_of_a_handshake_is_refused_or_served(victim, batch):
    with victim.clients(batch) as clients:
        for client in clients:
            client.half_close()
        for client, request in zip(clients, batch, strict=True):
            status = status_of(client)
            assert status in {None, 101, 200, 404, 503} | REFUSALS, f"{status} for {request[:300]!r}"
    victim.check(len(batch))


def status_of(client) -> int | None:
    """The status of the answer; None where the connection ends without one."""
    try:
        head = client.read_head()
    except ConnectionResetError:
        return None
    return int(head.split(b" ")[1]) if head else None


CUTS = [5 * i for i in range(1, len(GOOD) // 5)]
BEGUN = [GOOD[:cut].encode() for cut in CUTS]


def test_a_handshake_may_come_in_pieces(victim):
    with victim.clients(BEGUN) as patient:
        for client, cut in zip(patient, CUTS, strict=True):
            client.send(GOOD[cut:].encode())
            assert status_of(client) == 101
            assert next(client.frames()).payload.startswith(b'{"type":"hello"')
    victim.check(len(CUTS))


def test_who_never_completes_a_handshake_is_hung_up_on(hasty_victim):
    with hasty_victim.clients(BEGUN) as endless:
        for client in endless:
            assert status_of(client) in {None, 408, 503}
    hasty_victim.check(len(CUTS))
