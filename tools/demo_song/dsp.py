"""Signals of the demo song: arrays of samples, oscillators, envelopes, filters and effects.

A mono signal is a float64 array of shape ``[n]``, a stereo signal ``[2, n]`` (left, right), both at ``RATE_HZ`` and
with a nominal range of -1..1. Everything is computed offline and at once, so filters work on the spectrum of the whole
signal: numpy has no recursive filter, and none is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# Samples and basic operations.


RATE_HZ = 48_000
"""Rate of all audio of the song: the one at which Opus works."""

Signal: TypeAlias = NDArray[np.float64]
"""Mono ``[n]`` or stereo ``[2, n]`` audio at ``RATE_HZ``, or a curve with one value a sample."""


def samples_of(duration_s: float) -> int:
    """Convert seconds to a whole number of samples."""
    return round(duration_s * RATE_HZ)


def clock(n: int) -> Signal:
    """Times of ``n`` samples, seconds, shape ``[n]``."""
    return np.arange(n, dtype=np.float64) / RATE_HZ


def gain(level_db: float) -> float:
    """Convert decibels to a factor."""
    return float(10.0 ** (level_db / 20.0))


def frequency_hz(midi: float) -> float:
    """Frequency of a (fractional) MIDI note number; 69 is 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


def pan(mono: Signal, position: float) -> Signal:
    """Place a mono signal between left (-1) and right (1) at constant power; returns ``[2, n]``."""
    angle = (position + 1.0) * np.pi / 4.0
    return np.asarray(np.stack([mono * np.cos(angle), mono * np.sin(angle)]) * np.sqrt(2.0))


def stereo(signal: Signal) -> Signal:
    """Give a mono signal two equal channels; a stereo signal stays as it is."""
    return signal if signal.ndim == 2 else np.stack([signal, signal])


def add_at(bus: Signal, signal: Signal, start: int) -> None:
    """Add a mono or stereo signal to a stereo bus from sample ``start`` on; what lies outside the bus is cut off."""
    begin, end = max(0, start), min(bus.shape[-1], start + signal.shape[-1])
    if begin < end:
        bus[:, begin:end] += stereo(signal)[:, begin - start : end - start]


def fade(signal: Signal, in_s: float, out_s: float) -> Signal:
    """Fade the ends of a signal in and out with a raised cosine."""
    curve = np.ones(signal.shape[-1])
    n_in, n_out = min(len(curve), samples_of(in_s)), min(len(curve), samples_of(out_s))
    if n_in:
        curve[:n_in] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(n_in) / n_in)
    if n_out:
        curve[-n_out:] *= (0.5 - 0.5 * np.cos(np.pi * np.arange(n_out) / n_out))[::-1]
    return signal * curve


