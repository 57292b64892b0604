"""The card and its pictures."""

import builtins
import logging
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from torch import nn

from stream_mer.emotion.checkpoint import Calibration, CategoryLink, Checkpoint, PredictionError
from stream_mer.training import card as card_module
from stream_mer.training.calibrate import CalibrationReport, ClassCalibration, ConfidenceRow, Coverage, ReliabilityBin
from stream_mer.training.card import confusion_svg, reliability_svg, write_card, write_pictures
from stream_mer.training.evaluate import AS_RECORDED, COLUMNS, STAGE_SCORES, WORD_SCORES, FoldTable, StageReport
from stream_mer.training.metrics import SCORES, Cell, Figure, LiveReport
from stream_mer.types import CATEGORIES, CLUSTERS

FIGURE = Figure(value=0.5, low=0.4, high=0.6, n=90)
TABLE = FoldTable(
    figures={kind: dict.fromkeys(SCORES, FIGURE) for kind in COLUMNS},
    words={"verses": dict.fromkeys(WORD_SCORES, replace(FIGURE, value=0.625))},
)


@pytest.fixture
def checkpoint():
    four = [[40, 1, 2, 3], [4, 50, 5, 6], [7, 8, 60, 9], [10, 11, 12, 70]]
    five = [[20 + row, 1, 2, 3, 4] for row in range(5)]
    counts = {"all": 99, "category": 90, "cluster": 80, "recognised": 70, "printed": 60}
    training = {"version": "9.9", "members": 3, "clips": counts}
    modules = nn.Linear(1, 1)
    return Checkpoint(
        name="mine",
        backbone=modules,
        joint=modules,
        calibration=Calibration(
            errors=(
                PredictionError(heard_s=1.0, valence=0.61, arousal=0.52),
                PredictionError(heard_s=10.0, valence=0.44, arousal=0.21),
            ),
            category_temperature=1.33,
            category_link=CategoryLink(weight=0.4),
        ),
        training=training
        | {"confusions": {"category": four, "cluster": five}, "stage_copies": 2, "words": ["verses", "poems"]}
        | {"corpora": ["DEAM", "mine"], "transcribed": False},
    )


@pytest.fixture
def report():
    found = ClassCalibration(before=replace(FIGURE, value=0.068), after=replace(FIGURE, value=0.033), bins=())
    return CalibrationReport(
        level=0.8,
        coverage=(Coverage(heard_s=2.0, valence=replace(FIGURE, value=0.801), arousal=replace(FIGURE, value=0.799)),),
        category=found,
        cluster=replace(found, before=replace(FIGURE, value=0.042)),
        unknown=(ConfidenceRow(confidence=0.6, expected=0.571, share=0.706, kept=replace(FIGURE, value=0.805)),),
    )


def test_it_tells_what_calibration_promised_and_kept(tmp_path, checkpoint, report):
    write_card(tmp_path, checkpoint, TABLE, origin="Made up by a test.", report=report)
    card = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# mine")
    command = "stream-mer train --corpus DEAM --corpus mine --no-transcripts --stage-copies 2"
    assert f"{command} --words verses.csv --words poems.csv --out mine" in card
    assert "| 1 | ± 0.61 | ± 0.52 |" in card
    assert "| 10 | ± 0.44 | ± 0.21 |" in card
    assert "weight 0.4" in card
    assert "| 2 | 0.801 [0.400, 0.600] | 0.799 [0.400, 0.600] |" in card
    assert "| 0.068 [0.400, 0.600] → 0.033 [0.400, 0.600] |" in card
    assert "| 0.042 [0.400, 0.600] → 0.033 [0.400, 0.600] |" in card
    assert "| 0.6 | 0.57 | 71% | 0.805 [0.400, 0.600] |" in card
    assert "| verses | 90 | 0.625 [0.400, 0.600] |" in card
    assert "| sad | 7 | 8 | 60 | 9 |" in card
    assert "{" not in card


def test_every_picture_that_it_shows_lies_beside_it(tmp_path, checkpoint, report):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'train'")
    write_card(tmp_path, checkpoint, TABLE, origin="", report=report)
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (tmp_path / "CARD.md").read_text(encoding="utf-8"))
    assert shown == ["confusion-category.svg", "confusion-cluster.svg", "reliability.svg"]
    assert all((tmp_path / name).is_file() for name in shown)


def test_without_pictures_or_a_report_it_shows_none(tmp_path, checkpoint, report, monkeypatch):
    monkeypatch.setattr(card_module, "write_pictures", lambda *_: ())
    write_card(tmp_path, checkpoint, TABLE, origin="", report=report)
    assert "![" not in (tmp_path / "CARD.md").read_text(encoding="utf-8")
    write_card(tmp_path, checkpoint, replace(TABLE, words={}), origin="")
    card = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert "![" not in card
    assert "| 10 | ± 0.44 | ± 0.21 |" in card
    assert "--min-accuracy" not in card
    assert "Words alone" not in card


