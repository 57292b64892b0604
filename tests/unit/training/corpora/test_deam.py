"""DEAM's ratings, artists and oddities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.deam import load
from stream_mer.training.corpus import Clip

Write = Callable[..., Path]
TABLE = "annotations/annotations averaged per song/song_level/static_annotations_averaged_songs_1_2000.csv"


def clips_of(root: Path) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in load(root).clips}


def test_ratings_are_mapped_to_the_range_of_the_model(deam: Path) -> None:
    clips = clips_of(deam)
    assert list(clips) == ["deam-2", "deam-3", "deam-1001", "deam-1002", "deam-2001", "deam-2002"]
    assert (clips["deam-2"].valence, clips["deam-2"].arousal) == pytest.approx((-0.475, -0.5))
    assert (clips["deam-1001"].valence, clips["deam-1001"].arousal) == pytest.approx((0, 1))
    assert clips["deam-1002"].valence == -1
    assert (clips["deam-2001"].valence, clips["deam-2001"].arousal) == pytest.approx((0.4, 0.5))
    assert all(clip.rated_by == "listeners" and clip.category is clip.cluster is None for clip in clips.values())
    assert clips["deam-3"].audio == deam / "MEMD_audio/3.mp3"


def test_whole_songs_are_cut_to_the_length_of_the_excerpts(deam: Path) -> None:
    assert {name: clip.middle_s for name, clip in clips_of(deam).items() if clip.middle_s} == {
        "deam-2001": 45.0,
        "deam-2002": 45.0,
    }


def test_artists_are_read_from_all_three_tables(deam: Path) -> None:
    clips = clips_of(deam)
    assert clips["deam-2"].artist == "The New Mystikal Troubadours"
    assert clips["deam-3"].artist == clips["deam-1001"].artist == "Kevin MacLeod"
    assert clips["deam-3"].fold == clips["deam-1001"].fold
    assert clips["deam-2001"].artist == "A Singer"
    assert clips["deam-1002"].artist == clips["deam-2002"].artist == ""  # n/a; and a row with a cell too many
    assert any("2 of 6 clips name no artist" in note for note in load(deam).notes)


def test_without_metadata_nobody_is_known_and_that_is_said(deam: Path) -> None:
    for table in (deam / "metadata").iterdir():
        table.unlink()
    corpus = load(deam)
    assert not any(clip.artist for clip in corpus.clips)
    assert any("there is no metadata_2013.csv or the like" in note for note in corpus.notes)
    assert any("6 of 6 clips name no artist" in note for note in corpus.notes)


def test_songs_without_audio_are_left_out_and_counted(deam: Path) -> None:
    for song in (3, 2002):
        (deam / f"MEMD_audio/{song}.mp3").unlink()
    corpus = load(deam)
    assert len(corpus.clips) == 4
    assert corpus.notes[0] == f"DEAM in {deam}: 4 of 6 clips taken; left out: 2 without an audio file (3, 2002)"


def test_a_folder_for_each_archive_is_fine(deam: Path) -> None:
    expected = [(clip.clip_id, clip.artist, clip.valence) for clip in load(deam).clips]
    for archive, folder in (("DEAM_audio", "MEMD_audio"), ("DEAM_Annotations", "annotations"), ("meta", "metadata")):
        (deam / archive).mkdir()
        (deam / folder).rename(deam / archive / folder)
    assert [(clip.clip_id, clip.artist, clip.valence) for clip in load(deam).clips] == expected


def test_converted_audio_is_found(deam: Path) -> None:
    (deam / "MEMD_audio/2.mp3").rename(deam / "MEMD_audio/2.wav")
    assert clips_of(deam)["deam-2"].audio.name == "2.wav"


def test_missing_parts_are_errors_that_say_where_they_belong(deam: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no DEAM at .*static_annotations_averaged_songs_.*cvml\.unige\.ch"):
        load(tmp_path / "nowhere")
    for audio in (deam / "MEMD_audio").iterdir():
        audio.unlink()
    with pytest.raises(CorpusError, match=r"not one clip can be used: 6 without an audio file .*MEMD_audio as 2\.mp3"):
        load(deam)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("song_id, valence, arousal_mean\n2,3,3\n", r"lacks the column valence_mean; it has song_id, valence, arousal"),
        ("song_id, valence_mean, arousal_mean\n2,9.5,3\n", r"line 2: valence is 9\.5, but ratings go from 1 to 9"),
        ("song_id, valence_mean, arousal_mean\n2,5,0.5\n", r"line 2: arousal is 0\.5"),
        ("song_id, valence_mean, arousal_mean\n\n2,nan,3\n", r"line 3: valence is nan"),
        ("song_id, valence_mean, arousal_mean\n2,5\n", r"line 2: arousal is no number but ''"),
        ("", r"lacks the column song_id; it has none"),
    ],
)
def test_a_fault_in_a_table_is_told_with_its_place(table: str, says: str, deam: Path, write: Write) -> None:
    write(TABLE, table)
    with pytest.raises(CorpusError, match=says) as caught:
        load(deam)
    assert "static_annotations_averaged_songs_1_2000.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
