"""Many channels run as whole pipelines, count what they should, and share nothing but the model."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from benchmarks import __main__ as runner
from benchmarks.checkpoints import save_random_checkpoint
from benchmarks.report import REPORT_SCHEMA
from benchmarks.throughput_probe import CHUNK_SAMPLES, Player


def test_throughput_runs_each_number_of_channels_in_a_process_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_random_checkpoint(tmp_path / "random")
    file = tmp_path / "throughput.json"
    few = ["--channels", "3", "--channels-decoded", "2", "--no-lyrics", "--seconds", "3"]
    assert runner.main(["throughput", *few, "--model", str(tmp_path / "random"), "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    jsonschema.validate(report, REPORT_SCHEMA)
    rows = report["tables"]["channels"]
    assert [(row["channels"], row["audio"], row["lyrics"]) for row in rows] == [
        (3, "in memory", "off"),
        (2, "decoded", "off"),
    ]
    for row in rows:
        assert row["lines_a_minute"] == 0
        assert 0 < row["frames_of_due"] < 1.6  # up to one frame more than are due in each channel, at 6 due
        assert 0 < row["age_p50_ms"] <= row["age_p99_ms"]
        assert row["threads"] == 1 + 2 * row["channels"]  # of each channel one listens and one feels
        assert row["cpu_ms_a_frame"] > 0
    assert "Channels in one process" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["throughput", "--channels", "1", "--no-decoding", "--no-lyrics", "--device", "toaster"]) == 1
    captured = capsys.readouterr()
    assert "'toaster'" in captured.err.splitlines()[-1]
    assert "Traceback" not in captured.err


def test_a_player_plays_for_ever_from_its_moment_on() -> None:
    audio = np.arange(CHUNK_SAMPLES * 5 // 2, dtype=np.float32)
    player = Player("one", audio, starts_at=100, delay_s=0.0)
    heard = []
    for chunk in player.chunks():
        heard.append(chunk.samples)
        if len(heard) == 4:
            player.close()
    expected = (100 + np.arange(4 * CHUNK_SAMPLES)) % len(audio)
    np.testing.assert_array_equal(np.concatenate(heard), expected.astype(np.float32))
