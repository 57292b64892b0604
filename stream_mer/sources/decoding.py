"""Decode the audio of a file or a URL with PyAV (FFmpeg's libraries), and place it by its time stamps."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import SourceError, brief
from stream_mer.sources.containers import has_frame_count, wrong_length
from stream_mer.sources.media import Media, open_address, open_file
from stream_mer.sources.resampling import MIN_RATE_HZ, to_float32, to_stereo
from stream_mer.sources.titles import tag_text, title_of_tags
from stream_mer.types import TrackTitle
from stream_mer.utils.sanitise import looks_like_login, redact_address, redact_argument
from stream_mer.utils.threads import available_cores, call_beside

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_LOG = logging.getLogger(__name__)

_MIN_GAP_S = 0.1
"""Shorter jumps of time stamps count as jitter (Matroska's are whole milliseconds, AVI's worse)..."""

_MIN_GAP_AFTER_DAMAGE_S = 0.005
"""...except after a damaged packet, where the length of one packet (some 20 ms) is lost audio."""

_MAX_GAP_S = 24 * 3600.0
"""Longer jumps are damaged time stamps, not lost audio: no gap..."""

_MAX_GAP_OF_BROADCASTS_S = 600.0
"""...and likewise in broadcasts, whose time stamps may start anew anywhere, as in joined MPEG streams."""

_FIRST_PAGE_S = 1.2
"""Most audio in the first page of Ogg FLAC: encoders end a page after a second."""

_BROADCASTS = frozenset({"mpegts", "mpeg", "rtsp", "rtp", "sdp", "hls", "flv", "live_flv"})

_MIN_DOUBTED_GAP_S = 60.0
"""A longer jump that leads beyond the stated end of the file is a damaged time stamp, too."""

_MAX_RATE_HZ = 5_644_800
"""Rate of DSD1024 as FFmpeg decodes it. A file that states more is damaged."""

_MAX_ERRORS_IN_A_ROW = 8
"""Reading is retried this often before the rest is given up: Liquidsoap ends every title with one error."""

# fmt: off
_KNOWS_LENGTH = frozenset({
    "aiff", "ape", "asf", "au", "avi", "avr", "bonk", "caf", "dsf", "flac", "flv", "gxf", "iff", "ircam", "matroska",
    "mov", "mp4", "mpc", "mpc8", "mxf", "nistsphere", "nut", "oma", "osq", "qoa", "rm", "rso", "shn", "sox", "svx",
    "tak", "tta", "voc", "w64", "wav", "webm", "wsd", "wtv", "wv", "xwma",
})
# fmt: on
"""Containers that state the duration in a header or index. For others FFmpeg estimates it from the bit rate."""

_SHORT_S, _SHORT_SHARE = 0.25, 0.005
"""A file is cut short if its audio ends this much, and this share, before the stated end."""

RUN_S = 1.0
"""Length of a run that is decoded from a file at a time: FFmpeg's tables are read from memory once for all of it."""

_TRUSTED_PACKETS = 10
"""Random bytes hold headers of MP3 and AAC by chance, and one packet in five decodes to noise. So audio is released
only after this many valid packets in a row..."""

_DOUBTED_PACKETS = 200
"""...or, without such a row, after this many (some 4 s) if most were valid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedAudio:
    """A run of audio without a gap in it.

    Attributes:
        samples: Shape ``[n, channels]``, nominal range -1..1.
        rate_hz: Sample rate, which may differ from that of the run before.
        gap_s: Audio missing before it by the time stamps, seconds; normally 0.
        title: What it is of; None where its sender has not said yet.
        packet_length: Length of its longest packet, samples; None if it is one.
    """

    samples: NDArray[np.float32]
    rate_hz: int
    gap_s: float
    title: TrackTitle | None = None
    packet_length: int | None = None

    @property
    def length_s(self) -> float:
        """Its length, seconds."""
        return len(self.samples) / self.rate_hz

    @property
    def packet_s(self) -> float:
        """Length of its longest packet, seconds."""
        return self.length_s if self.packet_length is None else self.packet_length / self.rate_hz


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shape:
    """What frames have in common that can be joined; the frames of another link have another one."""

    key: tuple[int, str, str]
    rate_hz: int
    channel_names: tuple[str, ...]
    is_planar: bool


@dataclass(slots=True, eq=False)
class _Block:
    """One decoded frame: like ``DecodedAudio``, but in FFmpeg's memory."""

    frame: Any
    shape: _Shape
    gap_s: float
    title: TrackTitle | None


