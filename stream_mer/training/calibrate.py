"""Calibration from out-of-fold predictions: intervals, temperatures, the link of category and point, text strength."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Calibration, CategoryLink, PredictionError, TextStrength
from stream_mer.emotion.estimates import linked
from stream_mer.training.crossvalidation import AUDIO_ONLY, PRINTED, RECOGNISED, FoldResults, Predictions
from stream_mer.training.dataset import TOKEN_S, ClipSet
from stream_mer.training.metrics import Figure, agreeing, as_json, bootstrap, calibration_error, ccc, show
from stream_mer.types import CATEGORIES

LEVEL = 0.8
CONFIDENCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""At these the report says what `unknown` below them costs and brings."""

HEARD_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds heard so far, at which intervals are fitted; between them they are interpolated."""

AGREEMENT = 0.91
"""Share of the confident published frames whose point is to lie in the quadrant named: .9, and a little in reserve."""

LINK_WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)

_NO_ERRORS = (PredictionError(heard_s=0.0, valence=2.0, arousal=2.0),)  # while none are known yet
_LINK_SD = (0.01, 2.0)  # what a checkpoint may hold; see ``CategoryLink``
_TEMPERATURES = np.geomspace(0.3, 4.0, 60)
_BINS = 8  # of equal size: some 90 clips each, where an accuracy is known to within .1
_MIN_BIN = 20  # clips; with fewer of them there are fewer bins


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Clips of like confidence.

    Attributes:
        confidence: Their mean, 0..1.
        accuracy: How often the likeliest class was right.
    """

    confidence: float
    accuracy: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceRow:
    """What happens where everything below a confidence is ``unknown``.

    Attributes:
        confidence: 0..1.
        expected: Accuracy to expect of a frame of just this confidence, 0..1.
        share: Share of the clips that are kept, 0..1.
        kept: Accuracy of those.
    """

    confidence: float
    expected: float
    share: float
    kept: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCalibration:
    """How far probabilities can be taken at their word: each fold with a temperature that the others gave.

    Attributes:
        before: Expected calibration error of the bare softmax, ten bins.
        after: The same with the temperature.
        bins: Reliability with the temperature, by rising confidence.
    """

    before: Figure
    after: Figure
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Share of the ratings that lay within the interval around what was published.

    Attributes:
        heard_s: Seconds of music heard so far.
        valence: 0..1.
        arousal: 0..1.
    """

    heard_s: float
    valence: Figure
    arousal: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """Whether calibration keeps its promises: on each fold, what the other folds promised of it.

    Attributes:
        level: Share that the intervals promise to hold.
        coverage: Share that they held, by ``HEARD_S``; a length that too few clips have is left out.
        category: Of the category.
        cluster: Of the cluster.
        unknown: Of the category, by ``CONFIDENCES``.
    """

    level: float
    coverage: tuple[Coverage, ...]
    category: ClassCalibration
    cluster: ClassCalibration
    unknown: tuple[ConfidenceRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return as_json(self)


def calibrate(data: ClipSet, results: FoldResults) -> Calibration:
    """What out-of-fold predictions say of the errors to expect: intervals, temperatures, link, spread.

    Split-conformal half widths (Lei et al. 2018) of what is published at each length of context, and softmax
    temperatures (Guo et al. 2017) of single frames, since that is what a live listener gets. Songs of which there are
    words alone do not count, since a live stream has audio.
    """
    emotion, category, cluster = _labels(data)
    frames = results.frames[RECOGNISED.name]
    heard = data.with_audio
    link, category_temperature = fit_link(
        category[heard],
        _of_rows(frames, heard),
        emotion[heard],
        [results.moments[row] for row in np.flatnonzero(heard)],
    )
    labelled = category >= 0
    bare = Calibration(
        errors=_NO_ERRORS,
        category_temperature=category_temperature,
        category_link=link,
    )
    probs = linked_probabilities(frames, category_temperature, link)
    return replace(
        bare,
        errors=_errors_by_context(data, results, bare),
        level=LEVEL,
        cluster_temperature=temperature(cluster, frames.cluster),
        category_accuracy=expected_accuracy(category[labelled], probs[labelled]),
        valence_spread=spread_map(results.clips[AUDIO_ONLY.name].emotion[:, 0], emotion[:, 0]),
        arousal_spread=spread_map(results.clips[AUDIO_ONLY.name].emotion[:, 1], emotion[:, 1]),
    )


def fit_link(
    category: NDArray[np.int_],
    frames: Predictions,
    emotion: NDArray[np.float32],
    moments: Sequence[NDArray[np.float32]],
) -> tuple[CategoryLink, float]:
    """The lightest link at which point and category agree in ``AGREEMENT`` of the confident published frames.

    Args:
        category: Labels, [n], -1 without.
        frames: Single frames of the same rows.
        emotion: Ratings, [n, 2], NaN without.
        moments: Outputs at each moment of the same rows, n arrays [moments, 11].

    Returns:
        The link, and the temperature of the category that goes with it.
    """
    rated = np.isfinite(emotion).all(1)
    errors = (frames.emotion - emotion)[rated]
    sd = np.sqrt(np.mean(errors**2, 0)).clip(*_LINK_SD) if len(errors) else np.array([0.2, 0.2])
    found = CategoryLink(), temperature(category, frames.category)
    for weight in LINK_WEIGHTS:
        link = CategoryLink(weight=weight, valence_sd=float(sd[0]), arousal_sd=float(sd[1]))
        found = link, _linked_temperature(category, frames, link)
        published = Calibration(errors=_NO_ERRORS, category_temperature=found[1], category_link=link)
        counts = np.array([agreeing(show(of_clip, published)) for of_clip in moments]).reshape(-1, 2).sum(0)
        if counts[1] and counts[0] / counts[1] >= AGREEMENT:
            break
    return found


def linked_probabilities(frames: Predictions, t: float, link: CategoryLink) -> NDArray[np.float64]:
    """Probabilities of the categories as they are published, [n, 4]; see ``CategoryLink``."""
    probs = softmax(frames.category, t)
    return np.array(
        [linked(p, point[0], point[1], link) for p, point in zip(probs.tolist(), frames.emotion.tolist(), strict=True)]
    ).reshape(-1, len(CATEGORIES))


def _linked_temperature(category: NDArray[np.int_], frames: Predictions, link: CategoryLink) -> float:
    """The temperature that makes the labelled rows likeliest, given the link; 1 without any."""
    rows = category >= 0
    if not rows.any():
        return 1.0
    labelled, truth = _of_rows(frames, rows), category[rows]

    def loss(t: float) -> float:
        probs = linked_probabilities(labelled, t, link)
        return -float(np.log(probs[np.arange(len(truth)), truth] + 1e-12).mean())

    return float(min(_TEMPERATURES[::3], key=loss))


def _of_rows(predictions: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    return Predictions(
        emotion=predictions.emotion[rows], category=predictions.category[rows], cluster=predictions.cluster[rows]
    )


def _errors_by_context(data: ClipSet, results: FoldResults, bare: Calibration) -> tuple[PredictionError, ...]:
    """Half widths that hold ``LEVEL`` of the published values, by the seconds heard so far."""
    found = []
    for heard_s, _, errors in _published_errors(data, results, bare):
        valence, arousal = (conformal_half_width(errors[:, k], LEVEL) for k in range(2))
        found.append(PredictionError(heard_s=heard_s, valence=valence, arousal=arousal))
    return tuple(found) or bare.errors


def _published_errors(
    data: ClipSet, results: FoldResults, calibration: Calibration
) -> Iterator[tuple[float, NDArray[np.int_], NDArray[np.float64]]]:
    """Absolute errors of the published (smoothed) valence and arousal.

    Yields:
        For each of ``HEARD_S`` that enough clips have: the seconds, the rows of these clips [n], the errors [n, 2].
    """
    rows = np.flatnonzero(data.with_audio & data.labels.emotion.isfinite().all(1).numpy())
    shown = {row: show(results.moments[row], calibration).values for row in rows.tolist()}
    for heard_s in HEARD_S:
        place = round(heard_s / TOKEN_S) - 1
        there = np.array([row for row in rows.tolist() if len(shown[row]) > place], dtype=np.int64)
        if len(there) >= _MIN_BIN:
            pairs = [(_rating_at(data, row, place), shown[row][place]) for row in there.tolist()]
            yield heard_s, there, np.array([np.abs(truth - value) for truth, value in pairs])


def _rating_at(data: ClipSet, row: int, place: int) -> NDArray[np.float64]:
    """What listeners say of a moment of a clip: then, else of the whole."""
    now = data.dynamic[row, min(place, data.dynamic.shape[1] - 1)]
    rating: NDArray[np.float64] = (now if bool(now.isfinite().all()) else data.labels.emotion[row]).double().numpy()
    return rating


def spread_map(predictions: NDArray[np.float64], ratings: NDArray[np.float32]) -> tuple[tuple[float, float], ...]:
    """Monotone map of predictions [n] to the distribution of the ratings [n], by equal quantiles; empty without any.

    0 stays 0, so that no point crosses into another quadrant. Beyond the outermost quantiles the map goes on to -1 and
    1. Both sides of the map rise, the first one strictly.
    """
    rated = np.isfinite(ratings)
    if rated.sum() < _MIN_BIN:
        return ()
    shares = np.linspace(0.01, 0.99, 15)
    of, to = np.quantile(predictions[rated], shares), np.quantile(ratings[rated].astype(np.float64), shares)
    pairs = zip(of.round(4).tolist(), to.round(4).tolist(), strict=True)
    knots = [(-1.0, -1.0)]
    for x, y in sorted([(0.0, 0.0), *((x, y) for x, y in pairs if x * y > 0)]):
        if knots[-1][0] < x < 1.0:
            knots.append((x, y))
    return (*knots, (1.0, 1.0))


def measure_calibration(data: ClipSet, results: FoldResults, calibration: Calibration) -> CalibrationReport:
    """Calibrate on all folds but one and look at that one, for each in turn; intervals are a bootstrap over artists.

    Args:
        data: The clips.
        results: Out-of-fold predictions; categories and clusters are those of single frames with recognised lyrics.
        calibration: Whose link of category and point is published.
    """
    _, category, cluster = _labels(data)
    folds = np.array([clip.fold for clip in data.clips])
    artists = np.array([clip.artist or clip.clip_id for clip in data.clips])
    predictions = results.frames[RECOGNISED.name]
    held = [
        (heard_s, rows, coverage(errors, folds[rows], LEVEL))
        for heard_s, rows, errors in _published_errors(data, results, calibration)
    ]
    # As a logit each, linked probabilities take a temperature like any others.
    logits = np.log(linked_probabilities(predictions, 1.0, calibration.category_link) + 1e-12)
    of_category = _Labelled.of(category, logits, folds, artists)
    of_cluster = _Labelled.of(cluster, predictions.cluster, folds, artists)
    return CalibrationReport(
        level=LEVEL,
        coverage=tuple(
            Coverage(
                heard_s=heard_s,
                valence=_share(inside[:, 0], artists[rows]),
                arousal=_share(inside[:, 1], artists[rows]),
            )
            for heard_s, rows, inside in held
        ),
        category=of_category.calibration(),
        cluster=of_cluster.calibration(),
        unknown=of_category.unknown(),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Labelled:
    """The clips that have a label: its index [n], and the bare and the scaled probabilities [n, classes]."""

    truth: NDArray[np.int_]
    bare: NDArray[np.float64]
    scaled: NDArray[np.float64]
    artists: NDArray[np.str_]

    @classmethod
    def of(
        cls, truth: NDArray[np.int_], logits: NDArray[np.float64], folds: NDArray[np.int_], artists: NDArray[np.str_]
    ) -> _Labelled:
        rows = truth >= 0
        truth, logits, folds, artists = truth[rows], logits[rows], folds[rows], artists[rows]
        scaled = scale_by_other_folds(truth, logits, folds)
        return cls(truth=truth, bare=softmax(logits), scaled=scaled, artists=artists)

    def calibration(self) -> ClassCalibration:
        return ClassCalibration(
            before=bootstrap(lambda i: calibration_error(self.truth[i], self.bare[i]), self.artists),
            after=bootstrap(lambda i: calibration_error(self.truth[i], self.scaled[i]), self.artists),
            bins=tuple(
                ReliabilityBin(
                    confidence=float(self._confidence[rows].mean()),
                    accuracy=_share(self._right[rows], self.artists[rows]),
                )
                for rows in equal_bins(self._confidence)
            ),
        )

    def unknown(self) -> tuple[ConfidenceRow, ...]:
        knots = expected_accuracy(self.truth, self.scaled)
        if not knots:
            return ()
        at, expected = np.array(knots).T
        return tuple(
            ConfidenceRow(
                confidence=confidence,
                expected=float(np.interp(confidence, at, expected)),
                share=float(np.mean(self._confidence >= confidence)),
                kept=_share(self._right[self._confidence >= confidence], self.artists[self._confidence >= confidence]),
            )
            for confidence in CONFIDENCES
        )

    @property
    def _confidence(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.scaled.max(1)
        return found

    @property
    def _right(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.scaled.argmax(1) == self.truth
        return found


def conformal_half_width(errors: NDArray[np.float64], level: float) -> float:
    """The smallest half width that holds ``level`` of a new error, given exchangeable absolute errors [n].

    Without errors to go by it is 2, the whole range of valence and arousal.
    """
    n = len(errors)
    if n == 0:
        return 2.0
    rank = min(n, int(np.ceil((n + 1) * level)))
    return float(np.sort(errors)[rank - 1])


def coverage(errors: NDArray[np.float64], folds: NDArray[np.int_], level: float) -> NDArray[np.bool_]:
    """Where the interval that the other folds give holds the error: ``errors`` [n, 2] to [n, 2]."""
    held = np.zeros(errors.shape, bool)
    for fold in set(folds.tolist()):
        inside = folds == fold
        for dimension in range(errors.shape[1]):
            half_width = conformal_half_width(errors[~inside, dimension], level)
            held[inside, dimension] = errors[inside, dimension] <= half_width
    return held


def temperature(truth: NDArray[np.int_], logits: NDArray[np.float64]) -> float:
    """The temperature that makes the labelled rows likeliest; 1 without any."""
    rows = truth >= 0
    if not rows.any():
        return 1.0

    def loss(t: float) -> float:
        scaled = logits[rows] / t
        scaled = scaled - scaled.max(1, keepdims=True)
        log_probs = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
        return -float(log_probs[np.arange(len(log_probs)), truth[rows]].mean())

    return float(min(_TEMPERATURES, key=loss))


def scale_by_other_folds(
    truth: NDArray[np.int_], logits: NDArray[np.float64], folds: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Probabilities [n, classes], each fold's with the temperature of the others."""
    probs = np.zeros(logits.shape)
    for fold in set(folds.tolist()):
        inside = folds == fold
        probs[inside] = softmax(logits[inside], temperature(truth[~inside], logits[~inside]))
    return probs


