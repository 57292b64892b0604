"""Operators set up a running server over the websocket; the streams go on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE_S, until
from talking import Message, Talk, talking

from stream_mer.audio.level_meter import LevelMeter
from stream_mer.audio.windowing import Windower
from stream_mer.config import ServeSettings, SmoothingSettings, WindowSettings
from stream_mer.emotion.smoothing import Smoother
from stream_mer.errors import DeviceError, SettingError
from stream_mer.lyrics.feeds import NoLyrics
from stream_mer.outputs.runner import ShowRunner
from stream_mer.pipeline import Pipeline
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.setup import OutputSettings, ServeSetup, Snapshot, StreamSettings, changed
from stream_mer.sources.catalogue import open_source
from stream_mer.sources.inputs import Input
from stream_mer.sources.microphone import Reading
from stream_mer.types import CATEGORIES, CLUSTERS, EmotionEstimate, Interval, LyricState, Window

TOKEN, DESK = "open sesame, open", "the light desk's own"


def write_tone(path: Path, seconds: float = 300.0, *, amplitude: float = 0.5) -> Path:
    """A quiet-rate tone: 8 kHz, one channel."""
    one_second = (amplitude * 32_767 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(one_second * round(seconds))
    return path


class Model:
    """Implements ``ports.EmotionStream``."""

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        del window, lyrics
        return EmotionEstimate(
            valence=0.5,
            arousal=0.5,
            interval=Interval(valence=(-1.0, 1.0), arousal=(-1.0, 1.0), level=0.8),
            categories=dict.fromkeys(CATEGORIES, 0.25),
            clusters=dict.fromkeys(CLUSTERS, 0.2),
        )


class Lyrics(NoLyrics):
    def state(self) -> LyricState:
        return LyricState(health="ok")


class Engine:
    """Opens what a stream needs, and keeps how."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, tuple[str, ...]]] = []

    def open_emotion(self) -> Model:
        return Model()

    def open_lyrics(self, mode: str, languages: tuple[str, ...]) -> NoLyrics:
        self.opened.append((mode, tuple(languages)))
        return NoLyrics() if mode == "off" else Lyrics()


class Store:
    """Implements ``setup.SettingsStore`` in memory."""

    path = "/home/vj/show.toml"

    def __init__(self) -> None:
        self.saved: Snapshot | None = None

    def preview(self, snapshot: Snapshot) -> wire.PreviewPart:
        return wire.PreviewPart(path=self.path, diff="" if snapshot == self.saved else "+ changed\n")

    def save(self, snapshot: Snapshot) -> None:
        if any(one.hop_s == 2 for one in snapshot.streams.values()):
            raise SettingError("the disk is full")
        self.saved = snapshot


class Show:
    """A server with two streams that can be set up."""

    def __init__(self, folder: Path, *, inputs: object = None, store: Store | None = None, **settings: object) -> None:
        self.hub, self.engine, self.store = Hub(), Engine(), store or Store()
        self.files = {name: str(write_tone(folder / f"{name}.wav")) for name in ("hall", "booth")}
        streams = {name: StreamSettings(source=path) for name, path in self.files.items()}
        more = {} if inputs is None else {"inputs": inputs}
        self.setup = ServeSetup(Snapshot(streams=streams), store=self.store, **more)  # type: ignore[arg-type]
        self.pipelines = {name: self._build(name, path) for name, path in self.files.items()}
        self.runner = ShowRunner([])
        self.inlets: dict[str, object] = {}
        self.server = Server(
            self.hub,
            ServeSettings(**({"port": 0, "close_timeout_s": 1.0} | settings)),  # type: ignore[arg-type]
            setup=self.setup,
            inlets=self.inlets,  # type: ignore[arg-type]
        )

    def _build(self, name: str, path: str) -> Pipeline:
        def wanted() -> bool:
            return self.hub.is_wanted(name, "levels")

        def build(source: object, reopen: object) -> Pipeline:
            return Pipeline(
                source=source,  # type: ignore[arg-type]
                windower=Windower(WindowSettings()),
                lyrics=Lyrics(),
                emotion=Model(),
                smoother=Smoother(SmoothingSettings()),
                sink=self.hub.sink(name),
                measure_levels=LevelMeter(wanted=wanted).feed,
                reopen=reopen,  # type: ignore[arg-type]
            )

        return self.setup.build(self.engine, name, open_source(path), build=build)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Show]:
        threads = [threading.Thread(target=one.run, daemon=True) for one in self.pipelines.values()]
        for thread in threads:
            thread.start()
        self.runner.start(self.hub)
        try:
            async with self.server:
                self.setup.bind(hub=self.hub, show=self.runner, server=self.server, inlets=self.inlets)  # type: ignore[arg-type]
                yield self
        finally:
            for one in self.pipelines.values():
                one.stop()
            self.runner.stop()
            for thread in threads:
                thread.join(PATIENCE_S)


