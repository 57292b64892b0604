"""Mixing: the bus that the players of a passage play to, voices over music, one passage after the other, mastering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tools.demo_song.dsp import (
    Signal,
    add_at,
    bell,
    compress,
    drive,
    duck,
    echo,
    fade,
    gain,
    highpass,
    limit,
    loudness,
    normal,
    pan,
    reverberate,
    room,
    samples_of,
    shelf,
)
from tools.demo_song.score import Line, Tempo
from tools.demo_song.voice import Singer, sing

# A passage, and the bus that its players play to.


TAIL_S = 2.5
"""How long the sound of a passage may ring on into the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice in a passage.

    Attributes:
        singer: Who sings.
        lines: What.
        level_db: Against the lead.
        position: -1 (left) to 1 (right).
    """

    singer: Singer
    lines: tuple[Line, ...]
    level_db: float = 0.0
    position: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VocalSound:
    """How the voices of a passage are treated and mixed.

    Attributes:
        over_music_db: Loudness against the music.
        drive: Clipping, 0 for none.
        presence_db: Lift at 3 kHz.
        room_s: Time that its reverberation takes to fall by 60 dB.
        room_db: Level of that reverberation.
        echo_beats: Distance of its echoes, 0 for none.
        echo_db: Level of the echoes.
        duck_all_db: How far the music steps back while it sounds.
        duck_middle_db: How far the music's middle does on top.
    """

    over_music_db: float
    drive: float = 0.0
    presence_db: float = 4.0
    room_s: float = 1.2
    room_db: float = -16.0
    echo_beats: float = 0.0
    echo_db: float = -18.0
    duck_all_db: float = 1.5
    duck_middle_db: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One passage of the song.

    Attributes:
        name: The emotion that it is meant to have.
        tempo: Its speed.
        beats: Its length.
        loudness_lufs: Its loudness in the mix.
        voices: The lead first.
        vocal: How they sound.
        music: Plays the accompaniment; gets an empty stage and returns it mixed, stereo.
    """

    name: str
    tempo: Tempo
    beats: int
    loudness_lufs: float
    voices: tuple[Voice, ...]
    vocal: VocalSound
    music: Callable[[Stage], Signal]

    @property
    def length_samples(self) -> int:
        return self.tempo.at(self.beats)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """What the players of a passage share: its speed, its length with the tail, and the chance they draw from."""

    tempo: Tempo
    beats: int
    rng: np.random.Generator = field(repr=False)

    @property
    def length_samples(self) -> int:
        return self.tempo.at(self.beats) + samples_of(TAIL_S)

    def bus(self) -> Signal:
        """A silent stereo bus, shape ``[2, length_samples]``."""
        return np.zeros((2, self.length_samples))

    def put(
        self,
        bus: Signal,
        sound: Signal,
        beat: float,
        *,
        level_db: float = 0.0,
        position: float = 0.0,
        loose_s: float = 0.0,
    ) -> None:
        """Play a sound on a beat; ``loose_s`` is how far hands may miss it (standard deviation)."""
        late = loose_s * self.rng.standard_normal() if loose_s else 0.0
        placed = sound if sound.ndim == 2 else pan(sound, position)
        add_at(bus, placed * gain(level_db), self.tempo.at(beat) + samples_of(late))


# Rendering and joining passages.


CEILING_DB = -1.0
"""No sample of the song is above this, full scale; coding may add a few tenths of a decibel."""


def render(passage: Passage, *, seed: int, with_voices: bool = True) -> Signal:
    """Play and sing one passage; stereo, its own length and ``TAIL_S`` more.

    Args:
        passage: What to play.
        seed: Of everything that chance decides; the same seed gives the same samples.
        with_voices: False leaves the voices out, and espeak-ng is not needed.

    Raises:
        StreamMerError: espeak-ng is missing, or a line has not as many notes as syllables.
    """
    rng = np.random.default_rng(seed)
    music = passage.music(Stage(tempo=passage.tempo, beats=passage.beats, rng=rng))
    music = music * gain(-20.0 - loudness(music))
    if not with_voices:
        return _at_loudness(music, passage)
    sound = passage.vocal
    dry = _voices(passage, rng)
    dry = dry * gain(-20.0 + sound.over_music_db - loudness(dry))
    wet = gain(sound.room_db) * reverberate(dry, room(sound.room_s, damping_hz=4000.0, predelay_s=0.03, rng=rng))
    if sound.echo_beats:
        delay_s = passage.tempo.seconds(sound.echo_beats)
        wet += gain(sound.echo_db) * echo(dry, delay_s=delay_s, feedback=0.7)
    beneath = duck(music, dry, all_db=sound.duck_all_db, middle_db=sound.duck_middle_db)
    return _at_loudness(beneath + dry + wet, passage)


def _voices(passage: Passage, rng: np.random.Generator) -> Signal:
    bus = np.zeros((2, passage.length_samples + samples_of(TAIL_S)))
    for voice in passage.voices:
        for line in voice.lines:
            start, sung = sing(line, singer=voice.singer, tempo=passage.tempo, rng=rng)
            add_at(bus, pan(_treat(sung, passage), voice.position) * gain(voice.level_db), start)
    return bus


def _treat(sung: Signal, passage: Passage) -> Signal:
    """Clean, brighten, even out and, where wanted, drive a voice."""
    sound = passage.vocal
    voice = shelf(bell(highpass(sung, 110.0), 3000.0, sound.presence_db, 1.6), 6000.0, sound.presence_db)
    voice = compress(normal(voice), threshold_db=-20.0, ratio=3.0)
    if sound.drive:
        voice = 0.45 * normal(voice) + 0.55 * normal(drive(normal(voice), sound.drive))
    return normal(voice)


def _at_loudness(mixed: Signal, passage: Passage) -> Signal:
    body = mixed[:, : passage.length_samples]
    for _ in range(3):  # the limiter takes some loudness away: give it back
        held = limit(mixed * gain(passage.loudness_lufs - loudness(body)), CEILING_DB)
        body = body * gain(-(passage.loudness_lufs - loudness(held[:, : passage.length_samples])))
    return held


def join(parts: Sequence[tuple[Passage, Signal]]) -> Signal:
    """Put rendered passages one after the other, each ringing into the next; stereo.

    The last one's tail fades within a second, and the start fades in within 5 ms, so that the song can loop.
    """
    ends = np.cumsum([passage.length_samples for passage, _ in parts])
    song = np.zeros((2, int(ends[-1]) + samples_of(1.0)))
    for end, (passage, rendered) in zip(ends, parts, strict=True):
        add_at(song, rendered, int(end) - passage.length_samples)
    return limit(fade(song, 0.005, 1.0), CEILING_DB)
