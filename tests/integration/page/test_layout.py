"""The page keeps still: at every size, in every state, each control and light has its own place."""

import json
from dataclasses import replace

import pytest

from stream_mer.types import ControlCommand, OverrideValues
from tools.examples import FRAME, LINE, STATUS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SIZES = [(360, 780), (390, 844), (844, 390), (1024, 768), (1366, 768), (1440, 900), (1920, 1080), (3840, 2160)]
STATES = [
    "live",
    "unknown",
    "no music",
    "reconnecting",
    "frozen",
    "blackout",
    "override",
    "long words",
    "no connection",
]
TARGET_PX = 44

DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

PLACES = """() => {
  // Where everything is that must not move: [left, top, right, bottom] on the page; of texts, where they begin.
  const controls =
    "button, select, #level, #plane, #timeline, .lights li, .headline, .bar, #degraded, .words, .messages";
  const places = {};
  for (const wanted of [controls, ".lights b, .values dd"]) {
    document.querySelectorAll(wanted).forEach((one, i) => {
      if (!one.checkVisibility() || one.closest("dialog, #auth")) return;
      const { left, top, right, bottom } = one.getBoundingClientRect();
      const name = `${i} ${one.id || one.dataset.action || one.className || one.parentElement.id}`;
      places[name] = (wanted === controls ? [left, top, right, bottom] : [left, top]).map(Math.round);
    });
  }
  return places;
}"""

FAULTS = """(target) => {
  const faults = [];
  const shown = (one) => one.checkVisibility() && !one.closest("dialog, #auth");
  const meet = (a, b) =>
    a.left < b.right - 1 && a.right > b.left + 1 && a.top < b.bottom - 1 && a.bottom > b.top + 1;
  const { scrollWidth, scrollHeight } = document.documentElement;
  const beyond = [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.id || one.className);
  if (scrollWidth > innerWidth) faults.push(`scrolls sideways: ${scrollWidth} ${beyond}`);
  if (innerWidth > 1000 && scrollHeight > innerHeight + 1) faults.push(`scrolls: ${scrollHeight}`);
  const controls = [...document.querySelectorAll("button, select")].filter(shown);
  controls.forEach((one, i) => {
    const name = one.id || one.dataset.action;
    const box = one.getBoundingClientRect();
    if (Math.min(box.width, box.height) < target) faults.push(`${name} is ${box.width} x ${box.height}`);
    if (box.left < 0 || box.right > innerWidth + 0.5) faults.push(`${name} is beyond the edge`);
    let room = one.clientWidth - one.scrollWidth;
    if (one.matches("#operator select")) {
      const pen = new OffscreenCanvas(1, 1).getContext("2d");
      const style = getComputedStyle(one);
      pen.font = style.font;
      const longest = Math.max(...[...one.options].map((option) => pen.measureText(option.text).width));
      room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - longest;
    }
    if (room < -1) faults.push(`${name} is too narrow for its text by ${-room}`);
    for (const other of controls.slice(0, i)) {
      const together = one.closest("#operator") === other.closest("#operator"); // the page scrolls below the tools
      if (together && meet(box, other.getBoundingClientRect())) faults.push(`${name} covers ${other.id}`);
    }
  });
  for (const one of document.querySelectorAll(".lights li, .lights b, .category strong, .values dd, #held")) {
    const { scrollWidth, clientWidth } = one;
    if (shown(one) && clientWidth > 0 && scrollWidth > clientWidth + 1) {
      faults.push(`cut: ${one.textContent}, ${scrollWidth} > ${clientWidth}`);
    }
  }
  const texts = ["#category", "#valence", "#arousal", "#degraded", ".messages", "#categories", "#clusters"];
  const places = texts.map((at) => {
    const one = document.querySelector(at);
    const range = document.createRange();
    range.selectNodeContents(one);
    const clipped = getComputedStyle(one).overflow === "hidden";
    return (clipped ? one : range).getBoundingClientRect();
  });
  const sticks = getComputedStyle(document.querySelector(".messages")).position === "sticky" && scrollY > 0;
  places.forEach((a, i) => places.slice(0, i).forEach((b, k) => {
    if (meet(a, b) && !sticks) faults.push(`${texts[i]} covers ${texts[k]}`);
  }));
  return faults;
}"""


