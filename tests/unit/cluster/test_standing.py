"""Where a channel stands, by what NATS keeps of it: also where some of that cannot be read."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from stream_mer.cluster.continuation import Continuation
from stream_mer.cluster.envelope import seal
from stream_mer.cluster.standing import where_it_stands
from stream_mer.cluster.store import Entry
from stream_mer.server.examples import FRAME, LINE, STATUS

HOP = 8000


class Kept:
    """In place of the store: the last event of each kind."""

    def __init__(self, **events: bytes) -> None:
        self._events = events

    async def last(self, _: str, subject: str) -> Entry | None:
        data = self._events.get(subject.rpartition(".")[2])
        return None if data is None else Entry(value=data, revision=1, stored_at=0.0)


async def stands(**events: bytes) -> Continuation:
    return await where_it_stands(Kept(**events), "hall", now=0.0, hop_samples=HOP)  # type: ignore[arg-type]


EMOTION = seal(replace(FRAME, t1=100.0, dropped=3), epoch=1, number=0)
LYRICS = seal(replace(LINE, segment=6), epoch=1, number=0)
STATE = seal(replace(STATUS, lost_samples=160), epoch=1, number=0)


@pytest.mark.parametrize("bad", [{"valence": 7.0}, {"raw": {"of": "a newer version"}}, {"category": 3}])
async def test_a_frame_that_cannot_be_read_still_says_how_late_it_is(bad: dict[str, object]) -> None:
    told = msgspec.json.decode(EMOTION)
    told["event"] |= bad
    assert await stands(emotion=msgspec.json.encode(told)) == await stands(emotion=EMOTION)
    assert (await stands(emotion=EMOTION)).start_sample >= 100 * 16_000


async def test_a_line_or_a_state_that_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    whole = await stands(emotion=EMOTION, lyrics=LYRICS, status=STATE)
    assert whole.segments == 7
    assert await stands(emotion=EMOTION, lyrics=b"[" * 100_000, status=STATE) == replace(whole, segments=0)
    assert await stands(emotion=EMOTION, lyrics=LYRICS, status=b"{}") == replace(
        whole, lost_samples=whole.lost_samples - 160
    )
    assert "it is passed over" in caplog.text


async def test_a_frame_that_says_nothing_at_all_leaves_a_channel_that_begins() -> None:
    assert await stands(emotion=b"garbage") == Continuation()
