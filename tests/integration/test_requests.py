"""What clients ask of a server that runs: subscriptions, rates, resuming, an operator's commands, and who may."""

import asyncio
import contextlib
import http.client
import json
import ssl
from dataclasses import replace

import pytest
import trustme
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed

from stream_mer import connect
from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.server.client import client_tls_context
from stream_mer.server.hub import Hub
from stream_mer.types import ControlCommand, EmotionFrame, OverrideValues
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS

PATIENCE_S = 60.0
"""How long a test waits for what must come; it says nothing of how fast it comes."""

TOKEN, DESK = "open sesame, open", "the light desk's own"


@pytest.fixture
def hub():
    hub = Hub()
    hub.sink("main")
    return hub


class Talk:
    """A client that asks and reads, one JSON object at a time."""

    def __init__(self, socket):
        self._socket = socket

    async def read(self) -> dict:
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self._socket.recv())

    async def until(self, kind: str) -> dict:
        while (message := await self.read())["type"] != kind:
            pass
        return message

    async def say(self, kind: str, **fields) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def ask(self, kind: str, **fields) -> dict:
        await self.say(kind, **fields)
        return await self.until("ready" if kind == "identify" else "result")

    async def all_so_far(self) -> list[dict]:
        """Everything that was sent before a ping of now."""
        await self.say("ping", id="so far")
        messages = []
        while (message := await self.read())["type"] != "pong":
            messages.append(message)
        return messages

    async def closed_with(self) -> tuple[dict, int]:
        last = {}
        with contextlib.suppress(ConnectionClosed):
            while True:
                last = await self.read()
        return last, self._socket.close_code


@contextlib.asynccontextmanager
async def talking(server, **options):
    async with websockets.asyncio.client.connect(server.stream_url, **options) as socket:
        yield Talk(socket)


async def test_subscribing_brings_what_is_known_and_then_every_event(hub, serving):
    sink = hub.sink("main")
    for event in (STATUS, FRAME, CHANGE):
        sink.publish(event)
    async with serving(hub) as server, talking(server) as client:
        assert await client.ask("subscribe", id="s1", events=["status", "change"]) == {
            "type": "result",
            "id": "s1",
            "ok": True,
            "error": None,
        }
        assert [message["type"] for message in await client.all_so_far()] == ["status"], "an old cue fires no more"
        for event in (FRAME, LINE, CHANGE, STATUS):
            sink.publish(event)
        assert [message["type"] for message in await client.all_so_far()] == ["change", "status"]


async def test_who_subscribes_without_a_word_before_gets_no_more_than_that(hub, serving, loop_time):
    silence_s = 3000.0
    async with serving(hub, identify_timeout_s=silence_s, pong_timeout_s=3600.0) as server, talking(server) as client:
        await client.ask("subscribe", events=["lyrics"])
        loop_time.pass_s(silence_s + 1)
        await client.all_so_far()
        hub.sink("main").publish(FRAME)
        hub.sink("main").publish(LINE)
        assert [message["type"] for message in await client.all_so_far()] == ["lyrics"]


async def test_unsubscribing_ends_it_for_the_stream_named(hub, serving):
    hub.sink("foyer")
    async with serving(hub) as server, talking(server) as client:
        await client.ask("identify")
        assert (await client.ask("unsubscribe", id=2, streams=["main"], events=["emotion"]))["ok"]
        for stream in ("main", "foyer"):
            hub.sink(stream).publish(FRAME)
            hub.sink(stream).publish(LINE)
        got = [(message["stream"], message["type"]) for message in await client.all_so_far()]
        assert got == [("main", "lyrics"), ("foyer", "emotion"), ("foyer", "lyrics")]


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"streams": ["foyer"]}, 4404, "there is no stream 'foyer'; there is main"),
        ({"events": ["dance"]}, 4400, "none of dance exists; choose from emotion"),
    ],
)
async def test_what_cannot_be_granted_is_told_and_changes_nothing(hub, serving, fields, code, told):
    async with serving(hub) as server, talking(server) as client:
        result = await client.ask("subscribe", id=9, **fields)
        assert (result["id"], result["ok"], result["error"]["code"]) == (9, False, code)
        assert told in result["error"]["message"]
        await client.all_so_far()


