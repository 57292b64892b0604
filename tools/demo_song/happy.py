"""First passage, happy (V+ A+): a dance tune in D major, 132 beats a minute."""

from __future__ import annotations

from dataclasses import replace

from tools.demo_song import instruments
from tools.demo_song.dsp import Signal, compress, echo, gain, highpass, pump, reverberate, room
from tools.demo_song.mix import Passage, Stage, VocalSound, Voice
from tools.demo_song.score import Line, Tempo, melody
from tools.demo_song.voice import Singer

_BARS = 12
_CHORDS = ((62, 66, 69), (61, 64, 69), (62, 66, 71), (62, 67, 71))  # D, A, B minor, G; one a bar
_ROOTS = (38, 33, 35, 43)
# A bar of the bass: (beat, beats, semitones above the root).
_BASS = ((0.0, 0.4, 0), (0.75, 0.2, 0), (1.0, 0.3, 12), (1.5, 0.4, 0), (2.25, 0.2, 7), (2.5, 0.4, 12), (3.5, 0.4, 12))
_HOOK = "F#5:.75 A5:.75 F#5:.5 E5:.75 D5:.75 E5:.5 F#5:.75 E5:.75 D5:.5 D5:1 B4:.5 D5:.5"

_LINES = (
    Line(
        text="You and I are dancing in the street",
        notes=melody("F#4:.5 F#4:.5 A4:1 -:.5 F#4:.5 F#4:1 E4:.5 D4:.5 D4:.5 E4:1.25", start_beat=8),
    ),
    Line(
        text="I can feel the rhythm in my feet",
        notes=melody("D4:.5 E4:.5 F#4:1 -:.5 E4:.5 F#4:1 E4:.5 D4:.5 D4:.5 D4:1.25", start_beat=16),
    ),
    Line(
        text="Clap your hands and come and sing with me",
        notes=melody("F#4:.5 F#4:.5 A4:1 -:.5 F#4:.5 A4:1 F#4:.5 F#4:.5 F#4:.5 E4:1.25", start_beat=24),
    ),
    Line(
        text="I'm so happy, feeling wild and free",
        notes=melody("D4:.5 E4:.5 F#4:1 F#4:1 G4:1 F#4:.5 E4:1 E4:.5 D4:1.25", start_beat=32),
    ),
)


def _beat(stage: Stage) -> Signal:
    bus, rng = stage.bus(), stage.rng
    kick, clap, snare = (
        instruments.kick(rng),
        instruments.clap(rng),
        instruments.snare(rng, tone_hz=210.0, rattle_s=0.07),
    )
    closed = [instruments.hat(rng) for _ in range(3)]
    opened, jingle, egg = instruments.hat(rng, length_s=0.12), instruments.tambourine(rng), instruments.shaker(rng)
    for beat in range(stage.beats):
        stage.put(bus, kick, beat, level_db=-1.0)
        stage.put(bus, opened, beat + 0.5, level_db=-13.0, position=0.15)
        if beat % 2:
            stage.put(bus, clap, beat, level_db=-6.0, position=-0.05)
            stage.put(bus, snare, beat, level_db=-9.0)
            stage.put(bus, jingle, beat, level_db=-15.0, position=0.4)
        for step in range(4):
            accent = -17.0 if step % 2 else -20.0
            stage.put(bus, closed[step % 3], beat + step / 4, level_db=accent, position=-0.3, loose_s=0.002)
            stage.put(bus, egg, beat + step / 4, level_db=accent - 1.0, position=0.5, loose_s=0.003)
    for i in range(6):
        stage.put(bus, snare, stage.beats - 1.5 + i / 4, level_db=-13.0 + i)
    for bar in (0, 2, 6, 10):
        stage.put(bus, instruments.crash(rng), 4 * bar, level_db=-13.0, position=0.3 if bar % 4 else -0.3)
    return bus


def _harmony(stage: Stage) -> Signal:
    """Stabs on the syncopated beats, and brass between them."""
    bus, rng = stage.bus(), stage.rng
    for bar in range(_BARS):
        chord = _CHORDS[bar % 4]
        wide = (*chord, chord[0] + 12)
        for at, beats in ((0.0, 0.7), (0.75, 0.4), (1.5, 0.7), (2.5, 0.7), (3.25, 0.6)):
            sound = instruments.stab(wide, stage.tempo.seconds(beats), bright_hz=8000.0, rng=rng)
            stage.put(bus, sound, 4 * bar + at, level_db=-13.0)
        for at, beats in ((0.0, 0.35), (1.5, 0.3), (2.0, 0.3), (3.5, 0.35)):
            for midi in wide:
                sound = instruments.lead(midi + 12, stage.tempo.seconds(beats), bright_hz=5000.0, rng=rng)
                stage.put(bus, sound, 4 * bar + at, level_db=-20.0, loose_s=0.002)
    return bus


def _low(stage: Stage) -> Signal:
    """A bass that dances."""
    bus = stage.bus()
    for bar in range(_BARS):
        for at, beats, shift in _BASS:
            midi = _ROOTS[bar % 4] + shift
            sound = instruments.bass(midi, stage.tempo.seconds(beats), bright_hz=2600.0, hard=2.5, rng=stage.rng)
            stage.put(bus, sound, 4 * bar + at, level_db=-8.0)
    return bus


def _hook(stage: Stage) -> Signal:
    bus = stage.bus()
    for start, shift in ((0, 0), (40, 0)):
        for note in melody(_HOOK, start_beat=start):
            length = stage.tempo.seconds(note.beats * 0.9)
            stage.put(
                bus, instruments.lead(note.midi + shift, length, bright_hz=6000.0, rng=stage.rng), note.start_beat
            )
            stage.put(bus, instruments.bells(note.midi + 12, length, rng=stage.rng), note.start_beat, level_db=-12.0)
    return bus * gain(-13.0)


def music(stage: Stage) -> Signal:
    """Four on the floor, stabs, brass, a dancing bass and a hook; the chords breathe with the kick."""
    beat, harmony, low, hook = _beat(stage), _harmony(stage), _low(stage), _hook(stage)
    beats_at = [stage.tempo.at(b) for b in range(stage.beats)]
    breathing = pump(stage.length_samples, beats_at, depth=0.25, time_s=0.16)
    hook = hook + gain(-9.0) * echo(hook, delay_s=stage.tempo.seconds(0.75), feedback=0.6)
    hall = room(1.1, damping_hz=5000.0, rng=stage.rng)
    wet = reverberate(highpass(harmony + 0.8 * hook + 0.25 * highpass(beat, 400.0), 250.0), hall)
    mixed = (harmony + hook + gain(-17.0) * wet) * breathing + low * pump(
        stage.length_samples, beats_at, depth=0.3, time_s=0.1
    )
    return compress(mixed + beat, threshold_db=-14.0, ratio=2.0)


_SINGER = Singer(voice="en-us+f5", pitch=85, speed_wpm=150, vibrato_cents=8.0)

PASSAGE = Passage(
    name="happy",
    tempo=Tempo(bpm=132.0),
    beats=4 * _BARS,
    loudness_lufs=-11.5,
    voices=(
        Voice(singer=_SINGER, lines=_LINES),
        Voice(singer=replace(_SINGER, pitch=84, speed_wpm=149), lines=_LINES, level_db=-11.0, position=0.6),
    ),
    vocal=VocalSound(over_music_db=0.5, room_s=0.8, room_db=-24.0, duck_all_db=0.5, duck_middle_db=2.0),
    music=music,
)
