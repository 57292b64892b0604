"""The set-up panel: what operators see and change, and that it keeps still; with a real `serve`, frames go on."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import tomllib
from importlib import resources
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from helpers import until

from stream_mer.config import ServeSettings
from stream_mer.errors import StreamMerError
from stream_mer.server import messages as wire
from stream_mer.server.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SIZES = ((390, 844), (844, 390), (1366, 768), (1920, 1080))
LONG = "a name that goes on and on, such as some sound cards and sound servers give to their devices, (Direct) [44100]"

STREAM = wire.StreamSetupPart(
    name="main",
    source="demo",
    kind="demo",
    device="demo",
    channels=None,
    gain_db=None,
    track=None,
    loop=False,
    lyrics="recognise",
    languages=(),
    hop_s=0.5,
    attack_s=0.3,
    release_s=1.5,
    dwell_s=4,
    hysteresis=0.1,
    min_confidence=0.4,
    spread=True,
)
STATE = wire.SetupStatePart(
    can_save=True,
    path="/home/dj/.config/stream-mer/config.toml",
    dirty=False,
    can_undo=False,
    streams=(STREAM,),
    ranges={
        "gain_db": (-60, 60),
        "hop_s": (0.1, 2),
        "attack_s": (0, 60),
        "release_s": (0, 60),
        "dwell_s": (0, 600),
        "hysteresis": (0, 1),
        "min_confidence": (0, 1),
    },
    languages=("de", "en", "fr", "ja"),
    output_kinds=(
        wire.OutputKindPart(kind="osc", title="OSC", presets=("generic", "resolume"), hint="PRESET@HOST:PORT"),
        wire.OutputKindPart(kind="sacn", title="sACN (E1.31)", presets=(), hint="a rig file, or PRESET@HOST"),
    ),
    outputs=(),
    addresses=("http://192.168.1.20:8765/#token=secret",),
    qr_svg='<svg viewBox="0 0 3 3"><path d="M0 0h1v1h1v1h1v1h-2z"/></svg>',
    first_start=False,
)
INPUTS = (
    wire.InputPart(source="mic:USB Audio", name="USB Audio", kind="mic", channels=4, default=True),
    wire.InputPart(source=f"mic:{LONG}", name=LONG, kind="mic", channels=2),
    wire.InputPart(source="monitor", name="Monitor of HDMI", kind="monitor", channels=2),
    wire.InputPart(source="demo", name="demo", kind="demo", in_use=True),
)


class Desk:
    """Carries out set-up requests on a state of its own, and keeps them."""

    def __init__(self) -> None:
        self.state = STATE
        self.before: list[wire.SetupStatePart] = []
        self.requests: list[wire.Setup] = []
        self.clients: list[Any] = []

    @property
    def actions(self) -> list[str]:
        return [request.action for request in self.requests]

    def change(self, **fields: Any) -> None:
        self.before.append(self.state)
        self.state = msgspec.structs.replace(self.state, dirty=True, can_undo=True, **fields)

    def tell(self, **part: Any) -> None:
        for client in self.clients:
            client.send(wire.SetupUpdate(**part))

    async def handle(self, request: wire.Setup, client: Any) -> wire.SetupPart | None:
        self.requests.append(request)
        match request.action:
            case "get" if client not in self.clients:
                self.clients.append(client)
            case "inputs":
                return wire.SetupPart(inputs=INPUTS)
            case "watch_inputs":
                self.watch(client)
                return None
            case "preview":
                path, diff = str(self.state.path), "[serve]\n- hop = 0.5\n+ hop = 0.25\n"
                return wire.SetupPart(preview=wire.PreviewPart(path=path, diff=diff, notes=("--hop wins",)))
            case "save":
                self.state = msgspec.structs.replace(self.state, dirty=False)
            case "undo":
                self.state = self.before.pop()
            case _:
                self.carry_out(request)
        return wire.SetupPart(state=self.state)

    def carry_out(self, request: wire.Setup) -> None:
        match request.action:
            case "apply":
                changes = msgspec.to_builtins(request.changes)
                if changes.get("source") == "/nowhere.flac":
                    raise StreamMerError("there is no file /nowhere.flac; " + "a long explanation follows, " * 12)
                if changes.get("channels") == "9":
                    raise StreamMerError("channels 9: the device has 4")
                self.change(streams=(msgspec.structs.replace(self.state.streams[0], **changes),))
            case "add_output":
                if "@" not in request.output.spec:
                    raise StreamMerError(f"no preset is called {request.output.spec!r}")
                made = wire.OutputPart(
                    id=f"o{len(self.requests)}",
                    kind=request.output.kind,
                    spec=request.output.spec,
                    name=f"{request.output.kind} {request.output.spec}",
                    stream="main",
                    up=True,
                    sent=0,
                    refused=0,
                    skipped=0,
                    last_error=None,
                )
                self.change(outputs=(*self.state.outputs, made))
            case "remove_output":
                self.change(outputs=tuple(one for one in self.state.outputs if one.id != request.output.id))
            case "test_output":
                outputs = tuple(msgspec.structs.replace(one, testing=True) for one in self.state.outputs)
                self.state = msgspec.structs.replace(self.state, outputs=outputs)

    def watch(self, client: Any) -> None:
        levels = [wire.InputLevelPart(source=INPUTS[0].source, rms_db=-31.5, peak_db=-12.2)]
        levels.append(wire.InputLevelPart(source=INPUTS[1].source, rms_db=None, peak_db=None, error=f"busy: {LONG}"))
        levels.append(wire.InputLevelPart(source="monitor", rms_db=-8.0, peak_db=-0.1))
        client.send(wire.SetupUpdate(levels=tuple(levels)))

    def leave(self, client: Any) -> None:
        if client in self.clients:
            self.clients.remove(client)


def served(hub, desk: Desk, **settings: Any) -> Server:
    return Server(hub, ServeSettings(port=0, close_timeout_s=1.0, **settings), setup=desk)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest_asyncio.fixture(loop_scope="session")
async def opened(hub, desk, look):
    """Open the page of a server that can be set up, and the panel on it."""
    async with served(hub, desk) as server:

        async def opened(*, panel: bool = True, **options: Any) -> Any:
            screen = await look(at=server, **options)
            await screen.page.evaluate(NOTES_STAY)
            await screen.page.wait_for_selector("#operator", state="visible")
            if panel:
                await screen.page.click("#setup-open")
                await screen.page.wait_for_selector("#setup .input .name >> text=USB Audio")
            return screen

        yield opened


NOTES_STAY = """
() => {
  // What the page takes away after some seconds stays for minutes, so that nobody comes too late to read it.
  const later = setTimeout;
  window.setTimeout = (run, ms, ...more) => later(run, ms < 3000 ? ms : 60 * ms, ...more);
}
"""


def note(label: str) -> str:
    """The line below the field with this label."""
    return f"#setup .field:has(> .label:text-is('{label}')) > .note"


async def says(screen, label: str, text: str) -> None:
    await screen.page.locator(note(label), has_text=text).wait_for()


async def chosen(screen, tab: str) -> None:
    await screen.page.get_by_role("tab", name=tab).click()


async def test_inputs_are_listed_with_their_levels(opened, desk):
    screen = await opened()
    row = screen.page.locator(".input", has_text="USB Audio")
    await row.get_by_text("-12 dB").wait_for()
    assert "default, 4 channels" in await row.inner_text()
    meter = row.locator(".meter")
    assert await meter.get_attribute("aria-valuenow") == "-12.2"
    assert await meter.evaluate("(one) => one.style.getPropertyValue('--peak')") == "79.7%"
    await screen.page.locator(".input", has_text="HDMI").get_by_text("too loud").wait_for()
    song = screen.page.locator(".input[data-current]")
    desk.tell(levels=(wire.InputLevelPart(source="demo", rms_db=-9.0, peak_db=-0.7),))
    await song.get_by_text("-1 dB", exact=True).wait_for()  # a mastered song is not too loud
    assert "busy" in await screen.page.locator(".input[data-failed]").inner_text()
    assert await screen.page.locator(".input[data-current] .name").inner_text() == "demo"
    assert await screen.page.locator(".input input:checked").input_value() == "demo"
    await chosen(screen, "See")
    await until(lambda: [one.seconds for one in desk.requests if one.action == "watch_inputs"][-1] == 0)
    assert screen.complaints == []


async def test_an_input_is_chosen_and_a_refusal_is_shown_where_it_belongs(opened, desk):
    screen = await opened()
    page = screen.page
    await page.locator(".input", has_text="USB Audio").click()
    assert desk.actions.count("apply") == 0, "a touch alone changes nothing on the air"
    await page.get_by_role("textbox", name="Channels").fill("9")
    await page.get_by_role("button", name="Listen to it").click()
    await says(screen, "Channels", "Channels 9: the device has 4.")
    assert await page.get_by_role("textbox", name="Channels").get_attribute("aria-invalid") == "true"
    await page.get_by_role("textbox", name="Channels").fill("3,4")
    await page.get_by_label("Gain", exact=True).fill("77")
    await page.get_by_role("button", name="Listen to it").click()
    await says(screen, "Gain", "A number from -60 to 60 dB.")
    await page.get_by_label("Gain", exact=True).fill("-3")
    await page.get_by_role("button", name="Listen to it").click()
    await says(screen, "Input", "It listens to this now.")
    last = [one for one in desk.requests if one.action == "apply"][-1]
    changes = msgspec.to_builtins(last.changes)
    assert changes == {"source": "mic:USB Audio", "channels": "3,4", "gain_db": -3}
    await page.locator(".input", has_text="HDMI").click()
    assert await page.get_by_role("textbox", name="Channels").input_value() == "", "another one starts anew"
    await page.locator(".input", has_text="USB Audio").click()
    assert await page.get_by_role("textbox", name="Channels").input_value() == "3,4"
    await page.get_by_role("textbox", name="File on the server").fill("/nowhere.flac")
    await page.get_by_role("button", name="Listen to it").click()
    await says(screen, "Input", "There is no file /nowhere.flac")
    assert (await page.locator("#setup .status").inner_text()) == "Not saved"
    assert screen.complaints == []


async def test_values_are_set_at_once_and_a_wrong_one_is_not_sent(opened, desk):
    screen = await opened()
    page = screen.page
    await chosen(screen, "See")
    hop = page.get_by_label("Hop", exact=True)
    await hop.fill("7")
    await hop.press("Enter")
    await says(screen, "Hop", "A number from 0.1 to 2 s.")
    assert "apply" not in desk.actions
    await hop.fill("0.25")
    await hop.press("Enter")
    await says(screen, "Hop", "Done.")
    more = page.get_by_role("button", name="Dwell: more")
    await more.evaluate("(one) => [1, 2, 3].forEach(() => one.click())")
    await says(screen, "Dwell", "Done.")
    assert desk.state.streams[0].dwell_s == 5.5
    assert desk.actions.count("apply") == 2, "steps in a row are one change"
    await page.get_by_label("Languages that are sung").select_option("fr")
    await page.get_by_role("button", name="Remove French").wait_for()
    assert desk.state.streams[0].languages == ("fr",)
    await page.locator("#setup-see").get_by_text("Off").click()
    await says(screen, "Sung lyrics", "Done.")
    await page.locator("#setup-see").get_by_text("Raw", exact=True).click()
    await says(screen, "Values for outputs", "Done.")
    assert (desk.state.streams[0].hop_s, desk.state.streams[0].lyrics, desk.state.streams[0].spread) == (
        0.25,
        "off",
        False,
    )
    await page.get_by_role("button", name="Undo").click()
    await screen.until("() => document.querySelector('#setup-see [value=true]').checked")
    assert screen.complaints == []


async def test_outputs_are_added_tested_and_removed_and_their_health_is_shown(opened, desk):
    screen = await opened()
    page = screen.page
    await chosen(screen, "Send")
    await page.get_by_label("Where to").fill("resolum")
    await page.get_by_label("Where to").press("Enter")
    await says(screen, "Where to", "No preset is called")
    await page.get_by_label("Preset").select_option("resolume")
    await page.get_by_label("Where to").fill("resolume@192.168.1.5:7000")  # the preset counts once
    await page.get_by_label("Where to").press("Enter")
    row = page.locator(".output", has_text="resolume@192.168.1.5:7000")
    await row.wait_for()
    (made,) = desk.state.outputs
    refused = msgspec.structs.replace(made, up=False, sent=12, refused=3, last_error="no route to host")
    desk.tell(outputs=(refused,))
    await row.get_by_text("sent 12 · refused 3 · skipped 0").wait_for()
    await row.get_by_text("no route to host").wait_for()
    await row.get_by_role("button", name="Test").click()
    await row.get_by_role("button", name="Test").get_by_text("Testing").wait_for()
    await screen.stop_clock()  # the question is withdrawn after some seconds
    await row.get_by_role("button", name="Remove").click()
    assert "remove_output" not in desk.actions, "one touch removes nothing"
    await row.get_by_text("Sure?").click()
    await page.clock.resume()
    await row.wait_for(state="detached")
    assert desk.state.outputs == ()
    assert screen.complaints == []


async def test_the_change_of_the_file_is_shown_before_it_is_saved(opened, desk):
    screen = await opened()
    page = screen.page
    await page.get_by_role("button", name="Save").click()
    await page.locator(".diff ins", has_text="+ hop = 0.25").wait_for()
    assert await page.locator(".diff del").inner_text() == "- hop = 0.5\n"
    assert await page.locator(".remarks").inner_text() == "--hop wins"
    assert "save" not in desk.actions
    await page.locator("#setup-save").get_by_role("button", name="Save").click()
    await page.locator("#setup-hear").wait_for()
    assert "save" in desk.actions
    await screen.text_is("#setup .status", "Saved")
    await chosen(screen, "Other devices")
    await page.get_by_text("http://192.168.1.20:8765/#token=secret").wait_for()
    loaded = "() => document.querySelector('#setup .code').naturalWidth > 0"
    await screen.until(loaded)
    assert screen.complaints == [], "the code breaks no policy"


async def test_viewers_see_nothing_of_it(hub, desk, look):
    desk.state = msgspec.structs.replace(STATE, first_start=True)
    async with served(hub, desk, operator_token="the desk's secret") as server:  # noqa: S106
        screen = await look(at=server)
        await screen.text_is(".lights", "live")
        for selector in ("#setup-open", "#operator", "#setup"):
            assert not await screen.visible(selector)
        loaded = await screen.page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
        assert not [name for name in loaded if "setup" in name], "they do not even load it"
        assert desk.requests == []
        await screen.page.click("#help-open")
        await screen.page.fill("#operator-token", "the desk's secret")
        await screen.page.press("#operator-token", "Enter")
        await screen.page.wait_for_selector("#setup[data-guide]")


async def test_the_first_start_is_a_guide_that_comes_once(opened, desk, flow):
    desk.state = msgspec.structs.replace(STATE, first_start=True)
    screen = await opened(panel=False)
    page = screen.page
    await page.wait_for_selector("#setup[data-guide]")
    assert await page.locator("#setup .tabs button:visible").all_inner_texts() == ["1 Hear", "2 See", "3 Send"]
    await page.locator(".input .name", has_text="USB Audio").wait_for()
    await page.get_by_role("button", name="Next").click()
    async with flow():
        await page.locator(".live", has_text="happy, valence +0.42, arousal +0.30").wait_for()
    await page.get_by_role("button", name="Next").click()
    assert await page.get_by_role("tab", selected=True).inner_text() == "3 Send"
    await page.get_by_role("button", name="Finish").click()
    await page.wait_for_selector("#setup", state="hidden")
    await page.reload()
    await page.wait_for_selector("#operator", state="visible")
    await page.click("#setup-open")
    await page.wait_for_selector("#setup:not([data-guide])")
    assert screen.complaints == []


MOVED = """
() => {
  const parts = ["main > *", "header *", "#setup > *", "#setup footer *", "#setup .field > *:not(.note)"];
  const place = (one) => Object.values(one.getBoundingClientRect().toJSON()).map(Math.round).join();
  const name = (one, i) => `${i} ${one.tagName} ${one.id} ${one.className}`;
  return Object.fromEntries([...document.querySelectorAll(parts)].map((one, i) => [name(one, i), place(one)]));
}
"""
SMALL = """
() => [...document.querySelectorAll("#setup :is(button, select, input, .choice label)")]
  .filter((one) => one.checkVisibility({ opacityProperty: true }) && one.type !== "radio")
  .filter((one) => { const { width, height } = one.getBoundingClientRect(); return width < 43.9 || height < 43.9; })
  .map((one) => one.outerHTML)
