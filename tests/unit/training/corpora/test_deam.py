"""DEAM's ratings, artists and oddities."""

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.deam import load

TABLE = "annotations/annotations averaged per song/song_level/static_annotations_averaged_songs_1_2000.csv"


def clips_of(root):
    return {clip.clip_id: clip for clip in load(root).clips}


def test_ratings_are_mapped_to_the_range_of_the_model(deam):
    clips = clips_of(deam)
    assert list(clips) == ["deam-2", "deam-3", "deam-1001", "deam-1002", "deam-2001", "deam-2002"]
    assert (clips["deam-2"].valence, clips["deam-2"].arousal) == pytest.approx((-0.5, -0.475))  # exchanged there
    assert (clips["deam-1001"].valence, clips["deam-1001"].arousal) == pytest.approx((0, 1))
    assert clips["deam-1002"].valence == -1
    assert (clips["deam-2001"].valence, clips["deam-2001"].arousal) == pytest.approx((0.4, 0.5))
    assert all(clip.rated_by == "listeners" and clip.category is clip.cluster is None for clip in clips.values())
    assert clips["deam-3"].audio == deam / "MEMD_audio/3.mp3"


# --- exchanged columns, and the ratings of single moments

# Song: valence and arousal as listeners said, 1 to 9. Lively music is pleasant, mostly: both go together, as in DEAM.
TRUE = {2: (3.0, 3.4), 3: (6.5, 4.0), 4: (4.4, 7.0), 5: (7.5, 6.6), 7: (5.0, 5.6), 1001: (3.0, 8.0), 1002: (8.0, 3.0)}
DYNAMIC = "annotations/annotations averaged per song/dynamic (per second annotations)"


def write_ratings(write, *, exchanged):
    """The table of song-level ratings; ``exchanged`` as it is published, for the songs up to id 1000."""
    rows = [
        (song, arousal, valence) if exchanged and song <= 1000 else (song, valence, arousal)
        for song, (valence, arousal) in TRUE.items()
    ]
    header = "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n"
    write(TABLE, header + "".join(f"{song},{v},1.0,{a},1.0\n" for song, v, a in rows))
    for song in TRUE:
        write(f"MEMD_audio/{song}.mp3")


def write_moments(write, songs, *, n=4):
    """Continuous ratings around those of the whole: flatter, and higher as time goes on; the last song ends early."""
    times = [15_000 + 500 * i for i in range(n)]
    for k, name in enumerate(("valence", "arousal")):
        lines = ["song_id," + ",".join(f"sample_{ms}ms" for ms in times)]
        for song in songs:
            cells = [f"{0.15 * (TRUE[song][k] - 5) + 0.01 * i:.3f}" for i in range(n)]
            lines.append(f"{song},{','.join(cells[: n - 1] if song == songs[-1] else cells)}")
        write(f"{DYNAMIC}/{name}.csv", "\n".join(lines) + "\n")


def true_ratings(root):
    told = {clip.clip_id: (clip.valence, clip.arousal) for clip in load(root).clips}
    return all(
        told[f"deam-{song}"] == pytest.approx(((valence - 5) / 4, (arousal - 5) / 4))
        for song, (valence, arousal) in TRUE.items()
    )


@pytest.mark.parametrize("exchanged", [True, False], ids=["published", "corrected"])
def test_exchanged_columns_are_recognised_by_the_continuous_ratings(exchanged, deam, write):
    write_ratings(write, exchanged=exchanged)
    write_moments(write, [2, 3, 4, 5, 7])
    assert true_ratings(deam)
    notes = [note for note in load(deam).notes if "are exchanged in the table" in note]
    assert len(notes) == exchanged
    assert all("of the 5 songs up to id 1000" in note and "as their continuous ratings show" in note for note in notes)


@pytest.mark.parametrize("exchanged", [True, False], ids=["published", "corrected"])
def test_exchanged_columns_are_recognised_by_emomusic(exchanged, deam, write):
    write_ratings(write, exchanged=exchanged)
    rows = "".join(f"{song},{a + 0.1},1.0,{v - 0.1},1.0\n" for song, (v, a) in TRUE.items() if song <= 1000)
    write("emomusic/static_annotations.csv", "song_id,mean_arousal,std_arousal,mean_valence,std_valence\n" + rows)
    assert true_ratings(deam)
    assert sum("as their ratings in emoMusic show" in note for note in load(deam).notes) == exchanged


@pytest.mark.parametrize("moments", [[], [2, 1001, 1002]], ids=["none", "of one song"])
def test_without_ratings_to_decide_by_the_table_is_taken_for_the_published_one(moments, deam, write):
    write_ratings(write, exchanged=True)
    if moments:
        write_moments(write, moments)
    assert true_ratings(deam)
    assert any("exchanged in the table, as in the published one" in note for note in load(deam).notes)


