// The last minutes: a band of categories, curves of valence and arousal, marks of cues, and lyrics below.

import { COLOURS, FONT, HELD } from "./plane.js";

const WORD_ROWS = 3;
const GAP_S = 3; // gaps longer than this are left empty
const FIRST_S = 0.5; // duration of the first frame
const MINUTE_S = 60;
const SMALLEST_TEXT_PX = 11;
const CURVES = { valence: { colour: "#f2f3f7", dash: [] }, arousal: { colour: "#c9a0ff", dash: [7, 5] } };

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} span_s Its length, seconds.
   * @param {HTMLElement | null} corner Element over its left end; the time labels leave room for it.
   */
  constructor(canvas, span_s, corner = null) {
    this.canvas = canvas;
    this.corner = corner;
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
    this.dirty = true;
  }

  #rows() {
    const { height } = this.canvas;
    const words = height - 1.3 * WORD_ROWS * this.text_px;
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
      c.fillStyle = `rgb(${COLOURS[category] ?? COLOURS.unknown})`;
      c.fillRect(x, top, this.#x(t) - x + 0.5, bottom - top);
      if (hold) {
        c.fillStyle = HELD;
        c.fillRect(x, 0, this.#x(t) - x + 0.5, 0.6 * top);
      }
      from = broken ? next.t - FIRST_S : t;
    });
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
  #marks({ band, curve }) {
    const { context: c } = this;
    const size = 7 * this.pen;
    for (const { t, to } of this.past.cues) {
      if (t < this.end_s - this.span_s) continue;
      c.fillStyle = `rgb(${COLOURS[to] ?? COLOURS.unknown})`;
      const x = this.#x(t);
      c.fillRect(x - this.pen, band[0], 2 * this.pen, curve[1] - band[0]);
      c.beginPath();
      c.moveTo(x - size, curve[1]);
      c.lineTo(x + size, curve[1]);
      c.lineTo(x, curve[1] - 1.5 * size);
      c.fill();
    }
  }

  /** Each line at its time, in alternating rows; a line without room before the next one of its row is cut. */
  #words({ words }) {
    const { context: c, canvas } = this;
    c.font = `400 ${this.text_px}px ${FONT}`;
    c.textBaseline = "top";
    c.textAlign = "left";
    const ends = Array(WORD_ROWS).fill(canvas.width);
    for (const { segment, t0, text, committed } of this.past.lastLines(Infinity).reverse()) {
      const row = segment % WORD_ROWS;
      const from = this.#x(t0);
      const room = ends[row] - from;
      ends[row] = from - this.text_px;
      if (from + room <= 0) break;
      c.fillStyle = committed ? "rgb(255 255 255 / 0.8)" : "rgb(255 255 255 / 0.6)";
      c.fillText(this.#cut(text, room), from, words + row * 1.3 * this.text_px);
    }
  }

  /** A text, cut to the available width. */
  #cut(text, room) {
    const { context: c } = this;
    if (c.measureText(text).width <= room) return text;
    let [fits, over] = [0, text.length];
    while (over - fits > 1) {
      const middle = (fits + over) >> 1;
      if (c.measureText(`${text.slice(0, middle)}…`).width <= room) fits = middle;
      else over = middle;
    }
    return fits > 0 ? `${text.slice(0, fits).trimEnd()}…` : "";
  }

  #inWords(points) {
    const shares = new Map();
    for (const { top } of points) shares.set(top, (shares.get(top) ?? 0) + 1);
    const told = [...shares].sort((a, b) => b[1] - a[1]).map(([top, n]) => `${top} ${Math.round((100 * n) / points.length)}%`);
    return `The last ${spanInWords(this.span_s)}: ${told.join(", ")}`;
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
