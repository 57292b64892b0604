"""docs/OBS.md in headless Chromium: every address in it, every parameter, and the page that switches scenes."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from helpers import free_port

import stream_mer.server
from stream_mer.server.hub import Hub
from tools.examples import CHANGE, FRAME

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "OBS.md").read_text()
ADDRESSES = re.findall(r"`http://127\.0\.0\.1:8765(/overlay[^`]*)`", TEXT)
OVERLAY_JS = Path(stream_mer.server.__file__).parent / "web" / "overlay.js"
PATIENCE_MS = 60_000


@pytest_asyncio.fixture(loop_scope="session")
async def hub():
    """A stream that goes on: what is older than five seconds, the overlay does not show."""
    hub = Hub()

    async def publish() -> None:
        while True:
            hub.sink("main").publish(FRAME)
            await asyncio.sleep(0.2)

    task = asyncio.create_task(publish())
    yield hub
    task.cancel()


async def opened(browser, address: str):
    page = await browser.new_page(viewport={"width": 1280, "height": 720})
    await page.goto(address)
    await page.wait_for_selector('html[data-state="live"]', timeout=PATIENCE_MS)
    return page


async def test_every_address_of_the_document_works_and_is_transparent(browser, hub, serving):
    assert len(ADDRESSES) > 5
    async with serving(hub) as server:
        for address in ADDRESSES:
            page = await opened(browser, server.page_url.rstrip("/") + address)
            assert await page.locator("#trouble").is_hidden(), address
            wanted = re.search(r"show=([\w,]+)", address)
            shown = set(wanted[1].split(",")) if wanted else {"category", "lyrics"}
            parts = await page.eval_on_selector_all(
                "[data-part]:not([hidden])", "all => all.map((one) => one.dataset.part)"
            )
            assert set(parts) == shown, address
            background = "getComputedStyle({}).backgroundColor"
            for element in ("document.body", "document.documentElement"):
                assert await page.evaluate(background.format(element)) == "rgba(0, 0, 0, 0)", address
            await page.close()


async def test_it_stands_where_it_is_asked_to(browser, hub, serving):
    async with serving(hub) as server:
        for at in ("top-left", "bottom-right"):
            page = await opened(browser, f"{server.page_url}overlay?show=category&at={at}")
            box = await page.locator("#category").bounding_box()
            assert (box["y"] + box["height"] < 360) is at.startswith("top")
            assert (box["x"] > 640) is at.endswith("right")
            await page.close()


async def test_the_document_lists_what_the_overlay_reads():
    read = set(re.findall(r'(?:asked\.get|choice|number|colour)\("(\w+)"', OVERLAY_JS.read_text()))
    told = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert read == told
    for what in re.findall(r"^const (?:PARTS|PLACES) = \[(.+)\];$", OVERLAY_JS.read_text(), re.MULTILINE):
        for value in re.findall(r'"([\w-]+)"', what):
            assert f"`{value}`" in TEXT


def saved(folder: Path, name: str, port: int) -> str:
    """Save a page of the document for this port, and return its address."""
    text = (DOCS / "recipes" / name).read_text()
    (folder / name).write_text(text.replace("127.0.0.1:8765", f"127.0.0.1:{port}"))
    return (folder / name).as_uri()


async def test_an_overlay_that_is_opened_before_the_server_comes_to_life_with_it(browser, hub, serving, tmp_path):
    port = free_port()
    page = await browser.new_page()
    await page.goto(saved(tmp_path, "obs_overlay.html", port))
    await page.wait_for_timeout(1500)  # the first attempt has failed
    async with serving(hub, port=port):
        await page.wait_for_selector('html[data-state="live"]', timeout=PATIENCE_MS)
        assert page.url.startswith(f"http://127.0.0.1:{port}/overlay")


async def test_scenes_follow_the_music(browser, hub, serving, tmp_path):
    hub.sink("main").publish(CHANGE)
    port = free_port()
    page = await browser.new_page()
    await page.add_init_script("window.switched = []; window.obsstudio = { setCurrentScene: (n) => switched.push(n) };")
    await page.goto(saved(tmp_path, "obs_scenes.html", port))
    await page.wait_for_function(
        "document.getElementById('trouble').textContent === 'no cues: the server does not run yet'", timeout=PATIENCE_MS
    )
    async with serving(hub, port=port, allowed_origins=("null",)) as server:
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while hub.statistics().clients == 0:  # noqa: ASYNC110 - counted from the moment that it is to get something
                await asyncio.sleep(0.01)
        for after in ("sad", "unknown", "happy"):
            hub.sink("main").publish(replace(CHANGE, after=after))
        await page.wait_for_function("switched.length >= 2", timeout=PATIENCE_MS)
        assert await page.evaluate("switched") == ["Blue", "Bright"], "an old cue must not switch, nor unknown"
        await server.stop()
        await page.wait_for_function(
            "document.getElementById('trouble').textContent === 'no cues: the server is shutting down'",
            timeout=PATIENCE_MS,
        )