def test_it_tells_how_far_the_model_holds_on_a_stage(tmp_path, checkpoint):
    def cells(value, change):
        cell = Cell(figure=replace(FIGURE, value=value), difference=replace(FIGURE, value=change, low=-0.2, high=0.0))
        return dict.fromkeys(STAGE_SCORES, cell)

    stage = StageReport(sounds={AS_RECORDED: cells(0.7, 0.0), "level -20 dB": cells(0.6, -0.1)})
    write_card(tmp_path, checkpoint, TABLE, origin="", stage=stage)
    card = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert "trained on 2 degraded copies of each clip" in card
    assert "| as recorded | 0.700 [0.400, 0.600] |" in card
    assert "| level -20 dB | 0.600 (-0.100 [-0.200, +0.000]) |" in card
    write_card(tmp_path, checkpoint, TABLE, origin="", stage=StageReport(sounds={AS_RECORDED: cells(0.7, 0.0)}))
    assert "On a stage" not in (tmp_path / "CARD.md").read_text(encoding="utf-8")


def test_it_tells_how_well_the_published_frames_do(tmp_path, checkpoint):
    live = LiveReport(figures={"cues a minute": replace(FIGURE, value=1.25, n=77)})
    write_card(tmp_path, checkpoint, TABLE, origin="", live=live)
    assert "| cues a minute | 77 | 1.250 [0.400, 0.600] |" in (tmp_path / "CARD.md").read_text(encoding="utf-8")


# --- The pictures of a card are small, say the numbers, and come out the same each time


COUNTS = [[140, 13, 14, 13], [13, 159, 4, 4], [12, 8, 94, 66], [0, 0, 0, 0]]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'train'")


def figure(value):
    return Figure(value=value, low=value - 0.05, high=value + 0.05, n=90)


def report_with_bins(*, n_bins=8):
    bins = tuple(ReliabilityBin(confidence=0.3 + 0.08 * i, accuracy=figure(0.28 + 0.08 * i)) for i in range(n_bins))
    found = ClassCalibration(before=figure(0.068), after=figure(0.033), bins=bins)
    unknown = tuple(
        ConfidenceRow(confidence=0.1 * i, expected=0.1 * i, share=1 - 0.08 * i, kept=figure(0.6 + 0.03 * i))
        for i in range(3, 3 + n_bins)
    )
    return CalibrationReport(
        level=0.8,
        coverage=(),
        category=found,
        cluster=replace(found, before=figure(0.042)),
        unknown=unknown,
    )


def texts(svg):
    found = ET.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own picture
    return ["".join(one.itertext()).strip() for one in found]


def test_a_confusion_matrix_says_every_count_and_its_share_of_the_class():
    said = texts(confusion_svg(COUNTS, CATEGORIES, title="Emotion category"))
    for name in CATEGORIES:
        assert said.count(name) == 2  # a row and a column
    assert "Emotion category" in said
    assert {"true", "predicted"} <= set(said)
    joined = " ".join(said)
    for row in COUNTS:
        for count in row:
            assert re.search(rf"\b{count}\b", joined)
    assert "78%" in joined  # 140 of 180
    assert "88%" in joined
    assert "nan" not in joined  # nothing is of the last class


def test_the_shade_of_a_cell_is_its_share():
    def shades(counts):
        svg = confusion_svg(counts, ("a", "b"), title="t").decode()
        return re.findall(r'style="fill: (#[0-9a-f]{6}); stroke: #ffffff', svg)

    first, ten_times = shades([[9, 1], [5, 5]]), shades([[90, 10], [50, 50]])
    assert first == ten_times
    assert len(set(first)) == 3
    brightness = [sum(int(shade[i : i + 2], 16) for i in (1, 3, 5)) for shade in first]
    assert brightness[0] < brightness[2] == brightness[3] < brightness[1]


def test_reliability_names_its_lines_and_the_errors_before_and_after():
    said = texts(reliability_svg(report_with_bins()))
    assert "category, error 0.068 → 0.033" in said
    assert "cluster, error 0.042 → 0.033" in said
    assert {"as promised", "kept", "right, of those kept", "expected at this confidence"} <= set(said)


@pytest.mark.parametrize("n_bins", [0, 1])
def test_a_corpus_with_few_labels_still_has_a_picture(n_bins):
    assert "confidence" in texts(reliability_svg(report_with_bins(n_bins=n_bins)))


def test_the_files_are_small_the_same_each_time_and_legible_on_any_page(tmp_path):
    five = [[37, 34, 19, 12, 34]] * 5
    confusions = {"category": (COUNTS, CATEGORIES), "cluster": (five, CLUSTERS)}
    names = write_pictures(tmp_path, confusions, report_with_bins())
    assert names == ("confusion-category.svg", "confusion-cluster.svg", "reliability.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for svg in before.values():
        assert len(svg) < 60_000
        assert ET.fromstring(svg).tag == f"{SVG}svg"  # noqa: S314 - our own picture
        assert b'id="patch_1"' in svg
        ground = svg[svg.index(b'id="patch_1"') :][:400]
        assert b"fill: #ffffff" in ground  # opaque, so that dark pages do not swallow the dark text
        assert b"fill-opacity" not in ground
    assert write_pictures(tmp_path, confusions, report_with_bins()) == names
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert write_pictures(tmp_path, confusions) == names[:2]


def test_without_matplotlib_there_are_no_pictures_and_a_warning(tmp_path, monkeypatch, caplog):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with caplog.at_level(logging.WARNING):
        assert write_pictures(tmp_path, {"category": (COUNTS, CATEGORIES)}, report_with_bins()) == ()
    assert "pip install 'stream-mer[train]'" in caplog.text
    assert list(tmp_path.iterdir()) == []