def test_ratings_of_single_moments_stand_at_their_times_in_the_excerpt(deam, write):
    write_ratings(write, exchanged=True)
    write_moments(write, [2, 3, 4, 5])
    clips = clips_of(deam)
    curve, short = clips["deam-2"].dynamic, clips["deam-5"].dynamic
    assert [rating.t_s for rating in curve.ratings] == [15.0, 15.5, 16.0, 16.5]
    assert [rating.valence for rating in curve.ratings] == pytest.approx([-0.3, -0.29, -0.28, -0.27])
    assert [rating.arousal for rating in curve.ratings] == pytest.approx([-0.24, -0.23, -0.22, -0.21])
    assert len(short.ratings) == 3
    assert clips["deam-7"].dynamic is None


def test_whole_songs_have_no_ratings_of_moments_since_their_middle_begins_nobody_knows_where(deam, write):
    for name in ("valence", "arousal"):
        write(f"{DYNAMIC}/{name}.csv", "song_id,sample_15000ms\n2001,0.1\n1001,0.1\n")
    clips = clips_of(deam)
    assert clips["deam-2001"].dynamic is None
    assert clips["deam-1001"].dynamic is not None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (None, r"of the continuous ratings arousal\.csv is missing; https"),
        ("", r"arousal\.csv does not begin with song_id and columns like sample_15000ms"),
        ("song_id,first\n2,0.1\n", r"arousal\.csv does not begin with song_id"),
        ("song_id,sample_15000ms\n2,x\n", r"arousal\.csv, line 2: sample_15000ms is no number but 'x'"),
        ("song_id,sample_15000ms\n2,1.5\n", r"line 2: sample_15000ms is 1\.5, but continuous ratings go from -1 to 1"),
    ],
)
def test_a_fault_in_the_continuous_ratings_is_told_with_its_place(table, says, deam, write):
    write(f"{DYNAMIC}/valence.csv", "song_id,sample_15000ms\n2,0.1\n")
    if table is not None:
        write(f"{DYNAMIC}/arousal.csv", table)
    with pytest.raises(CorpusError, match=says) as caught:
        load(deam)
    assert "\n" not in str(caught.value)


def test_whole_songs_are_cut_to_the_length_of_the_excerpts(deam):
    assert {name: clip.middle_s for name, clip in clips_of(deam).items() if clip.middle_s} == {
        "deam-2001": 45.0,
        "deam-2002": 45.0,
    }


def test_artists_are_read_from_all_three_tables(deam):
    clips = clips_of(deam)
    assert clips["deam-2"].artist == "The New Mystikal Troubadours"
    assert clips["deam-3"].artist == clips["deam-1001"].artist == "Kevin MacLeod"
    assert clips["deam-3"].fold == clips["deam-1001"].fold
    assert clips["deam-2001"].artist == "A Singer"
    assert clips["deam-1002"].artist == clips["deam-2002"].artist == ""  # n/a; and a row with a cell too many
    assert any("2 of 6 clips name no artist" in note for note in load(deam).notes)


def test_without_metadata_nobody_is_known_and_that_is_said(deam):
    for table in (deam / "metadata").iterdir():
        table.unlink()
    corpus = load(deam)
    assert not any(clip.artist for clip in corpus.clips)
    assert any("there is no metadata_2013.csv or the like" in note for note in corpus.notes)
    assert any("6 of 6 clips name no artist" in note for note in corpus.notes)


def test_songs_without_audio_are_left_out_and_counted(deam):
    for song in (3, 2002):
        (deam / f"MEMD_audio/{song}.mp3").unlink()
    corpus = load(deam)
    assert len(corpus.clips) == 4
    assert corpus.notes[0] == f"DEAM in {deam}: 4 of 6 clips taken; left out: 2 without an audio file (3, 2002)"


def test_a_folder_for_each_archive_is_fine(deam):
    expected = [(clip.clip_id, clip.artist, clip.valence) for clip in load(deam).clips]
    for archive, folder in (("DEAM_audio", "MEMD_audio"), ("DEAM_Annotations", "annotations"), ("meta", "metadata")):
        (deam / archive).mkdir()
        (deam / folder).rename(deam / archive / folder)
    assert [(clip.clip_id, clip.artist, clip.valence) for clip in load(deam).clips] == expected


def test_converted_audio_is_found(deam):
    (deam / "MEMD_audio/2.mp3").rename(deam / "MEMD_audio/2.wav")
    assert clips_of(deam)["deam-2"].audio.name == "2.wav"


def test_missing_parts_are_errors_that_say_where_they_belong(deam, tmp_path):
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
def test_a_fault_in_a_table_is_told_with_its_place(table, says, deam, write):
    write(TABLE, table)
    with pytest.raises(CorpusError, match=says) as caught:
        load(deam)
    assert "static_annotations_averaged_songs_1_2000.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
