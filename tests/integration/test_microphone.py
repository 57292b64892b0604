"""The microphone on a real PulseAudio server with a null sink; what happens when that breaks is in test_capture."""

from __future__ import annotations

import itertools
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from stream_mer.cli.devices import command as devices
from stream_mer.errors import DeviceError, SettingError
from stream_mer.sources.microphone import MicrophoneSource, list_devices

pytestmark = pytest.mark.pulse

SPACING_S = 0.5
SPACING_TOLERANCE_S = 0.001
"""Clicks came through at exactly 500.00 ms; a millisecond allows for the resampler's smearing of the peak."""


def write_clicks(path: Path, n_clicks: int, *, width: int = 20) -> None:
    """Clicks of 0.76 on the left channel and half of that on the right one."""
    rate_hz = 44_100
    audio = np.zeros((round((n_clicks + 1) * SPACING_S * rate_hz), 2), "<i2")
    for k in range(n_clicks):
        start = round((k + 0.5) * SPACING_S * rate_hz)
        audio[start : start + width] = (25_000, 12_500)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(audio.tobytes())


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Audio, where the clicks are in it, and whether all of it came."""

    audio: np.ndarray
    peaks: list[int]
    is_whole: bool


def hear(microphone: MicrophoneSource, server, clicks: Path, n_clicks: int) -> Heard:
    """Play the clicks once the microphone hears."""
    chunks, player = [], None
    try:
        for chunk in microphone.chunks():
            player = player or server.popen("paplay", "--device=mer_sink", str(clicks))
            chunks.append(chunk)
            if player.poll() is not None and chunk.end_sample > 16_000 * (n_clicks * SPACING_S + 1):
                microphone.close()
    finally:
        if player is not None:
            player.kill()
            player.wait(10)
    assert chunks[0].start_sample == 0
    is_whole = all(after.start_sample == before.end_sample for before, after in itertools.pairwise(chunks))
    audio = np.concatenate([chunk.samples for chunk in chunks])
    peaks, position = [], 0
    while (loud := np.flatnonzero(np.abs(audio[position:]) > 0.1)).size:
        start = position + int(loud[0])
        peaks.append(start + int(np.argmax(np.abs(audio[start : start + 800]))))
        position = start + 800
    return Heard(audio=audio, peaks=peaks, is_whole=is_whole and not any(chunk.lost for chunk in chunks))


def spacing_s(heard: Heard) -> list[float]:
    return [(after - before) / 16_000 for before, after in itertools.pairwise(heard.peaks)]


def test_clicks_arrive_with_their_spacing(
    sound_server, tmp_path: Path, until_heard, capfd: pytest.CaptureFixture[str]
) -> None:
    write_clicks(tmp_path / "clicks.wav", 6)
    exactly = pytest.approx([SPACING_S] * 5, abs=SPACING_TOLERANCE_S)
    heard = until_heard(
        lambda: hear(MicrophoneSource("mer"), sound_server, tmp_path / "clicks.wav", 6),
        lambda heard: heard.is_whole and spacing_s(heard) == exactly,
    )
    assert heard.is_whole
    assert spacing_s(heard) == exactly
    assert capfd.readouterr() == ("", "")  # no noise of ALSA or JACK


@pytest.mark.parametrize(("channel", "gain_db"), [(1, 0.0), (2, 6.0)])
def test_a_channel_and_its_gain(sound_server, tmp_path: Path, until_heard, channel: int, gain_db: float) -> None:
    write_clicks(tmp_path / "clicks.wav", 1, width=400)
    heard = until_heard(
        lambda: hear(
            MicrophoneSource("mer", channels=[channel], gain_db=gain_db), sound_server, tmp_path / "clicks.wav", 1
        ),
        lambda heard: heard.is_whole and len(heard.peaks) == 1,
    )
    click = np.abs(heard.audio[np.abs(heard.audio) > 0.1])
    assert np.median(click) == pytest.approx(0.76, rel=0.03)


@pytest.mark.usefixtures("sound_server")
def test_the_devices_are_listed_and_an_unknown_one_names_them(capfd: pytest.CaptureFixture[str]) -> None:
    listed = {device.name: device for device in list_devices()}
    assert listed["mer"].host_api == "ALSA"
    assert not listed["mer"].is_default
    (default,) = [device for device in listed.values() if device.is_default and not device.server_name]
    assert MicrophoneSource().name == default.name
    assert MicrophoneSource("mer").name == "mer"
    with pytest.raises(DeviceError, match=r"no sound input is called 'no such thing'; there are: .*'mer'"):
        MicrophoneSource("no such thing")
    with pytest.raises(DeviceError, match="there is no channel 64"):
        MicrophoneSource("mer", channels=[1, 64])
    assert capfd.readouterr() == ("", "")

    command = CliRunner().invoke(devices, [])
    assert command.exit_code == 0
    assert any(line.split()[:3] == ["mer", "32", "44100"] for line in command.output.splitlines()), command.output
    assert "default" in command.output
    assert "default" not in CliRunner().invoke(devices, ["mer"]).output
    unknown = CliRunner().invoke(devices, ["no such thing"])
    assert isinstance(unknown.exception, SettingError)
    assert "'mer'" in str(unknown.exception)


@pytest.mark.usefixtures("stage")
def test_what_a_slow_reader_misses_is_a_gap() -> None:
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
    assert next(chunks, None) is None
    assert gaps, "one, or more where the machine was busy too"
    assert all(gap > 0 for gap in gaps)


def test_the_meter_measures_each_channel(stage, until_heard) -> None:
    stage.play()

    def peaks_of(done: Result) -> list[float]:
        return [float(line.split()[3]) for line in done.output.splitlines() if line.startswith("channel")]

    # To open a device, PortAudio waits for a busy sound server no longer than it likes.
    done = until_heard(
        lambda: CliRunner().invoke(devices, ["mer", "--meter", "--seconds", "2", "--channels", "1,2"]),
        lambda done: done.exit_code == 0 and min(peaks_of(done)) > -20,
    )
    assert done.exit_code == 0, done
    peaks = peaks_of(done)
    assert len(peaks) == 2
    assert peaks[0] == pytest.approx(20 * np.log10(24_000 / 32_768), abs=1.0)
    assert peaks[0] - peaks[1] == pytest.approx(6.0, abs=0.2)
