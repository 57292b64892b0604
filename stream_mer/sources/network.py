"""Audio behind a network address: internet radio, RTSP, RTP and whatever else PyAV opens; held to real time."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from stream_mer.errors import SettingError, SourceError
from stream_mer.ports import PieceEnd
from stream_mer.sources.decoding import URL_SCHEMES, DecodedAudio, decode_url, url_schemes
from stream_mer.sources.pacing import FINE_SAMPLES
from stream_mer.sources.resampling import MonoResampler, Polarity
from stream_mer.sources.timeline import FILL_AFTER_S
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, SourceState, seconds
from stream_mer.utils.mailbox import Mailbox, MailboxClosed
from stream_mer.utils.redaction import public_address, redact_address

_LOG = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""A connection that gives nothing for so long is given up."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0
"""Before the first new connection, and at most: the pause doubles with every one that fails."""

_WAITING_BLOCKS = 40
"""Decoded blocks that wait, about 1 s; the rest stays with the sender, who is slowed down."""

_POLL_S = 0.1


class UrlSource:
    """What a network address sends, delivered as real time would.

    Radio servers send some seconds at once and then go on in real time: early audio waits here. While nothing comes,
    silence stands in for it, so that frames go on; a connection that is lost is made again, without end. An address
    that cannot be opened at first is an error, as is one without audio. A file behind an address ends with its end.

    Args:
        url: Of a scheme in ``decoding.url_schemes()``, in capitals or not.
        timeout_s: How long to wait for a connection and for each piece of data, seconds.
        track: Number or title of the audio track, as of ``decoding.decode_file``.

    Raises:
        SettingError: The address has no scheme that can be listened to here, or no host.
    """

    live = True

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, track: str | None = None) -> None:
        self._url = _checked(url.strip())
        self.name = public_address(self._url)
        self._track = track
        self._timeout_s = timeout_s
        self._closed = threading.Event()
        self._piece_end: PieceEnd = lambda start_sample: start_sample + FINE_SAMPLES

    def divide(self, piece_end: PieceEnd) -> None:
        """Implements ``ports.DivisibleSource``, as near as the blocks allow in which the audio is sent."""
        self._piece_end = piece_end

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield audio, or silence in place of what does not come, until the file ends or ``close`` is called.

        Raises:
            SourceError: The address cannot be opened in the first place, or holds no audio.
        """
        reader = _Reader(self._url, self._timeout_s, self._closed, self._track)
        threading.Thread(target=reader.run, name=f"read {self.name}", daemon=True).start()
        try:
            yield from _held_to_real_time(reader, self._closed, self._piece_end)
        finally:
            reader.blocks.close()
        if reader.failure is not None and not self._closed.is_set():
            raise reader.failure

    def close(self) -> None:
        self._closed.set()


class SessionSource(UrlSource):
    """What the senders of an RTP session send that an SDP file describes (AES67, Dante, a camera).

    Args:
        path: The file.
        timeout_s: As of ``UrlSource``.
        track: Likewise.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S, track: str | None = None) -> None:
        super().__init__("rtp://localhost", timeout_s=timeout_s, track=track)
        self._url = os.fspath(path)
        self.name = path.name


def _checked(url: str) -> str:
    """Return an address as FFmpeg wants it: with its scheme in small letters.

    Raises:
        SettingError: It cannot be listened to.
    """
    possible = url_schemes()
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    try:
        has_host = bool(urlsplit(url).hostname)
    except ValueError:  # a bracket of an IPv6 address is missing
        has_host = False
    if scheme in possible and has_host:
        return f"{scheme}://{rest}"
    built = f": this build of FFmpeg has no {scheme}" if has_host and scheme in URL_SCHEMES else ""
    raise SettingError(
        f"cannot listen to {redact_address(url)!r}{built}: give an address with one of {', '.join(possible)}"
    )


class ArrivalClock:
    """Places audio that arrives unevenly on one sample clock that starts with the first of it. Pure."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._end = 0
        self._resampler: MonoResampler | None = None
        self._polarity = Polarity()

    @property
    def end_sample(self) -> int:
        """Index after the newest sample that was placed."""
        return self._end

    def ahead_s(self, now: float) -> float:
        """How much of what was placed lies in the future at ``now`` (monotonic clock), seconds."""
        return -1.0 if self._began_at is None else seconds(self._end) - (now - self._began_at)

    def place(self, decoded: DecodedAudio, now: float) -> AudioChunk:
        """Append audio to what there is; the chunk may be empty while the resampler fills."""
        if self._began_at is None:
            self._began_at = now
        if self._resampler is None or self._resampler.rate_hz != decoded.rate_hz:
            self._resampler = MonoResampler(decoded.rate_hz, self._polarity)
        return self._append(self._resampler.feed(decoded.samples), now, "live")

    def fill(self, now: float, state: SourceState) -> AudioChunk | None:
        """Silence for audio that is overdue; None while there is still time."""
        overdue = round((-self.ahead_s(now) - FILL_AFTER_S) * SAMPLE_RATE_HZ)
        if self._began_at is None or overdue <= 0:
            return None
        self._resampler = None  # what it holds back belongs to before the gap, a few milliseconds
        return self._append(np.zeros(overdue, np.float32), now, state)

    def _append(self, samples: Samples, now: float, state: SourceState) -> AudioChunk:
        start = self._end
        self._end += len(samples)
        return AudioChunk(start_sample=start, samples=samples, captured_at=now, source=state)