@pytest.fixture
async def show(tmp_path: Path) -> AsyncIterator[Show]:
    async with Show(tmp_path).running() as show:
        yield show


@contextlib.asynccontextmanager
async def operator(show: Show, **options: object) -> AsyncIterator[Talk]:
    async with talking(show.server, **options) as client:
        await client.ask("identify", subscribe=[{"streams": ["hall"], "events": ["emotion", "status"]}])
        yield client


async def state_of(client: Talk, **request: object) -> Message:
    """The state after a request, which has to succeed."""
    result = await client.ask("setup", **request)
    assert result["ok"], result
    return result["setup"]["state"]


async def why_refused(client: Talk, **request: object) -> str:
    result = await client.ask("setup", **request)
    assert not result["ok"]
    return result["error"]["message"]


async def test_only_operators_set_up_and_viewers_see_nothing_of_it(tmp_path) -> None:
    guarded = Show(tmp_path, token=TOKEN, operator_token=DESK)
    async with guarded.running() as show, talking(show.server) as viewer, talking(show.server) as desk:
        assert (await viewer.read())["can_setup"] is True
        await viewer.ask("identify", token=TOKEN, subscribe=[])
        refused = await viewer.ask("setup", id=1, action="get")
        assert (refused["id"], refused["ok"], refused["error"]["code"]) == (1, False, 4403)
        await desk.ask("identify", token=DESK, subscribe=[])
        await state_of(desk, action="get")
        await state_of(desk, action="apply", stream="hall", changes={"hop_s": 0.25})
        assert [message["type"] for message in await viewer.all_so_far()] == []


async def test_a_server_that_cannot_be_set_up_says_so(serving) -> None:
    hub = Hub()
    hub.sink("main")
    async with serving(hub) as server, talking(server) as client:
        assert (await client.read())["can_setup"] is False
        await client.ask("identify")
        assert "cannot be set up" in await why_refused(client, action="get")


@pytest.mark.parametrize(
    "request_", [
        {"action": "apply", "changes": {"hop_s": 9}},
        {"action": "apply", "changes": {"hop": 1}},
        {"action": "dance"},
        {"action": "watch_inputs", "seconds": 1e9},
    ],
)  # fmt: skip
async def test_a_malformed_request_is_answered_and_the_connection_stays(show, request_) -> None:
    async with operator(show) as client:
        result = await client.ask("setup", id="x", **request_)
        assert (result["id"], result["ok"], result["error"]["code"]) == ("x", False, 4400)
        assert await state_of(client, action="get")


async def test_the_hop_changes_and_frames_go_on(show) -> None:
    async with operator(show) as client, operator(show) as audience:
        before = await audience.until("emotion")
        state = await state_of(client, action="apply", stream="hall", changes={"hop_s": 0.25, "dwell_s": 1})
        assert state["streams"][0]["hop_s"] == 0.25
        assert state["streams"][0]["dwell_s"] == 1
        assert state["streams"][1]["hop_s"] == 0.5
        frames = [await audience.until("emotion") for _ in range(10)]
        assert [frame["index"] for frame in frames] == list(range(before["index"] + 1, before["index"] + 11))
        assert frames[-1]["t1"] - frames[-2]["t1"] == pytest.approx(0.25)
        assert frames[-1]["seq"] - before["seq"] == 10
    async with talking(show.server) as client:
        assert (await client.read())["hop_s"] == 0.5, "the longest of all streams"


async def test_the_source_changes_and_the_stream_goes_on(show, tmp_path) -> None:
    other = str(write_tone(tmp_path / "other.wav", amplitude=0.1))
    async with operator(show) as client, operator(show) as audience:
        before = await audience.until("emotion")
        state = await state_of(client, action="apply", stream="hall", changes={"source": other})
        assert (state["streams"][0]["source"], state["streams"][0]["device"]) == (other, "other.wav")
        status = await audience.until("status", device="other.wav", source="live")
        while status["lost_samples"] == 0:
            status = await audience.until("status", device="other.wav", source="live")
        after = await audience.until("emotion")
        assert after["index"] > before["index"]
        assert after["t1"] > before["t1"]


