"""Each variant lacks the part that it is called after, and every difference is paired with the whole method."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console

from stream_mer.cli import training
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training import crossvalidation, metrics
from stream_mer.training.ablations import (
    COLUMNS,
    CORRUPTED,
    VARIANTS,
    WORD_CONDITIONS,
    AblationReport,
    run_ablations,
)
from stream_mer.training.calibrate import with_earned_strength
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, cross_validate
from stream_mer.training.dataset import corrupted_kind
from stream_mer.training.fit import Recipe, fit
from stream_mer.training.metrics import SCORES, Cell, cell_text, score
from stream_mer.training.network import JointNetwork

ROUNDS = 30  # of every interval; what an interval is, the tests of ``metrics`` say
BY_TITLE = {variant.title: variant for variant in VARIANTS}

CHANGES = {
    "main task alone": {"losses.category": 0.0, "losses.cluster": 0.0, "losses.agreement": 0.0},
    "auxiliary task alone": {"losses.emotion": 0.0},
    "no private layers": {"model.private": False},
    "no shared layers": {"model.shared": False},
    "concatenation, no self-attention": {"model.attention": False},
    "no difference and similarity losses": {"losses.difference": 0.0, "losses.similarity": 0.0},
    "no modality dropout": {"sampling.text.absent": 0.0},
    "a clip's words at times without its music": {"sampling.text.alone": 0.6},
    "taught by audio only": {"sampling.text.absent": 1.0, "songs_per_epoch": 0},
    "one time scale": {"model.newest_tokens": 0},
    "taught by mood words, not listeners": {"taught_by": "tags"},
    "no YAMNet": {"yamnet": False},
    "no order of mood words": {"losses.order": 0.0},
    "no dynamics loss": {"losses.dynamics": 0.0},
}


def flat(settings, prefix=""):
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def changes(recipe, variant):
    before, after = (dict(flat(asdict(r))) for r in (recipe, variant.change(recipe)))
    assert before.keys() == after.keys()
    return {name: after[name] for name in after if after[name] != before[name]}


@pytest.mark.parametrize("of_recipe", ["the shipped one", "a small one"])
def test_a_variant_changes_what_it_says_and_nothing_else(of_recipe, small_recipe):
    recipe = Recipe() if of_recipe == "the shipped one" else small_recipe
    assert {variant.title: changes(recipe, variant) for variant in VARIANTS} == CHANGES


# --- what the changes do to the network and to what it reads


def drawn_model(recipe):
    torch.manual_seed(0)
    return JointNetwork(recipe.model)


@pytest.mark.parametrize(
    ("title", "gone"),
    [
        ("no private layers", ("private_audio.", "private_text.")),
        ("no shared layers", ("shared.",)),
        ("concatenation, no self-attention", ("fusion.attention.",)),
    ],
)
def test_a_part_of_the_network_that_is_left_out_is_not_there(title, gone, small_recipe):
    whole, other = (drawn_model(r).state_dict() for r in (small_recipe, BY_TITLE[title].change(small_recipe)))
    for prefix in gone:
        assert any(name.startswith(prefix) for name in whole)
        assert not any(name.startswith(prefix) for name in other)


def test_a_variant_is_mute_in_what_it_was_never_taught():
    assert BY_TITLE["main task alone"].mute == {name for name in SCORES if "f1" in name}
    assert BY_TITLE["auxiliary task alone"].mute >= {name for name in COLUMNS if "ccc" in name or "r2" in name}
    assert not BY_TITLE["auxiliary task alone"].mute & {name for name in COLUMNS if "f1" in name}
    assert not any(variant.mute for variant in VARIANTS if "task alone" not in variant.title)


# --- the words of the whole model


def test_the_words_are_wrong_late_and_by_themselves():
    names = [condition.name for condition in (*STANDARD_CONDITIONS, *WORD_CONDITIONS)]
    assert len(set(names)) == len(names)
    for text in ("recognised", "printed"):
        of_text = [condition for condition in WORD_CONDITIONS if condition.text.startswith(text)]
        assert [c.text for c in of_text if "corrupted" in c.name] == [corrupted_kind(text, s) for s in CORRUPTED]
        assert [c.text for c in of_text if not c.audio] == [text]
        assert [c.delay_s for c in of_text if "late" in c.name] == ([6.0] if text == "recognised" else [])


# --- the report


class Ran:
    """One run of all ablations, with what was trained and predicted on the way."""

    def __init__(self, data, recipe, cache):
        self.data, self.recipe, self.cache = data, recipe, cache
        self.fits = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crossvalidation, "fit", self._counted)
            self.report = run_ablations(data, recipe, 0, cache)

    def _counted(self, *args, **kwargs):
        self.fits += 1
        return fit(*args, **kwargs)

    def results(self, variant=None):
        """From the cache."""
        conditions = STANDARD_CONDITIONS if variant else (*STANDARD_CONDITIONS, *WORD_CONDITIONS)
        recipe = variant.change(self.recipe) if variant else self.recipe
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crossvalidation, "fit", None)
            bare = cross_validate(self.data, recipe, 0, self.cache, conditions=conditions)
        return with_earned_strength(self.data, bare, as_they_are=frozenset(c.name for c in conditions if not c.audio))


@pytest.fixture(scope="module")
def ran(clip_set, small_recipe, tmp_path_factory):
    data = clip_set(24, songs=6)
    data.clips = tuple(replace(clip, fold=clip.fold % 2) for clip in data.clips)
    rng = np.random.default_rng(1)
    for text in ("recognised", "printed"):
        for share in CORRUPTED:
            data._lines[corrupted_kind(text, share)] = [
                replace(
                    lines,
                    vectors=lines.vectors + np.float32(share) * rng.standard_normal(LINE_FEATURES).astype(np.float32),
                )
                for lines in data._lines[text]
            ]
    recipe = replace(small_recipe, epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, rounds=ROUNDS))
        return Ran(data, recipe, tmp_path_factory.mktemp("folds"))


def every(data, results, figure, condition):
    one = score(data, results.clips[condition], results.frames[condition])[figure]
    return one.statistic(np.arange(len(one.artists)))


def test_every_variant_is_trained_on_every_fold_and_kept(ran):
    assert ran.fits == 2 * (1 + len(VARIANTS))
    again = Ran(ran.data, ran.recipe, ran.cache)
    assert again.fits == 0
    values = [{name: cell and cell.figure.value for name, cell in r.report.whole.items()} for r in (ran, again)]
    assert values[0] == values[1]


def test_the_table_of_parts_compares_each_with_the_whole(ran):
    report, whole = ran.report, ran.results()
    assert report.members == 2
    assert list(report.parts) == [variant.title for variant in VARIANTS]
    for variant in VARIANTS:
        cells, results = report.parts[variant.title], ran.results(variant)
        assert list(cells) == list(COLUMNS)
        for name, condition in COLUMNS.items():
            cell = cells[name]
            if name in variant.mute:
                assert cell is None
                continue
            assert cell is not None
            ours, theirs = (every(ran.data, r, name, condition.name) for r in (results, whole))
            assert cell.figure.value == pytest.approx(ours)
            assert cell.difference.value == pytest.approx(ours - theirs)


def test_the_members_are_told_one_by_one(ran):
    whole = ran.results()
    for name, condition in COLUMNS.items():
        cell = ran.report.whole[name]
        assert cell is not None
        if name.startswith("frame"):
            assert cell.seeds is None
            continue
        alone = []
        for member in whole.members[condition.name]:
            one = score(ran.data, member)[name]
            alone.append(one.statistic(np.arange(len(one.artists))))
        assert cell.seeds == pytest.approx((np.mean(alone), np.std(alone)))


def test_the_table_of_words_is_of_clips_with_these_words(ran):
    whole = ran.results()
    for text, rows in ran.report.words.items():
        assert list(rows) == [text, "audio only", *(c.name for c in WORD_CONDITIONS if c.text.startswith(text))]
        spoken = np.array([ran.data.has_lines(row, text) for row in range(len(ran.data))]) & ran.data.with_audio
        assert not spoken[24:].any()
        for title, cells in rows.items():
            name = "none" if title == "audio only" else title
            for figure, cell in cells.items():
                assert cell is not None
                ours, theirs = (score(ran.data, whole.clips[given], among=spoken)[figure] for given in (name, text))
                assert cell.figure.n == spoken.sum()
                every_clip = np.arange(len(ours.artists))
                assert cell.figure.value == pytest.approx(ours.statistic(every_clip))
                expected = ours.statistic(every_clip) - theirs.statistic(every_clip)
                assert cell.difference.value == pytest.approx(expected)
    told_apart = {
        cell.figure.value for cells in ran.report.words["printed"].values() for cell in cells.values() if cell
    }
    assert len(told_apart) > 1


def test_it_is_told_in_tables_and_in_json(ran):
    file = io.StringIO()
    parts, *words = ran.report.rendered()
    Console(file=file, width=400).print(parts, *words)
    text = file.getvalue()
    assert "2 networks each" in text
    assert parts.row_count == 1 + len(VARIANTS)
    assert len(parts.columns) == 1 + len(COLUMNS)
    assert [table.row_count for table in words] == [2 + 4, 2 + 3]
    assert all(variant.title in text for variant in VARIANTS)
    assert all(SCORES[name] in text for name in COLUMNS)
    whole = ran.report.whole["quadrants_f1"]
    other = ran.report.parts["no private layers"]["arousal_ccc"]
    assert other.seeds is not None
    assert str(whole.figure) in text
    assert f"{other.figure.value:.3f} ({other.difference.value:+.3f}" in text
    assert f"one by one {other.seeds[0]:.3f} ± {other.seeds[1]:.3f}" in text
    found = json.loads(json.dumps(ran.report.to_dict(), allow_nan=False))
    assert found["parts"]["main task alone"]["quadrants_f1"] is None
    assert found["parts"]["no private layers"]["arousal_ccc"]["difference"]["value"] == other.difference.value


def test_a_figure_that_was_never_taught_is_a_dash():
    assert cell_text(None, compared=True) == cell_text(None, compared=False) == "-"
    nothing = metrics.bootstrap(lambda _: 0.0, np.array([], str))
    assert cell_text(Cell(figure=nothing, difference=nothing), compared=True) == "-"


def test_the_command_trains_as_many_networks_of_each_variant_as_it_is_told(
    corpus_folder, tiny_model, tmp_path, quick_encoder, monkeypatch
):
    asked = []

    def noted(data, recipe, _seed, _cache):
        asked.append((recipe.model.members, {kind for kind in data._lines if data.has_lines(0, kind)}))
        return AblationReport(members=recipe.model.members, whole=dict.fromkeys(COLUMNS), parts={}, words={})

    monkeypatch.setattr(training, "run_ablations", noted)
    given = ["--corpus", corpus_folder, "--backbone", tiny_model, "--cache", tmp_path, "--no-transcripts"]
    for members in (1, 3):
        arguments = [*given, "--epochs", 1, "--threads", 1, "--members", members, "--ablations"]
        training.evaluate_command.main([str(argument) for argument in arguments], standalone_mode=False)
    kinds = {corrupted_kind(text, share) for text in ("recognised", "printed") for share in CORRUPTED}
    assert [members for members, _ in asked] == [1, 3]
    assert all(found >= kinds for _, found in asked)
    assert quick_encoder.encoded
