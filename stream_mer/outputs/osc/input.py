"""OSC input: commands of an operator from a desk or a tablet.

::

    /mer/control/freeze                              all streams
    /mer/control/blackout
    /mer/control/override  valence arousal [ttl_s]   -1..1 each; live again after ttl_s seconds
    /mer/control/resume
    /mer/STREAM/control/freeze                       one stream, and so on

A button sends 1 when it is pressed and 0 when it is released; a single 0 or false is ignored.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence

from stream_mer.errors import ServeError, SettingError, did_you_mean
from stream_mer.outputs.osc.mapping import address_part
from stream_mer.outputs.osc.transport import BadPacketError, decode
from stream_mer.ports import EventHub
from stream_mer.types import MAX_SECONDS, ControlAction, ControlCommand, OverrideValues
from stream_mer.utils.hosts import is_loopback

log = logging.getLogger(__name__)

MAX_COMMANDS_PER_S = 50
"""Commands beyond this rate are dropped: every command is published to all clients."""

_MAX_COMPLAINTS = 32
"""Different mistakes that are logged; more of them come from a scanner or a loop."""

_PACKET_BYTES = 4096
_LOOK_S = 0.2
_END_WITHIN_S = 2.0

ACTIONS: tuple[ControlAction, ...] = ("freeze", "blackout", "override", "resume")


class BadCommandError(ValueError):
    """The message is not a command."""


def command_of(address: str, arguments: Sequence[object], *, streams: Sequence[str]) -> ControlCommand | None:
    """Return the command of an OSC message; None for a button that is released.

    Args:
        address: Address of the message.
        arguments: Its arguments.
        streams: Names of all streams.

    Raises:
        BadCommandError: The message is no command, its arguments do not fit, or there is no such stream.
    """
    match address.split("/"):
        case ["", "mer", "control", action]:
            meant: tuple[str, ...] = ()
        case ["", "mer", stream, "control", action]:
            meant = tuple(name for name in streams if address_part(name) == stream)
            if not meant:
                raise BadCommandError(f"there is no stream {stream[:80]!r}; there is {', '.join(streams)[:200]}")
        case _:
            raise BadCommandError(f"{address[:80]!r} is no command; there is /mer/control/{{{','.join(ACTIONS)}}}")
    known = next((each for each in ACTIONS if each == action), None)
    if known is None:
        raise BadCommandError(f"no command is called {action[:80]!r}{did_you_mean(action[:80], ACTIONS)}")
    if known == "override":
        return ControlCommand(action=known, streams=meant, override=_override(arguments))
    if len(arguments) == 1 and arguments[0] in (0, False):
        return None
    return ControlCommand(action=known, streams=meant)


def _override(arguments: Sequence[object]) -> OverrideValues:
    numbers = [float(each) for each in arguments if isinstance(each, int | float) and math.isfinite(each)]
    if len(numbers) != len(arguments) or len(numbers) not in {2, 3}:
        raise BadCommandError("override takes valence, arousal and perhaps seconds: two or three numbers")
    valence, arousal, *ttl_s = numbers
    if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise BadCommandError(f"override takes valence and arousal from -1 to 1, not {valence:g} and {arousal:g}")
    if ttl_s and not ttl_s[0] > 0:
        raise BadCommandError(f"override lasts more than 0 seconds, not {ttl_s[0]:g}; leave them out for no end")
    if ttl_s and ttl_s[0] > MAX_SECONDS:
        raise BadCommandError(f"override lasts at most {MAX_SECONDS:g} seconds, not {ttl_s[0]:g}; leave them out")
    return OverrideValues(valence=valence, arousal=arousal, ttl_s=ttl_s[0] if ttl_s else None)


class OscInput:
    """Receives commands over UDP and hands them to the hub, as websocket clients do; a ``Plugin`` of ``runner``.

    OSC has no authentication: every sender that reaches the port is an operator.

    Args:
        host: Address to bind.
        port: 1..65535, or 0 for any free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._complaints: set[str] = set()
        self._times: deque[float] = deque(maxlen=MAX_COMMANDS_PER_S)

    @property
    def port(self) -> int:
        """The bound port; differs from the requested one if that is 0."""
        return self._port if self._socket is None else int(self._socket.getsockname()[1])

    @property
    def notice(self) -> str:
        """The line that ``serve`` prints when it starts."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        notice = f"OSC in     udp://{host}:{self.port}"
        if is_loopback(self._host):
            return notice
        return notice + "  NOT PRIVATE: anyone in this network may freeze, override or black out the show"

    def start(self, hub: EventHub) -> None:
        """Bind the port and start to listen.

        Raises:
            ServeError: The address cannot be bound.
        """
        try:
            self._socket = _bound(self._host, self._port)
        except OSError as error:
            raise ServeError(_why_not_bound(error, self._host, self._port)) from error
        self._socket.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._listen, args=(self._socket, hub), name="osc in", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; idempotent."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_END_WITHIN_S)
        if self._socket is not None:
            self._socket.close()

    def _listen(self, bound: socket.socket, hub: EventHub) -> None:
        while not self._ending.is_set():
            try:
                packet, sender = bound.recvfrom(_PACKET_BYTES)
                self._take(packet, str(sender[0]), hub)
            except TimeoutError:
                continue
            except Exception:  # whatever happens, the next command is taken
                log.exception("OSC input failed and goes on")
                self._ending.wait(_LOOK_S)

    def _take(self, packet: bytes, sender: str, hub: EventHub) -> None:
        try:
            for address, arguments in decode(packet):
                command = command_of(address, arguments, streams=hub.streams)
                if command is None:
                    continue
                if self._is_too_fast(time.monotonic()):
                    self._complain(f"more than {MAX_COMMANDS_PER_S} OSC commands a second: some are left out")
                    continue
                log.info("%s: %s of %s", sender, command.action, ", ".join(command.streams) or "all streams")
                hub.control(command)
        except (BadPacketError, BadCommandError) as error:
            self._complain(f"OSC from {sender} is ignored: {error}")

    def _is_too_fast(self, now: float) -> bool:
        if len(self._times) == MAX_COMMANDS_PER_S and now - self._times[0] < 1.0:
            return True
        self._times.append(now)
        return False

    def _complain(self, complaint: str) -> None:
        """Log a mistake once."""
        if complaint not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints.add(complaint)
            log.warning("%s", complaint)


def parse_place(text: str) -> tuple[str, int]:
    """Parse ``PORT`` or ``HOST:PORT``; without a host only this machine may send.

    Raises:
        SettingError: The text is neither.
    """
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65_535 or text.startswith(":"):
        raise SettingError(f"--osc-in {text}: give a port such as 9001, or HOST:PORT to let others in")
    return host.strip("[]") or "127.0.0.1", int(port)


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} on {host} is in use, perhaps by another program for OSC: take another one for --osc-in"
    if error.errno == errno.EACCES:
        return f"UDP port {port} may not be opened by this user: take one above 1023 for --osc-in"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine: take one of its own for --osc-in"
    return f"cannot listen for OSC on {host} port {port}: {error.strerror or error}"