async def test_a_stream_goes_on_with_another_source_after_the_end_of_a_file(show, tmp_path) -> None:
    short = str(write_tone(tmp_path / "short.wav", 1.0))
    async with operator(show) as client, operator(show) as audience:
        await state_of(client, action="apply", stream="hall", changes={"source": short})
        await audience.until("status", device="short.wav", source="ended")
        await asyncio.sleep(0.5)
        last = [one for one in await audience.all_so_far() if one["type"] == "emotion"]
        await state_of(client, action="apply", stream="hall", changes={"source": show.files["hall"]})
        await audience.until("status", device="hall.wav", source="live")
        frames = [await audience.until("emotion") for _ in range(3)]
        indices = [frame["index"] for frame in [*last, *frames]]
        assert indices == sorted(set(indices))
        assert frames[0]["t1"] > 1.4, "the time without audio has passed, too"


async def test_a_file_that_has_ended_is_played_again_on_request(show, tmp_path) -> None:
    short = write_tone(tmp_path / "short.wav", 1.0)
    async with operator(show) as client, operator(show) as audience:
        await state_of(client, action="apply", stream="hall", changes={"source": str(short)})
        await audience.until("status", device="short.wav", source="ended")
        await state_of(client, action="apply", stream="hall", changes={"hop_s": 0.25})
        assert show.setup._streams["hall"].source.has_ended, "only who names the source wants it"
        await state_of(client, action="apply", stream="hall", changes={"source": str(short)})
        await audience.until("status", device="short.wav", source="live")
        await audience.until("status", device="short.wav", source="ended")
        short.unlink()
        request = {"action": "apply", "stream": "hall", "changes": {"source": str(short)}}
        assert "no such file" in await why_refused(client, **request)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"source": "/nowhere/song.flac"}, "no such file"),
        ({"source": "mikrofon"}, "no source is called"),
        ({"source": "-"}, "from the start"),
        ({"source": "  "}, "empty"),
        ({"gain_db": 3}, "gain is for microphones"),
        ({"languages": ["klingon"]}, "klingon"),
        ({}, "no changes"),
    ],
)
async def test_what_cannot_be_changed_leaves_the_stream_as_it_is(show, changes, why) -> None:
    async with operator(show) as client:
        before = await state_of(client, action="get")
        request = {"action": "apply", "stream": "hall", **({"changes": changes} if changes else {})}
        assert why in await why_refused(client, **request)
        assert await state_of(client, action="get") == before
        await client.until("emotion")


async def test_a_change_of_which_one_part_fails_changes_nothing(show, tmp_path, monkeypatch) -> None:
    other = str(write_tone(tmp_path / "other.wav"))
    closed = threading.Event()

    class Recogniser(Lyrics):
        def close(self) -> None:
            closed.set()

    async with operator(show) as client:
        before = await state_of(client, action="get")
        monkeypatch.setattr(show.engine, "open_lyrics", lambda *_: Recogniser())
        gone = {"source": "/nowhere/song.flac", "languages": ["en"]}
        assert "no such file" in await why_refused(client, action="apply", stream="hall", changes=gone)
        assert closed.is_set()

        def fail(*_: object) -> Lyrics:
            raise SettingError("no weights")

        monkeypatch.setattr(show.engine, "open_lyrics", fail)
        changes = {"source": other, "languages": ["en"]}
        assert "no weights" in await why_refused(client, action="apply", stream="hall", changes=changes)
        assert await state_of(client, action="get") == before


async def test_languages_count_once(show) -> None:
    async with operator(show) as client:
        state = await state_of(client, action="apply", stream="hall", changes={"languages": ["en", "fr"] * 10})
        assert state["streams"][0]["languages"] == ["en", "fr"]
    assert show.engine.opened == [("recognise", ("en", "fr"))]


