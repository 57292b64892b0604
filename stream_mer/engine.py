"""The composition root: joins the rooms into running streams. Nothing else may know all of them."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stream_mer.audio.level_meter import LevelMeter
from stream_mer.audio.windowing import Windower
from stream_mer.config import EngineSettings
from stream_mer.emotion.checkpoint import find_model
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.emotion.smoothing import Smoother
from stream_mer.lyrics.opening import LyricsOpener
from stream_mer.outputs.runner import ShowOutput
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource, EventSink
from stream_mer.runner import Plugin, host
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server, ServerInfo
from stream_mer.server.settings import ServeSettings
from stream_mer.sources.decoding import load_decoder
from stream_mer.sources.pacing import COARSE_SAMPLES, WORD_SAMPLES, Pieces, divide
from stream_mer.sources.remote import RemoteSource
from stream_mer.types import NO_LYRICS, AudioChunk

log = logging.getLogger(__name__)


class Engine:
    """The loaded models, from which any number of streams are built.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or does not match.
        SettingError: The device is not there, or the checkpoint nowhere reaches ``min_accuracy``.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self._predictor = EmotionPredictor.load(find_model(settings.model), device=settings.device)
        self._smoothing = settings.smoothing
        if settings.min_accuracy is not None:
            confidence = self._predictor.checkpoint.calibration.confidence_for(settings.min_accuracy)
            log.info("expected accuracy %g: unknown below confidence %.3f", settings.min_accuracy, confidence)
            self._smoothing = replace(settings.smoothing, min_confidence=confidence)
        self._lyrics = LyricsOpener(settings.lyrics)

    def warm_up(self) -> None:
        """Load and compute once what the first stream would else wait for.

        That takes 0.1 s, and more than one where other work has the cores.
        """
        load_decoder()
        hop = np.zeros(self.settings.window.hop_samples, np.float32)
        hop[::2] = 0.1  # of silence the model would have nothing to compute
        for window in Windower(self.settings.window).feed(AudioChunk(start_sample=0, samples=hop)):
            self._predictor.open_stream(self.settings.window).predict(window, NO_LYRICS)

    def pipeline(
        self,
        source: AudioSource,
        sink: EventSink,
        *,
        in_real_time: bool,
        lyrics: Path | None = None,
        levels_wanted: Callable[[], bool] | None = None,
        words_alone: bool = False,
    ) -> Pipeline:
        """Build one stream.

        Args:
            source: Its audio.
            sink: Takes its events.
            in_real_time: True while people listen along: lyrics are recognised beside the stream. False to tag a
                file: they are recognised on its sample clock, so that the result does not depend on speed.
            lyrics: A file with the words of this stream, in place of what the settings say.
            levels_wanted: Tells whether anybody wants ``InputLevels`` now; None for nobody ever.
            words_alone: The source has no sound: the words of the file are all there is.

        Raises:
            LyricsError: The lyrics file cannot be used.
        """
        recognises = self.settings.lyrics.mode == "recognise" and lyrics is None
        pieces = Pieces(
            hop_samples=self.settings.window.hop_samples,
            longest_samples=WORD_SAMPLES if recognises else COARSE_SAMPLES,
            finely=levels_wanted or (lambda: False),
        )
        divide(source, pieces.end)
        return Pipeline(
            source=source,
            windower=Windower(self.settings.window),
            lyrics=self._lyrics.open(live=in_real_time, file=lyrics),
            emotion=self._predictor.open_stream(self.settings.window, words_alone=words_alone),
            smoother=Smoother(self._smoothing),
            sink=sink,
            measure_levels=None if levels_wanted is None else LevelMeter(wanted=levels_wanted).feed,
            words_alone=words_alone,
        )


async def serve(
    engine: Engine,
    sources: Mapping[str, AudioSource],
    settings: ServeSettings,
    *,
    info: ServerInfo,
    on_ready: Callable[[Server], None],
    outputs: Sequence[ShowOutput] = (),
    plugins: Sequence[Plugin] = (),
    tap: Callable[[str, AudioSource], AudioSource] | None = None,
) -> None:
    """Serve streams until SIGINT or SIGTERM; a source that ends by itself leaves the server up.

    Args:
        engine: The loaded models.
        sources: The audio of each stream, by the stream's name on the wire.
        settings: Where to listen.
        info: What to tell clients of the process.
        on_ready: Called once the server listens.
        outputs: What else the streams are sent to, such as desks and lights.
        plugins: What else runs beside the server.
        tap: Returns what is heard in place of each source, such as one that keeps what passes through it.

    Raises:
        ServeError: The server cannot start.
        SourceError: The source of a server with a single stream failed. Where there are several, the others go on.
    """
    hub = Hub(history_messages=settings.history_messages)
    pipelines: dict[str, Pipeline] = {}
    with contextlib.ExitStack() as built:
        for source in sources.values():
            built.callback(source.close)
        for name, source in sources.items():
            pipelines[name] = engine.pipeline(
                source if tap is None else tap(name, source),
                hub.sink(name),
                in_real_time=True,
                levels_wanted=functools.partial(hub.is_wanted, name, "levels"),
            )
            built.callback(pipelines[name].close)
        built.pop_all()  # from here on the host closes them
    inlets = {name: source for name, source in sources.items() if isinstance(source, RemoteSource)}
    await host(
        hub,
        pipelines,
        settings,
        info=info,
        on_ready=on_ready,
        inlets=inlets,
        outputs=outputs,
        plugins=plugins,
    )
