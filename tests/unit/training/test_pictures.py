"""The pictures of a card are small, say the numbers, and come out the same each time."""

from __future__ import annotations

import builtins
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from stream_mer.training.calibrate import CalibrationReport, ClassCalibration, ConfidenceRow, ReliabilityBin
from stream_mer.training.card import confusion_svg, reliability_svg, write_pictures
from stream_mer.training.metrics import Figure
from stream_mer.types import CATEGORIES, CLUSTERS

COUNTS = [[140, 13, 14, 13], [13, 159, 4, 4], [12, 8, 94, 66], [0, 0, 0, 0]]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'train'")


def figure(value: float) -> Figure:
    return Figure(value=value, low=value - 0.05, high=value + 0.05, n=90)


def report(*, n_bins: int = 8) -> CalibrationReport:
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


def texts(svg: bytes) -> list[str]:
    found = ET.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own picture
    return ["".join(one.itertext()).strip() for one in found]


def test_a_confusion_matrix_says_every_count_and_its_share_of_the_class() -> None:
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


def test_the_shade_of_a_cell_is_its_share() -> None:
    def shades(counts: list[list[int]]) -> list[str]:
        svg = confusion_svg(counts, ("a", "b"), title="t").decode()
        return re.findall(r'style="fill: (#[0-9a-f]{6}); stroke: #ffffff', svg)

    first, ten_times = shades([[9, 1], [5, 5]]), shades([[90, 10], [50, 50]])
    assert first == ten_times
    assert len(set(first)) == 3
    brightness = [sum(int(shade[i : i + 2], 16) for i in (1, 3, 5)) for shade in first]
    assert brightness[0] < brightness[2] == brightness[3] < brightness[1]


def test_reliability_names_its_lines_and_the_errors_before_and_after() -> None:
    said = texts(reliability_svg(report()))
    assert "category, error 0.068 → 0.033" in said
    assert "cluster, error 0.042 → 0.033" in said
    assert {"as promised", "kept", "right, of those kept", "expected at this confidence"} <= set(said)


def test_reliability_draws_each_bin_where_it_belongs() -> None:
    # One point more is one marker more for each of both heads.
    few, many = (reliability_svg(report(n_bins=n)).decode().count("<use ") for n in (3, 5))
    assert many > few


@pytest.mark.parametrize("n_bins", [0, 1])
def test_a_corpus_with_few_labels_still_has_a_picture(n_bins: int) -> None:
    assert "confidence" in texts(reliability_svg(report(n_bins=n_bins)))


def test_the_files_are_small_the_same_each_time_and_legible_on_any_page(tmp_path: Path) -> None:
    five = [[37, 34, 19, 12, 34]] * 5
    confusions: dict[str, Any] = {"category": (COUNTS, CATEGORIES), "cluster": (five, CLUSTERS)}
    names = write_pictures(tmp_path, confusions, report())
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
    assert write_pictures(tmp_path, confusions, report()) == names
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert write_pictures(tmp_path, confusions) == names[:2]


def test_without_matplotlib_there_are_no_pictures_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with caplog.at_level(logging.WARNING):
        assert write_pictures(tmp_path, {"category": (COUNTS, CATEGORIES)}, report()) == ()
    assert "pip install 'stream-mer[train]'" in caplog.text
    assert list(tmp_path.iterdir()) == []
