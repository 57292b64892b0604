"""Decode the audio of a file or of a network address with PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import SourceError
from stream_mer.redaction import looks_like_login, redact_address, redact_argument
from stream_mer.sources.pcm_format import MAX_RATE_HZ, MIN_RATE_HZ
from stream_mer.sources.resampling import to_float32
from stream_mer.sources.wav_header import wrong_length

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_LOG = logging.getLogger(__name__)

_MIN_GAP_S = 0.1
"""Shorter jumps between time stamps are taken for their jitter (Matroska's are whole milliseconds, AVI's worse)..."""

_MIN_GAP_AFTER_DAMAGE_S = 0.005
"""...except after a damaged packet, where even one packet's length (some 20 ms) is lost audio."""

_MAX_GAP_S = 60.0
"""Longer jumps are not lost audio but a new count, as where recordings were joined: the audio goes on without a gap."""


RUN_S = 0.5
"""Files are decoded so much at a time: a packet is 20 ms, and what is done to each costs as much as its decoding."""

_TRUSTED_PACKETS = 10
"""Random bytes hold headers of MP3 and AAC by chance, and one packet in five decodes to noise: audio is let out only
once so many packets in a row were sound..."""

_DOUBTED_PACKETS = 200
"""...or, if that does not happen within so many (some 4 s), once it is sure that most were."""


URL_SCHEMES = ("http", "https", "rtp", "rtsp", "rtmp", "srt", "tcp", "udp")
"""Network addresses that can be listened to, as far as FFmpeg was built with them: see ``url_schemes``."""

_URL_PROTOCOLS = (*URL_SCHEMES, "tls", "httpproxy", "rtmpt", "crypto", "hls", "data")


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

    @property
    def length_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def follows(self, other: _Block) -> bool:
        """Whether both can be one run."""
        like = self.rate_hz == other.rate_hz and self.samples.shape[1] == other.samples.shape[1]
        return like and self.samples.dtype == other.samples.dtype and not self.gap_s


def load_decoder() -> None:
    """Load the libraries that decode, which takes 0.1 s: else the first source that is opened waits for them."""
    import av  # noqa: F401, PLC0415 - only who decodes pays


@functools.cache
def url_schemes() -> tuple[str, ...]:
    """Return which of ``URL_SCHEMES`` this build of FFmpeg has; PyAV's own, for example, is built without SRT."""
    return tuple(filter(_has_protocol, URL_SCHEMES))


def _has_protocol(scheme: str) -> bool:
    import av  # noqa: PLC0415 - only who decodes pays
    import av.error  # noqa: PLC0415 - likewise

    try:
        # Nothing is reached: the protocol is looked up first, and refused because it is not on the list.
        av.open(f"{scheme}://127.0.0.1:9", container_options={"protocol_whitelist": "file"})
    except av.error.ProtocolNotFoundError:
        return False
    except av.error.FFmpegError:
        pass
    return True


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
    """How long a file says that it is, seconds; None if it does not say.

    Raises:
        SourceError: It cannot be opened, or holds no audio.
    """
    with closing(_open(path)) as container:
        stream = _audio_stream(container, os.fspath(path))
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return None if container.duration is None else container.duration / 1_000_000


def decode_file(path: Path) -> Iterator[DecodedAudio]:
    """Decode the best audio stream of a file, from its beginning, ``RUN_S`` at a time; of a pipe, packet by packet.

    What is damaged is left out with a warning; time stamps tell how much that was where the format has them.

    Raises:
        SourceError: The file cannot be opened, holds no audio stream, or nothing (or next to nothing) of it can be
            decoded.
    """
    with closing(_open(path)) as container:
        wrong = wrong_length(path)
        if wrong:
            _LOG.warning("%s %s", path.name, wrong)
        yield from _Decoding(container, path.name, os.fspath(path)).run(at_least_s=RUN_S if path.is_file() else 0.0)


def decode_url(url: str, *, timeout_s: float) -> Iterator[DecodedAudio]:
    """Decode the best audio stream behind a network address, as fast as it is sent, packet by packet.

    Args:
        url: Of a scheme in ``url_schemes()``.
        timeout_s: How long to wait for a connection, and then for each piece of data, seconds.

    Returns:
        Ends with what has a length of its own, such as a song behind ``https``.

    Raises:
        SourceError: It cannot be reached or opened, holds no audio, goes silent for ``timeout_s``, or ends although it
            has no length, as a radio station does whose server goes away.
    """
    shown = redact_address(url)
    with closing(_open_url(url, timeout_s)) as container:
        endless = container.duration is None
        decoding = _Decoding(container, shown, shown, sent=True)
        yield from decoding.run()
    if decoding.failure is not None or endless:
        raise SourceError(f"lost {shown}: {getattr(decoding.failure, 'strerror', None) or 'the other side ended it'}")