class _Run:
    """Blocks that are joined to one, in FFmpeg's memory, too: half a second are 25 frames of Opus."""

    def __init__(self, first: _Block) -> None:
        import av  # noqa: PLC0415 - takes 0.1 s: only who decodes pays

        self.shape, self.gap_s, self.title = first.shape, first.gap_s, first.title
        self.packet_length = 0
        self._fifo = av.AudioFifo()
        self.add(first)

    @property
    def length_s(self) -> float:
        return self._fifo.samples / self.shape.rate_hz

    def is_followed_by(self, block: _Block) -> bool:
        """Return whether a block can be part of the run."""
        return block.shape is self.shape and not block.gap_s and block.title == self.title

    def add(self, block: _Block) -> None:
        self.packet_length = max(self.packet_length, block.frame.samples)
        block.frame.pts = None  # read already; the queue wants those that it expects
        self._fifo.write(block.frame)

    def samples(self) -> NDArray[Any]:
        """Return the samples in FFmpeg's type, shape ``[n, channels]``."""
        samples: NDArray[Any] = self._fifo.read().to_ndarray()  # type: ignore[union-attr]  # a run is not empty
        # Planar formats are [channels, n], packed ones [1, n * channels].
        return samples.T if self.shape.is_planar else samples.reshape(-1, len(self.shape.channel_names))


def load_decoder() -> None:
    """Import PyAV with FFmpeg's libraries, which takes 0.1 s. Call it before threads start that import PyAV."""
    import av  # noqa: F401, PLC0415 - only who decodes pays


def check_file(path: Path) -> None:
    """Check what can be checked without decoding.

    Raises:
        SourceError: It is missing, out of reach, a folder or empty.
    """
    try:
        exists = path.exists()
    except OSError as error:  # such as a name that is too long
        raise SourceError(f"cannot read {brief(str(path))}: {error.strerror or error}; check the path") from error
    if not exists:
        if looks_like_login(str(path)):
            raise SourceError(
                f"no such file: {redact_argument(str(path))}; an address begins with its protocol, such as http://"
            )
        raise SourceError(f"no such file: {path}; check the path")
    if path.is_dir():
        raise SourceError(f"{path} is a folder; name the audio files in it")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes); copy or download it again")


def duration_s(path: Path) -> float | None:
    """Return the duration that a file states, seconds; None for a chained Ogg stream, a pipe, or if it states none.

    Raises:
        SourceError: It cannot be opened, or has no audio.
    """
    check_file(path)
    if not path.is_file():
        return None
    return call_beside(lambda: _stated_duration_s(path), name="look at a file")


def _stated_duration_s(path: Path) -> float | None:
    with closing(open_file(path, as_chain=False)) as media:
        if media.chained:
            return None
        stream = _choose_track(media.container, os.fspath(path), None, warn=False)
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return None if media.container.duration is None else media.container.duration / 1_000_000


def cut_out(
    runs: Iterable[DecodedAudio], *, start_s: float = 0.0, duration_s: float | None = None
) -> Iterator[DecodedAudio]:
    """Yield the part of decoded audio that starts at ``start_s``; None for ``duration_s`` goes to the end.

    Time 0 of what is yielded is ``start_s``; nothing is decoded beyond its end.
    """
    position_s, emitted_to_s = 0.0, start_s
    end_s = math.inf if duration_s is None else start_s + duration_s
    for run in runs:
        position_s += run.gap_s
        first = max(0, round((start_s - position_s) * run.rate_hz))
        last = len(run.samples) if math.isinf(end_s) else max(0, round((end_s - position_s) * run.rate_hz))
        samples = run.samples[first:last]
        begin_s = max(start_s, position_s)
        if len(samples):
            gap_s = begin_s - emitted_to_s if run.gap_s else 0.0
            yield replace(run, samples=samples, gap_s=max(0.0, gap_s))
        position_s += len(run.samples) / run.rate_hz
        emitted_to_s = max(start_s, position_s)
        if position_s >= end_s:
            return