async def test_lyrics_go_off_and_on_in_a_language(show) -> None:
    async with operator(show) as client, operator(show) as audience:
        assert (await audience.until("status"))["lyrics"] == "ok"
        await state_of(client, action="apply", stream="hall", changes={"lyrics": "off"})
        await audience.until("status", lyrics="off")
        await state_of(
            client, action="apply", stream="hall", changes={"lyrics": "recognise", "languages": ["en", "fr"]}
        )
        await audience.until("status", lyrics="ok")
    assert show.engine.opened == [("off", ()), ("recognise", ("en", "fr"))]


async def test_audio_of_clients_is_taken_once_a_stream_is_remote(show) -> None:
    start = {"stream": "hall", "format": "f32le", "rate_hz": 16_000}
    async with operator(show) as client, operator(show) as audience:
        await client.say("audio.start", **start)
        assert (await client.until("error"))["code"] == 4404
        await state_of(client, action="apply", stream="hall", changes={"source": "remote"})
        await audience.until("status", device="remote", source="reconnecting")
        await client.say("audio.start", **start)
        for _ in range(40):
            await client.send(np.full(1600, 0.5, "<f4").tobytes())
            await asyncio.sleep(0.05)
        await audience.until("status", device="remote", source="live")
        await audience.until("emotion")
        await client.say("audio.end")
        await state_of(client, action="apply", stream="hall", changes={"source": show.files["hall"]})
        assert "hall" not in show.inlets


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(PATIENCE_S)
        yield bound


async def test_an_output_is_added_tested_and_removed(show, receiver, monkeypatch) -> None:
    monkeypatch.setattr("stream_mer.outputs.runner.TEST_S", 10 * PATIENCE_S)  # its last category stays
    place = f"127.0.0.1:{receiver.getsockname()[1]}"
    async with operator(show) as client, operator(show) as other:
        assert (await state_of(other, action="get"))["outputs"] == []
        wanted = {"kind": "osc", "spec": place, "stream": "booth"}
        added = await state_of(client, action="add_output", output=wanted)
        (output,) = added["outputs"]
        assert (output["kind"], output["spec"], output["stream"]) == ("osc", place, "booth")
        assert (await asyncio.to_thread(receiver.recv, 4096)).startswith(b"/mer/")
        assert (await other.until("setup.update"))["state"]["outputs"][0]["id"] == output["id"]
        told = output
        while not (told["up"] and told["sent"]):  # while it is opened, its health says that nothing was sent yet
            told = (await other.until("setup.update"))["outputs"][0]
        assert "driven by" in await why_refused(client, action="add_output", output=wanted)
        tested = await state_of(client, action="test_output", output={"id": output["id"]})
        assert tested["outputs"][0]["testing"]
        heard = b""
        while b"test: relaxed" not in heard:
            heard = await asyncio.to_thread(receiver.recv, 4096)
        removed = await state_of(client, action="remove_output", output={"id": output["id"]})
        assert removed["outputs"] == []
        assert "no output" in await why_refused(client, action="test_output", output={"id": output["id"]})


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ({"kind": "smoke", "spec": "x"}, "no output is called 'smoke'"),
        ({"kind": "osc", "spec": "nowhere at all"}, "nowhere at all"),
        ({"kind": "osc", "spec": "127.0.0.1:9999", "stream": "cellar"}, "no stream 'cellar'"),
        ({"kind": "osc"}, "a kind and a spec"),
        (None, "a kind and a spec"),
    ],
)
async def test_an_output_that_cannot_be_is_refused(show, output, why) -> None:
    async with operator(show) as client:
        assert why in await why_refused(client, action="add_output", **({"output": output} if output else {}))


async def test_outputs_have_a_limit(show, monkeypatch) -> None:
    monkeypatch.setattr("stream_mer.setup.MAX_OUTPUTS", 2)
    async with operator(show) as client:
        for port in (9997, 9998):
            added = await state_of(client, action="add_output", output={"kind": "osc", "spec": f"127.0.0.1:{port}"})
        another = {"kind": "osc", "spec": "127.0.0.1:9999"}
        why = await why_refused(client, action="add_output", output=another)
        assert why == "there are 2 outputs, and 2 is the most: remove one first"
        await state_of(client, action="remove_output", output={"id": added["outputs"][0]["id"]})
        assert len((await state_of(client, action="add_output", output=another))["outputs"]) == 2


