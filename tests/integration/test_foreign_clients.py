"""Clients of other making against a real server: Node with `ws`, and a page from elsewhere in headless Chromium."""

import asyncio
import contextlib
import json
import signal
from collections import deque
from dataclasses import replace

import pytest
from helpers import PATIENCE_S
from talking import talking

from stream_mer.server.hub import Hub
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS

PLAIN = """
import WebSocket from "ws";
const socket = new WebSocket(process.argv[2], "mer.v1.json");
const tell = (what) => console.log(JSON.stringify(what));
socket.on("message", (data, binary) => tell({ binary, message: JSON.parse(data) }));
socket.on("close", (code, reason) => tell({ closed: code, reason: String(reason), agreed: socket.protocol }));
socket.on("open", () => process.stdin.on("data", (lines) =>
  String(lines).trim().split("\\n").forEach((line) => socket.send(line))));
"""
"""A client with nothing but `ws`: sends the lines of its input, prints what comes."""

WITH_MER = """
import WebSocket from "ws";
import { connect } from "./mer.mjs";
const tell = (what) => console.log(JSON.stringify(what));
const options = JSON.parse(process.argv[3]);
const mer = connect(process.argv[2], { ...options, WebSocket });
for (const kind of ["hello", "ready", "emotion", "lyrics", "change", "status", "levels", "error", "link", "token"])
  mer.on(kind, (message, age_s) => tell({ kind, message, age_s }));
process.stdin.on("data", (lines) => String(lines).trim().split("\\n").forEach(async (line) => {
  const { call, with: given } = JSON.parse(line);
  tell({ call, gave: await mer[call](...given) });
}));
"""
"""A client with mer.js: does what its input says, prints what comes."""


@pytest.fixture
def scripts(node_folder):
    """The folder with the clients of this module."""
    (node_folder / "plain.mjs").write_text(PLAIN)
    (node_folder / "with_mer.mjs").write_text(WITH_MER)
    return node_folder


