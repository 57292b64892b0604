"""A whole file in one line, from its frames."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from stream_mer.outputs.files.summary import FileSummary
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    UNKNOWN,
    EmotionEstimate,
    EmotionFrame,
    Interval,
    LyricLine,
    StreamStatus,
)


def frame(
    index: int,
    *,
    raw: tuple[float, float] = (0.0, 0.0),
    probs: tuple[float, ...] = (0.25,) * 4,
    clusters: tuple[float, ...] = (0.2,) * 5,
) -> EmotionFrame:
    categories = dict(zip(CATEGORIES, probs, strict=True))
    estimate = EmotionEstimate(
        valence=raw[0],
        arousal=raw[1],
        interval=Interval(valence=(-1, 1), arousal=(-1, 1), level=0.8),
        categories=categories,
        clusters=dict(zip(CLUSTERS, clusters, strict=True)),
    )
    return EmotionFrame(
        index=index, t0=0, t1=0.5 * (index + 1), valence=0.9, arousal=-0.9, raw=estimate, category="sad", confidence=1,
        probs=dict.fromkeys(CATEGORIES, 0.25),
    )  # fmt: skip


def line(segment: int, text: str, *, committed: bool = True) -> LyricLine:
    return LyricLine(segment=segment, revision=0, t0=0, t1=1, text=text, committed=committed)


def summed(*events: EmotionFrame | LyricLine) -> FileSummary:
    summary = FileSummary()
    for event in events:
        summary.publish(event)
    return summary


def test_emotion_is_the_mean_before_smoothing() -> None:
    summary = summed(frame(0, raw=(0.5, -0.2)), frame(1, raw=(-0.1, 0.6)))
    assert (summary.valence, summary.arousal) == pytest.approx((0.2, 0.2))
    assert (summary.n_frames, summary.duration_s) == (2, 1.0)


def silent(index: int) -> EmotionFrame:
    one = frame(index)
    return replace(one, raw=replace(one.raw, degraded=("lyrics_lagging", "silent")))


def test_frames_that_claim_no_emotion_do_not_count() -> None:
    music = frame(0, raw=(0.5, -0.2), probs=(0.7, 0.1, 0.1, 0.1))
    summary = summed(music, silent(1), silent(2))
    assert (summary.valence, summary.arousal) == pytest.approx((0.5, -0.2))
    assert summary.categories == pytest.approx(music.raw.categories)
    assert (summary.category, summary.n_frames, summary.duration_s) == ("happy", 3, 1.5)


def test_a_file_without_any_sound_is_unknown() -> None:
    summary = summed(silent(0), silent(1))
    assert (summary.category, summary.valence, summary.arousal) == (UNKNOWN, 0, 0)
    assert summary.categories == pytest.approx(dict.fromkeys(CATEGORIES, 0.25))


def test_of_words_alone_the_newest_frame_stands_for_the_file() -> None:
    summary = FileSummary(words_alone=True)
    for event in (frame(0, probs=(0.7, 0.1, 0.1, 0.1)), frame(1, raw=(-0.1, 0.6), probs=(0.1, 0.1, 0.6, 0.2))):
        summary.publish(event)
    assert (summary.valence, summary.arousal) == pytest.approx((-0.1, 0.6))
    assert summary.categories == pytest.approx(dict(zip(CATEGORIES, (0.1, 0.1, 0.6, 0.2), strict=True)))
    assert (summary.n_frames, summary.duration_s) == (2, 1.0)


def test_probabilities_are_geometric_means() -> None:
    summary = summed(frame(0, probs=(0.7, 0.1, 0.1, 0.1)), frame(1, probs=(0.1, 0.4, 0.4, 0.1)))
    roots = [math.sqrt(x * y) for x, y in zip((0.7, 0.1, 0.1, 0.1), (0.1, 0.4, 0.4, 0.1), strict=True)]
    assert list(summary.categories.values()) == pytest.approx([root / sum(roots) for root in roots])
    assert summary.category == "happy"


def test_a_frame_that_is_sure_against_a_category_counts() -> None:
    against = summed(*[frame(i, probs=(0.5, 0.4, 0.05, 0.05)) for i in range(3)], frame(3, probs=(0, 0.6, 0.2, 0.2)))
    assert against.category == "angry"
    assert 0 < against.categories["happy"] < 0.05


def test_clusters_sum_to_one() -> None:
    summary = summed(frame(0, clusters=(0.6, 0.1, 0.1, 0.1, 0.1)), frame(1, clusters=(0.6, 0.1, 0.1, 0.1, 0.1)))
    assert list(summary.clusters.values()) == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1])


def test_a_long_file_does_not_underflow() -> None:
    summary = summed(*[frame(i, probs=(1.0, 0.0, 0.0, 0.0)) for i in range(20_000)])
    assert summary.categories["happy"] == pytest.approx(1)
    assert sum(summary.categories.values()) == pytest.approx(1)


def test_lyrics_are_the_committed_lines_in_their_order_in_their_last_version() -> None:
    summary = summed(
        line(1, "second"), line(0, "first, misheard"), line(0, "first"), line(2, "not yet", committed=False)
    )
    assert summary.lyrics == "first\nsecond"


def test_without_frames_there_is_nothing_to_say() -> None:
    summary = FileSummary()
    summary.publish(StreamStatus(source="ended", device="x", lyrics="off"))
    assert (summary.valence, summary.arousal, summary.duration_s, summary.lyrics) == (0, 0, 0, "")
    assert list(summary.categories.values()) == [0.25] * 4
