"""The capture process itself, with a PyAudio made for the test in place of the real one: it crashes, hangs, dies."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.errors import DeviceError
from stream_mer.sources import capture_process
from stream_mer.sources.capture import Health
from stream_mer.sources.capture_child import Kind, Packet, encode, read_packet
from stream_mer.sources.capture_process import PortAudioBackend, ProcessCapture
from stream_mer.sources.devices import InputDevice

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the signals of these tests are POSIX's")

PATIENCE_S = 60.0

PYAUDIO = """
    import os, threading, time
    from array import array
    paFloat32, paContinue, paComplete = 1, 0, 1
    os.write(1, b"JACK server is not running\\n")
    os.write(2, b"ALSA lib pcm.c:2664: Unknown PCM\\n")

    class Stream:
        active = True
        def is_active(self):
            return self.active

    class PyAudio:
        def get_default_input_device_info(self):
            return self.get_device_info_by_index(1)
        def get_device_count(self):
            return 3
        def get_device_info_by_index(self, index):
            name, channels = [("Speakers", 0), ("Desk Mic", 1), ("Café Monitor".encode(), 2)][index]
            return {"index": index, "name": name, "hostApi": 0, "maxInputChannels": channels,
                    "defaultSampleRate": 48000.0}
        def get_host_api_info_by_index(self, index):
            return {"name": "Fake"}
        def open(self, *, rate, channels, frames_per_buffer, stream_callback, **_):
            stream = Stream()
            def play():
                for k in range(BLOCKS):
                    stream_callback(array("f", [k / 1000] * frames_per_buffer * channels).tobytes(),
                                    frames_per_buffer, {}, 0)
                    time.sleep(0.02)
                THEN
            OPEN
            threading.Thread(target=play, daemon=True).start()
            return stream
