// The streams of a server: the history of each, and which one is shown.

import { StreamHistory } from "./history.js";
import { write } from "./view.js";

const SAID = { freeze: "frozen", blackout: "blackout", override: "overridden" };

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
      write(option, hold ? `${option.value} (${SAID[hold] ?? "held"})` : option.value);
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
