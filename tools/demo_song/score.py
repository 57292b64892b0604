"""How the song is written down: notes, sung lines and passages, in beats.

Melodies are strings of ``PITCH:BEATS`` joined by spaces: ``"A4:1 C#5:.5 -:.5"``; ``-`` is a rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from stream_mer.errors import SettingError
from tools.demo_song.dsp import samples_of

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def midi_of(name: str) -> int:
    """MIDI number of a pitch such as ``A4`` (69), ``C#5`` or ``Bb3``.

    Raises:
        SettingError: It is not the name of a pitch.
    """
    letter, accidental, octave = name[:1].upper(), name[1:-1], name[-1:]
    if letter not in _STEPS or accidental not in {"", "#", "b"} or not octave.isdigit():
        raise SettingError(
            f"{name!r} is not a pitch: write a letter A to G, # or b if wanted, and an octave, as in C#5"
        )
    return 12 * (int(octave) + 1) + _STEPS[letter] + {"": 0, "#": 1, "b": -1}[accidental]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note: where it starts and how long it lasts, in beats from the start of its passage, and its MIDI number."""

    start_beat: float
    beats: float
    midi: float


def melody(text: str, *, start_beat: float = 0.0) -> tuple[Note, ...]:
    """Read a melody; rests move time on and give no note.

    Raises:
        SettingError: A word of the text is not ``PITCH:BEATS``.
    """
    names, lengths = [], []
    for word in text.split():
        name, colon, beats = word.partition(":")
        try:
            lengths.append(float(beats))
        except ValueError:
            raise SettingError(f"{word!r} in a melody is not PITCH:BEATS, as in A4:1.5") from None
        if not colon or lengths[-1] <= 0:
            raise SettingError(f"{word!r} in a melody needs a length above 0 beats")
        names.append(name)
    starts = accumulate(lengths, initial=start_beat)
    return tuple(
        Note(start_beat=start, beats=beats, midi=midi_of(name))
        for name, beats, start in zip(names, lengths, starts, strict=False)
        if name != "-"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A sung line: one note for each syllable of the text."""

    text: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """Speed of a passage."""

    bpm: float

    def at(self, beat: float) -> int:
        """Sample at which a beat falls, from the start of the passage."""
        return samples_of(self.seconds(beat))

    def seconds(self, beats: float) -> float:
        """Length of some beats, seconds."""
        return beats * 60.0 / self.bpm
