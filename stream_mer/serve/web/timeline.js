// The last minutes: a band of categories, the curves of valence and arousal, marks where a cue fired, the words below.

import { COLOURS } from "./plane.js";

const SPAN_S = 120;
const WORD_ROWS = 2;
const KEPT_POINTS = 4000;
const KEPT_LINES = 80;
const MINUTE_S = 60;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const CURVES = { valence: { colour: "#f2f3f7", dash: [] }, arousal: { colour: "#c58af9", dash: [5, 4] } };

export class Timeline {
  /** @param {HTMLCanvasElement} canvas @param {{span_s?: number}} [options] */
  constructor(canvas, { span_s = SPAN_S } = {}) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.span_s = span_s;
    this.clear();
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /** Forget everything, for another stream. */
  clear() {
    this.points = [];
    this.cues = [];
    this.lines = new Map();
    this.dirty = true;
  }

  /** Take an `emotion`, a `change` or a `lyrics` message; others change nothing. */
  take(message) {
    if (message.type === "emotion") this.#point(message);
    else if (message.type === "change") this.cues.push({ t: message.t, to: message.to });
    else if (message.type === "lyrics") this.#line(message);
    else return;
    while (this.cues.length && this.cues[0].t < this.#end() - this.span_s) this.cues.shift();
    this.dirty = true;
  }

  /** Draw if anything is new. */
  draw() {
    if (!this.dirty || this.canvas.width < 2) return;
    this.dirty = false;
    const { context: c, canvas } = this;
    c.clearRect(0, 0, canvas.width, canvas.height);
    const rows = this.#rows();
    this.#grid(rows);
    if (this.points.length === 0) return;
    this.#bands(rows);
    this.#curves(rows);
    this.#marks(rows);
    this.#words(rows);
    this.canvas.setAttribute("aria-label", this.#inWords());
  }

  #point({ t1, valence, arousal, category, hold }) {
    const { points } = this;
    // A new start of the stream, or a value that an operator changed in the same moment.
    if (points.length && t1 < points.at(-1).t) this.clear();
    if (points.length && t1 === points.at(-1).t) points.pop();
    this.points.push({ t: t1, valence, arousal, top: category.top, hold });
    while (this.points.length > KEPT_POINTS || this.points[0].t < t1 - this.span_s) this.points.shift();
  }

  #line({ segment, text, t0 }) {
    if (text) this.lines.set(segment, { segment, t0, text });
    else this.lines.delete(segment);
    while (this.lines.size > KEPT_LINES) this.lines.delete(this.lines.keys().next().value);
  }

