"""Audio behind a URL (internet radio, RTSP, RTP and whatever else PyAV opens), delivered in real time."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from stream_mer.errors import SettingError, SourceError
from stream_mer.ports import Chunker, Preview
from stream_mer.sources.decoding import DecodedAudio, decode_url
from stream_mer.sources.file import FINE_CHUNK_SAMPLES, preview_nothing
from stream_mer.sources.media import URL_SCHEMES, url_schemes
from stream_mer.sources.resampling import MonoResampler, Polarity
from stream_mer.sources.timeline import FILL_AFTER_S
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, SourceState, TrackTitle, seconds
from stream_mer.utils.mailbox import Mailbox, MailboxClosed
from stream_mer.utils.sanitise import public_address, redact_address

_LOG = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""A connection without data for this long is closed."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0
"""Pause before the first reconnection, and at most: it doubles with every failure."""

_WAITING_S = 1.0
"""Decoded audio that waits. The rest stays with the sender, which is slowed down."""

_RUN_S, _RUNS_FROM_S = 0.25, 0.5
"""While the second or more of audio waits, the first is decoded at a time; else packet by packet, as it arrives."""

_POLL_S = 0.1
_ROUNDING_S = 1e-6


class UrlSource:
    """What a URL sends, delivered in real time.

    Radio servers send some seconds at once and then go on in real time: early audio waits here. While nothing arrives,
    silence replaces it, so that frames continue. A lost connection is made again, without end. It is an error if the
    URL cannot be opened at first, or has no audio. A file behind a URL ends with its end.

    Args:
        url: With a scheme of ``media.url_schemes()``, in any case.
        timeout_s: Longest wait for a connection and for each piece of data, seconds.
        track: Number or title of the audio track, as of ``decoding.decode_file``.

    Raises:
        SettingError: The URL has no supported scheme, or no host.
    """

    live = True

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, track: str | None = None) -> None:
        self._url = _checked(url.strip())
        self.name = public_address(self._url)
        self._track = track
        self._timeout_s = timeout_s
        self._closed = threading.Event()
        self._chunker: Chunker = lambda start_sample: start_sample + FINE_CHUNK_SAMPLES
        self._preview: Preview = preview_nothing
        self._preview_wanted: Callable[[], bool] = lambda: False

    def set_chunker(self, chunker: Chunker) -> None:
        """Implement ``ports.ChunkableSource``, as closely as the sender's blocks allow."""
        self._chunker = chunker

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:
        """Implement ``ports.PreviewableSource``; while it is wanted, audio is taken as soon as it arrives."""
        self._preview, self._preview_wanted = preview, wanted

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield audio, or silence for what does not arrive, until the file ends or ``close`` is called.

        Raises:
            SourceError: The URL cannot be opened at first, or has no audio.
        """
        receiver = _Receiver(self._url, self._timeout_s, self._closed, self._track)
        threading.Thread(target=receiver.run, name=f"read {self.name}", daemon=True).start()
        try:
            pace = _Pace(receiver, self._closed)
            yield from pace.chunks(self._chunker, self._preview, self._preview_wanted)
        finally:
            receiver.blocks.close()
        if receiver.failure is not None and not self._closed.is_set():
            raise receiver.failure

    def close(self) -> None:
        """End the iteration soon; idempotent."""
        self._closed.set()


class SessionSource(UrlSource):
    """The RTP session that an SDP file describes (AES67, Dante, a camera).

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
    """Return a URL as FFmpeg needs it, with its scheme in lower case.

    Raises:
        SettingError: It cannot be opened.
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
    """Places audio that arrives unevenly on one sample clock, which starts with the first audio. Pure."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._end = 0
        self._resampler: MonoResampler | None = None
        self._polarity = Polarity()

    @property
    def end_sample(self) -> int:
        """Index after the newest placed sample."""
        return self._end

    def due_at(self, sample: int) -> float:
        """Return the time of a sample, monotonic seconds; minus infinity before the first audio."""
        return -math.inf if self._began_at is None else self._began_at + seconds(sample)

    def ahead_s(self, now: float) -> float:
        """Return how far ``end_sample`` is in the future at ``now`` (monotonic clock), seconds."""
        return self.due_at(self._end) - now

    def place(self, decoded: DecodedAudio, now: float) -> AudioChunk:
        """Append audio; the chunk may be empty while the resampler fills."""
        if self._began_at is None:
            self._began_at = now
        if self._resampler is None or self._resampler.rate_hz != decoded.rate_hz:
            self._resampler = MonoResampler(decoded.rate_hz, self._polarity)
        return self._append(self._resampler.feed(decoded.samples), now, "live", decoded.title)

    def fill(self, now: float, state: SourceState) -> AudioChunk | None:
        """Return silence for overdue audio; None if nothing is overdue."""
        if self._began_at is None:
            return None
        overdue = round((-self.ahead_s(now) - FILL_AFTER_S) * SAMPLE_RATE_HZ)
        if overdue <= 0:
            return None
        self._resampler = None  # drops a few milliseconds from before the gap
        return self._append(np.zeros(overdue, np.float32), now, state)

    def _append(self, samples: Samples, now: float, state: SourceState, title: TrackTitle | None = None) -> AudioChunk:
        start = self._end
        self._end += len(samples)
        return AudioChunk(start_sample=start, samples=samples, captured_at=now, source=state, title=title)


