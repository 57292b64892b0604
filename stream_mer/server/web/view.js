// The views beside the plane. Text from the stream is inserted as text, never as HTML.

export const CATEGORY_NAMES = { happy: "happy", angry: "angry", sad: "sad", relaxed: "relaxed" };
export const CLUSTER_NAMES = {
  C1: "passionate, rousing",
  C2: "cheerful, fun",
  C3: "poignant, wistful",
  C4: "humorous, quirky",
  C5: "aggressive, intense",
};
const CLUSTER_MEANINGS = {
  C1: "passionate, rousing, confident, boisterous, rowdy",
  C2: "rollicking, cheerful, fun, sweet, amiable",
  C3: "literate, poignant, wistful, bittersweet, brooding",
  C4: "humorous, silly, campy, quirky, whimsical, witty",
  C5: "aggressive, fiery, tense, intense, volatile, visceral",
};
/** An override in words. */
export const HOLDS = { freeze: "frozen", blackout: "blackout", override: "overridden" };
const LONG_LINE = 60; // characters; East Asian ones count twice
const WIDE = /[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uff60]/g;
const OLD_LINE_S = 15;
const LEVELS = {
  source: { live: "good", ended: "off", silent: "warn", stalled: "bad", reconnecting: "bad" },
  lyrics: { ok: "good", lagging: "warn", unavailable: "bad", off: "off" },
};
/** Why values are less accurate, and what to do about it; other codes are shown as they are. */
const REASONS = {
  lyrics_loading: "lyrics start: the recogniser is loading",
  lyrics_lagging: "lyrics lag behind: use a smaller --asr-model, or lyrics for fewer streams",
  lyrics_unavailable: "lyrics failed: see the server's log",
  warming_up: "warming up",
  no_music: "no music: the values go to neutral",
  audio_lost: "audio was lost: see source",
};
const SLOW_MS = 500;
const VERY_SLOW_MS = 2000;
const FLOOR_DB = -60;
const OLD_TEXT_S = 30;

const STALE_HOPS = 4;
const STALE_AT_LEAST_S = 3;
const DRAWN_HZ = 30;

export const $ = (id) => document.getElementById(id);

/** Seconds on the clock of the page. */
export const now = () => performance.now() / 1000;

/** Whether a frame of this age is too old to count. @param {number} since_s @param {number} hop_s */
export const isStale = (since_s, hop_s) => since_s > Math.max(STALE_AT_LEAST_S, STALE_HOPS * hop_s);

/** Draw the plane and the timeline from now on, at most `DRAWN_HZ` times a second. */
export function startDrawing(plane, timeline) {
  let drawnAt_s = now();
  const draw = (now_ms) => {
    requestAnimationFrame(draw);
    const passed_s = now_ms / 1000 - drawnAt_s;
    if (passed_s < 0.9 / DRAWN_HZ) return;
    drawnAt_s = now_ms / 1000;
    plane.draw(drawnAt_s, passed_s);
    timeline.draw();
  };
  requestAnimationFrame(draw);
}

/** Write only if the text changes: most of a frame's texts stay the same. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A group of bars, one for each probability, with the top one highlighted. */
export class Bars {
  /**
   * @param {HTMLElement} root
   * @param {Record<string, string>} names Labels by the names in the messages.
   */
  constructor(root, names) {
    this.rows = new Map();
    for (const [name, label] of Object.entries(names)) {
      const row = element("div", "bar");
      row.dataset.name = name;
      if (name in CLUSTER_MEANINGS) row.title = `${name}: ${CLUSTER_MEANINGS[name]}`;
      const [text, percent, track, fill] = [element("span"), element("b"), element("div", "track"), element("div", "fill")];
      text.textContent = label;
      for (const shown of [text, percent]) shown.setAttribute("aria-hidden", "true"); // the meter says both
      track.setAttribute("role", "meter");
      track.setAttribute("aria-label", label);
      track.setAttribute("aria-valuemin", "0");
      track.setAttribute("aria-valuemax", "1");
      track.append(fill);
      row.append(text, percent, track);
      root.append(row);
      this.rows.set(name, { row, percent, track, fill });
    }
  }

