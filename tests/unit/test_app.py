"""The composition root, as far as no other test joins its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer import app
from stream_mer.audio import features
from stream_mer.engine_settings import EngineSettings
from stream_mer.lyrics.opening import LyricsSettings


def test_warming_up_leaves_nothing_to_load_to_the_first_stream(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    monkeypatch.setattr(app, "load_decoder", lambda: loaded.append("decoder"))
    engine = app.Engine(EngineSettings(model=str(tiny_model), lyrics=LyricsSettings(mode="off")))
    features._transform.cache_clear()
    engine.warm_up()
    assert features._transform.cache_info().currsize == 1
    assert loaded == ["decoder"]
