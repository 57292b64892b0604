import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from benchmarks import __main__ as runner
from benchmarks.checkpoints import save_random_checkpoint
from benchmarks.latency import Stages
from benchmarks.report import REPORT_SCHEMA

ROOT = Path(__file__).parents[3]


def test_every_benchmark_is_listed_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main([]) == 0
    listed = capsys.readouterr().out
    found = runner.find_benchmarks()
    assert {"latency", "lyrics", "size", "startup"} <= set(found)
    for name, summary in found.items():
        assert any(line.split()[:1] == [name] and line.strip().endswith(summary) for line in listed.splitlines()), name


def test_help_is_the_same_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main([]) == 0
    without = capsys.readouterr().out
    assert runner.main(["--help"]) == 0
    assert capsys.readouterr().out == without


def test_listing_imports_no_benchmark() -> None:
    code = (
        "import sys; from benchmarks.__main__ import main; main([]); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'jiwer', 'benchmarks.latency')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_an_unknown_name_is_one_clear_line_and_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nope"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "'nope'" in line
    assert "size" in line


@pytest.mark.parametrize("arguments", [["size", "--nope"], ["size", "--json"], ["latency", "--runs", "0"]])
def test_a_bad_option_is_one_clear_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert arguments[1] in line


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["size", "--json", str(tmp_path / "missing" / "size.json")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / "missing") in captured.err


def test_size_runs_on_the_package_itself_and_writes_plain_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "size.json"
    assert runner.main(["size", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    jsonschema.validate(report, REPORT_SCHEMA)
    package = report["tables"]["packages"][0]
    assert package["package"] == "stream_mer"
    sources = [path for path in (ROOT / "stream_mer").rglob("*.py") if path.name != "__init__.py"]
    assert len(sources) <= package["modules"] <= len(sources) + 3
    assert f" {package['module_longest']} " in capsys.readouterr().out


def test_latency_runs_on_a_random_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the two peers that want something of the user's, it says so and measures the rest."""
    for name in ("STREAM_MER_MUSICNN", "STREAM_MER_VIBENET_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    save_random_checkpoint(tmp_path / "random")
    file = tmp_path / "latency.json"
    grid = ["--hop", "0.5", "--context", "3", "--lines", "0", "--lines", "2", "--runs", "1", "--repeats", "2"]
    assert runner.main(["latency", *grid, "--model", str(tmp_path / "random"), "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    jsonschema.validate(report, REPORT_SCHEMA)
    rows = report["tables"]["grid"]
    assert [(row["hop_s"], row["context_s"], row["lines"]) for row in rows] == [(0.5, 3.0, 0), (0.5, 3.0, 2)]
    for row in rows:
        stages = [row[f"{stage}_ms"] for stage in Stages.NAMES]
        assert [stage > 0 for stage in stages] == [True, True, True, True, row["lines"] > 0, True]
        assert max(stages) < row["total_ms"] <= row["total_p95_ms"]
        assert row["total_over_floor"] > 1
        assert (row["total_of_vibenet"], row["total_of_musicnn"]) == (None, None)
        assert row["real_time_percent"] == pytest.approx(row["total_ms"] / 5)
    assert len(report["tables"]["peers"]) == 2
    assert sum("was left out" in note for note in report["notes"]) == 2
    assert "random" in capsys.readouterr().out


def test_latency_refuses_a_grid_that_no_stream_could_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["latency", "--hop", "9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hop must be" in line


def test_lyrics_says_what_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAM_MER_SONGS", raising=False)
    assert runner.main(["lyrics"]) == 2
    monkeypatch.setenv("STREAM_MER_SONGS", str(tmp_path))
    assert runner.main(["lyrics"]) == 2
    without, empty = capsys.readouterr().err.splitlines()
    assert "--songs DIR" in without
    assert str(tmp_path) in empty
