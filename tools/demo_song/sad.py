"""Third passage, sad (V- A-): piano, strings and a far guitar in G minor, a slow three, 70 beats a minute."""

from __future__ import annotations

from tools.demo_song import instruments
from tools.demo_song.dsp import Signal, gain, pan, reverberate, room
from tools.demo_song.instruments import Strum, play
from tools.demo_song.mix import Passage, Stage, VocalSound, Voice
from tools.demo_song.score import Line, Tempo, melody
from tools.demo_song.voice import Singer

# One chord a bar of three: G minor, G minor, E flat, C minor, G minor, E flat, B flat over D, D, G minor.
_CHORDS = (
    (43, 55, 58, 62),
    (43, 55, 58, 62),
    (39, 55, 58, 63),
    (36, 55, 60, 63),
    (43, 55, 58, 62),
    (39, 55, 58, 63),
    (38, 53, 58, 62),
    (38, 54, 57, 62),
    (43, 55, 58, 62),
)

_OPENING = "D5:1 C5:.5 Bb4:1"

_LINES = (
    Line(
        text="You are gone, and the house is cold",
        notes=melody("D4:.5 C4:.5 D4:1.5 Bb3:.5 Bb3:.5 Bb3:1 A3:.5 G3:1", start_beat=3),
    ),
    Line(
        text="I cry alone in the empty room",
        notes=melody("C4:.5 Eb4:1 D4:.5 C4:1 Bb3:.5 A3:.5 Bb3:.5 A3:.5 G3:1", start_beat=9),
    ),
    Line(
        text="Tears are falling like the rain", notes=melody("G4:1 F4:.5 Eb4:1 D4:.5 D4:.5 C4:.5 D4:2", start_beat=15)
    ),
    Line(
        text="I will never see you again",
        notes=melody("A3:.5 A3:.5 C4:1 A3:.5 A3:.5 Bb3:.75 A3:.5 G3:1.75", start_beat=21),
    ),
)


def music(stage: Stage) -> Signal:
    """A chord a bar on a soft piano with a deep octave under it, dark strings behind, a guitar far off."""
    rng = stage.rng
    hands, section = stage.bus(), stage.bus()
    for bar, (low, *upper) in enumerate(_CHORDS):
        start, length = 3.0 * bar, stage.tempo.seconds(3.0)
        for midi, level_db in ((low - 12, -12.0), *((midi, -6.0) for midi in (low, *upper))):
            sound = instruments.piano(midi, length, strength=0.3, rng=rng)
            stage.put(hands, sound, start, level_db=level_db, position=(midi - 57) / 40, loose_s=0.01)
        sound = instruments.piano(upper[1], stage.tempo.seconds(1.0), strength=0.2, rng=rng)
        stage.put(hands, sound, start + 2.0, level_db=-8.0, loose_s=0.01)
        stage.put(section, instruments.strings(low, length, bright_hz=900.0, rng=rng), start, level_db=-21.0)
        for midi in upper if bar else ():
            sound = instruments.strings(midi - 12, length, bright_hz=1400.0, attack_s=0.7, release_s=0.9, rng=rng)
            stage.put(section, sound, start, level_db=-27.0)
    for note in melody(_OPENING, start_beat=0.5):
        sound = instruments.piano(note.midi, stage.tempo.seconds(1.5), strength=0.3, rng=rng)
        stage.put(hands, sound, note.start_beat, level_db=-6.0, position=0.2, loose_s=0.008)
    beats = range(0, 3 * len(_CHORDS), 3)
    strums = [
        Strum(start_s=stage.tempo.seconds(beat), held_s=stage.tempo.seconds(2.9), chord=(low, low + 7))
        for beat, (low, *_) in zip(beats, _CHORDS, strict=True)
    ]
    far = pan(play(strums, stage.length_samples, gain=12.0, rng=rng), -0.4)
    hall = room(2.2, damping_hz=2600.0, predelay_s=0.03, rng=rng)
    dry = hands + section + gain(-10.0) * far
    return dry + gain(-13.0) * reverberate(dry, hall)


_SINGER = Singer(voice="en-us+f5", pitch=74, speed_wpm=125, vibrato_cents=8.0, glide_s=0.1)

PASSAGE = Passage(
    name="sad",
    tempo=Tempo(bpm=70.0),
    beats=3 * len(_CHORDS),
    loudness_lufs=-19.0,
    voices=(Voice(singer=_SINGER, lines=_LINES),),
    vocal=VocalSound(
        over_music_db=3.5, presence_db=2.5, room_s=1.8, room_db=-21.0, duck_all_db=1.0, duck_middle_db=2.5
    ),
    music=music,
)
