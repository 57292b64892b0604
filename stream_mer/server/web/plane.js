// The valence-arousal plane: quadrants, the moving point, its trail and its prediction interval.

const TRAIL_S = 25;
const EASE_S = 0.28;
const FADE_EVERY_S = 0.25;
const GAP_S = 3; // after this long without a frame, the trail is interrupted
const SPAN = 0.99; // of the canvas; the rest keeps the border from being cut
const SMALLEST_TEXT_PX = 11;
const CORNERS = {
  happy: { x: 1, y: 1, rgb: [243, 183, 74] },
  angry: { x: -1, y: 1, rgb: [238, 93, 88] },
  sad: { x: -1, y: -1, rgb: [108, 155, 245] },
  relaxed: { x: 1, y: -1, rgb: [82, 196, 162] },
};
/** Red, green and blue of each category. */
export const COLOURS = {
  ...Object.fromEntries(Object.entries(CORNERS).map(([name, { rgb }]) => [name, rgb])),
  unknown: [138, 144, 162],
};
/** Colour of overrides, everywhere. */
export const HELD = "#ffc46b";
export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/** Mix the colours of the quadrants by the distance of a point to each corner. */
export function colourAt(valence, arousal) {
  const sum = [0, 0, 0];
  for (const { x, y, rgb } of Object.values(CORNERS)) {
    const weight = ((1 + x * clamp(valence * 1.6)) / 2) * ((1 + y * clamp(arousal * 1.6)) / 2);
    rgb.forEach((part, i) => (sum[i] += part * weight));
  }
  return sum.map(Math.round);
}

export class Plane {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.ground = document.createElement("canvas");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.drawnAt_s = 0;
    this.follow(null);
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /** Show a stream from now on. @param {import("./streams.js").StreamHistory | null} past */
  follow(past) {
    this.past = past;
    this.target = null;
    this.shown = null;
    this.drawn = null;
    this.dirty = true;
    this.move();
  }

  /** Move to the newest frame. */
  move() {
    const frame = this.past?.emotion;
    if (!frame) return;
    const { valence, arousal, raw, interval, hold } = frame;
    this.target = [valence, arousal, ...interval.valence, ...interval.arousal, raw.valence, raw.arousal];
    this.hold = hold;
    if (this.shown === null || this.still.matches) this.shown = this.target;
    this.dirty = true;
  }

  /** Valence and arousal at a place on the screen, each -1..1. */
  valuesAt(x, y) {
    const box = this.canvas.getBoundingClientRect();
    const half = (Math.min(box.width, box.height) * SPAN) / 2;
    return [clamp((x - box.left - box.width / 2) / half), clamp((box.top + box.height / 2 - y) / half)];
  }

  /** Draw if anything moved. @param {number} now_s @param {number} passed_s Since the last time. */
  draw(now_s, passed_s) {
    if (this.target && this.drawn) this.#approach(passed_s);
    // The trail fades slowly: a few times a second are enough; with reduced motion, once a frame.
    const fades = !this.still.matches && now_s - this.drawnAt_s > FADE_EVERY_S;
    if ((!this.dirty && !fades) || this.canvas.width < 2) return;
    const trail = this.#recent(now_s);
    if (!this.dirty && trail.length < 2) return;
    this.dirty = false;
    this.drawnAt_s = now_s;
    this.drawn = this.shown;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.context.drawImage(this.ground, 0, 0);
    if (!this.shown) return;
    this.#interval();
    this.#trail(trail);
    if (this.hold) this.#live();
    this.#point();
  }

