// The operator's hand: freeze, blackout, override and back to live, by button, key or a touch of the plane.

import { $ } from "./view.js";

const NUDGE = 0.1;
const KEYS = { z: "freeze", b: "blackout", o: "override", l: "resume" };
const ARROWS = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, NUDGE], ArrowDown: [0, -NUDGE] };
const SAID = { freeze: "Frozen", blackout: "Blackout", override: "Overridden" };

export class Operator {
  /**
   * @param {object} options
   * @param {object} options.mer The client.
   * @param {() => string | null} options.stream The stream on show.
   * @param {(why: string) => void} options.refused What to do when the server says no.
   */
  constructor({ mer, stream, refused }) {
    this.mer = mer;
    this.stream = stream;
    this.refused = refused;
    this.allowed = false;
    this.aiming = false;
    this.frame = null;
    for (const button of $("operator").querySelectorAll("button")) {
      button.addEventListener("click", () => this.#press(button.dataset.action));
    }
    $("plane").addEventListener("pointerdown", (event) => this.#aimAt(event));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show the tools to those who may use them. */
  allow(role) {
    this.allowed = role === "operator";
    $("operator").hidden = !this.allowed;
  }

  /** Show what is held now; everybody sees that. */
  show(frame) {
    this.frame = frame;
    const { hold } = frame;
    const root = document.documentElement;
    if (hold) root.dataset.hold = hold;
    else delete root.dataset.hold;
    $("held").hidden = !hold;
    $("held").textContent = hold ? (SAID[hold] ?? "Held") : "";
    for (const button of $("operator").querySelectorAll("button")) {
      const { action } = button.dataset;
      const pressed = action === "override" ? hold === action || this.aiming : action === hold;
      button.setAttribute("aria-pressed", String(pressed));
      if (action === "resume") button.disabled = !hold && !this.aiming;
    }
  }

  #press(action) {
    if (action === "override") this.#aim(!this.aiming);
    else {
      this.#aim(false);
      this.#send(action);
    }
  }

  #aim(on) {
    this.aiming = on;
    $("plane").toggleAttribute("data-aim", on);
    $("aim").hidden = !on;
    if (this.frame) this.show(this.frame);
  }

  #aimAt(event) {
    if (!this.allowed || !this.aiming) return;
    const box = $("plane").getBoundingClientRect();
    const size = Math.min(box.width, box.height);
    const across = (event.clientX - box.left - box.width / 2) / (size / 2);
    const up = (box.top + box.height / 2 - event.clientY) / (size / 2);
    this.#override(across, up);
  }

  #override(valence, arousal) {
    const within = (value) => Math.max(-1, Math.min(1, Math.round(100 * value) / 100));
    const override = { valence: within(valence), arousal: within(arousal) };
    const ttl_s = Number($("ttl").value);
    if (ttl_s > 0) override.ttl_s = ttl_s;
    this.#send("override", { override });
  }

  async #send(action, more = {}) {
    const stream = this.stream();
    if (stream === null) return;
    const { ok, error } = await this.mer.control(action, { streams: [stream], ...more });
    if (!ok) this.refused(error.message);
  }

  #key(event) {
    const { target, key } = event;
    const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    if (!this.allowed || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (key in KEYS) this.#press(KEYS[key]);
    else if (key === "Escape" && this.aiming) this.#aim(false);
    else if (key in ARROWS && this.aiming && this.frame) {
      const [right, up] = ARROWS[key];
      this.#override(this.frame.valence + right, this.frame.arousal + up);
      event.preventDefault();
    }
  }
}
