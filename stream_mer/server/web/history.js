// The history of one stream: its newest messages and its last minutes. Bounded; independent of the display.

export const MAX_AGE_S = 600;
const MAX_POINTS = 6600; // ten minutes at 10 Hz, and some room so that they are not moved with every frame
const ROOM = 600;
const MAX_LINES = 150;
const MAX_CUES = 300;

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
