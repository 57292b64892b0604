"""Decode the audio of a file or of a network address with PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import SourceError
from stream_mer.sources.containers import has_frame_count, wrong_length
from stream_mer.sources.media import URL_SCHEMES, Media, open_address, open_file, url_schemes
from stream_mer.sources.resampling import MIN_RATE_HZ, to_float32, to_stereo
from stream_mer.utils.redaction import looks_like_login, redact_address, redact_argument

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import InputContainer

__all__ = [
    "URL_SCHEMES",
    "DecodedAudio",
    "check_file",
    "decode_file",
    "decode_url",
    "duration_s",
    "load_decoder",
    "url_schemes",
]

_LOG = logging.getLogger(__name__)

_MIN_GAP_S = 0.1
"""Shorter jumps between time stamps are taken for their jitter (Matroska's are whole milliseconds, AVI's worse)..."""

_MIN_GAP_AFTER_DAMAGE_S = 0.005
"""...except after a damaged packet, where even one packet's length (some 20 ms) is lost audio."""

_MAX_GAP_S = 24 * 3600.0
"""Longer jumps are no lost audio but damaged time stamps: the audio goes on without a gap..."""

_MAX_GAP_OF_BROADCASTS_S = 600.0
"""...and so where a new count may begin anywhere, as in MPEG streams that were joined."""

_FIRST_PAGE_S = 1.2
"""Audio in the first page of Ogg FLAC, at most: encoders end a page after a second."""

_BROADCASTS = frozenset({"mpegts", "mpeg", "rtsp", "rtp", "sdp", "hls", "flv", "live_flv"})

_MIN_DOUBTED_GAP_S = 60.0
"""A longer one that leads beyond the end that the file states is a damaged time stamp, too."""

_MAX_RATE_HZ = 5_644_800
"""Of what is decoded: DSD1024 as FFmpeg decodes it. A file that claims more is damaged."""

_MAX_ERRORS_IN_A_ROW = 8
"""So often is reading tried again before the rest is given up: Liquidsoap ends every title with one error."""

# fmt: off
_KNOWS_LENGTH = frozenset({
    "aiff", "ape", "asf", "au", "avi", "avr", "bonk", "caf", "dsf", "flac", "flv", "gxf", "iff", "ircam", "matroska",
    "mov", "mp4", "mpc", "mpc8", "mxf", "nistsphere", "nut", "oma", "osq", "qoa", "rm", "rso", "shn", "sox", "svx",
    "tak", "tta", "voc", "w64", "wav", "webm", "wsd", "wtv", "wv", "xwma",
})
# fmt: on
"""Containers whose header or index says how long the audio is. Of the others FFmpeg estimates it from the bit rate."""

_SHORT_S, _SHORT_SHARE = 0.25, 0.005
"""A file whose audio ends so much, and so large a share, before the end that it states was cut short."""

RUN_S = 0.5
"""Files are decoded so much at a time: a packet is 20 ms, and what is done to each costs as much as its decoding."""

_TRUSTED_PACKETS = 10
"""Random bytes hold headers of MP3 and AAC by chance, and one packet in five decodes to noise: audio is let out only
once so many packets in a row were sound..."""

