"""Messages back to the events that they were made of, as far as they tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from stream_mer.server import messages as wire
from stream_mer.types import (
    AudioState,
    CategoryChange,
    EmotionEstimate,
    EmotionFrame,
    InputLevels,
    Interval,
    Latency,
    LyricLine,
    LyricWord,
    StreamEvent,
    StreamStatus,
)


def event_of(message: wire.EventMessage) -> StreamEvent:
    """Return the event; made into a message again it is the same but for its ``seq``.

    What no message holds is filled in: the estimate's categories are those after smoothing, and words are sure.
    """
    match message:
        case wire.Emotion():
            return _frame(message)
        case wire.Lyrics():
            return LyricLine(
                segment=message.segment,
                revision=message.revision,
                t0=message.t0,
                t1=message.t1,
                text=message.text,
                committed=message.committed,
                language=message.language,
                words=tuple(LyricWord(t0=word.t0, t1=word.t1, text=word.text) for word in message.words),
                settled_words=message.settled_words,
            )
        case wire.Change():
            return CategoryChange(t=message.t, before=message.from_, after=message.to, dwell_s=message.dwell_s)
        case wire.Status():
            return StreamStatus(
                source=message.source,
                device=message.device,
                lyrics=message.lyrics,
                lag_s=message.lag_s,
                lost_samples=message.lost_samples,
                clipping=message.clipping,
                peak_db=message.peak_db,
                rms_db=message.rms_db,
            )
        case wire.Levels():
            return InputLevels(t=message.t, rms_db=message.rms_db, peak_db=message.peak_db, onset=message.onset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far what is played again lies behind the first time: audio goes on counting.

    Attributes:
        t_s: Seconds of audio.
        index: Hops.
        segment: Lines of lyrics.
    """

    t_s: float = 0.0
    index: int = 0
    segment: int = 0

    def __mul__(self, laps: int) -> Shift:
        return Shift(t_s=laps * self.t_s, index=laps * self.index, segment=laps * self.segment)


def shifted(event: StreamEvent, shift: Shift) -> StreamEvent:
    """Return the event as it is that much later."""
    t_s = shift.t_s
    match event:
        case EmotionFrame():
            return replace(event, t0=event.t0 + t_s, t1=event.t1 + t_s, index=event.index + shift.index)
        case LyricLine():
            words = tuple(replace(word, t0=word.t0 + t_s, t1=word.t1 + t_s) for word in event.words)
            segment = event.segment + shift.segment
            return replace(event, t0=event.t0 + t_s, t1=event.t1 + t_s, words=words, segment=segment)
        case CategoryChange() | InputLevels():
            return replace(event, t=event.t + t_s)
        case StreamStatus():
            return event


def _frame(message: wire.Emotion) -> EmotionFrame:
    probs: dict[str, float] = msgspec.structs.asdict(message.category.probs)
    latency = message.latency_ms
    return EmotionFrame(
        index=message.index,
        t0=message.t0,
        t1=message.t1,
        valence=message.valence,
        arousal=message.arousal,
        raw=EmotionEstimate(
            valence=message.raw.valence,
            arousal=message.raw.arousal,
            interval=Interval(
                valence=message.interval.valence, arousal=message.interval.arousal, level=message.interval.level
            ),
            categories=probs,
            clusters=msgspec.structs.asdict(message.clusters),
            modalities=message.modalities,
            text_age_s=message.text_age_s,
            degraded=message.degraded,
            audio_state=None
            if message.audio_state is None
            else AudioState(state=message.audio_state.state, prob=message.audio_state.prob),
            features_ms=latency.features,
            model_ms=latency.model,
        ),
        category=message.category.top,
        confidence=message.confidence,
        probs=probs,
        hold=message.hold,
        hold_left_s=message.hold_left_s,
        latency=Latency(
            capture=latency.capture,
            queue=latency.queue,
            features=latency.features,
            model=latency.model,
            total=latency.total,
        ),
        dropped=message.dropped,
    )
