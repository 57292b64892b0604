// The operator's tools: freeze, blackout, override and resume, by button, by key or by a touch of the plane.

import { $, say, write } from "./view.js";

const NUDGE = 0.05;
const AT_MOST_EVERY_MS = 100;
const LETTERS = { freeze: "z", blackout: "b", override: "o", resume: "l" };
const MEANS = {
  freeze: "freeze the values, or resume",
  blackout: "blackout, or resume",
  override: "override: choose the values on the plane",
  resume: "live: back to the values of the music",
};
const SCOPES = ["shown", "all"];
const ARROWS = {
  ArrowLeft: ["←", "less pleasant", -NUDGE, 0],
  ArrowRight: ["→", "more pleasant", NUDGE, 0],
  ArrowUp: ["↑", "more excited", 0, NUDGE],
  ArrowDown: ["↓", "calmer", 0, -NUDGE],
};
const SAID = { freeze: "Frozen", blackout: "Blackout", override: "Overridden" };

export class Operator {
  /**
   * @param {object} options
   * @param {object} options.mer The client.
   * @param {import("./streams.js").Streams} options.streams
   * @param {import("./plane.js").Plane} options.plane
   * @param {import("./keys.js").Keys} options.keys
   * @param {(why: string) => void} options.refused Called when the server refuses.
   */
  constructor({ mer, streams, plane, keys, refused }) {
    this.mer = mer;
    this.streams = streams;
    this.plane = plane;
    this.refused = refused;
    this.allowed = false;
    this.aiming = false;
    this.aim = null; // the values of the override that was requested last
    this.sending = false;
    this.buttons = [...$("operator").querySelectorAll("[data-action]")];
    for (const button of this.buttons) button.addEventListener("click", () => this.#press(button.dataset.action));
    // A time chosen after the values applies too, as long as the plane is active.
    $("ttl").addEventListener("change", () => this.aim && this.#override(...this.aim));
    $("scope").addEventListener("change", () => this.#mark());
    this.#listen($("plane"));
    const allowed = () => this.allowed;
    for (const [action, key] of Object.entries(LETTERS)) {
      keys.add({ key, what: MEANS[action], when: allowed, run: () => this.#press(action) });
    }
    keys.add({ key: "a", what: "act on this stream, or on all streams", when: allowed, run: () => this.#turnScope() });
    const aiming = () => this.aiming;
    for (const [key, [shown, what, right, up]] of Object.entries(ARROWS)) {
      keys.add({ key, shown, what, when: aiming, run: () => this.#nudge(right, up) });
    }
    keys.add({ key: "Escape", shown: "Esc", what: "leave the plane; the override stays", when: aiming, run: () => this.#target(false) });
  }

  /** Show or hide the tools. @param {boolean} allowed */
  allow(allowed) {
    this.allowed = allowed;
    $("operator").hidden = !allowed;
    if (!allowed) this.#target(false);
  }

  /** Whether commands go to all streams, and not to the shown one alone. */
  get actsOnAll() {
    return $("scope").value === "all";
  }

  /** Show the override in force. @param {object | null} frame */
  show(frame) {
    const hold = frame?.hold ?? null;
    const root = document.documentElement;
    if (root.dataset.hold === "override" && hold !== "override") this.aim = null;
    if (hold) root.dataset.hold = hold;
    else delete root.dataset.hold;
    $("held").hidden = !hold;
    const said = hold ? (SAID[hold] ?? "Held") : "";
    if ($("held-how").textContent !== said) say(said || "Live again");
    write($("held-how"), said);
    this.#mark();
  }

  #mark() {
    const hold = this.streams.past?.emotion?.hold ?? null;
    for (const button of this.buttons) {
      const { action } = button.dataset;
      if (action === undefined) continue;
      if (action === "resume") button.disabled = !(hold || (this.actsOnAll && this.streams.anyHeld));
      else button.setAttribute("aria-pressed", String(action === hold || (action === "override" && this.aiming)));
    }
  }

  /** Count down an override with an end. @param {object | null} frame @param {number} since_s Seconds since it came. */
  count(frame, since_s) {
    const left_s = frame?.hold_left_s;
    const counts = left_s !== null && left_s !== undefined;
    write($("held-left"), counts ? countdown(left_s - since_s) : "");
  }

  /** Another stream is held, or no longer. */
  onOthers() {
    if (this.actsOnAll) this.#mark();
  }

  /** Another stream was chosen: leave the plane. */
  leave() {
    this.#target(false);
  }

  #press(action) {
    if (action === "override") this.#target(!this.aiming);
    else {
      this.#target(false);
      const held = this.streams.past?.emotion?.hold;
      if (action === "resume" && !held && !(this.actsOnAll && this.streams.anyHeld)) return;
      this.#send(action === held ? "resume" : action);
    }
  }

  #turnScope() {
    $("scope").value = SCOPES.find((scope) => scope !== $("scope").value);
    say($("scope").selectedOptions[0].text);
    this.#mark();
  }

  #target(on) {
    this.aiming = on;
    this.aim = null;
    $("plane").toggleAttribute("data-aim", on);
    $("aim").hidden = !on;
    delete $("aim").dataset.above;
    this.show(this.streams.past?.emotion ?? null);
  }

  #listen(canvas) {
    const touch = (event) => this.#override(...this.plane.valuesAt(event.clientX, event.clientY));
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.aiming || event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      touch(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.aiming && canvas.hasPointerCapture(event.pointerId)) touch(event);
    });
  }

  #nudge(right, up) {
    const frame = this.streams.past?.emotion;
    if (!frame) return;
    const [valence, arousal] = this.aim ?? [frame.valence, frame.arousal];
    this.#override(valence + right, arousal + up);
  }

  #override(...values) {
    this.aim = values.map((value) => Math.max(-1, Math.min(1, Math.round(100 * value) / 100)));
    $("aim").toggleAttribute("data-above", this.aim[1] < 0); // the label must not cover the pointer
    if (!this.sending) this.#sendAim();
  }

  /** Send the newest values, at a limited rate while the pointer is dragged. */
  async #sendAim() {
    this.sending = true;
    let sent = null;
    while (this.aim !== null && this.aim !== sent) {
      sent = this.aim;
      const override = { valence: sent[0], arousal: sent[1] };
      const ttl_s = Number($("ttl").value);
      if (ttl_s > 0) override.ttl_s = ttl_s;
      await this.#send("override", { override });
      await new Promise((resolve) => setTimeout(resolve, AT_MOST_EVERY_MS));
    }
    this.sending = false;
  }

  async #send(action, more = {}) {
    const stream = this.streams.chosen;
    if (stream === null) return;
    const { ok, error } = await this.mer.control(action, { streams: this.actsOnAll ? [] : [stream], ...more });
    if (!ok) this.refused(error.message);
  }
}

function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
}