class NodeClient:
    """A Node process that prints one JSON object a line and takes lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._unread: deque[dict] = deque()

    async def send(self, line: str | dict) -> None:
        line = line if isinstance(line, str) else json.dumps(line)
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def call(self, method: str, *given) -> None:
        await self.send({"call": method, "with": given})

    async def _next(self) -> dict:
        async with asyncio.timeout(PATIENCE_S):
            line = await self.process.stdout.readline()
        assert line, (await self.process.stderr.read()).decode()
        return json.loads(line)

    async def told(self, where=lambda _: True) -> dict:
        """Return the first thing told, of those not yet read, that is such a one."""
        while True:
            what = self._unread.popleft() if self._unread else await self._next()
            if where(what):
                return what

    async def message(self, kind: str) -> dict:
        what = await self.told(lambda what: what.get("message", {}).get("type", what.get("kind")) == kind)
        return what["message"]

    async def link_down(self) -> dict:
        return (await self.told(lambda what: what.get("kind") == "link" and not what["message"]["up"]))["message"]

    async def answer(self, method: str, *given) -> dict:
        """Call a method and return what it gave; what is told meanwhile is still to be read."""
        await self.call(method, *given)
        while (what := await self._next()).get("call") != method:
            self._unread.append(what)
        return what["gave"]


@contextlib.asynccontextmanager
async def node(folder, script, *arguments):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", script, *arguments, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 20
    )
    try:
        yield NodeClient(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.communicate()


def plain_client(folder, server):
    return node(folder, "plain.mjs", server.stream_url)


def mer_client(folder, server, **options):
    return node(folder, "with_mer.mjs", server.stream_url.removesuffix("/v1/stream"), json.dumps(options))


async def test_ws_gets_hello_ready_emotion_and_lyrics_as_text(scripts, hub, serving):
    async with serving(hub) as server, plain_client(scripts, server) as client:
        assert await client.told() == {"binary": False, "message": await hello_of(server)}
        await client.send({"type": "identify", "client": {"name": "trial", "kind": "node"}})
        ready = await client.message("ready")
        assert [entry["message"]["type"] for entry in ready["snapshot"]] == ["status"]
        hub.sink("main").publish(FRAME)
        hub.sink("main").publish(replace(LINE, text="così è l’amor 恋 🎶"))
        emotion, lyrics = await client.message("emotion"), await client.message("lyrics")
    assert (emotion["valence"], emotion["arousal"]) == (FRAME.valence, FRAME.arousal)
    assert emotion["category"]["top"] == "happy"
    assert lyrics["text"] == "così è l’amor 恋 🎶"


async def hello_of(server) -> dict:
    """Return what the server tells a client of Python, which the one of Node must get too."""
    async with talking(server) as client:
        return await client.read()


async def test_ws_is_answered_and_parts_as_agreed(scripts, hub, serving):
    async with serving(hub) as server, plain_client(scripts, server) as client:
        await client.send({"type": "ping", "id": "là", "t": 1.5})
        assert await client.message("pong") == {"type": "pong", "id": "là", "t": 1.5}
        await client.send("this is no JSON")
        error = await client.message("error")
        assert (error["code"], error["fatal"]) == (4400, True)
        closed = await client.told()
    assert (closed["closed"], closed["agreed"]) == (4400, "mer.v1.json")
    assert error["message"].startswith(closed["reason"])


async def test_mer_js_tells_of_the_link_and_gives_the_snapshot_as_messages(scripts, hub, serving):
    hub.sink("main").publish(FRAME)
    hub.sink("main").publish(CHANGE)
    async with serving(hub) as server, mer_client(scripts, server) as client:
        assert (await client.told())["kind"] == "hello"
        assert await client.told() == {"kind": "link", "message": {"up": True, "why": "", "final": False}, "age_s": 0}
        ready = await client.told()
        assert {entry["message"]["type"] for entry in ready["message"]["snapshot"]} == {"status", "emotion", "change"}
        first = [await client.told(), await client.told()]
        assert [one["kind"] for one in first] == ["status", "emotion"], "and no change: an old cue must not fire"
        hub.sink("main").publish(CHANGE)
        news = await client.message("change")
        assert (news["seq"], news["from"], news["to"], news["t"]) == (1, CHANGE.before, CHANGE.after, CHANGE.t)


async def test_mer_js_chooses_and_takes_back(scripts, hub, serving):
    sink = hub.sink("main")
    async with serving(hub) as server, mer_client(scripts, server, subscribe=[{"events": ["change"]}]) as client:
        await client.message("ready")
        assert (await client.answer("subscribe", {"events": ["levels"], "max_hz": 1000}))["ok"] is True
        sink.publish(FRAME)
        sink.publish(LEVELS)
        assert (await client.told())["message"]["onset"] == LEVELS.onset, "the frame is not wanted"
        refused = await client.answer("subscribe", {"streams": ["nowhere"]})
        assert (refused["ok"], refused["error"]["code"]) == (False, 4404)
        assert (await client.answer("unsubscribe"))["ok"] is True
        sink.publish(LEVELS)
        assert (await client.answer("subscribe", {"events": ["status"]}))["ok"] is True
        assert (await client.told())["kind"] == "status"


async def test_mer_js_controls_where_it_may(scripts, hub, serving):
    sink = hub.sink("main")
    sink.publish(FRAME)
    settings = {"operator_token": "boss of the lights"}
    async with serving(hub, **settings) as server, mer_client(scripts, server) as client:
        assert (await client.message("ready"))["role"] == "viewer"
        assert (await client.answer("control", "freeze"))["error"]["code"] == 4403
        await client.call("offer", "boss of the lights")
        assert (await client.message("ready"))["role"] == "operator"
        await client.message("emotion")
        by_hand = {"override": {"valence": -0.5, "arousal": -0.25}}
        assert (await client.answer("control", "override", by_hand))["ok"] is True
        held = await client.message("emotion")
        assert (held["valence"], held["arousal"], held["hold"]) == (-0.5, -0.25, "override")
        assert (await client.answer("control", "dance"))["error"]["code"] == 4400
        too_far = {"override": {"valence": 7, "arousal": 0}}
        assert "valence" in (await client.answer("control", "override", too_far))["error"]["message"]
        assert (await client.answer("control", "resume"))["ok"] is True


async def test_mer_js_says_what_the_server_refuses_of_its_options(scripts, hub, serving):
    async with serving(hub) as server, mer_client(scripts, server, subscribe=[{"max_hz": 0}]) as client:
        assert (await client.message("error"))["fatal"] is False
        down = await client.link_down()
        assert down["final"] is True
        assert "max_hz" in down["why"]


async def test_mer_js_asks_for_a_token_and_takes_the_right_one(scripts, hub, serving):
    async with (
        serving(hub, token="open-sesame-open") as server,  # noqa: S106
        node(scripts, "with_mer.mjs", f"localhost:{server.port}", "{}") as client,  # an address as it is typed
    ):
        await client.message("token")
        await client.call("offer", "wrong")
        down = await client.link_down()
        assert "token" in down["why"]
        await client.message("token")
        await client.call("offer", "open-sesame-open")
        assert (await client.message("ready"))["role"] == "operator"


CLUMSY = """
import WebSocket from "ws";
import { connect } from "./mer.mjs";
const tell = (what) => console.log(JSON.stringify(what));
process.on("uncaughtException", (error) => tell({ uncaught: error.message }));
const mer = connect(process.argv[2], { WebSocket });
for (const kind of ["hello", "status", "emotion"]) {
  mer.on(kind, () => { throw new Error(`a bug at ${kind}`); });
  mer.on(kind, (message) => tell({ kind, message }));
}
"""
"""A page with bugs in what it does with messages."""


async def test_a_bug_in_a_listener_stops_neither_the_others_nor_mer_js(scripts, hub, serving):
    (scripts / "clumsy.mjs").write_text(CLUMSY)
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server, node(scripts, "clumsy.mjs", server.stream_url) as client:
        told = [await client.told() for _ in range(6)]
    assert [one["kind"] for one in told if "kind" in one] == ["hello", "status", "emotion"]
    assert [one["uncaught"] for one in told if "uncaught" in one] == [
        f"a bug at {x}" for x in ("hello", "status", "emotion")
    ]


async def test_mer_js_says_why_it_cannot_connect_where_it_knows(scripts, hub, serving):
    async with serving(hub) as server:
        port = server.port
    async with node(scripts, "with_mer.mjs", f"127.0.0.1:{port}", "{}") as client:
        down = await client.message("link")
    assert (down["up"], down["final"]) == (False, False)
    assert "ECONNREFUSED" in down["why"]


async def test_mer_js_does_not_take_a_warning_for_the_reason_of_a_break(scripts, hub, serving):
    async with serving(hub) as server, mer_client(scripts, server, subscribe=[{"events": ["emotions"]}]) as client:
        assert (await client.message("error"))["fatal"] is False
        for session in server._sessions:
            session._connection.abort()
        down = await client.link_down()
        assert "emotions" not in down["why"]


async def test_mer_js_asks_again_no_faster_than_the_server_bears(scripts, hub, serving):
    stages = [f"stage {number}" for number in range(31)]  # more than fit into two seconds
    for stage in stages:
        hub.sink(stage)

    async def play_on_the_last() -> None:
        while True:
            hub.sink(stages[-1]).publish(LEVELS)
            await asyncio.sleep(0.05)

    async with serving(hub, max_messages_per_s=10_000) as server:
        port = server.port
        async with mer_client(scripts, server) as client:
            await client.answer(
                "unsubscribe", {"events": ["status"]}
            )  # so that what follows does not fit into identify
            for stage in stages:
                assert (await client.answer("subscribe", {"streams": [stage], "events": ["levels"]}))["ok"] is True
            await server.stop()
            async with serving(hub, port=port, max_messages_per_s=15):
                playing = asyncio.create_task(play_on_the_last())
                assert (await client.message("levels"))["stream"] == stages[-1]
                playing.cancel()


async def test_who_has_left_for_good_gets_no_answer_but_that(scripts, hub, serving):
    async with serving(hub) as server, mer_client(scripts, server) as client:
        await client.message("ready")
        await client.call("close")
        for method in ("subscribe", "unsubscribe"):
            assert (await client.answer(method, {}))["error"]["code"] == 0


async def test_mer_js_does_not_try_again_what_would_only_repeat(scripts, hub, serving):
    async with serving(hub) as server, mer_client(scripts, server, subscribe=[{"streams": ["nowhere"]}]) as client:
        down = await client.link_down()
        assert down["final"] is True
        assert "nowhere" in down["why"]
        await client.process.stdin.drain()
        client.process.stdin.write_eof()
        assert await asyncio.wait_for(client.process.wait(), PATIENCE_S) == 0, "no timer keeps it"


async def test_mer_js_comes_back_after_a_break_with_all_it_missed(scripts, hub, serving):
    sink = hub.sink("main")
    async with serving(hub) as server:
        port = server.port
        async with mer_client(scripts, server) as client:
            await client.message("ready")
            sink.publish(replace(LINE, segment=0))
            sink.publish(FRAME)
            await client.message("emotion")
            await client.answer("unsubscribe", {"events": ["status"]})
            await server.stop()
            down = await client.told(lambda what: what.get("kind") == "link")
            assert down["message"] == {"up": False, "why": "the server is shutting down", "final": False}
            assert (await client.answer("control", "freeze"))["error"]["code"] == 0, "a command is not kept for later"
            for segment in (1, 2, 3):
                sink.publish(replace(LINE, segment=segment))
                sink.publish(CHANGE)
            sink.publish(replace(FRAME, index=85))
            async with serving(hub, port=port):
                assert (await client.message("ready"))["resumed"] is True
                missed = [await client.told() for _ in range(7)]
                assert [one["kind"] for one in missed] == ["lyrics", "change"] * 3 + ["emotion"]
                assert [one["message"]["seq"] for one in missed] == [1, 0, 2, 1, 3, 2, 1]
                sink.publish(STATUS)
                sink.publish(CHANGE)
                after = await client.told(lambda what: what.get("kind") in ("status", "change"))
                assert after["kind"] == "change", "what was unsubscribed from stays away"


@pytest.mark.parametrize("history", [False, True])
async def test_mer_js_gets_what_was_before_it_came_where_it_asks_for_it(scripts, hub, serving, history):
    for index in (1, 2, 3):
        hub.sink("main").publish(replace(FRAME, index=index))
        hub.sink("main").publish(replace(LINE, segment=index))
    async with serving(hub) as server, mer_client(scripts, server, history=history) as client:
        assert (await client.message("ready"))["resumed"] is (True if history else None)
        hub.sink("main").publish(CHANGE)
        told = [await client.told()]
        while told[-1]["kind"] != "change":
            told.append(await client.told())
    indices = [one["message"]["index"] for one in told if one["kind"] == "emotion"]
    segments = [one["message"]["segment"] for one in told if one["kind"] == "lyrics"]
    assert (indices, segments) == (([1, 2, 3], [1, 2, 3]) if history else ([3], [3]))


async def test_mer_js_begins_anew_with_another_session(scripts, hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server:
        port = server.port
        async with mer_client(scripts, server) as client:
            await client.message("emotion")
            await server.stop()
            other = Hub()
            other.sink("main").publish(replace(LINE, text="another evening"))
            async with serving(other, port=port):
                assert (await client.message("hello"))["session"] == other.session
                assert (await client.message("ready"))["resumed"] is None
                assert (await client.message("lyrics"))["text"] == "another evening"


async def test_mer_js_notices_a_pulled_cable(scripts, cable, hub, serving):
    hasty = (scripts / "mer.mjs").read_text()
    for slow, soon in (
        ("PING_INTERVAL_MS = 5000", "PING_INTERVAL_MS = 500"),
        ("PONG_TIMEOUT_MS = 7000", "PONG_TIMEOUT_MS = 2000"),
    ):
        assert slow in hasty
        hasty = hasty.replace(slow, soon)
    (scripts / "hasty.mjs").write_text(hasty)
    (scripts / "with_hasty.mjs").write_text(WITH_MER.replace("mer.mjs", "hasty.mjs"))
    async with serving(hub) as server:
        url = await cable.lay(server.port)
        async with node(scripts, "with_hasty.mjs", url, "{}") as client:
            await client.message("ready")
            cable.is_whole = False
            down = await client.link_down()
            assert down["final"] is False
            cable.is_whole = True
            assert (await client.message("ready"))["resumed"] is True


# In the browser


@pytest.fixture
def elsewhere(tmp_path, served_folder):
    """A folder, and the address on another port where its pages are served."""
    return tmp_path, served_folder(tmp_path)


FOREIGN_PAGE = """<!doctype html><meta charset="utf-8"><title>elsewhere</title>
<script type="module">
  import { connect } from "SERVERmer.js";
  window.seen = [];
  const mer = window.mer = connect();
  for (const kind of ["ready", "emotion", "lyrics", "link"])
    mer.on(kind, (message) => window.seen.push({ kind, ...message }));
