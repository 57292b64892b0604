"""The microphone on a real PulseAudio server with a null sink, which these tests start in a home of their own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

MISSING = [name for name in ("pulseaudio", "pactl", "pacat", "paplay") if shutil.which(name) is None]
if importlib.util.find_spec("pyaudio") is None:
    MISSING.append("pyaudio")

pytestmark = [pytest.mark.pulse, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")]

SPACING_S = 0.5
SPACING_TOLERANCE_S = 0.001
"""Clicks came through at exactly 500.00 ms; a millisecond allows for the resampler's smearing of the peak."""


@dataclass(kw_only=True)
class SoundServer:
    """A private PulseAudio with the sink ``mer_sink``, whose monitor PortAudio sees as the device ``mer``."""

    env: dict[str, str]
    process: subprocess.Popen[bytes]

    def run(self, *command: str) -> None:
        subprocess.run(command, env=self.env, check=True, timeout=30, capture_output=True)

    def start(self, code: str, *, stdout: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
        """Run Python code in a process that sees this server: ALSA reads its home once per process."""
        return subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(code)],
            env=self.env,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )


def stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    home, runtime = tmp_path / "home", tmp_path / "run"
    for folder in (home, runtime):
        folder.mkdir(mode=0o700)
    (home / ".asoundrc").write_text(
        'pcm.mer { type pulse device "mer_sink.monitor" hint { show on description "mer" } }\n'
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PULSE_", "XDG_", "DBUS_"))}
    env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(Path(__file__).parents[2])}
    log = (tmp_path / "pulseaudio.log").open("wb")
    modules = ("module-native-protocol-unix", "module-null-sink sink_name=mer_sink rate=44100 channels=2")
    loads = [word for module in modules for word in ("-L", module)]
    process = subprocess.Popen(
        ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *loads],
        env=env,
        stdout=log,
        stderr=log,
    )
    sound = SoundServer(env=env, process=process)
    silence: subprocess.Popen[bytes] | None = None
    try:
        for _ in range(100):
            ready = subprocess.run(["pactl", "info"], env=env, check=False, capture_output=True, timeout=30)
            if ready.returncode == 0:
                break
            assert process.poll() is None, (tmp_path / "pulseaudio.log").read_text()
            time.sleep(0.1)
        sound.run("pactl", "set-default-sink", "mer_sink")
        sound.run("pactl", "set-default-source", "mer_sink.monitor")
        # An idle sink sleeps; silence keeps it awake.
        with Path("/dev/zero").open("rb") as zero:
            silence = subprocess.Popen(
                ["pacat", "--device=mer_sink", "--latency-msec=20", "--format=s16le", "--rate=44100", "--channels=2"],
                env=env,
                stdin=zero,
                stderr=subprocess.DEVNULL,
            )
        yield sound
    finally:
        if silence is not None:
            stop(silence)
        stop(process)
        log.close()


def write_clicks(path: Path, n_clicks: int) -> None:
    rate_hz = 44_100
    audio = np.zeros((round((n_clicks + 1) * SPACING_S * rate_hz), 2), "<i2")
    for k in range(n_clicks):
        start = round((k + 0.5) * SPACING_S * rate_hz)
        audio[start : start + 20] = 25_000
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(audio.tobytes())


CAPTURE = """
    import numpy as np
    from stream_mer.sources.microphone import MicrophoneSource
    microphone = MicrophoneSource("mer")
    chunks = []
    for chunk in microphone.chunks():
        if not chunks:
            print("first", chunk.start_sample)
        chunks.append(chunk)
        if chunk.end_sample > 16_000 * {duration_s}:
            microphone.close()
    starts = [c.start_sample for c in chunks]
    ends = [c.end_sample for c in chunks]
    assert starts[1:] == ends[:-1], "a gap where nothing was lost"
    np.save({path!r}, np.concatenate([c.samples for c in chunks]))
    print("done", microphone.name)
"""


