"""Open what FFmpeg can decode: a file, a URL, or what a playlist names.

All bytes pass through our own readers, so that opening is bounded in time, in bytes, and in the depth of playlists. A
file may not reach the network, and a URL may not reach a local file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import select
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

from stream_mer.errors import SourceError
from stream_mer.sources.containers import (
    MAX_NESTING,
    MAX_PLAYLIST_BYTES,
    MPEG_SEARCH_BYTES,
    OGG_CAPTURE_PATTERN,
    ChainedOgg,
    Playlist,
    find_mpeg_frames,
    may_be_playlist,
    parse_playlist,
)
from stream_mer.sources.titles import StationReader, open_station
from stream_mer.types import TrackTitle
from stream_mer.utils.sanitise import redact_address

if TYPE_CHECKING:
    from av.container import InputContainer

MAX_OPENING_S = 10.0
"""Longest time until the format of the audio is known."""

MAX_OPENING_BYTES = 64 * 2**20
"""Most bytes read until then: enough for large pictures and indices, but not for an endless header."""

URL_SCHEMES = ("http", "https", "rtp", "rtsp", "rtmp", "srt", "tcp", "udp")
"""Supported schemes, as far as FFmpeg was built with them: see ``url_schemes``."""

_URL_PROTOCOLS = (*URL_SCHEMES, "tls", "httpproxy", "rtmpt", "crypto", "hls", "data")
_FILE_PROTOCOLS = ("file", "crypto", "data")
_SDP_PROTOCOLS = ("rtp", "udp")

_BYTE_STREAMS = ("http", "https", "tcp")
"""Schemes that carry a file or an endless stream of bytes; the others are media protocols."""

_HEAD_BYTES = 1024
_MIRRORS = 3
"""This many entries of a playlist are tried, in order."""

_SKIP_BYTES = 262_144
"""A forward seek up to this far reads on, which is faster than another request."""

_NO_SUCH_PLACE = -errno.EINVAL
"""Return value of an impossible ``seek``: FFmpeg continues without it, while an exception would end PyAV."""

_POLL_MS = 100


@functools.cache
def url_schemes() -> tuple[str, ...]:
    """Return which of ``URL_SCHEMES`` this build of FFmpeg supports; PyAV's wheels lack SRT, for example."""
    return tuple(filter(_has_protocol, URL_SCHEMES))


def _has_protocol(scheme: str) -> bool:
    import av  # noqa: PLC0415 - only who decodes pays
    import av.error  # noqa: PLC0415 - likewise

    try:
        # Connects to nothing: the protocol is looked up first, and then refused because it is not on the list.
        av.open(f"{scheme}://127.0.0.1:9", container_options={"protocol_whitelist": "file"})
    except av.error.ProtocolNotFoundError:
        return False
    except av.error.FFmpegError:
        pass
    return True


class Reader(Protocol):
    """A source of bytes for PyAV; seekable if it has ``seek`` and ``tell``."""

    name: str

    def read(self, size: int, /) -> bytes:
        """Return 1 to ``size`` bytes; ``b""`` at the end."""
        ...

    def close(self) -> None:
        """Close the file or connection."""
        ...


