"""Continuous ratings beside a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.registry import open_corpus
from stream_mer.training.corpus import Rating, RatingCurve, load_corpus, read_curves

HEADER = "clip_id,t_s,valence,arousal\n"
COLUMNS = "clip_id,song_id,artist,title,genre,start_s,valence,arousal,valence_sd,arousal_sd,audio,fold\n"


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Clips of 10 s that listeners rated, two of one song, with artist-disjoint folds, and their moments."""
    (tmp_path / "audio").mkdir()
    rows = [
        "deam-18,18,A Band,One,Blues,29.977,-0.275,-0.05,0.3425,0.43,audio/deam-18.opus,1",
        "deam-18-17,18,A Band,One,Blues,17.0,-0.275,-0.05,0.3425,0.43,audio/deam-18-17.opus,1",
        "deam-19,19,B,Two,Rock,29.977,0.5,0.25,0.2,0.3,audio/deam-19.opus,4",
    ]
    (tmp_path / "manifest.csv").write_text(COLUMNS + "\n".join(rows) + "\n", encoding="utf-8")
    for row in rows:
        (tmp_path / row.split(",")[-2]).touch()
    moments = "deam-18,0.523,-0.3,0.1\ndeam-18,0.023,-0.2,0.0\ndeam-19,0,0.4,0.2\n"
    (tmp_path / "dynamic.csv").write_text(HEADER + moments, encoding="utf-8")
    return tmp_path


def test_clips_come_with_their_folds_static_ratings_and_moments(rated: Path) -> None:
    clips = {clip.clip_id: clip for clip in load_corpus(rated).clips}
    assert {name: clip.fold for name, clip in clips.items()} == {"deam-18": 1, "deam-18-17": 1, "deam-19": 4}
    assert (clips["deam-18"].valence, clips["deam-18"].arousal) == (-0.275, -0.05)
    assert clips["deam-18"].dynamic == RatingCurve(
        ratings=(Rating(t_s=0.023, valence=-0.2, arousal=0.0), Rating(t_s=0.523, valence=-0.3, arousal=0.1))
    )
    assert clips["deam-18-17"].dynamic is None
    assert clips["deam-19"].audio == rated / "audio/deam-19.opus"


def test_ratings_with_a_spread_are_those_of_listeners_and_teach(rated: Path) -> None:
    corpus = open_corpus(rated)
    assert all(clip.rated_by == "listeners" and clip.teaches_emotion for clip in corpus.clips)
    assert [note for note in corpus.notes if "teaches" in note] == [
        f"{rated}: no clip teaches the quadrant; that output of a model trained here is chance"
    ]
    manifest = rated / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("valence_sd,arousal_sd", "valence_x,arousal_x"))
    assert {clip.rated_by for clip in load_corpus(rated).clips} == {"tags"}


def test_without_such_a_file_no_clip_has_moments(rated: Path) -> None:
    (rated / "dynamic.csv").unlink()
    assert [clip.dynamic for clip in load_corpus(rated).clips] == [None] * 3
    assert read_curves(rated / "dynamic.csv") == {}


def test_rows_that_repeat_another_one_count_once_and_different_ones_of_one_id_are_refused(rated: Path) -> None:
    manifest = rated / "manifest.csv"
    rows = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([*rows, rows[1], rows[3]]))
    corpus = load_corpus(rated)
    assert [clip.clip_id for clip in corpus.clips] == ["deam-18", "deam-18-17", "deam-19"]
    assert corpus.notes == (f"{manifest}: 2 rows repeat another one; they count once",)
    manifest.write_text("".join([*rows, rows[1].replace("-0.275", "0.9")]))
    with pytest.raises(CorpusError, match="'deam-18' stands there twice"):
        load_corpus(rated)


def test_moments_of_other_clips_are_said(rated: Path) -> None:
    with (rated / "dynamic.csv").open("a") as file:
        file.write("deam-99,0.5,0,0\n")
    assert load_corpus(rated).notes == (f"{rated / 'dynamic.csv'}: 1 clips are not in the manifest, such as 'deam-99'",)


def test_a_moment_that_stands_there_twice_counts_once(rated: Path) -> None:
    with (rated / "dynamic.csv").open("a") as file:
        file.write("deam-19,0.0,0.4,0.2\n")
    assert read_curves(rated / "dynamic.csv")["deam-19"] == RatingCurve(ratings=(Rating(0.0, 0.4, 0.2),))


def test_the_mean_of_a_curve_is_over_time() -> None:
    curve = RatingCurve.of([Rating(0.0, 0.1, -0.4), Rating(0.5, 0.3, 0.0)])
    assert curve.mean == pytest.approx((0.2, -0.2))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lacks the column clip_id, t_s, valence, arousal"),
        ("clip_id,t_s,valence\n", "lacks the column arousal"),
        (HEADER + "deam-18,0.5,x,0\n", "line 2: could not convert string to float: 'x'"),
        (HEADER + "deam-18,0.5,0.1\n", "line 2: could not convert string to float: ''"),
        (HEADER + "deam-18,-1,0,0\n", "clip deam-18: t_s must be 0 or more seconds, not -1"),
        (HEADER + "deam-18,nan,0,0\n", "clip deam-18: t_s must be 0 or more seconds, not nan"),
        (HEADER + "deam-18,0.5,1.5,0\n", "valence and arousal lie in -1..1, and at 0.5 s they are 1.5 and 0"),
        (HEADER + "deam-18,0.5,0,nan\n", "valence and arousal lie in -1..1"),
        (HEADER + "deam-18,0.5,0,0\ndeam-18,0.5,0,0.1\n", "0.5 s stands there with two different ratings"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, says: str, rated: Path) -> None:
    (rated / "dynamic.csv").write_text(text)
    with pytest.raises(CorpusError) as caught:
        load_corpus(rated)
    assert str(rated / "dynamic.csv") in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_told(rated: Path) -> None:
    (rated / "dynamic.csv").write_bytes(HEADER.encode() + b"\xff\xfe,1,0,0\n")
    with pytest.raises(CorpusError, match="it must be CSV in UTF-8"):
        load_corpus(rated)


def test_ratings_may_be_separated_by_semicolons_with_decimal_commas(rated: Path) -> None:
    expected = read_curves(rated / "dynamic.csv")
    text = (rated / "dynamic.csv").read_text(encoding="utf-8")
    (rated / "dynamic.csv").write_text(text.replace(",", ";").replace(".", ","), encoding="utf-8")
    assert read_curves(rated / "dynamic.csv") == expected
