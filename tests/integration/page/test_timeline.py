"""The last minutes on the page: what is drawn where, and for how long."""

from dataclasses import replace

import pytest

from tools.examples import CHANGE, FRAME, LINE

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SPAN_S = 120
BAND_Y = 0.08
SAD, ANGRY, HELD = (108, 155, 245), (238, 93, 88), (255, 196, 107)


NOTE_TEXTS = """() => {
  // Take down what is written on canvases, with where it begins and ends.
  window.written = [];
  const fillText = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    window.written.push([text, x, x + this.measureText(text).width]);
    fillText.call(this, text, x, y);
  };
}"""


def publish_minutes(sink, frame, *, until_s=100, hold_from_s=1000):
    """A frame a second: sad first, then angry from 60 s on."""
    for t in range(1, until_s + 1):
        category, values = ("sad", (-0.5, -0.5)) if t < 60 else ("angry", (-0.5, 0.5))
        hold = "freeze" if t > hold_from_s else None
        sink.publish(frame(*values, category=category, index=t, t0=float(t - 1), t1=float(t), hold=hold))
        if t == 60:
            sink.publish(replace(CHANGE, t=60.0, before="sad", after="angry"))


def close_to(colour, wanted):
    return max(abs(have - want) for have, want in zip(colour, wanted, strict=True)) < 12


async def colour_at(screen, t, y, *, end_s=100, span_s=SPAN_S):
    return await screen.colour_at("timeline", 1 - (end_s - t) / span_s, y)


async def test_the_server_tells_of_the_minutes_before_the_page_was_opened(look, hub, frame):
    publish_minutes(hub.sink("main"), frame, hold_from_s=90)
    screen = await look()
    await screen.label_has("timeline", "minutes: sad 59%, angry 41%")
    assert close_to(await colour_at(screen, 30, BAND_Y), SAD)
    assert close_to(await colour_at(screen, 58.5, BAND_Y), SAD)
    assert close_to(await colour_at(screen, 59.5, BAND_Y), ANGRY)
    assert close_to(await colour_at(screen, 60.0, 0.4), ANGRY), "the mark of the cue crosses the curves"
    assert not close_to(await colour_at(screen, 75.0, 0.4), ANGRY)
    assert await colour_at(screen, -5, BAND_Y) == [0, 0, 0], "nobody knows of a time before the first frame"
    assert close_to(await colour_at(screen, 95, 0.005), HELD), "what an operator held is marked"
    assert not close_to(await colour_at(screen, 85, 0.005), HELD)
    assert screen.complaints == []


async def test_where_frames_are_missing_nothing_is_drawn(look, hub, frame):
    sink = hub.sink("main")
    for t in (10, 11, 12, 40, 41, 42):
        sink.publish(frame(-0.5, -0.5, category="sad", index=t, t1=float(t)))
    screen = await look()
    await screen.label_has("timeline", "sad 100%")
    assert close_to(await colour_at(screen, 11.5, BAND_Y, end_s=42), SAD)
    assert await colour_at(screen, 25, BAND_Y, end_s=42) == [0, 0, 0]
    assert close_to(await colour_at(screen, 41.5, BAND_Y, end_s=42), SAD)


async def test_t_shows_more_or_less_of_the_past_and_a_reload_as_much(look, hub, frame):
    publish_minutes(hub.sink("main"), frame)
    screen = await look("?minutes=1")
    await screen.label_has("timeline", "minute: angry")
    assert close_to(await colour_at(screen, 58.5, BAND_Y, span_s=60), SAD)
    await screen.text_is("#span", "last minute")
    await screen.page.keyboard.press("t")
    await screen.text_is("#span", "last 2 minutes")
    assert screen.page.url.endswith("?minutes=2")
    await screen.page.click("#span")
    await screen.text_is("#span", "last 5 minutes")
    await screen.label_has("timeline", "5 minutes")
    assert close_to(await colour_at(screen, 58.5, BAND_Y, span_s=300), SAD)

    screen = await look("?minutes=lots")
    await screen.text_is("#banner", "minutes=lots must be a number from 0.5 to 10")
    await screen.text_is("#span", "last 2 minutes")


async def test_words_stand_where_they_were_sung(look, hub, frame):
    sink = hub.sink("main")
    publish_minutes(sink, frame)
    screen = await look()
    await screen.label_has("timeline", "angry")
    ink = """([from, to]) => {
      const canvas = document.getElementById("timeline");
      const top = Math.round(0.7 * canvas.height);
      const [left, right] = [from, to].map((share) => Math.round(share * canvas.width));
      const { data } = canvas.getContext("2d").getImageData(left, top, right - left, canvas.height - top);
      return data.some((value, i) => i % 4 === 3 && value > 100);
    }"""
    places = [[1 - (100 - t) / SPAN_S for t in span] for span in ((50, 56), (10, 20))]
    assert not await screen.page.evaluate(ink, places[0])
    sink.publish(replace(LINE, segment=4, t0=50.0, t1=54.0, text="here it is"))
    await screen.until(ink, places[0])
    assert not await screen.page.evaluate(ink, places[1])


