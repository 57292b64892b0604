// The page: joins the connection, the streams and the views, and reports when the values are old.

import { Auth } from "./auth.js";
import { Keys } from "./keys.js";
import { connect } from "./mer.js";
import { Microphone } from "./microphone.js";
import { Operator } from "./operator.js";
import { Plane } from "./plane.js";
import { Streams } from "./streams.js";
import { Timeline, spanInWords } from "./timeline.js";
import {
  $, Bars, CATEGORY_NAMES, CLUSTER_NAMES, Lines, age, banner, isStale, light, maskedLine, now, say, showAges, showEmotion,
  showHealth, showLevel, showLookBack, showNothing, showStatus, startDrawing, write,
} from "./view.js";

const AGES_EVERY_S = 0.2;
const COMPLAINS_S = 6;
const IDLE_AFTER_MS = 4000;
const LINES_SHOWN = 4;
const CATCH_UP_S = 1; // at first come messages from the server's history, which are not read out
const SPANS_MIN = [1, 2, 5, 10];
const LEVELS = { events: ["levels"], max_hz: 10 };
const NAMES_SHOWN = 12;
const GUIDE_KEPT_AS = "stream_mer.guide";
const MANY_STREAMS = 8; // the levels of more are too many messages for one light

const parameters = new URLSearchParams(location.search);
const plane = new Plane($("plane"));
const timeline = new Timeline($("timeline"), 60 * (firstSpan() || 2), { corner: $("span"), tip: $("tip") });
const bars = { categories: new Bars($("categories"), CATEGORY_NAMES), clusters: new Bars($("clusters"), CLUSTER_NAMES) };
const lines = new Lines($("lines"), $("wordless"), LINES_SHOWN);
const keys = new Keys();
const streams = new Streams({
  picker: $("picker"),
  elsewhere: $("elsewhere"),
  wanted: parameters.get("stream"),
  onChoice: () => refresh(),
});
const auth = new Auth({ offer: (token) => mer.offer(token) });
const mer = connect(undefined, { token: auth.token, name: "page", history: true });
const operator = new Operator({ mer, streams, plane, keys, refused: complain });

const microphone = new Microphone({ mer });

let session = null;
let hop_s = 0.5;
let link = { up: false, why: "", final: false, since_s: now() };
let everLinked = false;
let complaint = { text: "", until_s: 0 };
let hasLevels = false;
let canSetup = false;
let masksLines = false;
let remoteStreams = [];
let panel = null; // of set-up, once it was opened
let guideEnded = false;
let announceFrom_s = 0;

function complain(text) {
  complaint = { text, until_s: now() + COMPLAINS_S };
}

function onHello(hello) {
  hop_s = hello.hop_s;
  canSetup = hello.can_setup === true;
  masksLines = hello.masks_page === true;
  remoteStreams = hello.remote_streams ?? [];
  showLookBack(hello.window_s);
  if (session !== null && session !== hello.session) streams.forget(); // `seq` and time start anew
  session = hello.session;
  hello.streams.forEach((name) => streams.of(name));
}

function onEvent(event, age_s) {
  const message = event.type === "lyrics" && masksLines ? maskedLine(event) : event;
  const past = streams.of(message.stream);
  past.add(message, now() - age_s);
  if (message.type === "emotion") {
    streams.mark();
    operator.onOthers();
  }
  if (message.stream === streams.chosen && !document.hidden) show(message, past);
}

function show(message, past) {
  timeline.touch();
  if (message.type === "emotion") {
    plane.move();
    showEmotion(message, bars);
    showHealth(message);
    operator.show(message);
    lines.age(message.t1);
  } else if (message.type === "lyrics") {
    lines.show(message);
    if (message.committed && now() > announceFrom_s) say(message.text);
  } else if (message.type === "status") {
    showStatus(message);
    timeline.showWords(message.lyrics !== "off");
  } else if (now() > announceFrom_s) {
    say(`now ${message.to}`);
  }
}

