"""MERGE's three sets, alone and together."""

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.merge import load

AUDIO, BIMODAL = "MERGE_Audio_Complete", "MERGE_Bimodal_Complete"


def clips_of(root):
    return {clip.clip_id: clip for clip in load(root).clips}


@pytest.mark.parametrize("place", [".", AUDIO])
def test_the_audio_set_gives_quadrants_and_ratings(place, merge_audio):
    clips = clips_of(merge_audio / place)
    assert list(clips) == ["merge-A001", "merge-A002", "merge-MT0000004637"]
    assert [clip.category for clip in clips.values()] == [3, 1, 2]
    assert [clip.valence for clip in clips.values()] == pytest.approx([0.5, -0.4, -1])
    assert [clip.arousal for clip in clips.values()] == pytest.approx([-0.5, 0.6, 0])
    assert clips["merge-MT0000004637"].artist == "Simon, Paul"
    assert clips["merge-A002"].audio == merge_audio / AUDIO / "Q2/A002.mp3"
    assert all(clip.rated_by == "tags" and clip.lyrics is None for clip in clips.values())


def test_the_bimodal_set_gives_words_too(merge_bimodal):
    clips = clips_of(merge_bimodal / BIMODAL)
    assert list(clips) == ["merge-A001", "merge-A077"]
    assert clips["merge-A001"].lyrics == merge_bimodal / BIMODAL / "lyrics/Q4/L043.txt"
    assert clips["merge-A077"].audio == merge_bimodal / BIMODAL / "audio/Q1/A077.mp3"
    assert (clips["merge-A077"].category, clips["merge-A077"].valence) == (0, 1)


@pytest.mark.usefixtures("merge_audio", "merge_lyrics")
def test_together_they_are_all_clips_with_the_words_that_are_known(merge_bimodal):
    clips = clips_of(merge_bimodal)
    assert list(clips) == ["merge-A001", "merge-A002", "merge-MT0000004637", "merge-A077"]
    assert clips["merge-A001"].audio == merge_bimodal / AUDIO / "Q4/A001.mp3"
    assert clips["merge-A001"].lyrics == merge_bimodal / BIMODAL / "lyrics/Q4/L043.txt"
    assert clips["merge-A002"].lyrics is None
    assert any("the lyrics set is not read" in note for note in load(merge_bimodal).notes)


def test_lyrics_alone_are_refused_with_a_way_out(merge_lyrics):
    with pytest.raises(CorpusError, match=r"MERGE's lyrics without audio.*take the bimodal set"):
        load(merge_lyrics)


def test_the_complete_set_comes_before_the_balanced_one(merge_audio, write):
    balanced = "MERGE_Audio_Balanced"
    write(f"{balanced}/merge_audio_balanced_metadata.csv", "Song,Quadrant,Artist\nA900,Q1,Other\nA901,Q1,More\n")
    write(f"{balanced}/Q1/A900.mp3")
    write(f"{balanced}/Q1/A901.mp3")
    assert "merge-A900" not in clips_of(merge_audio)
    clips = clips_of(merge_audio / balanced)
    assert list(clips) == ["merge-A900", "merge-A901"]
    assert clips["merge-A900"].valence is None  # its av_values are not there


@pytest.mark.usefixtures("merge_audio")
def test_what_is_missing_is_counted_once(merge_bimodal):
    (merge_bimodal / AUDIO / "Q4/A001.mp3").unlink()  # the bimodal set has it still
    (merge_bimodal / AUDIO / "Q2/A002.mp3").unlink()
    (merge_bimodal / BIMODAL / "lyrics/Q1/MT9.txt").unlink()
    corpus = load(merge_bimodal)
    clips = {clip.clip_id: clip for clip in corpus.clips}
    assert sorted(clips) == ["merge-A001", "merge-A077", "merge-MT0000004637"]
    assert clips["merge-A001"].audio == merge_bimodal / BIMODAL / "audio/Q4/A001.mp3"
    assert corpus.notes[0].endswith("3 of 4 clips taken; left out: 1 without an audio file (A002)")
    assert "1 lyrics files of the bimodal set are missing" in corpus.notes[1]


def test_missing_parts_are_errors_that_say_where_they_belong(merge_audio, tmp_path):
    with pytest.raises(CorpusError, match=r"no MERGE at .*merge_audio_complete_metadata\.csv or the like; https://zen"):
        load(tmp_path / "nowhere")
    for audio in merge_audio.rglob("*.mp3"):
        audio.unlink()
    with pytest.raises(CorpusError, match=r"not one clip can be used: 3 without an audio file .*folders Q1 to Q4"):
        load(merge_audio)


@pytest.mark.parametrize(
    ("name", "table", "says"),
    [
        ("metadata", "Song,Quadrant,Artist\nA001,Q5,One\n", r"line 2: Quadrant is 'Q5', not Q1 to Q4"),
        ("metadata", "Song,Artist\nA001,One\n", r"lacks the column Quadrant; it has Song, Artist"),
        ("metadata", "Id,Quadrant,Artist\nA001,Q1,One\n", r"lacks the column Song or Audio_Song"),
        ("av_values", "Song,Arousal,Valence\nA001,5,0.5\n", r"line 2: arousal is 5, but ratings go from 0 to 1"),
    ],
)
def test_a_fault_in_a_table_is_told_with_its_place(name, table, says, merge_audio, write):
    write(f"{AUDIO}/merge_audio_complete_{name}.csv", table)
    with pytest.raises(CorpusError, match=rf"merge_audio_complete_{name}\.csv.*{says}"):
        load(merge_audio)