class _Reader:
    """Connects, decodes, and connects again; in a thread of its own, because nothing else ends a read that hangs."""

    def __init__(self, url: str, timeout_s: float, closed: threading.Event, track: str | None = None) -> None:
        self._url = url
        self._track = track
        self._timeout_s = timeout_s
        self._closed = closed
        self.blocks: Mailbox[DecodedAudio] = Mailbox(capacity=_WAITING_BLOCKS, when_full="block")
        self.state: SourceState = "stalled"
        """Why nothing comes, while nothing comes."""
        self.failure: SourceError | None = None
        """Why there never was any audio."""

    def take(self, reach_s: float) -> list[DecodedAudio]:
        """Wait for a block, and take those behind it that are there already, until they reach so far.

        Raises:
            TimeoutError: None comes.
            MailboxClosed: None will come.
        """
        taken = [self.blocks.get(timeout_s=_POLL_S)]
        while sum(len(block.samples) / block.rate_hz for block in taken) < reach_s:
            try:
                taken.append(self.blocks.get(timeout_s=0.0))
            except (TimeoutError, MailboxClosed):
                break
        return taken

    def run(self) -> None:
        retry_s, heard = FIRST_RETRY_S, False
        while not self._closed.is_set():
            trouble: SourceError | None = None
            try:
                for decoded in decode_url(self._url, timeout_s=self._timeout_s, track=self._track):
                    self.blocks.put(decoded)
                    self.state, heard, retry_s = "stalled", True, FIRST_RETRY_S
            except MailboxClosed:
                return
            except SourceError as error:
                trouble = error
            if self._closed.is_set():
                return
            if trouble is None or not heard:
                self.failure = trouble
                self.blocks.close()
                return
            self.state = "reconnecting"
            _LOG.warning("%s; connecting again in %.1f s", trouble, retry_s)
            self._closed.wait(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)


def _held_to_real_time(
    reader: _Reader, closed: threading.Event, piece_end: PieceEnd, clock: Callable[[], float] = time.monotonic
) -> Iterator[AudioChunk]:
    """Yield pieces as soon as the block that completes them is due; its length is taken to be that of the last one."""
    timeline, block_s = ArrivalClock(), 0.0
    while not closed.is_set():
        reach_s = seconds(piece_end(timeline.end_sample) - timeline.end_sample)
        early_s = timeline.ahead_s(clock()) + max(0.0, reach_s - block_s)
        if early_s > 0:
            closed.wait(early_s)
            continue
        chunks: list[AudioChunk] = []
        try:
            taken = reader.take(reach_s)
            block_s = len(taken[-1].samples) / taken[-1].rate_hz
            chunks += [timeline.place(joined, clock()) for joined in _joined(taken)]
        except TimeoutError:
            silence = timeline.fill(clock(), reader.state)
            chunks += [] if silence is None else [silence]
        except MailboxClosed:
            return
        yield from (chunk for chunk in chunks if len(chunk.samples))


def _joined(blocks: list[DecodedAudio]) -> Iterator[DecodedAudio]:
    """Join neighbours of one rate and as many channels."""
    for (rate_hz, _), alike in itertools.groupby(blocks, lambda block: (block.rate_hz, block.samples.shape[1])):
        samples = np.concatenate([block.samples for block in alike])
        yield DecodedAudio(samples=samples, rate_hz=rate_hz, gap_s=0.0)