_DOUBTED_PACKETS = 200
"""...or, if that does not happen within so many (some 4 s), once it is sure that most were."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedAudio:
    """A run of audio without a gap in it.

    Attributes:
        samples: Shape ``[n, channels]``, nominal range -1..1.
        rate_hz: Its rate, which may differ from that of the run before.
        gap_s: How much audio is missing before it, by the file's time stamps; 0 normally.
    """

    samples: NDArray[np.float32]
    rate_hz: int
    gap_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """What one packet holds, as the decoder gave it: like ``DecodedAudio``, but samples of any type."""

    samples: NDArray[Any]
    rate_hz: int
    gap_s: float
    channel_names: tuple[str, ...]

    @property
    def length_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def follows(self, other: _Block) -> bool:
        """Whether both can be one run."""
        like = self.rate_hz == other.rate_hz and self.channel_names == other.channel_names
        return like and self.samples.dtype == other.samples.dtype and not self.gap_s


def load_decoder() -> None:
    """Load the libraries that decode, which takes 0.1 s: else the first source that is opened waits for them."""
    import av  # noqa: F401, PLC0415 - only who decodes pays


def check_file(path: Path) -> None:
    """Find out what can be said of a file without decoding it.

    Raises:
        SourceError: It is missing, a folder or empty.
    """
    if not path.exists():
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
    """How long a file says that it is, seconds; None if it does not say, as a chained Ogg stream, or is read once.

    Raises:
        SourceError: It cannot be opened, or holds no audio.
    """
    check_file(path)
    if not path.is_file():
        return None
    with closing(open_file(path, as_chain=False)) as media:
        if media.chained:
            return None
        stream = _choose_track(media.container, os.fspath(path), None, told=True)
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return None if media.container.duration is None else media.container.duration / 1_000_000


def decode_file(
    path: Path, *, track: str | None = None, stopped: Callable[[], bool] = lambda: False
) -> Iterator[DecodedAudio]:
    """Decode an audio track of a file, from its beginning, ``RUN_S`` at a time; of a pipe, packet by packet.

    What is damaged is left out with a warning; time stamps tell how much that was where the format has them.

    Args:
        path: The file.
        track: Its number among the audio tracks, from 1, or its title; None for the one that FFmpeg takes for the best.
        stopped: Tells whether nobody wants to hear any more; asked while a pipe gives nothing.

    Raises:
        SourceError: The file cannot be opened, holds no audio or no such track, or nothing (or next to nothing) of it
            can be decoded.
    """
    check_file(path)
    with closing(open_file(path, stopped=stopped)) as media:
        wrong = wrong_length(path)
        if wrong:
            _LOG.warning("%s %s", path.name, wrong)
        decoding = _Decoding(media, path.name, os.fspath(path), sent=media.sent, track=track, length_told=bool(wrong))
        yield from decoding.run(at_least_s=RUN_S if path.is_file() and not media.sent else 0.0)
    if decoding.failure is not None and media.sent:
        _LOG.warning("%s: nothing is sent any more; that is taken for its end", path.name)


def decode_url(url: str, *, timeout_s: float, track: str | None = None) -> Iterator[DecodedAudio]:
    """Decode an audio track behind a network address, as fast as it is sent, packet by packet.

    Args:
        url: Of a scheme in ``url_schemes()``.
        timeout_s: How long to wait for a connection, and then for each piece of data, seconds.
        track: As of ``decode_file``.

    Returns:
        Ends with what has a length of its own, such as a song behind ``https``.

    Raises:
        SourceError: It cannot be reached or opened, holds no audio, goes silent for ``timeout_s``, or ends although it
            has no length, as a radio station does whose server goes away.
    """
    shown = redact_address(url)
    with closing(open_address(url, timeout_s=timeout_s)) as media:
        endless = media.container.duration is None and media.size_bytes is None
        decoding = _Decoding(media, shown, shown, sent=True, track=track)
        yield from decoding.run()
    if decoding.failure is not None or endless:
        raise SourceError(f"lost {shown}: {getattr(decoding.failure, 'strerror', None) or 'the other side ended it'}")


class _Decoding:
    """One pass over one file, or over what is ``sent`` over one connection.

    Args:
        media: What was opened.
        name: For warnings.
        where: For errors.
        sent: Audio comes from a connection: its time stamps begin anywhere, and it cannot be shorter than it says.
        track: As of ``decode_file``.
        length_told: A warning said already that the file was cut short.
    """

    def __init__(
        self,
        media: Media,
        name: str,
        where: str,
        *,
        sent: bool = False,
        track: str | None = None,
        length_told: bool = False,
    ) -> None:
        self._media = media
        self._name = name
        self._where = where
        self._sent = sent
        self._track = track
        self._length_told = length_told
        self.failure: Exception | None = None
        """Why nothing can be read beyond the point that was reached, if not because it is the end."""
        self._sound_packets = 0
        self._sound_in_a_row = 0
        self._damaged_packets = 0
        self._trusted = False
        self._untold: Exception | None = None
        self._decoded_s = 0.0
        self._no_numbers = 0
        self._begin_link()

    def _begin_link(self) -> None:
        """Go on with the container that is open now: its own decoder, and its own time stamps."""
        container = self._media.container
        self._stream = _choose_track(container, self._where, self._track, told=self._decoded_s > 0)
        self._decoder: AudioCodecContext = self._stream.codec_context
        self._start_s = (container.start_time or 0) / 1_000_000
        self._reached_s = self._link_s = 0.0
        self._after_damage = False
        self._expected_s: float | None = None
        self._lead_s = 0.0 if self._sent else _lead_s(self._stream, self._start_s)

    def run(self, *, at_least_s: float = 0.0) -> Iterator[DecodedAudio]:
        """Decode in runs of at least so many seconds, as far as there is no gap; each packet by itself for 0."""
        waiting: list[_Block] = []
        length_s = 0.0
        for block in self._blocks():
            if waiting and not block.follows(waiting[-1]):
                yield self._joined(waiting)
                waiting, length_s = [], 0.0
            waiting.append(block)
            length_s += block.length_s
            if length_s >= at_least_s:
                yield self._joined(waiting)
                waiting, length_s = [], 0.0
        if waiting:
            yield self._joined(waiting)
        if self._damaged_packets > 1:
            _LOG.warning("%s: %d damaged packets left out in all", self._name, self._damaged_packets)
        if self._no_numbers:
            _LOG.warning("%s: %d samples are no numbers, taken as silence", self._name, self._no_numbers)

    def _joined(self, blocks: list[_Block]) -> DecodedAudio:
        samples = to_float32(np.concatenate([block.samples for block in blocks]))
        self._no_numbers += samples.size - int(np.count_nonzero(np.isfinite(samples)))
        stereo = to_stereo(samples, blocks[0].channel_names)
        return DecodedAudio(samples=stereo, rate_hz=blocks[0].rate_hz, gap_s=blocks[0].gap_s)

    def _blocks(self) -> Iterator[_Block]:
        """What can be decoded, once it is sure that it is audio at all."""
        doubted: list[_Block] = []
        for packet in self._packets():
            doubted += self._decode(packet)
            if not self._trusted:
                self._judge()
            if self._trusted:
                yield from doubted
                doubted.clear()
        if not self._trusted:
            self._require_mostly_sound()
            yield from doubted

    def _packets(self) -> Iterator[av.Packet[AudioStream]]:
        """Packets of the track in every link, up to the end or the point that nothing can be read beyond."""
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
            except Exception as error:  # what PyAV raises, and what a reader of ours does
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
        """Say what is missing at the end; one error there is how Liquidsoap ends the links of an Ogg stream."""
        lost = [error for error in errors if not _may_read_on(error, sent=self._sent)]
        if self._sent:
            self.failure = next(iter(lost), None)
            return
        if errors and not self._media.chained:
            self._note_damage(errors[0])
        if lost:
            self.failure = lost[0]
        if not self._tell_if_short():
            self._tell_damage()

    def _note_end(self, packet: av.Packet[Any]) -> None:
        """Remember how far the other streams reach: of a film, the picture may go on after the sound."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:
            end_s = (stamp + (packet.duration or 0)) * packet.time_base.numerator / packet.time_base.denominator
            self._reached_s = max(self._reached_s, end_s - self._start_s)

    def _tell_if_short(self) -> bool:
        """Warn if the file says that it is longer than it is."""
        container = self._media.container
        stated_s = (container.duration or 0) / 1_000_000
        heard_s = 0.0 if self._expected_s is None else self._expected_s - self._start_s
        reached_s = max(self._reached_s, self._decoded_s, heard_s)
        missing_s = stated_s - reached_s
        if self._length_told or not _states_length(container, Path(self._where)):
            return False
        if missing_s <= max(_SHORT_S, _SHORT_SHARE * stated_s):
            return False
        _LOG.warning(
            "%s says that it lasts %.1f s and ends after %.1f s: it was cut short; what is there is heard",
            self._name,
            stated_s,
            reached_s,
        )
        return True

    def _decode(self, packet: av.Packet[AudioStream]) -> list[_Block]:
        """What one packet decodes to: nothing if it is damaged."""
        import av.error  # noqa: PLC0415  # as above

        try:
            frames = self._follow_extradata(packet) + self._decoder.decode(packet if packet.size else None)
            blocks = [frame for frame in frames if frame.samples]
        except av.error.EOFError:  # flushed before
            return []
        except av.error.FFmpegError as error:
            self._note_damage(error)
            return []
        if blocks:
            self._sound_packets += 1
            self._sound_in_a_row += 1
        return [self._block(block) for block in blocks]

    def _follow_extradata(self, packet: av.Packet[AudioStream]) -> list[Any]:
        """Begin with a new decoder where the headers change on the way: PyAV's goes on with the old ones.

        Returns:
            What the old decoder had kept back.
        """
        import av  # noqa: PLC0415  # as above

        if not packet.has_sidedata("new_extradata"):
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
        """Decide whether this is audio at all."""
        doubted_enough = self._sound_packets + self._damaged_packets >= _DOUBTED_PACKETS
        if doubted_enough:
            self._require_mostly_sound()
        self._trusted = doubted_enough or self._sound_in_a_row >= _TRUSTED_PACKETS
        if self._trusted and self._damaged_packets:
            self._untold = None
            _LOG.warning("%s is damaged at its start; going on with what can be decoded", self._name)

    def _require_mostly_sound(self) -> None:
        if self._sent and self.failure is not None and self._sound_packets == self._damaged_packets == 0:
            raise SourceError(f"nothing is sent to {self._where}: start the sender, and check address and network")
        if self._sound_packets == 0 or self._sound_packets < self._damaged_packets:
            raise SourceError(
                f"nothing in {self._where} can be decoded as audio: it is damaged, or not what its name says; "
                "try another copy"
            )

    def _note_damage(self, error: Exception) -> None:
        if self._trusted and self._damaged_packets == 0:
            self._untold = error
        self._damaged_packets += 1
        self._sound_in_a_row = 0
        self._after_damage = True

    def _tell_damage(self) -> None:
        """Warn of the first damage, once it is known that it is not just the end of a file that was cut short."""
        if self._untold is not None:
            _LOG.warning(
                "%s is damaged after %.1f s (%s); going on with what can be decoded",
                self._name,
                self._decoded_s,
                getattr(self._untold, "strerror", None) or self._untold,
            )
            self._untold = None

    def _block(self, frame: Any) -> _Block:
        rate_hz = int(frame.sample_rate)
        if not MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
            raise SourceError(
                f"{self._where} says that it has {rate_hz} samples a second, which no music has: "
                "its header is damaged, or it is no audio; try another copy"
            )
        self._tell_damage()
        samples = frame.to_ndarray()
        # Planar formats are [channels, n], packed ones [1, n * channels].
        channels = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
        gap_s = self._gap_s(frame)
        self._after_damage = False
        self._decoded_s += gap_s + len(channels) / rate_hz
        self._link_s += len(channels) / rate_hz
        names = tuple(channel.name for channel in frame.layout.channels)
        return _Block(samples=channels, rate_hz=rate_hz, gap_s=gap_s, channel_names=names)

    def _gap_s(self, frame: Any) -> float:
        """Compare a frame's time stamp with the end of the frame before it."""
        length_s = frame.samples / frame.sample_rate
        lead_s, self._lead_s = self._lead_s, 0.0
        if frame.pts is None or frame.time_base is None:
            if self._expected_s is not None:
                self._expected_s += length_s
            return lead_s
        start_s = frame.pts * frame.time_base.numerator / frame.time_base.denominator
        jump_s = 0.0 if self._expected_s is None else start_s - self._expected_s
        self._expected_s = start_s + length_s
        # What is sent is placed by when it comes; and Ogg FLAC that is joined in its middle counts from 0 at first.
        flac = self._media.chained and self._stream.codec_context.name == "flac"
        joined = flac and self._link_s < _FIRST_PAGE_S
        if self._sent or joined or not self._is_gap(jump_s, start_s):
            return lead_s
        _LOG.warning("%s: %.2f s of audio missing at %.1f s, taken as silence", self._name, jump_s, self._decoded_s)
        return lead_s + jump_s

    def _is_gap(self, jump_s: float, start_s: float) -> bool:
        """Whether audio is missing where time stamps jump so far, to ``start_s``."""
        container = self._media.container
        broadcast = not _BROADCASTS.isdisjoint(container.format.name.split(","))
        least_s = _MIN_GAP_AFTER_DAMAGE_S if self._after_damage else _MIN_GAP_S
        if not least_s < jump_s <= (_MAX_GAP_OF_BROADCASTS_S if broadcast else _MAX_GAP_S):
            return False
        stated_s = (container.duration or 0) / 1_000_000
        beyond = _states_length(container, Path(self._where)) and start_s - self._start_s > stated_s
        return not beyond or jump_s <= _MIN_DOUBTED_GAP_S


