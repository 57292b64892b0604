"""Accuracy of VibeNet, MSD-MusiCNN and ours on the same folds.

Every system is judged on the clips of one labelled corpus, never on an artist that it was taught about there. Ours is
what `stream-mer evaluate` predicts: give the same options, and its folds are taken from the cache; missing ones are
trained, which takes as long as there. On the features of the peers, support vector machines are trained on the same
folds. Each system gets the whole clip, and then its first ten seconds alone. What each costs is measured by `latency`.

\b
  ours      needs --corpus
  vibenet   needs --vibenet-python: VibeNet 0.1.0 is under the GPL-3, so it
            stays in an interpreter and a process of its own. To make one:
              python -m venv DIR
              DIR/bin/pip install vibenet==0.1.0 onnx
  musicnn   needs --musicnn: its published tensors, an .npz as for --backbone

A peer that is not installed is named and left out. Features and predictions of the peers are kept in the cache, and an
interrupted run continues there. The first run over 1,443 clips of 30 s takes about half an hour of one core, later ones
a minute.

\b
  python -m benchmarks peers --corpus ~/corpus --musicnn msd_musicnn.npz \\
      --vibenet-python ~/vibenet/bin/python --json peers.json
  python -m benchmarks peers --corpus ~/corpus --musicnn msd_musicnn.npz \\
      --system musicnn                  # no model of ours is trained
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from benchmarks.harness import Cell, Measurement, PeerMissingError, Row, Table, path_option
from benchmarks.taggers import (
    MUSICNN,
    VIBENET,
    VIBENET_HIDDEN,
    VIBENET_VERSION,
    WINDOW_S,
    open_musicnn,
    open_vibenet,
)
from stream_mer.cli.training import CorpusOptions, corpus_options
from stream_mer.errors import SettingError
from stream_mer.training.calibrate import with_earned_strength
from stream_mer.training.corpora import open_corpus
from stream_mer.training.corpus import Clip, together
from stream_mer.training.crossvalidation import (
    AUDIO_ONLY,
    PRINTED,
    RECOGNISED,
    STANDARD_CONDITIONS,
    Predictions,
    cross_validate,
)
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import stage_conditions
from stream_mer.training.metrics import Figure, Score, ccc, score
from stream_mer.training.progress import track
from stream_mer.training.tokens import audio_fingerprint, read_audio
from stream_mer.types import CATEGORIES, CLUSTERS

OURS = "stream_mer"
SYSTEMS = {"ours": OURS, "vibenet": VIBENET, "musicnn": MUSICNN}
CLIP, FRAME = "whole clip", "10 s"
"""How much of each clip is given: all of it, or its first ten seconds."""

FIRST_S = 10.0
FIGURES = {
    "quadrants_f1": "quadrants F1",
    "valence_r": "V r",
    "valence_ccc": "V CCC",
    "arousal_r": "A r",
    "arousal_ccc": "A CCC",
    "clusters_f1": "clusters F1",
}
"""The reported figures of ``training.metrics.SCORES``, with their names in the table of intervals."""

Features = NDArray[np.float32]
_WORDS = {AUDIO_ONLY.name: "audio alone", RECOGNISED.name: "recognised words", PRINTED.name: "printed words"}

OPTIONS = (
    *click.command()(corpus_options(lambda **_: None)).params,
    click.Option(
        ["--system", "systems"],
        type=click.Choice(list(SYSTEMS)),
        multiple=True,
        default=tuple(SYSTEMS),
        show_default=True,
        help="What to measure; may be repeated.",
    ),
    path_option("--vibenet-python", "Interpreter that has VibeNet, see above."),
    path_option("--musicnn", "Tensors of MSD-MusiCNN, an .npz."),
)

_NOTES = (
    "SVM: RBF, C chosen on the training folds.",
    "Its features: VibeNet's hidden layer and outputs; the mean of MSD-MusiCNN's embedding and tags over its windows.",
    f"{FRAME}: ours is the one frame after 9.92 s; VibeNet gets 10 s at once, MSD-MusiCNN 3 windows, 9.0 s.",
    "Ours for a whole clip is the mean of causal frames, which a live listener has; the peers get the clip at once.",
    "The peers were trained elsewhere, and may know artists of the corpus; so may our backbone, MSD-MusiCNN.",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Predictions of one system.

    Attributes:
        system: Its name.
        heard: ``CLIP`` or ``FRAME``.
        predictions: Out of fold, one row for each clip.
        figures: Names of the figures that its predictions allow.
        is_base: Whether the others with the same audio are compared with this one.
    """

    system: str
    heard: str
    predictions: Predictions
    figures: frozenset[str] = frozenset(FIGURES)
    is_base: bool = False


