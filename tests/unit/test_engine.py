"""The composition root, as far as no other test joins its parts."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stream_mer import engine as engine_module
from stream_mer.audio import features
from stream_mer.config import EngineSettings, LyricsSettings, ServeSettings
from stream_mer.errors import LyricsError, ServeError
from stream_mer.pipeline import Pipeline
from stream_mer.runner import serve
from stream_mer.server.session import ServerInfo
from stream_mer.sources.file import FileSource
from stream_mer.types import AudioChunk, Spread, StreamEvent, StreamStatus


def test_warming_up_leaves_nothing_to_load_to_the_first_stream(tiny_model: Path) -> None:
    engine = engine_module.Engine(EngineSettings(model=str(tiny_model), lyrics=LyricsSettings(mode="off")))
    features._transform.cache_clear()
    engine.warm_up()
    assert features._transform.cache_info().currsize == 1


def test_pyav_is_imported_before_any_thread_of_a_stream_imports_it(tiny_model: Path) -> None:
    # Imported by two threads at once, as by a source and by the recogniser, PyAV ends up half initialised in one.
    program = f"""
import sys
from stream_mer import engine
from stream_mer.config import EngineSettings, LyricsSettings
assert "av" not in sys.modules
engine.Models.load(EngineSettings(model={str(tiny_model)!r}, lyrics=LyricsSettings(mode="off")))
assert {{"av", "av.error", "av.logging"}} <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=250)


def test_each_status_holds_the_maps_of_the_model(tiny_model: Path, tmp_path: Path, write_wav: Any, music: Any) -> None:
    settings = EngineSettings(model=str(tiny_model), lyrics=LyricsSettings(mode="off"))
    predictor = engine_module.Models.load(settings).predictor
    knots = ((-1.0, -1.0), (0.0, 0.25), (1.0, 1.0))
    calibration = replace(predictor.checkpoint.calibration, valence_spread=knots)
    object.__setattr__(predictor.checkpoint, "calibration", calibration)
    engine = engine_module.Engine(settings, replace(engine_module.Models.load(settings), predictor=predictor))
    events: list[StreamEvent] = []
    song = str(write_wav(tmp_path / "song.wav", music(1.0)))
    engine.pipeline(FileSource(song), SimpleNamespace(publish=events.append), in_real_time=False).run()
    statuses = [event for event in events if isinstance(event, StreamStatus)]
    assert statuses
    assert {status.spread for status in statuses} == {Spread(valence=knots)}


class Audio:
    """A source that knows whether it was closed."""

    live = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False

    def chunks(self) -> Iterator[AudioChunk]:
        yield from ()

    def close(self) -> None:
        self.closed = True


async def test_where_the_port_is_taken_every_source_and_its_lyrics_are_closed(tiny_model: Path) -> None:
    engine = engine_module.Engine(EngineSettings(model=str(tiny_model), lyrics=LyricsSettings(mode="off")))
    sources = {name: Audio(name) for name in ("A", "B")}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(port=taken.getsockname()[1])
        with pytest.raises(ServeError, match="in use"):
            await serve(engine, sources, settings, info=ServerInfo(), on_ready=lambda _: None)
    assert all(source.closed for source in sources.values())


async def test_where_one_stream_cannot_be_built_the_others_are_closed(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_module.Engine(EngineSettings(model=str(tiny_model), lyrics=LyricsSettings(mode="off")))
    sources = {name: Audio(name) for name in ("A", "B")}
    closed: list[str] = []
    build = engine.pipeline

    def build_first(source: Audio, *args: Any, **options: Any) -> Pipeline:
        if source.name == "B":
            raise LyricsError("no words")
        pipeline = build(source, *args, **options)
        monkeypatch.setattr(pipeline, "close", lambda: closed.append(source.name))
        return pipeline

    monkeypatch.setattr(engine, "pipeline", build_first)
    with pytest.raises(LyricsError):
        await serve(engine, sources, ServeSettings(port=0), info=ServerInfo(), on_ready=lambda _: None)
    assert closed == ["A"]
    assert all(source.closed for source in sources.values())
