"""Degrades clips as a stage, a microphone or a lossy codec would."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from stream_mer.sources.resampling import QUALITY, to_float32
from stream_mer.types import SAMPLE_RATE_HZ, Samples

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

Codec: TypeAlias = Literal["opus", "mp3", "aac"]
NoiseKind: TypeAlias = Literal["pink", "brown", "hum", "babble"]
Range: TypeAlias = tuple[float, float]

HIGH_PASS_ORDER = 2  # 12 dB an octave, as the low cut of microphones and mixers
LOW_PASS_ORDER = 4
TILT_PIVOT_HZ = 1000.0
LOWEST_TILTED_HZ = 50.0  # the equaliser is level below
PRE_DELAY_S: Range = (0.002, 0.02)  # of a room's first reflection
LOWEST_NOISE_HZ = 20.0
KNEE = 0.8  # of full scale: above it the limiter bends

_FILTER_TAIL = 4096  # samples; the response of the narrowest high-pass has long died away by then
_HUM_SAMPLES = SAMPLE_RATE_HZ // 10  # whole periods of 50 Hz and of 60 Hz
_HUM_HARMONICS = 12
_TALKERS = 4
_SYLLABLES_HZ = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """One chain from the instrument to the samples; the default leaves audio within full scale as it is.

    Attributes:
        gain_db: Level of what the microphone gives relative to the recording, dB. What exceeds full scale then is
            limited softly.
        high_pass_hz: Lower band limit (-3 dB), Hz; None for none.
        low_pass_hz: Upper band limit (-3 dB), Hz; None for none.
        tilt_db_per_octave: Slope of the equaliser through 0 dB at 1 kHz; positive is brighter.
        rt60_s: Reverberation time of the room, seconds; None for no room.
        direct_to_reverb_db: Energy of the direct sound over that of the reverberation, dB.
        noise: Kind of the room's noise; None for none.
        snr_db: Power of the music over that of the noise, both over the whole recording and before the band limits, dB.
        codec: Lossy codec; None for none.
        bit_rate_kbps: Its bit rate, kbit/s.
    """

    gain_db: float = 0.0
    high_pass_hz: float | None = None
    low_pass_hz: float | None = None
    tilt_db_per_octave: float = 0.0
    rt60_s: float | None = None
    direct_to_reverb_db: float = 0.0
    noise: NoiseKind | None = None
    snr_db: float = 20.0
    codec: Codec | None = None
    bit_rate_kbps: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSound:
    """How often each stage of the chain occurs (independent probabilities, 0..1), and where its values lie.

    Every range is drawn from evenly; frequencies and reverberation times evenly on a logarithmic scale.

    Attributes:
        gain: Probability of another level.
        gain_db: Range of the level, dB.
        band: Probability of band limits and tilt.
        high_pass_hz: Range of the lower limit, Hz.
        low_pass_hz: Range of the upper limit, Hz.
        tilt_db_per_octave: Range of the equaliser's slope, dB an octave.
        room: Probability of reverberation.
        rt60_s: Range of the reverberation time, seconds.
        direct_to_reverb_db: Range of direct over reverberant energy, dB.
        noise: Probability of room noise.
        noises: Kinds of noise, equally likely.
        snr_db: Range of the power of music over noise, dB.
        codec: Probability of a lossy codec.
        codecs: Codecs, equally likely.
        bit_rates_kbps: Bit rates, equally likely, kbit/s.
    """

    gain: float = 0.85
    gain_db: Range = (-30.0, 6.0)
    band: float = 0.6
    high_pass_hz: Range = (60.0, 300.0)
    low_pass_hz: Range = (3000.0, 7500.0)
    tilt_db_per_octave: Range = (-1.5, 1.5)
    room: float = 0.6
    rt60_s: Range = (0.2, 1.5)
    direct_to_reverb_db: Range = (-6.0, 12.0)
    noise: float = 0.6
    noises: tuple[NoiseKind, ...] = ("pink", "brown", "hum", "babble")
    snr_db: Range = (5.0, 30.0)
    codec: float = 0.4
    codecs: tuple[Codec, ...] = ("opus", "mp3", "aac")
    bit_rates_kbps: tuple[int, ...] = (16, 24, 32, 48)

    def draw(self, rng: Generator) -> Degradation:
        """Draw one chain. It takes the same count of random numbers whatever occurs."""
        gain, band, room, noise, codec = rng.random(5) < (self.gain, self.band, self.room, self.noise, self.codec)
        gain_db = rng.uniform(*self.gain_db)
        high_pass_hz, low_pass_hz = _log_uniform(rng, self.high_pass_hz), _log_uniform(rng, self.low_pass_hz)
        tilt_db_per_octave = rng.uniform(*self.tilt_db_per_octave)
        rt60_s, direct_to_reverb_db = _log_uniform(rng, self.rt60_s), rng.uniform(*self.direct_to_reverb_db)
        kind, snr_db = self.noises[int(rng.random() * len(self.noises))], rng.uniform(*self.snr_db)
        name = self.codecs[int(rng.random() * len(self.codecs))]
        bit_rate_kbps = self.bit_rates_kbps[int(rng.random() * len(self.bit_rates_kbps))]
        return Degradation(
            gain_db=gain_db if gain else 0.0,
            high_pass_hz=high_pass_hz if band else None,
            low_pass_hz=low_pass_hz if band else None,
            tilt_db_per_octave=tilt_db_per_octave if band else 0.0,
            rt60_s=rt60_s if room else None,
            direct_to_reverb_db=direct_to_reverb_db,
            noise=kind if noise else None,
            snr_db=snr_db,
            codec=name if codec else None,
            bit_rate_kbps=bit_rate_kbps,
        )


STAGE = StageSound()
"""The mixture that training draws from."""

CONDITIONS: Mapping[str, Degradation] = MappingProxyType(
    {
        "level -10 dB": Degradation(gain_db=-10.0),
        "level -20 dB": Degradation(gain_db=-20.0),
        "level -30 dB": Degradation(gain_db=-30.0),
        "band 300-3400 Hz": Degradation(high_pass_hz=300.0, low_pass_hz=3400.0),
        "room RT60 1 s": Degradation(rt60_s=1.0, direct_to_reverb_db=0.0),
        "noise 10 dB SNR": Degradation(noise="pink", snr_db=10.0),
        "opus 12 kbit/s": Degradation(codec="opus", bit_rate_kbps=12),
    }
)
"""One trouble at a time, to measure under."""


def degrade(samples: Samples, rng: Generator, sound: StageSound | Degradation = STAGE) -> Samples:
    """Put a recording through the chain from stage to samples.

    Args:
        samples: Mono audio at 16 kHz, shape ``[n]``, nominal range -1..1; left as it is.
        rng: All chance comes from it: the same state gives the same result.
        sound: What to draw the chain from, or the chain.

    Returns:
        Shape ``[n]``, sample for sample beside the input.
    """
    chain = sound.draw(rng) if isinstance(sound, StageSound) else sound
    out = samples.copy()
    if len(out) == 0:
        return out
    if chain.rt60_s is not None:
        out = with_room(out, room_response(rng, chain.rt60_s, chain.direct_to_reverb_db))
    if chain.noise is not None:
        out = out + _rms(out) * _ratio(-chain.snr_db) * room_noise(rng, chain.noise, len(out))
    if chain.high_pass_hz is not None or chain.low_pass_hz is not None or chain.tilt_db_per_octave:
        out = with_band(
            out,
            high_pass_hz=chain.high_pass_hz,
            low_pass_hz=chain.low_pass_hz,
            tilt_db_per_octave=chain.tilt_db_per_octave,
        )
    out = limited(out * _ratio(chain.gain_db))
    return out if chain.codec is None else through_codec(out, chain.codec, chain.bit_rate_kbps)


def limited(samples: Samples) -> Samples:
    """Bend what is above 0.8 so that nothing exceeds full scale; audio that does not exceed it passes unchanged."""
    size = np.abs(samples)
    if size.max(initial=0.0) <= 1.0:
        return samples
    bent = KNEE + (1.0 - KNEE) * np.tanh((size - KNEE) / (1.0 - KNEE))
    return np.where(size > KNEE, np.copysign(bent, samples), samples).astype(np.float32)


def with_band(
    samples: Samples,
    *,
    high_pass_hz: float | None = None,
    low_pass_hz: float | None = None,
    tilt_db_per_octave: float = 0.0,
) -> Samples:
    """Limit the band and tilt it: Butterworth magnitudes (12 dB an octave below, 24 dB above) without delay.

    A microphone's filters turn phases too; the log-mel that everything reads has none.
    """

    def response(f_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        octaves = np.log2(np.maximum(f_hz, LOWEST_TILTED_HZ) / TILT_PIVOT_HZ)
        gain = np.power(10.0, tilt_db_per_octave / 20.0 * octaves)
        if high_pass_hz is not None:
            gain = gain / np.sqrt(1.0 + (high_pass_hz / np.maximum(f_hz, 1.0)) ** (2 * HIGH_PASS_ORDER))
        if low_pass_hz is not None:
            gain = gain / np.sqrt(1.0 + (f_hz / low_pass_hz) ** (2 * LOW_PASS_ORDER))
        return gain

    length = _fast_length(len(samples) + _FILTER_TAIL)  # the tail before the first sample wraps into the padding
    filtered = np.fft.irfft(np.fft.rfft(samples, length) * response(_frequencies_hz(length)), length)
    return filtered[: len(samples)].astype(np.float32)


def room_response(rng: Generator, rt60_s: float, direct_to_reverb_db: float) -> Samples:
    """A room's impulse response: the direct sound, 1 at sample 0, then noise that decays exponentially.

    After Polack's statistical model of late reverberation (1988). Its tail is as bright at the end as at the start,
    which a real room's is not.

    Args:
        rng: Chance.
        rt60_s: Time in which the reverberation loses 60 dB, seconds.
        direct_to_reverb_db: Energy of the direct sound over that of the tail, dB.

    Returns:
        Shape ``[n]``: ``rt60_s`` after the first reflection, at 16 kHz.
    """
    n = max(1, round(rt60_s * SAMPLE_RATE_HZ))
    tail = rng.standard_normal(n, dtype=np.float32) * 10.0 ** np.linspace(0.0, -3.0, n)
    tail *= _ratio(-direct_to_reverb_db) / np.sqrt(np.square(tail).sum())
    delay = round(rng.uniform(*PRE_DELAY_S) * SAMPLE_RATE_HZ)
    return np.concatenate([np.ones(1), np.zeros(delay - 1), tail]).astype(np.float32)


def with_room(samples: Samples, response: Samples) -> Samples:
    """Convolve with a room's impulse response; the level stays, and what rings on after the end is cut off."""
    length = _fast_length(len(samples) + len(response))
    wet = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(response, length), length)[: len(samples)]
    level = _rms(wet)
    return (wet * (_rms(samples) / level if level else 1.0)).astype(np.float32)


