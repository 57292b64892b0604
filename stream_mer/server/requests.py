"""What one client asks for, and the answers: who it is, what it wants, and an operator's commands. No I/O."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable

from stream_mer.server import messages as wire
from stream_mer.server.codec import encode, override_values
from stream_mer.server.delivery import Delivery
from stream_mer.server.farewell import Goodbye
from stream_mer.server.hub import Hub
from stream_mer.server.interest import DEFAULT_INTEREST, Interest, grant, interest_in, subscribed, unsubscribed
from stream_mer.server.outbox import Outbox
from stream_mer.server.settings import ServeSettings
from stream_mer.types import ControlCommand

logger = logging.getLogger(__name__)


class Requests:
    """One client's place at the hub.

    Args:
        hub: Where events come from.
        outbox: Where answers and events go.
        delivery: What brings the events there.
        settings: Tokens and limits.
        role: What the client may do so far; None until it has shown a token where one is needed.
        let_in: Gives the client its place, once it has a role; raises Goodbye where all are taken.

    Attributes:
        client_id: Name of this connection.
        role: What the client may do.
        has_spoken: True once it said what it wants; until then it may get the default.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        outbox: Outbox,
        delivery: Delivery,
        settings: ServeSettings,
        role: wire.Role | None,
        let_in: Callable[[], None],
    ) -> None:
        self.client_id = secrets.token_hex(4)
        self.role = role
        self.has_spoken = False
        self._hub = hub
        self._outbox = outbox
        self._delivery = delivery
        self._settings = settings
        self._let_in = let_in
        self._interest = Interest()

    def identify(self, message: wire.Identify, *, role: wire.Role | None) -> None:
        """Take in who the client is and what it wants; answer with ``ready``.

        Args:
            message: What it says.
            role: What the token in it allows; of no account where there is none in it.

        Raises:
            Goodbye: The token is missing or wrong, a stream is not here, or all places are taken.
        """
        if message.token is not None:
            self.role = role
        role = self.require_role()
        self._let_in()
        granted = grant(message.subscribe)
        self._require_streams(name for subscription in granted for name in subscription.streams)
        interest = interest_in(granted)
        if len(interest.choices) > self._settings.max_subscriptions:
            raise Goodbye(wire.CloseCode.BAD_MESSAGE, self._too_many())
        self._accept(interest)
        self._hub.welcome(
            self._outbox,
            interest,
            client_id=self.client_id,
            role=role,
            granted=granted,
            resume=message.resume,
            via=self._delivery,
        )
        vain = [kind for wish in message.subscribe or () if not grant([wish]) for kind in wish.events]
        if vain:  # silence would be all that it hears of them
            error = wire.Error(code=wire.CloseCode.BAD_MESSAGE, message=_no_such_events(vain), fatal=False)
            self._outbox.put_all([encode(error)])
        logger.debug("client %s is %.40r (%.40r)", self.client_id, message.client.name, message.client.kind)

    def begin_by_default(self) -> None:
        """Give a client that never said a word what everybody gets."""
        self._accept(DEFAULT_INTEREST)
        self._hub.attach(self._outbox, self._interest, via=self._delivery)

    def subscribe(self, message: wire.Subscribe) -> None:
        """Add to what the client gets, and answer.

        Raises:
            Goodbye: The token was not shown yet.
        """
        self.require_role()
        wish = wire.Subscription(streams=message.streams, events=message.events, max_hz=message.max_hz)
        granted = grant([wish])
        unknown = self._unknown(message.streams)
        if unknown is not None:
            self._answer(message.id, wire.CloseCode.NO_STREAM, unknown)
        elif not granted:
            self._answer(message.id, wire.CloseCode.BAD_MESSAGE, _no_such_events(message.events))
        else:
            self._change(message.id, self._interest.after(subscribed(granted[0])))

    def unsubscribe(self, message: wire.Unsubscribe) -> None:
        """Take from what the client gets, and answer.

        Raises:
            Goodbye: The token was not shown yet.
        """
        self.require_role()
        self._change(message.id, self._interest.after(unsubscribed(message)))

    def control(self, message: wire.Control) -> None:
        """Carry out an operator's command, and answer.

        Raises:
            Goodbye: The token was not shown yet.
        """
        role = self.require_role()
        unknown = self._unknown(message.streams)
        if role != "operator":
            self._answer(message.id, wire.CloseCode.FORBIDDEN, "only operators may control; identify as one")
        elif unknown is not None:
            self._answer(message.id, wire.CloseCode.NO_STREAM, unknown)
        elif (message.action == "override") != (message.override is not None):
            how = '"action":"override" goes with "override":{"valence":0.5,"arousal":0.2,"ttl_s":30}, others without'
            self._answer(message.id, wire.CloseCode.BAD_MESSAGE, how)
        else:
            streams = ", ".join(message.streams) or "all streams"
            logger.info("client %s: %s of %s %s", self.client_id, message.action, streams, message.override or "")
            self._answer(message.id)
            values = override_values(message.override)
            self._hub.control(ControlCommand(action=message.action, streams=message.streams, override=values))

    def require_role(self) -> wire.Role:
        """Return the client's role.

        Raises:
            Goodbye: It has none: the token was not shown.
        """
        if self.role is None:
            why = "the token is missing or wrong; send the server's token in identify"
            raise Goodbye(wire.CloseCode.BAD_TOKEN, why)
        return self.role

    def _accept(self, interest: Interest) -> None:
        self._interest = interest
        self.has_spoken = True

    def _change(self, request_id: wire.Id, interest: Interest) -> None:
        if len(interest.choices) > self._settings.max_subscriptions:
            self._answer(request_id, wire.CloseCode.BAD_MESSAGE, self._too_many())
            return
        self._accept(interest)
        self._answer(request_id)
        self._hub.attach(self._outbox, interest, via=self._delivery)

    def _answer(self, request_id: wire.Id, refused: wire.CloseCode | None = None, why: str = "") -> None:
        error = None if refused is None else wire.RefusalPart(code=refused, message=why)
        self._outbox.put_all([encode(wire.Result(id=request_id, ok=error is None, error=error))])

    def _require_streams(self, names: Iterable[str]) -> None:
        unknown = self._unknown(tuple(names))
        if unknown is not None:
            raise Goodbye(wire.CloseCode.NO_STREAM, unknown)

    def _unknown(self, names: tuple[str, ...]) -> str | None:
        """Return what to say of the first name that no stream has; None if all are known."""
        streams = self._hub.streams
        for name in names:
            if name not in streams:
                return f"there is no stream {name[:80]!r}; there is {', '.join(streams)[:200] or 'none yet'}"
        return None

    def _too_many(self) -> str:
        return f"more than {self._settings.max_subscriptions} subscriptions; name several streams or events in one"


def _no_such_events(names: Iterable[str]) -> str:
    return f"none of {', '.join(names)[:80]} is here; choose from {', '.join(wire.EVENT_KINDS)}"