class _Receiver:
    """Connects, decodes and reconnects, in its own thread: nothing else ends a read that hangs."""

    def __init__(self, url: str, timeout_s: float, closed: threading.Event, track: str | None = None) -> None:
        self._url = url
        self._track = track
        self._timeout_s = timeout_s
        self._closed = closed
        self.blocks: Mailbox[DecodedAudio] = Mailbox(
            capacity=_WAITING_S, when_full="block", size=lambda block: block.length_s
        )
        self.state: SourceState = "stalled"
        """Why nothing arrives, while nothing arrives."""
        self.failure: SourceError | None = None
        """Why there was no audio at all."""

    def take(self, reach_s: float) -> list[DecodedAudio]:
        """Wait for a block; return it with those that wait behind it, ``reach_s`` seconds or more if there are.

        Raises:
            TimeoutError: None arrives.
            MailboxClosed: None will arrive.
        """
        taken = [self.blocks.get(timeout_s=_POLL_S)]
        while sum(block.length_s for block in taken) < reach_s - _ROUNDING_S:
            try:
                taken.append(self.blocks.get(timeout_s=0.0))
            except (TimeoutError, MailboxClosed):
                break
        return taken

    def _decode_at_least_s(self) -> float:
        return _RUN_S if self.blocks.waiting >= _RUNS_FROM_S else 0.0

    def run(self) -> None:
        """Receive until the file ends or ``closed`` is set; for a thread."""
        retry_s, had_audio = FIRST_RETRY_S, False
        while not self._closed.is_set():
            trouble: SourceError | None = None
            try:
                decoding = decode_url(
                    self._url, timeout_s=self._timeout_s, track=self._track, at_least_s=self._decode_at_least_s
                )
                for decoded in decoding:
                    self.blocks.put(decoded)
                    self.state, had_audio, retry_s = "stalled", True, FIRST_RETRY_S
            except MailboxClosed:
                return
            except SourceError as error:
                trouble = error
            if self._closed.is_set():
                return
            if trouble is None or not had_audio:
                self.failure = trouble
                self.blocks.close()
                return
            self.state = "reconnecting"
            _LOG.warning("%s; connecting again in %.1f s", trouble, retry_s)
            self._closed.wait(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)


class _Pace:
    """Hands received audio over in real time, or as soon as it arrives if that is later.

    Args:
        receiver: Receives it.
        closed: Ends every wait.
        clock: Monotonic clock, seconds.
    """

    def __init__(
        self, receiver: _Receiver, closed: threading.Event, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._receiver = receiver
        self._closed = closed
        self._clock = clock
        self._timeline = ArrivalClock()
        self._packet_samples = 0

    def chunks(
        self, chunker: Chunker, preview: Preview = preview_nothing, wanted: Callable[[], bool] = lambda: False
    ) -> Iterator[AudioChunk]:
        """Yield each chunk when the packet that completes it is due; that is expected to be as long as the last ones.

        While a preview is wanted, packets are taken before.
        """
        while not self._closed.is_set():
            start = self._timeline.end_sample
            end, is_early = chunker(start), wanted()
            if not is_early and not self._hold(max(start, end - self._packet_samples)):
                return
            try:
                chunks = self._placed(self._receiver.take(seconds(end - start)))
            except TimeoutError:
                silence = self._timeline.fill(self._clock(), self._receiver.state)
                chunks = [] if silence is None else [silence]
            except MailboxClosed:
                return
            for chunk in chunks:
                if is_early and not self._show(chunk, preview):
                    return
                yield replace(chunk, captured_at=self._clock())

    def _placed(self, taken: list[DecodedAudio]) -> list[AudioChunk]:
        self._packet_samples = round(max(block.packet_s for block in taken) * SAMPLE_RATE_HZ)
        chunks = [self._timeline.place(joined, self._clock()) for joined in _joined(taken)]
        return [chunk for chunk in chunks if len(chunk.samples)]

    def _show(self, chunk: AudioChunk, preview: Preview) -> bool:
        """Have a chunk looked at, and wait until its last packet is due; return as ``_hold``."""
        due_at = self._timeline.due_at(chunk.start_sample - self._packet_samples)
        preview(chunk.start_sample, chunk.samples, due_at, self._closed.is_set)
        return self._hold(chunk.end_sample - self._packet_samples)

    def _hold(self, sample: int) -> bool:
        """Wait until a sample is due; return False if the source was closed before."""
        while (early_s := self._timeline.due_at(sample) - self._clock()) > 0:
            if self._closed.wait(early_s):
                return False
        return True


def _joined(blocks: list[DecodedAudio]) -> Iterator[DecodedAudio]:
    """Join neighbours of the same rate, number of channels and title."""
    for (rate_hz, _, title), alike in itertools.groupby(
        blocks, lambda block: (block.rate_hz, block.samples.shape[1], block.title)
    ):
        samples = np.concatenate([block.samples for block in alike])
        yield DecodedAudio(samples=samples, rate_hz=rate_hz, gap_s=0.0, title=title)