def fast_length(n: int) -> int:
    """The smallest length of at least ``n`` without prime factors above 5: FFTs of such lengths are quick."""
    best = 1 << max(0, n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three << max(0, -(-n // three) - 1).bit_length())
            three *= 3
        five *= 5
    return best


def convolve(signal: Signal, response: Signal) -> Signal:
    """Convolve along the last axis; returns ``signal`` lengthened by the response's length less one."""
    n = signal.shape[-1] + response.shape[-1] - 1
    size = fast_length(n)
    spectrum = np.fft.rfft(signal, size) * np.fft.rfft(response, size)
    return np.asarray(np.fft.irfft(spectrum, size)[..., :n])


def resample(signal: Signal, from_hz: int) -> Signal:
    """Bring mono audio from another rate to ``RATE_HZ`` through its spectrum (band limited, no delay)."""
    common = int(np.gcd(from_hz, RATE_HZ))
    up, down = RATE_HZ // common, from_hz // common
    blocks = -(-(len(signal) + from_hz // 10) // down)
    spectrum = np.fft.rfft(signal, blocks * down)
    wanted = blocks * up
    out = np.zeros(wanted // 2 + 1, dtype=np.complex128)
    kept = min(len(out), len(spectrum))
    out[:kept] = spectrum[:kept]
    n = -(-len(signal) * up // down)
    return np.asarray(np.fft.irfft(out, wanted)[:n] * (up / down))


def peak(signal: Signal) -> float:
    """Largest absolute sample."""
    return float(np.max(np.abs(signal))) if signal.size else 0.0


def normal(signal: Signal, level: float = 1.0) -> Signal:
    """Scale a signal so that its largest absolute sample is ``level``; silence stays silence."""
    top = peak(signal)
    return signal * (level / top) if top > 0 else signal


# Oscillators: sines, band-limited saws and pulses, partials, noise. Pitches are numbers or one value a sample, Hz.


def cycles(pitch_hz: float | Signal, n: int, start: float = 0.0) -> Signal:
    """Running phase in cycles, shape ``[n]``: the integral of the pitch."""
    curve = np.broadcast_to(np.asarray(pitch_hz, dtype=np.float64), (n,))
    return start + (np.cumsum(curve) - curve) / RATE_HZ


def sine(pitch_hz: float | Signal, n: int, start: float = 0.0) -> Signal:
    """A sine wave."""
    return np.sin(2.0 * np.pi * cycles(pitch_hz, n, start))


def saw(pitch_hz: float | Signal, n: int, start: float = 0.0) -> Signal:
    """A rising saw, its step rounded over two samples (polyBLEP) so that it hardly aliases."""
    step = np.broadcast_to(np.asarray(pitch_hz, dtype=np.float64), (n,)) / RATE_HZ
    phase = cycles(pitch_hz, n, start) % 1.0
    wave = 2.0 * phase - 1.0
    after = phase < step
    x = phase[after] / step[after]
    wave[after] -= 2.0 * x - x * x - 1.0
    before = phase > 1.0 - step
    x = (phase[before] - 1.0) / step[before]
    wave[before] -= x * x + 2.0 * x + 1.0
    return wave


def pulse(pitch_hz: float | Signal, n: int, width: float = 0.5, start: float = 0.0) -> Signal:
    """A rectangle of the given duty cycle, as the difference of two saws."""
    return saw(pitch_hz, n, start) - saw(pitch_hz, n, start + width)


def ensemble(pitch_hz: float | Signal, n: int, *, voices: int, spread_cents: float, rng: np.random.Generator) -> Signal:
    """Stereo stack of detuned saws, spread between left and right; shape ``[2, n]``, about -1..1."""
    out = np.zeros((2, n))
    for position in np.linspace(-1.0, 1.0, voices):
        detune = 2.0 ** (spread_cents * (position + 0.15 * rng.standard_normal()) / 1200.0)
        wave = saw(np.asarray(pitch_hz) * detune, n, float(rng.random()))
        angle = (0.85 * position + 1.0) * np.pi / 4.0
        out += np.stack([wave * np.cos(angle), wave * np.sin(angle)])
    return np.asarray(out / np.sqrt(voices))


def partials(
    pitch_hz: float,
    n: int,
    *,
    levels: Sequence[float],
    decays_s: Sequence[float],
    stretch: float = 0.0,
    rng: np.random.Generator,
) -> Signal:
    """A struck or plucked string: decaying partials.

    Args:
        pitch_hz: Pitch of the first partial.
        n: Length.
        levels: Amplitude of each partial.
        decays_s: Time in which each falls to 1/e.
        stretch: Inharmonicity B: partial k lies at ``k f sqrt(1 + B k^2)``.
        rng: Draws the phases.
    """
    out = np.zeros(n)
    for k, (level, decay) in enumerate(zip(levels, decays_s, strict=True), start=1):
        f = k * pitch_hz * np.sqrt(1.0 + stretch * k * k)
        if f > 0.42 * RATE_HZ:
            break
        m = min(n, int(7.0 * decay * RATE_HZ))
        out[:m] += level * _decaying_sine(f, decay, m, float(rng.random()))
    return out


def _decaying_sine(f_hz: float, decay_s: float, n: int, start: float) -> Signal:
    """Powers of one complex number, as a table of a few times a table of a few: no sine for each sample."""
    width = 256
    each = (2j * np.pi * f_hz - 1.0 / decay_s) / RATE_HZ
    rows = np.exp(each * width * np.arange(-(-n // width)) + 2j * np.pi * start)
    columns = np.exp(each * np.arange(width))
    table = np.outer(rows.real, columns.imag) + np.outer(rows.imag, columns.real)
    return table.ravel()[:n]


def noise(n: int, rng: np.random.Generator) -> Signal:
    """White noise with a standard deviation of 1/3."""
    return rng.standard_normal(n) / 3.0


# Envelopes: one value a sample.


def adsr(
    held_s: float, *, attack_s: float, decay_s: float = 0.1, sustain: float = 1.0, release_s: float = 0.1
) -> Signal:
    """The usual four stages; lasts ``held_s + release_s``. Attack is a raised cosine, the rest exponential."""
    n_held, n_release = samples_of(held_s), samples_of(release_s)
    t = clock(n_held)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(t / attack_s, 0.0, 1.0))
    body = sustain + (1.0 - sustain) * np.exp(-np.maximum(0.0, t - attack_s) / decay_s)
    held = rise * body
    last = held[-1] if n_held else 0.0
    tail = last * np.exp(-5.0 * np.arange(n_release) / max(1, n_release)) * np.linspace(1.0, 0.0, n_release)
    return np.concatenate([held, tail])


def decay(n: int, time_s: float) -> Signal:
    """Exponential fall to 1/e in ``time_s``."""
    return np.exp(-clock(n) / time_s)


def follow(signal: Signal, *, attack_s: float, release_s: float) -> Signal:
    """Loudness of a signal over time: its RMS, smoothed; channels are taken together.

    Looks ahead by ``attack_s``, so that what it steers is in place when the sound comes.
    """
    power = np.mean(np.atleast_2d(signal) ** 2, axis=0)
    n_release, n_attack = samples_of(release_s), max(1, samples_of(attack_s))
    kernel = np.concatenate([np.linspace(0.0, 1.0, n_attack, endpoint=False), decay(5 * n_release, release_s)])
    smooth = convolve(power, kernel / np.sum(kernel))[n_attack : n_attack + len(power)]
    return np.sqrt(np.maximum(0.0, smooth))


def pump(n: int, beats_at: list[int], *, depth: float, time_s: float) -> Signal:
    """Factor that dips to ``1 - depth`` on each beat and comes back within ``time_s``: the breathing of dance music."""
    curve = np.ones(n)
    length = round(2.0 * time_s * RATE_HZ)
    dip = 1.0 - depth * np.exp(-((clock(length) / (0.55 * time_s)) ** 2))
    for at in beats_at:
        end = min(n, at + length)
        if 0 <= at < end:
            curve[at:end] = np.minimum(curve[at:end], dip[: end - at])
    return curve


# Filters: gains over frequency on the spectrum of the whole signal (no delay, no phase shift); ``sweep`` moves in time.


_BLOCK, _HOP = 1024, 256


def shape(signal: Signal, gain_at: Callable[[Signal], Signal]) -> Signal:
    """Multiply the spectrum with ``gain_at(frequencies in Hz)``."""
    n = signal.shape[-1]
    size = fast_length(n + 2048)  # room for what the filter spreads, lest it comes back at the other end
    gains = gain_at(_frequencies(size))
    return np.asarray(np.fft.irfft(np.fft.rfft(signal, size) * gains, size)[..., :n])


def _frequencies(size: int) -> Signal:
    return np.asarray(np.fft.rfftfreq(size, 1.0 / RATE_HZ), dtype=np.float64)


def lowpass(signal: Signal, cutoff_hz: float, order: int = 2) -> Signal:
    """Keep what lies below; 6 dB an octave for each order beyond the cutoff."""
    return shape(signal, lambda f: 1.0 / np.sqrt(1.0 + (f / cutoff_hz) ** (2 * order)))


def highpass(signal: Signal, cutoff_hz: float, order: int = 2) -> Signal:
    """Keep what lies above."""
    return shape(signal, lambda f: 1.0 / np.sqrt(1.0 + (cutoff_hz / np.maximum(f, 1e-3)) ** (2 * order)))


def bell(signal: Signal, centre_hz: float, level_db: float, octaves: float = 1.0) -> Signal:
    """Raise or lower a region, ``octaves`` wide."""
    return shape(signal, lambda f: _bell(f, centre_hz, level_db, octaves))


def shelf(signal: Signal, corner_hz: float, level_db: float) -> Signal:
    """Raise or lower what lies above the corner."""
    return shape(signal, lambda f: 10.0 ** (level_db / 20.0 / (1.0 + (corner_hz / np.maximum(f, 1e-3)) ** 3)))


def _bell(f: Signal, centre_hz: float, level_db: float, octaves: float) -> Signal:
    distance = np.log2(np.maximum(f, 1.0) / centre_hz) / (0.5 * octaves)
    return np.asarray(10.0 ** (level_db / 20.0 * np.exp(-0.5 * distance**2)))


def sweep(signal: Signal, cutoff_hz: Signal, *, resonance_db: float = 3.0, order: int = 4) -> Signal:
    """A lowpass with a moving cutoff (one value a sample) and a resonance on it; mono or stereo."""
    n = signal.shape[-1]
    window = np.sqrt(np.hanning(_BLOCK + 1)[:-1])
    blocks = -(-n // _HOP) + _BLOCK // _HOP
    padded = np.zeros((*signal.shape[:-1], blocks * _HOP + _BLOCK))
    padded[..., _BLOCK - _HOP : _BLOCK - _HOP + n] = signal
    out = np.zeros_like(padded)
    f = _frequencies(_BLOCK)
    for i in range(blocks):
        at = i * _HOP
        cutoff = float(cutoff_hz[int(np.clip(at - _BLOCK // 2 + _HOP, 0, n - 1))])
        gains = _bell(f, cutoff, resonance_db, 0.7) / np.sqrt(1.0 + (f / cutoff) ** (2 * order))
        piece = padded[..., at : at + _BLOCK] * window
        out[..., at : at + _BLOCK] += np.fft.irfft(np.fft.rfft(piece) * gains) * window
    scale = _HOP / np.sum(window**2)
    return np.asarray(out[..., _BLOCK - _HOP : _BLOCK - _HOP + n] * scale)


def loudness_weighted(signal: Signal) -> Signal:
    """The K weighting of ITU-R BS.1770: its two filters, by the magnitude of their transfer functions."""

    def gains(f: Signal) -> Signal:
        z = np.exp(-2j * np.pi * f / RATE_HZ)
        head = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
            1.0 - 1.69065929318241 * z + 0.73248077421585 * z**2
        )
        low = (1.0 - 2.0 * z + z**2) / (1.0 - 1.99004745483398 * z + 0.99007225036621 * z**2)
        return np.asarray(np.abs(head * low))

    return shape(signal, gains)


# Effects: rooms, echoes, drive, compression, ducking, limiting, loudness.


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
