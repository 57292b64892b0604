// The streams of a server: the history of each, and which one is shown.

import { HOLDS, write } from "./view.js";

export const MAX_AGE_S = 600;
const MAX_POINTS = 6600; // ten minutes at 10 Hz, and some room so that they are not moved with every frame
const ROOM = 600;
const MAX_LINES = 150;
const MAX_CUES = 300;

/** The newest messages and the last minutes of one stream. Bounded; independent of the display. */
export class StreamHistory {
  constructor() {
    this.emotion = null;
    this.frameAt_s = 0;
    this.status = null;
    this.#begin();
  }

  /** Audio time of the newest frame, seconds. */
  get end_s() {
    return this.points.at(-1)?.t ?? 0;
  }

  /**
   * Add an `emotion`, `change`, `lyrics` or `status` message; others are ignored.
   *
   * @param {object} message
   * @param {number} at_s When it was published, on the clock of `performance.now()`.
   */
  add(message, at_s) {
    if (message.type === "emotion") this.#point(message, at_s);
    else if (message.type === "lyrics") this.#line(message);
    else if (message.type === "status") this.status = message;
    else if (message.type === "change") {
      this.cues.push({ t: message.t, to: message.to });
      if (this.cues.length > MAX_CUES) this.cues.shift();
    }
  }

  /** The last lines, oldest first. @param {number} most */
  lastLines(most) {
    return [...this.lines.values()].sort((a, b) => a.segment - b.segment).slice(-most);
  }

  #begin() {
    this.points = [];
    this.cues = [];
    this.lines = new Map();
  }

  #point(message, at_s) {
    const { t1, valence, arousal, category, hold } = message;
    if (t1 < this.end_s) this.#begin(); // the stream started anew
    // A value that an operator changed between two frames replaces the one before.
    if (this.points.length && t1 === this.end_s) this.points.pop();
    this.points.push({ t: t1, valence, arousal, top: category.top, hold });
    this.emotion = message;
    this.frameAt_s = at_s;
    const oldest = this.points[0].t < t1 - MAX_AGE_S - ROOM / 10;
    if (this.points.length > MAX_POINTS || oldest) {
      const kept = this.points.findIndex((point) => point.t >= t1 - MAX_AGE_S);
      this.points.splice(0, Math.max(kept, this.points.length - MAX_POINTS + ROOM));
    }
  }

  #line(message) {
    const known = this.lines.get(message.segment);
    if (known && known.revision > message.revision) return;
    if (message.text) this.lines.set(message.segment, message);
    else this.lines.delete(message.segment);
    while (this.lines.size > MAX_LINES) this.lines.delete(this.lines.keys().next().value);
  }
}

/** The streams of a server, and which one is shown. */
export class Streams {
  /**
   * @param {object} options
   * @param {HTMLElement} options.picker Hidden while there is nothing to choose.
   * @param {HTMLElement} options.elsewhere Names the other streams that an operator overrides.
   * @param {string | null} options.wanted The one to show; null for the first one that there is.
   * @param {() => void} options.onChoice Called when another one is shown, or none.
   */
  constructor({ picker, elsewhere, wanted, onChoice }) {
    this.picker = picker;
    this.select = picker.querySelector("select");
    this.elsewhere = elsewhere;
    this.wanted = wanted;
    this.onChoice = onChoice;
    this.chosen = null;
    this.pasts = new Map();
    this.select.addEventListener("change", () => this.want(this.select.value));
  }

  /** History of the shown stream; null while there is none. */
  get past() {
    return this.pasts.get(this.chosen) ?? null;
  }

  get names() {
    return [...this.pasts.keys()];
  }

  /** Whether an operator overrides any stream. */
  get anyHeld() {
    return [...this.pasts.values()].some((past) => past.emotion?.hold);
  }

  /** History of a stream. */
  of(name) {
    if (!this.pasts.has(name)) {
      this.pasts.set(name, new StreamHistory());
      const option = document.createElement("option");
      option.value = option.textContent = name;
      this.select.append(option);
      if (this.chosen === null && (this.wanted ?? name) === name) this.#choose(name);
      this.#arrange();
    }
    return this.pasts.get(name);
  }

  /** Show a stream, now and after a restart of the server. */
  want(name) {
    this.wanted = name;
    this.#choose(name);
  }

  /** Show the next one. */
  next() {
    const { names } = this;
    this.want(names[(names.indexOf(this.chosen) + 1) % names.length]);
  }

  /** Mark the streams that operators override. */
  mark() {
    const held = [...this.pasts].filter(([, past]) => past.emotion?.hold);
    for (const option of this.select.options) {
      const hold = this.pasts.get(option.value).emotion?.hold;
      write(option, hold ? `${option.value} (${HOLDS[hold] ?? "held"})` : option.value);
    }
    const others = held.filter(([name]) => name !== this.chosen).map(([name]) => name);
    write(this.elsewhere, others.length > 0 ? `held: ${others.join(", ")}` : "");
  }

  /** Forget all streams: the server restarted. */
  forget() {
    this.pasts.clear();
    this.select.replaceChildren();
    this.#choose(null);
  }

  #choose(name) {
    this.chosen = name;
    this.#arrange();
    this.onChoice();
  }

  #arrange() {
    this.select.value = this.chosen ?? "";
    this.picker.hidden = this.pasts.size < (this.chosen === null ? 1 : 2);
    this.mark();
  }
}
