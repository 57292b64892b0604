"""Rooms, echoes, drive, and the tools of mixing: compression, ducking, limiting, loudness."""

from __future__ import annotations

import numpy as np

from tools.demo_song.envelopes import follow
from tools.demo_song.filters import highpass, loudness_weighted, lowpass
from tools.demo_song.signal import RATE_HZ, Signal, clock, convolve, fast_length, gain, samples_of, stereo


def room(decay_s: float, *, damping_hz: float, predelay_s: float = 0.015, rng: np.random.Generator) -> Signal:
    """Impulse response of a room, shape ``[2, n]``: decaying noise, sooner gone in the heights, different on each side.

    Args:
        decay_s: Time to fall by 60 dB in the lows and mids.
        damping_hz: Above this it falls more than twice as fast.
        predelay_s: Time before the first reflection.
        rng: Draws the noise.
    """
    n = samples_of(decay_s)
    t = clock(n)
    dense = 1.0 - np.exp(-t / 0.012)
    raw = rng.standard_normal((2, n)) * dense
    low = lowpass(raw, damping_hz) * np.exp(-6.91 * t / decay_s)
    high = highpass(raw, damping_hz) * np.exp(-6.91 * t / (0.42 * decay_s))
    response = highpass(low + 0.8 * high, 160.0)
    response /= np.sqrt(np.sum(response**2) / 2.0)
    return np.concatenate([np.zeros((2, samples_of(predelay_s))), response], axis=1)


def reverberate(signal: Signal, response: Signal) -> Signal:
    """What the room answers, without the sound itself; as long as the signal (cut at its end)."""
    return convolve(stereo(signal), response)[:, : signal.shape[-1]]


def echo(signal: Signal, *, delay_s: float, feedback: float, repeats: int = 5, damping_hz: float = 3500.0) -> Signal:
    """Echoes alone, changing sides, each one duller and weaker; as long as the signal."""
    source = stereo(signal)
    out = np.zeros_like(source)
    step = samples_of(delay_s)
    for i in range(1, repeats + 1):
        source = lowpass(source, damping_hz)[::-1] * feedback
        at = i * step
        if at >= out.shape[-1]:
            break
        sides = np.array([[1.0], [0.35]]) if i % 2 else np.array([[0.35], [1.0]])
        out[:, at:] += sides * source[:, : out.shape[-1] - at]
    return out


def chorus(signal: Signal, *, depth_s: float = 0.003, speed_hz: float = 0.6, mix: float = 0.5) -> Signal:
    """Thicken a signal with a copy on each side whose delay moves."""
    both = stereo(signal)
    t = clock(both.shape[-1])
    places = np.arange(both.shape[-1], dtype=np.float64)
    copies = []
    for side, channel in enumerate(both):
        delay = 0.012 + depth_s * np.sin(2.0 * np.pi * (speed_hz * t + 0.25 + 0.4 * side))
        copies.append(np.interp(places - delay * RATE_HZ, places, channel, left=0.0))
    return np.asarray((1.0 - 0.4 * mix) * both + mix * np.stack(copies))