class OpeningBudget:
    """Limits the time and the bytes of opening, until ``finish`` is called.

    Args:
        where: The file or URL, for errors.
        clock: Monotonic clock, seconds.
    """

    def __init__(self, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._clock = clock
        self._deadline: float | None = clock() + MAX_OPENING_S
        self._left_bytes = MAX_OPENING_BYTES
        self._finished = False

    @property
    def left_s(self) -> float:
        """Remaining time, seconds; at least 0.1, so that it can be a timeout."""
        return MAX_OPENING_S if self._deadline is None else max(0.1, self._deadline - self._clock())

    def remove_deadline(self) -> None:
        """Limit the bytes alone: the writer of a pipe decides when the first bytes arrive."""
        self._deadline = None

    def spend(self, n_bytes: int) -> None:
        """Count bytes that were read.

        Raises:
            SourceError: The bytes or the time are used up.
        """
        if self._finished:
            return
        self._left_bytes -= n_bytes
        if self._left_bytes < 0:
            raise SourceError(
                f"cannot open {self._where}: no audio within the first {MAX_OPENING_BYTES // 2**20} MiB; "
                "it is damaged, or not audio: try another copy or address"
            )
        if self._deadline is not None and self._clock() > self._deadline:
            raise SourceError(
                f"cannot open {self._where}: no audio within {MAX_OPENING_S:.0f} s; check it, or try another one"
            )

    def finish(self) -> None:
        """Opening is done: remove all limits."""
        self._finished = True


class FileReader:
    """A local file; a pipe, or other file that is not a regular one, is read as bytes arrive.

    Args:
        path: The file.
        budget: Counts what is read.
        stopped: Returns whether to give up; called while a pipe gives nothing.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, budget: OpeningBudget, stopped: Callable[[], bool]) -> None:
        self.name = os.fspath(path.absolute())  # absolute, so that no name can be read as a protocol ("concat:...")
        self._budget = budget
        self._stopped = stopped
        self._pushed_back = b""
        regular = stat.S_ISREG(path.stat().st_mode)
        self._poller: Any = None
        if regular or not hasattr(select, "poll"):
            self._file: Any = path.open("rb", buffering=0)
        else:
            budget.remove_deadline()
            self._file = open(path, "rb", buffering=0, opener=_open_nonblocking)  # noqa: SIM115 - likewise
            self._poller = select.poll()
            self._poller.register(self._file.fileno(), select.POLLIN)
        self.size = os.fstat(self._file.fileno()).st_size if regular else None

    def seekable(self) -> bool:
        """Return whether it is a regular file."""
        return self.size is not None

    def head(self) -> bytes:
        """Return the first bytes; ``read`` returns them again."""
        head = self.read(_HEAD_BYTES)
        if self.seekable():
            self._file.seek(0)
        else:
            self._pushed_back = head
        return head

    def read(self, size: int, /) -> bytes:
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back[:size], self._pushed_back[size:]
            return data
        while self._poller is not None and not self._poller.poll(_POLL_MS):
            if self._stopped():
                return b""
        data = self._file.read(size) or b""
        self._budget.spend(len(data))
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return int(self._file.seek(offset, whence))
        except (OSError, OverflowError):  # from damaged data
            return _NO_SUCH_PLACE

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()


class ProtocolReader:
    """The bytes behind a URL, read by FFmpeg's own protocols, with redirects, proxies and logins.

    Args:
        url: The URL, or one in the internal form of FFmpeg's demuxers (``crypto+https://...``).
        timeout_s: Longest wait for a connection and for each piece of data, seconds.
        protocols: Protocols that may be used.
        budget: Counts what is read.
        options: For FFmpeg's protocol.
        max_bytes: The stream ends after this many; None for no limit.
        may_seek: Test whether the server can start in the middle, with one more request.

    Raises:
        FFmpegError: It cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        protocols: tuple[str, ...],
        budget: OpeningBudget,
        options: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        may_seek: bool = True,
    ) -> None:
        self.name = url
        self._timeout_s = timeout_s
        # Packets of half a kilobyte: 0.1 s of a slow station. No probing, because these are bytes and not audio yet.
        self._options = {
            "raw_packet_size": "512",
            "probesize": "32",
            "analyzeduration": "0",
            "user_agent": "stream_mer",
        }
        self._options |= dict(options or {}) | {"protocol_whitelist": ",".join(protocols)}
        self._budget = budget
        self._left = max_bytes
        self._rest = b""
        self._position = 0
        self._packets: Iterator[Any] = iter(())
        self._connect(0)
        size = self._container.size
        self.size = size if size and size > 0 else None
        self._seekable: bool | None = None if self.size and may_seek else False

    def head(self) -> bytes:
        """Return the first bytes; ``read`` returns them again."""
        if not self._rest:
            self._rest = self._next_packet()
        return self._rest

    def head_with_more(self) -> bytes:
        """Return the first bytes and some more; ``read`` returns all of them again."""
        self._rest += self._next_packet()
        return self._rest

    def read(self, size: int, /) -> bytes:
        data = self._rest or self._next_packet()
        if self._left is not None:
            size = min(size, self._left)
            self._left -= min(size, len(data))
        data, self._rest = data[:size], data[size:]
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        """Return whether it has a length, and the server can start in the middle."""
        if self._seekable is None:
            self._seekable = self._try_to_start(1)
        return self._seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size or 0}[whence]
        target = base + offset
        if not 0 <= target <= (self.size or 0):
            return _NO_SUCH_PLACE
        if 0 <= target - self._position <= _SKIP_BYTES:
            while self._position < target and self.read(target - self._position):
                pass
        if self._position != target and target == self.size:
            self._packets = iter(())
            self._rest, self._position = b"", target
        elif self._position != target:
            self._container.close()
            self._connect(target)
        return target

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._container.close()

    def _connect(self, offset: int) -> None:
        self._container = self._opened(offset)
        self._packets = self._container.demux()
        self._rest, self._position = b"", offset

    def _opened(self, offset: int) -> InputContainer:
        import av  # noqa: PLC0415 - takes 0.1 s: only who decodes pays

        wait_s = min(self._timeout_s, self._budget.left_s)
        options = self._options | ({"offset": str(offset)} if offset else {})
        return av.open(self.name, format="data", options=options, timeout=(wait_s, wait_s))

    def _try_to_start(self, offset: int) -> bool:
        import av.error  # noqa: PLC0415 - as above

        try:
            self._opened(offset).close()
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def _next_packet(self) -> bytes:
        import av.error  # noqa: PLC0415 - as above

        try:
            packet = next(self._packets, None)
        except av.error.OSError:
            if self.size is not None:
                raise
            packet = None  # the end of a response without a length
        data = b"" if packet is None else bytes(packet)
        self._budget.spend(len(data))
        return data


