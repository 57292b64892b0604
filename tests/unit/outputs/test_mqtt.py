"""What is published when, and to whom. The real Mosquitto is in ``tests/interop``."""

import json
import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.outputs import mqtt
from stream_mer.outputs.mqtt import (
    KEEP_ALIVE_S,
    MAX_LINE,
    STUCK_S,
    MqttComposer,
    discovery,
    open_mqtt,
    parse_mqtt,
    texts_of,
)
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES, CategoryChange

LIVE = ShowValues(
    valence=0.5,
    arousal=-0.004,
    confidence=0.7,
    probs=dict(zip(CATEGORIES, (0.7, 0.1, 0.1, 0.1), strict=True)),
    category="happy",
    line="à la claire fontaine",
    alive=True,
)
CHANGE = CategoryChange(t=12.345, before="happy", after="sad", dwell_s=4.0)


@pytest.mark.parametrize(
    ("spec", "place", "user", "password", "tls"),
    [
        ("mqtt://broker", "broker:1883/mer", "", "", False),
        ("mqtts://broker", "broker:8883/mer", "", "", True),
        ("mqtt://me:a%2Fb%40c@10.0.0.2:1884/home/music/", "10.0.0.2:1884/home/music", "me", "a/b@c", False),
        ("MQTT://me@broker", "broker:1883/mer", "me", "", False),
        ("mqtt://[fe80::1]:1883", "[fe80::1]:1883/mer", "", "", False),
    ],
)
def test_an_address_is_read(spec, place, user, password, tls):
    target = parse_mqtt(spec)
    assert (target.place, target.user, target.password, target.tls) == (place, user, password, tls)
    assert "a/b@c" not in repr(target)


def test_options_are_read(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.touch()
    target = parse_mqtt(f"mqtts://broker?rate=0.5&discovery=ha/x&ca={ca}")
    assert (target.rate_hz, target.discovery, target.ca) == (0.5, "ha/x", ca)
    assert parse_mqtt("mqtt://broker?discovery=off").discovery == ""


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("broker", "an MQTT broker is written as mqtt://"),
        ("http://me:hunter2@broker", "an MQTT broker is written as mqtt://"),
        ("mqtt://", "an MQTT broker is written as mqtt://"),
        ("mqtt://me:hunter2/@broker", "write / as %2F"),
        ("mqtt://me:hunter2@broker:0", "1 to 65535, not 0"),
        ("mqtt://:hunter2@broker", "goes with a user"),
        ("mqtt://me:hunter2@broker/a+b", "no MQTT topic"),
        ("mqtt://me:hunter2@broker/$SYS", "no MQTT topic"),
        ("mqtt://me:hunter2@broker/a//b", "no MQTT topic"),
        ("mqtt://me:hunter2@broker?rte=1", "did you mean 'rate'"),
        ("mqtt://me:hunter2@broker?rate=0", "0.1 to 20 values a second"),
        ("mqtt://me:hunter2@broker?rate=x", "0.1 to 20 values a second"),
        ("mqtt://me:hunter2@broker?discovery=%23", "no MQTT topic"),
        ("mqtt://me:hunter2@broker?ca=x", "write mqtts://"),
        ("mqtts://me:hunter2@broker?ca=/no/such", "there is no such file"),
    ],
)
def test_what_cannot_be_is_told_without_its_password(spec, told):
    with pytest.raises(SettingError) as error:
        parse_mqtt(spec)
    assert told in str(error.value)
    assert "hunter2" not in str(error.value)


def topics(published):
    return {each.topic.removeprefix("mer/main/"): each.payload for each in published}


def test_values_are_texts_of_their_own_and_one_object():
    first = topics(MqttComposer("mer", "main", rate_hz=2).update(0.0, LIVE))
    state = json.loads(first.pop("state"))
    assert first == {
        "valence": "0.50",
        "arousal": "0.00",
        "confidence": "0.70",
        "category": "happy",
        "line": "à la claire fontaine",
        "hold": "none",
        "alive": "ON",
    }
    assert state["probs"] == {"happy": 0.7, "angry": 0.1, "sad": 0.1, "relaxed": 0.1}
    assert (state["valence"], state["line"], state["alive"]) == (0.5, "à la claire fontaine", True)


def test_values_wait_for_their_turn_and_what_stays_is_not_sent_again():
    composer = MqttComposer("mer", "main", rate_hz=2)
    composer.update(0.0, LIVE)
    louder = replace(LIVE, arousal=0.5)
    assert composer.update(0.25, louder) == []
    assert topics(composer.update(0.5, louder)).keys() == {"arousal", "state"}
    assert composer.update(5.0, replace(louder, arousal=0.501)) == []
    composer.reset()
    assert len(composer.update(5.1, louder)) == 8


def test_a_change_is_sent_at_once_and_is_kept_by_nobody():
    composer = MqttComposer("mer", "main", rate_hz=0.1)
    composer.update(0.0, replace(LIVE, changes=3, change=CHANGE))
    assert composer.update(0.1, replace(LIVE, changes=3, change=CHANGE)) == [], "it was before"
    change, *values = composer.update(0.2, replace(LIVE, category="sad", changes=4, change=CHANGE))
    assert json.loads(change.payload) == {"event_type": "sad", "from": "happy", "to": "sad", "t": 12.35}
    assert (change.topic, change.retain, change.qos) == ("mer/main/change", False, 1)
    assert topics(values)["category"] == "sad", "the category does not wait for its turn"
    assert all(each.retain for each in values)