async def test_identifying_for_a_stream_that_is_not_there_ends_with_4404(hub, serving):
    async with serving(hub) as server, talking(server) as client:
        await client.say("identify", subscribe=[{"streams": ["foyer"]}])
        error, code = await client.closed_with()
    assert (code, error["code"], error["fatal"]) == (4404, 4404, True)


async def test_subscriptions_are_limited(hub, serving):
    for i in range(5):
        hub.sink(f"s{i}")
    async with serving(hub, max_subscriptions=3) as server, talking(server) as client:
        hello = await client.read()
        assert hello["limits"]["max_subscriptions"] == 3
        oks = [(await client.ask("subscribe", streams=[f"s{i}"]))["ok"] for i in range(5)]
    assert oks == [True, True, True, False, False]


INTERVAL_S = 1000.0
"""Between two messages of a thinned stream: longer than any machine is busy; the clock of the loop is set forward."""


async def test_a_rate_thins_emotion_and_its_last_value_comes_without_another_one(hub, serving, loop_time):
    async with serving(hub, pong_timeout_s=3600.0) as server, talking(server) as client:
        await client.ask("identify", subscribe=[{"events": ["emotion"], "max_hz": 1 / INTERVAL_S}])
        hub.sink("main").publish(replace(FRAME, index=0))
        assert (await client.until("emotion"))["index"] == 0
        for last in (4, 8, 12):
            for index in range(last - 3, last + 1):
                hub.sink("main").publish(replace(FRAME, index=index))
            loop_time.pass_s(INTERVAL_S / 2)
            assert await client.all_so_far() == [], "its time has not come"
            loop_time.pass_s(INTERVAL_S / 2)
            assert (await client.until("emotion"))["index"] == last
            assert await client.all_so_far() == []


async def test_levels_keep_their_peaks_at_a_low_rate(hub, serving, loop_time):
    async with serving(hub, pong_timeout_s=3600.0) as server, talking(server) as client:
        await client.ask("subscribe", events=["levels"], max_hz=1 / INTERVAL_S)
        hub.sink("main").publish(LEVELS)
        first = await client.until("levels")
        for peak_db in (-30.0, -1.5, -40.0):
            hub.sink("main").publish(replace(LEVELS, peak_db=peak_db, onset=0.0))
        assert await client.all_so_far() == []
        loop_time.pass_s(INTERVAL_S)
        told = await client.until("levels")
        assert (told["seq"], told["peak_db"]) == (first["seq"] + 3, -1.5)
        assert await client.all_so_far() == []


async def test_a_client_resumes_without_a_gap_after_its_connection_broke(hub, serving):
    sink = hub.sink("main")
    segments, resumed = [], []
    async with serving(hub) as server, asyncio.timeout(PATIENCE_S):
        sink.publish(replace(LINE, segment=0))
        async with connect(server.stream_url) as client:
            async for message in client:
                match message:
                    case wire.Ready():
                        resumed.append(message.resumed)
                        segments += [e.message.segment for e in message.snapshot if isinstance(e.message, wire.Lyrics)]
                        if len(resumed) == 1:
                            sink.publish(replace(LINE, segment=1))
                    case wire.Lyrics():
                        segments.append(message.segment)
                        if message.segment == 1:
                            client._socket.transport.abort()  # the cable is pulled
                            for i in (2, 3):
                                sink.publish(replace(LINE, segment=i))
                            sink.publish(CHANGE)
                    case wire.Change():
                        break
    assert segments == [0, 1, 2, 3]
    assert resumed == [None, True]


async def test_what_was_subscribed_to_later_stays_after_a_break(hub, serving):
    sink = hub.sink("main")
    hellos = 0
    async with (
        serving(hub) as server,
        asyncio.timeout(PATIENCE_S),
        connect(server.stream_url, subscribe=[]) as client,
    ):
        async for message in client:
            match message:
                case wire.Ready() if hellos == 0:
                    hellos = 1
                    await client.subscribe("levels", max_hz=50)
                case wire.Result():
                    client._socket.transport.abort()
                case wire.Ready():
                    assert message.granted == (wire.Subscription(events=("levels",), max_hz=50),)
                    sink.publish(FRAME)
                    sink.publish(LEVELS)
                case wire.Levels():
                    break
                case wire.Emotion():
                    pytest.fail("it never asked for emotion")