async def enter(state, screen, hub, server):
    """Bring the page into a state, and wait until it shows it."""
    sink = hub.sink("main")
    hub.control(ControlCommand(action="resume"))
    sink.publish(STATUS)
    sink.publish(replace(LINE, text="la"))
    sink.publish(FRAME)
    match state:
        case "live":
            await screen.text_is("#confidence", "61%")
        case "unknown":
            sink.publish(replace(STATUS, lyrics="lagging", lag_s=119.0, clipping=True))
            raw = replace(FRAME.raw, degraded=("lyrics_lagging", "warming_up", "audio_lost"), text_age_s=119.0)
            latency = replace(FRAME.latency, total=15_200.0)
            sink.publish(replace(FRAME, category="unknown", valence=-1.0, arousal=-1.0, raw=raw, latency=latency))
            await screen.text_is("#confidence", "not sure enough")
        case "no music":
            sink.publish(replace(STATUS, source="silent", lyrics="unavailable"))
            raw = replace(FRAME.raw, degraded=("no_music",), text_age_s=None)
            sink.publish(replace(FRAME, category="unknown", valence=0.0, arousal=0.0, raw=raw))
            await screen.text_is("#confidence", "no music")
        case "reconnecting":
            sink.publish(replace(STATUS, source="reconnecting"))
            await screen.text_is("#source b", "reconnecting")
        case "frozen" | "blackout":
            hub.control(ControlCommand(action="freeze" if state == "frozen" else "blackout"))
            await screen.page.wait_for_selector("#held", state="visible")
        case "override":
            hub.control(ControlCommand(action="override", override=OverrideValues(valence=-1, arousal=-1, ttl_s=600)))
            await screen.text_is("#held-left", "left")
        case "long words":
            for segment in range(8, 12):
                words = "supercalifragilisticexpialidocious in the morning " * segment
                sink.publish(replace(LINE, segment=segment, text=words))
            await screen.text_is("#lines li:last-child", words)
        case "no connection":
            await server.stop()
            await screen.text_is("#banner", "Connection lost")


@pytest.mark.parametrize("view", ["", "&view=stage"])
async def test_nothing_moves_in_any_state_at_any_size(look, hub, server, view):
    hub.sink("foyer").publish(FRAME)  # so that there is a choice of streams
    screen = await look(f"?stream=main{view}")
    hub.sink("main").publish(FRAME)
    await screen.text_is("#category", "happy")
    await screen.until("() => !document.getElementById('operator').hidden")
    await screen.page.evaluate("() => { document.getElementById('setup-open').hidden = false; }")  # where it may be
    before = {}
    for state in STATES:
        await enter(state, screen, hub, server)
        for width, height in SIZES:
            await screen.page.set_viewport_size({"width": width, "height": height})
            await screen.page.evaluate(
                "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            where = f"{state} at {width}x{height}"
            assert await screen.page.evaluate(FAULTS, TARGET_PX) == [], where
            places = await screen.page.evaluate(PLACES)
            assert len(places) >= (3 if view else 20), where
            first = before.setdefault((width, height), places)
            moved = {name: (first.get(name), place) for name, place in places.items() if first.get(name) != place}
            assert not moved, f"{where}: {json.dumps(moved)}"
            assert first.keys() == places.keys(), where


async def test_what_the_operator_needs_is_in_sight_on_every_screen(look, hub):
    hub.sink("main").publish(FRAME)
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    hub.control(ControlCommand(action="freeze"))
    await screen.text_is("#held", "Frozen")
    for width, height in SIZES:
        await screen.page.set_viewport_size({"width": width, "height": height})
        for to in (0, 10_000):
            await screen.page.evaluate("(to) => scrollTo(0, to)", to)
            for part in ("[data-action=blackout]", "[data-action=resume]", "#scope", "#held"):
                box = await screen.page.locator(part).bounding_box()
                assert 0 <= box["y"] < box["y"] + box["height"] <= height, (part, width, height, to)
        await screen.page.evaluate("() => scrollTo(0, 0)")
        newest, tools = [await screen.page.locator(part).bounding_box() for part in (".headline", "#operator")]
        assert newest["y"] + newest["height"] <= tools["y"] or tools["y"] + tools["height"] <= newest["y"]


async def test_without_lyrics_their_place_is_used(look, hub):
    hub.sink("main").publish(FRAME)
    screen = await look(viewport={"width": 1366, "height": 768})
    await screen.text_is("#category", "happy")
    size = "() => document.getElementById('plane').offsetHeight"
    before = await screen.page.evaluate(size)
    hub.sink("main").publish(replace(STATUS, lyrics="off"))
    await screen.page.wait_for_selector(".words", state="hidden")
    assert await screen.page.evaluate(size) > 1.2 * before
    assert await screen.page.evaluate(FAULTS, TARGET_PX) == []


async def test_the_stage_view_is_readable_from_three_metres(look, hub):
    """15 mm, an angle of 17 minutes of arc, are three times what sharp eyes need: 54 pixels of a 24 inch screen."""
    hub.sink("main").publish(FRAME)
    hub.sink("main").publish(LINE)
    screen = await look("?view=stage", viewport={"width": 1920, "height": 1080})
    await screen.text_is("#lines", LINE.text)
    for part, capital_px in (("#category", 90), ("#lines li:last-child", 54)):
        size = await screen.page.locator(part).evaluate("(one) => parseFloat(getComputedStyle(one).fontSize)")
        assert 0.7 * size >= capital_px, part
    shown = "(all) => all.filter((one) => one.checkVisibility()).map((one) => one.id || one.className)"
    hidden = ".lights, #operator, #timeline, .shares, .values, #degraded, #help-open"
    assert await screen.page.locator(hidden).evaluate_all(shown) == []
    await screen.page.click("#stage")
    await screen.page.wait_for_selector(".lights", state="visible")
    assert "view" not in screen.page.url
