"""The page: what it shows is what was sent, and it says so when that is old."""

from dataclasses import replace

import pytest
from helpers import until

from stream_mer.config import ServeSettings
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo
from tools.examples import FRAME, LEVELS, LINE, STATUS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SIZES = [(1920, 1080), (1366, 768), (360, 800), (3840, 2160)]
HOSTILE = '<img src="x" onerror="document.title = \'broken into\'"><b>hold me</b>'


async def test_the_point_moves_and_bars_and_values_follow(look, hub, frame):
    screen = await look()
    sink = hub.sink("main")
    sink.publish(frame(0.5, 0.4))
    await screen.point_is_at(0.5, 0.4)
    assert max(await screen.colour_on_plane(-0.6, -0.5)) < 240
    await screen.text_is("#category", "happy")
    await screen.text_is("#confidence", "61%")
    await screen.text_is("#source", "live")
    await screen.text_is("#latency", "28 ms")

    probs = {"happy": 0.05, "angry": 0.1, "sad": 0.7, "relaxed": 0.15}
    sink.publish(frame(-0.6, -0.5, category="sad", confidence=0.7, probs=probs))
    await screen.point_is_at(-0.6, -0.5)
    assert max(await screen.colour_on_plane(0.5, 0.4)) < 240, "the point has left"
    await screen.text_is("#category", "sad")
    await screen.text_is("#valence", "−0.60")
    bars = await screen.page.eval_on_selector_all(
        "#categories .bar",
        "rows => rows.map(row => [row.dataset.name, row.querySelector('b').textContent,"
        " row.hasAttribute('data-top'), row.querySelector('[role=meter]').getAttribute('aria-valuenow')])",
    )
    assert bars == [
        ["happy", "5%", False, "0.05"],
        ["angry", "10%", False, "0.10"],
        ["sad", "70%", True, "0.70"],
        ["relaxed", "15%", False, "0.15"],
    ]
    assert await screen.page.locator("#clusters .bar").count() == 5
    assert "Valence −0.60, arousal −0.50: sad" in await screen.page.locator("#plane").get_attribute("aria-label")
    assert screen.complaints == []


async def test_lyrics_appear_as_they_come_and_settle(look, hub):
    screen = await look()
    sink = hub.sink("main")
    sink.publish(FRAME)
    await screen.text_is("#category", "happy")
    sink.publish(replace(LINE, segment=0, text="first line"))
    sink.publish(replace(LINE, segment=1, revision=0, committed=False, text="and the mourning", settled_words=2))
    await screen.text_is("#lines li:last-child", "and the mourning")
    await screen.text_is("#lines li:last-child .settled", "and the")
    slants = "(item) => [getComputedStyle(item).fontStyle, getComputedStyle(item.querySelector('.settled')).fontStyle]"
    assert await screen.page.locator("#lines li:last-child").evaluate(slants) == ["italic", "normal"]
    assert await screen.page.locator("#lines li:last-child[data-committed]").count() == 0
    sink.publish(replace(LINE, segment=1, revision=1, text="and the morning"))
    await screen.page.wait_for_selector("#lines li:last-child[data-committed]")
    await screen.text_is("#lines li:last-child .settled", "and the morning")
    assert await screen.page.locator("#lines li").all_text_contents() == ["first line", "and the morning"]
    for segment in range(2, 7):
        sink.publish(replace(LINE, segment=segment, text=f"line {segment}"))
    await screen.text_is("#lines li:last-child", "line 6")
    assert await screen.page.locator("#lines li").all_text_contents() == ["line 3", "line 4", "line 5", "line 6"]
    assert screen.complaints == []


async def test_html_in_lyrics_and_names_is_shown_and_not_obeyed(look, hub):
    screen = await look()
    hostile = hub.sink(HOSTILE)
    hostile.publish(replace(STATUS, device=HOSTILE))
    hub.sink("main").publish(replace(LINE, text=HOSTILE))
    hub.sink("main").publish(FRAME)
    await screen.text_is("#lines li:last-child", HOSTILE)
    await screen.text_is("#streams", HOSTILE)
    await screen.page.select_option("#streams", HOSTILE)
    assert await screen.page.locator("img, #lines b").count() == 0
    assert await screen.page.title() != "broken into"
    assert screen.complaints == []