class Media:
    """An open container; for a chained Ogg stream, one for each link in turn.

    Attributes:
        container: The container, of the current link.
        size_bytes: Size of the whole; None if unknown, as of a radio station.
        chained: Whether it is Ogg, so that ``next_link`` may find another link.
        sent: Whether a sender delivers it now: also for an RTP session that a file describes.
    """

    def __init__(
        self,
        container: InputContainer,
        reader: Reader | None,
        chain: ChainedOgg | None = None,
        *,
        sent: bool = False,
    ) -> None:
        self.sent = sent
        self.container = container
        self.size_bytes: int | None = getattr(reader, "size", None)
        self.chained = chain is not None
        self._reader = reader
        self._chain = chain

    @property
    def has_titles(self) -> bool:
        """Whether it is a radio station that sends titles between its audio."""
        return isinstance(self._reader, StationReader)

    def title_at(self, position: int | None) -> TrackTitle | None:
        """Return what a radio station says between its audio; None from other senders, and before it says anything.

        Args:
            position: Of the audio, bytes from the start; None for the newest title.
        """
        return self._reader.title_at(position) if isinstance(self._reader, StationReader) else None

    def next_link(self) -> bool:
        """Open the next link of a chained stream. Returns whether there is one.

        Raises:
            FFmpegError: It cannot be opened.
        """
        if self._chain is None or not self._chain.next_link():
            return False
        self.container.close()
        self.container = _open_container(self._chain, format="ogg")
        return True

    def close(self) -> None:
        """Close everything; idempotent."""
        self.container.close()
        if self._reader is not None:
            self._reader.close()


