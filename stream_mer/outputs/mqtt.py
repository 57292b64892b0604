"""MQTT output: values as retained topics, changes as events, Home Assistant's discovery. The only import of paho-mqtt.

``MqttComposer`` and ``discovery`` are pure. Passwords are in no name, error or log.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.osc.mapping import HOLD_CHOICES, address_part
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES, UNKNOWN, CategoryChange
from stream_mer.utils.hosts import check_host
from stream_mer.version import __version__

PORTS: Mapping[str, int] = {"mqtt": 1883, "mqtts": 8883}
"""Default ports, by scheme."""

EXAMPLE = "mqtt://192.168.1.2/mer"

RATE_HZ = 2.0
"""Default rate of values. Home Assistant keeps each one in its history."""

LOOK_HZ = 20.0
"""How often changes of the category are looked for; they are sent at once."""

CONNECT_S = 5.0
STUCK_S = 5.0
"""A broker that takes nothing for this time is connected to again."""

KEEP_ALIVE_S = 15
"""The broker tells others that this program is gone after one and a half times this, seconds."""

MAX_LINE = 255
"""Longest state that Home Assistant takes, characters."""

AVAILABILITY, STATE, CHANGE = "availability", "state", "change"
ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTarget:
    """One broker.

    Attributes:
        host: Name or address.
        port: 1..65535.
        tls: Whether the connection is encrypted.
        user: User name; empty for none.
        password: Password; empty for none.
        prefix: First part of every topic.
        discovery: First part of the topics of Home Assistant's discovery; empty for no discovery.
        rate_hz: How often values are sent at most, 0.1..20.
        ca: Certificate (PEM) that the broker's is checked with; None for those of the system.
    """

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    prefix: str = "mer"
    discovery: str = "homeassistant"
    rate_hz: float = RATE_HZ
    ca: Path | None = None

    @property
    def place(self) -> str:
        """Address and prefix, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.prefix}"


_OPTIONS = ("discovery", "rate", "ca")
_TOPIC = re.compile(r"[^+#\x00-\x1f\s$/][^+#\x00-\x1f\s/]*(?:/[^+#\x00-\x1f\s/]+)*")


def parse_mqtt(spec: str) -> MqttTarget:
    """Parse ``mqtt[s]://[USER:PASSWORD@]HOST[:PORT][/PREFIX][?rate=HZ&discovery=PREFIX&ca=FILE]``.

    Raises:
        SettingError: The text is not such an address, or an option is not valid. The message holds no password.
    """
    try:
        url = urlsplit(spec)
        port = url.port
    except ValueError:
        raise SettingError(
            f"this is no address of an MQTT broker; one looks like {EXAMPLE}. In a password write / as %2F, ? as %3F, "
            "# as %23 and @ as %40"
        ) from None
    if url.scheme not in PORTS or not url.hostname:
        raise SettingError(
            f"an MQTT broker is written as {EXAMPLE}, with mqtts:// for TLS, and with USER:PASSWORD@ before the host"
        )
    if port == 0:
        raise SettingError(f"{url.hostname}: a port is 1 to 65535, not 0")
    if url.password and not url.username:
        raise SettingError(f"{url.hostname}: a password goes with a user: USER:PASSWORD@HOST")
    prefix = unquote(url.path).strip("/") or "mer"
    check_topic(prefix, "the prefix")
    return MqttTarget(
        host=check_host(url.hostname, "the MQTT broker", ipv6=True),
        port=port or PORTS[url.scheme],
        tls=url.scheme == "mqtts",
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        prefix=prefix,
        **_options(url),
    )


