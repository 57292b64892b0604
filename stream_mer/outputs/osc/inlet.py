"""OSC in: an operator's commands from a desk or a tablet, in a thread of its own."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections import deque

from stream_mer.errors import ServeError, SettingError
from stream_mer.outputs.osc.commands import BadCommandError, command_of
from stream_mer.outputs.osc.packets import BadPacketError, decode
from stream_mer.ports import EventHub
from stream_mer.utils.hosts import is_loopback

log = logging.getLogger(__name__)

MAX_COMMANDS_PER_S = 50
"""What comes faster is left out: every command is published to all clients."""

_MAX_COMPLAINTS = 32
"""So many different mistakes are told; who makes more is a scanner, or a loop."""

_PACKET_BYTES = 4096
_LOOK_S = 0.2
_END_WITHIN_S = 2.0


class OscInlet:
    """Takes commands over UDP and hands them to the hub, as websocket clients do; a ``Plugin`` of the server.

    There is no token in OSC: whoever reaches the port is an operator.

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
        """The bound port; differs from the wanted one where that is 0."""
        return self._port if self._socket is None else int(self._socket.getsockname()[1])

    @property
    def notice(self) -> str:
        """What to tell whoever started it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        heard = f"OSC in     udp://{host}:{self.port}"
        if is_loopback(self._host):
            return heard
        return heard + "  NOT PRIVATE: anybody in this network may freeze, override or black out the show"

    def start(self, hub: EventHub) -> None:
        """Bind, and listen from now on.

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
        """Listen no more; idempotent."""
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
            except Exception:  # whatever happens, an operator is heard again
                log.exception("OSC in had trouble and goes on")
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
        """Tell of a mistake once."""
        if complaint not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints.add(complaint)
            log.warning("%s", complaint)


def parse_place(text: str) -> tuple[str, int]:
    """Read ``PORT`` or ``HOST:PORT``; without a host it is this machine alone.

    Raises:
        SettingError: It is neither.
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
