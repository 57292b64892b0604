// The last minutes: a band of categories, curves of valence and arousal, marks of cues, and lyrics below.

import { COLOURS, FONT, HELD } from "./plane.js";

const WORD_ROWS = 3;
const GAP_S = 3; // gaps longer than this are left empty
const FIRST_S = 0.5; // duration of the first frame
const MINUTE_S = 60;
const SMALLEST_TEXT_PX = 11;
const READABLE_LETTERS = 6; // a line with room for fewer is a tick, and its words are shown on hover or tap
const TIP_STAYS_MS = 5000;
/** In the band, a letter and a pattern at the lower edge say the category, too. */
const INITIALS = { happy: "H", angry: "A", sad: "S", relaxed: "R", unknown: "?" };
const PATTERNS = { angry: { dash: [2, 2] }, sad: { dash: [] }, relaxed: { dash: [1, 5] } };
const INK = "#0c0d12";
const HOLLOW = "#2b2f3b";
const CURVES = { valence: { colour: "#f2f3f7", dash: [] }, arousal: { colour: "#c9a0ff", dash: [7, 5] } };

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} span_s Its length, seconds.
   * @param {object} [parts]
   * @param {HTMLElement | null} [parts.corner] Element over its left end; the time labels leave room for it.
   * @param {HTMLElement | null} [parts.tip] Shows what is under the pointer.
   */
  constructor(canvas, span_s, { corner = null, tip = null } = {}) {
    this.canvas = canvas;
    this.corner = corner;
    this.wordRows = WORD_ROWS;
    this.drawnLines = []; // of the words: where each is, and all of its text
    if (tip) this.#listen(tip);
    this.context = canvas.getContext("2d");
    this.span_s = span_s;
    this.past = null;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /** Show a stream from now on. @param {import("./streams.js").StreamHistory | null} past */
  follow(past) {
    this.past = past;
    this.dirty = true;
  }

  /** Set the length, seconds. */
  stretch(span_s) {
    this.span_s = span_s;
    this.dirty = true;
  }

  /** Keep room for words, or give it to the curves. @param {boolean} on */
  showWords(on) {
    const rows = on ? WORD_ROWS : 0;
    if (rows === this.wordRows) return;
    this.wordRows = rows;
    this.#fit();
  }

  /** Mark as changed. */
  touch() {
    this.dirty = true;
  }

  /** Draw if anything changed. */
  draw() {
    if (!this.dirty || this.canvas.width < 2) return;
    this.dirty = false;
    const { context: c, canvas } = this;
    c.clearRect(0, 0, canvas.width, canvas.height);
    this.end_s = this.past?.end_s ?? 0;
    const points = this.#visible();
    const rows = this.#rows();
    this.#grid(rows);
    if (points.length === 0) return;
    this.#bands(rows, points);
    this.#marks(rows);
    for (const [name, look] of Object.entries(CURVES)) this.#curve(rows, points, name, look);
    this.#words(rows);
    canvas.setAttribute("aria-label", this.#inWords(points));
  }

  #visible() {
    const points = this.past?.points ?? [];
    let first = points.length;
    while (first > 0 && points[first - 1].t > this.end_s - this.span_s) first--;
    return points.slice(Math.max(0, first - 1));
  }

  #x(t) {
    return this.canvas.width * (1 - (this.end_s - t) / this.span_s);
  }

  #fit() {
    this.scale = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(width * this.scale));
    this.canvas.height = Math.max(1, Math.round(height * this.scale));
    this.pen = Math.max(this.scale, this.canvas.height / 240);
    this.text_px = Math.max(SMALLEST_TEXT_PX * this.scale, this.canvas.height * 0.082);
    const end = (100 * this.#rows().curve[1]) / this.canvas.height;
    this.corner?.style.setProperty("--curve-end", `${end.toFixed(1)}%`);
    this.dirty = true;
  }

  #rows() {
    const { height } = this.canvas;
    const words = height - 1.3 * this.wordRows * this.text_px;
    return { band: [0.025 * height, 0.13 * height], curve: [0.17 * height, words - 0.05 * height], words };
  }

  #y(value, [top, bottom]) {
    return top + ((1 - value) / 2) * (bottom - top);
  }

  #grid({ curve }) {
    const { context: c, canvas } = this;
    c.strokeStyle = "rgb(255 255 255 / 0.14)";
    c.lineWidth = 0.5 * this.pen;
    c.font = `400 ${0.9 * this.text_px}px ${FONT}`;
    c.fillStyle = "rgb(255 255 255 / 0.6)";
    c.textAlign = "left";
    c.textBaseline = "bottom";
    const step_s = this.span_s > 5 * MINUTE_S ? 2 * MINUTE_S : this.span_s < 2 * MINUTE_S ? MINUTE_S / 2 : MINUTE_S;
    const taken = (this.corner?.offsetWidth ?? 0) * this.scale;
    c.beginPath();
    for (let t = Math.floor(this.end_s / step_s) * step_s; t > this.end_s - this.span_s && t >= 0; t -= step_s) {
      c.moveTo(this.#x(t), curve[0]);
      c.lineTo(this.#x(t), curve[1]);
      const [text, from] = [clock(t), this.#x(t) + 5 * this.pen];
      if (from >= taken && from + c.measureText(text).width <= canvas.width) c.fillText(text, from, curve[1]);
    }
    c.moveTo(0, this.#y(0, curve));
    c.lineTo(canvas.width, this.#y(0, curve));
    c.stroke();
  }

  /** One stripe for each run of the same category, with a line above overrides. */
  #bands({ band: [top, bottom] }, points) {
    const { context: c } = this;
    let from = points[0].t - FIRST_S;
    points.forEach(({ t, top: category, hold }, i) => {
      const next = points[i + 1];
      const broken = next && next.t - t > GAP_S;
      if (next && !broken && next.top === category && next.hold === hold) return;
      const x = this.#x(from);
      this.#stripe(category, x, this.#x(t) - x + 0.5, top, bottom);
      if (hold) {
        c.fillStyle = HELD;
        c.fillRect(x, 0, this.#x(t) - x + 0.5, 0.6 * top);
      }
      from = broken ? next.t - FIRST_S : t;
    });
  }

  /** A run in its colour, with its letter and its pattern; an unknown one is hollow. */
  #stripe(category, x, width, top, bottom) {
    const { context: c } = this;
    const height = bottom - top;
    const known = category in INITIALS && category !== "unknown";
    c.fillStyle = known ? `rgb(${COLOURS[category]})` : HOLLOW;
    c.fillRect(x, top, width, height);
    const pattern = PATTERNS[category];
    if (pattern) {
      const thick = 0.2 * height;
      c.setLineDash(pattern.dash.map((length) => length * thick));
      c.strokeStyle = INK;
      c.lineWidth = thick;
      c.beginPath();
      c.moveTo(x, bottom - 1.2 * thick);
      c.lineTo(x + width, bottom - 1.2 * thick);
      c.stroke();
      c.setLineDash([]);
    }
    const from = Math.max(x, 0) + 0.5 * height;
    if (x + width - from < 1.2 * height) return;
    c.font = `700 ${0.85 * height}px ${FONT}`;
    c.textAlign = "left";
    c.textBaseline = "middle";
    c.fillStyle = known ? `rgb(${COLOURS[category]})` : HOLLOW;
    c.fillRect(from - 0.15 * height, top, 0.95 * height, height); // no pattern behind the letter
    c.fillStyle = known ? INK : "rgb(255 255 255 / 0.8)";
    c.fillText(INITIALS[category] ?? INITIALS.unknown, from, top + 0.55 * height);
  }

  #curve({ curve }, points, name, { colour, dash }) {
    const { context: c } = this;
    c.lineJoin = "round";
    c.setLineDash(dash.map((length) => length * this.pen));
    c.strokeStyle = colour;
    c.lineWidth = 2.4 * this.pen;
    c.beginPath();
    let last = null;
    for (const point of points) {
      const x = this.#x(point.t);
      if (last && point !== points.at(-1) && x - last.x < this.scale) continue; // closer than a pixel
      c[last && point.t - last.t <= GAP_S ? "lineTo" : "moveTo"](x, this.#y(point[name], curve));
      last = { x, t: point.t };
    }
    c.stroke();
    c.setLineDash([]);
  }

  /** A tick for each cue, in the colour of the new category. */
  #marks({ curve }) {
    const { context: c } = this;
    const size = 7 * this.pen;
    for (const { t, to } of this.past.cues) {
      if (t < this.end_s - this.span_s) continue;
      c.fillStyle = `rgb(${COLOURS[to] ?? COLOURS.unknown})`;
      const x = this.#x(t);
      c.fillRect(x - this.pen, curve[0], 2 * this.pen, curve[1] - curve[0]);
      c.beginPath();
      c.moveTo(x - size, curve[1]);
      c.lineTo(x + size, curve[1]);
      c.lineTo(x, curve[1] - 1.5 * size);
      c.fill();
    }
  }

  /** Each line at its time, in alternating rows, cut where the next one of its row begins. */
  #words({ words }) {
    const { context: c, canvas } = this;
    this.drawnLines = [];
    if (this.wordRows === 0) return;
    c.font = `400 ${this.text_px}px ${FONT}`;
    c.textBaseline = "top";
    c.textAlign = "left";
    const ends = Array(this.wordRows).fill(canvas.width);
    for (const line of this.past.lastLines(Infinity).reverse()) {
      const row = line.segment % this.wordRows;
      const from = this.#x(line.t0);
      const room = ends[row] - from;
      ends[row] = from - this.text_px;
      if (from + room <= 0) break;
      c.fillStyle = line.committed ? "rgb(255 255 255 / 0.8)" : "rgb(255 255 255 / 0.6)";
      const top = words + row * 1.3 * this.text_px;
      const shown = this.#cut(line.text, room);
      if (shown) c.fillText(shown, from, top);
      else c.fillRect(from, top + 0.2 * this.text_px, 2 * this.pen, 0.7 * this.text_px);
      const width = shown ? c.measureText(shown).width : 0;
      this.drawnLines.push({ left: from, right: from + width, top, bottom: top + 1.3 * this.text_px, line });
    }
  }

  /** A text, cut to the available width; none where too few letters would be left to read. */
  #cut(text, room) {
    const { context: c } = this;
    if (c.measureText(text).width <= room) return text;
    let [fits, over] = [0, text.length];
    while (over - fits > 1) {
      const middle = (fits + over) >> 1;
      if (c.measureText(`${text.slice(0, middle)}…`).width <= room) fits = middle;
      else over = middle;
    }
    return fits >= READABLE_LETTERS ? `${text.slice(0, fits).trimEnd()}…` : "";
  }

  /** Show the whole line, or the category, at the place of the pointer. */
  #listen(tip) {
    let timer = 0;
    const hide = () => (tip.hidden = true);
    const show = ({ clientX, clientY }) => {
      const box = this.canvas.getBoundingClientRect();
      const text = this.#at((clientX - box.left) * this.scale, (clientY - box.top) * this.scale);
      tip.hidden = text === "";
      if (tip.textContent !== text) tip.textContent = text;
      tip.style.setProperty("--at", `${Math.round(clientX - box.left)}px`);
      clearTimeout(timer);
      timer = setTimeout(hide, TIP_STAYS_MS);
    };
    for (const kind of ["pointermove", "pointerdown"]) this.canvas.addEventListener(kind, show);
    this.canvas.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && hide());
  }

  /** What is drawn at a place: a sung line, or the category. */
  #at(x, y) {
    const near = 6 * this.scale; // a tick is narrow
    const hit = this.drawnLines.find(
      ({ left, right, top, bottom }) => x >= left - near && x <= right + near && y >= top && y < bottom,
    );
    if (hit) return `${clock(hit.line.t0)} ${hit.line.text}`;
    if (y >= this.#rows().words) return "";
    const t = this.end_s - this.span_s * (1 - x / this.canvas.width);
    const point = this.past?.points.find((one) => one.t >= t);
    return point && point.t - t <= GAP_S ? `${clock(t)} ${point.top}` : "";
  }

  #inWords(points) {
    const shares = new Map();
    for (const { top } of points) shares.set(top, (shares.get(top) ?? 0) + 1);
    const parts = [...shares].sort((a, b) => b[1] - a[1]).map(([top, n]) => `${top} ${Math.round((100 * n) / points.length)}%`);
    return `The last ${spanInWords(this.span_s)}: ${parts.join(", ")}`;
  }
}

/** "2 minutes", "30 seconds". */
export function spanInWords(span_s) {
  const minutes = Math.round(span_s / 6) / 10;
  if (minutes < 1) return `${Math.round(span_s)} seconds`;
  return minutes === 1 ? "minute" : `${minutes} minutes`;
}

function clock(t_s) {
  const seconds = Math.round(t_s);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