</script>"""


async def seen(page, condition: str) -> dict:
    found = await page.wait_for_function(f"window.seen?.find((one) => {condition})", timeout=1000 * PATIENCE_S)
    return await found.json_value()


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_page_from_elsewhere_imports_mer_js_and_connects_to_where_it_came_from(
    browser, elsewhere, hub, serving
):
    folder, address = elsewhere
    async with serving(hub) as server:
        port = server.port
        (folder / "index.html").write_text(FOREIGN_PAGE.replace("SERVER", server.page_url))
        page = await browser.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{address}/")
        await seen(page, "one.kind === 'ready'")
        hub.sink("main").publish(FRAME)
        hub.sink("main").publish(LINE)
        assert (await seen(page, "one.kind === 'emotion'"))["valence"] == FRAME.valence
        assert (await seen(page, "one.kind === 'lyrics'"))["text"] == LINE.text
        assert (await page.evaluate("mer.control('blackout')"))["ok"] is True
        assert (await seen(page, "one.hold === 'blackout'"))["held"] is True
        await server.stop()
        await seen(page, "one.kind === 'link' && !one.up")
        hub.sink("main").publish(replace(LINE, segment=8, text="sung meanwhile"))
        async with serving(hub, port=port):
            assert (await seen(page, "one.kind === 'ready' && one.resumed"))["resumed"] is True
            await seen(page, "one.text === 'sung meanwhile'")
    assert complaints == []


SANDBOX = """<!doctype html><title>sandbox</title><iframe sandbox="allow-scripts" src="page.html"></iframe>"""
"""What runs in it is of no origin, as a page opened from a file."""


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("allowed", [False, True])
async def test_a_page_of_no_origin_is_refused_for_good_unless_it_is_allowed(browser, elsewhere, hub, serving, allowed):
    folder, address = elsewhere
    (folder / "index.html").write_text(SANDBOX)
    async with serving(hub, allowed_origins=("null",) if allowed else ()) as server:
        (folder / "page.html").write_text(FOREIGN_PAGE.replace("SERVER", server.page_url))
        page = await browser.new_page()
        await page.goto(f"{address}/")
        link = await seen(page.frames[1], "one.kind === 'link'")
        assert (link["up"], link["final"]) == (allowed, not allowed)