def measure(
    *, systems: Sequence[str], vibenet_python: Path | None, musicnn: Path | None, **training: Any
) -> Measurement:
    """Predict with every system that is installed.

    Args:
        systems: Names of ``SYSTEMS``.
        vibenet_python: An interpreter that has VibeNet.
        musicnn: The published tensors of MSD-MusiCNN.
        training: The fields of ``CorpusOptions``.
    """
    options = CorpusOptions(**training)
    corpus = together([open_corpus(corpus, options.corpus_format) for corpus in options.corpora])
    cache = options.cache / "peers"
    predictors: dict[str, Callable[[], Iterator[Judged]]] = {
        "ours": lambda: _predict_ours(options, len(corpus.clips)),
        "vibenet": lambda: _predict_vibenet(corpus.clips, vibenet_python, cache),
        "musicnn": lambda: _predict_musicnn(corpus.clips, musicnn, cache),
    }
    judged: list[Judged] = []
    missing = []
    for name in (name for name in SYSTEMS if name in systems):
        try:
            judged += predictors[name]()
        except PeerMissingError as error:
            missing.append(f"{SYSTEMS[name]} was left out: {error}.")
    if not judged:
        raise SettingError(f"there is nothing to measure: {' '.join(missing)}")
    return Measurement(tables=make_tables(corpus.clips, judged), notes=(*corpus.notes, *missing, *_NOTES))


def _predict_ours(options: CorpusOptions, n_clips: int) -> Iterator[Judged]:
    """Cross-validate as `stream-mer evaluate` does; songs without audio, which come after the clips, are left out."""
    data = options.prepare().data
    conditions = (*STANDARD_CONDITIONS, *stage_conditions(data))
    results = cross_validate(
        data, options.recipe(), options.seed, options.cache, conditions=conditions, title="Our folds"
    )
    results = with_earned_strength(data, results, as_they_are=frozenset(data.sounds))
    for heard, predictions in ((CLIP, results.clips), (FRAME, results.frames)):
        for kind, words in _WORDS.items():
            ours = predictions[kind]
            kept = Predictions(
                emotion=ours.emotion[:n_clips], category=ours.category[:n_clips], cluster=ours.cluster[:n_clips]
            )
            yield Judged(system=f"{OURS}, {words}", heard=heard, predictions=kept, is_base=kind == AUDIO_ONLY.name)


def _predict_vibenet(clips: Sequence[Clip], python: Path | None, cache: Path) -> Iterator[Judged]:
    """Predict by SVMs on its hidden layer and outputs, and by its own valence and energy."""
    with open_vibenet(python) as vibenet:
        for heard, first_s, folder in ((CLIP, None, "whole"), (FRAME, FIRST_S, "10s")):
            compute = partial(vibenet.features, first_s=first_s)
            features = cached_features(
                clips, cache / f"vibenet-{VIBENET_VERSION}-{folder}", compute, f"{VIBENET}, {heard}"
            )
            rows = np.stack(features)
            yield raw_vibenet(rows[:, VIBENET_HIDDEN:], vibenet.names, heard)
            machines = judge_features(clips, rows, cache, f"{VIBENET} + SVM, {heard}")
            yield Judged(system=f"{VIBENET} + SVM", heard=heard, predictions=machines)


def raw_vibenet(outputs: Features, names: Sequence[str], heard: str) -> Judged:
    """Its own valence and energy, 0..1: only their correlation can be reported."""
    emotion = outputs[:, [names.index("valence"), names.index("energy")]].astype(np.float64)
    n = len(emotion)
    return Judged(
        system=f"{VIBENET}, its valence and energy",
        heard=heard,
        predictions=Predictions(emotion=emotion, category=np.zeros((n, 4)), cluster=np.zeros((n, 5))),
        figures=frozenset({"valence_r", "arousal_r"}),
    )


