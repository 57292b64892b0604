"""The sketches of docs/VISUALS.md, drawn by the real p5.js and three.js in headless Chromium."""

import asyncio
import contextlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import PATIENCE_S, free_port

from tools.examples import FRAME, LEVELS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
WIDTH, HEIGHT = 400, 300


@pytest.fixture(scope="module")
def libraries(tmp_path_factory, npm_install):
    """A folder with p5 and three, as ``npm install p5@1 three`` leaves them."""
    folder = tmp_path_factory.mktemp("sketches")
    npm_install(folder, "p5@1", "three@0")
    return folder


@pytest.fixture
def address(libraries, served_folder):
    return served_folder(libraries)


@pytest.fixture
def sketch(browser, libraries, address, serving, hub):
    """Opens a sketch of the document before there is a server for it, and fails where it complains."""

    @contextlib.asynccontextmanager
    async def opened(name):
        port = free_port()
        text = (RECIPES / name).read_text()
        assert "127.0.0.1:8765" in text
        (libraries / name).write_text(text.replace("127.0.0.1:8765", f"127.0.0.1:{port}"))
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{address}/{name}")
        await page.wait_for_selector("canvas", timeout=1000 * PATIENCE_S)
        async with serving(hub, port=port):
            yield page
            assert complaints == []

    return opened


async def until_pixel(page, at, is_right):
    """Look at a pixel of what is drawn until it is as it should be."""
    image = pytest.importorskip("PIL.Image")
    seen = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not seen or not is_right(*seen[-1]):
                picture = image.open(io.BytesIO(await page.screenshot(timeout=1000 * PATIENCE_S)))
                seen.append(picture.convert("RGB").getpixel(at))
    except TimeoutError:
        pytest.fail(f"the pixel at {at} became {seen[-5:]}")


async def test_p5(sketch, hub):
    async with sketch("p5.html") as page:
        hub.sink("main").publish(replace(FRAME, valence=-0.5, arousal=-0.5, category="sad"))
        hub.sink("main").publish(LEVELS)
        there = (round(0.3 * WIDTH), round(0.7 * HEIGHT))
        await until_pixel(page, there, lambda red, _, blue: blue > 100 and blue > 2 * red)
        hub.sink("main").publish(replace(FRAME, valence=-0.5, arousal=-0.5, category="sad", hold="blackout"))
        await until_pixel(page, there, lambda *colour: max(colour) < 20)


async def test_three(sketch, hub):
    middle = (WIDTH // 2, HEIGHT // 2)
    async with sketch("three.html") as page:
        hub.sink("main").publish(replace(FRAME, valence=0.9, arousal=0.5))
        hub.sink("main").publish(LEVELS)
        await until_pixel(page, middle, lambda red, _, blue: red > 80 and red > 2 * blue)
        hub.sink("main").publish(replace(FRAME, valence=-1.0, arousal=0.5))
        await until_pixel(page, middle, lambda red, _, blue: blue > 80 and blue > 2 * red)
        hub.sink("main").publish(replace(FRAME, valence=-1.0, arousal=0.5, hold="blackout"))
        await until_pixel(page, middle, lambda *colour: max(colour) < 20)
