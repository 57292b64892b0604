// The page: joins the connection, the plane and the rest, and says so when what is shown is old.

import { connect } from "./mer.js";
import { Operator } from "./operator.js";
import { Plane } from "./plane.js";
import { Timeline } from "./timeline.js";
import {
  $, Bars, CATEGORY_NAMES, CLUSTER_NAMES, Lines, banner, light, showAges, showEmotion, showHealth, showStatus,
} from "./view.js";

const STALE_HOPS = 4;
const STALE_AT_LEAST_S = 3;
const AGES_EVERY_S = 0.2;
const COMPLAINS_S = 6;
const REMEMBERED = 500; // messages of a stream that is not on show, for its timeline

const plane = new Plane($("plane"));
const bars = { categories: new Bars($("categories"), CATEGORY_NAMES), clusters: new Bars($("clusters"), CLUSTER_NAMES) };
const lines = new Lines($("lines"), $("wordless"));
const timeline = new Timeline($("timeline"));

let session = null;
let chosen = new URLSearchParams(location.search).get("stream");
let linked = false;
let everLinked = false;
let complaint = "";
let refusal = { text: "", until_s: 0 };
let frame = null;
let frameAt_s = 0;
let status = null;
let hop_s = 0.5;

/** What came of each stream, so that another one can be chosen at any time. */
const newest = new Map();

function greet(hello) {
  hop_s = hello.hop_s;
  if (session !== null && session !== hello.session) forget();
  session = hello.session;
  hello.streams.forEach(addStream);
}

function take(message, age_s) {
  addStream(message.stream);
  remember(message, age_s);
  if (message.stream === chosen) show(message, age_s);
}

function remember(message, age_s) {
  const known = newest.get(message.stream);
  const at_s = performance.now() / 1000 - age_s;
  known.past.push(message);
  if (known.past.length > REMEMBERED) known.past.shift();
  if (message.type === "lyrics") {
    known.lines.set(message.segment, message);
    if (known.lines.size > 8) known.lines.delete(Math.min(...known.lines.keys()));
  } else {
    known[message.type] = { message, at_s };
  }
}

function show(message, age_s) {
  timeline.take(message);
  if (message.type === "emotion") {
    frame = message;
    frameAt_s = performance.now() / 1000 - age_s;
    plane.move(message);
    showEmotion(message, bars);
    showHealth(message);
    operator.show(message);
  } else if (message.type === "lyrics") {
    lines.show(message);
  } else if (message.type === "status") {
    status = message;
    showStatus(message);
  }
}

function addStream(name) {
  if (newest.has(name)) return;
  newest.set(name, { lines: new Map(), past: [] });
  const option = document.createElement("option");
  option.value = option.textContent = name;
  $("streams").append(option);
  if (chosen === null) choose(name);
  $("streams").value = chosen;
  $("picker").hidden = newest.size < 2;
}

function choose(name) {
  chosen = name;
  document.title = `${name} · stream_mer`;
  frame = status = null;
  plane.clear();
  lines.clear();
  timeline.clear();
  light("source", "off", "–");
  light("lyrics", "off", "–");
  light("latency", "off", "–");
  const known = newest.get(name);
  known.past.forEach((message) => timeline.take(message));
  const now_s = performance.now() / 1000;
  for (const kind of ["status", "emotion"]) if (known[kind]) show(known[kind].message, now_s - known[kind].at_s);
  for (const line of known.lines.values()) lines.show(line);
}

/** The server restarted: lines and numbers of before are no part of what follows. */
function forget() {
  newest.clear();
  $("streams").replaceChildren();
  lines.clear();
  plane.clear();
  timeline.clear();
  frame = status = null;
  chosen = null;
}

function judge(now_s) {
  const since_s = now_s - frameAt_s;
  const root = document.documentElement;
  if (!linked) {
    root.dataset.state = everLinked ? "lost" : "connecting";
    const why = complaint ? ` (${complaint})` : "";
    banner(everLinked ? `Connection lost${why}. Trying again.` : `No answer from the server yet${why}. Trying again.`);
  } else if (refusal.until_s > now_s) {
    banner(refusal.text);
  } else if (frame === null) {
    root.dataset.state = "connecting";
    banner("Connected. Waiting for the first frame.", "note");
  } else if (status?.source === "ended") {
    root.dataset.state = "ended";
    banner("The stream has ended.", "note");
  } else if (since_s > Math.max(STALE_AT_LEAST_S, STALE_HOPS * hop_s)) {
    root.dataset.state = "stale";
    banner(`No news for ${Math.round(since_s)} s.`);
  } else {
    root.dataset.state = "live";
    banner("");
  }
  showAges(frame, since_s);
}

let drawnAt_s = performance.now() / 1000;
function draw(now_ms) {
  const now_s = now_ms / 1000;
  plane.draw(now_s, Math.max(0, now_s - drawnAt_s));
  timeline.draw();
  drawnAt_s = now_s;
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);
// A timer and not the drawing loop: a hidden tab draws nothing, but must not call old values new when it comes back.
setInterval(() => judge(performance.now() / 1000), 1000 * AGES_EVERY_S);

const mer = connect(undefined, {
  token: new URLSearchParams(location.hash.slice(1)).get("token"),
  name: "page",
  history: true, // for the timeline
});
const operator = new Operator({
  mer,
  stream: () => chosen,
  refused: (why) => (refusal = { text: why, until_s: performance.now() / 1000 + COMPLAINS_S }),
});
mer.on("hello", greet);
mer.on("ready", ({ role }) => operator.allow(role));
for (const kind of ["emotion", "lyrics", "change", "status"]) mer.on(kind, take);
mer.on("link", ({ up, why }) => {
  linked = up;
  everLinked ||= up;
  complaint = why;
});
mer.on("token", () => {
  $("door").hidden = false;
  $("token").focus();
});

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  $("door").hidden = true;
  mer.offer($("token").value);
  $("token").value = "";
});

$("streams").addEventListener("change", () => choose($("streams").value));

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(() => {}); // refused: nothing to add to the browser's word
}
$("fullscreen").addEventListener("click", toggleFullscreen);
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "f" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) toggleFullscreen();
});
