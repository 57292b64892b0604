"""Singing: a spoken line is laid on a melody by pitch-synchronous overlap and add (TD-PSOLA).

espeak-ng speaks the line on one pitch and gives the time of each phoneme. Each vowel starts on its note and is
stretched to fill it, consonants keep their length and come before the beat, and grains of two periods around the
glottal pulses are placed at the periods of the melody: the pitch moves while the formants, and with them the words,
stay.

espeak-ng (GPL-3) is a program of the system, loaded through ctypes and not shipped; its output is free to use. It is
needed only to compose the song anew, never to play it.

Method: E. Moulines, F. Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech synthesis
using diphones", Speech Communication 9 (1990).
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import SettingError, StreamMerError
from tools.demo_song.dsp import RATE_HZ, Signal, clock, normal, resample, samples_of
from tools.demo_song.score import Line, Note, Tempo

# Speech: espeak-ng's C library, with the time of every phoneme.


_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: hand the samples to the callback before espeak_Synth returns
_PHONEME_EVENTS = 1
_UTF8 = 1
_SPEED_WPM, _PITCH, _PITCH_RANGE = 1, 3, 4  # espeak_PARAMETER
_LIST_END, _WORD, _PHONEME = 0, 1, 7  # espeak_EVENT_TYPE

VOWEL_STARTS = frozenset("aAeE3iI0oOuUV@")
"""First characters of espeak's names for English vowels; each vowel is the nucleus of one syllable."""

VOICED = frozenset("mnNlrwjvDzZbdg")
"""First characters of the names of consonants with a pitch (``r-`` and ``dZ`` among them)."""


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phoneme:
    """One phoneme of an utterance.

    Attributes:
        name: espeak's mnemonic; ``_`` and what starts with it are pauses.
        start_s: Where it starts, seconds from the start of the utterance.
        end_s: Where it ends.
        starts_word: True for the first phoneme of a word.
    """

    name: str
    start_s: float
    end_s: float
    starts_word: bool = False

    @property
    def is_vowel(self) -> bool:
        return self.name[:1] in VOWEL_STARTS

    @property
    def is_voiced(self) -> bool:
        return self.is_vowel or (self.name[:1] in VOICED and not self.name.startswith("tS"))

    @property
    def is_pause(self) -> bool:
        return self.name.startswith("_")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Utterance:
    """A spoken line: mono samples ``[n]`` at ``rate_hz`` and its phonemes in order."""

    samples: Signal
    rate_hz: int
    phonemes: tuple[Phoneme, ...]


def available() -> bool:
    """True if espeak-ng's library is on this system."""
    return ctypes.util.find_library("espeak-ng") is not None


@cache
def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("espeak-ng")
    if name is None:
        raise StreamMerError(
            "espeak-ng was not found, and composing the demo song needs its voice: install it "
            "(Debian: apt-get install espeak-ng); to play the song that ships with the package it is not needed"
        )
    return ctypes.CDLL(name)


@cache
def speak(text: str, *, voice: str, pitch: int, speed_wpm: int) -> Utterance:
    """Speak a line on one pitch, in a process of its own.

    The library carries state (the phase of its noise and of its pitch's flutter) from line to line and hangs when it
    is started a second time, so only a fresh process gives the same samples for the same line each time.

    Args:
        text: What to say, in the voice's language.
        voice: espeak voice, e.g. ``en-us+f2``.
        pitch: espeak's base pitch, 0..99.
        speed_wpm: Words a minute, 80..450.

    Raises:
        StreamMerError: espeak-ng is missing, or does not know the voice.
    """
    _library()  # fail here, with the plain message, if it is missing
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(_speak_here, text, voice, pitch, speed_wpm).result()


def _speak_here(text: str, voice: str, pitch: int, speed_wpm: int) -> Utterance:
    library = _library()
    rate_hz = int(library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS))
    blocks: list[Signal] = []
    marks: list[tuple[int, int, str]] = []

    def receive(wave: ctypes._Pointer[ctypes.c_short], n: int, events: ctypes._Pointer[_Event]) -> int:
        if wave and n > 0:
            blocks.append(np.ctypeslib.as_array(wave, (n,)).astype(np.float64) / 32768.0)
        i = 0
        while events[i].type != _LIST_END:
            marks.append((events[i].type, events[i].sample, bytes(events[i].id.string).decode("ascii", "replace")))
            i += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise StreamMerError(f"espeak-ng does not know the voice {voice!r}: see espeak-ng --voices")
    for parameter, value in ((_SPEED_WPM, speed_wpm), (_PITCH, pitch), (_PITCH_RANGE, 0)):
        library.espeak_SetParameter(parameter, value, 0)
    data = text.encode()
    library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
    samples = np.concatenate(blocks) if blocks else np.zeros(0)
    return Utterance(samples=samples, rate_hz=rate_hz, phonemes=_phonemes(marks, rate_hz, len(samples)))