"""
OUTSIDE = """
() => [...document.querySelectorAll("#setup *")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().width > 0)
  .filter((one) => { const { left, right } = one.getBoundingClientRect(); return left < -1 || right > innerWidth + 1; })
  .map((one) => one.outerHTML)
"""


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_nothing_moves_and_a_finger_hits_everything(opened, desk, size):
    width, height = size
    screen = await opened(panel=False, viewport={"width": width, "height": height}, has_touch=width < 900)
    page = screen.page
    behind = (
        "() => [...document.querySelectorAll('main > *')].map((one) => JSON.stringify(one.getBoundingClientRect()))"
    )
    before = await page.evaluate(behind)
    await page.click("#setup-open")
    await page.locator(".input .name", has_text="USB Audio").wait_for()
    assert await page.evaluate(behind) == before, "the page behind stays as it is"
    for tab in ("Hear", "See", "Send", "Other devices"):
        await chosen(screen, tab)
        assert await page.evaluate(SMALL) == []
        assert await page.evaluate(OUTSIDE) == []
    await chosen(screen, "Hear")
    await page.locator(".input", has_text="File or address").locator("input[type=text]").fill("/nowhere.flac")
    await page.get_by_role("button", name="Listen to it").scroll_into_view_if_needed()
    places = await page.evaluate(MOVED)
    await page.get_by_role("button", name="Listen to it").click()
    await says(screen, "Input", "a long explanation")
    assert await page.evaluate(MOVED) == places, "an error moves nothing"
    await chosen(screen, "See")
    places = await page.evaluate(MOVED)
    streams = (msgspec.structs.replace(STREAM, languages=("de", "en", "fr", "ja"), hop_s=1.25),)
    desk.state = msgspec.structs.replace(STATE, streams=streams, dirty=True, can_save=False, can_undo=True)
    desk.tell(state=desk.state)
    await page.get_by_role("button", name="Remove Japanese").wait_for()
    assert await page.evaluate(MOVED) == places, "nor does a state"
    assert screen.complaints == []


async def test_a_lost_connection_is_said_and_made_good(hub, desk, look):
    async with served(hub, desk) as server:
        screen = await look(at=server)
        await screen.page.click("#setup-open")
        await screen.page.locator(".input .name", has_text="USB Audio").wait_for()
        port = server.port
    await screen.text_is("#setup .status", "No connection to the server")
    await chosen(screen, "See")
    await screen.page.get_by_role("button", name="Dwell: more").click()
    await says(screen, "Dwell", "There is no connection")
    desk.state = msgspec.structs.replace(STATE, dirty=True)
    async with Server(hub, ServeSettings(port=port, close_timeout_s=1.0), setup=desk):
        await screen.text_is("#setup .status", "Not saved")


async def test_it_is_used_by_keys_alone(opened, desk):
    screen = await opened(panel=False)
    page = screen.page
    await page.focus("#setup-open")
    await page.keyboard.press("Enter")
    await page.locator(".input .name", has_text="USB Audio").wait_for()
    focused = "() => document.activeElement.textContent"
    assert await page.evaluate(focused) == "Hear"
    await page.keyboard.press("ArrowRight")
    assert await page.evaluate(focused) == "See"
    await page.keyboard.press("b")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("#setup", state="hidden")
    assert await page.evaluate("() => document.activeElement.id") == "setup-open"
    assert desk.actions.count("apply") == 0


class Receiver:
    """Counts the datagrams that come to a port."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.addresses: list[bytes] = []
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.addresses.append(self.socket.recv(65536).partition(b"\0")[0])


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.socket.close()


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder for the user's settings, without any yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("STREAM_MER_CONFIG", raising=False)
    return tmp_path