class _Decoding:
    """One pass over one file, or over what is ``sent`` over one connection."""

    def __init__(self, container: InputContainer, name: str, where: str, *, sent: bool = False) -> None:
        self._sent = sent
        self._container = container
        self._name = name
        self._where = where
        self.failure: Exception | None = None
        """Why nothing can be read beyond the point that was reached, if not because it is the end."""
        self._stream = _audio_stream(container, where)
        self._sound_packets = 0
        self._sound_in_a_row = 0
        self._damaged_packets = 0
        self._trusted = False
        self._after_damage = False
        self._expected_s: float | None = None
        self._decoded_s = 0.0
        self._no_numbers = 0

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
        return DecodedAudio(samples=samples, rate_hz=blocks[0].rate_hz, gap_s=blocks[0].gap_s)

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
        """Packets of the audio stream, up to the end or the point that the container cannot be read beyond."""
        import av.error  # noqa: PLC0415  # takes 0.1 s: only who decodes pays

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                self.failure = error
                if not self._sent:
                    self._note_damage(error)
                return
            yield packet

    def _decode(self, packet: av.Packet[AudioStream]) -> list[_Block]:
        """What one packet decodes to: nothing if it is damaged."""
        import av.error  # noqa: PLC0415  # as above

        try:
            blocks = [block for block in packet.decode() if block.samples]
        except av.error.FFmpegError as error:
            self._note_damage(error)
            return []
        if blocks:
            self._sound_packets += 1
            self._sound_in_a_row += 1
        return [self._block(block) for block in blocks]

    def _judge(self) -> None:
        """Decide whether this is audio at all."""
        doubted_enough = self._sound_packets + self._damaged_packets >= _DOUBTED_PACKETS
        if doubted_enough:
            self._require_mostly_sound()
        self._trusted = doubted_enough or self._sound_in_a_row >= _TRUSTED_PACKETS
        if self._trusted and self._damaged_packets:
            _LOG.warning("%s is damaged at its start; going on with what can be decoded", self._name)

    def _require_mostly_sound(self) -> None:
        if self._sound_packets == 0 or self._sound_packets < self._damaged_packets:
            raise SourceError(
                f"nothing in {self._where} can be decoded as audio: it is damaged, or not what its name says; "
                "try another copy"
            )

    def _note_damage(self, error: Exception) -> None:
        if self._trusted and self._damaged_packets == 0:
            _LOG.warning(
                "%s is damaged after %.1f s (%s); going on with what can be decoded",
                self._name,
                self._decoded_s,
                getattr(error, "strerror", None) or error,
            )
        self._damaged_packets += 1
        self._sound_in_a_row = 0
        self._after_damage = True

    def _block(self, block: Any) -> _Block:
        rate_hz = int(block.sample_rate)
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise SourceError(
                f"{self._where} says that it has {rate_hz} samples a second, which no music has: "
                "its header is damaged, or it is no audio; try another copy"
            )
        samples = block.to_ndarray()
        # Planar formats are [channels, n], packed ones [1, n * channels].
        channels = samples.T if block.format.is_planar else samples.reshape(-1, block.layout.nb_channels)
        gap_s = self._gap_s(block)
        self._after_damage = False
        self._decoded_s += gap_s + len(channels) / rate_hz
        return _Block(samples=channels, rate_hz=rate_hz, gap_s=gap_s)

    def _gap_s(self, block: Any) -> float:
        """Compare a block's time stamp with the end of the block before it."""
        length_s = block.samples / block.sample_rate
        if block.pts is None or block.time_base is None:
            if self._expected_s is not None:
                self._expected_s += length_s
            return 0.0
        start_s = block.pts * block.time_base.numerator / block.time_base.denominator
        jump_s = 0.0 if self._expected_s is None else start_s - self._expected_s
        self._expected_s = start_s + length_s
        least_s = _MIN_GAP_AFTER_DAMAGE_S if self._after_damage else _MIN_GAP_S
        if not least_s < jump_s <= _MAX_GAP_S:
            return 0.0
        _LOG.warning("%s: %.2f s of audio missing at %.1f s, taken as silence", self._name, jump_s, self._decoded_s)
        return jump_s


def _open(path: Path) -> InputContainer:
    import av  # noqa: PLC0415  # takes 0.1 s: only who decodes pays
    import av.error  # noqa: PLC0415
    import av.logging  # noqa: PLC0415

    check_file(path)
    # PyAV's default, set again because it holds for the whole process: FFmpeg writes nothing to standard error.
    av.logging.set_level(None)
    try:
        # Absolute, so that no name can be read as a protocol ("concat:..."); and a playlist may not reach the network.
        return av.open(os.fspath(path.absolute()), container_options={"protocol_whitelist": "file,crypto,data"})
    except av.error.PermissionError as error:
        raise SourceError(f"not permitted to read {path}; check its owner and mode") from error
    except av.error.FFmpegError as error:
        raise SourceError(
            f"cannot decode {path}: {error.strerror}; it is damaged, cut short, or no audio file: try another copy"
        ) from error


def _open_url(url: str, timeout_s: float) -> InputContainer:
    import av  # noqa: PLC0415  # takes 0.1 s: only who decodes pays
    import av.error  # noqa: PLC0415
    import av.logging  # noqa: PLC0415

    av.logging.set_level(None)
    shown = redact_address(url)
    # A camera's or mixer's stream is asked for over TCP, which loses nothing; and no address may name a local file.
    options = {"rtsp_transport": "tcp", "user_agent": "stream_mer", "protocol_whitelist": ",".join(_URL_PROTOCOLS)}
    try:
        return av.open(url, options=options, timeout=(timeout_s, timeout_s))
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise SourceError(f"cannot open {shown}: {reason}; check the address and the network") from error
    except UnicodeError as error:
        raise SourceError(f"cannot open {shown}: it is no address") from error


def _audio_stream(container: InputContainer, where: str) -> AudioStream:
    # ``best`` passes over a stream whose rate could not be found out; tried all the same, its error is the true one.
    stream: Any = container.streams.best("audio") or next(iter(container.streams.audio), None)
    if stream is None:
        kinds = ", ".join(sorted({each.type for each in container.streams if each.type})) or "nothing"
        raise SourceError(f"{where} holds no audio stream (only {kinds}); choose a file with sound")
    if stream.codec_context is None:
        raise SourceError(f"the audio in {where} is in a format without a decoder here; convert it to WAV or FLAC")
    stream.codec_context.thread_count = 1
    return stream  # type: ignore[no-any-return]  # best() is typed for streams of any kind