def _predict_musicnn(clips: Sequence[Clip], tensors: Path | None, cache: Path) -> Iterator[Judged]:
    """Predict by SVMs on its features, the mean over its windows."""
    tagger = open_musicnn(tensors)
    assert tensors is not None
    folder = cache / f"msd-musicnn-{hashlib.sha256(tensors.read_bytes()).hexdigest()[:12]}"
    windows = cached_features(
        clips, folder, lambda clip: tagger.features(read_audio(clip.audio, clip.middle_s)), MUSICNN
    )
    for heard, n_windows in ((CLIP, None), (FRAME, int(FIRST_S / WINDOW_S))):
        rows = np.stack([clip[:n_windows].mean(0) for clip in windows])
        machines = judge_features(clips, rows, cache, f"{MUSICNN} + SVM, {heard}")
        yield Judged(system=f"{MUSICNN} + SVM", heard=heard, predictions=machines)


def make_tables(clips: Sequence[Clip], judged: Sequence[Judged]) -> tuple[Table, Table]:
    """Score every system against the labels of the clips, and against ours."""
    unheard = {clip.clip_id: np.zeros((1, 1), np.float16) for clip in clips}
    labels = ClipSet(clips, unheard, {})  # labels and artists are all that is read
    scores = [score(labels, one.predictions) for one in judged]
    bases = {one.heard: own for one, own in zip(judged, scores, strict=True) if one.is_base}
    accuracy: list[Row] = []
    intervals: list[Row] = []
    for one, own in zip(judged, scores, strict=True):
        figures = {name: own[name].figure() for name in _reported(one, own)}
        values: dict[str, Cell] = {name: figures[name].value if name in figures else None for name in FIGURES}
        accuracy.append({"system": one.system, "heard": one.heard, **values})
        base = None if one.is_base else bases.get(one.heard)
        for name, figure in figures.items():
            difference = None if base is None else own[name].difference(base[name])
            intervals.append(
                {
                    "system": one.system,
                    "heard": one.heard,
                    "figure": FIGURES[name],
                    "clips": figure.n,
                    **_interval("", figure),
                    **_interval("minus_ours_", difference),
                }
            )
    return (
        Table(key="accuracy", title="Accuracy out of fold, no artist on both sides", rows=accuracy),
        Table(
            key="intervals",
            title="95 % intervals over artists; minus ours (audio alone, same length), paired by clip",
            rows=intervals,
        ),
    )


def _reported(one: Judged, scores: Mapping[str, Score]) -> list[str]:
    return [name for name in FIGURES if name in one.figures and len(scores[name].artists)]


def _interval(prefix: str, figure: Figure | None) -> dict[str, Cell]:
    return {f"{prefix}{part}": None if figure is None else getattr(figure, part) for part in ("value", "low", "high")}


# Support vector machines on a peer's features. Scaling and C are learned from the training folds, too.

COSTS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Candidates for C, chosen by the figure that is reported: macro-F1 of classes, CCC of numbers."""

_UNCHOSEN_COST = 1.0  # where the training folds are too few to choose on
_EPSILON = 0.05  # of the regression: errors in valence and arousal, -1..1, that cost nothing
_CLASSES = {"category": len(CATEGORIES), "cluster": len(CLUSTERS)}

Labels = NDArray[np.float64]
"""One for each clip; NaN where it has none."""


def cached_features(
    clips: Sequence[Clip], folder: Path, compute: Callable[[Clip], Features], title: str
) -> list[Features]:
    """Return the features of every clip, in order; those in ``folder`` are not computed again.

    Args:
        clips: The clips.
        folder: Holds one file for each clip, its name a fingerprint of the audio. The folder's name must change with
            everything else that ``compute`` depends on.
        compute: Called for each clip that ``folder`` lacks.
        title: Title of the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{clip.clip_id}-{audio_fingerprint(clip.audio, clip.middle_s)}.npy" for clip in clips]
    todo = [(clip, file) for clip, file in zip(clips, files, strict=True) if not file.is_file()]
    for clip, file in track(todo, title, total=len(todo)) if todo else ():
        part = file.with_suffix(".part.npy")
        np.save(part, compute(clip))
        part.replace(file)  # atomic
    return [np.load(file, allow_pickle=False) for file in files]


