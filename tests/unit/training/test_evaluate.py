"""Tables of folds, of a trained checkpoint, and of degraded sound."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from tolerance import KEPT, LAYER
from weights import random_joint

from stream_mer.cli.training import evaluate_command
from stream_mer.config import WindowSettings
from stream_mer.emotion.checkpoint import TextStrength, load_checkpoint
from stream_mer.emotion.joint import JointModelConfig
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.errors import CorpusError
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training.crossvalidation import (
    AUDIO_ONLY,
    STANDARD_CONDITIONS,
    Condition,
    FoldResults,
    Predictions,
    cross_validate,
)
from stream_mer.training.dataset import prepare_to_measure
from stream_mer.training.evaluate import (
    AS_RECORDED,
    COLUMNS,
    WORD_SCORES,
    confusion_matrices,
    fold_table,
    measure,
    predict_all,
    stage_conditions,
    stage_report,
)
from stream_mer.training.fit import Recipe
from stream_mer.training.metrics import SCORES
from stream_mer.training.tokens import read_audio
from stream_mer.types import NO_LYRICS, Window

KINDS = tuple(condition.name for condition in STANDARD_CONDITIONS)


def perfect(data):
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    return Predictions(emotion=emotion.astype(np.float64), category=np.eye(4)[category], cluster=np.eye(5)[cluster])


def wrong(data):
    right = perfect(data)
    return replace(right, emotion=-right.emotion, category=np.roll(right.category, 1, axis=1))


def results_of(clips, frames):
    return FoldResults(clips=clips, frames=dict.fromkeys(KINDS, frames), members=dict.fromkeys(KINDS, ()), moments=())


def shown(table):
    file = io.StringIO()
    Console(file=file, width=200).print(*table.rendered())
    return file.getvalue()


def test_the_columns_are_the_conditions_that_are_measured_under():
    assert tuple(COLUMNS) == KINDS


def test_confusions_have_the_truth_in_rows_and_leave_unlabelled_clips_and_songs_out(clip_set):
    data = clip_set(20, songs=7)
    predictions = perfect(data)
    predictions.category[:] = np.eye(4)[2]  # all of it is sad
    data.labels.category[0] = -1
    matrices = confusion_matrices(data, predictions)
    assert matrices["category"] == [[0, 0, 4, 0], [0, 0, 5, 0], [0, 0, 5, 0], [0, 0, 5, 0]]
    assert matrices["cluster"] == (4 * np.eye(5, dtype=int)).tolist()


def test_perfect_predictions_have_perfect_figures_and_each_kind_of_text_its_own(clip_set):
    data = clip_set(40)
    clips = {kind: wrong(data) if kind == "printed" else perfect(data) for kind in KINDS}
    figures = fold_table(data, results_of(clips, wrong(data))).figures
    good, bad = figures["none"], figures["printed"]
    for name in ("quadrants_accuracy", "quadrants_f1", "clusters_f1", "valence_ccc", "arousal_r"):
        assert good[name].value == pytest.approx(1)
    assert good["frame_quadrants_f1"].value == 0
    assert bad["quadrants_f1"].value == bad["quadrants_accuracy"].value == 0
    assert bad["arousal_r"].value == pytest.approx(-1)
    assert figures["recognised"]["quadrants_f1"].value == pytest.approx(1)


def test_songs_of_words_alone_do_not_count_among_the_clips_and_have_a_table_of_their_own(clip_set):
    data = clip_set(20, songs=8)
    data.sets[24:] = "poems"
    given = perfect(data)
    for name in ("emotion", "category", "cluster"):
        getattr(given, name)[20:24] = getattr(wrong(data), name)[20:24]
    table = fold_table(data, results_of(dict.fromkeys(KINDS, given), given))
    assert all(table.figures[kind]["quadrants_f1"].value == 1 for kind in KINDS)
    assert all(table.figures[kind]["quadrants_f1"].n == 20 for kind in KINDS)
    assert list(table.words) == ["poems", "verses"]
    for figures in table.words.values():
        assert list(figures) == list(WORD_SCORES)
        assert {figure.n for figure in figures.values()} == {4}
    assert table.words["verses"]["quadrants_accuracy"].value == 0
    assert table.words["poems"]["quadrants_accuracy"].value == 1
    text = shown(table)
    assert "Words alone" in text
    assert "poems" in text


def test_without_songs_there_is_one_table(clip_set):
    data = clip_set(20)
    table = fold_table(data, results_of(dict.fromkeys(KINDS, perfect(data)), perfect(data)))
    assert table.words == {}
    assert len(list(table.rendered())) == 1
    assert "Words alone" not in shown(table)


def test_the_table_holds_every_figure_with_its_interval(clip_set, small_recipe, tmp_path):
    data = clip_set(40, songs=8)
    table = fold_table(data, cross_validate(data, replace(small_recipe, epochs=4), 0, tmp_path))
    assert list(table.figures) == list(COLUMNS)
    for figures in table.figures.values():
        assert list(figures) == list(SCORES)
        assert all(-1 <= f.low <= f.high <= 1 for name, f in figures.items() if not name.endswith("r2"))
        assert all(f.low <= f.value <= f.high <= 1 for name, f in figures.items() if name.endswith("r2"))
        assert figures["quadrants_f1"].n == 40
        assert figures["clusters_lyrics_f1"].n == 10
    told = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert told["none"]["arousal_r"]["n"] == 40
    assert told["verses"]["valence_ccc"]["n"] == 8
    clips_table, words_table = table.rendered()
    assert (clips_table.row_count, words_table.row_count) == (len(SCORES), 1)
    text = shown(table)
    assert all(title in text for title in SCORES.values())
    assert str(table.figures["printed"]["arousal_r"]) in text


RATINGS = {f"{what}_{kind}" for what in ("valence", "arousal") for kind in ("ccc", "r2", "r")}
QUADRANTS = {"quadrants_accuracy", "quadrants_f1", "frame_quadrants_f1"}


@pytest.mark.parametrize(
    ("what", "empty"),
    [
        ("quadrants", QUADRANTS | RATINGS),  # a tag teaches valence and arousal where there is a quadrant, too
        ("ratings", RATINGS),
        ("clusters", {"clusters_f1", "clusters_lyrics_f1"}),
        ("words", {"clusters_lyrics_f1"}),
    ],
)
def test_a_corpus_without_such_labels_has_a_table_with_dashes(what, empty, clip_set):
    data = clip_set(20)
    given = perfect(data)
    if what == "quadrants":
        data.labels.category.fill_(-1)
    if what in ("quadrants", "ratings"):
        data.labels.emotion.fill_(float("nan"))
    if what == "clusters":
        data.labels.cluster.fill_(-1)
    if what == "words":
        data._lines = {}
    table = fold_table(data, results_of(dict.fromkeys(KINDS, given), given))
    told = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert {name for name, figure in told["none"].items() if figure["value"] is None} == empty
    assert all(str(table.figures["none"][name]) == "-" for name in empty)
    assert next(iter(table.rendered())).row_count == len(SCORES)


# --- A checkpoint is measured on anyone's clips as they are: nothing is trained, and every clip goes the live way


@pytest.fixture
def root(corpus_folder, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(corpus_folder, tmp_path / "corpus"))


@pytest.fixture
def evaluated(tiny_model, tmp_path, quick_encoder, monkeypatch):
    """Runs ``evaluate --model`` on a folder, in this process and without listening for words."""
    monkeypatch.setattr("stream_mer.training.crossvalidation.fit", None)  # nothing may be trained
    assert quick_encoder is not None

    def run(*args):
        given = ["--model", tiny_model, "--cache", tmp_path / "cache", "--no-transcripts", "--threads", 1, *args]
        return CliRunner().invoke(evaluate_command, [str(arg) for arg in given])

    return run


@pytest.mark.usefixtures("jobs")
def test_the_table_is_printed_and_written_without_any_training(evaluated, corpus_folder, tmp_path):
    done = evaluated("--corpus", corpus_folder, "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    assert "tiny as it is, no training" in done.stdout
    assert "What a listener is shown" in done.stdout
    assert "Warning: 10 clips are few" in done.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (found["model"], found["clips"]) == ("tiny", 10)
    assert all(list(found[kind]) == list(SCORES) for kind in COLUMNS)
    assert found["none"]["quadrants_f1"]["n"] == 9
    assert found["none"]["clusters_f1"]["n"] == 10
    assert found["live"]["cues a minute"]["n"] == 10


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("how", ["names", "semicolons", "a mark at the beginning", "bare"])
def test_anyones_manifest_gives_the_same_table(how, evaluated, root, tmp_path, manifest_rows):
    def figures():
        done = evaluated("--corpus", root, "--json", tmp_path / "found.json")
        assert done.exit_code == 0, done.output
        found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["none"]
        return {
            name: found[name]["value"] for name in ("quadrants_accuracy", "quadrants_f1", "valence_ccc", "arousal_r2")
        }

    expected = figures()
    assert None not in expected.values()
    names = dict(zip(("Q1", "Q2", "Q3", "Q4", ""), ("happy", "Angry", "SAD", "relaxed", ""), strict=True))
    kept = ["audio", "quadrant", "valence", "arousal"] if how == "bare" else list(manifest_rows[0])
    mark, sign = ("\ufeff" if how.startswith("a mark") else ""), ";" if how == "semicolons" else ","
    lines = [sign.join(f" {name.upper()}" if how == "names" else name for name in kept)]
    for row in manifest_rows:
        cells = dict(row)
        if how in ("names", "semicolons"):
            cells["quadrant"] = names[row["quadrant"]]
        if how == "semicolons":  # as a spreadsheet writes it where numbers have a decimal comma
            cells |= {name: row[name].replace(".", ",") for name in ("valence", "arousal")}
        lines.append(sign.join(cells[name] for name in kept))
    (root / "manifest.csv").write_text(mark + "\n".join(lines) + "\n", encoding="utf-8")
    assert figures() == pytest.approx(expected, abs=LAYER)


@pytest.mark.usefixtures("jobs")
def test_folds_and_artists_do_not_matter(evaluated, root, manifest_rows, manifest_writer):
    manifest_writer(root, [row | {"artist": "The One", "fold": "9"} for row in manifest_rows])
    done = evaluated("--corpus", root)
    assert done.exit_code == 0, done.output
    assert "fold" not in done.stderr


@pytest.mark.parametrize(
    "args", [["--epochs", "3"], ["--stage-copies", "1"], ["--ablations"], ["--words", "songs.csv"]]
)
def test_options_of_training_are_refused(args, evaluated, corpus_folder):
    done = evaluated("--corpus", corpus_folder, *args)
    assert done.exit_code == 2
    assert f"{args[0]} is for training" in done.stderr


def test_clips_without_any_label_are_refused(root, tiny_model, tmp_path, manifest_rows, manifest_writer):
    manifest_writer(root, [{"audio": row["audio"]} for row in manifest_rows])
    with pytest.raises(CorpusError, match=r"no clip of .*corpus has a quadrant, a cluster, or valence and arousal"):
        prepare_to_measure([root], load_checkpoint(tiny_model), tmp_path / "cache")
    assert CorpusError.exit_code == 2


def test_a_label_by_another_name_is_named(root, tiny_model, tmp_path, manifest_rows, manifest_writer):
    manifest_writer(root, [{"audio": row["audio"], "mood": "happy"} for row in manifest_rows])
    with pytest.raises(CorpusError, match=r"not read: the column 'mood' \(is it 'quadrant'\?\)"):
        prepare_to_measure([root], load_checkpoint(tiny_model), tmp_path / "cache")


@pytest.mark.usefixtures("jobs", "quick_encoder")
def test_clips_are_heard_as_in_a_live_stream(corpus_folder, tiny_model, tmp_path):
    """Audio to tokens to components to outputs gives what the predictor of a live stream gives at the same times."""
    checkpoint = load_checkpoint(tiny_model)
    data = prepare_to_measure([corpus_folder], checkpoint, tmp_path, transcripts=False)
    results = predict_all(data, checkpoint)
    samples = read_audio(data.clips[2].audio)
    stream = EmotionPredictor(checkpoint).open_stream(WindowSettings())
    for moment, outputs in enumerate(results.moments[2]):
        end = 8_000 * (moment + 1)
        window = Window(index=moment, start_sample=0, samples=samples[:end])
        live = stream.predict(window, NO_LYRICS)
        assert (live.valence, live.arousal) == pytest.approx(outputs[:2], abs=10 * KEPT)


def test_words_move_the_result_as_far_as_the_checkpoint_lets_them(clip_set, tiny_model):
    data, loaded = clip_set(8), load_checkpoint(tiny_model)
    joint = random_joint(replace(loaded.joint.config, audio_components=data.tokens.shape[3]))
    found = {}
    for strength in (0.0, 1.0):
        calibration = replace(
            loaded.calibration, text_strength=TextStrength(emotion=strength, category=0.0, cluster=0.0)
        )
        found[strength] = predict_all(data, replace(loaded, joint=joint, calibration=calibration)).clips
    np.testing.assert_allclose(found[0.0]["printed"].emotion, found[0.0]["none"].emotion, rtol=0, atol=LAYER)
    spoken = [row for row in range(8) if data.has_lines(row, "printed")]
    assert (np.abs(found[1.0]["printed"].emotion - found[1.0]["none"].emotion)[spoken] > LAYER).any()
    np.testing.assert_allclose(found[1.0]["printed"].category, found[1.0]["none"].category, rtol=0, atol=LAYER)
    measured = measure(data, replace(loaded, joint=joint))
    assert json.dumps(measured.to_dict(), allow_nan=False)


# --- The folds heard under troubles of the sound: only what is heard changes, never what was learnt


SMALL = Recipe(
    epochs=6,
    batch_size=16,
    model=JointModelConfig(
        audio_features=1, text_features=LINE_FEATURES, members=1, width=16, heads=2, input_dropout=0
    ),
)


def measured(data, recipe, cache):
    results = cross_validate(data, recipe, 0, cache, conditions=(AUDIO_ONLY, *stage_conditions(data)))
    return stage_report(data, results)


def test_a_trouble_that_swaps_the_sounds_is_told_as_what_it_costs(clip_set, tmp_path):
    report = measured(clip_set(80, troubles=("swapped",)), replace(SMALL, epochs=12, learning_rate=1e-2), tmp_path)
    assert list(report.sounds) == [AS_RECORDED, "swapped"]
    recorded, swapped = (report.sounds[sound]["quadrants_f1"] for sound in report.sounds)
    assert recorded.figure.value > 0.8
    assert swapped.figure.value < 0.3  # the sound of the next quadrant is taken for the next quadrant
    assert recorded.difference.value == 0.0
    assert swapped.difference.value == pytest.approx(swapped.figure.value - recorded.figure.value)


def test_a_trouble_changes_what_is_heard_and_nothing_else(clip_set, tmp_path):
    data = clip_set(40, troubles=("swapped",))
    alone = cross_validate(data, SMALL, 0, tmp_path, conditions=(AUDIO_ONLY,))
    both = cross_validate(
        data, SMALL, 0, tmp_path, conditions=(Condition(name="swapped", text="none", sound="swapped"), AUDIO_ONLY)
    )
    np.testing.assert_allclose(alone.clips["none"].emotion, both.clips["none"].emotion, rtol=0, atol=LAYER)
    assert not np.allclose(both.clips["swapped"].emotion, both.clips["none"].emotion)


def test_the_report_reads_as_a_table_and_as_json(clip_set, tmp_path):
    report = measured(clip_set(40, troubles=("swapped",)), SMALL, tmp_path)
    text = io.StringIO()
    Console(width=200, file=text).print(*report.rendered())
    row = next(line for line in text.getvalue().splitlines() if "swapped" in line)
    cell = report.sounds["swapped"]["valence_ccc"]
    assert f"{cell.figure.value:.3f} ({cell.difference.value:+.3f}" in row
    assert json.loads(json.dumps(report.to_dict()))["sounds"]["swapped"]["valence_ccc"]["figure"]["n"] == 40