@pytest.mark.timeout(600)  # it loads the models
async def test_a_real_show_is_set_up_while_frames_go_on(look, started, tiny_model, own_folder, receiver):
    song = own_folder / "another song.ogg"
    song.write_bytes((resources.files("stream_mer") / "demo" / "demo.ogg").read_bytes())
    served = started("-m", "stream_mer", "serve", "--port", 0, "--no-lyrics", "--model", tiny_model)
    screen = await look(at=SimpleNamespace(page_url=served.word_after("page")))
    page = screen.page
    await page.evaluate(NOTES_STAY)
    await page.wait_for_selector("#setup[data-guide]")
    await page.locator(".input[data-current]", has_text="demo").wait_for()
    await page.get_by_role("textbox", name="File on the server").fill(str(song))
    await page.get_by_role("button", name="Listen to it").click()
    await page.locator(".input[data-current]", has_text="another song").wait_for()
    await screen.text_is("#source b", "live")
    await page.get_by_role("button", name="Next").click()
    await page.locator(".live", has_text="valence").wait_for()
    hop = page.get_by_label("Hop", exact=True)
    await hop.fill("0.25")
    await hop.press("Enter")
    await says(screen, "Hop", "Done.")
    await screen.state_is("live")
    await page.get_by_role("button", name="Next").click()
    await page.get_by_label("Where to").fill(f"127.0.0.1:{receiver.port}")
    await page.get_by_role("button", name="Add", exact=True).click()
    row = page.locator(".output", has_text=str(receiver.port))
    await row.locator(".counts", has_text=re.compile("sent [1-9]")).wait_for()
    await until(lambda: any(b"valence" in one for one in receiver.addresses))
    await page.get_by_role("button", name="Save").click()
    await page.locator(".diff ins", has_text="hop = 0.25").wait_for()
    await page.locator("#setup-save").get_by_role("button", name="Save").click()
    await page.wait_for_selector("#setup", state="hidden")
    (file,) = own_folder.rglob("config.toml")
    saved = tomllib.loads(file.read_text())["serve"]
    assert (saved["hop"], saved["osc"]) == (0.25, f"127.0.0.1:{receiver.port}")
    assert str(song) in saved["source"]
    await page.click("#setup-open")
    await chosen(screen, "Send")
    await page.get_by_role("button", name="Undo").click()
    await row.wait_for(state="detached")
    await screen.text_is("#setup .status", "Not saved")
    assert screen.complaints == []
