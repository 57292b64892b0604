from pathlib import Path

import pytest

from benchmarks import checkpoints
from benchmarks.checkpoints import open_checkpoint, save_random_checkpoint
from stream_mer.errors import CheckpointError


def test_without_a_trained_model_a_random_one_is_made_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "DEFAULT_MODEL", "never-trained")
    with open_checkpoint() as found:
        assert (found.folder / "weights.safetensors").is_file()
        assert "random" in found.note
    assert not found.folder.exists()


def test_a_model_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model"), open_checkpoint(str(tmp_path / "nothing")):
        pass


def test_a_trained_model_is_used_and_named(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path / "trained", members=2)
    with open_checkpoint(str(tmp_path / "trained")) as found:
        assert found.folder == tmp_path / "trained"
        assert "trained, an ensemble of 2" in found.note
