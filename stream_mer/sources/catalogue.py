"""From what a person types to a source."""

from __future__ import annotations

import sys
from pathlib import Path

from stream_mer.errors import SettingError
from stream_mer.ports import AudioSource
from stream_mer.redaction import redact_argument
from stream_mer.sources.demo import DemoSource, demo_song
from stream_mer.sources.devices import parse_channels
from stream_mer.sources.file import FileSource
from stream_mer.sources.microphone import MicrophoneSource
from stream_mer.sources.monitor import open_monitor
from stream_mer.sources.network import UrlSource
from stream_mer.sources.pcm_format import PcmFormat
from stream_mer.sources.remote import RemoteSource
from stream_mer.sources.stdin import StdinSource

POSSIBLE = (
    "a source is: demo, mic, mic:NAME, monitor (what this machine plays), a file, file:PATH, "
    "an address (http://..., rtsp://..., rtp://...), remote (audio that a client sends), "
    "or - (raw PCM, or a file such as WAV or MP3, on standard input)"
)
"""One line for help and errors."""


def open_source(
    spec: str,
    *,
    paced: bool = True,
    rate_hz: int | None = None,
    sample_format: str | None = None,
    channels: int | str | None = None,
    gain_db: float | None = None,
    loop: bool = False,
) -> AudioSource:
    """Make the source that ``spec`` names.

    Args:
        spec: ``demo`` (the packaged song), ``mic`` (the default input) or ``mic:NAME``, ``monitor`` (what this
            machine plays), ``-`` (raw PCM or a file on standard input), ``remote`` (audio that a client sends), a
            network address, ``file:PATH``, or a plain path.
        paced: Files: deliver as real time would. The demo song then plays over and over.
        rate_hz: Raw PCM: its rate; default 44100.
        sample_format: Raw PCM: as in ``ffmpeg -f``; default ``s16le``.
        channels: Raw PCM: how many are interleaved; default 1. Microphone: which to mix (``3,4``); default two.
        gain_db: Microphone: amplification of what was captured, decibels; default 0.
        loop: Files: begin again at the end.

    Raises:
        SettingError: No source is called so, or an option does not fit it.
        SourceError: The file is missing, a folder or empty.
        DeviceError: There is no such sound input.
    """
    kind, _, rest = spec.partition(":")
    shown = redact_argument(spec)
    captured = kind == "mic" or spec == "monitor"
    if spec != "-" and not (rate_hz is None and sample_format is None):
        raise SettingError(f"rate and format are for raw PCM on standard input (-) alone, not for {shown!r}")
    if spec != "-" and not captured and channels is not None:
        raise SettingError(f"channels are for raw PCM on standard input (-) and for microphones, not for {shown!r}")
    if gain_db is not None and not captured:
        raise SettingError(f"gain is for microphones alone, not for {shown!r}")
    picked = parse_channels(str(channels)) if captured and channels is not None else None
    match kind:
        case "-" if spec == "-":
            return _stdin(rate_hz, sample_format, None if channels is None else _count(channels), paced=paced)
        case "mic":
            return MicrophoneSource(rest or None, channels=picked, gain_db=gain_db or 0.0)
        case "monitor" if captured:
            return open_monitor(channels=picked, gain_db=gain_db or 0.0)
        case "remote" if spec == "remote":
            return RemoteSource()
        case _ if "://" in spec:
            return UrlSource(spec)
        case _:
            return _stored(spec, paced=paced, loop=loop)


def _stored(spec: str, *, paced: bool, loop: bool) -> AudioSource:
    """A file, or the demo song."""
    if spec == "demo":
        return DemoSource() if paced else FileSource(demo_song(), loop=loop)
    named = spec.startswith("file:")
    path = spec.removeprefix("file:")
    if not path:
        raise SettingError(f"{spec!r} names no file; {POSSIBLE}")
    if not named and _is_no_path(path):
        raise SettingError(f"no source is called {spec!r}; {POSSIBLE}")
    return FileSource(path, paced=paced, loop=loop)


def _count(channels: int | str) -> int:
    """How many channels are interleaved."""
    if not str(channels).isdecimal():
        raise SettingError(f"for raw PCM, channels is how many are interleaved, such as 2; not {channels!r}")
    return int(channels)


def _is_no_path(spec: str) -> bool:
    """A bare word that names no file: a slip of the pen for one of the other sources."""
    path = Path(spec)
    return len(path.parts) == 1 and not path.suffix and not path.exists()


def _stdin(rate_hz: int | None, sample_format: str | None, channels: int | None, *, paced: bool) -> StdinSource:
    default = PcmFormat()
    wanted = PcmFormat(
        rate_hz=default.rate_hz if rate_hz is None else rate_hz,
        sample_format=default.sample_format if sample_format is None else sample_format,
        channels=default.channels if channels is None else channels,
    )
    if sys.stdin is None or sys.stdin.isatty():
        raise SettingError(
            "standard input is no pipe: send raw PCM or a file into it, "
            "such as from ffmpeg -i SONG -f s16le -ar 44100 -ac 1 - | stream-mer ..."
        )
    given = not (rate_hz is None and sample_format is None and channels is None)
    return StdinSource(sys.stdin.buffer, pcm=wanted, pcm_is_given=given, paced=paced)