def _may_read_on(error: Exception, *, sent: bool) -> bool:
    """Whether there may be audio behind an error: behind damage there is, behind a lost connection there is none."""
    import av.error  # noqa: PLC0415  # takes 0.1 s: only who decodes pays

    if isinstance(error, SourceError):
        return False
    damaged = isinstance(error, (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.ArgumentError))
    return damaged or (not sent and isinstance(error, (av.error.FFmpegError, OSError)))


def _lead_s(stream: AudioStream, start_s: float) -> float:
    """How much later the sound begins than the picture, seconds."""
    if stream.start_time is None or stream.time_base is None:
        return 0.0
    lead_s = float(stream.start_time * stream.time_base) - start_s
    return lead_s if _MIN_GAP_S < lead_s <= _MAX_GAP_S else 0.0


def _states_length(container: InputContainer, path: Path) -> bool:
    """Whether the duration of a container is stated in it, and not estimated from its size."""
    names = set(container.format.name.split(","))
    if container.duration is None or not container.duration > 0:
        return False
    return ("mp3" in names and has_frame_count(path)) or not names.isdisjoint(_KNOWS_LENGTH)


def _choose_track(container: InputContainer, where: str, track: str | None, *, told: bool = False) -> AudioStream:
    """Find the track to hear, and say which it is where there are several.

    Raises:
        SourceError: There is no audio, no such track, or no decoder for it.
    """
    tracks: list[Any] = list(container.streams.audio)
    if not tracks:
        kinds = ", ".join(sorted({each.type for each in container.streams if each.type})) or "nothing"
        raise SourceError(f"{where} holds no audio stream (only {kinds}); choose a file with sound")
    stream: Any
    if track is not None:
        stream = _named_track(tracks, where, track)
    else:
        # ``best`` passes over a stream whose rate could not be found out; tried all the same, its error is true.
        stream = container.streams.best("audio") or tracks[0]
        if len(tracks) > 1 and not told:
            heard = tracks.index(stream) + 1
            _LOG.warning(
                "%s has %d audio tracks (%s): track %d is heard; choose another with --track",
                where,
                len(tracks),
                _listing(tracks),
                heard,
            )
    if stream.codec_context is None:
        raise SourceError(f"the audio in {where} is in a format without a decoder here; convert it to WAV or FLAC")
    stream.codec_context.thread_count = 1
    return stream  # type: ignore[no-any-return]  # best() is typed for streams of any kind


def _named_track(tracks: list[Any], where: str, track: str) -> Any:
    """The track of this number, from 1, or of this title or language."""
    if track.isascii() and track.isdecimal() and 1 <= int(track) <= len(tracks):
        return tracks[int(track) - 1]
    wanted = track.strip().casefold()
    for key in ("title", "handler_name", "language"):
        found = [stream for stream in tracks if (stream.metadata.get(key) or "").strip().casefold() == wanted]
        if found:
            return found[0]
    raise SourceError(f"{where} has no audio track {track!r}; it has {_listing(tracks)}: give a number or a title")


def _listing(tracks: list[Any]) -> str:
    """Number and title of each track."""
    titles = [stream.metadata.get("title") or stream.metadata.get("language") or "" for stream in tracks]
    return ", ".join(f"{number} {title}".strip() for number, title in enumerate(titles, 1))