  #end() {
    return this.points.at(-1)?.t ?? 0;
  }

  #x(t) {
    return this.canvas.width * (1 - (this.#end() - t) / this.span_s);
  }

  #fit() {
    this.scale = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(width * this.scale));
    this.canvas.height = Math.max(1, Math.round(height * this.scale));
    this.text_px = Math.max(11 * this.scale, this.canvas.height * 0.1);
    this.dirty = true;
  }

  #rows() {
    const { height } = this.canvas;
    const words = height - 1.25 * WORD_ROWS * this.text_px;
    return { band: [0, 0.1 * height], curve: [0.14 * height, words - 0.03 * height], words };
  }

  #y(value, [top, bottom]) {
    return top + ((1 - value) / 2) * (bottom - top);
  }

  #grid({ curve }) {
    const { context: c, canvas } = this;
    c.strokeStyle = "rgb(255 255 255 / 0.1)";
    c.lineWidth = this.scale;
    c.font = `400 ${0.75 * this.text_px}px ${FONT}`;
    c.fillStyle = "rgb(255 255 255 / 0.4)";
    c.textAlign = "left";
    c.textBaseline = "bottom";
    c.beginPath();
    for (let t = Math.floor(this.#end() / MINUTE_S) * MINUTE_S; t > this.#end() - this.span_s && t >= 0; t -= MINUTE_S) {
      c.moveTo(this.#x(t), curve[0]);
      c.lineTo(this.#x(t), curve[1]);
      c.fillText(clock(t), this.#x(t) + 4 * this.scale, curve[1]);
    }
    c.moveTo(0, this.#y(0, curve));
    c.lineTo(canvas.width, this.#y(0, curve));
    c.stroke();
  }

  #bands({ band: [top, bottom] }) {
    const { context: c, points } = this;
    points.forEach((point, i) => {
      const from = this.#x(points[i - 1]?.t ?? point.t - 0.5);
      c.fillStyle = `rgb(${COLOURS[point.top] ?? COLOURS.unknown})`;
      c.globalAlpha = point.hold ? 0.45 : 0.95;
      c.fillRect(from, top, this.#x(point.t) - from + this.scale, bottom - top);
    });
    c.globalAlpha = 1;
  }

  #curves({ curve }) {
    const { context: c, points } = this;
    c.lineJoin = "round";
    c.font = `500 ${0.8 * this.text_px}px ${FONT}`;
    c.textAlign = "left";
    for (const [name, { colour, dash }] of Object.entries(CURVES)) {
      c.beginPath();
      points.forEach((point, i) => c[i ? "lineTo" : "moveTo"](this.#x(point.t), this.#y(point[name], curve)));
      c.setLineDash(dash.map((length) => length * this.scale));
      c.strokeStyle = colour;
      c.lineWidth = 1.8 * this.scale;
      c.stroke();
    }
    c.setLineDash([]);
    let x = 6 * this.scale;
    for (const [name, { colour }] of Object.entries(CURVES)) {
      c.fillStyle = colour;
      c.textBaseline = "top";
      c.fillText(name, x, curve[0]);
      x += c.measureText(name).width + 14 * this.scale;
    }
  }

  /** A tick with the colour of the category that began: where a cue fired. */
  #marks({ band, curve }) {
    const { context: c } = this;
    for (const { t, to } of this.cues) {
      c.fillStyle = `rgb(${COLOURS[to] ?? COLOURS.unknown})`;
      const x = this.#x(t);
      c.fillRect(x - 0.75 * this.scale, band[0], 1.5 * this.scale, curve[1] - band[0]);
      c.beginPath();
      c.moveTo(x - 5 * this.scale, curve[1]);
      c.lineTo(x + 5 * this.scale, curve[1]);
      c.lineTo(x, curve[1] - 8 * this.scale);
      c.fill();
    }
  }

  /** Each line where it was sung, in rows that take turns; one that has no room before the next of its row is cut. */
  #words({ words }) {
    const { context: c, canvas } = this;
    c.font = `400 ${this.text_px}px ${FONT}`;
    c.fillStyle = "rgb(255 255 255 / 0.72)";
    c.textBaseline = "top";
    c.textAlign = "left";
    const lines = [...this.lines.values()].sort((a, b) => a.t0 - b.t0);
    lines.forEach(({ t0, text, segment: i }, at) => {
      const from = this.#x(t0);
      const next = lines.slice(at + 1).find((other) => other.segment % WORD_ROWS === i % WORD_ROWS);
      const room = (next ? this.#x(next.t0) : canvas.width) - from - 8 * this.scale;
      if (from + room <= 0 || room < this.text_px) return;
      c.save();
      c.beginPath();
      c.rect(from, words, room, canvas.height - words);
      c.clip();
      c.fillText(text, from, words + (i % WORD_ROWS) * 1.25 * this.text_px);
      c.restore();
    });
  }

  #inWords() {
    const shares = new Map();
    for (const { top } of this.points) shares.set(top, (shares.get(top) ?? 0) + 1);
    const told = [...shares].sort((a, b) => b[1] - a[1]).map(([top, n]) => `${top} ${Math.round((100 * n) / this.points.length)}%`);
    return `The last ${Math.round(this.span_s / 60)} minutes: ${told.join(", ")}`;
  }
}

function clock(t_s) {
  const seconds = Math.round(t_s);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