def judge_features(clips: Sequence[Clip], features: Features, cache: Path, title: str) -> Predictions:
    """``predict_out_of_fold``, cached under a fingerprint of features, labels, folds and method."""
    tasks, folds = _tasks(clips), np.array([clip.fold for clip in clips])
    state = hashlib.sha256(repr([COSTS, _UNCHOSEN_COST, _EPSILON, sklearn.__version__, features.shape]).encode())
    for array in (features, folds, *tasks.values()):
        state.update(np.ascontiguousarray(array).tobytes())
    file = cache / f"machines-{state.hexdigest()[:12]}.npz"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        made = predict_out_of_fold(clips, features, title)
        part = file.with_suffix(".part.npz")
        np.savez(part, emotion=made.emotion, category=made.category, cluster=made.cluster)
        part.replace(file)  # atomic
    with np.load(file, allow_pickle=False) as kept:
        return Predictions(emotion=kept["emotion"], category=kept["category"], cluster=kept["cluster"])


def predict_out_of_fold(clips: Sequence[Clip], features: Features, title: str) -> Predictions:
    """Train RBF machines on all folds but one and predict that one, for every fold and every label.

    The predicted class has the logit 1 and the others 0. Only clips that have a label are predicted for it; the rows of
    the others are 0, as are those of a fold that leaves no training clips.

    Args:
        clips: The clips.
        features: One row a clip, [n, d].
        title: Of the progress bar.
    """
    tasks, folds = _tasks(clips), np.array([clip.fold for clip in clips])
    jobs = [(task, fold) for task in tasks for fold in sorted(set(folds.tolist()))]
    out = {task: np.full(len(clips), np.nan) for task in tasks}
    for task, fold in track(jobs, title, total=len(jobs)):
        known = np.isfinite(tasks[task])
        train, test = known & (folds != fold), known & (folds == fold)
        if test.any() and train.any():
            machine = _fitted(features[train], tasks[task][train], folds[train], classes=task in _CLASSES)
            out[task][test] = machine.predict(features[test])
    return Predictions(
        emotion=np.nan_to_num(np.stack([out["valence"], out["arousal"]], axis=1)),
        **{task: _one_hot(out[task], n) for task, n in _CLASSES.items()},
    )


def _fitted(features: Features, labels: Labels, folds: NDArray[np.int_], *, classes: bool) -> Any:
    """A machine whose C scored best on the training folds, each left out in turn."""
    if classes and len(set(labels.tolist())) < 2:
        return _Constant(labels[0])
    machine = SVC(C=_UNCHOSEN_COST) if classes else SVR(C=_UNCHOSEN_COST, epsilon=_EPSILON)
    pipeline = make_pipeline(StandardScaler(), machine)
    present = sorted(set(folds.tolist()))
    if len(present) < 2 or (classes and any(len(set(labels[folds != fold].tolist())) < 2 for fold in present)):
        return pipeline.fit(features, labels)
    search = GridSearchCV(
        pipeline,
        {f"{type(machine).__name__.lower()}__C": COSTS},
        scoring="f1_macro" if classes else make_scorer(ccc),
        cv=LeaveOneGroupOut(),
    )
    return search.fit(features, labels, groups=folds)


class _Constant:
    """Replaces a machine where all training clips are of one class."""

    def __init__(self, label: float) -> None:
        self._label = label

    def predict(self, features: Features) -> Labels:
        return np.full(len(features), self._label)


def _tasks(clips: Sequence[Clip]) -> Mapping[str, Labels]:
    return {
        "category": _known([clip.category for clip in clips]),
        "cluster": _known([clip.cluster for clip in clips]),
        "valence": _known([clip.valence if clip.teaches_emotion else None for clip in clips]),
        "arousal": _known([clip.arousal if clip.teaches_emotion else None for clip in clips]),
    }


def _known(labels: Sequence[float | None]) -> Labels:
    return np.array([np.nan if label is None else label for label in labels], dtype=np.float64)


def _one_hot(classes: Labels, n: int) -> NDArray[np.float64]:
    """[n classes]; zeros where there is none."""
    return np.asarray(classes[:, None] == np.arange(n), dtype=np.float64)
