"""Freeze, blackout and override from the page: by button, by key, by a touch of the plane; and who may."""

import pytest
from helpers import FakeClock

from stream_mer.types import ControlCommand, EmotionFrame, OverrideValues, StreamEvent
from tools.examples import FRAME

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


NOTE_BOXES = """() => {
  // Take down where each word was last written on the plane.
  window.boxes = {};
  const fillText = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    const { actualBoundingBoxLeft: left, actualBoundingBoxRight: right, actualBoundingBoxAscent: up,
      actualBoundingBoxDescent: down } = this.measureText(text);
    if (text.length > 2 && !/[0-9]/.test(text)) window.boxes[text] = [x - left, y - up, x + right, y + down];
    fillText.call(this, text, x, y);
  };
  document.getElementById("plane").style.width = "99%"; // so that its labels are written anew
}"""


class Published:
    """The newest frame that the hub published."""

    def __init__(self) -> None:
        self.frame: EmotionFrame | None = None
        self.stream = ""

    def on_event(self, stream: str, event: StreamEvent) -> None:
        if isinstance(event, EmotionFrame):
            self.stream, self.frame = stream, event


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def published(hub, clock, monkeypatch):
    monkeypatch.setattr(hub, "_clock", clock)
    published = Published()
    hub.subscribe(published.on_event)
    hub.sink("main").publish(FRAME)
    return published


async def pressed(screen):
    buttons = screen.page.locator("#operator button[aria-pressed=true]")
    return await buttons.evaluate_all("all => all.map(one => one.dataset.action)")


@pytest.mark.parametrize("how", ["button", "key"])
async def test_freeze_and_blackout_hold_for_everybody_and_let_go(look, published, how):
    desk, hall = await look(), await look("?tools=off")
    await desk.page.wait_for_selector("#operator", state="visible")

    async def do(action, key):
        await (desk.page.click(f"[data-action={action}]") if how == "button" else desk.page.keyboard.press(key))

    await do("freeze", "z")
    for screen in (desk, hall):
        await screen.text_is("#held", "Frozen")
    assert published.frame.hold == "freeze"
    await desk.until("() => document.querySelector('[data-action=freeze]').ariaPressed === 'true'")
    await do("blackout", "b")
    for screen in (desk, hall):
        await screen.text_is("#held", "Blackout")
    assert await pressed(desk) == ["blackout"]
    dark = "() => Number(getComputedStyle(document.querySelector('.plane')).opacity) < 0.05"
    await hall.until(dark)
    assert await hall.visible("#held"), "a blackout is told all the same"
    await do("blackout", "b")
    for screen in (desk, hall):
        await screen.page.wait_for_selector("#held", state="hidden")
    await do("freeze", "z")
    await desk.text_is("#held", "Frozen")
    await do("resume", "l")
    await desk.page.wait_for_selector("#held", state="hidden")
    assert published.frame.hold is None
    assert desk.complaints + hall.complaints == []


async def test_a_touch_of_the_plane_overrides_for_the_time_chosen(look, published):
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    box = await screen.page.locator("#plane").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    half = 0.99 * box["width"] / 2
    await screen.page.mouse.click(*middle)
    assert published.frame.hold is None, "nobody had asked for an override"
    await screen.page.select_option("#ttl", "120")
    await screen.page.click("[data-action=override]")
    await screen.page.mouse.click(middle[0] - 0.6 * half, middle[1] - 0.4 * half)
    await screen.text_is("#held", "Overridden")
    assert (published.frame.hold, published.frame.category) == ("override", "angry")
    assert published.frame.valence == pytest.approx(-0.6, abs=0.02)
    assert published.frame.arousal == pytest.approx(0.4, abs=0.02)
    assert published.frame.hold_left_s == pytest.approx(120.0)
    await screen.point_is_at(published.frame.valence, published.frame.arousal)
    await screen.until("() => /^1:[0-5][0-9] left$/.test(document.getElementById('held-left').textContent)")

    await screen.page.mouse.move(*middle)
    await screen.page.mouse.down()
    await screen.page.mouse.move(middle[0] + 2 * half, middle[1] + 0.5 * half, steps=20)
    await screen.page.mouse.up()
    await screen.text_is("#valence", "+1.00")
    await screen.text_is("#arousal", "−0.50")
    await screen.page.keyboard.press("Escape")
    await screen.page.wait_for_selector("#aim", state="hidden")
    assert published.frame.hold == "override", "leaving the plane keeps what was chosen"
    await screen.page.mouse.click(*middle)
    await screen.page.click("[data-action=resume]")
    await screen.page.wait_for_selector("#held", state="hidden")
    assert published.frame.valence == FRAME.valence
    assert screen.complaints == []


