"""The page in a real browser, against a real server fed with known events."""

import importlib.util
import shutil
from dataclasses import replace

import pytest
import pytest_asyncio

from stream_mer.serve.examples import FRAME, LINE, STATUS
from stream_mer.serve.hub import Hub
from stream_mer.serve.server import Server
from stream_mer.serve.settings import ServeSettings
from stream_mer.types import Interval

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000
"""How long the page may take to show what it must; it says nothing of how fast it is."""

SIZES = [(1440, 900), (360, 740), (3840, 2160)]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),  # starting a browser takes seconds: one for all
    pytest.mark.skipif(CHROMIUM is None, reason="wants Chromium: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="wants playwright: pip install 'stream-mer[dev]'"
    ),
]

HOSTILE = '<img src="x" onerror="document.title = \'broken into\'"><b>hold me</b>'

COLOUR_AT = """
([valence, arousal]) => {
  // The colour of the canvas where the point must be, as [red, green, blue].
  const canvas = document.getElementById("plane");
  const size = Math.min(canvas.width, canvas.height) * 0.99;
  const x = canvas.width / 2 + valence * size / 2, y = canvas.height / 2 - arousal * size / 2;
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, -Math.round(x), -Math.round(y));
  return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    from playwright.async_api import async_playwright  # noqa: PLC0415 - the module must import where it is missing

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium):
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest.fixture
def hub():
    hub = Hub()
    hub.sink("main").publish(STATUS)
    return hub


@pytest_asyncio.fixture(loop_scope="module")
async def server(hub):
    async with Server(hub, ServeSettings(port=0, close_timeout_s=1.0)) as server:
        yield server


async def opened(browser, url, **options):
    """Open the page; whatever it complains of is kept in ``complaints``."""
    page = await browser.new_page(**options)
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    return page, complaints


def frame(valence: float, arousal: float, **fields):
    interval = Interval(valence=(valence - 0.2, valence + 0.2), arousal=(arousal - 0.2, arousal + 0.2), level=0.8)
    return replace(FRAME, valence=valence, arousal=arousal, raw=replace(FRAME.raw, interval=interval), **fields)


async def text_is(page, selector: str, text: str) -> None:
    await page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)",
        arg=[selector, text],
        timeout=PATIENCE_MS,
    )


async def state_is(page, state: str) -> None:
    await page.wait_for_function(
        "state => document.documentElement.dataset.state === state", arg=state, timeout=PATIENCE_MS
    )


async def point_is_at(page, valence: float, arousal: float) -> None:
    await page.wait_for_function(
        f"place => ({COLOUR_AT})(place).every(part => part > 240)", arg=[valence, arousal], timeout=PATIENCE_MS
    )


async def test_the_point_moves_and_bars_and_values_follow(browser, server, hub):
    page, complaints = await opened(browser, server.page_url)
    sink = hub.sink("main")
    sink.publish(frame(0.5, 0.4))
    await point_is_at(page, 0.5, 0.4)
    assert max(await page.evaluate(COLOUR_AT, [-0.6, -0.5])) < 240
    await text_is(page, "#category", "happy")
    await text_is(page, "#confidence", "61%")
    await text_is(page, "#source", "live")
    await text_is(page, "#latency", "28 ms")

    probs = {"happy": 0.05, "angry": 0.1, "sad": 0.7, "relaxed": 0.15}
    sink.publish(frame(-0.6, -0.5, category="sad", confidence=0.7, probs=probs))
    await point_is_at(page, -0.6, -0.5)
    assert max(await page.evaluate(COLOUR_AT, [0.5, 0.4])) < 240, "the point has left"
    await text_is(page, "#category", "sad")
    await text_is(page, "#valence", "−0.60")
    bars = await page.eval_on_selector_all(
        "#categories .bar",
        "rows => rows.map(row => [row.dataset.name, row.querySelector('output').textContent,"
        " row.hasAttribute('data-top'), row.querySelector('[role=meter]').getAttribute('aria-valuenow')])",
    )
    assert bars == [
        ["happy", "5%", False, "0.05"],
        ["angry", "10%", False, "0.10"],
        ["sad", "70%", True, "0.70"],
        ["relaxed", "15%", False, "0.15"],
    ]
    assert await page.locator("#clusters .bar").count() == 5
    assert "Valence −0.60, arousal −0.50: sad" in await page.locator("#plane").get_attribute("aria-label")
    await state_is(page, "live")
    assert complaints == []


async def test_bars_are_as_long_as_they_say(browser, server, hub):
    page, _ = await opened(browser, server.page_url, reduced_motion="reduce")
    hub.sink("main").publish(FRAME)
    await page.wait_for_function(
        """() => {
          const track = document.querySelector("[data-name=happy] .track");
          const share = track.firstChild.getBoundingClientRect().width / track.getBoundingClientRect().width;
          return Math.abs(share - 0.6127) < 0.01;
        }""",
        timeout=PATIENCE_MS,
    )


async def test_lyrics_appear_as_they_come_and_settle(browser, server, hub):
    page, complaints = await opened(browser, server.page_url)
    sink = hub.sink("main")
    sink.publish(FRAME)
    await text_is(page, "#category", "happy")
    sink.publish(replace(LINE, segment=0, text="first line"))
    sink.publish(replace(LINE, segment=1, revision=0, committed=False, text="and the mourning"))
    await text_is(page, "#lines li:last-child", "and the mourning")
    assert await page.locator("#lines li:last-child[data-committed]").count() == 0
    sink.publish(replace(LINE, segment=1, revision=1, text="and the morning"))
    await page.wait_for_selector("#lines li:last-child[data-committed]", timeout=PATIENCE_MS)
    assert await page.locator("#lines li").all_text_contents() == ["first line", "and the morning"]
    for segment in range(2, 7):
        sink.publish(replace(LINE, segment=segment, text=f"line {segment}"))
    await text_is(page, "#lines li:last-child", "line 6")
    assert await page.locator("#lines li").all_text_contents() == ["line 3", "line 4", "line 5", "line 6"]
    assert complaints == []


async def test_words_that_may_still_change_are_told_apart(browser, server, hub):
    page, complaints = await opened(browser, server.page_url)
    open_line = replace(LINE, committed=False, revision=0, settled_words=3)
    hub.sink("main").publish(open_line)
    await text_is(page, "#lines li:last-child .settled", "and the morning")
    await text_is(page, "#lines li:last-child", "and the morning comes again")
    slants = "(item) => [getComputedStyle(item).fontStyle, getComputedStyle(item.querySelector('.settled')).fontStyle]"
    assert await page.locator("#lines li:last-child").evaluate(slants) == ["italic", "normal"]
    hub.sink("main").publish(replace(LINE, revision=1))
    await text_is(page, "#lines li:last-child .settled", LINE.text)
    assert complaints == []


async def test_html_in_lyrics_and_names_is_shown_and_not_obeyed(browser, server, hub):
    page, complaints = await opened(browser, server.page_url)
    hostile = hub.sink(HOSTILE)
    hostile.publish(replace(STATUS, device=HOSTILE))
    hub.sink("main").publish(replace(LINE, text=HOSTILE))
    hub.sink("main").publish(FRAME)
    await text_is(page, "#lines li:last-child", HOSTILE)
    await text_is(page, "#streams", HOSTILE)
    await page.select_option("#streams", HOSTILE)
    assert await page.locator("img, #lines b").count() == 0
    assert await page.title() != "broken into"
    assert complaints == []


async def test_it_says_when_the_server_is_gone_and_comes_back_with_it(browser, server, hub):
    page, _ = await opened(browser, server.page_url)
    hub.sink("main").publish(FRAME)
    await state_is(page, "live")
    port = server.port
    await server.stop()
    await state_is(page, "lost")
    await text_is(page, "#banner", "Connection lost")
    assert await page.locator("#banner").is_visible()
    again = Server(Hub(), ServeSettings(port=port, close_timeout_s=1.0))
    await again.start()
    try:
        await text_is(page, "#banner", "Waiting for the first frame")
    finally:
        await again.stop()


async def test_it_says_when_the_news_are_old_or_the_stream_has_ended(browser, server, hub):
    page, complaints = await opened(browser, server.page_url)
    hub.sink("main").publish(FRAME)
    await state_is(page, "live")
    await state_is(page, "stale")
    await text_is(page, "#banner", "No news for")
    hub.sink("main").publish(replace(STATUS, source="ended"))
    await state_is(page, "ended")
    await text_is(page, "#banner", "The stream has ended")
    assert complaints == []


async def test_degraded_text_and_unknown_are_said(browser, server, hub):
    page, _ = await opened(browser, server.page_url)
    raw = replace(FRAME.raw, degraded=("no_lyrics",), modalities=("audio",), text_age_s=None)
    hub.sink("main").publish(replace(FRAME, raw=raw, category="unknown", hold="freeze"))
    await text_is(page, "#degraded", "held by an operator · no lyrics")
    await text_is(page, "#category", "unknown")
    await text_is(page, "#text-age", "no text")


async def test_an_input_that_clips_is_said_at_its_light(browser, server, hub):
    page, _ = await opened(browser, server.page_url)
    hub.sink("main").publish(replace(STATUS, clipping=True, lost_samples=19_200))
    await text_is(page, "#source b", "too loud, clips")
    assert await page.get_attribute("#source", "title") == f"{STATUS.device}, 1.2 s lost so far"
    hub.sink("main").publish(replace(STATUS, clipping=False))
    await text_is(page, "#source b", "live")


async def test_another_stream_can_be_chosen(browser, server, hub):
    page, complaints = await opened(browser, server.page_url)
    hub.sink("main").publish(FRAME)
    await text_is(page, "#category", "happy")
    assert not await page.locator("#picker").is_visible()
    hub.sink("foyer").publish(replace(LINE, text="somewhere else"))
    hub.sink("foyer").publish(frame(-0.5, 0.5, category="angry"))
    await page.wait_for_selector("#picker", state="visible", timeout=PATIENCE_MS)
    assert await page.locator("#category").text_content() == "happy"
    await page.select_option("#streams", "foyer")
    await text_is(page, "#category", "angry")
    await text_is(page, "#lines", "somewhere else")
    await point_is_at(page, -0.5, 0.5)
    assert complaints == []


@pytest.mark.parametrize("how", ["typed", "in the address"])
async def test_with_a_token_it_asks_at_the_door(browser, hub, how):
    hub.sink("main").publish(FRAME)
    async with Server(hub, ServeSettings(port=0, token="sesame", close_timeout_s=1.0)) as server:  # noqa: S106
        if how == "in the address":
            page, _ = await opened(browser, f"{server.page_url}#token=sesame")
        else:
            page, _ = await opened(browser, server.page_url)
            await page.wait_for_selector("#door", state="visible", timeout=PATIENCE_MS)
            for attempt in ("wrong", "sesame"):
                await page.wait_for_selector("#door", state="visible", timeout=PATIENCE_MS)
                await page.fill("#token", attempt)
                await page.press("#token", "Enter")
        await text_is(page, "#category", "happy")
        assert not await page.locator("#door").is_visible()


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_it_fits_the_window(browser, server, hub, width, height):
    page, complaints = await opened(browser, server.page_url, viewport={"width": width, "height": height})
    hub.sink("main").publish(FRAME)
    await text_is(page, "#category", "happy")
    for segment in range(3):
        hub.sink("main").publish(replace(LINE, segment=segment, text="a line that is rather long " * 3))
    await text_is(page, "#lines", "a line that is rather long")
    await point_is_at(page, FRAME.valence, FRAME.arousal)
    overflow = await page.evaluate(
        """() => [...document.querySelectorAll("header *, main *")]
          .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
          .map(one => one.outerHTML.slice(0, 80))"""
    )
    assert overflow == []
    if width > height:
        assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight + 1")
    assert complaints == []


async def test_f_is_for_fullscreen(browser, server):
    page, _ = await opened(browser, server.page_url)
    await page.keyboard.press("f")
    await page.wait_for_function("document.fullscreenElement !== null", timeout=PATIENCE_MS)
    await page.keyboard.press("f")
    await page.wait_for_function("document.fullscreenElement === null", timeout=PATIENCE_MS)


async def test_reduced_motion_puts_the_point_there_at_once(browser, server, hub):
    page, _ = await opened(browser, server.page_url, reduced_motion="reduce")
    hub.sink("main").publish(frame(0.5, 0.5))
    await point_is_at(page, 0.5, 0.5)
    hub.sink("main").publish(frame(-0.5, -0.5))
    await point_is_at(page, -0.5, -0.5)
    shown = await page.evaluate("getComputedStyle(document.querySelector('.fill')).transitionDuration")
    assert all(float(part.strip().removesuffix("s")) <= 0.01 for part in shown.split(","))