def decode_file(
    path: Path, *, track: str | None = None, stopped: Callable[[], bool] = lambda: False
) -> Iterator[DecodedAudio]:
    """Decode an audio track of a file from its beginning, ``RUN_S`` at a time; of a pipe, packet by packet.

    Damaged packets are skipped with a warning. If the format has time stamps, a gap replaces them.

    Args:
        path: The file.
        track: Number among the audio tracks, from 1, or title; None for FFmpeg's choice.
        stopped: Returns whether to give up; called while a pipe gives nothing.

    Raises:
        SourceError: The file cannot be opened, has no audio or no such track, or (almost) nothing of it can be decoded.
    """
    check_file(path)
    with closing(open_file(path, stopped=stopped)) as media:
        wrong = wrong_length(path)
        if wrong:
            _LOG.warning("%s %s", path.name, wrong)
        decoding = _Decoding(media, path.name, os.fspath(path), sent=media.sent, track=track, is_warned=bool(wrong))
        is_stored = path.is_file() and not media.sent
        with closing(decoding.run(lambda: RUN_S if is_stored else 0.0)) as runs:
            yield from _in_turn(runs) if is_stored else runs
    if decoding.failure is not None and media.sent:
        _LOG.warning("%s: nothing arrives any more; taken for its end", path.name)


