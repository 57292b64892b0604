"""From passages to the finished song: voices over music, one passage after the other, and the last gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.demo_song.effects import compress, drive, duck, echo, limit, loudness, reverberate, room
from tools.demo_song.filters import bell, highpass, shelf
from tools.demo_song.signal import Signal, add_at, fade, gain, normal, pan, samples_of
from tools.demo_song.stage import TAIL_S, Passage, Stage
from tools.demo_song.voice import sing

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
