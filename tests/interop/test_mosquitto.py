"""Mosquitto with passwords and TLS: values that stay, changes, Home Assistant's discovery, and the last will."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from helpers import free_port, wait_for
from interop.programs import Program, Serve, need

PASSWORD = "s3cret of/mqtt"  # noqa: S105 - of a test
QUOTED = "s3cret%20of%2Fmqtt"
CATEGORIES = {"happy", "angry", "sad", "relaxed"}


class Broker:
    """Mosquitto on a port of its own."""

    def __init__(self, folder: Path, start: Callable[..., Program], *lines: str) -> None:
        self.port = free_port()
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "mer", PASSWORD], check=True, timeout=20)
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join((f"listener {self.port} 127.0.0.1", "user root", f"password_file {passwords}", *lines, ""))
        )
        self._start = start
        self._subscribers = 0
        self.start()

    def start(self) -> None:
        self.program = self._start("mosquitto", ["mosquitto", "-c", str(self._config)])
        self.program.find("mosquitto version .* running")

    def subscribe(self, *options: str) -> Program:
        """A client that prints whether each message is an old one, its topic and its text."""
        command = ["mosquitto_sub", "-h", "localhost", "-p", str(self.port), "-u", "mer", "-P", PASSWORD, *options]
        return self._start("mosquitto_sub", [*command, "-t", "#", "-F", "%r %t %p"])


@pytest.fixture
def broker(home: Path, start: Callable[..., Program]) -> Callable[..., Broker]:
    need("mosquitto mosquitto-clients", "mosquitto", "mosquitto_sub", "mosquitto_passwd")
    return lambda *lines: Broker(home, start, *lines)


def newest(client: Program, topic: str) -> str | None:
    found = re.findall(rf"^[01] {re.escape(topic)} (.*)$", client.text(), re.MULTILINE)
    return found[-1] if found else None


def test_values_stay_and_changes_are_events(
    broker: Callable[..., Broker], serve: Callable[..., Serve], control: Callable[..., None]
) -> None:
    mosquitto = broker()
    server = serve("--loop", "--mqtt", f"mqtt://mer:{QUOTED}@127.0.0.1:{mosquitto.port}/home/music")
    live = mosquitto.subscribe()
    live.find("home/music/demo/availability online")
    wait_for(lambda: newest(live, "home/music/demo/alive") == "ON", "music")
    control(server.url, action="override", override={"valence": 0.75, "arousal": -0.5})
    wait_for(lambda: newest(live, "home/music/demo/valence") == "0.75", "valence that was set")
    late = mosquitto.subscribe()
    for name, text in (("valence", "0.75"), ("arousal", "-0.50"), ("category", "relaxed"), ("hold", "override")):
        late.find(rf"(?m)^1 home/music/demo/{name} {re.escape(text)}$")
    state = json.loads(late.find(r"(?m)^1 home/music/demo/state (.*)$")[1])
    assert (state["valence"], state["arousal"], state["category"]) == (0.75, -0.5, "relaxed")
    assert state["alive"] is True
    control(server.url, action="resume")
    change = json.loads(late.find(r"(?m)^0 home/music/demo/change (.*)$")[1])
    assert change["event_type"] == change["to"]
    assert {change["from"], change["to"]} < CATEGORIES
    assert server.stop(signal.SIGINT) == 0
    live.find("home/music/demo/availability offline")
    for program in (server, mosquitto.program):
        assert PASSWORD not in program.text()
        assert QUOTED not in program.text()


def test_home_assistant_finds_every_value(broker: Callable[..., Broker], serve: Callable[..., Serve]) -> None:
    mosquitto = broker()
    serve("--mqtt", f"mqtt://mer:{QUOTED}@localhost:{mosquitto.port}?rate=10")
    client = mosquitto.subscribe()
    client.find("mer/demo/state")

    def configs() -> dict[str, Any]:
        found = re.findall(r"^[01] homeassistant/(\w+/\w+/\w+)/config (.*)$", client.text(), re.MULTILINE)
        return {topic: json.loads(text) for topic, text in found}

    wait_for(lambda: len(configs()) == 8, "discovery")
    assert len({config["unique_id"] for config in configs().values()}) == 8
    assert len({json.dumps(config["device"]) for config in configs().values()}) == 1
    for topic, config in configs().items():
        assert newest(client, config["availability_topic"]) == "online"
        text = newest(client, config["state_topic"])
        if topic.startswith("event/"):
            assert set(config["event_types"]) == CATEGORIES
        else:
            assert text is not None, topic
        if "options" in config:
            assert text in config["options"]
        if config.get("state_class") == "measurement":
            assert -1 <= float(text or "") <= 1


def test_a_server_that_dies_is_told_by_its_last_will(
    broker: Callable[..., Broker], serve: Callable[..., Serve]
) -> None:
    mosquitto = broker()
    server = serve("--mqtt", f"mqtt://mer:{QUOTED}@127.0.0.1:{mosquitto.port}")
    client = mosquitto.subscribe()
    client.find("mer/demo/availability online")
    server.stop(signal.SIGKILL)
    client.find("mer/demo/availability offline")


def test_after_a_restart_of_the_broker_everything_is_there_again(
    broker: Callable[..., Broker], serve: Callable[..., Serve]
) -> None:
    mosquitto = broker()
    server = serve("--mqtt", f"mqtt://mer:{QUOTED}@127.0.0.1:{mosquitto.port}")
    mosquitto.subscribe().find("mer/demo/valence")
    mosquitto.program.stop(signal.SIGKILL)
    server.find("mqtt demo at .* cannot be sent to: the connection to the broker is lost")
    mosquitto.start()
    client = mosquitto.subscribe()
    client.find("mer/demo/availability online")
    client.find("mer/demo/valence")
    client.find("homeassistant/event")


def test_tls_is_checked(broker: Callable[..., Broker], serve: Callable[..., Serve], home: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(home / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(home / "key.pem"))
    mosquitto = broker(f"certfile {home}/cert.pem", f"keyfile {home}/key.pem")
    url = f"mqtts://mer:{QUOTED}@localhost:{mosquitto.port}"
    serve("--mqtt", f"{url}?ca={home}/ca.pem")
    mosquitto.subscribe("--cafile", str(home / "ca.pem")).find("mer/demo/valence")
    refused = serve("--mqtt", url)
    refused.find("mqtt demo at .* cannot be sent to: .*certificate verify failed")


def test_a_wrong_password_is_told_and_not_shown(broker: Callable[..., Broker], serve: Callable[..., Serve]) -> None:
    mosquitto = broker()
    server = serve("--mqtt", f"mqtt://mer:wr0ng@127.0.0.1:{mosquitto.port}")
    server.find("mqtt demo at 127.0.0.1:\\d+/mer cannot be sent to: the broker refuses: not authorized")
    assert "wr0ng" not in server.text()