def _options(url: SplitResult) -> dict[str, Any]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise SettingError(f"an address of MQTT has no option {brief(repr(name))}{did_you_mean(name, _OPTIONS)}")
        given[name] = value
    options: dict[str, Any] = {}
    if "rate" in given:
        options["rate_hz"] = _rate(given["rate"])
    if "discovery" in given:
        options["discovery"] = "" if given["discovery"] == "off" else given["discovery"]
        check_topic(options["discovery"] or "off", "discovery")
    if "ca" in given:
        options["ca"] = Path(given["ca"])
        if url.scheme != "mqtts":
            raise SettingError("ca is for TLS: write mqtts://")
        if not options["ca"].is_file():
            raise SettingError(f"{given['ca']}: there is no such file")
    return options


def _rate(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.1 <= float(text) <= LOOK_HZ:
            return float(text)
    raise SettingError(f"rate is 0.1 to {LOOK_HZ:g} values a second, not {brief(repr(text))}")


def check_topic(topic: str, what: str) -> None:
    """Check the first part of a topic.

    Raises:
        SettingError: It has wildcards, white space or empty levels, or begins with ``$``.
    """
    if len(topic) > 256 or not _TOPIC.fullmatch(topic):
        raise SettingError(f"{what} {brief(repr(topic))} is no MQTT topic: levels between / without + # and spaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message.

    Attributes:
        topic: Its topic.
        payload: Its text.
        retain: Whether the broker keeps it for clients that come later.
        qos: 0 for at most once, 1 for at least once.
    """

    topic: str
    payload: str
    retain: bool = True
    qos: int = 0


class MqttComposer:
    """Composes what is published of one stream: changed values at their rate, changes of the category at once.

    Args:
        prefix: First part of every topic.
        stream: Name of the stream.
        rate_hz: How often values are sent at most.
    """

    def __init__(self, prefix: str, stream: str, *, rate_hz: float) -> None:
        self.base = f"{prefix}/{address_part(stream)}"
        self._every_s = 1 / rate_hz
        self._sent_at: float | None = None
        self._sent: dict[str, str] = {}
        self._category = ""
        self._changes: int | None = None

    def topic(self, name: str) -> str:
        return f"{self.base}/{name}"

    def update(self, t: float, values: ShowValues) -> list[Publication]:
        """Return what to publish at ``t``, seconds, rising from call to call."""
        happened = self._changes is not None and values.changes > self._changes and values.change is not None
        self._changes = values.changes
        found = [self._change(values.change)] if happened and values.change is not None else []
        is_due = self._sent_at is None or t - self._sent_at >= self._every_s - 1e-6
        if is_due or values.category != self._category:
            self._sent_at, self._category = t, values.category
            found += self._values(values)
        return found

    def reset(self) -> None:
        """Send everything the next time."""
        self._sent_at, self._sent = None, {}

    def _values(self, values: ShowValues) -> list[Publication]:
        changed = {name: text for name, text in texts_of(values).items() if self._sent.get(name) != text}
        self._sent |= changed
        return [Publication(topic=self.topic(name), payload=text) for name, text in changed.items()]

    def _change(self, change: CategoryChange) -> Publication:
        payload = {"event_type": change.after, "from": change.before, "to": change.after, "t": round(change.t, 2)}
        return Publication(topic=self.topic(CHANGE), payload=json.dumps(payload), retain=False, qos=1)


def texts_of(values: ShowValues) -> dict[str, str]:
    """Return the text of each topic below that of a stream."""
    numbers = {"valence": values.valence, "arousal": values.arousal, "confidence": values.confidence}
    rounded = {name: round(number, 2) + 0.0 for name, number in numbers.items()}  # no -0.0
    hold, line = values.hold or "none", values.line.replace("\0", "")
    state = {
        **rounded,
        "category": values.category,
        "probs": {name: round(prob, 2) for name, prob in values.probs.items()},
        "line": line,
        "hold": hold,
        "alive": values.alive,
    }
    return {
        **{name: f"{number:.2f}" for name, number in rounded.items()},
        "category": values.category,
        "line": line[:MAX_LINE],
        "hold": hold,
        "alive": "ON" if values.alive else "OFF",
        STATE: json.dumps(state, ensure_ascii=False),
    }


_ENTITIES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "valence": ("sensor", {"state_class": "measurement", "icon": "mdi:emoticon-outline"}),
    "arousal": ("sensor", {"state_class": "measurement", "icon": "mdi:pulse"}),
    "confidence": ("sensor", {"state_class": "measurement", "icon": "mdi:percent-outline"}),
    "category": ("sensor", {"device_class": "enum", "options": [*CATEGORIES, UNKNOWN], "icon": "mdi:music"}),
    "line": ("sensor", {"name": "Lyrics line", "icon": "mdi:microphone-variant"}),
    "hold": ("sensor", {"device_class": "enum", "options": list(HOLD_CHOICES), "icon": "mdi:hand-back-right-outline"}),
    "alive": ("binary_sensor", {"device_class": "running"}),
    CHANGE: ("event", {"event_types": list(CATEGORIES), "icon": "mdi:swap-horizontal"}),
}
"""What Home Assistant shows of a stream: its component, and the keys of its configuration."""


def discovery(prefix: str, base: str, stream: str) -> list[Publication]:
    """Return the messages that make a stream a device of Home Assistant.

    Args:
        prefix: First part of the topics of discovery.
        base: First part of the topics of the stream.
        stream: Its name, for people.
    """
    device = "stream_mer_" + re.sub(r"[^A-Za-z0-9_-]", "_", base)
    shared = {
        "availability_topic": f"{base}/{AVAILABILITY}",
        "device": {
            "identifiers": [device],
            "name": f"Music {stream}",
            "manufacturer": "stream_mer",
            "model": "Music emotion",
            "sw_version": __version__,
        },
        "origin": {"name": "stream_mer", "sw_version": __version__},
    }
    found = []
    for name, (component, keys) in _ENTITIES.items():
        config = {
            "name": name.capitalize(),
            "unique_id": f"{device}_{name}",
            "state_topic": f"{base}/{name}",
            **keys,
            **shared,
        }
        topic = f"{prefix}/{component}/{device}/{name}/config"
        found.append(Publication(topic=topic, payload=json.dumps(config, ensure_ascii=False), qos=1))
    return found


class MqttOutput:
    """Publishes the values of a stream to one broker; a ``ShowOutput``.

    Args:
        target: The broker.
        stream: The stream.

    Raises:
        SettingError: paho-mqtt is not installed.
    """

    rate_hz = LOOK_HZ
    wants_levels = False

    def __init__(self, target: MqttTarget, *, stream: str) -> None:
        _library()
        self.name = f"mqtt {stream} at {target.place}"
        self.stream = stream
        self._target = target
        self._composer = MqttComposer(target.prefix, stream, rate_hz=target.rate_hz)
        self.claims = frozenset({f"{self._composer.base} at {target.place}"})
        # The same ID after a reconnection: the broker ends the old connection, and its last will comes first.
        self._client_id = f"stream_mer-{uuid.uuid4().hex[:12]}"
        self._link: MqttLink | None = None

    def open(self) -> None:
        """Connect, and publish the discovery and that the stream is there; the broker gets everything again.

        Raises:
            OSError: The broker cannot be reached, or refuses.
        """
        availability = self._composer.topic(AVAILABILITY)
        self._link = MqttLink(self._target, client_id=self._client_id, availability=availability)
        self._composer.reset()
        if self._target.discovery:
            self._link.publish(discovery(self._target.discovery, self._composer.base, self.stream))

    def send(self, t: float, values: ShowValues) -> int:
        """Publish what is due.

        Raises:
            OSError: The connection is lost.
        """
        if self._link is None:
            raise OSError("not open")
        if not self._link.is_free(t):
            return 0
        return self._link.publish(self._composer.update(t, values))

    def finish(self) -> None:
        """Publish that the stream is not there any more; the last values stay at the broker."""
        if self._link is not None:
            self._link.end()

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


class MqttLink:
    """A connection to a broker. paho's thread keeps it alive.

    Args:
        target: The broker.
        client_id: Identifies this client.
        availability: Topic that says whether this program is there; the broker changes it when the connection is lost.

    Raises:
        OSError: The broker cannot be reached, or refuses.
    """

    def __init__(self, target: MqttTarget, *, client_id: str, availability: str) -> None:
        self._availability = availability
        self._answered = threading.Event()
        self._failure: str | None = None
        self._ending = False
        self._unsent: Any = None
        self._free_at: float | None = None
        self._client = _client(target, client_id)
        self._client.will_set(availability, OFFLINE, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        try:
            self._client.connect(target.host, target.port, keepalive=KEEP_ALIVE_S)
            self._client.loop_start()
            if not self._answered.wait(CONNECT_S):
                self._failure = f"no broker answers at {target.place}"
            self._raise_failure()
        except ValueError as error:  # such as a certificate that cannot be read
            self.close()
            raise OSError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def is_free(self, t: float) -> bool:
        """Return whether the broker took what was published before; ``t`` in seconds.

        Raises:
            OSError: The connection is lost, or the broker takes nothing for ``STUCK_S``.
        """
        self._raise_failure()
        if self._unsent is None or self._unsent.is_published():
            self._free_at = t
            return True
        if self._free_at is not None and t - self._free_at > STUCK_S:
            raise OSError(f"the broker takes nothing for {STUCK_S:g} s")
        return False

    def publish(self, messages: Iterable[Publication]) -> int:
        """Publish messages; return how many there were."""
        count = 0
        for count, each in enumerate(messages, 1):  # noqa: B007 - the last one is the count
            self._unsent = self._client.publish(each.topic, each.payload, qos=each.qos, retain=each.retain)
        return count

    def end(self) -> None:
        """Say that this program is gone."""
        self._ending = True
        sent = self._client.publish(self._availability, OFFLINE, qos=1, retain=True)
        with contextlib.suppress(RuntimeError, ValueError):  # the connection is lost: the broker says it
            sent.wait_for_publish(1.0)

    def close(self) -> None:
        """Disconnect; idempotent."""
        self._ending = True
        with contextlib.suppress(Exception):  # it may be lost
            self._client.disconnect()
        with contextlib.suppress(Exception):
            self._client.loop_stop()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise OSError(self._failure)

    # The callbacks are called in paho's thread.

    def _on_connect(self, client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._failure = f"the broker refuses: {str(reason).lower()}"
        else:
            client.subscribe(self._availability, qos=1)
            client.publish(self._availability, ONLINE, qos=1, retain=True)
        self._answered.set()

    def _on_disconnect(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if self._failure is None:
            self._failure = f"the connection to the broker is lost: {str(reason).lower()}"
        self._answered.set()

    def _on_message(self, client: Any, _data: object, message: Any) -> None:
        # The last will of an earlier run may come late; then this program is there all the same.
        if message.payload != ONLINE.encode() and not message.retain and not self._ending:
            client.publish(self._availability, ONLINE, qos=1, retain=True)


def _client(target: MqttTarget, client_id: str) -> Any:
    library = _library()
    client = library.Client(library.CallbackAPIVersion.VERSION2, client_id, reconnect_on_failure=False)
    client.connect_timeout = CONNECT_S
    if target.user:
        client.username_pw_set(target.user, target.password or None)
    if target.tls:
        context = ssl.create_default_context(cafile=target.ca)
        client.tls_set_context(context)
    return client


def _library() -> Any:
    try:
        from paho.mqtt import client  # noqa: PLC0415 - an extra: who does without pays nothing
    except ImportError as error:
        raise SettingError("MQTT needs paho-mqtt: pip install 'stream-mer[mqtt]'") from error
    return client


def open_mqtt(spec: str, stream: str) -> MqttOutput:
    """Make the output of ``--mqtt URL``.

    Raises:
        SettingError: The address is not valid, or paho-mqtt is missing.
    """
    return MqttOutput(parse_mqtt(spec), stream=stream)