  #recent(now_s) {
    const { past } = this;
    const recent = [];
    if (!past?.emotion) return recent;
    const waited_s = Math.max(0, now_s - past.frameAt_s);
    for (let i = past.points.length - 1; i >= 0; i--) {
      const age_s = past.end_s - past.points[i].t + waited_s;
      if (age_s > TRAIL_S) break;
      recent.push({ ...past.points[i], fresh: 1 - age_s / TRAIL_S });
    }
    return recent.reverse();
  }

  #fit() {
    this.scale = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = this.canvas.getBoundingClientRect();
    for (const canvas of [this.canvas, this.ground]) {
      canvas.width = Math.max(1, Math.round(width * this.scale));
      canvas.height = Math.max(1, Math.round(height * this.scale));
    }
    this.size = Math.min(this.canvas.width, this.canvas.height);
    this.unit = this.size / 100;
    this.#paintGround();
    this.dirty = true;
  }

  #approach(passed_s) {
    const share = this.still.matches ? 1 : 1 - Math.exp(-passed_s / EASE_S);
    const { shown, target } = this;
    this.shown = shown.map((from, i) => from + (target[i] - from) * share);
    const unseen = 1 / this.size; // half a pixel
    if (this.shown.some((value, i) => Math.abs(value - this.drawn[i]) > unseen)) this.dirty = true;
  }

  #x(valence) {
    return this.canvas.width / 2 + (clamp(valence) * this.size * SPAN) / 2;
  }

  #y(arousal) {
    return this.canvas.height / 2 - (clamp(arousal) * this.size * SPAN) / 2;
  }

  /** The static background, painted once: gradients over the whole plane are expensive. */
  #paintGround() {
    const { unit } = this;
    const c = this.ground.getContext("2d");
    const [left, right, top, bottom] = [this.#x(-1), this.#x(1), this.#y(1), this.#y(-1)];
    c.save();
    c.beginPath();
    c.roundRect(left, top, right - left, bottom - top, 2.4 * unit);
    c.fillStyle = "#11131a";
    c.fill();
    c.clip();
    for (const { x, y, rgb } of Object.values(CORNERS)) {
      const glow = c.createRadialGradient(this.#x(x), this.#y(y), 0, this.#x(x), this.#y(y), 62 * unit);
      glow.addColorStop(0, `rgba(${rgb}, 0.26)`);
      glow.addColorStop(1, `rgba(${rgb}, 0)`);
      c.fillStyle = glow;
      c.fillRect(left, top, right - left, bottom - top);
    }
    c.restore();
    this.labels = [];
    this.#paintAxes(c, left, right, top, bottom);
    c.font = `600 ${5.4 * unit}px ${FONT}`;
    for (const [name, { x, y, rgb }] of Object.entries(CORNERS)) {
      c.fillStyle = `rgb(${rgb})`;
      const [align, baseline] = [x < 0 ? "left" : "right", y > 0 ? "top" : "bottom"];
      this.#label(c, name, this.#x(x) - x * 3 * unit, this.#y(y) + y * 3 * unit, align, baseline, 5.4 * unit);
    }
  }

  #paintAxes(c, left, right, top, bottom) {
    const { unit } = this;
    c.strokeStyle = "rgb(255 255 255 / 0.2)";
    c.lineWidth = 0.25 * unit;
    c.beginPath();
    c.moveTo(left, this.#y(0));
    c.lineTo(right, this.#y(0));
    c.moveTo(this.#x(0), top);
    c.lineTo(this.#x(0), bottom);
    c.stroke();
    const px = Math.max(3.1 * unit, SMALLEST_TEXT_PX * this.scale);
    c.font = `400 ${px}px ${FONT}`;
    c.fillStyle = "rgb(255 255 255 / 0.62)";
    this.#label(c, "pleasant", right - 2 * unit, this.#y(0) - unit, "right", "bottom", px);
    this.#label(c, "unpleasant", left + 2 * unit, this.#y(0) - unit, "left", "bottom", px);
    this.#label(c, "excited", this.#x(0) + 1.4 * unit, top + 2 * unit, "left", "top", px);
    this.#label(c, "calm", this.#x(0) + 1.4 * unit, bottom - 2 * unit, "left", "bottom", px);
  }

  /** Write on the ground, and keep where: other words must not cover it. */
  #label(c, text, x, y, align, baseline, px) {
    c.textAlign = align;
    c.textBaseline = baseline;
    c.fillText(text, x, y);
    const { width } = c.measureText(text);
    const left = align === "right" ? x - width : x;
    const top = baseline === "bottom" ? y - px : y;
    this.labels.push([left, top, left + width, top + px]);
  }

  /** The intervals hold for each axis separately; an ellipse inside the box claims no more than that. */
  #interval() {
    const { context: c, unit } = this;
    const [valence, arousal, v0, v1, a0, a1] = this.shown;
    const [left, right, low, high] = [this.#x(v0), this.#x(v1), this.#y(a0), this.#y(a1)];
    const rgb = colourAt(valence, arousal);
    c.beginPath();
    c.ellipse((left + right) / 2, (low + high) / 2, Math.abs(right - left) / 2, Math.abs(low - high) / 2, 0, 0, 2 * Math.PI);
    c.fillStyle = `rgba(${rgb}, 0.1)`;
    c.fill();
    c.setLineDash([1.2 * unit, 1.2 * unit]);
    c.strokeStyle = `rgba(${rgb}, 0.6)`;
    c.lineWidth = 0.3 * unit;
    c.stroke();
    c.setLineDash([]);
  }

  #trail(trail) {
    const { context: c, unit } = this;
    c.lineCap = "butt"; // round ends would overlap and show as dots
    c.lineWidth = 0.9 * unit;
    for (let i = 1; i < trail.length; i++) {
      const [from, to] = [trail[i - 1], trail[i]];
      if (to.t - from.t > GAP_S) continue;
      const [valence, arousal] = i === trail.length - 1 ? this.shown : [to.valence, to.arousal];
      c.strokeStyle = `rgba(${colourAt(to.valence, to.arousal)}, ${(0.85 * to.fresh ** 1.3).toFixed(3)})`;
      c.beginPath();
      c.moveTo(this.#x(from.valence), this.#y(from.arousal));
      c.lineTo(this.#x(valence), this.#y(arousal));
      c.stroke();
    }
  }

  #point() {
    const { context: c, unit } = this;
    const [valence, arousal] = this.shown;
    const [x, y] = [this.#x(valence), this.#y(arousal)];
    const rgb = colourAt(valence, arousal);
    const halo = c.createRadialGradient(x, y, 0, x, y, 9 * unit);
    halo.addColorStop(0, `rgba(${rgb}, 0.75)`);
    halo.addColorStop(1, `rgba(${rgb}, 0)`);
    c.fillStyle = halo;
    this.#disc(x, y, 9 * unit);
    c.fill();
    if (this.hold) {
      c.strokeStyle = HELD;
      c.lineWidth = 0.8 * unit;
      c.strokeRect(x - 3.4 * unit, y - 3.4 * unit, 6.8 * unit, 6.8 * unit);
    }
    c.fillStyle = "#fff";
    this.#disc(x, y, 1.9 * unit);
    c.fill();
  }

  /** The live values during an override, to which `resume` would go back. */
  #live() {
    const { context: c, unit } = this;
    const [x, y] = [this.#x(this.shown[6]), this.#y(this.shown[7])];
    c.strokeStyle = "rgb(255 255 255 / 0.75)";
    c.lineWidth = 0.4 * unit;
    this.#disc(x, y, 1.7 * unit);
    c.stroke();
    const px = Math.max(2.8 * unit, SMALLEST_TEXT_PX * this.scale);
    c.font = `400 ${px}px ${FONT}`;
    c.fillStyle = "rgb(255 255 255 / 0.75)";
    c.textAlign = "left";
    c.textBaseline = "top";
    c.fillText("music", ...this.#freePlace(x, y, c.measureText("music").width, px));
  }

  /** Where a word beside a point covers neither a label nor the edge: right, left, below or above. */
  #freePlace(x, y, width, height) {
    const away = 2.6 * this.unit;
    const [left, right, top, bottom] = [this.#x(-1), this.#x(1), this.#y(1), this.#y(-1)];
    const places = [];
    const rows = [1, 2, 3].flatMap((far) => [y + far * away, y - far * away - height]);
    for (const row of [y - height / 2, ...rows]) {
      for (const column of [x + away, x - away - width, x - width / 2]) places.push([column, row]);
    }
    const covers = ([column, row]) =>
      column < left || row < top || column + width > right || row + height > bottom ||
      (column < x + away / 2 && column + width > x - away / 2 && row < y + away / 2 && row + height > y - away / 2) ||
      this.labels.some(([x0, y0, x1, y1]) => column < x1 && column + width > x0 && row < y1 && row + height > y0);
    return places.find((place) => !covers(place)) ?? places[0];
  }

  #disc(x, y, radius) {
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
  }
}

function clamp(value) {
  return Math.max(-1, Math.min(1, value));
}