async def test_it_says_when_the_server_is_gone_and_comes_back_with_it(look, server, serving, hub, flow):
    screen = await look()
    hub.sink("main").publish(LINE)
    async with flow():
        await screen.state_is("live")
    port = server.port
    await server.stop()
    await screen.state_is("lost")
    await screen.text_is("#banner", "Connection lost")
    await screen.text_is("#banner", "These values are")
    assert await screen.visible("#banner")
    new_hub = Hub()
    async with serving(new_hub, port=port):
        await screen.text_is("#banner", "There is no stream yet")
        assert await screen.page.locator("#lines li").count() == 0, "what a server sang that is no more"
        assert await screen.page.locator("#category").text_content() == "…"
        assert await screen.page.locator("[data-top]").count() == 0
        new_hub.sink("main").publish(replace(FRAME, category="sad"))
        await screen.text_is("#category", "sad")


async def test_it_says_when_the_news_are_old_or_the_stream_has_ended(look, hub, flow):
    screen = await look()
    async with flow():
        await screen.state_is("live")
    await screen.state_is("stale")
    await screen.text_is("#banner", "No news from the stream. These values are")
    hub.sink("main").publish(replace(STATUS, source="ended"))
    await screen.state_is("ended")
    await screen.text_is("#banner", "The stream has ended")
    assert screen.complaints == []


async def test_degraded_values_and_the_input_are_reported(look, hub):
    screen = await look()
    raw = replace(FRAME.raw, degraded=("no_lyrics", "late"), modalities=("audio",), text_age_s=None)
    hub.sink("main").publish(replace(FRAME, raw=raw, category="unknown"))
    await screen.text_is("#degraded", "no lyrics · late")
    await screen.text_is("#confidence", "not sure enough")
    await screen.text_is("#category", "unknown")
    await screen.text_is("#text-age", "none")
    hub.sink("main").publish(replace(STATUS, clipping=True, lost_samples=19_200))
    await screen.text_is("#source b", "too loud")
    title = await screen.page.get_attribute("#source", "title")
    assert title.startswith(STATUS.device)
    assert "between -6 and -1 dBFS" in title
    assert title.endswith("1.2 s lost so far")
    hub.sink("main").publish(replace(STATUS, clipping=False))
    await screen.text_is("#source b", "live")
    await until(lambda: hub.is_wanted("main", "levels"))
    hub.sink("main").publish(replace(LEVELS, peak_db=-30.0))
    await screen.until("() => document.getElementById('level').style.getPropertyValue('--share') === '0.50'")


async def test_another_stream_can_be_chosen(look, hub, frame):
    screen = await look()
    hub.sink("main").publish(FRAME)
    await screen.text_is("#category", "happy")
    assert not await screen.visible("#picker")
    hub.sink("foyer").publish(replace(LINE, text="somewhere else"))
    hub.sink("foyer").publish(frame(-0.5, 0.5, category="angry"))
    await screen.page.wait_for_selector("#picker", state="visible")
    assert await screen.page.locator("#category").text_content() == "happy"
    await screen.page.select_option("#streams", "foyer")
    await screen.text_is("#category", "angry")
    await screen.text_is("#lines", "somewhere else")
    await screen.point_is_at(-0.5, 0.5)
    assert screen.complaints == []


@pytest.mark.parametrize("how", ["typed", "in the address"])
async def test_with_a_token_it_asks_at_the_door(look, hub, serving, how):
    hub.sink("main").publish(FRAME)
    async with serving(hub, token="open-sesame-open") as server:  # noqa: S106
        if how == "in the address":
            screen = await look("#token=open-sesame-open", at=server)
        else:
            screen = await look(at=server)
            for attempt, told in (("wrong", ""), ("open-sesame-open", "Wrong token")):
                await screen.page.wait_for_selector("#auth", state="visible")
                await screen.text_is("#auth-why", told)
                await screen.page.fill("#token", attempt)
                await screen.page.press("#token", "Enter")
        await screen.text_is("#category", "happy")
        assert not await screen.visible("#auth")
        assert screen.page.url == server.page_url, "a projection would show the token"
        await screen.page.reload()
        await screen.text_is("#category", "happy")


async def test_it_fits_the_window(look, hub):
    screen = await look()
    hub.sink("main").publish(FRAME)
    await screen.text_is("#category", "happy")
    for segment in range(3):
        hub.sink("main").publish(replace(LINE, segment=segment, text="a line that is rather long " * 3))
    await screen.text_is("#lines", "a line that is rather long")
    for width, height in SIZES:
        await screen.page.set_viewport_size({"width": width, "height": height})
        await screen.point_is_at(FRAME.valence, FRAME.arousal)
        overflow = await screen.page.evaluate(
            """() => [...document.querySelectorAll("header *, main *")]
              .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest("#lines"))
              .map(one => one.outerHTML.slice(0, 80))"""
        )
        assert overflow == []
        assert await screen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        newest = await screen.page.locator("#lines li:last-child").bounding_box()
        assert newest["x"] + newest["width"] <= width
        assert width < height or newest["y"] + newest["height"] <= height
        if width > height:
            assert await screen.page.evaluate("document.documentElement.scrollHeight <= innerHeight + 1")
    assert screen.complaints == []


