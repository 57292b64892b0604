from itertools import pairwise

import numpy as np
import pytest

from stream_mer.errors import SettingError, StreamMerError
from tools.demo_song import voice
from tools.demo_song.dsp import RATE_HZ
from tools.demo_song.score import Line, Tempo, melody
from tools.demo_song.voice import Singer, sing

STEADY = Singer(voice="en-us+f5", pitch=80, speed_wpm=130, vibrato_cents=0.0, jitter=0.0, glide_s=0.03)
TEMPO = Tempo(bpm=60.0)


def pitch_hz(sound):
    """Pitch by autocorrelation, 100 to 600 Hz."""
    piece = sound * np.hanning(len(sound))
    correlation = np.correlate(piece, piece, "full")[len(piece) - 1 :]
    shortest = RATE_HZ // 600
    return RATE_HZ / (shortest + int(np.argmax(correlation[shortest : RATE_HZ // 100])))


def test_without_espeak_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(voice.ctypes.util, "find_library", lambda _: None)
    voice._library.cache_clear()
    with pytest.raises(StreamMerError, match="apt-get install espeak-ng"):
        voice.speak("never said", voice="en-us", pitch=50, speed_wpm=150)
    voice._library.cache_clear()


@pytest.mark.usefixtures("with_espeak")
class TestWithEspeak:
    def test_phonemes_carry_their_times_and_words(self):
        speech = voice.speak("Happy morning", voice="en-us", pitch=50, speed_wpm=150)
        sounds = [p for p in speech.phonemes if not p.is_pause]
        assert sum(p.is_vowel for p in sounds) == 4
        assert sum(p.starts_word for p in sounds) == 2
        assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(sounds))

    def test_an_unknown_voice_is_named(self):
        with pytest.raises(StreamMerError, match="no-such-voice"):
            voice.speak("a", voice="no-such-voice", pitch=50, speed_wpm=150)

    def test_the_voice_sings_the_notes(self, rng):
        line = Line(text="Slow rain", notes=melody("A3:2 D4:2", start_beat=1))
        start, sound = sing(line, singer=STEADY, tempo=TEMPO, rng=rng)
        for at_s, hz in ((1.5, 220.0), (3.5, 293.66)):
            at = round(at_s * RATE_HZ) - start
            # 40 cents: the drift is about 6 (standard deviation), the measure is good to about 10.
            assert abs(1200 * np.log2(pitch_hz(sound[at : at + 4800]) / hz)) < 40.0

    def test_the_same_seed_gives_the_same_samples(self):
        line = Line(text="Slow rain", notes=melody("A3:1 D4:1"))
        takes = []
        for _ in range(2):
            voice.speak.cache_clear()
            takes.append(sing(line, singer=STEADY, tempo=TEMPO, rng=np.random.default_rng(3))[1])
        np.testing.assert_array_equal(*takes)

    def test_notes_and_syllables_must_agree(self, rng):
        line = Line(text="Happy morning", notes=melody("A3:1 B3:1 C4:1"))
        with pytest.raises(SettingError, match=r"4 syllables .* but 3 notes"):
            sing(line, singer=STEADY, tempo=TEMPO, rng=rng)