class _Text(io.BytesIO):
    """Text that was read already, for PyAV."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def open_file(path: Path, *, stopped: Callable[[], bool] = lambda: False, as_chain: bool = True) -> Media:
    """Open a file.

    Args:
        path: An existing file.
        as_chain: Open an Ogg stream link by link, for decoding. Else a stream with a single link is opened as a whole,
            which gives its duration.
        stopped: Returns whether to give up; called while a pipe gives nothing.

    Raises:
        SourceError: It cannot be opened, is a playlist of files or URLs, or takes too long.
    """
    import av.error  # noqa: PLC0415 - takes 0.1 s: only who decodes pays

    budget = OpeningBudget(os.fspath(path))
    try:
        reader = FileReader(path, budget, stopped)
        with _closed_on_error(reader):
            return _open_local(path, reader, budget, as_chain=as_chain)
    except PermissionError as error:
        raise SourceError(f"not permitted to read {path}; check its owner and mode") from error
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(
            f"cannot decode {path}: {error.strerror}; it is damaged, cut short, or not an audio file: try another copy"
        ) from error


def _open_local(path: Path, reader: FileReader, budget: OpeningBudget, *, as_chain: bool) -> Media:
    head = reader.head()
    hook = _nested_opener(_FILE_PROTOCOLS, budget, MAX_OPENING_S)
    playlist = read_playlist(path) if reader.seekable() and may_be_playlist(head) else None
    if playlist is not None:
        target = follow_playlists(path)
        if "://" in target:
            raise SourceError(
                f"{path} is a playlist of {redact_address(target)}: play it with stream-mer serve --source {path}"
            )
        if playlist.kind == "list":
            raise SourceError(
                f"{path} is a playlist, not an audio file: give the files that it names, such as {target}"
            )
        text = _Text(Path(target).read_bytes(), os.fspath(Path(target).absolute()))
        return Media(_open_container(text, format="hls", io_open=hook, budget=budget), reader)
    if not as_chain and head.startswith(OGG_CAPTURE_PATTERN):
        with path.open("rb") as file:
            as_chain = ChainedOgg(file.read).next_link()
    return _open_media(reader, hook, budget, as_chain=as_chain)


def _open_media(
    reader: FileReader | ProtocolReader | StationReader,
    hook: Callable[..., Reader],
    budget: OpeningBudget,
    *,
    as_chain: bool = True,
) -> Media:
    """Open bytes that are no playlist: an RTP session, a chained Ogg stream, or a container."""
    head = reader.head()
    if _is_sdp(head):
        text = _Text(_whole(reader), reader.name)
        reader.close()
        return Media(_open_container(text, format="sdp", protocols=_SDP_PROTOCOLS, budget=budget), None, sent=True)
    if head.startswith(OGG_CAPTURE_PATTERN) and as_chain:
        chain = ChainedOgg(reader.read)
        return Media(_open_container(chain, format="ogg", budget=budget), reader, chain)
    mpeg_format = None
    is_station = isinstance(reader, StationReader) or (isinstance(reader, ProtocolReader) and reader.size is None)
    if is_station and not head.startswith(b"ID3"):
        mpeg_format = _mpeg_format(reader)  # type: ignore[arg-type]  # no file
    return Media(_open_container(reader, format=mpeg_format, io_open=hook, budget=budget), reader)


def open_address(url: str, *, timeout_s: float) -> Media:
    """Open a URL; of a playlist, the first entry that can be opened.

    Args:
        url: With a scheme of ``url_schemes()``; or the path of an SDP file.
        timeout_s: Longest wait for a connection, and then for each piece of data, seconds.

    Raises:
        SourceError: It cannot be reached or opened, takes too long, or nests playlists deeper than ``MAX_NESTING``.
    """
    if "://" not in url:
        return open_file(Path(url))
    return _open_remote(url, timeout_s, OpeningBudget(redact_address(url)), depth=0)


def is_session(path: Path) -> bool:
    """Return whether a file describes an RTP session (SDP)."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _is_sdp(file.read(_HEAD_BYTES))
    except (OSError, ValueError):
        return False


