// The overlay for OBS and other mixers: a transparent page with the parts that the address names.
//
//   /overlay?show=category,lyrics&at=bottom-left&zoom=1.5&stream=main&lines=1#token=SECRET
//
//   show     parts, in any order: category, values, bars, clusters, plane, timeline, lyrics, held (category,lyrics)
//   at       where: top-left, top-middle, top-right, middle, bottom-left, bottom-middle, bottom-right (bottom-left)
//   zoom     0.2 to 10 times as large (1)
//   stream   which one (the first)
//   lines    how many sung lines, 1 to 4 (2)
//   minutes  how long the timeline is, 0.5 to 10 (2)
//   text     colour of all text, as fff or ffffff (white, the category in its own)
//   back     colour behind each part, as 000000 or 00000080 (none)
//
// While the model is not sure, the last category stays for a moment, and then fades out: "unknown" is never
// shown. Errors in the address are shown in a strip at the bottom, with the possible values. A stream that has ended, or that has
// sent nothing for a few hops, is not shown, and neither is a blackout. That an operator overrides the values is for the
// desk and not for the audience, so `held` is shown only on request.

import { connect } from "./mer.js";
import { Plane } from "./plane.js";
import { StreamHistory } from "./streams.js";
import { Timeline } from "./timeline.js";
import {
  $, Bars, CATEGORY_NAMES, CLUSTER_NAMES, HOLDS, Lines, isStale, maskedLine, now, showEmotion, showValues,
  startDrawing, write,
} from "./view.js";

const PARTS = ["category", "values", "bars", "clusters", "plane", "timeline", "lyrics", "held"];
const SHOWN = "category,lyrics";
const PLACES = ["top-left", "top-middle", "top-right", "middle", "bottom-left", "bottom-middle", "bottom-right"];
const KNOWN = ["show", "at", "zoom", "stream", "lines", "minutes", "text", "back"];
const LINE_STAYS_S = 8;
const CATEGORY_STAYS_S = 8;

const asked = new URLSearchParams(location.search);
const root = document.documentElement;
const problems = new Map();

/** Show an error in the strip; an empty text removes it. */
function report(about, text) {
  if (text) problems.set(about, text);
  else problems.delete(about);
  const items = [...problems.values()].map((one) => Object.assign(document.createElement("p"), { textContent: one }));
  $("trouble").replaceChildren(...items);
  $("trouble").hidden = items.length === 0;
}

function choice(name, allowed, fallback) {
  const value = asked.get(name) ?? fallback;
  if (allowed.includes(value)) return value;
  report(name, `${name}=${value} is unknown; choose from ${allowed.join(", ")}`);
  return fallback;
}

function number(name, low, high, fallback) {
  const value = asked.has(name) ? Number(asked.get(name) || NaN) : fallback;
  if (value >= low && value <= high) return value;
  report(name, `${name}=${asked.get(name)} must be a number from ${low} to ${high}`);
  return fallback;
}

function colour(name) {
  const value = asked.get(name);
  if (value === null) return;
  if (/^([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(value)) {
    document.body.style.setProperty(`--${name}`, `#${value}`);
    document.body.dataset[name] = value;
  } else report(name, `${name}=${value} must be a colour, as fff, ffffff or 00000080`);
}

function shownParts() {
  const wanted = (asked.get("show") ?? SHOWN).split(",").map((part) => part.trim()).filter(Boolean);
  const unknown = wanted.filter((part) => !PARTS.includes(part));
  if (unknown.length) report("show", `show=${unknown.join(",")} is unknown; choose from ${PARTS.join(", ")}`);
  return wanted;
}

const parts = shownParts();
for (const part of document.querySelectorAll("[data-part]")) part.hidden = !parts.includes(part.dataset.part);
const unknown = [...asked.keys()].filter((name) => !KNOWN.includes(name));
if (unknown.length) report("names", `${unknown.join(", ")} is unknown; there is ${KNOWN.join(", ")}`);
document.body.dataset.at = choice("at", PLACES, "bottom-left");
document.body.style.setProperty("--zoom", number("zoom", 0.2, 10, 1));
colour("text");
colour("back");

const plane = new Plane($("plane"));
const timeline = new Timeline($("timeline"), number("minutes", 0.5, 10, 2) * 60);
const bars = { categories: new Bars($("categories"), CATEGORY_NAMES), clusters: new Bars($("clusters"), CLUSTER_NAMES) };
const most = number("lines", 1, 4, 2);
const lines = new Lines($("lines"), null, most);
document.body.style.setProperty("--lines", most);
let past = new StreamHistory();
let stream = asked.get("stream");
let session = null;
let hop_s = 0.5;
let sungAt_s = 0;
let sureAt_s = -Infinity;
let linked = false;

const mer = connect(undefined, {
  token: new URLSearchParams(location.hash.slice(1)).get("token"),
  name: "overlay",
  history: parts.includes("timeline") || parts.includes("plane"),
});

function reset() {
  sureAt_s = -Infinity;
  past = new StreamHistory();
  plane.follow(past);
  timeline.follow(past);
  lines.clear();
}

function onHello(hello) {
  if (session !== null && session !== hello.session) reset();
  session = hello.session;
  hop_s = hello.hop_s;
  if (stream !== null && !hello.streams.includes(stream)) {
    report("stream", `stream=${stream} does not exist; choose from ${hello.streams.join(", ")}`);
  } else report("stream", "");
}

function onEvent(event, age_s) {
  const message = event.type === "lyrics" ? maskedLine(event) : event;
  stream ??= message.stream;
  if (message.stream !== stream) return;
  past.add(message, now() - age_s);
  timeline.touch();
  if (message.type === "emotion") show(message);
  if (message.type === "lyrics") showLine(message, age_s);
}

function show(frame) {
  const { hold } = frame;
  if (hold) root.dataset.hold = hold;
  else delete root.dataset.hold;
  $("held").hidden = !hold;
  write($("held"), hold ? (HOLDS[hold] ?? "held") : "");
  plane.move();
  if (frame.category.top in CATEGORY_NAMES) {
    sureAt_s = now();
    showEmotion(frame, bars);
  } else {
    showValues(frame, bars);
  }
}

/** Show a line while it is being sung; the server's history may hold older ones. */
function showLine(line, age_s) {
  if (past.emotion && past.end_s - line.t1 > LINE_STAYS_S + hop_s) return;
  sungAt_s = now() - age_s;
  lines.show(line);
}

function updateState() {
  const since_s = now() - past.frameAt_s;
  const fresh = past.emotion !== null && !isStale(since_s, hop_s);
  const live = linked && fresh && past.status?.source !== "ended";
  root.dataset.state = past.emotion === null ? "connecting" : live ? "live" : "stale";
  if (now() - sungAt_s > LINE_STAYS_S) lines.clear();
  root.toggleAttribute("data-unsure", now() - sureAt_s > CATEGORY_STAYS_S);
}

mer.on("hello", onHello);
for (const kind of ["emotion", "lyrics", "change", "status"]) mer.on(kind, onEvent);
mer.on("link", ({ up, why, final }) => {
  linked = up;
  report("link", final ? `The server refuses this page: ${why}` : "");
  if (up) report("token", "");
});
mer.on("token", ({ why }) => {
  const problem = why ? `The server refuses this page: ${why}. The` : "This server requires a token: the";
  report("token", `${problem} address ends with #token=SECRET`);
});
reset();
startDrawing(plane, timeline);
setInterval(updateState, 200);