/** Show everything known of the chosen stream: after another one was chosen, or the page was hidden. */
function refresh() {
  const { chosen, past } = streams;
  document.title = chosen === null ? "stream_mer" : `${chosen} · stream_mer`;
  keepInAddress("stream", streams.wanted);
  plane.follow(past);
  timeline.follow(past);
  lines.clear();
  write($("song"), "");
  for (const id of ["source", "lyrics", "text-age", "latency"]) light(id, "off", "–");
  if (!past?.emotion) showNothing(bars);
  operator.leave();
  if (!past?.status) timeline.showWords(true);
  for (const message of [past?.status, past?.emotion]) if (message) show(message, past);
  for (const line of past?.lastLines(LINES_SHOWN) ?? []) lines.show(line);
  lines.age(past?.end_s ?? 0);
  updateState();
}

/** Show the state of the page, in `data-state` and in words. */
function updateState() {
  const { past } = streams;
  const frame = past?.emotion ?? null;
  const since_s = frame ? now() - past.frameAt_s : 0;
  const [state, ...words] = pageState(frame, since_s);
  document.documentElement.dataset.state = state;
  if (complaint.until_s > now()) banner(complaint.text);
  else banner(...words);
  showAges(frame, since_s);
  operator.count(frame, since_s);
}

function pageState(frame, since_s) {
  if (link.final) return ["lost", `The server refuses this page: ${link.why}.`];
  if (!link.up) {
    const why = link.why ? ` (${link.why})` : "";
    if (!everLinked) return ["connecting", `No answer from the server yet${why}. Trying again.`];
    return ["lost", `Connection lost${why}. Trying again.`, frame ? ` These values are ${age(since_s)} old.` : ""];
  }
  if (streams.chosen === null) {
    const { wanted, names } = streams;
    if (wanted === null || names.length === 0) return ["connecting", "Connected. There is no stream yet.", "", "note"];
    const few = names.length > NAMES_SHOWN ? `${names.slice(0, NAMES_SHOWN).join(", ")}, …` : `${names.join(", ")}.`;
    return ["connecting", `There is no stream ${wanted} here. Choose from: ${few}`];
  }
  if (frame === null) return ["connecting", "Connected. Waiting for the first frame.", "", "note"];
  if (streams.past.status?.source === "ended") return ["ended", "The stream has ended.", "", "note"];
  if (isStale(since_s, hop_s)) {
    return ["stale", "No news from the stream.", ` These values are ${age(since_s)} old.`];
  }
  return ["live", ""];
}

/** Subscribe to levels while the page is visible. */
function subscribeLevels() {
  const wanted = !document.hidden && streams.names.length <= MANY_STREAMS;
  if (wanted === hasLevels) return;
  hasLevels = wanted;
  if (wanted) mer.subscribe(LEVELS);
  else mer.unsubscribe({ events: LEVELS.events });
}

function firstSpan() {
  const minutes = Number(parameters.get("minutes") || 2);
  return minutes >= 0.5 && minutes <= 10 ? minutes : NaN;
}

function stretch() {
  const minutes = SPANS_MIN.find((span) => 60 * span > timeline.span_s) ?? SPANS_MIN[0];
  timeline.stretch(60 * minutes);
  keepInAddress("minutes", String(minutes));
  write($("span"), `last ${spanInWords(timeline.span_s)}`);
}

/** Keep a setting in the address, for reloads and bookmarks. */
function keepInAddress(name, value) {
  if (parameters.get(name) === value) return;
  if (value === null) parameters.delete(name);
  else parameters.set(name, value);
  history.replaceState(null, "", `${location.pathname}${parameters.size ? `?${parameters}` : ""}${location.hash}`);
}

/** The stage view: category, point and words alone, in fullscreen where the browser allows it. */
function showStage(on) {
  const root = document.documentElement;
  if (on) root.dataset.view = "stage";
  else delete root.dataset.view;
  $("stage").setAttribute("aria-pressed", String(on));
  keepInAddress("view", on ? "stage" : null);
}

function toggleStage() {
  const on = document.documentElement.dataset.view !== "stage";
  showStage(on);
  if (!on && document.fullscreenElement) document.exitFullscreen();
  if (on) document.documentElement.requestFullscreen?.().catch(() => {}); // refused by the browser
}