def room_noise(rng: Generator, kind: NoiseKind, n: int) -> Samples:
    """Noise of a place, shape ``[n]``, mean power 1.

    Args:
        rng: Chance.
        kind: ``pink`` falls by 3 dB an octave and ``brown`` by 6, from 20 Hz. ``hum`` is mains hum, 50 or 60 Hz with
            its harmonics, over a floor of pink noise 10 dB lower. ``babble`` is a crowd: several voices, each noise
            with the long-term spectrum of speech that swells and fades as syllables do.
        n: Samples.
    """
    if kind == "hum":
        noise = _hum(rng, n) + _ratio(-10.0) * _shaped_noise(rng, n, _pink)
    elif kind == "babble":
        noise = np.sum([_shaped_noise(rng, n, _speech) * _syllables(rng, n) for _ in range(_TALKERS)], axis=0)
    else:
        noise = _shaped_noise(rng, n, _pink if kind == "pink" else _brown)
    return (noise / _rms(noise)).astype(np.float32)


def _hum(rng: Generator, n: int) -> NDArray[np.float64]:
    """Mains hum, mean power 1; each harmonic falls as 1/k, times chance."""
    mains_hz = (50.0, 60.0)[int(rng.random() * 2)]
    k = np.arange(1, _HUM_HARMONICS + 1)[:, None]
    phases = 2 * np.pi * (k * mains_hz * np.arange(_HUM_SAMPLES) / SAMPLE_RATE_HZ + rng.random(k.shape))
    period = (rng.uniform(0.3, 1.0, k.shape) / k * np.sin(phases)).sum(axis=0)
    return np.resize(period / _rms(period), n)


