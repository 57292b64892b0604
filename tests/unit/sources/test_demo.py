"""The packaged song is an ordinary file, in real time, over and over."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer.errors import SourceError
from stream_mer.sources import file


def test_a_missing_song_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file.resources, "files", lambda _package: tmp_path)
    with pytest.raises(SourceError, match="install stream-mer again"):
        file.DemoSource()


def test_the_song_is_there_and_plays() -> None:
    source = file.DemoSource()
    duration_s = source.duration_s()
    assert duration_s is not None
    assert duration_s >= 60
    chunk = next(source.chunks())
    assert (source.name, source.live, chunk.start_sample, len(chunk.samples)) == ("demo", False, 0, 320)
