"""Second passage, angry (V- A+): a metal riff around C with tritones, 184 beats a minute, shouted."""

from __future__ import annotations

import numpy as np

from tools.demo_song import instruments
from tools.demo_song.dsp import Signal, compress, drive, gain, highpass, lowpass, pan, reverberate, room
from tools.demo_song.instruments import Strum, play, power
from tools.demo_song.mix import Passage, Stage, VocalSound, Voice
from tools.demo_song.score import Line, Tempo, melody
from tools.demo_song.voice import Singer

_BARS = 16
_C, _DFLAT, _EFLAT, _GFLAT, _F = 36, 37, 39, 42, 41
# Each bar of the riff: (beat, beats, root).
_CHUG = tuple((i / 2, 0.5, _C) for i in range(8))
_RIFF = (
    (*_CHUG[:6], (3.0, 0.5, _DFLAT), (3.5, 0.5, _GFLAT)),
    (*_CHUG[:3], (1.5, 1.0, _DFLAT), (2.5, 0.5, _C), (3.0, 1.0, _GFLAT)),
    (*_CHUG[:6], (3.0, 0.5, _EFLAT), (3.5, 0.5, _DFLAT)),
    ((0.0, 1.5, _GFLAT), (1.5, 1.5, _F), (3.0, 1.0, _DFLAT)),
)

_LINES = (
    Line(
        text="Get out of my way, I hate your lies",
        notes=melody("F3:1 Ab3:1.5 F3:.5 F3:1 Bb3:1.5 Ab3:1 B3:1.5 F3:1 Ab3:2", start_beat=4),
    ),
    Line(
        text="I will burn this world, and hear your cries",
        notes=melody("F3:.5 F3:1 B3:1.5 F3:1 Bb3:1.5 F3:.5 B3:1.5 F3:1 Ab3:2", start_beat=16),
    ),
    Line(
        text="You broke my trust, you broke my bones",
        notes=melody("F3:1 B3:1.5 F3:1 Bb3:1.5 F3:1 B3:1.5 F3:1 Ab3:2", start_beat=28),
    ),
    Line(
        text="My hatred is all I have ever known",
        notes=melody("F3:.5 B3:2 F3:1 Bb3:1.5 F3:.5 F3:1 Ab3:1 Bb3:1 Ab3:.5 F3:2", start_beat=40),
    ),
)


def _strums(stage: Stage) -> list[Strum]:
    beat_s = stage.tempo.seconds(1.0)
    strokes = []
    for bar in range(_BARS):
        for at, beats, root in _RIFF[bar % 4]:
            picks = 2 if beats == 0.5 and root == _C else 1  # the low chugging is picked in sixteenths
            for i in range(picks):
                start = (4 * bar + at + i * beats / picks) * beat_s
                strokes.append(Strum(start_s=start, held_s=0.95 * beats / picks * beat_s, chord=power(root)))
    strokes.append(Strum(start_s=stage.beats * beat_s, held_s=1.2, chord=power(_C)))
    return strokes


def _beat(stage: Stage) -> Signal:
    bus, rng = stage.bus(), stage.rng
    kick = instruments.kick(rng, low_hz=56.0, length_s=0.16, click=0.9, hard=2.5)
    snare = instruments.snare(rng, tone_hz=205.0, rattle_s=0.11, bright_hz=5200.0)
    cymbals = [instruments.crash(rng, length_s=0.5) for _ in range(3)]
    for bar in range(_BARS):
        blast = bar % 4 == 3
        for step in range(16):
            beat = 4 * bar + step / 4
            if blast and step % 2 == 1 and step < 12:
                stage.put(bus, snare, beat, level_db=-5.0, loose_s=0.002)
            if step % 8 == 4 and not blast:
                stage.put(bus, snare, beat, level_db=-1.5)
            stage.put(bus, kick, beat, level_db=-4.0 if step % 4 == 0 else -6.5, loose_s=0.001)
            if step % 4 == 0:
                side = 0.45 if bar % 2 else -0.45
                stage.put(bus, cymbals[step // 4 % 3], beat, level_db=-12.0, position=side, loose_s=0.002)
        if blast:
            for i, tone in enumerate((210.0, 160.0, 120.0, 90.0)):
                stage.put(
                    bus, instruments.tom(rng, tone_hz=tone), 4 * bar + 3 + i / 4, level_db=-5.0, position=0.5 - i / 3
                )
    for at in (*range(0, stage.beats, 16), stage.beats):
        stage.put(bus, instruments.crash(rng, length_s=1.2), at, level_db=-7.0, position=0.2)
    stage.put(bus, kick, stage.beats, level_db=-1.0)
    return bus


def _noise_lead(stage: Stage) -> Signal:
    """Dissonant screams of a synth a semitone apart, in the gaps that the voice leaves."""
    bus = stage.bus()
    for start in (0, 52, 56, 60):
        for beat, midi in ((0.0, 76.0), (1.0, 77.0), (2.0, 82.0), (3.0, 77.0)):
            for shift in (0.0, 1.0):
                sound = instruments.lead(midi + shift, stage.tempo.seconds(0.9), bright_hz=5000.0, rng=stage.rng)
                stage.put(bus, sound, start + beat, level_db=-18.0)
    return drive(bus, 4.0) * 0.16


def music(stage: Stage) -> Signal:
    """Two takes of distorted guitar, left and right, a driven bass, double bass drum, screaming synths."""
    n, rng = stage.length_samples, stage.rng
    strokes = _strums(stage)
    guitars = pan(play(strokes, n, gain=21.0, rng=rng), -0.85) + pan(play(strokes, n, gain=19.0, rng=rng), 0.85)
    low = np.zeros(n)
    for stroke in strokes:
        at = stage.tempo.at(stroke.start_s / stage.tempo.seconds(1.0))
        sound = instruments.bass(stroke.chord[0] - 12, stroke.held_s, bright_hz=2400.0, hard=4.0, rng=rng)
        low[at : at + len(sound)] += sound[: n - at]
    beat = _beat(stage)
    small = room(0.7, damping_hz=6000.0, predelay_s=0.006, rng=rng)
    wet = reverberate(highpass(beat, 300.0), small)
    strings = gain(-6.0) * guitars + gain(-16.0) * lowpass(pan(low, 0.0), 3500.0)
    mixed = strings + gain(-9.0) * highpass(beat + gain(-15.0) * wet, 60.0) + gain(-5.0) * _noise_lead(stage)
    return compress(mixed, threshold_db=-12.0, ratio=2.0)


_SHOUT = Singer(
    voice="en-us+m3", pitch=99, speed_wpm=150, vibrato_cents=0.0, glide_s=0.05, fall_semitones=1.5, jitter=0.012
)

PASSAGE = Passage(
    name="angry",
    tempo=Tempo(bpm=184.0),
    beats=4 * _BARS,
    loudness_lufs=-11.0,
    voices=(Voice(singer=_SHOUT, lines=_LINES),),
    vocal=VocalSound(
        over_music_db=-1.5, drive=3.0, presence_db=5.0, room_s=0.5, room_db=-20.0, duck_all_db=0.5, duck_middle_db=3.0
    ),
    music=music,
)
