"""The speaking voice: espeak-ng's C library through ctypes, with the time of every phoneme.

Only needed to compose the song anew, never to play it. espeak-ng (GPL-3) is a program of the system, loaded here and
not shipped; the sound that it makes is nobody's but ours.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

import numpy as np

from stream_mer.errors import StreamMerError
from tools.demo_song.signal import Signal

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
