"""The overlay: nothing but what is asked for on nothing at all, and nothing that is old."""

import io
from dataclasses import replace

import pytest

from stream_mer.types import ControlCommand
from tools.examples import FRAME, LINE, STATUS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ALL = "category,values,bars,clusters,plane,timeline,lyrics,held"
DARK = "() => Number(getComputedStyle(document.querySelector('main')).opacity) === 0"
LIT = "() => Number(getComputedStyle(document.querySelector('main')).opacity) === 1"


async def alphas(screen, **clip) -> set[int]:
    """Return the alphas in a screenshot without a ground."""
    image = pytest.importorskip("PIL.Image")
    picture = image.open(io.BytesIO(await screen.page.screenshot(omit_background=True, **clip)))
    return set(picture.convert("RGBA").getchannel("A").tobytes())


async def test_only_what_is_shown_covers_the_picture_behind(look, flow):
    screen = await look("overlay?show=category", viewport={"width": 640, "height": 360})
    async with flow():
        await screen.until(LIT)
        assert await alphas(screen, clip={"x": 0, "y": 0, "width": 640, "height": 200}) == {0}
        box = await screen.page.locator("#category").bounding_box()
        word = await alphas(screen, clip=box)
    assert max(word) > 240, "the letters are solid, but for their soft edges"
    assert min(word) < 128, "between the letters the picture shows"
    assert await screen.page.locator("[data-part]:not([hidden])").count() == 1
    assert screen.complaints == []


async def test_a_colour_behind_and_a_colour_of_the_text(look, flow):
    screen = await look("overlay?show=category&text=ffe08a&back=00000080", viewport={"width": 640, "height": 360})
    async with flow():
        await screen.until(LIT)
        part = await screen.page.locator(".category").bounding_box()
        inside = {"x": part["x"] + part["width"] - 12, "y": part["y"] + 12, "width": 4, "height": 4}
        assert await alphas(screen, clip=inside) == {128}
    colour = await screen.page.locator("#category").evaluate("one => getComputedStyle(one).color")
    assert colour == "rgb(255, 224, 138)"


async def test_everything_can_be_shown_and_is_what_was_sent(look, hub):
    screen = await look(f"overlay?show={ALL}&lines=1", viewport={"width": 1280, "height": 1600})
    sink = hub.sink("main")
    sink.publish(replace(FRAME, hold="override"))
    sink.publish(replace(LINE, segment=1, text="the line before", t0=38.0, t1=40.0))
    sink.publish(replace(LINE, segment=2, t0=40.0, t1=42.0))
    await screen.text_is("#category", "happy")
    await screen.text_is("#lines", LINE.text)
    assert await screen.page.locator("#lines li").count() == 1
    await screen.text_is("#held", "overridden")
    await screen.text_is("#valence", "+0.42")
    await screen.point_is_at(FRAME.valence, FRAME.arousal)
    shown = await screen.page.eval_on_selector_all(
        "[data-part]", "all => all.filter(one => one.offsetHeight > 0).length"
    )
    assert shown == len(ALL.split(","))
    assert screen.complaints == []


async def test_all_of_it_is_in_the_picture_and_stands_still_while_words_come_and_go(look, hub, flow):
    screen = await look(f"overlay?show={ALL}&zoom=0.8", viewport={"width": 1920, "height": 1080})
    edges = (
        "() => [...document.querySelectorAll('[data-part]:not(.words)')].map(one => one.getBoundingClientRect())"
        ".filter(box => box.height > 0).map(box => [box.left, box.top, box.right, box.bottom].map(Math.round))"
    )
    sink = hub.sink("main")
    async with flow():
        await screen.until(LIT)
        sink.publish(replace(LINE, segment=90, t0=29.0, t1=1000.0, text="short"))
        await screen.text_is("#lines", "short")
        before = await screen.page.evaluate(edges)
        sink.publish(replace(LINE, segment=91, t0=29.5, t1=1000.0, text="longer than all of them " * 4))
        await screen.text_is("#lines", "longer")
        after = await screen.page.evaluate(edges)
    assert len(before) == 6, "category, values, both kinds of bars, plane, timeline"
    for left, top, right, bottom in before + after:
        assert 0 <= left < right <= 1920
        assert 0 <= top < bottom <= 1080
    assert [(left, right) for left, _, right, _ in before] == [(left, right) for left, _, right, _ in after]