def softmax(logits: NDArray[np.float64], t: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits [n, classes] at temperature ``t``."""
    scaled = np.exp((logits - logits.max(1, keepdims=True)) / t)
    probs: NDArray[np.float64] = scaled / scaled.sum(1, keepdims=True)
    return probs


def expected_accuracy(truth: NDArray[np.int_], probs: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Accuracy of the likeliest class against its probability: pairs of both, each rising.

    Isotonic regression (pool adjacent violators, Ayer et al. 1955) over bins of equal size, since a surer frame is not
    expected to be wrong more often; pooled bins are one pair.
    """
    confidence, right = probs.max(1), probs.argmax(1) == truth
    pools: list[NDArray[np.float64]] = []  # sums of confidence and clips, then of hits and trials
    for rows in equal_bins(confidence):
        # One hit and one miss more in each bin (Laplace), so that nothing is ever promised to be always right.
        pools.append(np.array([confidence[rows].sum(), len(rows), right[rows].sum() + 1.0, len(rows) + 2.0]))
        while len(pools) > 1 and pools[-2][2] / pools[-2][3] >= pools[-1][2] / pools[-1][3]:
            pools[-2:] = [pools[-2] + pools[-1]]
    return tuple((round(float(c / n), 4), round(float(hits / trials), 4)) for c, n, hits, trials in pools)


def equal_bins(values: NDArray[np.float64]) -> list[NDArray[np.int_]]:
    """Rows of like value, in up to eight bins of equal size, by rising value."""
    n_bins = min(_BINS, max(1, len(values) // _MIN_BIN))
    return [rows for rows in np.array_split(np.argsort(values, kind="stable"), n_bins) if len(rows)]


def _labels(data: ClipSet) -> tuple[NDArray[np.float32], NDArray[np.int_], NDArray[np.int_]]:
    """Emotion, category and cluster of the clips; rows without audio as if they had no labels."""
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    silent = ~data.with_audio
    return np.where(silent[:, None], np.nan, emotion), np.where(silent, -1, category), np.where(silent, -1, cluster)


def _share(held: NDArray[np.bool_], artists: NDArray[np.str_]) -> Figure:
    return bootstrap(lambda i: float(held[i].mean()), artists)


STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""What is tried: 0 leaves audio alone, 1 is the model's own fusion, more goes beyond it."""

NAMES = tuple(field.name for field in fields(TextStrength))

Column = NDArray[np.float64]
_Rows = NDArray[np.bool_]


def earned_strength(data: ClipSet, results: FoldResults, rows: _Rows) -> TextStrength:
    """The strengths that do best on clips with words among ``rows`` [n]; ties go to the weaker."""
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    spoken = [
        (kind, rows & data.with_audio & np.array([data.has_lines(row, kind) for row in range(len(data))]))
        for kind in (RECOGNISED.text, PRINTED.text)
    ]
    audio = results.clips[AUDIO_ONLY.name]

    def loss(name: str, strength: float) -> float:
        parts = []
        for kind, counted in spoken:
            moved = blend(audio, results.clips[kind], dict.fromkeys(NAMES, strength))
            if name == "emotion":
                rated = counted & np.isfinite(emotion).all(1)
                pairs = [(emotion[rated, k].astype(np.float64), moved.emotion[rated, k]) for k in range(2)]
                parts += [1.0 - ccc(t, p) for t, p in pairs if len(t)]
            else:
                truth, logits = (category, moved.category) if name == "category" else (cluster, moved.cluster)
                labelled = counted & (truth >= 0)
                if labelled.any():
                    parts.append(_surprise(truth[labelled], logits[labelled]))
        return float(np.mean(parts)) if parts else strength

    return TextStrength(**{name: min(STRENGTHS, key=partial(loss, name)) for name in NAMES})


def blend(audio: Predictions, both: Predictions, strength: Mapping[str, Column | float]) -> Predictions:
    """Go from the result of audio alone towards that with words, and beyond where a strength is above 1.

    Args:
        audio: Of audio alone.
        both: With words.
        strength: By the names of ``TextStrength``, one for all rows or a column [n, 1].
    """
    return Predictions(
        emotion=np.clip(audio.emotion + strength["emotion"] * (both.emotion - audio.emotion), -1.0, 1.0),
        category=audio.category + strength["category"] * (both.category - audio.category),
        cluster=audio.cluster + strength["cluster"] * (both.cluster - audio.cluster),
    )


def with_earned_strength(
    data: ClipSet, results: FoldResults, *, as_they_are: frozenset[str] = frozenset()
) -> FoldResults:
    """The results as they are with the strength that the other folds chose for each fold.

    Args:
        data: The clips.
        results: Of the model's own fusion.
        as_they_are: Conditions that are left alone: those without audio, or with another sound than as recorded.
    """
    folds = np.array([clip.fold for clip in data.clips])
    chosen = {fold: asdict(earned_strength(data, results, folds != fold)) for fold in sorted(set(folds.tolist()))}
    strength: dict[str, Column | float] = {
        name: np.where(data.with_audio, [chosen[fold][name] for fold in folds.tolist()], 1.0)[:, None] for name in NAMES
    }
    return with_strength(results, strength, as_they_are=as_they_are)


def with_strength(
    results: FoldResults, strength: Mapping[str, Column | float], *, as_they_are: frozenset[str] = frozenset()
) -> FoldResults:
    """The results with words of this strength; see ``blend`` and ``with_earned_strength``."""

    def gated(predictions: Mapping[str, Predictions]) -> dict[str, Predictions]:
        audio = predictions[AUDIO_ONLY.name]
        return {
            name: both if name in as_they_are else blend(audio, both, strength) for name, both in predictions.items()
        }

    members = [
        gated({name: of_all[i] for name, of_all in results.members.items()})
        for i in range(len(results.members[AUDIO_ONLY.name]))
    ]
    return FoldResults(
        clips=gated(results.clips),
        frames=gated(results.frames),
        members={name: tuple(member[name] for member in members) for name in results.members},
        moments=results.moments,
    )


def _surprise(truth: NDArray[np.int_], logits: NDArray[np.float64]) -> float:
    """Mean negative log likelihood of the labels."""
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -float(log_probs[np.arange(len(truth)), truth].mean())