def _syllables(rng: Generator, n: int) -> NDArray[np.float64]:
    """An envelope, 0 and up, that takes a new turn five times a second."""
    turns = int(n / SAMPLE_RATE_HZ * _SYLLABLES_HZ) + 2
    at = (np.arange(turns) - rng.random()) * SAMPLE_RATE_HZ / _SYLLABLES_HZ
    return np.interp(np.arange(n), at, rng.exponential(size=turns))


def _shaped_noise(rng: Generator, n: int, amplitude: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Samples:
    """Gaussian noise with the amplitude spectrum, a function of Hz; mean power 1, shape ``[n]``."""
    length = _fast_length(n)
    f_hz = _frequencies_hz(length)
    spectrum = rng.standard_normal((len(f_hz), 2), dtype=np.float32).view(np.complex64)[:, 0]
    noise = np.fft.irfft(spectrum * np.where(f_hz >= LOWEST_NOISE_HZ, amplitude(np.maximum(f_hz, 1.0)), 0.0), length)[
        :n
    ]
    return (noise / _rms(noise)).astype(np.float32)


def _pink(f_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return f_hz**-0.5


def _brown(f_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / f_hz


def _speech(f_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level up to 500 Hz, then 9 dB an octave less, little below 100 Hz (roughly Byrne et al. 1994)."""
    power: NDArray[np.float64] = (1.0 + (100.0 / f_hz) ** 8) * (1.0 + (f_hz / 500.0) ** 3)
    return power**-0.5


def _fast_length(n: int) -> int:
    """The next length from ``n`` on that is a power of 2 times 1, 9/8, 5/4 or 3/2: quick to transform."""
    power = 1 << max(3, (n - 1).bit_length() - 1)
    return next(power * eighths // 8 for eighths in (8, 9, 10, 12, 16) if power * eighths // 8 >= n)


def _frequencies_hz(length: int) -> NDArray[np.float64]:
    return np.asarray(np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ), dtype=np.float64)


def _log_uniform(rng: Generator, bounds: Range) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _rms(samples: NDArray[np.floating]) -> float:
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))


def _ratio(db: float) -> float:
    """Amplitude ratio of a level difference."""
    return math.pow(10.0, db / 20.0)


class _Format(NamedTuple):
    encoder: str
    container: str


# Each container is one that says to its demuxer how much the codec put before the first sample, so that FFmpeg cuts it
# away. MP4 as PyAV writes it does not (AAC came 1,024 samples late), Matroska does.
_FORMATS: dict[Codec, _Format] = {
    "opus": _Format("libopus", "ogg"),
    "mp3": _Format("libmp3lame", "mp3"),
    "aac": _Format("aac", "matroska"),
}


def through_codec(samples: Samples, codec: Codec, bit_rate_kbps: int) -> Samples:
    """Encode and decode; every sample stays where it was.

    Args:
        samples: Mono audio, shape ``[n]``.
        codec: Opus, MP3 (LAME) or AAC-LC (FFmpeg's own).
        bit_rate_kbps: Opus 6..128, AAC 8..96; MP3 takes the nearest that it has at 16 kHz (8, 16, 24, 32, 40, 48...).

    Returns:
        Shape ``[n]``, -1..1.
    """
    if len(samples) == 0:
        return samples.copy()
    decoded = _decode(_encode(samples, _FORMATS[codec], bit_rate_kbps))[: len(samples)]
    return np.pad(decoded, (0, len(samples) - len(decoded))).clip(-1.0, 1.0)


def _encode(samples: Samples, form: _Format, bit_rate_kbps: int) -> io.BytesIO:
    import av  # noqa: PLC0415  # takes 0.1 s: only who uses a codec pays

    file = io.BytesIO()
    with av.open(file, "w", format=form.container) as container:
        stream = cast("AudioStream", container.add_stream(form.encoder, rate=SAMPLE_RATE_HZ, layout="mono"))
        stream.bit_rate = 1000 * bit_rate_kbps
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


def _decode(file: io.BytesIO) -> Samples:
    import av  # noqa: PLC0415  # as above

    with av.open(file, "r") as container:
        frames = [(frame.sample_rate, to_float32(frame.to_ndarray()[0])) for frame in container.decode(audio=0)]
    if not frames:
        return np.zeros(0, np.float32)
    decoded: NDArray[np.float32] = np.concatenate([samples for _, samples in frames])
    rate_hz = frames[0][0]
    if rate_hz != SAMPLE_RATE_HZ:  # Opus decodes to 48 kHz whatever went in
        decoded = soxr.resample(decoded, rate_hz, SAMPLE_RATE_HZ, quality=QUALITY)
    return decoded