def _phonemes(marks: list[tuple[int, int, str]], rate_hz: int, n_samples: int) -> tuple[Phoneme, ...]:
    """Join the library's events to phonemes that last until the next one starts."""
    found: list[tuple[str, int, bool]] = []
    word_starts = False
    for kind, sample, name in marks:
        if kind == _WORD:
            word_starts = True
        elif kind == _PHONEME and name:
            found.append((name, sample, word_starts))
            word_starts = False
    ends = [sample for _, sample, _ in found[1:]] + [n_samples]
    return tuple(
        Phoneme(name=name, start_s=start / rate_hz, end_s=max(start, end) / rate_hz, starts_word=first)
        for (name, start, first), end in zip(found, ends, strict=True)
    )


# Singing.


_MAX_CONSONANTS = 0.62
"""Largest share of the time between two vowels' starts that consonants may take before they are shortened."""

_EDGE_S = 0.03
"""Start and end of a vowel that are not stretched: there the formants move."""

_GRAIN_S = 0.012
"""Length of the grains that voiceless sounds are laid in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Singer:
    """A voice and how it sings.

    Attributes:
        voice: espeak voice.
        pitch: espeak's base pitch, 0..99; near the melody it sounds best.
        speed_wpm: Speed of the speech that the consonants come from.
        vibrato_cents: Depth on long notes.
        vibrato_hz: Its speed.
        glide_s: Time to move from note to note.
        fall_semitones: How far the pitch sinks within each note; shouts do.
        jitter: Random change of each period, as a share of it: roughness.
    """

    voice: str
    pitch: int = 50
    speed_wpm: int = 140
    vibrato_cents: float = 22.0
    vibrato_hz: float = 5.4
    glide_s: float = 0.07
    fall_semitones: float = 0.0
    jitter: float = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A piece of speech and where it goes, seconds on both clocks."""

    source_from: float
    source_to: float
    out_from: float
    out_to: float
    voiced: bool


def sing(line: Line, *, singer: Singer, tempo: Tempo, rng: np.random.Generator) -> tuple[int, Signal]:
    """Sing a line.

    Returns:
        The sample of the passage at which the voice starts (its first consonants stand before the first note, so it
        may be negative), and the mono signal with a peak of 1.

    Raises:
        SettingError: The number of notes is not the number of syllables that espeak hears in the text.
        StreamMerError: espeak-ng is missing.
    """
    speech = speak(line.text, voice=singer.voice, pitch=singer.pitch, speed_wpm=singer.speed_wpm)
    plan = _plan(line, speech.phonemes, tempo)
    start_s = plan[0].out_from - 0.01
    n = samples_of(plan[-1].out_to - start_s + 0.06)
    samples = resample(speech.samples, speech.rate_hz)
    pitch_hz = _melody_hz(line.notes, singer=singer, tempo=tempo, start_s=start_s, n=n, rng=rng)
    source, voiced, sounding = _clocks(plan, start_s=start_s, n=n)
    epochs = _epochs(samples, speech)
    out = _lay_voiced(samples, epochs, source=source, where=voiced, pitch_hz=pitch_hz, jitter=singer.jitter, rng=rng)
    out += _lay_voiceless(samples, source=source, where=sounding & ~voiced)
    return samples_of(start_s), normal(out)


def _plan(line: Line, phonemes: Sequence[Phoneme], tempo: Tempo) -> list[_Stretch]:
    """Decide where each phoneme goes."""
    sounds = [p for p in phonemes if not p.is_pause]
    vowels = [i for i, p in enumerate(sounds) if p.is_vowel]
    if len(vowels) != len(line.notes):
        heard = " ".join(p.name for p in sounds)
        raise SettingError(f"{line.text!r} has {len(vowels)} syllables ({heard}) but {len(line.notes)} notes")
    starts = [tempo.seconds(note.start_beat) for note in line.notes]
    ends = [tempo.seconds(note.start_beat + note.beats) for note in line.notes]
    plan = _lay_run(sounds[: vowels[0]], end=starts[0])
    for i, vowel in enumerate(vowels):
        last = i + 1 == len(vowels)
        cluster = sounds[vowel + 1 :] if last else sounds[vowel + 1 : vowels[i + 1]]
        limit = ends[i] if last else starts[i + 1]
        rests = last or ends[i] < limit - 0.02
        split = _split(cluster, whole_is_coda=last)
        coda, onset = (cluster[:split], cluster[split:]) if rests else ([], cluster)
        room = max(0.05, limit - starts[i])
        factor = min(1.0, _MAX_CONSONANTS * room / max(1e-9, _length(coda) + _length(onset)))
        onset_from = limit - factor * _length(onset)
        vowel_to = min(ends[i], onset_from) - factor * _length(coda)
        vowel_to = max(vowel_to, starts[i] + 0.35 * room)
        plan += _lay_vowel(sounds[vowel], start=starts[i], end=vowel_to)
        plan += _lay_run(coda, start=vowel_to, factor=factor)
        plan += _lay_run(onset, end=limit, factor=factor)
    return plan


