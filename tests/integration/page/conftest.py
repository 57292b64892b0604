"""The page in a real browser, against a real server fed with known events."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from stream_mer.server.server import Server
from stream_mer.types import EmotionFrame, Interval
from tools.examples import FRAME

if TYPE_CHECKING:
    from playwright.async_api import Page

PATIENCE_MS = 60_000
"""How long the page may take to show what it must; it says nothing of how fast it is."""

COLOUR_AT = """
([id, x, y]) => {
  // The colour of a canvas at a place, given as shares of its width and height: [red, green, blue].
  const canvas = document.getElementById(id);
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, -Math.round(x * canvas.width), -Math.round(y * canvas.height));
  return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
"""
SPAN = 0.99
"""How much of the canvas the plane takes."""


@dataclass(slots=True)
class Screen:
    """A page that is looked at, and all that it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def text_is(self, selector: str, text: str) -> None:
        """Wait until an element contains a text."""
        await self.until("([at, text]) => document.querySelector(at)?.textContent.includes(text)", [selector, text])

    async def label_has(self, element_id: str, text: str) -> None:
        """Wait until the label of an element contains a text."""
        await self.until("([id, text]) => document.getElementById(id).ariaLabel.includes(text)", [element_id, text])

    async def state_is(self, state: str) -> None:
        await self.until("state => document.documentElement.dataset.state === state", state)

    async def point_is_at(self, valence: float, arousal: float) -> None:
        """Wait until the white point lies there on the plane."""
        await self.until(f"place => ({COLOUR_AT})(place).every(part => part > 240)", on_plane(valence, arousal))

    async def colour_on_plane(self, valence: float, arousal: float) -> list[int]:
        return await self.page.evaluate(COLOUR_AT, on_plane(valence, arousal))

    async def colour_at(self, canvas: str, x: float, y: float) -> list[int]:
        """Return the colour of a canvas at a place, given as shares of its width and height."""
        return await self.page.evaluate(COLOUR_AT, [canvas, x, y])

    async def stop_clock(self) -> None:
        """Let time pass on the page only where ``page.clock.run_for`` says so; ``page.clock.resume`` ends it.

        Only after ``page.clock.install``. What shows for some seconds then stays, however slow the machine is.
        """
        await self.page.clock.pause_at(await self.page.evaluate("Date.now() + 100"))

    async def until(self, condition: str, arg: Any = None) -> None:
        await self.page.wait_for_function(condition, arg=arg, timeout=PATIENCE_MS)

    async def visible(self, selector: str) -> bool:
        return await self.page.locator(selector).is_visible()


def on_plane(valence: float, arousal: float) -> list[Any]:
    return ["plane", (1 + valence * SPAN) / 2, (1 - arousal * SPAN) / 2]


@pytest_asyncio.fixture(loop_scope="session")
async def server(hub, serving):
    async with serving(hub) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(hub, serving):
    """A server that wants a token of operators, and nothing of viewers."""
    async with serving(hub, operator_token="the desk's secret") as server:  # noqa: S106
        yield server


@pytest.fixture
def look(browser, server):
    """Open the page, or what ``path`` names, and keep what it complains of."""

    async def opened(path: str = "", *, at: Server = server, **options: Any) -> Screen:
        screen = Screen(await browser.new_page(**options))
        screen.page.set_default_timeout(PATIENCE_MS)
        screen.page.on("console", lambda said: screen.complaints.append(said.text) if said.type != "log" else None)
        screen.page.on("pageerror", lambda error: screen.complaints.append(str(error)))
        await screen.page.goto(at.page_url + path)
        return screen

    return opened


@pytest.fixture
def flow(hub):
    """Publish frames of a stream, one after the other, for as long as the block lasts: a single one grows old."""

    @contextlib.asynccontextmanager
    async def flowing(stream: str = "main") -> AsyncIterator[None]:
        async def publish() -> None:
            for index in itertools.count(100):
                hub.sink(stream).publish(replace(FRAME, index=index, t1=0.2 * index + 30))
                await asyncio.sleep(0.2)

        task = asyncio.create_task(publish())
        try:
            yield
        finally:
            task.cancel()

    return flowing


@pytest.fixture
def frame():
    """Make a frame with these values; others as in the example."""

    def made(valence: float, arousal: float, **fields: Any) -> EmotionFrame:
        interval = Interval(valence=(valence - 0.2, valence + 0.2), arousal=(arousal - 0.2, arousal + 0.2), level=0.8)
        raw = replace(FRAME.raw, valence=valence, arousal=arousal, interval=interval)
        return replace(FRAME, valence=valence, arousal=arousal, raw=raw, **fields)

    return made
