"""The age of frames is taken from a real server, on one clock."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from benchmarks import __main__ as runner
from benchmarks.checkpoints import save_random_checkpoint
from benchmarks.report import REPORT_SCHEMA


def test_age_listens_to_a_real_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_random_checkpoint(tmp_path / "random")
    file = tmp_path / "age.json"
    short = ["--seconds", "4", "--warm", "0", "--runs", "1", "--hop", "0.25", "--no-lyrics"]
    assert runner.main(["age", *short, "--model", str(tmp_path / "random"), "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    jsonschema.validate(report, REPORT_SCHEMA)
    told, outside = report["tables"]["ages"]
    assert (told["how"], outside["how"]) == ("told", "outside")
    assert told["frames"] == outside["frames"] > 1
    for row in (told, outside):
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert [row["p50"] for row in report["tables"]["ratios"]] == [None, None]
    assert "Age of a frame" in capsys.readouterr().out