def _split(cluster: Sequence[Phoneme], *, whole_is_coda: bool) -> int:
    """How many consonants between two vowels belong to the first one: those before the next word."""
    if whole_is_coda:
        return len(cluster)
    return next((i for i, p in enumerate(cluster) if p.starts_word), 0)


def _length(sounds: Sequence[Phoneme]) -> float:
    return sum(p.end_s - p.start_s for p in sounds)


def _lay_run(
    sounds: Sequence[Phoneme], *, start: float | None = None, end: float = 0.0, factor: float = 1.0
) -> list[_Stretch]:
    """Lay consonants one after the other, from ``start`` on or so that they finish at ``end``."""
    at = end - factor * _length(sounds) if start is None else start
    laid = []
    for p in sounds:
        to = at + factor * (p.end_s - p.start_s)
        laid.append(_Stretch(source_from=p.start_s, source_to=p.end_s, out_from=at, out_to=to, voiced=p.is_voiced))
        at = to
    return laid


def _lay_vowel(vowel: Phoneme, *, start: float, end: float) -> list[_Stretch]:
    """Lay a vowel so that its edges keep their speed and its middle is stretched."""
    edge = min(_EDGE_S, 0.3 * (vowel.end_s - vowel.start_s), 0.3 * (end - start))
    source = (vowel.start_s, vowel.start_s + edge, vowel.end_s - edge, vowel.end_s)
    out = (start, start + edge, end - edge, end)
    return [
        _Stretch(source_from=source[i], source_to=source[i + 1], out_from=out[i], out_to=out[i + 1], voiced=True)
        for i in range(3)
    ]


def _clocks(plan: Sequence[_Stretch], *, start_s: float, n: int) -> tuple[Signal, NDArray[np.bool_], NDArray[np.bool_]]:
    """For each output sample: which source sample it shows, whether that has a pitch, and whether it sounds at all."""
    source = np.zeros(n)
    voiced = np.zeros(n, dtype=np.bool_)
    sounding = np.zeros(n, dtype=np.bool_)
    for piece in plan:
        a, b = samples_of(piece.out_from - start_s), min(n, samples_of(piece.out_to - start_s))
        if b <= a:
            continue
        source[a:b] = np.linspace(piece.source_from, piece.source_to, b - a, endpoint=False) * RATE_HZ
        voiced[a:b] = piece.voiced
        sounding[a:b] = True
    return source, voiced, sounding


def _melody_hz(
    notes: Sequence[Note], *, singer: Singer, tempo: Tempo, start_s: float, n: int, rng: np.random.Generator
) -> Signal:
    """Pitch of each output sample: notes joined by glides, with vibrato on long ones and a little drift."""
    t = clock(n) + start_s
    midi = np.full(n, float(notes[0].midi))
    extra = np.zeros(n)
    for before, note in zip((notes[0], *notes), notes, strict=False):
        at = tempo.seconds(note.start_beat)
        length = tempo.seconds(note.beats)
        # Two thirds of the glide lie before the beat, on the consonants: the vowel is then in tune from early on.
        progress = np.clip((t - at) / singer.glide_s + 0.67, 0.0, 1.0)
        midi += (note.midi - before.midi) * (0.5 - 0.5 * np.cos(np.pi * progress))
        inside = (t >= at) & (t < at + length)
        since = t[inside] - at
        depth = singer.vibrato_cents / 100.0 * np.clip((since - 0.22) / 0.25, 0.0, 1.0)
        extra[inside] = depth * np.sin(2.0 * np.pi * singer.vibrato_hz * since)
        extra[inside] -= singer.fall_semitones * (since / max(length, 0.15)) ** 1.5
    knots = np.arange(0, n + 4800, 4800)
    drift = np.interp(np.arange(n), knots, 0.06 * rng.standard_normal(len(knots)))
    return np.asarray(440.0 * 2.0 ** ((midi + extra + drift - 69.0) / 12.0))


