"""An operator's override of the values of one stream: freeze, blackout, or other values. Pure: the clock is given.

Overridden are the values of ``emotion`` and the cues of ``change``. The raw estimates (``EmotionFrame.raw``) go on
meanwhile, so that live values are back at once after ``resume``.

A cue leads from one published category to another one; ``UNKNOWN`` is neither.
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


class Override:
    """The override of one stream, whether one is in force or not."""

    def __init__(self) -> None:
        self._kind: HoldKind | None = None
        self._until: float | None = None
        self._values: OverrideValues | None = None
        self._frozen: EmotionFrame | None = None
        self._live: EmotionFrame | None = None
        self._shown: EmotionFrame | None = None
        self._cued: str | None = None  # the category that was published last
        self._cued_since_t = 0.0  # and since when
        self._live_category: str | None = None  # the last one of the live frames
        self._touched = False  # until the first override, all cues are those of the pipeline

    @property
    def shown(self) -> EmotionFrame | None:
        """The newest published frame; None before the first."""
        return self._shown

    def control(
        self,
        action: ControlAction,
        values: OverrideValues | None,
        *,
        now: float,
        shown: EmotionFrame | None = None,
    ) -> list[StreamEvent]:
        """Carry out a command.

        Args:
            action: What to do.
            values: The values for the action ``override``; None for all others.
            now: Any monotonic clock, seconds; the same one for all calls.
            shown: The frame to freeze; None for the newest published one.

        Returns:
            The events to publish at once.
        """
        was = self._kind
        self._touched = True
        self._kind = None if action == "resume" else action
        self._values = values
        self._until = now + values.ttl_s if values is not None and values.ttl_s is not None else None
        self._frozen = (shown or self._shown) if action in {"freeze", "blackout"} else None
        if self._live is None or (was is None and self._kind is None):
            return []
        return self._show(self._live, now)

    def apply(self, event: StreamEvent, *, now: float) -> list[StreamEvent]:
        """Return the events to publish for an event of the pipeline."""
        match event:
            case EmotionFrame():
                self._live = event
                self._end_if_over(now)
                return self._show(event, now)
            case CategoryChange():
                return [] if self._kind is not None else self._pass_cue(event)
        return [event]

    def expire(self, *, now: float) -> list[StreamEvent]:
        """End an override whose time is over, though no frame comes; return the events to publish."""
        if not self._end_if_over(now) or self._live is None:
            return []
        return self._show(self._live, now)

    def _end_if_over(self, now: float) -> bool:
        is_over = self._until is not None and now >= self._until
        if is_over:
            self._kind = self._until = self._values = None
        return is_over

    def _pass_cue(self, event: CategoryChange) -> list[StreamEvent]:
        """Return the events to publish for a cue of the pipeline while no override is in force."""
        before = self._cued if self._touched and self._cued is not None else event.before
        if before == event.after or before not in CATEGORIES or event.after not in CATEGORIES:
            return []
        self._cued, self._cued_since_t = event.after, event.t
        return [event if before == event.before else replace(event, before=before)]

    def _show(self, live: EmotionFrame, now: float) -> list[StreamEvent]:
        last, frame = self._shown, self._overridden(live, now)
        self._shown = frame
        self._touched = self._touched or frame.hold is not None  # in a recording, by another operator
        live_before = self._live_category
        if live.category in CATEGORIES:
            self._live_category = live.category
        if frame.category not in CATEGORIES or frame.category == self._cued:
            return [frame]
        # The cues of live frames come from the pipeline, after them; only cues that an override makes are made here.
        is_live = frame.hold is None and (last is None or last.hold is None)
        if is_live and self._touched and live_before not in {None, self._live_category}:
            return [frame]
        before, since_t = self._cued, self._cued_since_t
        self._cued, self._cued_since_t = frame.category, live.t1
        if before is None or not self._touched:
            return [frame]
        dwell_s = max(0.0, live.t1 - since_t)
        return [frame, CategoryChange(t=live.t1, before=before, after=frame.category, dwell_s=dwell_s)]

    def _overridden(self, live: EmotionFrame, now: float) -> EmotionFrame:
        if self._kind is None:
            return live
        if self._values is not None:
            valence, arousal = self._values.valence, self._values.arousal
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
        if self._frozen is None:  # the command came before the first frame
            self._frozen = live
        return replace(
            live,
            valence=self._frozen.valence,
            arousal=self._frozen.arousal,
            category=self._frozen.category,
            confidence=self._frozen.confidence,
            probs=self._frozen.probs,
            hold=self._kind,
        )


def quadrant(valence: float, arousal: float) -> str:
    """Return the category whose quadrant a point lies in; zero counts as positive."""
    happy, angry, sad, relaxed = CATEGORIES
    if arousal >= 0:
        return happy if valence >= 0 else angry
    return relaxed if valence >= 0 else sad
