"""Titles of songs: from the tags of a file, and between the audio of a radio station (ICY, as Icecast and Shoutcast).

A station that is asked for titles puts a block of text after every so many bytes of audio. FFmpeg takes these blocks
out, but PyAV does not show what they say. So a station that has titles is read here and not by FFmpeg's protocol.
"""

from __future__ import annotations

import base64
import http.client
import logging
import re
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from stream_mer.types import TrackTitle
from stream_mer.utils.sanitise import one_line

_LOG = logging.getLogger(__name__)

MAX_TITLE_CHARACTERS = 200
"""Longer titles and names are cut."""

MAX_INTERVAL_BYTES = 2**20
"""Most audio between two blocks; stations have 8 to 64 kB."""

_BLOCK_UNIT_BYTES = 16
_READ_BYTES = 4096
_KEPT_TITLES = 64
_STREAM_TITLE = re.compile(r"StreamTitle='(.*?)'(?:;(?=\s*(?:\w+=|$))|$)", re.DOTALL)


def track_title(title: str, artist: str = "") -> TrackTitle:
    """Return a title that can be shown: each part in one line, without control characters, and not too long."""
    return TrackTitle(title=one_line(title, MAX_TITLE_CHARACTERS), artist=one_line(artist, MAX_TITLE_CHARACTERS))


def title_of_tags(tags: Mapping[str, str]) -> TrackTitle:
    """Return title and artist by the tags of a container; empty where there are none.

    Args:
        tags: As PyAV reads them: bytes that are not UTF-8 are lone surrogates.
    """
    found = {key.casefold(): value for key, value in tags.items()}
    artist = found.get("artist") or found.get("album_artist") or found.get("performer") or ""
    return track_title(tag_text(found.get("title", "")), tag_text(artist))


def tag_text(text: str) -> str:
    """Return the text of a tag as its writer meant it: in UTF-8, or else in the code page of Western Windows."""
    return decode_title(text.encode("utf-8", "surrogateescape"))


def decode_title(data: bytes) -> str:
    """Return text in UTF-8, or else in Windows' superset of Latin-1; stations use either and do not say which."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


class IcySplitter:
    """Takes the blocks with titles out of the bytes of a station. Pure.

    Args:
        interval: Bytes of audio between two blocks.
    """

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._audio_left = interval
        self._block: bytearray | None = None
        self._block_left = 0
        self._position = 0
        self._titles: deque[tuple[int, TrackTitle]] = deque(maxlen=_KEPT_TITLES)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, cut anywhere; return the audio in them."""
        audio, at = bytearray(), 0
        while at < len(data):
            if self._block is not None:
                taken = data[at : at + self._block_left]
                self._block += taken
                self._block_left -= len(taken)
                at += len(taken)
                if not self._block_left:
                    self._end_block(bytes(self._block))
            elif self._audio_left:
                taken = data[at : at + self._audio_left]
                audio += taken
                self._audio_left -= len(taken)
                self._position += len(taken)
                at += len(taken)
            else:
                self._audio_left = self._interval
                self._block_left = _BLOCK_UNIT_BYTES * data[at]
                self._block = bytearray() if self._block_left else None
                at += 1
        return bytes(audio)

    def title_at(self, position: int | None) -> TrackTitle | None:
        """Return the title of the audio at this position, bytes of audio from the start; the newest for None.

        Returns:
            None before the first block with a title.
        """
        found = [title for begins, title in self._titles if position is None or begins <= position]
        return found[-1] if found else None

    def _end_block(self, block: bytes) -> None:
        self._block = None
        said = _STREAM_TITLE.search(decode_title(block.rstrip(b"\0")))
        if said is not None:
            title = track_title(said[1])
            if not self._titles or self._titles[-1][1] != title:
                self._titles.append((self._position, title))


class StationReader:
    """The audio of a station with titles, for PyAV; implements ``media.Reader``.

    Args:
        response: The open response.
        interval: Bytes of audio between two titles, as the station states it.
        url: Its address.
        spend: Called with the number of bytes of each read; may raise.
    """

    size = None

    def __init__(self, response: Any, interval: int, url: str, spend: Callable[[int], None]) -> None:
        self.name = url
        self._response = response
        self._splitter = IcySplitter(interval)
        self._spend = spend
        self._rest = b""

    def head(self) -> bytes:
        """Return the first bytes; ``read`` returns them again."""
        if not self._rest:
            self._rest = self._next()
        return self._rest

    def head_with_more(self) -> bytes:
        """Return the first bytes and some more; ``read`` returns all of them again."""
        self._rest += self._next()
        return self._rest

    def read(self, size: int, /) -> bytes:
        data = self._rest or self._next()
        data, self._rest = data[:size], data[size:]
        return data

    def title_at(self, position: int | None) -> TrackTitle | None:
        """Return the title of the audio at this position, as of ``IcySplitter.title_at``."""
        return self._splitter.title_at(position)

    def close(self) -> None:
        self._response.close()

    def _next(self) -> bytes:
        audio = b""
        while not audio:
            try:
                data = self._response.read1(_READ_BYTES)
            except http.client.HTTPException as error:
                raise OSError(f"the station broke off ({type(error).__name__})") from error
            if not data:
                return b""
            self._spend(len(data))
            audio = self._splitter.feed(data)
        return audio


def open_station(url: str, *, timeout_s: float, spend: Callable[[int], None]) -> StationReader | None:
    """Ask a station for its audio with titles; None if it has none, or does not answer a second connection.

    Args:
        url: Of ``http`` or ``https``.
        timeout_s: Longest wait for the connection, and for each piece of data, seconds.
        spend: As of ``StationReader``.
    """
    try:
        response = _opener().open(_request(url), timeout=timeout_s)
    except (OSError, ValueError, http.client.HTTPException) as error:
        _LOG.debug("no titles: %s", type(error).__name__)
        return None
    stated = response.headers.get("icy-metaint", "").strip()
    interval = int(stated) if stated.isascii() and stated.isdecimal() else 0
    if response.status != 200 or not 0 < interval <= MAX_INTERVAL_BYTES:
        response.close()
        return None
    return StationReader(response, interval, url, spend)


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    request = urllib.request.Request(bare, headers={"User-Agent": "stream_mer", "Icy-MetaData": "1"})  # noqa: S310 - http and https only
    if login:
        user, _, password = login.partition(":")
        secret = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")  # not for the host of a redirect
    return request


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener of ``http`` and ``https`` alone: a redirect may lead nowhere else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _StationHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _StationHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_StationConnection, req)


class _StationResponse(http.client.HTTPResponse):
    """A response that may begin with ``ICY 200 OK`` in place of ``HTTP/1.0 200 OK``, as Shoutcast says it."""

    def _read_status(self) -> tuple[str, int, str]:
        fp: Any = self.fp
        if not fp.peek(4).startswith(b"ICY "):
            return super()._read_status()  # type: ignore[misc,no-any-return]  # not in the stubs
        _, code, reason = (*str(fp.readline(1024), "latin-1").split(None, 2), "", "")[:3]
        if not code.isdecimal():
            raise http.client.BadStatusLine(code)
        return "HTTP/1.0", int(code), reason.strip()


class _StationConnection(http.client.HTTPConnection):
    response_class = _StationResponse