async def test_how_long_an_override_lasts_can_be_chosen_afterwards(look, published):
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    await screen.page.keyboard.press("o")
    await screen.page.keyboard.press("ArrowUp")
    await screen.until("() => document.getElementById('held-left').textContent.startsWith('0:')")
    await screen.page.select_option("#ttl", "600")
    await screen.until("() => /^9:|^10:/.test(document.getElementById('held-left').textContent)")
    await screen.page.keyboard.press("Escape")
    await screen.page.select_option("#ttl", "30")
    await screen.page.keyboard.press("z")
    await screen.text_is("#held", "Frozen")
    assert published.frame.hold == "freeze"


async def test_a_list_that_was_chosen_from_by_hand_takes_no_letters(look, published):
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    lasts = screen.page.locator("#ttl")
    await lasts.focus()
    await screen.page.keyboard.press("ArrowDown")
    assert await lasts.evaluate("(one) => one === document.activeElement"), "who chooses by key goes on choosing"
    await lasts.dispatch_event("pointerdown")
    await lasts.select_option("600")
    await screen.until("() => document.activeElement === document.body")
    await screen.page.keyboard.press("b")
    await screen.text_is("#held", "Blackout")
    assert published.frame.hold == "blackout"


async def test_arrow_keys_override_step_by_step(look, published, hub, frame):
    hub.sink("main").publish(frame(0.0, 0.9))
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    await screen.text_is("#arousal", "+0.90")
    await screen.page.keyboard.press("ArrowLeft")
    await screen.page.keyboard.press("o")
    await screen.page.wait_for_selector("#aim", state="visible")
    for key in ["ArrowRight"] * 4 + ["ArrowUp"] * 5:
        await screen.page.keyboard.press(key)
    await screen.text_is("#valence", "+0.20")
    await screen.text_is("#arousal", "+1.00")
    assert published.frame.hold == "override"


async def test_the_word_about_the_plane_is_not_where_the_hand_goes(look, hub, frame):
    screen = await look()
    hub.sink("main").publish(frame(0.5, 0.05))
    await screen.text_is("#valence", "+0.50")
    await screen.page.wait_for_selector("#operator", state="visible")
    await screen.page.keyboard.press("o")
    place = "() => (({ top, bottom }) => (top + bottom) / 2)(document.getElementById('aim').getBoundingClientRect())"
    plane = await screen.page.locator("#plane").bounding_box()
    middle = plane["y"] + plane["height"] / 2
    assert await screen.page.evaluate(place) > middle
    for _ in range(2):
        await screen.page.keyboard.press("ArrowDown")
    assert await screen.page.evaluate(place) < middle, "the hand goes below"
    await screen.page.keyboard.press("ArrowUp")
    await screen.page.keyboard.press("ArrowUp")
    assert await screen.page.evaluate(place) > middle


async def test_an_override_ends_by_itself_and_says_when(look, hub, published, frame, clock):
    screen = await look()
    hub.control(ControlCommand(action="override", override=OverrideValues(valence=-0.5, arousal=-0.5, ttl_s=3600)))
    await screen.text_is("#held", "Overridden")
    await screen.until("() => /^(60|5[0-9]):[0-5][0-9] left$/.test(document.getElementById('held-left').textContent)")

    # Frames go on, and the first one after its end is live again.
    clock.now += 3599
    hub.sink("main").publish(frame(0.5, 0.5, index=100, t1=50.0))
    assert published.frame.hold == "override"
    clock.now += 2
    hub.sink("main").publish(frame(0.5, 0.5, index=101, t1=50.5))
    assert published.frame.hold is None
    await screen.page.wait_for_selector("#held", state="hidden")
    await screen.point_is_at(0.5, 0.5)


async def test_a_viewer_sees_what_is_held_and_has_no_tools(look, hub, published, guarded):
    screen = await look(at=guarded)
    await screen.text_is("#category", "happy")
    for key in ("b", "z", "o"):
        await screen.page.keyboard.press(key)
    assert not await screen.visible("#operator")
    assert not await screen.visible("#aim")
    hub.control(ControlCommand(action="freeze"))
    await screen.text_is("#held", "Frozen")
    await screen.page.keyboard.press("l")
    await screen.page.keyboard.press("?")
    keys = await screen.page.locator("#keys kbd").all_text_contents()
    assert keys == ["?", "f", "t"], "the list has what works here"
    assert published.frame.hold == "freeze"


async def test_a_viewer_becomes_an_operator_with_the_token(look, flow, published, guarded):
    screen = await look(at=guarded)
    await screen.text_is("#category", "happy")
    await screen.page.click("#help-open")
    await screen.page.fill("#operator-token", "a guess")
    await screen.page.press("#operator-token", "Enter")
    await screen.page.wait_for_selector("#auth", state="visible")
    await screen.page.click("#auth-cancel")
    async with flow():
        await screen.state_is("live")
    assert not await screen.visible("#operator")
    await screen.page.keyboard.press("?")
    await screen.page.fill("#operator-token", "the desk's secret")
    await screen.page.press("#operator-token", "Enter")
    await screen.page.wait_for_selector("#operator", state="visible")
    await screen.page.keyboard.press("b")
    await screen.text_is("#held", "Blackout")
    assert published.frame.hold == "blackout"