def _open_remote(url: str, timeout_s: float, budget: OpeningBudget, *, depth: int) -> Media:
    import av.error  # noqa: PLC0415 - takes 0.1 s: only who decodes pays

    scheme = url.partition("://")[0].lower()
    if scheme not in URL_SCHEMES:
        raise SourceError(f"a playlist names {redact_address(url)}, which is not a network address: it is not opened")
    try:
        if scheme not in _BYTE_STREAMS:
            return Media(_open_protocol(url, min(timeout_s, budget.left_s)), None)
        reader = ProtocolReader(url, timeout_s=timeout_s, protocols=_URL_PROTOCOLS, budget=budget)
        with _closed_on_error(reader):
            if not may_be_playlist(reader.head()):
                hook = _nested_opener(_URL_PROTOCOLS, budget, timeout_s)
                return _open_media(_with_titles(reader, scheme, timeout_s, budget) or reader, hook, budget)
            text = _whole(reader)
        reader.close()
        return _open_playlist(url, text, timeout_s, budget, depth)
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise SourceError(f"cannot open {redact_address(url)}: {reason}; check the address and the network") from error
    except UnicodeError as error:
        raise SourceError(f"cannot open {redact_address(url)}: it is not an address") from error


def _with_titles(reader: ProtocolReader, scheme: str, timeout_s: float, budget: OpeningBudget) -> StationReader | None:
    """Return another reader of a radio station, if that sends titles between its audio; the first one is closed then.

    Ogg has titles of its own, at the start of each link.
    """
    if reader.size is not None or scheme not in {"http", "https"} or reader.head().startswith(OGG_CAPTURE_PATTERN):
        return None
    station = open_station(reader.name, timeout_s=min(timeout_s, budget.left_s), spend=budget.spend)
    if station is not None:
        reader.close()
    return station


def _mpeg_format(reader: ProtocolReader | StationReader) -> str | None:
    """Return the format of a station that sends MP3 or AAC, from as few bytes as possible."""
    searched = 0
    while (framing := find_mpeg_frames(reader.head())) is None and searched < MPEG_SEARCH_BYTES:
        before, searched = searched, len(reader.head_with_more())
        if searched == before:
            break
    return framing


def _open_playlist(url: str, text: bytes, timeout_s: float, budget: OpeningBudget, depth: int) -> Media:
    playlist = parse_playlist(text)
    if playlist is None or len(text) > MAX_PLAYLIST_BYTES:
        what = "a playlist of more than 4 MiB" if playlist else "text, not audio"
        raise SourceError(f"cannot open {redact_address(url)}: it is {what}; check the address")
    base = url if all("://" in entry for entry in playlist.entries) else _redirected(url, budget)
    if playlist.kind == "hls media":
        hook = _nested_opener(_URL_PROTOCOLS, budget, timeout_s, playlist=base)
        return Media(_open_container(_Text(text, base), format="hls", io_open=hook, budget=budget), None)
    if depth >= MAX_NESTING:
        raise SourceError(f"cannot open {redact_address(url)}: playlists name playlists more than {MAX_NESTING} deep")
    failure: SourceError | None = None
    for entry in playlist.entries[:_MIRRORS]:
        try:
            return _open_remote(urljoin(base, entry), timeout_s, budget, depth=depth + 1)
        except SourceError as error:
            failure = failure or error
    raise failure or SourceError(f"cannot open {redact_address(url)}: its playlist names nothing to play")


def follow_playlists(path: Path) -> str:
    """Return what a local playlist names first: a URL, a file, or (HLS) the media playlist; ``path`` if it is none.

    Raises:
        SourceError: Playlists are nested deeper than ``MAX_NESTING``, or one names nothing.
    """
    at = path
    for _ in range(MAX_NESTING + 1):
        playlist = read_playlist(at)
        if playlist is None or playlist.kind == "hls media":
            remote = () if playlist is None else [entry for entry in playlist.entries if "://" in entry]
            if remote:
                raise SourceError(
                    f"{at} is an HLS playlist of segments behind {redact_address(remote[0])}: give its own address"
                )
            return os.fspath(at)
        if not playlist.entries:
            raise SourceError(f"{at} is a playlist that names nothing to play")
        if "://" in playlist.entries[0]:
            return playlist.entries[0]
        at = at.parent / playlist.entries[0]
    raise SourceError(f"{path} is not opened: playlists name playlists more than {MAX_NESTING} deep")


