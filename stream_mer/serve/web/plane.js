// The valence-arousal plane: quadrants, the moving point, its trail, and how far it may be off.

const TRAIL_S = 25;
const EASE_S = 0.28;
const SPAN = 0.99; // of the canvas; what is left keeps the frame's edge from being cut
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
const TOGETHER_S = 0.05; // frames that come at once were missed before: only the last of them is now
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/** Mix the colours of the quadrants by how near a point is to each corner. */
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
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.clear();
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /** Forget everything, for another stream. */
  clear() {
    this.target = null;
    this.shown = null;
    this.trail = [];
    this.dirty = true;
  }

  /** Take the next frame. */
  move({ valence, arousal, interval }) {
    this.target = { valence, arousal, v: interval.valence, a: interval.arousal };
    if (this.shown === null || this.still.matches) this.shown = structuredClone(this.target);
    const at = performance.now() / 1000;
    if (this.trail.length && at - this.trail.at(-1).at < TOGETHER_S) this.trail.pop();
    this.trail.push({ valence, arousal, at });
    this.dirty = true;
  }

  /** Draw if anything moved. */
  draw(now_s, passed_s) {
    const { trail } = this;
    while (trail.length && now_s - trail[0].at > TRAIL_S) {
      trail.shift();
      this.dirty = true;
    }
    if (this.target && this.#approach(passed_s)) this.dirty = true;
    // The trail fades all the time; without movement wanted, once per frame of the stream is enough.
    if (trail.length > 1 && !this.still.matches) this.dirty = true;
    if (!this.dirty) return;
    this.dirty = false;
    this.#ground();
    if (this.shown) {
      this.#interval();
      this.#trail(now_s);
      this.#point();
    }
  }

  #fit() {
    this.scale = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(width * this.scale));
    this.canvas.height = Math.max(1, Math.round(height * this.scale));
    this.size = Math.min(this.canvas.width, this.canvas.height);
    this.unit = this.size / 100;
    this.dirty = true;
  }

  #approach(passed_s) {
    const share = this.still.matches ? 1 : 1 - Math.exp(-passed_s / EASE_S);
    const { shown, target } = this;
    const towards = (from, to) => (Math.abs(to - from) < 2e-4 ? to : from + (to - from) * share);
    const next = {
      valence: towards(shown.valence, target.valence),
      arousal: towards(shown.arousal, target.arousal),
      v: shown.v.map((end, i) => towards(end, target.v[i])),
      a: shown.a.map((end, i) => towards(end, target.a[i])),
    };
    const moved = next.valence !== shown.valence || next.arousal !== shown.arousal ||
      next.v.some((end, i) => end !== shown.v[i]) || next.a.some((end, i) => end !== shown.a[i]);
    this.shown = next;
    return moved;
  }

  #x(valence) {
    return this.canvas.width / 2 + (clamp(valence) * this.size * SPAN) / 2;
  }

  #y(arousal) {
    return this.canvas.height / 2 - (clamp(arousal) * this.size * SPAN) / 2;
  }

  #ground() {
    const { context: c, unit } = this;
    const [left, right, top, bottom] = [this.#x(-1), this.#x(1), this.#y(1), this.#y(-1)];
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
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
    this.#axes(left, right, top, bottom);
    for (const [name, { x, y, rgb }] of Object.entries(CORNERS)) {
      c.font = `600 ${4.4 * unit}px ${FONT}`;
      c.fillStyle = `rgba(${rgb}, 0.95)`;
      c.textAlign = x < 0 ? "left" : "right";
      c.textBaseline = y > 0 ? "top" : "bottom";
      c.fillText(name, this.#x(x) - x * 3 * unit, this.#y(y) + y * 3 * unit);
    }
  }

  #axes(left, right, top, bottom) {
    const { context: c, unit } = this;
    c.strokeStyle = "rgb(255 255 255 / 0.16)";
    c.lineWidth = 0.25 * unit;
    c.beginPath();
    c.moveTo(left, this.#y(0));
    c.lineTo(right, this.#y(0));
    c.moveTo(this.#x(0), top);
    c.lineTo(this.#x(0), bottom);
    c.stroke();
    c.font = `400 ${Math.max(2.5 * unit, SMALLEST_TEXT_PX * this.scale)}px ${FONT}`;
    c.fillStyle = "rgb(255 255 255 / 0.5)";
    c.textAlign = "right";
    c.textBaseline = "bottom";
    c.fillText("pleasant", right - 2 * unit, this.#y(0) - unit);
    c.textAlign = "left";
    c.fillText("unpleasant", left + 2 * unit, this.#y(0) - unit);
    c.textBaseline = "top";
    c.fillText("excited", this.#x(0) + 1.4 * unit, top + 2 * unit);
    c.textBaseline = "bottom";
    c.fillText("calm", this.#x(0) + 1.4 * unit, bottom - 2 * unit);
  }

  /** The interval holds the truth in each direction on its own, so an ellipse inside the box says no more than that. */
  #interval() {
    const { context: c, shown, unit } = this;
    const [left, right, low, high] = [this.#x(shown.v[0]), this.#x(shown.v[1]), this.#y(shown.a[0]), this.#y(shown.a[1])];
    const rgb = colourAt(shown.valence, shown.arousal);
    c.beginPath();
    c.ellipse((left + right) / 2, (low + high) / 2, Math.abs(right - left) / 2, Math.abs(low - high) / 2, 0, 0, 2 * Math.PI);
    c.fillStyle = `rgba(${rgb}, 0.1)`;
    c.fill();
    c.setLineDash([1.2 * unit, 1.2 * unit]);
    c.strokeStyle = `rgba(${rgb}, 0.5)`;
    c.lineWidth = 0.25 * unit;
    c.stroke();
    c.setLineDash([]);
  }

  #trail(now_s) {
    const { context: c, trail, unit } = this;
    c.lineCap = "butt"; // round ends would overlap and show as dots
    c.lineWidth = 0.7 * unit;
    for (let i = 1; i < trail.length; i++) {
      const [from, to] = [trail[i - 1], trail[i]];
      const last = i === trail.length - 1;
      const fresh = Math.max(0, 1 - (now_s - to.at) / TRAIL_S);
      const end = last ? this.shown : to;
      c.strokeStyle = `rgba(${colourAt(to.valence, to.arousal)}, ${(0.75 * fresh ** 1.5).toFixed(3)})`;
      c.beginPath();
      c.moveTo(this.#x(from.valence), this.#y(from.arousal));
      c.lineTo(this.#x(end.valence), this.#y(end.arousal));
      c.stroke();
    }
  }

  #point() {
    const { context: c, shown, unit } = this;
    const [x, y] = [this.#x(shown.valence), this.#y(shown.arousal)];
    const rgb = colourAt(shown.valence, shown.arousal);
    const halo = c.createRadialGradient(x, y, 0, x, y, 9 * unit);
    halo.addColorStop(0, `rgba(${rgb}, 0.75)`);
    halo.addColorStop(1, `rgba(${rgb}, 0)`);
    c.fillStyle = halo;
    c.beginPath();
    c.arc(x, y, 9 * unit, 0, 2 * Math.PI);
    c.fill();
    c.fillStyle = "#fff";
    c.beginPath();
    c.arc(x, y, 1.9 * unit, 0, 2 * Math.PI);
    c.fill();
  }
}

function clamp(value) {
  return Math.max(-1, Math.min(1, value));
}