  /** @param {Record<string, number>} shares @param {string | null} top The highlighted one; null for none. */
  show(shares, top) {
    for (const [name, { row, percent, track, fill }] of this.rows) {
      const share = shares[name] ?? 0;
      track.setAttribute("aria-valuenow", share.toFixed(2));
      track.setAttribute("aria-valuetext", `${Math.round(100 * share)}%`);
      fill.style.setProperty("--share", share.toFixed(2));
      write(percent, `${Math.round(100 * share)}%`);
      row.toggleAttribute("data-top", name === top);
    }
  }
}

/** Number of characters of a line that will not change any more. */
function settledLength(text, words, settled) {
  let end = 0;
  for (const word of words.slice(0, settled)) {
    const at = text.indexOf(word.text, end);
    if (at < 0) break;
    end = at + word.text.length;
  }
  return end;
}

/** A `lyrics` message as an audience may see it: with the masked text, where words of it are masked. */
export function maskedLine(message) {
  if (!message.masked) return message;
  let end = 0;
  const words = (message.words ?? []).map((word) => {
    const at = message.text.indexOf(word.text, end);
    if (at < 0) return { ...word, text: "*".repeat(word.text.length) };
    end = at + word.text.length;
    return { ...word, text: message.masked.slice(at, end) };
  });
  return { ...message, text: message.masked, words };
}

/** Title and artist of a `status` in one line; empty where nothing is known. */
export function songOf({ title, artist }) {
  return [artist, title].filter(Boolean).join(" – ");
}

/** The last sung lines, the newest largest; words that may still change are marked. */
export class Lines {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement | null} empty Shown while there are no lines.
   * @param {number} most Maximum number of lines.
   */
  constructor(root, empty, most) {
    this.root = root;
    this.empty = empty;
    this.most = most;
    this.items = new Map();
  }

  clear() {
    this.items.clear();
    this.#arrange();
  }

  show({ segment, revision, text, t1, committed, language, words, settled_words }) {
    const known = this.items.get(segment);
    if (known && known.revision > revision) return;
    if (!text) {
      this.items.delete(segment);
    } else {
      const item = known?.item ?? element("li");
      const sure = committed ? text.length : settledLength(text, words ?? [], settled_words ?? 0);
      const settled = element("span", "settled");
      settled.textContent = text.slice(0, sure);
      item.replaceChildren(settled, text.slice(sure));
      item.dir = "auto";
      item.style.order = -segment; // the newest at the bottom, where the layout starts
      item.toggleAttribute("data-committed", committed);
      item.toggleAttribute("data-long", text.length + (text.match(WIDE)?.length ?? 0) > LONG_LINE);
      if (language) item.lang = language;
      this.items.set(segment, { item, revision, t1 });
    }
    this.#arrange();
  }

  /** Dim older lines. @param {number} t Audio time now, seconds. */
  age(t) {
    for (const { item, t1 } of this.items.values()) item.toggleAttribute("data-old", t - t1 > OLD_LINE_S);
  }

  #arrange() {
    const order = [...this.items.keys()].sort((a, b) => a - b);
    for (const old of order.slice(0, -this.most)) this.items.delete(old);
    const shown = order.slice(-this.most).map((segment) => this.items.get(segment).item);
    if (shown.length !== this.root.children.length || shown.some((item, i) => item !== this.root.children[i])) {
      this.root.replaceChildren(...shown);
    }
    if (this.empty) this.empty.hidden = shown.length > 0;
  }
}

/** Set one of the status lights at the top; its shape changes with its colour. */
export function light(id, level, text) {
  const item = $(id);
  item.dataset.level = level;
  write(item.querySelector("b"), text);
}

export function showStatus(status) {
  const clips = status.clipping && status.source === "live";
  light("source", clips ? "warn" : (LEVELS.source[status.source] ?? "off"), clips ? "too loud" : status.source);
  $("level").toggleAttribute("data-clips", Boolean(clips));
  const lost_s = (status.lost_samples ?? 0) / 16000;
  const song = songOf(status);
  const notes = [status.device, ...(song ? [song] : [])];
  if (clips) notes.push("it clips: turn the input down until loud passages peak between -6 and -1 dBFS");
  if (lost_s > 0) notes.push(`${lost_s.toFixed(1)} s lost so far`);
  $("source").title = notes.join(", ");
  const lags = status.lyrics === "lagging" && status.lag_s > 0;
  light("lyrics", LEVELS.lyrics[status.lyrics] ?? "off", lags ? `lagging ${age(status.lag_s)}` : status.lyrics);
  document.documentElement.dataset.lyrics = status.lyrics;
  write($("wordless"), status.lyrics === "off" ? "Lyrics are off" : "No words yet");
  write($("song"), song);
}

