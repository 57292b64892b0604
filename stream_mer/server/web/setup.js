// The set-up panel: an operator chooses inputs, sets values, adds outputs and saves, while the show goes on.
// It is loaded when it is opened first. The first start opens it as a guide of three steps: hear, see, send.

import { fillSelect, h } from "./setup_fields.js";
import { Devices, Hear, Save, See, Send } from "./setup_sections.js";
import { write } from "./view.js";

const WATCH_S = 30;
const RENEW_MS = 20_000;
const TABS = { hear: "Hear", see: "See", send: "Send", devices: "Other devices" };
const STEPS = ["hear", "see", "send"];

export class SetupPanel {
  /**
   * @param {object} options
   * @param {object} options.mer The client.
   * @param {import("./streams.js").Streams} options.streams
   * @param {() => void} options.onGuideEnd Called once the guide was closed, or what it set was saved.
   */
  constructor({ mer, streams, onGuideEnd }) {
    this.mer = mer;
    this.streams = streams;
    this.onGuideEnd = onGuideEnd;
    this.state = null;
    this.tab = "hear";
    this.guide = false;
    this.isSaved = false; // nothing has changed since the last save
    this.up = true;
    this.asking = 0;
    const ask = (...request) => this.#ask(...request);
    this.sections = {
      hear: new Hear(ask),
      see: new See(ask),
      send: new Send(ask),
      devices: new Devices(),
      save: new Save(ask, { onSaved: () => this.#saved(), onBack: () => this.#choose(this.before) }),
    };
    this.#build();
    this.#listen();
  }

  /** Open it. @param {{guide?: boolean}} [how] */
  async open({ guide = false } = {}) {
    await this.styled;
    if (this.root.open) return;
    this.guide = guide;
    this.root.toggleAttribute("data-guide", guide);
    write(this.title, guide ? "Set up in three steps" : "Set up");
    this.tabs.devices.hidden = guide;
    for (const [step, name] of STEPS.entries()) write(this.tabs[name], guide ? `${step + 1} ${TABS[name]}` : TABS[name]);
    this.root.showModal();
    this.#choose(guide || this.tab === "save" ? "hear" : this.tab);
    this.tabs[this.tab].focus();
    this.#refresh();
  }

  #build() {
    const button = (text, run, properties = {}) => h("button", { type: "button", onclick: run, ...properties }, text);
    this.title = h("h2", { id: "setup-title" });
    this.stream = h("select", { "aria-label": "Stream to set up" });
    this.tabs = Object.fromEntries(
      Object.entries(TABS).map(([name, text]) => [
        name,
        button(text, () => this.#choose(name), { role: "tab", id: `setup-tab-${name}`, "aria-controls": `setup-${name}` }),
      ]),
    );
    this.tablist = h("div", { className: "tabs", role: "tablist" }, ...Object.values(this.tabs));
    this.status = h("p", { className: "status", role: "status" });
    this.undo = button("Undo", () => this.#undo(), { title: "Take back the last change" });
    this.save = button("Save …", () => this.#choose("save"));
    this.back = button("Back", () => this.#step(-1), { className: "steps" });
    this.next = button("Next", () => this.#step(1), { className: "steps main" });
    for (const [name, { root }] of Object.entries(this.sections)) {
      root.id = `setup-${name}`;
      root.setAttribute("role", "tabpanel");
      if (name in this.tabs) root.setAttribute("aria-labelledby", this.tabs[name].id);
    }
    const close = button("×", () => this.root.close(), { className: "icon", "aria-label": "Close set-up" });
    this.root = h("dialog", { id: "setup", "aria-labelledby": "setup-title" },
      h("header", {}, this.title, this.stream, this.tablist, close),
      h("div", { className: "body" }, ...Object.values(this.sections).map(({ root }) => root)),
      h("footer", {}, this.status, this.undo, this.save, this.back, this.next));
    const style = h("link", { rel: "stylesheet", href: new URL("setup.css", import.meta.url).href });
    this.styled = new Promise((resolve) => (style.onload = style.onerror = resolve));
    document.head.append(style);
    document.body.append(this.root);
  }

  #listen() {
    const { mer } = this;
    mer.on("setup.update", ({ state, outputs, levels }) => {
      if (state) this.#show(state);
      if (outputs) this.sections.send.showOutputs(outputs);
      if (levels) this.sections.hear.showLevels(levels);
    });
    mer.on("emotion", (frame) => frame.stream === this.#name && this.sections.see.showFrame(frame));
    mer.on("link", ({ up }) => {
      this.up = up;
      this.#showStatus();
    });
    mer.on("ready", ({ role }) => {
      if (!this.root.open) return;
      if (role === "operator") this.#refresh();
      else this.root.close();
    });
    this.root.addEventListener("close", () => this.#closed());
    this.stream.addEventListener("change", () => {
      this.streams.want(this.stream.value); // the page shows what is set up
      this.#show(this.state);
    });
    this.tablist.addEventListener("keydown", (event) => this.#moveTab(event));
    setInterval(() => this.#watch(), RENEW_MS);
    document.addEventListener("visibilitychange", () => this.#watch());
  }

  /** Name of the stream that is set up: the one that the page shows. */
  get #name() {
    const names = this.state?.streams.map(({ name }) => name) ?? [];
    return names.includes(this.streams.chosen) ? this.streams.chosen : names[0];
  }

  /** Ask for everything, after opening and after a reconnection. */
  async #refresh() {
    const answer = await this.#ask(null, "", "get");
    if (answer === null) return;
    await this.sections.hear.listInputs();
    this.#watch();
  }

  /** Ask for the levels of the inputs while they are in sight. */
  #watch() {
    const wanted = this.root.open && this.tab === "hear" && !document.hidden;
    if (wanted || this.watching) this.mer.setup("watch_inputs", { seconds: wanted ? WATCH_S : 0 });
    this.watching = wanted;
  }

  /**
   * Send a request.
   *
   * @param {object | ((why: string) => object) | null} field Where a refusal is shown; the status line for null.
   * @param {string | [object, string]} busy What is said meanwhile, and where, if not at the field.
   * @param {string} action
   * @param {object} [more]
   * @returns {Promise<object | null>} The answer; null for a refusal.
   */
  async #ask(field, busy, action, more = {}) {
    const [place, text] = Array.isArray(busy) ? busy : [typeof field === "function" ? null : field, busy];
    place?.busy(text);
    this.refusal = "";
    this.asking += 1;
    const answer = await this.mer.setup(action, more);
    this.asking -= 1;
    place?.clear();
    if (answer.ok) {
      if (answer.setup?.state) this.#show(answer.setup.state);
      return answer;
    }
    const why = sentence(answer.error.message);
    const blamed = typeof field === "function" ? field(answer.error.message) : field;
    if (blamed === null) this.refusal = why;
    else blamed.fail(why);
    this.#showStatus();
    return null;
  }

  #show(state) {
    this.state = state;
    fillSelect(this.stream, state.streams.map(({ name }) => [name, name]));
    this.stream.hidden = state.streams.length < 2;
    const stream = state.streams.find(({ name }) => name === this.#name);
    if (!stream) return;
    this.stream.value = stream.name;
    for (const section of Object.values(this.sections)) section.show?.(state, stream);
    this.#showStatus();
  }

  #showStatus() {
    const { state, guide, tab } = this;
    const dirty = state?.dirty ?? false;
    const can_save = state?.can_save ?? false;
    if (dirty) this.isSaved = false;
    let text = dirty ? "Not saved" : this.isSaved ? "Saved" : "Nothing to save";
    if (state && !can_save) text = "Lasts until the server stops: it has no settings file";
    if (!state) text = "";
    if (this.refusal) text = this.refusal;
    if (!this.up) text = "No connection to the server. Trying again.";
    this.status.dataset.level = this.refusal || !this.up ? "bad" : dirty ? "warn" : "";
    write(this.status, text);
    this.status.title = text;
    this.undo.disabled = !state?.can_undo;
    this.save.disabled = !can_save || tab === "save";
    this.save.hidden = guide;
    this.back.hidden = this.next.hidden = !guide || tab === "save";
    this.back.disabled = tab === STEPS[0];
    const isLast = tab === STEPS.at(-1);
    write(this.next, !isLast ? "Next" : dirty && can_save ? "Save …" : "Finish");
  }

  #choose(tab) {
    if (tab !== "save") this.before = tab;
    this.tab = tab;
    for (const [name, { root }] of Object.entries(this.sections)) root.hidden = name !== tab;
    for (const [name, button] of Object.entries(this.tabs)) {
      const chosen = name === (tab === "save" ? this.before : tab);
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    this.sections[tab].root.parentElement.scrollTop = 0;
    this.sections[tab].enter?.();
    this.#watch();
    this.#showStatus();
  }

  #step(by) {
    const next = STEPS[STEPS.indexOf(this.tab) + by];
    if (next) this.#choose(next);
    else if (this.state?.dirty && this.state.can_save) this.#choose("save");
    else this.root.close();
  }

  #moveTab(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const names = Object.keys(this.tabs).filter((name) => !this.tabs[name].hidden);
    const name = names[(names.indexOf(this.before) + by + names.length) % names.length];
    this.#choose(name);
    this.tabs[name].focus();
  }

  async #undo() {
    this.undo.disabled = true;
    await this.#ask(null, "", "undo");
    if (this.tab === "save") this.sections.save.enter();
    this.#showStatus();
  }

  #saved() {
    this.isSaved = true;
    if (this.guide) this.root.close();
    else this.#choose(this.before);
  }

  #closed() {
    this.#watch();
    if (this.guide) this.onGuideEnd();
    this.guide = false;
  }
}

function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : text;
}
