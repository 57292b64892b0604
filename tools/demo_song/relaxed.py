"""Fourth passage, relaxed (V+ A-): warm chords, a plucked guitar and a soft bass in F major, 92 beats a minute."""

from __future__ import annotations

from dataclasses import replace

from tools.demo_song import instruments
from tools.demo_song.dsp import Signal, chorus, echo, gain, lowpass, reverberate, room
from tools.demo_song.mix import Passage, Stage, VocalSound, Voice
from tools.demo_song.score import Line, Tempo, melody
from tools.demo_song.voice import Singer

# F major 7 (twice), D minor 7, B flat major 7, C 9, F major 7, D minor 7, B flat major 7, C to F.
_CHORDS = (
    (41, (57, 60, 64, 67)),
    (41, (57, 60, 64, 67)),
    (38, (57, 60, 65, 69)),
    (34, (58, 62, 65, 69)),
    (36, (58, 62, 64, 67)),
    (41, (57, 60, 64, 67)),
    (38, (57, 60, 65, 69)),
    (34, (58, 62, 65, 69)),
    (36, (55, 60, 64, 67)),
)

_LINES = (
    Line(text="Lay your head beside the sea", notes=melody("C4:1 F4:.5 A4:1.5 G4:.5 F4:1 G4:.5 A4:2", start_beat=4)),
    Line(
        text="Close your eyes and breathe with me",
        notes=melody("D4:1 F4:.5 A4:1.5 A4:.5 G4:1 F4:.5 G4:2", start_beat=12),
    ),
    Line(
        text="Summer breeze and morning light", notes=melody("C4:1 F4:.5 A4:1.5 G4:.5 F4:1 G4:.5 A4:2", start_beat=20)
    ),
    Line(text="We are safe and warm tonight", notes=melody("D4:1 F4:.5 G4:1.5 F4:.5 G4:1 E4:.5 F4:2", start_beat=28)),
)


def _plucks(stage: Stage) -> Signal:
    bus = stage.bus()
    for bar, (_, chord) in enumerate(_CHORDS):
        for step, index in enumerate((0, 2, 1, 3, 2, 1, 3, 2)):
            strength = 0.55 if step % 4 == 0 else 0.35
            sound = instruments.guitar(chord[index], stage.tempo.seconds(1.8), strength=strength, rng=stage.rng)
            stage.put(bus, sound, 4 * bar + step / 2, level_db=-8.0, position=-0.35 + 0.1 * index, loose_s=0.007)
    return bus


def _warmth(stage: Stage) -> Signal:
    bus = stage.bus()
    for bar, (_, chord) in enumerate(_CHORDS):
        sound = instruments.pad(chord, stage.tempo.seconds(4.0), bright_hz=1100.0, rng=stage.rng)
        stage.put(bus, sound, 4 * bar, level_db=-15.0)
        for i, midi in enumerate(chord):
            sound = instruments.electric_piano(midi, stage.tempo.seconds(3.6), strength=0.25, rng=stage.rng)
            stage.put(bus, sound, 4 * bar + 0.02 * i, level_db=-21.0, position=0.3, loose_s=0.005)
    return bus


def _pulse(stage: Stage) -> Signal:
    """Bass and the softest of percussion."""
    bus = stage.bus()
    egg = instruments.shaker(stage.rng, length_s=0.06)
    soft = lowpass(instruments.kick(stage.rng, low_hz=45.0, click=0.0, hard=1.1), 220.0)
    for bar, (root, _) in enumerate(_CHORDS):
        for at, beats, shift in ((0.0, 2.4, 0), (2.5, 1.3, 7 if bar % 2 else 0)):
            stage.put(
                bus, instruments.round_bass(root + shift, stage.tempo.seconds(beats)), 4 * bar + at, level_db=-14.0
            )
        stage.put(bus, soft, 4 * bar, level_db=-14.0)
        stage.put(bus, soft, 4 * bar + 2.5, level_db=-17.0)
        for step in range(8 if bar else 0):
            level = -31.0 if step % 2 == 0 else -27.0
            stage.put(bus, egg, 4 * bar + step / 2, level_db=level, position=0.4, loose_s=0.006)
    return bus


def music(stage: Stage) -> Signal:
    """Guitar, pad and electric piano in a wide room, bells now and then."""
    plucks, warmth = _plucks(stage), chorus(_warmth(stage), mix=0.4)
    shine = stage.bus()
    for beat, midi in ((3.0, 81.0), (3.5, 79.0), (11.0, 84.0), (19.0, 79.0), (19.5, 81.0), (27.0, 84.0), (34.0, 81.0)):
        stage.put(shine, instruments.bells(midi, 0.6, rng=stage.rng), beat, level_db=-27.0, position=0.5)
    plucks = plucks + gain(-13.0) * echo(plucks, delay_s=stage.tempo.seconds(0.75), feedback=0.5)
    shine = shine + gain(-6.0) * echo(shine, delay_s=stage.tempo.seconds(0.75), feedback=0.6)
    wide = room(2.4, damping_hz=3600.0, predelay_s=0.025, rng=stage.rng)
    dry = lowpass(plucks + warmth + shine, 7000.0)
    return dry + gain(-10.0) * reverberate(dry, wide) + _pulse(stage)


_SINGER = Singer(voice="en-us+f4", pitch=90, speed_wpm=130, glide_s=0.09)

PASSAGE = Passage(
    name="relaxed",
    tempo=Tempo(bpm=92.0),
    beats=4 * len(_CHORDS),
    loudness_lufs=-17.5,
    voices=(
        Voice(singer=_SINGER, lines=_LINES),
        Voice(singer=replace(_SINGER, pitch=88), lines=_LINES, level_db=-13.0, position=-0.6),
    ),
    vocal=VocalSound(
        over_music_db=3.0,
        presence_db=2.5,
        room_s=2.0,
        room_db=-17.0,
        echo_beats=1.5,
        echo_db=-25.0,
        duck_all_db=1.0,
        duck_middle_db=2.5,
    ),
    music=music,
)
