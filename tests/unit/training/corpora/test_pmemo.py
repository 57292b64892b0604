"""PMEmo's ratings, artists and lyrics."""

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.pmemo import load, recognises


@pytest.mark.parametrize("place", [".", "PMEmo2019"])
def test_the_folder_or_the_one_above_gives_ratings_artists_and_lyrics(place, pmemo):
    corpus = load(pmemo / place)
    assert [clip.clip_id for clip in corpus.clips] == ["pmemo-1", "pmemo-4", "pmemo-5", "pmemo-6"]
    first, last = corpus.clips[0], corpus.clips[-1]
    assert (first.valence, first.arousal) == pytest.approx((0.15, -0.2))
    assert (last.valence, last.arousal) == (-1, 1)
    assert first.artist == "2 Chainz"
    assert first.lyrics == pmemo / "PMEmo2019/lyrics/1.lrc"
    assert last.lyrics is None
    assert first.audio == pmemo / "PMEmo2019/chorus/1.mp3"
    assert all(clip.rated_by == "listeners" and clip.category is None for clip in corpus.clips)
    assert corpus.notes[0].endswith("4 of 4 clips taken")


def test_an_artist_and_her_duets_stay_together(pmemo):
    clips = {clip.clip_id: clip for clip in load(pmemo).clips}
    assert clips["pmemo-4"].artist == "Rihanna, Drake"
    assert clips["pmemo-4"].fold == clips["pmemo-5"].fold


def test_a_file_may_have_the_name_that_the_metadata_says(pmemo, write):
    home = pmemo / "PMEmo2019"
    table = (home / "metadata.csv").read_text()
    write("PMEmo2019/metadata.csv", table.replace("1,1.mp3", "1,one.mp3"))
    (home / "chorus/1.mp3").rename(home / "chorus/one.mp3")
    assert load(pmemo).clips[0].audio.name == "one.mp3"


def test_missing_parts_are_said(pmemo):
    home = pmemo / "PMEmo2019"
    (home / "chorus/5.mp3").unlink()
    (home / "metadata.csv").unlink()
    notes = load(pmemo).notes
    assert notes[0].endswith("3 of 4 clips taken; left out: 1 without an audio file (5)")
    assert "there is no metadata.csv" in notes[1]
    assert "3 of 3 clips name no artist" in notes[3]
    for audio in (home / "chorus").iterdir():
        audio.unlink()
    with pytest.raises(CorpusError, match=r"not one clip can be used: .*chorus as 1\.mp3 and so on; https://github"):
        load(pmemo)
    with pytest.raises(CorpusError, match=r"no PMEmo at .*annotations/static_annotations\.csv"):
        load(home / "chorus")


def test_a_rating_out_of_range_is_an_error(pmemo, write):
    write("PMEmo2019/annotations/static_annotations.csv", "musicId,Arousal(mean),Valence(mean)\n1,5,3\n")
    with pytest.raises(CorpusError, match="line 2: valence is 3, but ratings go from 0 to 1"):
        load(pmemo)


def test_another_set_with_a_table_of_that_name_is_not_taken_for_it(root, write):
    write("annotations/static_annotations.csv", "song_id,mean_arousal,mean_valence\n2,3,4\n")
    assert not recognises(root)
