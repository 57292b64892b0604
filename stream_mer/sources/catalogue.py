"""From what a person types to a source."""

from __future__ import annotations

import sys
from pathlib import Path

from stream_mer.errors import SettingError
from stream_mer.ports import AudioSource
from stream_mer.sources.devices import parse_channels
from stream_mer.sources.file import DemoSource, FileSource, demo_song
from stream_mer.sources.media import follow_playlists, is_session
from stream_mer.sources.microphone import MicrophoneSource, open_monitor
from stream_mer.sources.network import SessionSource, UrlSource
from stream_mer.sources.remote import RemoteSource
from stream_mer.sources.resampling import PcmFormat
from stream_mer.sources.stdin import StdinSource
from stream_mer.utils.redaction import redact_argument

POSSIBLE = (
    "a source is: demo, mic, mic:NAME, monitor (what this machine plays), a file, file:PATH, "
    "an address (http://..., rtsp://..., rtp://...) or a playlist that names one, remote (audio that a client sends), "
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
    track: str | None = None,
) -> AudioSource:
    """Make the source that ``spec`` names.

    Args:
        spec: ``demo`` (the packaged song), ``mic`` (the default input) or ``mic:NAME``, ``monitor`` (what this
            machine plays), ``-`` (raw PCM or a file on standard input), ``remote`` (audio that a client sends), a
            network address, ``file:PATH``, or a plain path. A playlist (M3U, PLS) that names an address, and an SDP
            file, are that address.
        paced: Files: deliver as real time would. The demo song then plays over and over.
        rate_hz: Raw PCM: its rate; default 44100.
        sample_format: Raw PCM: as in ``ffmpeg -f``; default ``s16le``.
        channels: Raw PCM: how many are interleaved; default 1. Microphone: which to mix (``3,4``); default two.
        gain_db: Microphone: amplification of what was captured, decibels; default 0.
        loop: Files: begin again at the end.
        track: Files and addresses with several audio tracks: number (from 1) or title.

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
    if track is not None and not has_tracks(spec):
        raise SettingError(f"a track is chosen in files and behind addresses, not in {shown!r}")
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
            return UrlSource(spec, track=track)
        case _:
            return _stored(spec, paced=paced, loop=loop, track=track)


def has_tracks(spec: str) -> bool:
    """Whether a source may have several audio tracks: a file, or an address."""
    return spec not in {"-", "monitor", "mic", "remote", "demo"} and not spec.startswith("mic:")


def _stored(spec: str, *, paced: bool, loop: bool, track: str | None) -> AudioSource:
    """A file, what a playlist or a description of a session leads to, or the demo song."""
    if spec == "demo":
        return DemoSource() if paced else FileSource(demo_song(), loop=loop)
    named = spec.startswith("file:")
    path = spec.removeprefix("file:")
    if not path:
        raise SettingError(f"{spec!r} names no file; {POSSIBLE}")
    if not named and _is_no_path(path):
        raise SettingError(f"no source is called {spec!r}; {POSSIBLE}")
    if paced and is_session(Path(path)):
        return SessionSource(Path(path), track=track)
    target = follow_playlists(Path(path))
    if "://" in target:
        return UrlSource(target, track=track)
    return FileSource(path, paced=paced, loop=loop, track=track)


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
