"""The runner, the report, checkpoints and child processes; and one benchmark in earnest."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as runner
from benchmarks import harness
from benchmarks.harness import (
    Measurement,
    Table,
    find_checkpoint,
    open_child,
    run_and_report,
    run_child,
)
from stream_mer.errors import CheckpointError, StreamMerError

ROOT = Path(__file__).parents[3]
ROW = {"song": "a", "wer": 0.1, "n": 1}


def _measured(*rows, notes=()):
    return Measurement(tables=(Table(key="songs", title="Songs", rows=rows),), notes=notes, threads=2)


def _report(measured, json_file=None):
    out = io.StringIO()
    report = run_and_report("made-up", lambda: measured, console=Console(file=out, width=150), json_file=json_file)
    return report, out.getvalue()


def test_table_and_json_hold_the_same_figures(tmp_path):
    row = {"song": "[bold]a[/bold]", "wer_of_all": 0.2534, "n": 12_345}
    measured = _measured(row, {"song": "b", "wer_of_all": None, "n": 0}, notes=("A note.",))
    report, shown = _report(measured, tmp_path / "made-up.json")
    written = json.loads((tmp_path / "made-up.json").read_text())
    assert written == report
    assert written["tables"]["songs"][0] == row
    assert written["machine"]["threads"] == 2
    for part in ("[bold]a[/bold]", "0.253", "12345", "A note.", "wer of all"):
        assert part in shown


def test_all_rows_of_a_table_have_the_same_keys():
    with pytest.raises(ValueError, match="songs"):
        _measured(ROW, {"song": "a", "wer": 0.1})


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        _report(_measured(ROW | {"wer": float("nan")}), tmp_path / "made-up.json")
    assert not (tmp_path / "made-up.json").exists()


@pytest.mark.parametrize(("load", "warned"), [([9.0, 1.0, 1.0], True), ([0.1, 9.0, 9.0], False), ([], False)])
def test_a_busy_machine_is_reported(load, warned, monkeypatch):
    monkeypatch.setattr(harness, "load_average", lambda: load)
    monkeypatch.setattr(harness, "describe_machine", lambda: {"cpu": "x", "cores": 2, "platform": "y", "numpy": "z"})
    _, shown = _report(_measured(ROW))
    assert ("Other work" in shown) is warned


def test_every_benchmark_is_listed_with_one_line(capsys):
    assert runner.main([]) == 0
    listed = capsys.readouterr().out
    assert runner.main(["--help"]) == 0
    assert capsys.readouterr().out == listed
    found = runner.find_benchmarks()
    assert {
        "age",
        "curves",
        "latency",
        "load",
        "lyrics",
        "peers",
        "profile",
        "scale",
        "soak",
        "startup",
        "throughput",
    } == set(found)
    for name, summary in found.items():
        assert any(line.split()[:1] == [name] and line.strip().endswith(summary) for line in listed.splitlines()), name


@pytest.mark.parametrize("name", runner.find_benchmarks())
def test_every_benchmark_can_be_imported(name, capsys):
    assert runner.main([name, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_listing_imports_no_benchmark():
    code = (
        "import sys; from benchmarks.__main__ import main; main([]); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'jiwer', 'benchmarks.latency')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "mentioned"),
    [
        (["nope"], "'nope'"),
        (["latency", "--nope"], "--nope"),
        (["latency", "--runs", "0"], "--runs"),
        (["latency", "--hop", "9"], "hop must be"),
        (["lyrics", "--songs", "/nowhere"], "/nowhere"),
        (["curves", "--picture", "/nowhere/curves.svg"], "/nowhere"),
        (["soak", "--json", "/nowhere/soak.json"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, mentioned, capsys):
    assert runner.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert mentioned in line


def test_latency_gives_its_figures(tiny_model, tmp_path, monkeypatch):
    for name in ("STREAM_MER_MUSICNN", "STREAM_MER_VIBENET_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "latency.json"
    grid = ["--hop", "0.5", "--context", "3", "--lines", "0", "--lines", "2", "--runs", "1", "--repeats", "2"]
    assert runner.main(["latency", *grid, "--model", str(tiny_model), "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    rows = report["tables"]["grid"]
    assert [(row["hop_s"], row["context_s"], row["lines"]) for row in rows] == [(0.5, 3.0, 0), (0.5, 3.0, 2)]
    for row in rows:
        parts = [row[f"{part}_ms"] for part in ("features", "musicnn", "yamnet", "fusion")]
        assert min(parts) > 0
        assert sum(parts) < row["total_ms"] <= row["total_p95_ms"]
        assert row["total_over_floor"] > 1
        assert (row["total_of_vibenet"], row["total_of_musicnn"]) == (None, None)
    assert sum("was left out" in note for note in report["notes"]) == 2


def test_curves_are_drawn(tiny_model, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'train'")
    file, picture = tmp_path / "curves.json", tmp_path / "curves.svg"
    points = ["--curve", "hop", "--curve", "lines", "--hop", "0.5", "--hop", "1", "--lines", "0", "--lines", "2"]
    where = ["--model", str(tiny_model), "--json", str(file), "--picture", str(picture)]
    assert runner.main(["curves", *points, "--runs", "1", *where]) == 0
    tables = json.loads(file.read_text())["tables"]
    assert {name: [next(iter(row.values())) for row in rows] for name, rows in tables.items()} == {
        "hop": [0.5, 1.0],
        "lines": [0, 2],
    }
    drawn = picture.read_text()
    for part in ("Hop", "seconds between frames", "Lyrics", "ms of processor time", str(tiny_model.name)):
        assert part in drawn


def test_a_named_model_is_used_or_missing(tiny_model, tmp_path):
    assert "an ensemble of 2" in find_checkpoint(str(tiny_model)).note
    with pytest.raises(CheckpointError, match="no model"):
        find_checkpoint(str(tmp_path / "nothing"))


def test_a_child_answers_until_it_ends():
    code = 'import json, sys; print("{}", flush=True); print(json.dumps({"got": input()}), flush=True)'
    with open_child("-c", code) as child:
        assert child.receive() == {}
        assert child.ask("a line") == {"got": "a line"}
        with pytest.raises(StreamMerError, match="ended early"):
            child.receive()


def test_a_child_that_fails_is_one_line():
    with pytest.raises(StreamMerError, match="ZeroDivisionError"):
        run_child(["-c", "1 / 0"])