@given(st.text(max_size=600))
def test_lines_fit_and_hold_nothing_that_a_broker_refuses(line):
    texts = texts_of(replace(LIVE, line=line))
    assert len(texts["line"]) <= MAX_LINE
    assert "\0" not in texts["line"]
    assert json.loads(texts["state"])["line"] == line.replace("\0", "")


def test_a_stream_is_a_device_with_topics_that_are_possible():
    base = MqttComposer("home/music", "Stage 1/#", rate_hz=1).base
    assert base == "home/music/Stage_1__"
    found = discovery("homeassistant", base, "Stage 1/#")
    assert len({each.topic for each in found}) == len(found) == 8
    for each in found:
        assert each.retain
        config = json.loads(each.payload)
        assert config["state_topic"].startswith(base + "/")
        assert config["device"]["name"] == "Music Stage 1/#"


class Broker:
    """Stands in for ``paho.mqtt.client``: a broker that answers at once, and the client to it."""

    CallbackAPIVersion = SimpleNamespace(VERSION2=2)

    def __init__(self, *, refuses=None):
        self.refuses = refuses
        self.takes = True
        self.published = []
        self.will = self.login = None
        self.connected = False

    def Client(self, version, client_id, **options):  # noqa: N802 - paho's name
        assert (version, options) == (2, {"reconnect_on_failure": False})
        self.client_id = client_id
        return self

    def will_set(self, topic, payload, **options):
        self.will = (topic, payload, options)

    def username_pw_set(self, *login):
        self.login = login

    def connect(self, host, port, keepalive):
        assert (port, keepalive) == (1883, KEEP_ALIVE_S)
        if host == "nowhere":
            raise ConnectionRefusedError(111, "Connection refused")
        self.connected = True

    def loop_start(self):
        self.on_connect(self, None, None, Reason(self.refuses), None)

    def subscribe(self, topic, **_):
        self.subscribed = topic

    def publish(self, topic, payload, **options):
        self.published.append((topic, payload, options["retain"]))
        return SimpleNamespace(is_published=lambda: self.takes, wait_for_publish=lambda _: None)

    def disconnect(self):
        self.connected = False

    def loop_stop(self): ...


class Reason:
    def __init__(self, text):
        self.is_failure = text is not None
        self._text = text

    def __str__(self):
        return self._text or "Success"


@pytest.fixture
def broker(monkeypatch):
    made = Broker()
    monkeypatch.setattr(mqtt, "_library", lambda: made)
    return made


def test_it_says_that_it_is_there_and_at_the_end_that_it_is_not(broker):
    output = open_mqtt("mqtt://me:hunter2@broker", "main")
    output.open()
    assert broker.login == ("me", "hunter2")
    assert broker.will == ("mer/main/availability", "offline", {"qos": 1, "retain": True})
    assert broker.published[0] == ("mer/main/availability", "online", True)
    assert output.send(0.0, LIVE) == 8
    output.finish()
    assert broker.published[-1] == ("mer/main/availability", "offline", True)
    output.close()
    assert not broker.connected
    assert output.name == "mqtt main at broker:1883/mer"
    assert "hunter2" not in f"{output.name} {output.claims}"


def test_a_last_will_that_comes_late_is_corrected(broker):
    output = open_mqtt("mqtt://broker?discovery=off", "main")
    output.open()
    assert broker.subscribed == "mer/main/availability"
    broker.published.clear()
    broker.on_message(broker, None, SimpleNamespace(payload=b"offline", retain=False))
    assert broker.published == [("mer/main/availability", "online", True)]
    output.finish()
    broker.published.clear()
    broker.on_message(broker, None, SimpleNamespace(payload=b"offline", retain=False))
    assert broker.published == [], "it is our own"


def test_a_lost_connection_is_told_and_everything_is_sent_again(broker):
    output = open_mqtt("mqtt://broker", "main")
    output.open()
    output.send(0.0, LIVE)
    broker.on_disconnect(broker, None, None, Reason("Unspecified error"), None)
    with pytest.raises(OSError, match="the connection to the broker is lost: unspecified error"):
        output.send(1.0, LIVE)
    output.close()
    first = broker.client_id
    output.open()
    assert broker.client_id == first, "the broker ends the old connection"
    assert output.send(2.0, LIVE) == 8


def test_a_broker_that_takes_nothing_gets_nothing_more_and_is_left(broker):
    output = open_mqtt("mqtt://broker", "main")
    output.open()
    output.send(0.0, LIVE)
    broker.takes = False
    output.send(1.0, replace(LIVE, valence=0.1))
    assert output.send(2.0, replace(LIVE, valence=0.2)) == 0
    with pytest.raises(OSError, match="takes nothing"):
        output.send(1.0 + STUCK_S + 0.1, LIVE)


def test_a_broker_that_refuses_or_is_not_there_is_told(broker, caplog):
    caplog.set_level(logging.DEBUG)
    broker.refuses = "Not authorized"
    with pytest.raises(OSError, match="the broker refuses: not authorized"):
        open_mqtt("mqtt://me:hunter2@broker", "main").open()
    assert not broker.connected
    with pytest.raises(ConnectionRefusedError):
        open_mqtt("mqtt://me:hunter2@nowhere", "main").open()
    assert "hunter2" not in caplog.text


def test_two_streams_share_a_broker_but_no_topics(broker):  # noqa: ARG001 - it stands in
    claims = open_mqtt("mqtt://me:x@broker", "main").claims
    assert claims & open_mqtt("mqtt://broker", "main").claims
    assert not claims & open_mqtt("mqtt://broker", "foyer").claims
    assert not claims & open_mqtt("mqtt://broker/other", "main").claims


def test_without_paho_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    monkeypatch.setitem(sys.modules, "paho", None)
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[mqtt\]'"):
        open_mqtt("mqtt://broker", "main")
