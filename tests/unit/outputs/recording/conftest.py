"""Recordings made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from stream_mer.event_json import MessageEncoder
from stream_mer.outputs.recording.format import MESSAGES, Entry, Recording, open_recording
from stream_mer.types import CategoryChange, InputLevels, StreamEvent
from tools.examples import FRAME, LINE, STATUS, examples

Happening = tuple[float, str, StreamEvent]
"""When, in which stream, what."""


def _frame(i: int) -> StreamEvent:
    """The i-th frame, at half a second each."""
    return replace(FRAME, index=i, t0=max(0.0, 0.5 * i - 9.5), t1=0.5 * (i + 1))


def _line(segment: int, t0: float) -> StreamEvent:
    words = tuple(replace(word, t0=t0 + 0.1 * i, t1=t0 + 0.1 * i + 0.1) for i, word in enumerate(LINE.words))
    return replace(LINE, segment=segment, t0=t0, t1=t0 + 0.5, words=words)


def _show(n: int = 6, stream: str = "hall") -> list[Happening]:
    """A status, then frames with a line, a cue and levels among them, and the end."""
    happenings: list[Happening] = [(0.1, stream, STATUS)]
    for i in range(n):
        at = 0.5 * (i + 1) + 0.05
        happenings.append((at, stream, _frame(i)))
        happenings.append((at + 0.01, stream, InputLevels(t=0.5 * (i + 1), rms_db=-20.0, peak_db=-6.0, onset=0.3)))
        if i == 2:
            happenings.append((at + 0.02, stream, _line(0, 1.0)))
            happenings.append((at + 0.03, stream, CategoryChange(t=1.5, before="sad", after="happy", dwell_s=1.5)))
    happenings.append((0.5 * n + 0.2, stream, replace(STATUS, source="ended")))
    return happenings


Write = Callable[..., Recording]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a recording as the recorder would."""

    def write_recording(happenings: Sequence[Happening], name: str = "show", *, ended: bool = True) -> Recording:
        streams = tuple(dict.fromkeys(stream for _, stream, _ in happenings))
        hello = msgspec.structs.replace(examples()["hello"], streams=streams, hop_s=0.5)
        encoders = {stream: MessageEncoder(stream) for stream in streams}
        header = {"type": "recording", "format": 1, "server": "test", "started_at": "2026-01-01T00:00:00+00:00"}
        lines: list[object] = [{**header, "hello": hello, "audio": {}}]
        lines += [Entry(at=at, message=encoders[stream].message(event)) for at, stream, event in happenings]
        if ended:
            lines.append(Entry(at=happenings[-1][0], ended=True))
        folder = tmp_path / name
        folder.mkdir()
        (folder / MESSAGES).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in lines))
        return open_recording(folder)

    return write_recording


@pytest.fixture
def happenings() -> list[Happening]:
    return _show()


@pytest.fixture
def show() -> Callable[..., list[Happening]]:
    return _show


@pytest.fixture
def frame() -> Callable[[int], StreamEvent]:
    return _frame


@pytest.fixture
def line() -> Callable[[int, float], StreamEvent]:
    return _line
