"""The card tells what was measured, and shows its pictures where there are any."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from stream_mer.emotion.checkpoint import Calibration, CategoryLink, Checkpoint, PredictionError
from stream_mer.training import card as card_module
from stream_mer.training.calibrate import CalibrationReport, ClassCalibration, ConfidenceRow, Coverage
from stream_mer.training.card import write_card
from stream_mer.training.evaluate import AS_RECORDED, COLUMNS, STAGE_SCORES, WORD_SCORES, FoldTable, StageReport
from stream_mer.training.live import LiveReport
from stream_mer.training.metrics import SCORES, Cell, Cells, Figure

FIGURE = Figure(value=0.5, low=0.4, high=0.6, n=90)
TABLE = FoldTable(
    figures={kind: dict.fromkeys(SCORES, FIGURE) for kind in COLUMNS},
    words={"verses": dict.fromkeys(WORD_SCORES, replace(FIGURE, value=0.625))},
)


@pytest.fixture
def checkpoint() -> Checkpoint:
    four = [[40, 1, 2, 3], [4, 50, 5, 6], [7, 8, 60, 9], [10, 11, 12, 70]]
    five = [[20 + row, 1, 2, 3, 4] for row in range(5)]
    counts = {"all": 99, "category": 90, "cluster": 80, "recognised": 70, "printed": 60}
    training: dict[str, Any] = {"version": "9.9", "members": 3, "clips": counts}
    modules: Any = nn.Linear(1, 1)
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
def report() -> CalibrationReport:
    found = ClassCalibration(before=replace(FIGURE, value=0.068), after=replace(FIGURE, value=0.033), bins=())
    return CalibrationReport(
        level=0.8,
        coverage=(Coverage(heard_s=2.0, valence=replace(FIGURE, value=0.801), arousal=replace(FIGURE, value=0.799)),),
        category=found,
        cluster=replace(found, before=replace(FIGURE, value=0.042)),
        unknown=(ConfidenceRow(confidence=0.6, expected=0.571, share=0.706, kept=replace(FIGURE, value=0.805)),),
    )


def test_it_tells_what_calibration_promised_and_kept(
    tmp_path: Path, checkpoint: Checkpoint, report: CalibrationReport
) -> None:
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


def test_every_picture_that_it_shows_lies_beside_it(
    tmp_path: Path, checkpoint: Checkpoint, report: CalibrationReport
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'train'")
    write_card(tmp_path, checkpoint, TABLE, origin="", report=report)
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (tmp_path / "CARD.md").read_text(encoding="utf-8"))
    assert shown == ["confusion-category.svg", "confusion-cluster.svg", "reliability.svg"]
    assert all((tmp_path / name).is_file() for name in shown)


def test_without_pictures_or_a_report_it_shows_none(
    tmp_path: Path, checkpoint: Checkpoint, report: CalibrationReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_module, "write_pictures", lambda *_: ())
    write_card(tmp_path, checkpoint, TABLE, origin="", report=report)
    assert "![" not in (tmp_path / "CARD.md").read_text(encoding="utf-8")
    write_card(tmp_path, checkpoint, replace(TABLE, words={}), origin="")
    card = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert "![" not in card
    assert "| 10 | ± 0.44 | ± 0.21 |" in card
    assert "--min-accuracy" not in card
    assert "Words alone" not in card


def test_it_tells_how_far_the_model_holds_on_a_stage(tmp_path: Path, checkpoint: Checkpoint) -> None:
    def cells(value: float, change: float) -> Cells:
        cell = Cell(figure=replace(FIGURE, value=value), difference=replace(FIGURE, value=change, low=-0.2, high=0.0))
        return dict.fromkeys(STAGE_SCORES, cell)

    stage = StageReport(sounds={AS_RECORDED: cells(0.7, 0.0), "level -20 dB": cells(0.6, -0.1)})
    write_card(tmp_path, checkpoint, TABLE, origin="", stage=stage)
    card = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert "It also learned from 2 copies of each clip" in card
    assert "| as recorded | 0.700 [0.400, 0.600] |" in card
    assert "| level -20 dB | 0.600 (-0.100 [-0.200, +0.000]) |" in card
    write_card(tmp_path, checkpoint, TABLE, origin="", stage=StageReport(sounds={AS_RECORDED: cells(0.7, 0.0)}))
    assert "On a stage" not in (tmp_path / "CARD.md").read_text(encoding="utf-8")


def test_it_tells_how_well_the_published_frames_do(tmp_path: Path, checkpoint: Checkpoint) -> None:
    live = LiveReport(figures={"cues a minute": replace(FIGURE, value=1.25, n=77)})
    write_card(tmp_path, checkpoint, TABLE, origin="", live=live)
    assert "| cues a minute | 77 | 1.250 [0.400, 0.600] |" in (tmp_path / "CARD.md").read_text(encoding="utf-8")
