"""Our side of the comparison: predictions out of fold, as `stream-mer evaluate` makes them, and the stream's cost."""

from __future__ import annotations

from benchmarks.peers_result import CLIP, FRAME, Found, Judged, Way
from benchmarks.peers_timing import CLIP_S, HEARD_S, HOP_S, noisy_chord, timed
from stream_mer.audio.windowing import Windower
from stream_mer.cli.corpus_options import CorpusOptions
from stream_mer.config import WindowSettings
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.training.crossvalidation import (
    AUDIO_ONLY,
    PRINTED,
    RECOGNISED,
    STANDARD_CONDITIONS,
    FoldResults,
    Predictions,
    cross_validate,
)
from stream_mer.training.stage import stage_conditions
from stream_mer.training.text_strength import with_earned_strength
from stream_mer.types import AudioChunk, LyricState, Samples

SYSTEM = "stream_mer"
_LIVE = f"{SYSTEM}, live: a frame every {HOP_S:g} s over {HEARD_S:g} s, audio alone"
_WORDS = {AUDIO_ONLY.name: "audio alone", RECOGNISED.name: "recognised words", PRINTED.name: "printed words"}


def find_ours(training: CorpusOptions, n_clips: int, predictor: EmotionPredictor) -> Found:
    """Every clip by models that never heard its artist; folds that the cache lacks are trained.

    Args:
        training: What to train on and how.
        n_clips: Clips of the corpus.
        predictor: What is timed; one thread.

    Raises:
        StreamMerError: See ``prepare``.
    """
    results = predict_out_of_fold(training)
    return Found(
        judged=judge(results, n_clips),
        ways=(Way(how=_LIVE, cpu_s=lambda: stream_cpu_s(predictor, noisy_chord(CLIP_S)), is_base=True),),
    )


def predict_out_of_fold(training: CorpusOptions) -> FoldResults:
    """As `stream-mer evaluate` does it: the folds, then each with the strength of words that the others chose."""
    data = training.prepare().data
    conditions = (*STANDARD_CONDITIONS, *stage_conditions(data))
    results = cross_validate(
        data, training.recipe(), training.seed, training.cache, conditions=conditions, title="Our folds"
    )
    return with_earned_strength(data, results, as_they_are=frozenset(data.sounds))


def judge(results: FoldResults, n_clips: int) -> tuple[Judged, ...]:
    """The clips' predictions under each kind of words; songs without audio, which come after them, are left out."""
    return tuple(
        Judged(
            system=f"{SYSTEM}, {words}",
            heard=heard,
            predictions=_first_rows(predictions[kind], n_clips),
            how=_LIVE,
            is_base=kind == AUDIO_ONLY.name,
        )
        for heard, predictions in ((CLIP, results.clips), (FRAME, results.frames))
        for kind, words in _WORDS.items()
    )


def _first_rows(predictions: Predictions, n: int) -> Predictions:
    return Predictions(
        emotion=predictions.emotion[:n], category=predictions.category[:n], cluster=predictions.cluster[:n]
    )


def stream_cpu_s(predictor: EmotionPredictor, samples: Samples) -> float:
    """CPU seconds that a live stream takes for a second of music, a frame every 0.5 s; audio alone.

    The context is filled first; the rest of ``samples`` is timed.
    """
    settings = WindowSettings(hop_s=HOP_S, context_s=HEARD_S)
    stream = predictor.open_stream(settings)
    windows = Windower(settings).feed(AudioChunk(start_sample=0, samples=samples))
    n_filling = round(HEARD_S / HOP_S)
    silent = LyricState(lines=(), health="ok")
    for window in windows[:n_filling]:
        stream.predict(window, silent)
    rest = windows[n_filling:]
    return timed(lambda: [stream.predict(window, silent) for window in rest], repeats=1, music_s=HOP_S * len(rest))
