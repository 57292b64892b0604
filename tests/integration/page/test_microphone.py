"""The page sends this device's microphone, which is Chromium's own: a beep a second."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import pytest_asyncio
from helpers import PATIENCE_S, until

from stream_mer.config import ServeSettings
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.sources.remote import RemoteSource
from tools.examples import FRAME

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 1000 * PATIENCE_S
FAKE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium_options):
    """A page of a browser with a microphone."""
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as running:
        options = {**chromium_options, "args": [*chromium_options.get("args", ()), *FAKE]}
        browser = await running.chromium.launch(**options)
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page
        await browser.close()


class Heard:
    def __init__(self) -> None:
        self.source = RemoteSource("desk")
        self.peaks: list[float] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for chunk in self.source.chunks():
            self.peaks.append(float(np.abs(chunk.samples).max()))


def server(hub: Hub, heard: Heard, **settings: str) -> Server:
    for name in ("main", "desk"):
        hub.sink(name).publish(FRAME)
    settings_of = ServeSettings(port=0, close_timeout_s=0.5, **settings)
    return Server(hub, settings_of, inlets={heard.source.name: heard.source})


async def test_an_operator_sends_the_microphone_until_it_is_stopped(page, hub):
    heard = Heard()
    async with server(hub, heard) as serving:
        await page.goto(serving.page_url)
        await page.click("#help-open")
        await page.click("#microphone-on")
        await page.wait_for_function(
            "() => document.getElementById('microphone-state').textContent === 'sending to desk'"
        )
        await until(lambda: max(heard.peaks, default=0.0) > 0.05)
        assert heard.source.owned
        await page.click("#microphone-on")
        await until(lambda: not heard.source.owned)
        assert await page.locator("#microphone-on").text_content() == "Use this device's microphone"


async def test_a_sender_that_is_there_is_not_replaced_and_the_page_says_so(page, hub):
    heard = Heard()
    async with server(hub, heard) as serving:
        heard.source.claim(rate_hz=16_000, sample_format="s16le", channels=1)
        await page.goto(serving.page_url)
        await page.click("#help-open")
        await page.click("#microphone-on")
        said = "() => document.getElementById('microphone-state').textContent.includes('another client')"
        await page.wait_for_function(said)
        assert await page.locator("#microphone-on").get_attribute("aria-pressed") == "false"


async def test_it_is_offered_to_operators_alone_and_only_where_a_stream_takes_audio(page, hub):
    async with server(hub, Heard(), operator_token="the desk's secret") as serving:  # noqa: S106
        await page.goto(serving.page_url)
        await page.wait_for_selector("html[data-state=live], html[data-state=stale]")
        await page.click("#help-open")
        assert not await page.locator("#microphone").is_visible()
    async with Server(hub, ServeSettings(port=0, close_timeout_s=0.5)) as serving:
        await page.goto(serving.page_url)
        await page.wait_for_selector("#operator:not([hidden])")
        await page.click("#help-open")
        assert not await page.locator("#microphone").is_visible()