async def test_an_operator_overrides_for_everybody_and_gives_it_back(hub, serving):
    sink = hub.sink("main")
    sink.publish(FRAME)
    async with serving(hub) as server, talking(server) as desk, talking(server) as screen:
        await screen.ask("identify")
        assert (await desk.ask("identify"))["role"] == "operator"
        override = {"valence": -0.6, "arousal": 0.4}
        assert (await desk.ask("control", id=1, action="override", override=override))["ok"]
        seen = await screen.until("emotion")
        assert (seen["valence"], seen["category"]["top"], seen["held"], seen["hold"]) == (
            -0.6,
            "angry",
            True,
            "override",
        )
        assert (await screen.until("change"))["to"] == "angry"
        async with talking(server) as late:
            (entry,) = (await late.ask("identify", subscribe=[{"events": ["emotion"]}]))["snapshot"]
            assert entry["message"]["hold"] == "override"
        await desk.ask("control", id=2, action="resume")
        assert (await screen.until("emotion"))["hold"] is None


async def test_an_override_ends_though_nothing_comes_from_the_stream(hub, serving):
    holds, is_over = [], asyncio.Event()

    def on_event(_stream, event):
        if isinstance(event, EmotionFrame):
            holds.append((event.valence, event.hold))
            if holds[-2:] == [(-1.0, "override"), (FRAME.valence, None)]:
                is_over.set()

    hub.sink("main").publish(FRAME)
    hub.subscribe(on_event)
    async with serving(hub):
        override = OverrideValues(valence=-1.0, arousal=-1.0, ttl_s=0.1)
        hub.control(ControlCommand(action="override", override=override))
        await asyncio.wait_for(is_over.wait(), PATIENCE_S)
    assert len(holds) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "override"},
        {"action": "freeze", "override": {"valence": 0, "arousal": 0}},
    ],
)
async def test_a_command_that_makes_no_sense_is_told_how(hub, serving, fields):
    async with serving(hub) as server, talking(server) as client:
        result = await client.ask("control", id=1, **fields)
    assert result["error"]["code"] == 4400
    assert '"override":{"valence":0.5' in result["error"]["message"]


async def test_viewers_watch_and_operators_control(hub, serving):
    async with serving(hub, token=TOKEN, operator_token=DESK) as server:
        async with talking(server) as viewer:
            assert (await viewer.ask("identify", token=TOKEN))["role"] == "viewer"
            result = await viewer.ask("control", id=1, action="blackout")
            assert (result["ok"], result["error"]["code"]) == (False, 4403)
            await viewer.say("audio.start", stream="main", format="s16le", rate_hz=16000)
            error = await viewer.until("error")
            assert (error["code"], error["fatal"]) == (4403, False)
        async with talking(server) as operator:
            assert (await operator.ask("identify", token=DESK))["role"] == "operator"
            assert (await operator.ask("control", id=1, action="blackout"))["ok"]
        async with talking(server, additional_headers={"Authorization": f"Bearer {DESK}"}) as operator:
            assert (await operator.ask("control", id=1, action="resume"))["ok"]
        for first in ({"type": "control", "action": "freeze"}, {"type": "subscribe"}, {"type": "unsubscribe"}):
            async with talking(server) as stranger:
                await stranger.say(kind=first.pop("type"), **first)
                assert (await stranger.closed_with())[1] == 4401


async def test_who_asks_and_never_reads_piles_nothing_up(hub, serving):
    for i in range(50):
        hub.sink(f"stream {i}").publish(FRAME)
    limits = {"max_messages_per_s": 10_000, "stuck_after_s": 0.5, "max_clients": 2}
    async with serving(hub, **limits) as server, talking(server) as healthy:
        async with websockets.asyncio.client.connect(server.stream_url, max_queue=1, close_timeout=0.1) as greedy:
            with contextlib.suppress(ConnectionClosed):
                async with asyncio.timeout(PATIENCE_S):
                    for _ in range(1000):
                        await greedy.send('{"type":"identify"}')
            waiting = hub.statistics().outboxes.waiting
            await healthy.ask("identify")
        assert waiting <= 50, "one answer, and the newest emotion of each stream"