def _epochs(samples: Signal, speech: Utterance) -> NDArray[np.int64]:
    """Find the glottal pulses: in each voiced run, steps of one period that keep the waveform in phase."""
    period = _period(samples, speech)
    low = _moving_average(samples, max(3, period // 12))
    marks: list[int] = []
    for a, b in _voiced_runs(speech.phonemes):
        run_a, run_b = max(2 * period, samples_of(a)), min(len(samples) - 2 * period, samples_of(b))
        if run_b - run_a < 2 * period:
            continue
        middle = (run_a + run_b) // 2
        seed = middle + int(np.argmax(low[middle : middle + period]))
        forward = _follow(low, seed, period=period, limit=run_b)
        backward = _follow(low[::-1], len(low) - 1 - seed, period=period, limit=len(low) - 1 - run_a)
        marks += sorted({len(low) - 1 - m for m in backward} | set(forward))
    return np.asarray(marks, dtype=np.int64)


def _follow(low: Signal, seed: int, *, period: int, limit: int) -> list[int]:
    """Step from pulse to pulse: each time to where the next period looks most like this one."""
    reach = max(2, period // 8)
    marks = [seed]
    while marks[-1] + period + reach + period // 2 < min(limit, len(low)):
        here = marks[-1]
        shape = low[here - period // 2 : here + period // 2]
        area = low[here + period - reach - period // 2 : here + period + reach + period // 2]
        likeness = np.correlate(area, shape, "valid")
        marks.append(here + period - reach + int(np.argmax(likeness)))
    return marks


def _moving_average(samples: Signal, width: int) -> Signal:
    return np.convolve(samples, np.hanning(width + 2)[1:-1] / np.sum(np.hanning(width + 2)), "same")


def _voiced_runs(phonemes: Sequence[Phoneme]) -> list[tuple[float, float]]:
    runs: list[tuple[float, float]] = []
    for p in phonemes:
        if p.is_pause or not p.is_voiced:
            continue
        if runs and abs(runs[-1][1] - p.start_s) < 1e-6:
            runs[-1] = (runs[-1][0], p.end_s)
        else:
            runs.append((p.start_s, p.end_s))
    return runs


def _period(samples: Signal, speech: Utterance) -> int:
    """Median period of the vowels, samples, by autocorrelation between 50 and 450 Hz."""
    shortest, longest = RATE_HZ // 450, RATE_HZ // 50
    found = []
    for p in speech.phonemes:
        middle = samples_of((p.start_s + p.end_s) / 2.0)
        piece = samples[max(0, middle - longest) : middle + longest]
        if not p.is_vowel or len(piece) < 2 * longest:
            continue
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 4 * longest)) ** 2
        correlation = np.fft.irfft(spectrum)[:longest] / (1.0 - np.arange(longest) / (2.2 * longest))
        found.append(shortest + int(np.argmax(correlation[shortest:])))
    return int(np.median(found))


def _lay_voiced(
    samples: Signal,
    epochs: NDArray[np.int64],
    *,
    source: Signal,
    where: NDArray[np.bool_],
    pitch_hz: Signal,
    jitter: float,
    rng: np.random.Generator,
) -> Signal:
    """Set a grain of two periods down at each period of the melody."""
    n = len(source)
    out = np.zeros(n)
    places = np.flatnonzero(where)
    if not len(places) or len(epochs) < 3:
        return out
    periods = np.clip(np.gradient(epochs.astype(np.float64)), RATE_HZ / 450.0, RATE_HZ / 50.0)
    periods = np.minimum(periods, 1.3 * np.median(periods))
    at = float(places[0])
    while at < n:
        here = int(at)
        if not where[here]:
            later = places[np.searchsorted(places, here) :]
            if not len(later):
                break
            at, here = float(later[0]), int(later[0])
        nearest = _nearest(epochs, source[here])
        half = int(periods[nearest])
        middle = int(epochs[nearest])
        step = RATE_HZ / pitch_hz[here]
        if half <= middle < len(samples) - half and half <= here < n - half:
            grain = samples[middle - half : middle + half] * np.hanning(2 * half)
            out[here - half : here + half] += grain * np.sqrt(step / half)
        at += step * (1.0 + jitter * rng.standard_normal())
    return out


def _nearest(epochs: NDArray[np.int64], place: float) -> int:
    right = int(np.clip(np.searchsorted(epochs, place), 1, len(epochs) - 1))
    return right if epochs[right] - place < place - epochs[right - 1] else right - 1


def _lay_voiceless(samples: Signal, *, source: Signal, where: NDArray[np.bool_]) -> Signal:
    """Lay voiceless sounds in short even grains, faded over 4 ms where they meet the voice."""
    n, half = len(source), samples_of(_GRAIN_S / 2.0)
    out = np.zeros(n)
    window = np.hanning(2 * half + 1)[:-1]
    for here in range(half, n - half, half):
        middle = int(source[here])
        if where[max(0, here - half) : here + half].any() and half <= middle < len(samples) - half:
            out[here - half : here + half] += samples[middle - half : middle + half] * window
    edge = samples_of(0.004)
    return out * np.convolve(where.astype(np.float64), np.ones(edge) / edge, "same")
