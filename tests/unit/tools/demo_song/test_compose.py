from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest
from click.testing import CliRunner

from stream_mer.types import CATEGORIES
from tools.demo_song import compose, instruments
from tools.demo_song.dsp import RATE_HZ, gain, peak, samples_of
from tools.demo_song.mix import CEILING_DB, TAIL_S, join, render


def decoded(path):
    """Samples of an audio file, shape [channels, n], and its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        planes = av.AudioResampler(format="fltp")
        blocks = [out.to_ndarray() for frame in container.decode(stream) for out in planes.resample(frame)]
        return np.concatenate(blocks, axis=1), stream.rate


def short(passage):
    """Two bars of a passage."""
    return replace(passage, beats=8)


def one_beat(stage):
    """A cheap accompaniment that draws from chance as the real ones do."""
    bus = stage.bus()
    for beat in range(stage.beats):
        stage.put(bus, instruments.snare(stage.rng), beat, loose_s=0.01)
    return bus


def test_the_song_has_one_passage_for_each_quadrant_in_order():
    assert tuple(p.name for p in compose.PASSAGES) == CATEGORIES


def test_each_passage_is_long_enough_for_the_context_and_starts_where_the_last_ends():
    starts = compose.starts_s()
    assert starts[0] == 0.0
    assert all(b - a >= 20.0 for a, b in pairwise(starts))
    assert 64.0 <= starts[-1] <= 100.0


@pytest.mark.parametrize("passage", compose.PASSAGES, ids=lambda p: p.name)
def test_words_stay_within_their_passage_and_do_not_overlap(passage):
    for voice in passage.voices:
        notes = [note for line in voice.lines for note in line.notes]
        assert notes[-1].start_beat + notes[-1].beats <= passage.beats
        for before, after in pairwise(notes):
            assert before.start_beat + before.beats <= after.start_beat + 1e-9


@pytest.mark.parametrize("passage", compose.PASSAGES, ids=lambda p: p.name)
def test_each_passage_plays_at_its_loudness_without_clipping(passage):
    sound = render(passage, seed=1, with_voices=False)
    assert sound.shape == (2, passage.length_samples + samples_of(TAIL_S))
    assert np.isfinite(sound).all()
    assert peak(sound) <= gain(CEILING_DB) + 1e-9
    body = sound[:, : passage.length_samples]
    assert compose.loudness(body) == pytest.approx(passage.loudness_lufs, abs=1.0)


def test_the_same_seed_gives_the_same_samples_and_another_one_others():
    passage = replace(short(compose.PASSAGES[0]), music=one_beat)
    first, again, other = (render(passage, seed=s, with_voices=False) for s in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_joining_lets_each_passage_ring_into_the_next():
    passage = replace(short(compose.PASSAGES[0]), music=one_beat)
    part = np.full((2, passage.length_samples + samples_of(TAIL_S)), 0.1)
    song = join([(passage, part), (passage, part)])
    assert song.shape == (2, 2 * passage.length_samples + RATE_HZ)
    assert song[0, passage.length_samples - 10] == pytest.approx(0.1)
    assert song[0, passage.length_samples + 10] == pytest.approx(0.2)
    assert abs(song[0, 0]) < 1e-9
    assert abs(song[0, -1]) < 1e-3


def test_encoding_and_decoding_keep_the_sound(tmp_path):
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = 0.3 * np.stack([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 660 * t)])
    compose.encode(tone, tmp_path / "tone.ogg", bitrate_bps=96_000)
    back, rate = decoded(tmp_path / "tone.ogg")
    assert rate == RATE_HZ
    assert back.shape[0] == 2
    assert abs(back.shape[1] - 2 * RATE_HZ) <= 0.05 * RATE_HZ
    assert np.std(back[:, RATE_HZ // 2 : RATE_HZ], axis=1) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_encoding_twice_gives_the_same_file(tmp_path, rng):
    hiss = 0.1 * rng.standard_normal((2, RATE_HZ))
    for name in ("a.ogg", "b.ogg"):
        compose.encode(hiss, tmp_path / name, bitrate_bps=80_000)
    assert (tmp_path / "a.ogg").read_bytes() == (tmp_path / "b.ogg").read_bytes()


def test_the_packaged_song_is_what_the_documentation_says(packaged_song):
    assert packaged_song.stat().st_size <= 1_000_000
    sound, rate = decoded(packaged_song)
    assert rate == RATE_HZ
    assert sound.shape[0] == 2
    assert sound.shape[1] / rate == pytest.approx(compose.starts_s()[-1] + 1.0, abs=0.1)
    assert np.isfinite(sound).all()
    assert peak(sound) < 1.1
    starts = [round(s * rate) for s in compose.starts_s()]
    levels = [compose.loudness(sound[:, a:b]) for a, b in pairwise(starts)]
    # Loud passages first, quiet ones after; each within 1.5 LU of the score: the codec and the tail before it.
    assert levels == pytest.approx([p.loudness_lufs for p in compose.PASSAGES], abs=1.5)


def test_the_packaged_words_are_those_of_the_score(packaged_song):
    assert packaged_song.with_suffix(".lrc").read_text(encoding="utf-8") == compose.lyrics_lrc()


def test_the_command_composes_a_song(tmp_path, monkeypatch):
    monkeypatch.setattr(compose, "PASSAGES", (replace(short(compose.PASSAGES[0]), music=one_beat),))
    done = CliRunner().invoke(compose.main, ["--out", str(tmp_path / "song.ogg"), "--no-voice"])
    assert done.exit_code == 0, done.output
    sound, _ = decoded(tmp_path / "song.ogg")
    assert sound.shape[1] / RATE_HZ == pytest.approx(compose.PASSAGES[0].tempo.seconds(8) + 1.0, abs=0.1)


def test_a_place_that_cannot_be_written_gives_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(compose, "PASSAGES", (replace(short(compose.PASSAGES[0]), music=one_beat),))
    done = CliRunner().invoke(compose.main, ["--out", str(tmp_path / "no" / "song.ogg"), "--no-voice"])
    assert done.exit_code == 1
    assert "cannot be written" in " ".join(done.output.split())  # a long path wraps the line
    assert "Traceback" not in done.output


def test_help_says_what_is_needed():
    done = CliRunner().invoke(compose.main, ["--help"])
    assert done.exit_code == 0
    assert "espeak-ng" in done.output
