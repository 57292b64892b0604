"""The identity of a source of sACN: kept, and of this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer.outputs.dmx.identity import FILE, source_id, state_folder


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef\n")
    return path


def identity(state: Path, machine: Path, name: str = "the rig") -> bytes:
    return source_id(name, environ={"XDG_STATE_HOME": str(state)}, machine_id=machine)


def test_it_is_the_same_after_a_restart_and_another_one_for_each_rig(tmp_path: Path, machine: Path) -> None:
    assert len(identity(tmp_path, machine)) == 16
    assert identity(tmp_path, machine) == identity(tmp_path, machine)
    assert identity(tmp_path, machine) != identity(tmp_path, machine, "another rig")
    assert [path.name for path in (tmp_path / "stream_mer").iterdir()] == [FILE]


def test_two_machines_of_one_host_name_differ(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "stage")
    assert identity(tmp_path / "one", machine) != identity(tmp_path / "other", machine), "copies of one image"
    other = tmp_path / "other-machine-id"
    other.write_text("fedcba9876543210\n")
    assert identity(tmp_path / "one", machine) != identity(tmp_path / "one", other), "one home folder for both"
    assert identity(tmp_path / "one", tmp_path / "none") != identity(tmp_path / "other", tmp_path / "none")


@pytest.mark.parametrize("damage", [b"", b"x" * 10_000, b"\xff\xfe", b"0123"])
def test_a_damaged_file_is_replaced(damage: bytes, tmp_path: Path, machine: Path) -> None:
    before = identity(tmp_path, machine)
    (tmp_path / "stream_mer" / FILE).write_bytes(damage)
    after = identity(tmp_path, machine)
    assert after != before
    assert identity(tmp_path, machine) == after


def test_where_nothing_can_be_kept_that_of_the_machine_counts_or_it_is_said(
    tmp_path: Path, machine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert identity(blocked, machine) == identity(blocked, machine)
    assert caplog.records == []
    assert identity(blocked, tmp_path / "none") != identity(blocked, tmp_path / "none")
    assert "is another one after a restart" in caplog.text


def test_the_state_lies_where_states_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert state_folder({}, platform="linux") == Path("/home/me/.local/state/stream_mer")
    assert state_folder({"XDG_STATE_HOME": "/s", "LOCALAPPDATA": "/l"}, platform="win32") == Path("/s/stream_mer")
    assert state_folder({"LOCALAPPDATA": "/l"}, platform="win32") == Path("/l/stream_mer")