def read_playlist(path: Path) -> Playlist | None:
    """Read a local playlist; None if the file is not one, or cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            return parse_playlist(head + file.read(MAX_PLAYLIST_BYTES)) if may_be_playlist(head) else None
    except (OSError, ValueError):  # a null byte in a name
        return None


def _open_protocol(url: str, timeout_s: float) -> InputContainer:
    """Open a URL of a media protocol."""
    import av  # noqa: PLC0415 - takes 0.1 s: only who decodes pays
    import av.logging  # noqa: PLC0415 - likewise

    av.logging.set_level(None)
    # RTSP over TCP, which loses nothing; and no local files.
    options = {"rtsp_transport": "tcp", "user_agent": "stream_mer", "protocol_whitelist": ",".join(_URL_PROTOCOLS)}
    return av.open(url, options=options, timeout=(timeout_s, timeout_s), metadata_errors="surrogateescape")


def _open_container(
    reader: object,
    *,
    format: str | None = None,  # noqa: A002 - as PyAV calls it
    io_open: Callable[..., Reader] | None = None,
    protocols: tuple[str, ...] = ("data",),
    budget: OpeningBudget | None = None,
) -> InputContainer:
    import av  # noqa: PLC0415 - takes 0.1 s: only who decodes pays
    import av.logging  # noqa: PLC0415 - likewise

    # PyAV's default, set again because others may have changed it: FFmpeg writes nothing to standard error.
    av.logging.set_level(None)
    options = {"protocol_whitelist": ",".join(protocols)}
    if format == "hls":  # one connection a segment: a persistent one would bypass ``io_open``
        options |= {"http_persistent": "0", "http_multiple": "0"}
        options["protocol_whitelist"] = ",".join({*_URL_PROTOCOLS, *_FILE_PROTOCOLS})  # ``io_open`` is stricter
    wait_s = MAX_OPENING_S if budget is None else budget.left_s
    container = av.open(
        reader,
        "r",
        format=format,
        container_options=options,
        metadata_errors="surrogateescape",  # titles in any encoding; see ``titles.tag_text``
        timeout=(wait_s, MAX_OPENING_S),
        io_open=io_open or _refuse_nested,
    )
    if budget is not None:
        budget.finish()
    return container


def _nested_opener(
    protocols: tuple[str, ...], budget: OpeningBudget, timeout_s: float, playlist: str | None = None
) -> Callable[..., Reader]:
    """Return the ``io_open`` for files that a file names: segments, and its playlist again."""

    def open_nested(url: str, _: int, options: Mapping[str, str]) -> Reader:
        limit = MAX_PLAYLIST_BYTES if url == playlist else MAX_OPENING_BYTES
        return ProtocolReader(
            url,
            timeout_s=timeout_s,
            protocols=protocols,
            budget=budget,
            options=options,
            max_bytes=limit,
            may_seek=False,
        )

    return open_nested


def _refuse_nested(url: str, *_: object) -> Reader:
    raise SourceError(f"it names {redact_address(url)}, which is not opened")


def _redirected(url: str, budget: OpeningBudget) -> str:
    """Return the URL after redirects, which the entries of a playlist are relative to."""
    if not url.startswith(("http://", "https://")):
        return url
    request = urllib.request.Request(url, headers={"User-Agent": "stream_mer"})  # noqa: S310 - http and https only
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=budget.left_s) as answer:  # noqa: S310
        return str(answer.geturl())
    return url


def _is_sdp(head: bytes) -> bool:
    """Return whether this is SDP (RFC 8866); some programs put a line in front of it."""
    lines = head.lstrip(b"\xef\xbb\xbf").split(b"\n")[:2]
    return any(line.strip() == b"v=0" for line in lines)


def _whole(reader: Reader) -> bytes:
    """Read text to its end, or until it is too long."""
    data = bytearray()
    while len(data) <= MAX_PLAYLIST_BYTES and (more := reader.read(65_536)):
        data += more
    return bytes(data)


@contextlib.contextmanager
def _closed_on_error(reader: Reader) -> Any:
    try:
        yield
    except BaseException:
        reader.close()
        raise


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