def drive(signal: Signal, amount: float, *, bias: float = 0.0) -> Signal:
    """Soft clipping at four times the rate, so that the new overtones do not fold back.

    Args:
        signal: Mono or stereo, nominal -1..1.
        amount: Factor before the clipping.
        bias: Offset before it: makes even overtones.
    """
    n = signal.shape[-1]
    m = 2 * fast_length(n // 2 + 256)
    spectrum = np.fft.rfft(signal, m)
    wide = np.zeros((*signal.shape[:-1], 2 * m + 1), dtype=np.complex128)
    wide[..., : spectrum.shape[-1]] = spectrum
    clipped = np.tanh(amount * np.fft.irfft(wide, 4 * m) * 4.0 + bias) - np.tanh(bias)
    narrow = np.fft.rfft(clipped)[..., : m // 2 + 1]
    return np.asarray(np.fft.irfft(narrow, m)[..., :n] / 4.0)


def compress(
    signal: Signal, *, threshold_db: float, ratio: float, attack_s: float = 0.005, release_s: float = 0.12
) -> Signal:
    """Turn down what is louder than the threshold (RMS, full scale)."""
    level = 20.0 * np.log10(np.maximum(follow(signal, attack_s=attack_s, release_s=release_s), 1e-6))
    over = np.maximum(0.0, level - threshold_db)
    return np.asarray(signal * 10.0 ** (-over * (1.0 - 1.0 / ratio) / 20.0))


def duck(music: Signal, voice: Signal, *, all_db: float, middle_db: float) -> Signal:
    """Make room for a voice: while it sounds, lower the music, and more so where words live (500 Hz to 5 kHz)."""
    active = follow(voice, attack_s=0.04, release_s=0.18)
    active = np.clip(active / max(1e-9, 0.25 * float(np.max(active))), 0.0, 1.0)
    middle = lowpass(highpass(music, 500.0), 5000.0)
    lowered = music - middle * (1.0 - 10.0 ** (-middle_db * active / 20.0))
    return np.asarray(lowered * 10.0 ** (-all_db * active / 20.0))


def loudness(signal: Signal) -> float:
    """Loudness in LUFS after ITU-R BS.1770-4: K weighted, 400 ms blocks, gated at -70 LUFS and 10 LU below the mean."""
    weighted = loudness_weighted(stereo(signal))
    n, hop = samples_of(0.4), samples_of(0.1)
    total = np.concatenate([[0.0], np.cumsum(np.sum(weighted**2, axis=0))])
    starts = np.arange(0, max(1, weighted.shape[-1] - n + 1), hop)
    power = (total[np.minimum(starts + n, weighted.shape[-1])] - total[starts]) / n
    power = power[power > 10.0 ** ((-70.0 + 0.691) / 10.0)]
    if not len(power):
        return -70.0
    power = power[power > np.mean(power) / 10.0]
    return float(-0.691 + 10.0 * np.log10(np.mean(power)))


def limit(signal: Signal, ceiling_db: float = -1.0, look_s: float = 0.004, release_s: float = 0.08) -> Signal:
    """Hold all peaks below the ceiling: a look-ahead limiter.

    The gain that each sample needs is held for ``look_s`` to both sides, then smoothed over the same time, so it has
    always arrived when the peak comes.
    """
    ceiling = gain(ceiling_db)
    needed = np.minimum(1.0, ceiling / np.maximum(np.max(np.abs(stereo(signal)), axis=0), 1e-9))
    look = samples_of(look_s)
    held = _sliding_minimum(needed, 2 * look + 1)
    # The way back is slower: smooth the reduction with a decay as well, and take whichever is deeper.
    slow = 1.0 - follow_peaks(1.0 - held, release_s)
    held = np.minimum(held, slow)
    kernel = np.hanning(2 * look + 3)[1:-1]
    smooth = convolve(np.pad(held, look, mode="edge"), kernel / np.sum(kernel))[2 * look : 2 * look + len(held)]
    return np.asarray(np.clip(signal * smooth, -ceiling, ceiling))


def follow_peaks(curve: Signal, release_s: float) -> Signal:
    """A curve that rises at once and falls back exponentially: the largest of ``curve[i - k] exp(-k / release)``."""
    out = curve.copy()
    span, falls = 1, np.exp(-1.0 / (release_s * RATE_HZ))
    while span < min(len(curve), 6.0 * release_s * RATE_HZ):
        out[span:] = np.maximum(out[span:], out[:-span] * falls**span)
        span *= 2
    return out


def _sliding_minimum(curve: Signal, width: int) -> Signal:
    """Minimum over ``width`` samples around each sample, in a logarithmic number of steps."""
    reach = width // 2
    out = np.pad(curve, reach, constant_values=1.0)
    span = 1
    while 2 * span <= width:
        out = np.minimum(out[:-span], out[span:])
        span *= 2
    rest = width - span
    return np.minimum(out[: len(out) - rest], out[rest:]) if rest else out