def test_clicks_arrive_with_their_spacing(server: SoundServer, tmp_path: Path) -> None:
    clicks, heard = tmp_path / "clicks.wav", tmp_path / "heard.npy"
    write_clicks(clicks, 8)
    capture = server.start(CAPTURE.format(duration_s=7, path=str(heard)))
    try:
        assert capture.stdout is not None
        assert capture.stdout.readline() == "first 0\n"
        server.run("paplay", "--device=mer_sink", str(clicks))
        out, err = capture.communicate(timeout=60)
    finally:
        stop(capture)
    assert capture.returncode == 0, err
    assert out == "done mer\n"
    assert err == ""  # no noise of ALSA or JACK
    audio = np.abs(np.load(heard))
    peaks = []
    position = 0
    while (loud := np.flatnonzero(audio[position:] > 0.2)).size:
        start = position + int(loud[0])
        peaks.append(start + int(np.argmax(audio[start : start + 800])))
        position = start + 800
    assert len(peaks) == 8
    np.testing.assert_allclose(np.diff(peaks) / 16_000, SPACING_S, atol=SPACING_TOLERANCE_S)


def test_the_devices_are_listed_and_an_unknown_one_names_them(server: SoundServer) -> None:
    code = """
        from stream_mer.errors import DeviceError
        from stream_mer.sources.microphone import MicrophoneSource, list_devices
        for device in list_devices():
            print(device.name, device.host_api, device.channels > 0, device.rate_hz > 0, device.is_default)
        print(MicrophoneSource().name)
        try:
            MicrophoneSource("no such thing")
        except DeviceError as error:
            print(error)
    """
    listing = server.start(code)
    out, err = listing.communicate(timeout=60)
    assert listing.returncode == 0, err
    assert err == ""
    *devices, default, error = out.splitlines()
    assert "mer ALSA True True False" in devices
    assert f"{default} ALSA True True True" in devices
    assert error.startswith("no sound input is called 'no such thing'; there are: ")
    assert "'mer'" in error


def test_what_a_slow_reader_misses_is_a_gap(server: SoundServer) -> None:
    code = """
        import time
        from stream_mer.sources.microphone import MicrophoneSource
        microphone = MicrophoneSource("mer")
        chunks = microphone.chunks()
        first = next(chunks)
        time.sleep(3.5)  # about 2 s may wait
        gaps, position = [], first.end_sample
        while position < 16_000 * 5:
            chunk = next(chunks)
            if chunk.start_sample != position:
                gaps.append(chunk.start_sample - position)
            position = chunk.end_sample
        microphone.close()
        print(next(chunks, "ended"), len(gaps), min(gaps) > 0)
    """
    reader = server.start(code)
    try:
        out, err = reader.communicate(timeout=60)
    finally:
        stop(reader)
    assert reader.returncode == 0, err
    assert out == "ended 1 True\n"


LISTEN_UNTIL_IT_FAILS = """
    from stream_mer.errors import DeviceError
    from stream_mer.sources.microphone import MicrophoneSource
    microphone = MicrophoneSource("mer")
    told = False
    try:
        for chunk in microphone.chunks():
            if chunk.end_sample > 16_000 and not told:
                told = True
                print("listening")
    except DeviceError as error:
        print(error)
"""


@pytest.mark.parametrize(("blow", "message"), [(signal.SIGKILL, "is gone"), (signal.SIGSTOP, "gave no audio for")])
def test_a_server_that_dies_or_stalls_is_an_error_and_no_hang(
    server: SoundServer, blow: signal.Signals, message: str
) -> None:
    listener = server.start(LISTEN_UNTIL_IT_FAILS)
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        server.process.send_signal(blow)
        out, err = listener.communicate(timeout=60)
    finally:
        stop(listener)
    assert listener.returncode == 0, err
    assert f"the sound input 'mer' {message}" in out
