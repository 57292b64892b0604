"""MTG-Jamendo's moods: those of one quadrant are taken, the rest is counted."""

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.jamendo import MEAN_AROUSAL, MEAN_VALENCE, MOODS, load
from stream_mer.types import CATEGORIES

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"


def test_every_mood_lies_clearly_in_its_quadrant():
    assert len({mood.tag for mood in MOODS}) == len(MOODS)
    for mood in MOODS:
        assert abs(mood.valence - MEAN_VALENCE) >= 1, mood.tag
        assert abs(mood.arousal - MEAN_AROUSAL) >= 0.4 or mood.tag == "melancholic", mood.tag
    named = {mood.tag: CATEGORIES[mood.category] for mood in MOODS}
    assert (named["happy"], named["horror"], named["sad"], named["calm"]) == CATEGORIES
    assert named["melancholic"] == "sad"


def test_tracks_with_moods_of_one_quadrant_are_taken(jamendo):
    corpus = load(jamendo)
    assert {clip.clip_id: CATEGORIES[clip.category or 0] for clip in corpus.clips} == {
        "jamendo-track_0917542": "happy",
        "jamendo-track_1310766": "sad",
        "jamendo-track_1179715": "happy",
        "jamendo-track_0917543": "relaxed",
        "jamendo-track_1379189": "angry",
    }
    first = corpus.clips[0]
    assert first.audio == jamendo / "audio/42/917542.mp3"
    assert (first.artist, first.middle_s, first.valence, first.arousal) == ("artist_378901", 30.0, None, None)
    assert len({clip.fold for clip in corpus.clips if clip.artist == "artist_378901"}) == 1
    assert corpus.notes[0] == (
        f"MTG-Jamendo in {jamendo}: 5 of 7 clips taken; left out: "
        "1 without a mood that has a quadrant (track_1376256), 1 with moods of two quadrants (track_1179717)"
    )


@pytest.mark.parametrize("place", ["audio-low", "", "autotagging_moodtheme/audio-low", "raw_30s/audio"])
def test_audio_is_found_in_the_usual_places_in_both_qualities(place, jamendo):
    expected = [clip.clip_id for clip in load(jamendo).clips]
    target = jamendo / place
    for folder in list((jamendo / "audio").iterdir()):
        target.mkdir(parents=True, exist_ok=True)
        moved = folder.rename(target / folder.name)
        for file in moved.iterdir():
            if "low" in place:
                file.rename(file.with_suffix(".low.mp3"))
    corpus = load(jamendo)
    assert [clip.clip_id for clip in corpus.clips] == expected
    assert corpus.clips[0].audio == target / "42" / ("917542.low.mp3" if "low" in place else "917542.mp3")


def test_missing_parts_are_errors_that_say_where_they_belong(jamendo, tmp_path):
    (jamendo / "audio/42/917542.mp3").unlink()
    assert "1 without an audio file (track_0917542)" in load(jamendo).notes[0]
    for audio in jamendo.rglob("*.mp3"):
        audio.unlink()
    with pytest.raises(
        CorpusError, match=r"not one clip can be used: .*audio as 56/1376256\.mp3 and so on; https://git"
    ):
        load(jamendo)
    with pytest.raises(CorpusError, match=r"no MTG-Jamendo at .*there is no autotagging_moodtheme\.tsv"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "does not begin with the columns TRACK_ID, ARTIST_ID"),
        ("track\ttags\n", "does not begin with the columns"),
        (f"{HEADER}track_1\tartist_1\n", "line 2: a track has at least 6"),
        (
            f"{HEADER}../1\tartist_1\talbum_1\t42/917542.mp3\t9\tmood/theme---happy\n",
            r"line 2: '\.\./1' is no track id",
        ),
    ],
)
def test_a_fault_in_the_table_is_told_with_its_place(table, says, jamendo, write):
    write("data/autotagging_moodtheme.tsv", table)
    with pytest.raises(CorpusError, match=rf"autotagging_moodtheme\.tsv.*{says}"):
        load(jamendo)
