"""Who takes which channel. Pure: every worker works it out by itself, from what all of them know.

Where two know different things, two may want the same channel: its claim can be changed by one of them only.
"""

from __future__ import annotations

from collections.abc import Collection

from stream_mer.cluster.roster import Roster


def to_claim(roster: Roster, me: str, *, takeover: bool, overdue: Collection[str] = ()) -> list[str]:
    """Return the tokens of the channels that a worker is to take now.

    Each channel that nobody has goes to the worker with the fewest, of those that have room.

    Args:
        roster: What is known.
        me: The worker's session.
        takeover: False leaves channels alone whose worker has only just been lost from sight.
        overdue: Channels that whoever was to take them did not: these go to anybody with room.
    """
    workers = roster.workers.rows
    load = {
        session: count
        for session, count in roster.load().items()
        if not workers[session].record.draining and workers[session].record.capacity > 0
    }
    if me not in load:
        return []
    mine = []
    for token in roster.names():
        if roster.owner(token) is not None or roster.has_ended(token):
            continue
        if not takeover and roster.is_orphaned(token):
            continue
        with_room = [session for session, count in load.items() if count < workers[session].record.capacity]
        if not with_room:
            break
        taker = min(with_room, key=lambda session: (load[session], session))
        if token in overdue and me in with_room:
            taker = me
        load[taker] += 1
        if taker == me:
            mine.append(token)
    return mine


def to_hand_over(roster: Roster, me: str) -> list[str]:
    """Return the tokens of channels that a worker gives up now, so that one with far fewer gets them.

    Only the worker with the most does, and only for one with at least two fewer: then it ends by itself. It gives up
    a quarter of the difference at a time.
    """
    workers = roster.workers.rows
    load = roster.load()
    takers = [
        count
        for session, count in load.items()
        if session != me and not workers[session].record.draining and count < workers[session].record.capacity
    ]
    if me not in load or not takers or load[me] - min(takers) < 2:
        return []
    if max(load, key=lambda session: (load[session], session)) != me:
        return []
    mine = [token for token in roster.channels.rows if roster.owner(token) == me]
    mine.sort(key=lambda token: roster.claims.rows[token].revision)
    return mine[-max(1, (load[me] - min(takers)) // 4) :]  # those that came last have least to lose
