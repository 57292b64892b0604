"""A folder's layout is recognised, or chosen, or refused in one line."""

from pathlib import Path

import pytest

from stream_mer.errors import CorpusError, SettingError
from stream_mer.training.corpora import FORMAT_NAMES, FORMATS, open_corpus


@pytest.mark.parametrize(
    ("tree", "prefix"),
    [
        ("corpus_folder", "c0"),
        ("deam", "deam-2"),
        ("pmemo", "pmemo-1"),
        ("merge_audio", "merge-A001"),
        ("merge_bimodal", "merge-A001"),
        ("jamendo", "jamendo-track_0917542"),
    ],
)
def test_a_layout_is_recognised(tree, prefix, request):
    root = request.getfixturevalue(tree)
    assert sum(known.recognises(root) for known in FORMATS) == 1
    corpus = open_corpus(root)
    assert corpus.clips[0].clip_id == prefix
    assert len({clip.fold for clip in corpus.clips}) > 1


@pytest.mark.parametrize(
    ("tree", "gaps"),
    [
        ("corpus_folder", []),
        ("merge_audio", []),
        ("deam", ["teaches the quadrant; "]),
        ("pmemo", ["teaches the quadrant; "]),
        ("jamendo", ["teaches valence and arousal; "]),
    ],
)
def test_what_a_set_cannot_teach_is_said(tree, gaps, request):
    notes = [note for note in open_corpus(request.getfixturevalue(tree)).notes if "no clip teaches" in note]
    assert len(notes) == len(gaps)
    assert all(gap in note for gap, note in zip(gaps, notes, strict=True))


def test_transcripts_beside_a_public_set_are_read(deam, write):
    write("transcripts.jsonl", '{"clip_id": "deam-2", "language": "en", "segments": []}\n')
    assert list(open_corpus(deam).transcripts) == ["deam-2"]


def test_a_manifest_comes_before_all(deam, write):
    write("manifest.csv", "clip_id,audio,artist\na,MEMD_audio/2.mp3,A\nb,MEMD_audio/3.mp3,B\n")
    assert [clip.clip_id for clip in open_corpus(deam).clips] == ["a", "b"]
    assert open_corpus(deam, "deam").clips[0].clip_id == "deam-2"


@pytest.mark.usefixtures("deam")
def test_of_two_layouts_one_must_be_chosen(pmemo):
    with pytest.raises(CorpusError, match="holds DEAM and PMEmo; choose one with --format"):
        open_corpus(pmemo)
    assert open_corpus(pmemo, "pmemo").clips[0].clip_id == "pmemo-1"


def test_a_folder_of_no_layout_is_told_what_was_looked_for(root):
    with pytest.raises(CorpusError, match=r"no corpus at .*no manifest\.csv .*DEAM, PMEmo, MERGE, MTG-Jamendo"):
        open_corpus(root)
    with pytest.raises(CorpusError, match=r"no corpus at .*nowhere: there is no such folder"):
        open_corpus(root / "nowhere")


@pytest.mark.parametrize("name", FORMAT_NAMES[1:])
def test_a_chosen_layout_says_what_the_folder_lacks(name, root):
    with pytest.raises(CorpusError, match=rf"no \w.* at {root}: there is no "):
        open_corpus(root, name)


def test_an_unknown_layout_is_refused():
    with pytest.raises(SettingError, match="no corpus format 'wav'; choose one of auto, manifest, deam"):
        open_corpus(Path(), "wav")
