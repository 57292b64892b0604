"""From what a user types to a source."""

from __future__ import annotations

import sys
from pathlib import Path

from stream_mer.errors import SettingError, brief
from stream_mer.ports import AudioSource
from stream_mer.sources.devices import parse_channels
from stream_mer.sources.file import DemoSource, FileSource, demo_song
from stream_mer.sources.media import follow_playlists, is_session
from stream_mer.sources.microphone import MicrophoneSource, open_monitor
from stream_mer.sources.network import SessionSource, UrlSource
from stream_mer.sources.remote import RemoteSource
from stream_mer.sources.resampling import PcmFormat
from stream_mer.sources.stdin import StdinSource
from stream_mer.utils.sanitise import redact_argument

POSSIBLE = (
    "a source is: demo, mic, mic:NAME, monitor (what this machine plays), a file, file:PATH, "
    "an address (http://..., rtsp://..., rtp://...) or a playlist that names one, remote (audio that a client sends), "
    "or - (raw PCM, or a file such as WAV or MP3, on standard input)"
)
"""One line for help and errors."""

_WITHOUT_TRACKS = ("-", "monitor", "mic", "remote", "demo")


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
            URL, ``file:PATH``, or a plain path. A playlist (M3U, PLS) that names a URL, and an SDP file, stand for it.
        paced: Files: deliver in real time. The demo song then loops.
        rate_hz: Raw PCM: sample rate; default 44100.
        sample_format: Raw PCM: as in ``ffmpeg -f``; default ``s16le``.
        channels: Raw PCM: number of interleaved channels; default 1. Microphone: channels to mix (``3,4``); default
            the first two.
        gain_db: Microphone: gain, decibels; default 0.
        loop: Files: start again at the end.
        track: Files and URLs: number (from 1) or title of the audio track.

    Raises:
        SettingError: There is no such source, or an option does not fit it.
        SourceError: The file is missing, a folder or empty.
        DeviceError: There is no such sound input.
    """
    has_pcm_options = not (rate_hz is None and sample_format is None)
    _check_options(spec, has_pcm_options=has_pcm_options, channels=channels, gain_db=gain_db, track=track)
    if spec == "-":
        return _open_stdin(rate_hz, sample_format, channels, paced=paced)
    if spec in {"mic", "monitor"} or spec.startswith("mic:"):
        picked = None if channels is None else parse_channels(str(channels))
        if spec == "monitor":
            return open_monitor(channels=picked, gain_db=gain_db or 0.0)
        return MicrophoneSource(spec[4:] or None, channels=picked, gain_db=gain_db or 0.0)
    if spec == "remote":
        return RemoteSource()
    if spec == "demo":
        return DemoSource() if paced else FileSource(demo_song(), loop=loop)
    return UrlSource(spec, track=track) if "://" in spec else _open_stored(spec, paced=paced, loop=loop, track=track)


def has_tracks(spec: str) -> bool:
    """Return whether a source may have several audio tracks: files and URLs may."""
    return spec not in _WITHOUT_TRACKS and not spec.startswith("mic:")


def _check_options(
    spec: str, *, has_pcm_options: bool, channels: int | str | None, gain_db: float | None, track: str | None
) -> None:
    """Raise ``SettingError`` for an option that does not fit the source."""
    shown = redact_argument(spec)
    is_captured = spec in {"mic", "monitor"} or spec.startswith("mic:")
    if spec != "-" and has_pcm_options:
        raise SettingError(f"rate and format are for raw PCM on standard input (-) alone, not for {shown!r}")
    if spec != "-" and not is_captured and channels is not None:
        raise SettingError(f"channels are for raw PCM on standard input (-) and for microphones, not for {shown!r}")
    if gain_db is not None and not is_captured:
        raise SettingError(f"gain is for microphones alone, not for {shown!r}")
    if track is not None and not has_tracks(spec):
        raise SettingError(f"a track can be chosen in files and addresses, not in {shown!r}")


def _open_stored(spec: str, *, paced: bool, loop: bool, track: str | None) -> AudioSource:
    """Open a file, or what a playlist or an SDP file leads to."""
    path = spec.removeprefix("file:")
    if not path:
        raise SettingError(f"{spec!r} names no file; {POSSIBLE}")
    try:
        Path(path).exists()
    except OSError as exc:  # the name is too long, or lies in a folder that may not be read
        raise SettingError(f"cannot open {brief(path)}: {exc.strerror}") from None
    if path == spec and _is_bare_word(path):
        raise SettingError(f"no source is called {spec!r}; {POSSIBLE}")
    if paced and is_session(Path(path)):
        return SessionSource(Path(path), track=track)
    target = follow_playlists(Path(path))
    if "://" in target:
        return UrlSource(target, track=track)
    return FileSource(path, paced=paced, loop=loop, track=track)


def _is_bare_word(spec: str) -> bool:
    """Return whether this is one word that names no file, so probably a misspelt source."""
    path = Path(spec)
    return len(path.parts) == 1 and not path.suffix and not path.exists()


def _open_stdin(
    rate_hz: int | None, sample_format: str | None, channels: int | str | None, *, paced: bool
) -> StdinSource:
    if channels is not None and not str(channels).isdecimal():
        raise SettingError(f"for raw PCM, channels is how many are interleaved, such as 2; not {channels!r}")
    default = PcmFormat()
    pcm = PcmFormat(
        rate_hz=default.rate_hz if rate_hz is None else rate_hz,
        sample_format=default.sample_format if sample_format is None else sample_format,
        channels=default.channels if channels is None else int(channels),
    )
    if sys.stdin is None or sys.stdin.isatty():
        raise SettingError(
            "standard input is no pipe: send raw PCM or a file into it, "
            "such as from ffmpeg -i SONG -f s16le -ar 44100 -ac 1 - | stream-mer ..."
        )
    is_given = not (rate_hz is None and sample_format is None and channels is None)
    return StdinSource(sys.stdin.buffer, pcm=pcm, pcm_is_given=is_given, paced=paced)
