"""Third passage, sad (V- A-): piano and strings in A minor, a slow three, 70 beats a minute."""

from __future__ import annotations

from stream_mer.demo import keys, synths
from stream_mer.demo.effects import reverberate, room
from stream_mer.demo.filters import lowpass
from stream_mer.demo.score import Line, Tempo, melody
from stream_mer.demo.signal import Signal, gain
from stream_mer.demo.stage import Passage, Stage, VocalSound, Voice
from stream_mer.demo.voice import Singer

# One chord a bar of three: A minor, A minor, F, D minor, A minor, F, C over E, E, A minor.
_CHORDS = (
    (45, 57, 60, 64),
    (45, 57, 60, 64),
    (41, 57, 60, 65),
    (38, 57, 62, 65),
    (45, 57, 60, 64),
    (41, 57, 60, 65),
    (40, 55, 60, 64),
    (40, 56, 59, 64),
    (45, 57, 60, 64),
)

_LINES = (
    Line(
        text="You are gone, and the house is cold",
        notes=melody("E4:.5 D4:.5 E4:1.5 C4:.5 C4:.5 C4:1 B3:.5 A3:1", start_beat=3),
    ),
    Line(
        text="I cry alone in the empty room",
        notes=melody("D4:.5 F4:1 E4:.5 D4:1 C4:.5 B3:.5 C4:.5 B3:.5 A3:1", start_beat=9),
    ),
    Line(text="Tears are falling like the rain", notes=melody("A4:1 G4:.5 F4:1 E4:.5 E4:.5 D4:.5 E4:2", start_beat=15)),
    Line(
        text="I will never see you again",
        notes=melody("B3:.5 B3:.5 D4:1 B3:.5 B3:.5 C4:.75 B3:.5 A3:1.75", start_beat=21),
    ),
)


def music(stage: Stage) -> Signal:
    """A broken chord a bar on a soft piano, dark strings above a cello."""
    rng = stage.rng
    hands, section = stage.bus(), stage.bus()
    for bar, (low, *upper) in enumerate(_CHORDS):
        start = 3.0 * bar
        for beat, midi, strength in (
            (0.0, low, 0.35),
            (0.5, upper[0], 0.2),
            (1.0, upper[1], 0.25),
            (1.5, upper[2], 0.28),
            (2.0, upper[1], 0.2),
            (2.5, upper[0], 0.15),
        ):
            sound = keys.piano(midi, stage.tempo.seconds(3.0 - beat), strength=strength, rng=rng)
            stage.put(hands, sound, start + beat, level_db=-6.0, position=(midi - 57) / 40, loose_s=0.009)
        length = stage.tempo.seconds(3.0)
        stage.put(section, synths.strings(low, length, bright_hz=900.0, rng=rng), start, level_db=-20.0)
        for midi in upper if bar else ():
            sound = synths.strings(midi, length, bright_hz=1500.0, attack_s=0.7, release_s=0.9, rng=rng)
            stage.put(section, sound, start, level_db=-27.0 + 0.5 * bar)
    for note in melody("E5:1 D5:.5 C5:1.5", start_beat=0.0):
        sound = keys.piano(note.midi, stage.tempo.seconds(2.0), strength=0.3, rng=rng)
        stage.put(hands, sound, note.start_beat, level_db=-4.0, position=0.2, loose_s=0.008)
    hall = room(3.2, damping_hz=2600.0, predelay_s=0.03, rng=rng)
    dry = lowpass(hands, 4200.0) + section
    return dry + gain(-8.0) * reverberate(dry, hall)


_SINGER = Singer(voice="en-us+f5", pitch=80, speed_wpm=125, vibrato_cents=18.0, glide_s=0.1)

PASSAGE = Passage(
    name="sad",
    tempo=Tempo(bpm=70.0),
    beats=3 * len(_CHORDS),
    loudness_lufs=-19.0,
    voices=(Voice(singer=_SINGER, lines=_LINES),),
    vocal=VocalSound(
        over_music_db=3.0, presence_db=2.5, room_s=2.6, room_db=-14.0, duck_all_db=1.0, duck_middle_db=2.5
    ),
    music=music,
)