@pytest.mark.parametrize("size", [(1280, 360), (640, 200), (1920, 1080), (400, 800)])
async def test_category_and_words_are_in_the_picture_of_any_size(look, hub, size):
    screen = await look("overlay", viewport={"width": size[0], "height": size[1]})
    hub.sink("main").publish(FRAME)
    hub.sink("main").publish(LINE)
    await screen.text_is("#lines", LINE.text)
    for part in ("#category", "#lines .settled"):
        box = await screen.page.locator(part).bounding_box()
        assert min(box["width"], box["height"]) > 10, part
        assert 0 <= box["x"] < box["x"] + box["width"] <= size[0], part
        assert 0 <= box["y"] < box["y"] + box["height"] <= size[1], part


async def test_what_it_does_not_understand_it_says_with_what_is_possible(look):
    screen = await look("overlay?show=banana&at=nowhere&zoom=fat&lines=&color=red&text=reddish&stream=hall")
    for told in (
        "show=banana is unknown; choose from category, values, bars",
        "at=nowhere is unknown; choose from top-left",
        "zoom=fat must be a number from 0.2 to 10",
        "lines= must be a number from 1 to 4",
        "color is unknown; there is show, at, zoom",
        "text=reddish must be a colour",
        "stream=hall does not exist; choose from main",
    ):
        await screen.text_is("#trouble", told)
    assert screen.complaints == []


async def test_nothing_old_is_shown(look, hub, flow, server):
    screen = await look("overlay")
    sink = hub.sink("main")
    await screen.until(DARK)
    async with flow():
        await screen.until(LIT)
        hub.control(ControlCommand(action="blackout"))
        await screen.until(DARK)
        hub.control(ControlCommand(action="resume"))
        await screen.until(LIT)
    await screen.state_is("stale")
    await screen.until(DARK)
    async with flow():
        await screen.until(LIT)
        sink.publish(replace(STATUS, source="ended"))
        await screen.until(DARK)
        sink.publish(STATUS)
        await screen.until(LIT)
        await server.stop()
        await screen.until(DARK)


async def test_unknown_is_never_on_air(look, hub, frame):
    screen = await look()  # any page of the server, to set its clock before the overlay starts
    await screen.page.clock.install()
    await screen.page.goto(screen.page.url + "overlay?show=category,values")
    await screen.stop_clock()
    opacity = "() => Number(getComputedStyle(document.querySelector('.category')).opacity)"
    sink = hub.sink("main")
    sink.publish(frame(0.0, 0.0, category="unknown"))
    await screen.text_is("#valence", "+0.00")
    assert await screen.page.locator("#category").text_content() == "…"
    await screen.page.clock.run_for(1000)
    await screen.until(f"() => ({opacity})() === 0")
    sink.publish(frame(0.5, 0.4, category="happy"))
    await screen.text_is("#category", "happy")
    sink.publish(frame(0.1, 0.0, category="unknown"))
    await screen.text_is("#valence", "+0.10")
    assert await screen.page.locator("#category").text_content() == "happy"
    await screen.page.clock.run_for(1000)
    await screen.until(f"() => ({opacity})() === 1")
    await screen.page.clock.run_for(9000)
    await screen.until(f"() => ({opacity})() === 0")
    sink.publish(frame(-0.5, -0.4, category="sad"))
    await screen.text_is("#category", "sad")
    await screen.page.clock.run_for(1000)
    await screen.until(f"() => ({opacity})() === 1")


async def test_a_sung_line_leaves_when_it_is_over(look, hub):
    screen = await look()  # any page of the server, to set its clock before the overlay starts
    await screen.page.clock.install()
    await screen.page.goto(screen.page.url + "overlay")
    await screen.stop_clock()
    hub.sink("main").publish(FRAME)
    hub.sink("main").publish(replace(LINE, t0=20.0, t1=22.0, segment=1, text="long gone"))
    hub.sink("main").publish(replace(LINE, t0=40.0, t1=42.0, segment=2))
    await screen.text_is("#lines", LINE.text)
    assert await screen.page.locator("#lines li").count() == 1
    await screen.page.clock.run_for(10_000)
    await screen.until("() => document.querySelectorAll('#lines li').length === 0")