/** Show how much audio before it a frame reads: no latency is the whole delay. @param {number} window_s */
export function showLookBack(window_s) {
  write($("look-back"), `looks back ${Math.round(window_s)} s`);
  $("look-back").title = `A frame sums up the last ${Math.round(window_s)} s of music, so a hard cut shows after some seconds`;
}

/** Show the input level beside the light of the source. @param {number} peak_db dBFS */
export function showLevel(peak_db) {
  $("level").style.setProperty("--share", Math.max(0, Math.min(1, 1 - peak_db / FLOOR_DB)).toFixed(2));
}

/** Show a frame: its category, and its values. */
export function showEmotion(frame, bars) {
  const { top, probs } = frame.category;
  document.documentElement.dataset.category = top;
  write($("category"), top);
  write($("confidence"), top in probs ? `${Math.round(100 * probs[top])}%` : whyUnknown(frame));
  showValues(frame, bars);
}

/** Show all of a frame but its category. */
export function showValues(frame, bars) {
  const { top, probs } = frame.category;
  bars.categories.show(probs, top);
  bars.clusters.show(frame.clusters, likeliest(frame.clusters));
  write($("valence"), signed(frame.valence));
  write($("arousal"), signed(frame.arousal));
  $("plane").setAttribute(
    "aria-label",
    `Valence ${signed(frame.valence)}, arousal ${signed(frame.arousal)}: ${top}`,
  );
}

function whyUnknown(frame) {
  if (!frame.degraded.includes("no_music")) return "not sure enough";
  const state = frame.audio_state?.state;
  return state && state !== "music" ? `${state}, no music` : "no music";
}

/** Show that there is no frame yet, and nothing of another stream. */
export function showNothing(bars) {
  delete document.documentElement.dataset.category;
  for (const [id, text] of [["category", "…"], ["confidence", ""], ["valence", "–"], ["arousal", "–"], ["degraded", ""]]) {
    write($(id), text);
  }
  for (const group of Object.values(bars)) group.show({}, null);
  for (const canvas of document.querySelectorAll("canvas")) canvas.setAttribute("aria-label", "No frame yet");
}

/** Show the latency of the frame, and why it is degraded. */
export function showHealth(frame) {
  const { capture, queue, features, model, total } = frame.latency_ms;
  light("latency", total > VERY_SLOW_MS ? "bad" : total > SLOW_MS ? "warn" : "good", `${Math.round(total)} ms`);
  const parts = Object.entries({ capture, queue, features, model }).map(([name, ms]) => `${name} ${Math.round(ms)}`);
  $("latency").title = `${parts.join(" + ")} ms; ${frame.dropped} dropped`;
  const reasons = frame.degraded.map((reason) => REASONS[reason] ?? reason.replaceAll("_", " "));
  write($("degraded"), reasons.join(" · "));
  $("degraded").title = reasons.join("\n"); // its place has two lines
}

/** @param {object | null} frame @param {number} since_s Seconds since it came. */
export function showAges(frame, since_s) {
  const text_s = frame?.text_age_s;
  if (text_s === null || text_s === undefined) light("text-age", "off", "none");
  else light("text-age", text_s + since_s > OLD_TEXT_S ? "off" : "good", age(text_s + since_s));
}

/** Show a problem. The message is announced to screen readers; counting seconds are not. */
export function banner(text, counting = "", level = "bad") {
  const element = $("banner");
  write(element.querySelector("span"), text);
  write(element.querySelector("i"), counting);
  element.dataset.level = level;
  element.title = text;
  element.hidden = text === "";
}

/** Announce a text to screen readers. */
export function say(text) {
  const line = element("p");
  line.textContent = text;
  $("spoken").append(line);
  while ($("spoken").children.length > 3) $("spoken").firstChild.remove();
}

export function age(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

function likeliest(shares) {
  return Object.entries(shares).reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

function element(tag, name) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  return made;
}