async def test_changes_are_undone_one_by_one(show, tmp_path) -> None:
    other = str(write_tone(tmp_path / "other.wav"))
    async with operator(show) as client, operator(show) as audience:
        first = await state_of(client, action="get")
        assert (first["can_undo"], first["dirty"]) == (False, False)
        await state_of(client, action="apply", stream="hall", changes={"source": other, "hop_s": 0.2})
        await state_of(client, action="apply", stream="booth", changes={"spread": False})
        await state_of(client, action="add_output", output={"kind": "osc", "spec": "127.0.0.1:9999"})
        same = await state_of(client, action="apply", stream="booth", changes={"spread": False})
        assert same["can_undo"]
        undone = await state_of(client, action="undo")
        assert undone["outputs"] == []
        undone = await state_of(client, action="undo")
        assert undone["streams"][1]["spread"] is True
        undone = await state_of(client, action="undo")
        assert undone == first
        assert "nothing to undo" in await why_refused(client, action="undo")
        await audience.until("status", device="other.wav")
        await audience.until("status", device="hall.wav", source="live")


async def test_a_removed_output_comes_back_with_undo(show) -> None:
    async with operator(show) as client:
        added = await state_of(client, action="add_output", output={"kind": "osc", "spec": "127.0.0.1:9999"})
        await state_of(client, action="remove_output", output={"id": added["outputs"][0]["id"]})
        back = await state_of(client, action="undo")
        assert [(one["kind"], one["spec"]) for one in back["outputs"]] == [("osc", "127.0.0.1:9999")]


async def test_what_is_set_up_is_previewed_and_saved(show) -> None:
    async with operator(show) as client:
        state = await state_of(client, action="apply", stream="hall", changes={"hop_s": 0.25})
        assert (state["dirty"], state["can_save"], state["path"]) == (True, True, Store.path)
        preview = (await client.ask("setup", action="preview"))["setup"]["preview"]
        assert preview == {"path": Store.path, "diff": "+ changed\n", "notes": []}
        saved = await state_of(client, action="save")
        assert saved["dirty"] is False
        assert show.store.saved == show.setup.snapshot()
        assert (await client.ask("setup", action="preview"))["setup"]["preview"]["diff"] == ""
        await state_of(client, action="apply", stream="hall", changes={"hop_s": 2})
        assert "disk is full" in await why_refused(client, action="save")
        assert (await state_of(client, action="get"))["dirty"]


def two_inputs(readings: list[float]) -> tuple[list[Input], str]:
    def meter(_: float) -> Iterator[Reading]:
        from stream_mer.audio.levels import Level  # noqa: PLC0415
        from stream_mer.sources.microphone import ChannelLevel  # noqa: PLC0415

        for level in readings:
            now = (ChannelLevel(channel=1, level=Level(peak_dbfs=level + 3, rms_dbfs=level), clipped_samples=0),)
            yield Reading(now=now, whole=now, audio_s=0.1)
            threading.Event().wait(0.1)

    def broken(_: float) -> Iterator[Reading]:
        raise DeviceError("the device is busy")
        yield

    inputs = [
        Input(source="mic:Desk", name="Desk", kind="mic", is_default=True, meter=meter),
        Input(source="mic:Line", name="Line", kind="mic", meter=broken),
        Input(source="demo", name="Demo song", kind="demo"),
    ]
    return inputs, "a note"


async def test_inputs_are_listed_and_measured_while_they_are_watched(tmp_path) -> None:
    async with Show(tmp_path, inputs=lambda: two_inputs([-20.0] * 1000)).running() as show, operator(show) as client:
        answer = (await client.ask("setup", action="inputs"))["setup"]
        assert answer["note"] == "a note"
        listed = {one["source"]: one for one in answer["inputs"]}
        assert listed["mic:Desk"]["default"]
        assert listed[show.files["hall"]]["in_use"]
        assert listed[show.files["hall"]]["kind"] == "file"
        assert not listed["demo"]["in_use"]
        await client.ask("setup", action="watch_inputs", seconds=60)
        levels: dict[str, Message] = {}
        wanted = {"mic:Desk", "mic:Line", *show.files.values()}
        measured = [("mic:Desk", "rms_db"), ("mic:Line", "error"), (show.files["hall"], "rms_db")]
        while not (wanted <= levels.keys() and all(levels[source][what] for source, what in measured)):
            update = await client.until("setup.update")
            levels = {one["source"]: one for one in update["levels"]}
        assert levels["mic:Desk"]["rms_db"] == -20.0
        assert "busy" in levels["mic:Line"]["error"]
        assert levels["mic:Line"]["rms_db"] is None
        assert levels[show.files["hall"]]["rms_db"] == pytest.approx(-9.0, abs=1.0)
        assert show.hub.is_wanted("hall", "levels")
        await client.ask("setup", action="watch_inputs", seconds=0.2)
        await until(lambda: not show.hub.is_wanted("hall", "levels"))  # it ends by itself


