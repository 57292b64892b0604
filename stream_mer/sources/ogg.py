"""Split a chained Ogg stream into its links. Pure.

A radio station starts a new *link* (a complete logical Ogg stream with its own headers, RFC 3533 section 4) with every
change of title, and so do files that were joined end to end. The next link may have another codec, channel count or
sample rate. FFmpeg's demuxer goes on with the decoder of the first link, or stops. So each link is decoded by itself.
"""

from __future__ import annotations

from collections.abc import Callable

CAPTURE_PATTERN = b"OggS"
"""The first bytes of every page."""

_HEADER_BYTES = 27
_BEGINNING_OF_STREAM = 0x02
_FIRST_PAGE = CAPTURE_PATTERN + bytes([0, _BEGINNING_OF_STREAM])
_CHECKSUM = slice(22, 26)
_POLYNOMIAL = 0x04C11DB7
_READ_BYTES = 32_768


class ChainedOgg:
    """Reads an Ogg stream of any number of links.

    ``read`` gives the bytes of the current link, and ``b""`` at its end; ``next_link`` goes on to the one after it.
    Bytes outside pages (damage) are passed on as they are.

    Args:
        source: Returns at most as many bytes as it is asked for, and ``b""`` at the end of the stream. It may block.
    """

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._waiting = bytearray()
        self._ready = bytearray()
        self._ended = False
        self._link_ended = False
        self._in_headers = True

    def read(self, size: int) -> bytes:
        """Return bytes of this link: at least one, at most ``size``; ``b""`` at its end."""
        while not self._ready and not self._link_ended and self._next_page():
            pass
        data = bytes(self._ready[:size])
        del self._ready[: len(data)]
        return data

    def next_link(self) -> bool:
        """Leave out what is unread of this link and go on to the next one. Returns whether there is one."""
        while not self._link_ended and self._next_page():
            self._ready.clear()
        self._ready.clear()
        if not self._link_ended:
            return False
        self._link_ended, self._in_headers = False, True
        return True

    def _next_page(self) -> bool:
        """Make one more page ready, or find that the next one begins a link. Returns False at the end of the stream."""
        length = self._page_bytes()
        while not length and self._fetch():
            length = self._page_bytes()
        if not length:  # the stream ended inside a page
            length = self._page_bytes() or len(self._waiting)
            if not length:
                return False
        elif self._waiting.startswith(CAPTURE_PATTERN):
            begins = bool(self._waiting[5] & _BEGINNING_OF_STREAM)
            if begins and not self._in_headers:
                self._link_ended = True
                return True
            # The streams of one link (such as a picture and its sound) all begin before any of them goes on.
            self._in_headers = begins
        self._ready += self._waiting[:length]
        del self._waiting[:length]
        return True

    def _page_bytes(self) -> int:
        """Length of the page, or of the damage, that the waiting bytes start with; 0 if more bytes are needed."""
        waiting = self._waiting
        if len(waiting) < _HEADER_BYTES:
            return 0
        if waiting.startswith(CAPTURE_PATTERN) and waiting[4] == 0:
            table_end = _HEADER_BYTES + waiting[26]
            length = table_end + sum(waiting[_HEADER_BYTES:table_end])
            is_complete = len(waiting) >= max(table_end, length)
            if not is_complete and not self._ended:
                return 0
            # A link that was cut off in a page claims the beginning of the next link for itself.
            cut = waiting.find(_FIRST_PAGE, len(CAPTURE_PATTERN), max(table_end, length))
            if cut > 0 and not (is_complete and _has_right_checksum(waiting[:length])):
                return cut
            return length if is_complete else 0
        found = waiting.find(CAPTURE_PATTERN, 1)
        return found if found > 0 else max(1, len(waiting) - len(CAPTURE_PATTERN) + 1)

    def _fetch(self) -> bool:
        if self._ended:
            return False
        data = self._source(_READ_BYTES)
        self._ended = not data
        self._waiting += data
        return not self._ended


def _has_right_checksum(page: bytearray) -> bool:
    """Whether a page is whole (RFC 3533 section 6: CRC-32, neither reflected nor inverted)."""
    told = int.from_bytes(page[_CHECKSUM], "little")
    page[_CHECKSUM] = bytes(4)
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (_POLYNOMIAL if register & 0x8000_0000 else 0)
        register &= 0xFFFF_FFFF
    return register == told
