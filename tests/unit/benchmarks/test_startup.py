from pathlib import Path

from benchmarks.checkpoints import save_random_checkpoint
from benchmarks.startup import run_probe, write_wav


def test_the_live_path_loads_nothing_of_the_offline_extras(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path / "random")
    write_wav(tmp_path / "two-seconds.wav")
    found = run_probe(tmp_path / "two-seconds.wav", tmp_path / "random", lyrics=False)
    assert found["loaded"] == []
    assert 0 < found["torch_mib"] < found["rest_mib"] <= found["peak_mib"]
