// The overlay for OBS: transparent, with what the address asks for.
//
//   /overlay?show=category,lyrics&at=bottom-left&zoom=1.5&stream=main&lines=1#token=SECRET

import { connect } from "./mer.js";
import { Plane } from "./plane.js";
import { Timeline } from "./timeline.js";
import { $, Bars, CATEGORY_NAMES, CLUSTER_NAMES, Lines, showEmotion } from "./view.js";

const PARTS = ["category", "bars", "clusters", "values", "plane", "timeline", "lyrics"];
const SHOWN = ["category", "lyrics"];
const PLACES = ["top-left", "top-middle", "top-right", "middle", "bottom-left", "bottom-middle", "bottom-right"];
const STALE_AFTER_S = 5;
const LINE_STAYS_S = 8;

const asked = new URLSearchParams(location.search);
const root = document.documentElement;

function choice(name, allowed, fallback) {
  const value = asked.get(name);
  if (value === null || allowed.includes(value)) return value ?? fallback;
  trouble(`${name}=${value} is unknown here; choose from ${allowed.join(", ")}`);
  return fallback;
}

function number(name, low, high, fallback) {
  const value = asked.has(name) ? Number(asked.get(name)) : fallback;
  if (value >= low && value <= high) return value;
  trouble(`${name}=${asked.get(name)} must be a number from ${low} to ${high}`);
  return fallback;
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = false;
}

function shownParts() {
  const parts = (asked.get("show") ?? SHOWN.join(",")).split(",").filter(Boolean);
  const unknown = parts.filter((part) => !PARTS.includes(part));
  if (unknown.length) trouble(`show=${unknown.join(",")} is unknown here; choose from ${PARTS.join(", ")}`);
  return parts;
}

const parts = shownParts();
for (const part of document.querySelectorAll("[data-part]")) part.hidden = !parts.includes(part.dataset.part);
document.body.dataset.at = choice("at", PLACES, "bottom-left");
document.body.style.setProperty("--zoom", number("zoom", 0.2, 10, 1));

const plane = new Plane($("plane"));
const timeline = new Timeline($("timeline"), { span_s: number("minutes", 0.5, 10, 3) * 60 });
const bars = { categories: new Bars($("categories"), CATEGORY_NAMES), clusters: new Bars($("clusters"), CLUSTER_NAMES) };
const lines = new Lines($("lines"), null, number("lines", 1, 4, 2));
let stream = asked.get("stream");
let heardAt_s = null;
let sungAt_s = 0;
let linked = false;

const mer = connect(undefined, {
  token: new URLSearchParams(location.hash.slice(1)).get("token"),
  name: "overlay",
  history: parts.includes("timeline"),
});

function mine(message) {
  stream ??= message.stream;
  if (message.stream !== stream) return false;
  timeline.take(message);
  return true;
}

mer.on("emotion", (message, age_s) => {
  if (!mine(message)) return;
  heardAt_s = performance.now() / 1000 - age_s;
  if (message.hold) root.dataset.hold = message.hold;
  else delete root.dataset.hold;
  plane.move(message);
  showEmotion(message, bars);
});
mer.on("lyrics", (message, age_s) => {
  if (!mine(message)) return;
  sungAt_s = performance.now() / 1000 - age_s;
  lines.show(message);
});
mer.on("change", mine);
mer.on("link", ({ up, why, final }) => {
  linked = up;
  if (final) trouble(why);
});
mer.on("token", () => trouble("This stream wants a token: add #token=SECRET to the address"));

function judge(now_s) {
  const fresh = heardAt_s !== null && now_s - heardAt_s <= STALE_AFTER_S;
  root.dataset.state = heardAt_s === null ? "connecting" : linked && fresh ? "live" : "stale";
  if (now_s - sungAt_s > LINE_STAYS_S) lines.clear();
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
setInterval(() => judge(performance.now() / 1000), 200);
