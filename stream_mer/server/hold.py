"""What an operator does to the values of one stream: hold them, or put others in their place. Pure: the clock is given.

What is held is what everybody sees: the values of ``emotion`` and the cues of ``change``. The estimates go on
underneath (``EmotionFrame.raw``), so that giving the values back needs no time to settle.

Cues lead from one category that everybody saw to another: ``UNKNOWN`` is none, whoever says so.
"""

from __future__ import annotations

from dataclasses import replace

from stream_mer.types import (
    CATEGORIES,
    CategoryChange,
    ControlAction,
    EmotionFrame,
    HoldKind,
    OverrideValues,
    StreamEvent,
)


class Hold:
    """The operator's hand on one stream."""

    def __init__(self) -> None:
        self._kind: HoldKind | None = None
        self._until: float | None = None
        self._override: OverrideValues | None = None
        self._frozen: EmotionFrame | None = None
        self._live: EmotionFrame | None = None
        self._shown: EmotionFrame | None = None
        self._cued: str | None = None  # the category that everybody saw last, and since when
        self._cued_since_t = 0.0
        self._live_named: str | None = None  # the last one of the live frames
        self._touched = False  # until a hand was on the values, all cues are those of the pipeline

    @property
    def shown(self) -> EmotionFrame | None:
        """The frame that everybody sees now; None before the first."""
        return self._shown

    def control(
        self,
        action: ControlAction,
        override: OverrideValues | None,
        *,
        now: float,
        shown: EmotionFrame | None = None,
    ) -> list[StreamEvent]:
        """Take a command at ``now``, monotonic seconds; return what is to be published at once.

        Args:
            action: What to do.
            override: The values; for ``override`` alone, where they must be given.
            now: Any clock, seconds; the same one for all calls.
            shown: What to freeze at; None for what is shown now.
        """
        was = self._kind
        self._touched = True
        self._kind = None if action == "resume" else action
        self._override = override
        self._until = now + override.ttl_s if override is not None and override.ttl_s is not None else None
        self._frozen = (shown or self._shown) if action in {"freeze", "blackout"} else None
        if self._live is None or (was is None and self._kind is None):
            return []
        return self._show(self._live, now)

    def pass_on(self, event: StreamEvent, *, now: float) -> list[StreamEvent]:
        """Return what is to be published of an event that the pipeline published at ``now``."""
        match event:
            case EmotionFrame():
                self._live = event
                self._end_if_over(now)
                return self._show(event, now)
            case CategoryChange():
                return [] if self._kind is not None else self._pass_cue(event)
        return [event]

    def expire(self, *, now: float) -> list[StreamEvent]:
        """End an override whose time is over at ``now``, though no frame comes; return what is to be published."""
        if not self._end_if_over(now) or self._live is None:
            return []
        return self._show(self._live, now)

    def _end_if_over(self, now: float) -> bool:
        is_over = self._until is not None and now >= self._until
        if is_over:
            self._kind = self._until = self._override = None
        return is_over

    def _pass_cue(self, event: CategoryChange) -> list[StreamEvent]:
        """Return what is to be published of a cue of the pipeline, while nobody holds the values."""
        before = self._cued if self._touched and self._cued is not None else event.before
        if before == event.after or before not in CATEGORIES or event.after not in CATEGORIES:
            return []
        self._cued, self._cued_since_t = event.after, event.t
        return [event if before == event.before else replace(event, before=before)]

    def _show(self, live: EmotionFrame, now: float) -> list[StreamEvent]:
        last, frame = self._shown, self._held(live, now)
        self._shown = frame
        self._touched = self._touched or frame.hold is not None  # of a recording, by another hand
        live_before = self._live_named
        if live.category in CATEGORIES:
            self._live_named = live.category
        if frame.category not in CATEGORIES or frame.category == self._cued:
            return [frame]
        # The cues of live frames come from the pipeline, after them; only what a hand did is cued here.
        untouched = frame.hold is None and (last is None or last.hold is None)
        if untouched and self._touched and live_before not in {None, self._live_named}:
            return [frame]
        before, since_t = self._cued, self._cued_since_t
        self._cued, self._cued_since_t = frame.category, live.t1
        if before is None or not self._touched:
            return [frame]
        dwell_s = max(0.0, live.t1 - since_t)
        return [frame, CategoryChange(t=live.t1, before=before, after=frame.category, dwell_s=dwell_s)]

    def _held(self, live: EmotionFrame, now: float) -> EmotionFrame:
        if self._kind is None:
            return live
        if self._override is not None:
            valence, arousal = self._override.valence, self._override.arousal
            category = quadrant(valence, arousal)
            return replace(
                live,
                valence=valence,
                arousal=arousal,
                category=category,
                confidence=1.0,
                probs={name: float(name == category) for name in CATEGORIES},
                hold=self._kind,
                hold_left_s=None if self._until is None else max(0.0, self._until - now),
            )
        if self._frozen is None:  # it was held before there was anything to hold
            self._frozen = live
        still = self._frozen
        return replace(
            live,
            valence=still.valence,
            arousal=still.arousal,
            category=still.category,
            confidence=still.confidence,
            probs=still.probs,
            hold=self._kind,
        )


def quadrant(valence: float, arousal: float) -> str:
    """Return the category whose quadrant a point lies in; zero counts as up."""
    happy, angry, sad, relaxed = CATEGORIES
    if arousal >= 0:
        return happy if valence >= 0 else angry
    return relaxed if valence >= 0 else sad