class Turns:
    """Lets as many threads decode at a time as there are cores.

    FFmpeg's calls release the interpreter's lock, about ten a packet, and get it again after the threads that wait for
    it. If many threads decode at a time, each of these calls waits for several of the others.

    Whoever has a turn may hang on a disk or a network share. If a thread waits for ``longest_wait_s``, all go on
    without turns for ``suspended_s``.

    Args:
        at_a_time: Threads.
        longest_wait_s: Seconds; far longer than all threads together decode.
        suspended_s: Seconds.
    """

    def __init__(self, at_a_time: int, *, longest_wait_s: float = 3.0, suspended_s: float = 60.0) -> None:
        self._free = threading.BoundedSemaphore(at_a_time)
        self._longest_wait_s, self._suspended_s = longest_wait_s, suspended_s
        self._suspended_until = -math.inf

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and hold it within the block."""
        if time.monotonic() < self._suspended_until:
            yield
        elif self._free.acquire(timeout=self._longest_wait_s):
            try:
                yield
            finally:
                self._free.release()
        else:
            self._suspended_until = time.monotonic() + self._suspended_s
            yield


_TURNS = Turns(available_cores())


def _in_turn(runs: Iterator[DecodedAudio]) -> Iterator[DecodedAudio]:
    """Yield runs, each decoded in a turn of its own."""
    while True:
        with _TURNS.turn():
            run = next(runs, None)
        if run is None:
            return
        yield run


def decode_url(
    url: str, *, timeout_s: float, track: str | None = None, at_least_s: Callable[[], float] = lambda: 0.0
) -> Iterator[DecodedAudio]:
    """Decode an audio track behind a URL as fast as it arrives.

    Args:
        url: With a scheme of ``media.url_schemes()``; or the path of an SDP file.
        timeout_s: Longest wait for a connection, and then for each piece of data, seconds.
        track: As of ``decode_file``.
        at_least_s: Returns how much is decoded at a time, seconds; for 0, single packets.

    Yields:
        Audio, to the end of a stream with a length, such as a song behind ``https``.

    Raises:
        SourceError: It cannot be reached or opened, has no audio, sends nothing for ``timeout_s``, or ends although it
            has no length, as when a radio station's server goes away.
    """
    shown = redact_address(url)
    with closing(open_address(url, timeout_s=timeout_s)) as media:
        endless = media.container.duration is None and media.size_bytes is None
        decoding = _Decoding(media, shown, shown, sent=True, track=track)
        yield from decoding.run(at_least_s)
    if decoding.failure is not None or endless:
        raise SourceError(f"lost {shown}: {getattr(decoding.failure, 'strerror', None) or 'the other side ended it'}")


class _Decoding:
    """One pass over one file or one connection.

    Args:
        media: The open container.
        name: Name for warnings.
        where: Name for errors; the path of a file.
        sent: Audio comes from a connection: its time stamps start anywhere, and a stated length means nothing.
        track: As of ``decode_file``.
        is_warned: A warning said already that the file was cut short.
    """

    def __init__(
        self,
        media: Media,
        name: str,
        where: str,
        *,
        sent: bool = False,
        track: str | None = None,
        is_warned: bool = False,
    ) -> None:
        self._media = media
        self._name = name
        self._where = where
        self._sent = sent
        self._track = track
        self._is_warned = is_warned
        self.failure: Exception | None = None
        """Why nothing more can be read; None at the regular end."""
        self._valid_packets = 0
        self._valid_in_a_row = 0
        self._damaged_packets = 0
        self._trusted = False
        self._unreported: Exception | None = None
        self._decoded_s = 0.0
        self._no_numbers = 0
        self._begin_link()

    def _begin_link(self) -> None:
        """Start to decode the current container, with its own decoder and time stamps."""
        container = self._media.container
        self._stream = _choose_track(container, self._where, self._track, warn=not self._decoded_s)
        self._decoder: AudioCodecContext = self._stream.codec_context
        self._start_s = (container.start_time or 0) / 1_000_000
        self._reached_s = self._link_s = 0.0
        self._after_damage = False
        self._expected_s: float | None = None
        self._lead_s = 0.0 if self._sent else _lead_s(self._stream, self._start_s)
        self._shape: _Shape | None = None
        self._time_base: tuple[int, int] | None = None  # of its frames
        # What a station says comes later, and after a reconnection again.
        self._title = None if self._media.has_titles else _title_of(container, self._stream)

    def run(self, at_least_s: Callable[[], float]) -> Generator[DecodedAudio, None, None]:
        """Yield runs of at least ``at_least_s()`` seconds, shorter before a gap; single packets for 0."""
        joined: _Run | None = None
        for block in self._blocks():
            if joined is not None and joined.is_followed_by(block):
                joined.add(block)
            else:
                if joined is not None:
                    yield self._decoded(joined)
                joined = _Run(block)
            if joined.length_s >= at_least_s():
                yield self._decoded(joined)
                joined = None
        if joined is not None:
            yield self._decoded(joined)
        if self._damaged_packets > 1:
            _LOG.warning("%s: %d damaged packets skipped in all", self._name, self._damaged_packets)
        if self._no_numbers:
            _LOG.warning("%s: %d samples are not finite, replaced by silence", self._name, self._no_numbers)

    def _decoded(self, run: _Run) -> DecodedAudio:
        samples = to_float32(run.samples())
        if not np.isfinite((samples.min(), samples.max())).all():
            self._no_numbers += samples.size - int(np.count_nonzero(np.isfinite(samples)))
        stereo = to_stereo(samples, run.shape.channel_names)
        return DecodedAudio(
            samples=stereo,
            rate_hz=run.shape.rate_hz,
            gap_s=run.gap_s,
            title=run.title,
            packet_length=run.packet_length,
        )

    def _blocks(self) -> Iterator[_Block]:
        """Yield what can be decoded, once it is certain to be audio."""
        doubted: list[_Block] = []
        for packet in self._packets():
            doubted += self._decode(packet)
            if not self._trusted:
                self._judge()
            if self._trusted:
                yield from doubted
                doubted.clear()
        if not self._trusted:
            self._require_mostly_valid()
            yield from doubted

    def _packets(self) -> Iterator[av.Packet[AudioStream]]:
        """Yield the track's packets in every link, as far as they can be read."""
        import av.error  # noqa: PLC0415  # takes 0.1 s: only who decodes pays

        while True:
            yield from self._packets_of_link()
            try:
                if self.failure is not None or not self._media.next_link():
                    return
                self._begin_link()
            except (av.error.FFmpegError, OSError) as error:
                self.failure = error
                return

    def _packets_of_link(self) -> Iterator[av.Packet[AudioStream]]:
        errors: list[Exception] = []
        packets = iter(self._media.container.demux())
        while len(errors) <= _MAX_ERRORS_IN_A_ROW:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except Exception as error:  # from PyAV or our own readers
                errors.append(error)
                if not _may_read_on(error, sent=self._sent):
                    break
                packets = iter(self._media.container.demux())
                continue
            if packet.size and errors:
                self._note_damage(errors[0])
                errors.clear()
            if packet.stream_index == self._stream.index:
                yield packet  # type: ignore[misc]  # of the audio stream
            else:
                self._note_end(packet)
        self._end_link(errors)

    def _end_link(self, errors: list[Exception]) -> None:
        """Report errors at the end of a link; a single one is how Liquidsoap ends the links of an Ogg stream."""
        lost = [error for error in errors if not _may_read_on(error, sent=self._sent)]
        if self._sent:
            self.failure = next(iter(lost), None)
            return
        if errors and not self._media.chained:
            self._note_damage(errors[0])
        if lost:
            self.failure = lost[0]
        if not self._report_if_short():
            self._report_damage()

    def _note_end(self, packet: av.Packet[Any]) -> None:
        """Remember the end of other streams: in a film, the picture may outlast the sound."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:
            end_s = (stamp + (packet.duration or 0)) * packet.time_base.numerator / packet.time_base.denominator
            self._reached_s = max(self._reached_s, end_s - self._start_s)

    def _report_if_short(self) -> bool:
        """Warn if the file states a longer duration than it has. Returns whether it did."""
        container = self._media.container
        stated_s = (container.duration or 0) / 1_000_000
        end_s = 0.0 if self._expected_s is None else self._expected_s - self._start_s
        reached_s = max(self._reached_s, self._decoded_s, end_s)
        missing_s = stated_s - reached_s
        if self._is_warned or not _states_length(container, Path(self._where)):
            return False
        if missing_s <= max(_SHORT_S, _SHORT_SHARE * stated_s):
            return False
        _LOG.warning(
            "%s states a duration of %.1f s and ends after %.1f s: it was cut short; playing what is there",
            self._name,
            stated_s,
            reached_s,
        )
        return True

    def _decode(self, packet: av.Packet[AudioStream]) -> list[_Block]:
        """Decode one packet; nothing if it is damaged."""
        import av.error  # noqa: PLC0415  # as above

        self._title = self._media.title_at(packet.pos) or self._title
        try:
            frames = self._follow_extradata(packet) + self._decoder.decode(packet if packet.size else None)
            blocks = [frame for frame in frames if frame.samples]
        except av.error.EOFError:  # flushed before
            return []
        except av.error.FFmpegError as error:
            self._note_damage(error)
            return []
        if blocks:
            self._valid_packets += 1
            self._valid_in_a_row += 1
        return [self._block(block) for block in blocks]

    def _follow_extradata(self, packet: av.Packet[AudioStream]) -> list[Any]:
        """Start a new decoder if the headers change: PyAV's keeps the old ones. Returns the old decoder's rest."""
        import av  # noqa: PLC0415  # as above

        if not any(True for _ in packet.iter_sidedata()) or not packet.has_sidedata("new_extradata"):
            return []
        extradata = bytes(packet.get_sidedata("new_extradata"))
        if extradata == self._decoder.extradata:
            return []
        rest = list(self._decoder.decode(None))
        self._decoder = av.CodecContext.create(self._decoder.codec.name, "r")  # type: ignore[assignment]  # of audio
        self._decoder.extradata = extradata
        self._decoder.thread_count = 1
        return rest

    def _judge(self) -> None:
        """Decide whether this is audio, so that it may be released."""
        is_judged = self._valid_packets + self._damaged_packets >= _DOUBTED_PACKETS
        if is_judged:
            self._require_mostly_valid()
        self._trusted = is_judged or self._valid_in_a_row >= _TRUSTED_PACKETS
        if self._trusted and self._damaged_packets:
            self._unreported = None
            _LOG.warning("%s is damaged at its start; playing what can be decoded", self._name)

    def _require_mostly_valid(self) -> None:
        if self._sent and self.failure is not None and self._valid_packets == self._damaged_packets == 0:
            raise SourceError(f"nothing is sent to {self._where}: start the sender, and check address and network")
        if self._valid_packets == 0 or self._valid_packets < self._damaged_packets:
            raise SourceError(
                f"nothing in {self._where} can be decoded as audio: it is damaged, or not audio; try another copy"
            )

    def _note_damage(self, error: Exception) -> None:
        if self._trusted and self._damaged_packets == 0:
            self._unreported = error
        self._damaged_packets += 1
        self._valid_in_a_row = 0
        self._after_damage = True

    def _report_damage(self) -> None:
        """Warn of the first damage, once it is known not to be the end of a file that was cut short."""
        if self._unreported is not None:
            _LOG.warning(
                "%s is damaged after %.1f s (%s); playing what can be decoded",
                self._name,
                self._decoded_s,
                getattr(self._unreported, "strerror", None) or self._unreported,
            )
            self._unreported = None

    def _block(self, frame: Any) -> _Block:
        key = (frame.sample_rate, frame.format.name, frame.layout.name)
        if self._shape is None or self._shape.key != key:
            self._shape = self._shape_of(frame, key)
        if self._unreported is not None:
            self._report_damage()
        gap_s = self._gap_s(frame)
        self._after_damage = False
        length_s = frame.samples / self._shape.rate_hz
        self._decoded_s += gap_s + length_s
        self._link_s += length_s
        return _Block(frame, self._shape, gap_s, self._title)

    def _shape_of(self, frame: Any, key: tuple[int, str, str]) -> _Shape:
        rate_hz = key[0]
        if not MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
            raise SourceError(
                f"{self._where} states a sample rate of {rate_hz} Hz, which no music has: "
                "its header is damaged, or it is not audio; try another copy"
            )
        names = tuple(channel.name for channel in frame.layout.channels)
        return _Shape(key=key, rate_hz=rate_hz, channel_names=names, is_planar=frame.format.is_planar)

    def _gap_s(self, frame: Any) -> float:
        """Return how much audio is missing before a frame by its time stamp, seconds."""
        length_s = frame.samples / frame.sample_rate
        lead_s, self._lead_s = self._lead_s, 0.0
        if self._time_base is None and frame.time_base is not None:  # a fraction costs as much as all else here
            self._time_base = frame.time_base.numerator, frame.time_base.denominator
        if frame.pts is None or self._time_base is None:
            if self._expected_s is not None:
                self._expected_s += length_s
            return lead_s
        start_s = frame.pts * self._time_base[0] / self._time_base[1]
        jump_s = 0.0 if self._expected_s is None else start_s - self._expected_s
        self._expected_s = start_s + length_s
        if jump_s <= _MIN_GAP_AFTER_DAMAGE_S:  # the usual case
            return lead_s
        # Sent audio is placed by its arrival. Ogg FLAC that is joined in its middle counts from 0 at first.
        flac = self._media.chained and self._stream.codec_context.name == "flac"
        joined = flac and self._link_s < _FIRST_PAGE_S
        if self._sent or joined or not self._is_gap(jump_s, start_s):
            return lead_s
        _LOG.warning("%s: %.2f s of audio missing at %.1f s, replaced by silence", self._name, jump_s, self._decoded_s)
        return lead_s + jump_s

    def _is_gap(self, jump_s: float, start_s: float) -> bool:
        """Return whether a jump of time stamps to ``start_s`` is missing audio, and not damage."""
        container = self._media.container
        broadcast = not _BROADCASTS.isdisjoint(container.format.name.split(","))
        least_s = _MIN_GAP_AFTER_DAMAGE_S if self._after_damage else _MIN_GAP_S
        if not least_s < jump_s <= (_MAX_GAP_OF_BROADCASTS_S if broadcast else _MAX_GAP_S):
            return False
        stated_s = (container.duration or 0) / 1_000_000
        beyond = _states_length(container, Path(self._where)) and start_s - self._start_s > stated_s
        return not beyond or jump_s <= _MIN_DOUBTED_GAP_S


def _may_read_on(error: Exception, *, sent: bool) -> bool:
    """Return whether audio may follow an error: after damage it may, after a lost connection not."""
    import av.error  # noqa: PLC0415  # takes 0.1 s: only who decodes pays

    if isinstance(error, SourceError):
        return False
    damaged = isinstance(error, (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.ArgumentError))
    return damaged or (not sent and isinstance(error, (av.error.FFmpegError, OSError)))


def _title_of(container: InputContainer, stream: AudioStream) -> TrackTitle:
    """Return the title in the tags; those of a stream name the track, except in Ogg, which has no others."""
    of_stream = stream.metadata if container.format.name == "ogg" else {}
    return title_of_tags({**of_stream, **container.metadata})


def _lead_s(stream: AudioStream, start_s: float) -> float:
    """Return how much later the sound starts than the picture, seconds."""
    if stream.start_time is None or stream.time_base is None:
        return 0.0
    lead_s = float(stream.start_time * stream.time_base) - start_s
    return lead_s if _MIN_GAP_S < lead_s <= _MAX_GAP_S else 0.0


def _states_length(container: InputContainer, path: Path) -> bool:
    """Return whether the duration is stated in the container, and not estimated from its size."""
    names = set(container.format.name.split(","))
    if container.duration is None or not container.duration > 0:
        return False
    return ("mp3" in names and has_frame_count(path)) or not names.isdisjoint(_KNOWS_LENGTH)


def _choose_track(container: InputContainer, where: str, track: str | None, *, warn: bool = True) -> AudioStream:
    """Return the track to decode; warn which one that is if there are several.

    Raises:
        SourceError: There is no audio, no such track, or no decoder for it.
    """
    tracks: list[Any] = list(container.streams.audio)
    if not tracks:
        kinds = ", ".join(sorted({each.type for each in container.streams if each.type})) or "nothing"
        raise SourceError(f"{where} has no audio stream (only {kinds}); choose a file with sound")
    stream: Any
    if track is not None:
        stream = _named_track(tracks, where, track)
    else:
        # ``best`` skips a stream of unknown rate; decoding it gives the true error.
        stream = container.streams.best("audio") or tracks[0]
        if len(tracks) > 1 and warn:
            _LOG.warning(
                "%s has %d audio tracks (%s): playing track %d; choose another with --track",
                where,
                len(tracks),
                _listing(tracks),
                tracks.index(stream) + 1,
            )
    if stream.codec_context is None:
        raise SourceError(f"the audio in {where} is in a format without a decoder; convert it to WAV or FLAC")
    stream.codec_context.thread_count = 1
    return stream  # type: ignore[no-any-return]  # best() is typed for streams of any kind


def _named_track(tracks: list[Any], where: str, track: str) -> Any:
    """Return the track with this number, from 1, title or language."""
    if track.isascii() and track.isdecimal() and 1 <= int(track) <= len(tracks):
        return tracks[int(track) - 1]
    wanted = track.strip().casefold()
    for key in ("title", "handler_name", "language"):
        found = [stream for stream in tracks if tag_text(stream.metadata.get(key) or "").strip().casefold() == wanted]
        if found:
            return found[0]
    raise SourceError(f"{where} has no audio track {track!r}; it has {_listing(tracks)}: give a number or a title")


def _listing(tracks: list[Any]) -> str:
    """Return number and title of each track, for a message."""
    titles = [tag_text(stream.metadata.get("title") or stream.metadata.get("language") or "") for stream in tracks]
    return ", ".join(f"{number} {title}".strip() for number, title in enumerate(titles, 1))
