// The streams of a server: what is remembered of each, and which one is on show.

import { Past } from "./past.js";
import { write } from "./view.js";

const SAID = { freeze: "frozen", blackout: "blackout", override: "overridden" };

export class Streams {
  /**
   * @param {object} options
   * @param {HTMLElement} options.picker Hidden while there is nothing to pick.
   * @param {HTMLElement} options.elsewhere Tells which of the others an operator holds.
   * @param {string | null} options.wanted The one to show; null for the first one that there is.
   * @param {() => void} options.onChoice Called when another one is on show, or none.
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

  /** What is remembered of the stream on show; null while there is none. */
  get past() {
    return this.pasts.get(this.chosen) ?? null;
  }

  get names() {
    return [...this.pasts.keys()];
  }

  /** What is remembered of this stream. */
  of(name) {
    if (!this.pasts.has(name)) {
      this.pasts.set(name, new Past());
      const option = document.createElement("option");
      option.value = option.textContent = name;
      this.select.append(option);
      if (this.chosen === null && (this.wanted ?? name) === name) this.#choose(name);
      this.#arrange();
    }
    return this.pasts.get(name);
  }

  /** Show this one, now and after the server was started anew. */
  want(name) {
    this.wanted = name;
    this.#choose(name);
  }

  /** Show the next one. */
  next() {
    const { names } = this;
    this.want(names[(names.indexOf(this.chosen) + 1) % names.length]);
  }

  /** Tell what operators hold, of the others too. */
  mark() {
    const held = [...this.pasts].filter(([, past]) => past.emotion?.hold);
    for (const option of this.select.options) {
      const hold = this.pasts.get(option.value).emotion?.hold;
      write(option, hold ? `${option.value} (${SAID[hold] ?? "held"})` : option.value);
    }
    const others = held.filter(([name]) => name !== this.chosen).map(([name]) => name);
    write(this.elsewhere, others.length > 0 ? `held: ${others.join(", ")}` : "");
  }

  /** The server is another one now. */
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
