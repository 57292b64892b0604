"""Where the parts of a passage meet: what a passage is, and the bus that its players play to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tools.demo_song.score import Line, Tempo
from tools.demo_song.signal import Signal, add_at, gain, pan, samples_of
from tools.demo_song.voice import Singer

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
