// Keyboard shortcuts. One place knows them all, so the list behind `?` tells no lies.

const KEPT_AS = "stream_mer.keys";

/**
 * @typedef {object} Binding
 * @property {string} key As in `KeyboardEvent.key`.
 * @property {string} what What it does, for the list.
 * @property {() => void} run
 * @property {() => boolean} [when] Whether it does anything now.
 * @property {string} [shown] What to call the key in the list.
 */

export class Keys {
  constructor() {
    /** @type {Binding[]} */
    this.bindings = [];
    this.on = recall() !== "off";
    document.addEventListener("keydown", (event) => this.#press(event));
    this.#letGoOfLists();
  }

  /** @param {...Binding} bindings */
  add(...bindings) {
    this.bindings.push(...bindings);
  }

  /** Single letters can be hit by accident, or by a voice that is taken for typing: they can be switched off. */
  turn(on) {
    this.on = on;
    try {
      localStorage.setItem(KEPT_AS, on ? "on" : "off");
    } catch {
      // a browser that keeps nothing: it holds for this visit
    }
  }

  /** Write those that do something now into a table. @param {HTMLTableElement} table */
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

  /** A list that was chosen from by mouse or touch would go on taking the letters: of a blackout, too. */
  #letGoOfLists() {
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
