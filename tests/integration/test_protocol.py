"""The documents against what really travels: a recorded session with every message, and the specifications."""

import asyncio
import contextlib
import json

import jsonschema
import pytest
import websockets.asyncio.client
from helpers import PATIENCE_S
from websockets.exceptions import ConnectionClosed

from stream_mer.config import ServeSettings
from stream_mer.event_json import kind_of
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.messages import CLIENT_TYPES, SERVER_TYPES, asyncapi, json_schema
from stream_mer.server.server import Server
from stream_mer.sources.remote import RemoteSource
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS, examples

SAID = [
    {"type": "identify", "client": {"name": "recorder", "kind": "test"}, "resume": {"session": "x", "last_seq": {}}},
    {"type": "subscribe", "id": "more", "events": ["levels"], "max_hz": 25},
    {"type": "unsubscribe", "id": 2, "streams": ["main"], "events": ["levels"]},
    {"type": "subscribe", "id": 3, "streams": ["nowhere"]},
    {"type": "subscribe", "id": 4, "events": ["levels"]},
    {"type": "control", "id": 5, "action": "override", "override": {"valence": -0.2, "arousal": 0.4, "ttl_s": 5}},
    {"type": "control", "id": 6, "action": "resume"},
    {"type": "setup", "id": 9, "action": "get"},
    {"type": "audio.start", "stream": "desk", "format": "s16le", "rate_hz": 16000, "channels": 1},
    {"type": "audio.end"},
    {"type": "ping", "id": 7, "t": 1.5},
    {"type": "pong", "id": 8},
    {"type": "audio.start", "stream": "main", "format": "f32le", "rate_hz": 16000},
]
"""What the client of the recorded session says; the last is refused with an ``error``."""


class SetUp:
    """Answers every request, and says what changed."""

    async def handle(self, _request, client):
        update = examples()["setup.update"]
        client.send(update)
        return wire.SetupPart(state=update.state)

    def leave(self, _client):
        pass


async def record() -> list[dict]:
    """Hold a session in which everything happens; return what the server sent."""
    hub = Hub()
    main = hub.sink("main")
    hub.sink("desk")
    heard, is_over = [], False
    async with (
        Server(hub, ServeSettings(port=0), inlets={"desk": RemoteSource("desk")}, setup=SetUp()) as server,
        websockets.asyncio.client.connect(server.stream_url) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        for message in SAID:
            await client.send(json.dumps(message))
        with contextlib.suppress(ConnectionClosed):
            async for data in client:
                heard.append(json.loads(data))
                if heard[-1]["type"] == "ready":
                    for event in (STATUS, FRAME, LINE, CHANGE):
                        main.publish(event)
                elif heard[-1].get("id") == 4:
                    main.publish(LEVELS)
                if {"error", "setup.update"} <= {message["type"] for message in heard} and not is_over:
                    is_over = True
                    await client.send('{"type":"ping"}')
                    await client.send("rubbish")
    return heard


async def test_every_message_of_a_recorded_session_fits_both_documents():
    heard = await record()
    assert {message["type"] for message in heard} == {*map(kind_of, SERVER_TYPES)} - {"ping"}, "the server never pings"
    assert {message["type"] for message in SAID} == {*map(kind_of, CLIENT_TYPES)}
    document = asyncapi()
    components = json.loads(json.dumps(document["components"]).replace("#/components/", "#/$defs/"))
    schema = jsonschema.Draft202012Validator(json_schema())
    for operation, messages in (("tell", heard), ("hear", SAID)):
        listed = {one["$ref"].rpartition("/")[2] for one in document["operations"][operation]["messages"]}
        assert {message["type"] for message in messages} <= listed
    for message in (*heard, *SAID):
        schema.validate(message)
        reference = document["components"]["messages"][message["type"]]["payload"]["$ref"].rpartition("/")[2]
        jsonschema.Draft202012Validator({"$ref": f"#/$defs/schemas/{reference}", "$defs": components}).validate(message)


@pytest.fixture(scope="module")
def asyncapi_specification(tmp_path_factory, npm_install) -> dict:
    """The schema of AsyncAPI 3.0.0 itself, from npm."""
    folder = tmp_path_factory.mktemp("asyncapi")
    npm_install(folder, "@asyncapi/specs@6")
    return json.loads((folder / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text())


def test_the_asyncapi_document_is_one(asyncapi_specification):
    jsonschema.Draft7Validator(asyncapi_specification).validate(asyncapi())
