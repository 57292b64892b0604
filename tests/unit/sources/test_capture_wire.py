"""What the capture process says survives the pipe."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.sources.capture_child import Kind, Packet, encode, read_packet

PACKETS = st.builds(
    Packet,
    kind=st.sampled_from(Kind),
    time=st.floats(0, 1e9),
    start=st.integers(0, 2**63),
    channels=st.integers(0, 255),
    payload=st.binary(max_size=64),
)


@given(st.lists(PACKETS, max_size=5))
def test_every_field_survives(packets: list[Packet]) -> None:
    pipe = io.BytesIO(b"".join(encode(packet) for packet in packets))
    read = []
    while (packet := read_packet(pipe)) is not None:
        read.append(packet)
    assert read == packets


@pytest.mark.parametrize("cut", [0, 1, 23, 24, 30])
def test_a_message_that_breaks_off_is_the_end(cut: int) -> None:
    assert read_packet(io.BytesIO(encode(Packet(kind=Kind.BLOCK, payload=b"12345678"))[:cut])) is None


@pytest.mark.parametrize("noise", [b"ALSA lib pcm.c:2664: Unknown PCM", b"mC\xff" + bytes(21)])
def test_what_is_no_message_is_an_error(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a message|not a valid"):
        read_packet(io.BytesIO(noise))


def test_the_capture_process_starts_light() -> None:
    code = (
        "import sys, stream_mer.sources.capture_child;"
        "print([n for n in ('numpy', 'soxr', 'torch', 'av', 'msgspec', 'click', 'pyaudio') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
