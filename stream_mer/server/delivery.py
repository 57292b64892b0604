"""How a published message gets to all clients of one event loop: in that loop, in one pass.

A message could be put into every outbox by the thread that publishes it, and be taken out again in the loop. With a
thousand clients that is two passes over as many objects in two threads that fight for the interpreter, and costs more
than the sending. So the publishing thread only says what goes to whom; the loop writes it straight to every client
that keeps up and puts it into the outbox of the others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from stream_mer.server.outbox import Outbox, Parcel
from stream_mer.server.wake import LoopWaker

MOST_POSTED = 32
"""Messages that may wait for the loop. When it stalls for longer, the publishing thread puts them into the outboxes."""


class Reader(NamedTuple):
    """Somebody who gets a message.

    Attributes:
        outbox: Its outbox.
        interval_s: What ``Outbox.put`` calls so.
    """

    outbox: Outbox
    interval_s: float


class Delivery:
    """Hands messages to the outboxes of one loop's clients, in the order in which they were posted.

    Args:
        waker: Wakes the loop.
    """

    def __init__(self, waker: LoopWaker) -> None:
        self.waker = waker
        self._posted: deque[tuple[Parcel, Sequence[Reader]]] = deque()
        # Held while one message is handed out, so that a later one cannot overtake it in another thread.
        self._turn = threading.Lock()
        self._on_its_way = False

    def post(self, parcel: Parcel, readers: Sequence[Reader]) -> None:
        """Have a message handed out soon; from any thread, but from one at a time. Dropped once the loop is closed."""
        if self.waker.is_closed:
            return
        self._posted.append((parcel, readers))
        if len(self._posted) > MOST_POSTED:
            self.settle()
        elif not self._on_its_way:
            self._on_its_way = True
            self.waker.wake(self._deliver)
            if self.waker.is_closed:
                self._posted.clear()

    def settle(self) -> None:
        """Put everything posted into the outboxes now; from any thread."""
        while self._posted:
            with self._turn:
                for parcel, readers in self._next():
                    for outbox, interval_s in readers:
                        outbox.put(parcel, interval_s=interval_s)

    def _deliver(self) -> None:
        self._on_its_way = False
        while self._posted:
            with self._turn:
                for parcel, readers in self._next():
                    for outbox, interval_s in readers:
                        outbox.hand_over(parcel, interval_s=interval_s)

    def _next(self) -> list[tuple[Parcel, Sequence[Reader]]]:
        """Return the next message, if the other thread has not taken it meanwhile."""
        return [self._posted.popleft()] if self._posted else []