async def test_letters_can_be_switched_off_and_stay_so(look, published):
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    await screen.page.keyboard.press("?")
    keys = await screen.page.locator("#keys kbd").all_text_contents()
    assert keys == ["z", "b", "o", "l", "a", "?", "f", "t"]
    await screen.page.keyboard.press("b")
    await screen.page.uncheck("#keys-on")
    await screen.page.keyboard.press("Escape")
    for _ in range(2):
        await screen.page.keyboard.press("b")
        await screen.page.click("[data-action=freeze]")
        await screen.text_is("#held", "Frozen")
        await screen.page.click("[data-action=freeze]")
        await screen.page.wait_for_selector("#held", state="hidden")
        await screen.page.reload()
        await screen.page.wait_for_selector("#operator", state="visible")
    assert published.frame.hold is None


async def test_what_is_held_elsewhere_is_told_here(look, hub, published):
    hub.sink("foyer").publish(FRAME)
    screen = await look("?stream=main")
    await screen.text_is("#category", "happy")
    hub.control(ControlCommand(action="blackout", streams=("foyer",)))
    await screen.text_is("#elsewhere", "held: foyer")
    await screen.text_is("#streams", "foyer (blackout)")
    assert not await screen.visible("#held")
    await screen.page.keyboard.press("z")
    await screen.text_is("#held", "Frozen")
    assert published.stream == "main", "a hand on what is shown, and on nothing else"
    hub.control(ControlCommand(action="resume"))
    await screen.until("() => document.getElementById('elsewhere').textContent === ''")


async def test_commands_act_on_the_shown_stream_or_by_choice_on_all(look, hub):
    for stream in ("main", "foyer"):
        hub.sink(stream).publish(FRAME)
    holds = {}
    hub.subscribe(lambda stream, event: isinstance(event, EmotionFrame) and holds.update({stream: event.hold}))
    screen = await look("?stream=main")
    await screen.page.wait_for_selector("#operator", state="visible")
    await screen.page.keyboard.press("b")
    await screen.text_is("#held", "Blackout")
    assert holds == {"main": "blackout"}
    await screen.page.keyboard.press("l")
    await screen.page.wait_for_selector("#held", state="hidden")
    await screen.page.keyboard.press("a")
    assert await screen.page.locator("#scope option:checked").text_content() == "on all streams"
    await screen.page.click("[data-action=freeze]")
    await screen.text_is("#elsewhere", "foyer")
    assert holds == {"main": "freeze", "foyer": "freeze"}
    await screen.page.select_option("#scope", "shown")
    await screen.page.click("[data-action=resume]")
    await screen.page.wait_for_selector("#held", state="hidden")
    assert holds == {"main": None, "foyer": "freeze"}
    assert await screen.page.locator("[data-action=resume]").is_disabled()
    await screen.page.select_option("#scope", "all")
    await screen.page.click("[data-action=resume]", timeout=10_000)
    await screen.until("() => document.getElementById('elsewhere').textContent === ''")
    assert holds == {"main": None, "foyer": None}


async def test_the_word_beside_the_live_point_covers_no_label(look, hub, frame):
    hub.sink("main").publish(FRAME)
    screen = await look()
    await screen.page.evaluate(NOTE_BOXES)
    hub.control(ControlCommand(action="override", override=OverrideValues(valence=-0.5, arousal=-0.5)))
    for values in ((0.6, 0.04), (0.95, 0.05), (0.0, 0.95), (-0.9, 0.9)):
        hub.sink("main").publish(frame(*values))
        await screen.until("() => 'music' in window.boxes")
        await screen.page.wait_for_timeout(2000)  # the point glides there
        await screen.page.evaluate("() => dispatchEvent(new Event('resize'))")
        boxes = await screen.page.evaluate("() => window.boxes")
        left, top, right, bottom = boxes.pop("music")
        for name, (left_, top_, right_, bottom_) in boxes.items():
            apart = left >= right_ or left_ >= right or top >= bottom_ or top_ >= bottom
            assert apart, (name, values)


async def test_on_a_phone_nobody_is_told_of_keys(look):
    phone = await look(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    await phone.page.wait_for_selector("#operator", state="visible")
    await phone.page.click("[data-action=override]")
    told = await phone.page.locator("#aim").inner_text()
    assert told.startswith("Touch the plane")
    assert "Esc" not in told
    assert "keys" not in told


async def test_a_command_that_the_server_refuses_is_said(look, published, monkeypatch):
    screen = await look()
    await screen.page.wait_for_selector("#operator", state="visible")
    # Roles do not change while somebody is connected; a page that believes it may what it may not must say so.
    monkeypatch.setattr("stream_mer.server.session.Session._require_role", lambda _: "viewer")
    await screen.page.keyboard.press("b")
    await screen.text_is("#banner", "only operators may control")
    assert published.frame.hold is None