async def test_a_client_that_leaves_is_sent_nothing_more(tmp_path) -> None:
    async with Show(tmp_path, inputs=lambda: two_inputs([-20.0] * 1000)).running() as show:
        async with operator(show) as client:
            await state_of(client, action="get")
            await client.ask("setup", action="watch_inputs", seconds=60)
            await until(lambda: show.hub.is_wanted("hall", "levels"))
        await until(lambda: not show.hub.is_wanted("hall", "levels"))
        await until(lambda: not show.setup._clients)
        assert show.setup._health_task is None


async def test_addresses_for_other_devices_come_with_the_token_and_a_code(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("stream_mer.server.server.local_addresses", lambda: ["192.168.1.20", "10.0.0.2"])
    async with Show(tmp_path, host="0.0.0.0", token=TOKEN).running() as show:  # noqa: S104 - to be reached
        async with talking(f"ws://127.0.0.1:{show.server.port}/v1/stream") as client:
            await client.ask("identify", token=TOKEN, subscribe=[])
            state = await state_of(client, action="get")
        ends = f":{show.server.port}/#token=" + TOKEN.replace(" ", "%20").replace(",", "%2C")
    assert state["addresses"] == [f"http://192.168.1.20{ends}", f"http://10.0.0.2{ends}"]
    assert state["qr_svg"].startswith("<svg")


async def test_on_this_machine_alone_there_are_no_addresses(show) -> None:
    async with operator(show) as client:
        state = await state_of(client, action="get")
    assert (state["addresses"], state["qr_svg"]) == ([], None)


async def test_an_unexpected_failure_is_answered(show, monkeypatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(show.setup, "_preview", lambda: fail(None))
    async with operator(show) as client:
        result = await client.ask("setup", action="preview")
        assert result["error"]["code"] == 1011
        assert await state_of(client, action="get")


def test_secrets_of_an_address_stay_where_it_is_sent_back_as_shown() -> None:
    settings = StreamSettings(source="rtsp://me:secret@camera/live")
    kept = changed(settings, wire.SetupChanges(source="rtsp://***@camera/live", hop_s=0.25))
    assert kept.source == settings.source
    assert kept.hop_s == 0.25


def test_a_new_source_forgets_what_belonged_to_the_former() -> None:
    settings = StreamSettings(source="mic:USB", channels="3,4", gain_db=6.0, lyrics="known")
    new = changed(settings, wire.SetupChanges(source="demo"))
    assert (new.channels, new.gain_db, new.lyrics) == (None, None, "recognise")
    new = changed(settings, wire.SetupChanges(source="mic:Desk", channels="1"))
    assert (new.channels, new.gain_db) == ("1", None)
    assert changed(settings, wire.SetupChanges(source="mic:USB")) == settings


def test_outputs_given_at_the_start_have_ids(tmp_path) -> None:
    del tmp_path

    class Output:
        name, stream, rate_hz, wants_levels, claims = "out", "hall", 1.0, False, frozenset()

    given = OutputSettings(kind="osc", spec="resolume")
    setup = ServeSetup(Snapshot(streams={}, outputs=(given,)), [Output()])  # type: ignore[list-item]
    assert setup.snapshot().outputs == (given,)


async def test_a_change_of_a_client_that_leaves_is_carried_out_and_told(show, monkeypatch) -> None:
    may_go_on = threading.Event()
    change = show.setup._change

    def late(request: wire.Setup) -> None:
        may_go_on.wait(PATIENCE_S)
        change(request)

    monkeypatch.setattr(show.setup, "_change", late)
    async with operator(show) as other:
        await state_of(other, action="get")
        async with operator(show) as client:
            await client.say("setup", action="apply", stream="hall", changes={"hop_s": 0.2})
            await client.all_so_far()
        may_go_on.set()
        assert (await other.until("setup.update"))["state"]["streams"][0]["hop_s"] == 0.2