async def test_f_is_for_the_stage_view_in_fullscreen(look):
    screen = await look()
    await screen.page.keyboard.press("f")
    await screen.until("() => document.fullscreenElement !== null")
    await screen.until("() => document.documentElement.dataset.view === 'stage'")
    await screen.page.keyboard.press("f")
    await screen.until("() => document.fullscreenElement === null && !document.documentElement.dataset.view")


async def test_with_reduced_motion_point_and_bars_are_there_at_once(look, hub, frame):
    screen = await look(reduced_motion="reduce")
    hub.sink("main").publish(frame(0.5, 0.5))
    await screen.point_is_at(0.5, 0.5)
    hub.sink("main").publish(frame(-0.5, -0.5))
    await screen.point_is_at(-0.5, -0.5)
    await screen.until(
        """() => {
          const track = document.querySelector("[data-name=happy] .track");
          const [whole, part] = [track, track.firstChild].map((one) => one.getBoundingClientRect());
          return Math.abs((part.right - whole.left) / whole.width - 0.6127) < 0.01;
        }"""
    )
    moved = await screen.page.evaluate("getComputedStyle(document.querySelector('.fill')).transitionProperty")
    assert moved == "opacity", "what only fades may stay: without it the page would flash"


async def test_a_stream_that_is_not_there_is_said_and_another_can_be_chosen(look, hub):
    hub.sink("foyer").publish(replace(FRAME, category="sad"))
    screen = await look("?stream=hall")
    await screen.text_is("#banner", "There is no stream hall here. Choose from: main, foyer.")
    await screen.page.select_option("#streams", "foyer")
    await screen.text_is("#category", "sad")
    assert screen.page.url.endswith("?stream=foyer"), "a reload shows the same"
    await screen.page.focus("#streams")
    await screen.page.keyboard.press("s")
    assert screen.page.url.endswith("?stream=foyer"), "the key means the picker, where the focus is"
    await screen.page.locator("#streams").blur()
    await screen.page.keyboard.press("s")
    assert screen.page.url.endswith("?stream=main")


async def test_the_chosen_stream_comes_back_after_the_server_was_started_anew(look, server, serving, hub):
    hub.sink("foyer").publish(FRAME)
    screen = await look("?stream=foyer")
    await screen.text_is("#category", "happy")
    port = server.port
    await server.stop()
    await screen.state_is("lost")
    new_hub = Hub()
    for name in ("main", "foyer"):
        new_hub.sink(name).publish(replace(STATUS, device=f"the {name}"))
    async with serving(new_hub, port=port):
        await screen.until("() => document.getElementById('source').title.startsWith('the foyer')")


async def test_a_hidden_page_does_nothing_and_catches_up(look, hub, frame):
    screen = await look()
    sink = hub.sink("main")
    sink.publish(frame(0.5, 0.5))
    await screen.text_is("#category", "happy")
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await screen.page.evaluate(hide, True)
    sink.publish(replace(LINE, text="sung unseen"))
    sink.publish(frame(-0.5, -0.5, category="sad", index=85, t1=43.0))
    hub.sink("foyer").publish(FRAME)  # which shows in the picker, and so that the others have come
    await screen.text_is("#streams", "foyer")
    assert await screen.page.locator("#category").text_content() == "happy"
    assert await screen.page.locator("#lines li").count() == 0
    await screen.page.evaluate(hide, False)
    await screen.text_is("#category", "sad")
    await screen.text_is("#lines", "sung unseen")
    await screen.point_is_at(-0.5, -0.5)
    assert screen.complaints == []


async def test_words_are_masked_in_the_overlay_and_on_a_page_that_is_to_and_the_title_shows(look, hub):
    said = replace(LINE, text="oh shit, no", words=(), masked="oh s***, no")
    async with (
        Server(hub, ServeSettings(port=0, close_timeout_s=0.5), ServerInfo(masks_page=True)) as masking,
        Server(hub, ServeSettings(port=0, close_timeout_s=0.5)) as plain,
    ):
        for server, path, text in (
            (masking, "", "oh s***, no"),
            (masking, "overlay?show=lyrics", "oh s***, no"),
            (plain, "", "oh shit, no"),
            (plain, "overlay?show=lyrics", "oh s***, no"),
        ):
            screen = await look(path, at=server)
            hub.sink("main").publish(FRAME)
            hub.sink("main").publish(said)
            await screen.text_is("#lines", text)
            if not path:
                hub.sink("main").publish(STATUS)
                await screen.text_is("#song", "Björk – Jóga")
            assert screen.complaints == []
            await screen.page.close()
