import pytest

from stream_mer.errors import SettingError
from tools.demo_song.score import Tempo, melody, midi_of


@pytest.mark.parametrize(("name", "midi"), [("A4", 69), ("C4", 60), ("C#5", 73), ("Bb3", 58), ("E2", 40)])
def test_pitch_names(name, midi):
    assert midi_of(name) == midi


@pytest.mark.parametrize("name", ["H4", "A", "A##4", "", "4"])
def test_a_wrong_pitch_is_named(name):
    with pytest.raises(SettingError, match="is not a pitch"):
        midi_of(name)


def test_rests_move_time_on_and_give_no_note():
    notes = melody("A4:1 -:.5 C5:2", start_beat=4)
    assert [(n.start_beat, n.beats, n.midi) for n in notes] == [(4.0, 1.0, 69), (5.5, 2.0, 72)]


@pytest.mark.parametrize("text", ["A4", "A4:x", "A4:0", "A4:-1"])
def test_a_note_without_a_length_is_refused(text):
    with pytest.raises(SettingError):
        melody(text)


def test_beats_become_samples():
    assert Tempo(bpm=120.0).at(4) == 2 * 48_000