/** Keep the screen on while the page is visible. Browsers allow it on this machine and over https. */
function stayAwake() {
  const ask = () => {
    if (!document.hidden) navigator.wakeLock?.request("screen").catch(() => {}); // refused, for example on low battery
  };
  document.addEventListener("visibilitychange", ask); // a hidden page loses the lock
  ask();
}

/** Hide the pointer while it rests. */
function hidePointer() {
  const root = document.documentElement;
  let timer = 0;
  document.addEventListener("pointermove", () => {
    delete root.dataset.idle;
    clearTimeout(timer);
    timer = setTimeout(() => (root.dataset.idle = ""), IDLE_AFTER_MS);
  });
}

/** Open the set-up panel, which is loaded when it is needed first. */
async function openSetup(how) {
  panel ??= import("./setup.js").then(({ SetupPanel }) => new SetupPanel({ mer, streams, onGuideEnd: endGuide }));
  (await panel).open(how);
}

/** Guide an operator through the first start, once. */
async function offerGuide() {
  try {
    guideEnded ||= localStorage.getItem(GUIDE_KEPT_AS) !== null;
  } catch {
    // without storage, it comes back after a reload
  }
  if (guideEnded || parameters.get("view") === "stage") return;
  const { ok, setup } = await mer.setup("get");
  if (ok && setup.state.first_start) openSetup({ guide: true });
}

function endGuide() {
  guideEnded = true;
  try {
    localStorage.setItem(GUIDE_KEPT_AS, "ended");
  } catch {
    // likewise
  }
}

function showHelp() {
  keys.list($("keys"));
  $("keys-on").checked = keys.on;
  $("overlay-link").search = streams.wanted === null ? "" : `?${new URLSearchParams({ stream: streams.wanted })}`;
  $("help").showModal();
}

keys.add(
  { key: "?", what: "this list", run: showHelp },
  { key: "f", what: "stage view: category, point and words alone; and back", run: toggleStage },
  { key: "t", what: "more or fewer minutes in the timeline", run: stretch },
  { key: "s", what: "the next stream", when: () => streams.names.length > 1, run: () => streams.next() },
);
$("help-open").addEventListener("click", showHelp);
$("keys-on").addEventListener("change", () => keys.turn($("keys-on").checked));
$("stage").addEventListener("click", toggleStage);
document.addEventListener("fullscreenchange", () => document.fullscreenElement || showStage(false)); // left with Esc
showStage(parameters.get("view") === "stage");
$("setup-open").addEventListener("click", () => openSetup());
$("span").addEventListener("click", stretch);
write($("span"), `last ${spanInWords(timeline.span_s)}`);

mer.on("hello", onHello);
mer.on("ready", ({ role }) => {
  announceFrom_s = now() + CATCH_UP_S;
  const isOperator = role === "operator" && parameters.get("tools") !== "off";
  operator.allow(isOperator);
  microphone.offer(remoteStreams, isOperator);
  $("setup-open").hidden = !canSetup;
  if (isOperator && canSetup) offerGuide();
  auth.onAccepted(role);
  subscribeLevels();
});
for (const kind of ["emotion", "lyrics", "change", "status"]) mer.on(kind, onEvent);
mer.on("levels", ({ stream, peak_db }) => stream === streams.chosen && showLevel(peak_db));
mer.on("link", ({ up, why, final }) => {
  link = { up, why, final };
  everLinked ||= up;
  updateState();
});
mer.on("token", ({ why }) => auth.ask(why));

// A timer and not the drawing loop, which stops while nothing moves. A hidden page only keeps the history.
setInterval(() => document.hidden || updateState(), 1000 * AGES_EVERY_S);
document.addEventListener("visibilitychange", () => {
  subscribeLevels();
  if (!document.hidden) refresh();
});
if (!firstSpan()) complain(`minutes=${parameters.get("minutes")} must be a number from 0.5 to 10`);
startDrawing(plane, timeline);
stayAwake();
hidePointer();
