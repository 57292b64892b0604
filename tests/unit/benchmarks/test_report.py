import io
import json
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from benchmarks import report as reports
from benchmarks.report import REPORT_SCHEMA, Column, Measurement, Table, run_and_report

COLUMNS = (Column(key="song", title="Song"), Column(key="wer", title="WER", digits=1), Column(key="n", title="Words"))


def _table(*rows: dict[str, str | float | None]) -> Table:
    return Table(key="songs", title="Songs", columns=COLUMNS, rows=rows)


def _report(measured: Measurement, json_file: Path | None = None) -> tuple[dict[str, object], str]:
    out = io.StringIO()
    report = run_and_report("made-up", lambda: measured, console=Console(file=out, width=150), json_file=json_file)
    return report, out.getvalue()


def test_people_and_programs_get_the_same_figures(tmp_path: Path) -> None:
    row = {"song": "[bold]a[/bold]", "wer": 0.25, "n": 12_345}
    measured = Measurement(tables=(_table(row, {"song": "b", "wer": None, "n": 0}),), notes=("Mind this.",), threads=2)
    report, shown = _report(measured, tmp_path / "made-up.json")
    written = json.loads((tmp_path / "made-up.json").read_text())
    jsonschema.validate(written, REPORT_SCHEMA)
    assert written == report
    assert written["tables"]["songs"][0] == row
    assert written["machine"]["threads"] == 2
    for part in ("[bold]a[/bold]", "0.2", "12345", "Mind this.", "WER"):
        assert part in shown


def test_a_row_must_hold_exactly_the_columns() -> None:
    with pytest.raises(ValueError, match="songs"):
        _table({"song": "a", "wer": 0.1})


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    file = tmp_path / "made-up.json"
    with pytest.raises(ValueError, match="JSON"):
        _report(Measurement(tables=(_table({"song": "a", "wer": float("nan"), "n": 1}),)), file)
    assert not file.exists()


def test_the_schema_refuses_figures_that_are_not_plain() -> None:
    report, _ = _report(Measurement(tables=(_table({"song": "a", "wer": 0.1, "n": 1}),)))
    jsonschema.validate(report, REPORT_SCHEMA)
    report["tables"] = {"songs": [{"wer": [0.1]}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, REPORT_SCHEMA)


@pytest.mark.parametrize(("load", "warned"), [([9.0, 1.0, 1.0], True), ([0.1, 9.0, 9.0], False), ([], False)])
def test_a_busy_machine_is_said(load: list[float], warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "load_average", lambda: load)
    monkeypatch.setattr(reports, "describe_machine", lambda: {"cpu": "x", "cores": 2, "platform": "y", "torch": "z"})
    report, shown = _report(Measurement(tables=(_table({"song": "a", "wer": 0.1, "n": 1}),)))
    assert ("Other work" in shown) is warned
    jsonschema.validate(report, REPORT_SCHEMA)