async def test_a_line_without_room_is_a_tick_and_shown_on_hover(look, hub, frame):
    sink = hub.sink("main")
    publish_minutes(sink, frame)
    screen = await look()
    await screen.label_has("timeline", "angry")
    await screen.page.evaluate(NOTE_TEXTS)
    sink.publish(replace(LINE, segment=7, t0=51.0, t1=54.0, text="here is room for a line"))
    await screen.until("() => window.written.some(([text]) => text.startsWith('here is room'))")
    sink.publish(replace(LINE, segment=4, t0=50.0, t1=51.0, text="no room for these words"))
    box = await screen.page.locator("#timeline").bounding_box()
    text_px = max(11, box["height"] * 0.082)
    row = box["y"] + box["height"] - 1.3 * text_px * 1.5  # segments 4 and 7 are in the second of three
    place = (box["x"] + (1 - 50 / SPAN_S) * box["width"], row)
    while await screen.page.locator("#tip").text_content() != "0:50 no room for these words":  # until it is drawn
        await screen.page.mouse.move(*place)
        await screen.page.mouse.move(place[0] + 2, place[1])
    assert not await screen.page.evaluate("() => window.written.some(([text]) => text.startsWith('no'))")
    await screen.page.mouse.move(box["x"] + (1 - 20 / SPAN_S) * box["width"], box["y"] + BAND_Y * box["height"])
    await screen.text_is("#tip", "1:20 angry")
    await screen.page.mouse.move(5, 5)
    await screen.page.wait_for_selector("#tip", state="hidden")


async def test_the_band_can_be_read_without_colour(look, hub, frame):
    for t in range(1, 101):
        category = ("sad", "angry", "unknown", "happy", "relaxed")[(t - 1) // 20]
        hub.sink("main").publish(frame(0.0, 0.0, category=category, index=t, t1=float(t)))
    screen = await look()
    await screen.page.evaluate(NOTE_TEXTS)
    hub.sink("main").publish(frame(0.0, 0.0, category="relaxed", index=101, t1=101.0))
    await screen.until("() => window.written.some(([text]) => text === 'R')")
    written = await screen.page.evaluate("() => window.written.map(([text]) => text)")
    assert {"S", "A", "?", "H", "R"} <= set(written)

    def luminance(colour):
        linear = [part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    angry, unknown = [await colour_at(screen, t, 0.05, end_s=101) for t in (38, 58)]
    assert (luminance(angry) + 0.05) / (luminance(unknown) + 0.05) > 3


async def test_what_is_remembered_has_a_bound(look):
    """Three hours at 10 Hz, and a song every few seconds."""
    screen = await look()
    sizes = await screen.page.evaluate(
        """async () => {
          const { StreamHistory } = await import("/streams.js");
          const past = new StreamHistory();
          const frame = { type: "emotion", valence: 0, arousal: 0, category: { top: "sad" }, hold: null };
          let most = 0;
          for (let i = 0; i < 108000; i++) {
            past.add({ ...frame, t1: i / 10 }, 0);
            if (i % 20 === 0) past.add({ type: "lyrics", segment: i, revision: 0, text: "la" }, 0);
            if (i % 50 === 0) past.add({ type: "change", t: i / 10, to: "sad" }, 0);
            most = Math.max(most, past.points.length);
          }
          const kept_s = past.end_s - past.points[0].t;
          return [most, kept_s, past.lines.size, past.cues.length, past.lastLines(1)[0].segment];
        }"""
    )
    most, kept_s, lines, cues, last = sizes
    assert most <= 6700
    assert kept_s >= 590
    assert (lines, cues, last) == (150, 300, 107_980)


async def test_a_stream_that_begins_anew_leaves_nothing_of_before(look, hub, frame):
    sink = hub.sink("main")
    publish_minutes(sink, frame)
    screen = await look()
    await screen.label_has("timeline", "angry")
    sink.publish(replace(FRAME, t0=0.0, t1=0.5))
    await screen.until("() => document.getElementById('timeline').ariaLabel.endsWith('minutes: happy 100%')")


async def test_no_time_is_cut_or_stands_behind_the_button(look, hub, frame):
    screen = await look()
    await screen.page.evaluate(NOTE_TEXTS)
    for end_s in (119, 121):  # so that 0:00 would be behind the button, then 2:00 beyond the end
        publish_minutes(hub.sink("main"), frame, until_s=end_s)
        await screen.until("() => window.written.some(([text]) => text === '1:00')")
        written = await screen.page.evaluate("() => window.written")
        button, width = await screen.page.evaluate(
            "() => [document.getElementById('span').offsetWidth, document.getElementById('timeline').width]"
        )
        times = [(left, right) for text, left, right in written if text in {"0:00", "1:00", "2:00"}]
        assert all(button <= left and right <= width for left, right in times)
        await screen.page.evaluate("() => { window.written = []; }")
