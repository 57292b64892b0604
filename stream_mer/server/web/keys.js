// Keyboard shortcuts, all in one place, so that the list behind `?` is complete.

const KEPT_AS = "stream_mer.keys";

/**
 * @typedef {object} Binding
 * @property {string} key As in `KeyboardEvent.key`.
 * @property {string} what What it does, for the list.
 * @property {() => void} run
 * @property {() => boolean} [when] Whether it does anything now.
 * @property {string} [shown] Name of the key in the list.
 */

export class Keys {
  constructor() {
    /** @type {Binding[]} */
    this.bindings = [];
    this.on = recall() !== "off";
    document.addEventListener("keydown", (event) => this.#press(event));
    this.#dropFocusOfLists();
  }

  /** @param {...Binding} bindings */
  add(...bindings) {
    this.bindings.push(...bindings);
  }

  /** Switch single letters on or off: they can be hit by accident, or by speech input. */
  turn(on) {
    this.on = on;
    try {
      localStorage.setItem(KEPT_AS, on ? "on" : "off");
    } catch {
      // without storage, it holds for this visit
    }
  }

  /** Write the shortcuts that apply now into a table. @param {HTMLTableElement} table */
  list(table) {
    table.replaceChildren();
    for (const { key, what, shown, when } of this.bindings) {
      if (when && !when()) continue;
      const row = table.insertRow();
      const name = document.createElement("kbd");
      name.textContent = shown ?? key;
      row.insertCell().append(name);
      row.insertCell().textContent = what;
    }
  }

  /** A list keeps the focus after a choice by mouse or touch, and would take the letters: drop it. */
  #dropFocusOfLists() {
    let byHand = false;
    document.addEventListener("pointerdown", () => (byHand = true));
    document.addEventListener("keydown", () => (byHand = false));
    document.addEventListener("change", ({ target }) => {
      if (byHand && target instanceof HTMLSelectElement) target.blur();
    });
  }

  #press(event) {
    const { key, target } = event;
    const typing = target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && target.type !== "checkbox");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const letter = key.length === 1;
    if (letter && (!this.on || event.repeat)) return;
    const known = this.bindings.find((one) => one.key === (letter ? key.toLowerCase() : key) && (one.when?.() ?? true));
    if (!known) return;
    event.preventDefault();
    known.run();
  }
}

function recall() {
  try {
    return localStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}