async def test_a_subscription_of_nothing_that_is_here_is_not_met_with_silence(hub, serving):
    async with serving(hub) as server, talking(server) as client:
        ready = await client.ask(
            "identify",
            subscribe=[{"events": [kinds]} for kinds in ("emotions", "mood")] + [{"events": ["emotion", "beats"]}],
        )
        assert [granted["events"] for granted in ready["granted"]] == [["emotion"]]
        (told,) = await client.all_so_far()
        assert (told["type"], told["code"], told["fatal"]) == ("error", 4400, False)
        assert told["message"] == "none of emotions, mood exists; choose from emotion, lyrics, change, status, levels"


async def test_no_answer_is_ever_dropped_however_late_it_is_read(hub, serving):
    ids = [f"{i} {'x' * 3000}" for i in range(300)]  # more than all buffers hold

    async def ask(socket):
        for each in ids:
            await socket.send(json.dumps({"type": "ping", "id": each}))

    async with (
        serving(hub, max_messages_per_s=10_000, queued_messages=2) as server,
        websockets.asyncio.client.connect(server.stream_url, max_queue=1) as late,
    ):
        asking = asyncio.create_task(ask(late))
        talk = Talk(late)
        assert (await talk.read())["type"] == "hello"
        for _ in range(200):  # turns of the loop, in which the server answers as long as it can
            await asyncio.sleep(0.001)
        assert [(await talk.read()).get("id") for _ in ids] == ids
        await asking


async def test_who_sends_frames_without_end_is_read_from_later_and_loses_nothing(hub, serving):
    async with (
        serving(hub, max_messages_per_s=5, max_audio_messages_per_s=5) as server,
        websockets.asyncio.client.connect(server.stream_url) as eager,
        asyncio.timeout(PATIENCE_S),
    ):
        (socket,) = server._servers[0].connections
        answers = []
        while socket.transport.is_reading():
            answers.append(await eager.ping())
            await asyncio.sleep(0)  # the server is in this loop
        async with talking(server) as other:
            await other.ask("identify")
        for answer in answers:
            await answer
        await eager.send('{"type":"ping","id":"at last"}')
        assert (await Talk(eager).until("pong"))["id"] == "at last"


def get(port: int, path: str, tls: ssl.SSLContext | None = None) -> str:
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        if tls is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=tls)
    )
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()


async def test_everything_comes_over_tls_too(hub, serving, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trusted = client_tls_context(tmp_path / "authority.pem")
    hub.sink("main").publish(FRAME)
    async with serving(hub, tls_certificate=tmp_path / "server.pem") as server, asyncio.timeout(PATIENCE_S):
        assert server.stream_url.startswith("wss://")
        async with connect(server.stream_url, tls=trusted) as client:
            async for message in client:
                if isinstance(message, wire.Ready):
                    assert message.snapshot[0].message.index == FRAME.index
                    break

        assert await asyncio.to_thread(get, server.port, "/healthz", trusted) == "ok\n"
        with pytest.raises(ServeError, match=r"is not trusted here: .*; name the authority .*--ca FILE"):
            await connect(server.stream_url).__aenter__()
        with pytest.raises(ServeError, match="if the server has a certificate, use wss://"):
            await connect(server.stream_url.replace("wss:", "ws:")).__aenter__()


async def test_metrics_tell_of_the_clients_and_how_they_went(hub, serving):
    async with serving(hub) as server:
        async with talking(server) as client:
            await client.ask("identify")
            hub.sink("main").publish(FRAME)
            await client.until("emotion")
        async with talking(server) as client:
            await client.say("dance")
            await client.closed_with()

        told = ""
        async with asyncio.timeout(PATIENCE_S):
            while 'stream_mer_closes_total{code="4400"} 1.0' not in told:
                told = await asyncio.to_thread(get, server.port, "/metrics")
    assert "stream_mer_connections_total 2.0" in told
    assert 'stream_mer_latency_seconds_count{stream="main"} 1.0' in told
    assert "stream_mer_delivery_seconds_count 1.0" in told