"""


@pytest.fixture
def pyaudio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the PyAudio that capture processes will find."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(*, blocks: int = 10**9, then: str = "stream.active = False", opening: str = "pass") -> None:
        code = textwrap.dedent(PYAUDIO).replace("BLOCKS", str(blocks)).replace("THEN", then).replace("OPEN", opening)
        (tmp_path / "pyaudio.py").write_text(code, encoding="utf-8")

    write()
    return write


DESK = InputDevice(name="Desk Mic", host_api="Fake", channels=1, rate_hz=48_000)


def wait_for(capture: ProcessCapture, what: Callable[[Health], object]) -> Health:
    end = time.monotonic() + PATIENCE_S
    while not what(health := capture.health()):
        assert time.monotonic() < end, health
        time.sleep(0.005)
    return health


@pytest.mark.usefixtures("pyaudio")
def test_the_devices_are_listed_without_a_word_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    desk, monitor = PortAudioBackend().devices()
    assert (desk.name, desk.host_api, desk.channels, desk.rate_hz) == ("Desk Mic", "Fake", 1, 48_000)
    assert (desk.is_default, desk.is_monitor) == (True, False)
    assert (monitor.name, monitor.is_default, monitor.is_monitor) == ("Café Monitor", False, True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("pyaudio")
def test_blocks_come_in_order_with_their_times() -> None:
    before = time.monotonic()
    capture = PortAudioBackend().open(DESK, 1)
    try:
        blocks = [capture.blocks.get(PATIENCE_S) for _ in range(5)]
    finally:
        capture.close()
    assert capture.rate_hz == 48_000
    assert [block.start for block in blocks] == [0, 960, 1_920, 2_880, 3_840]
    np.testing.assert_array_equal(
        [block.samples[0, 0] for block in blocks], np.float32([0, 0.001, 0.002, 0.003, 0.004])
    )
    assert blocks[0].samples.shape == (960, 1)
    assert before < blocks[0].captured_at < blocks[4].captured_at < time.monotonic()


@pytest.mark.parametrize(
    ("behaviour", "trouble"),
    [
        ({"blocks": 3}, "is gone (unplugged, or its sound server ended)"),
        ({"blocks": 3, "then": "os.abort()"}, "lost its capture process, which was ended by signal 6"),
        ({"blocks": 3, "then": "os._exit(7)"}, "lost its capture process, which ended with exit code 7"),
        ({"opening": "raise OSError('Device unavailable', -9985)"}, "cannot be opened (Device unavailable)"),
        ({"opening": "raise RuntimeError('a defect')"}, "failed (RuntimeError: a defect)"),
        ({"opening": "os.kill(os.getpid(), 11)"}, "lost its capture process, which was ended by signal 11"),
    ],
)
def test_every_way_to_fail_is_told(pyaudio: Callable[..., None], behaviour: dict[str, str], trouble: str) -> None:
    pyaudio(**behaviour)
    capture = PortAudioBackend().open(DESK, 1)
    health = wait_for(capture, lambda health: health.trouble)
    capture.close()
    assert health.trouble == trouble
    assert len(list(capture.blocks)) == behaviour.get("blocks", 0)
    assert (health.opened_at is None) == ("opening" in behaviour)


@pytest.mark.usefixtures("pyaudio")
def test_a_device_that_is_not_there_is_no_other_device() -> None:
    capture = PortAudioBackend().open(InputDevice(name="Desk", host_api="Fake", channels=1, rate_hz=48_000), 1)
    health = wait_for(capture, lambda health: health.trouble)
    capture.close()
    assert (health.trouble, health.opened_at) == ("is not there", None)


def test_a_hang_while_opening_can_be_closed(pyaudio: Callable[..., None]) -> None:
    pyaudio(opening="time.sleep(1e6)")
    capture = PortAudioBackend().open(DESK, 1)
    capture.close()
    assert capture.health().opened_at is None
    with pytest.raises(ProcessLookupError):
        os.kill(capture.pid, 0)


@pytest.mark.usefixtures("pyaudio")
def test_a_process_that_is_killed_says_so_and_ctrl_c_does_not_reach_it() -> None:
    capture = PortAudioBackend().open(DESK, 1)
    wait_for(capture, lambda health: health.audio_at)
    os.kill(capture.pid, signal.SIGINT)
    capture.blocks.get(PATIENCE_S)
    os.kill(capture.pid, signal.SIGKILL)
    health = wait_for(capture, lambda health: health.trouble)
    capture.close()
    capture.close()
    assert health.trouble == "lost its capture process, which was ended by signal 9"


def test_it_lives_while_nothing_is_heard_and_says_so(pyaudio: Callable[..., None]) -> None:
    pyaudio(blocks=1, then="pass")
    capture = PortAudioBackend().open(DESK, 1)
    first = wait_for(capture, lambda health: health.audio_at)
    later = wait_for(capture, lambda health: health.alive_at > first.alive_at + 0.5)
    capture.close()
    assert later.trouble is None
    assert later.audio_at == first.audio_at


@pytest.mark.usefixtures("pyaudio")
def test_it_dies_with_its_parent() -> None:
    code = """
        import os, signal
        from stream_mer.sources.capture_process import PortAudioBackend
        from stream_mer.sources.devices import InputDevice
        capture = PortAudioBackend().open(InputDevice(name="Desk Mic", host_api="Fake", channels=1, rate_hz=48000), 1)
        capture.blocks.get(60)
        print(capture.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(Path(capture_process.__file__).parents[2])])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Nobody is left to wait for it: an orphan that is over may stay listed as a zombie.
    stat = Path(f"/proc/{done.stdout.strip()}/stat")
    end = time.monotonic() + PATIENCE_S
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.usefixtures("pyaudio")
def test_listing_that_hangs_or_crashes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_process, "_LIST_S", 0.2)
    for code, why in (("import time; time.sleep(1e6)", "signal 9"), ("import os; os.abort()", "signal 6")):
        if "abort" in code:
            monkeypatch.setattr(capture_process, "_LIST_S", PATIENCE_S)
        (tmp_path / "pyaudio.py").write_text(code)
        with pytest.raises(DeviceError, match=f"cannot be listed: .*{why}; check or restart the sound server"):
            PortAudioBackend().devices()


@pytest.mark.usefixtures("pyaudio")
def test_without_pyaudio_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyaudio.py").write_text("raise ImportError('no PortAudio')")
    with pytest.raises(DeviceError, match=r"pip install 'stream-mer\[mic\]'.*portaudio19-dev"):
        PortAudioBackend().devices()


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
