// The sections of the set-up panel: hear (inputs), see (values), send (outputs), other devices, and the settings file.
//
// Each has a `root`, and shows the state that the server tells. `ask(field, busy, action, more)` sends a request, shows
// a refusal at the field, and resolves to the answer, or null.

import { ChoiceField, Field, NumberField, fillSelect, h } from "./setup_fields.js";
import { now, write } from "./view.js";

const FLOOR_DB = -60;
const AIM_DB = [-6, -1]; // where loud passages are to peak; above they may clip
const LEVEL_OLD_S = 1.5;
const SURE_FOR_S = 4;
const KINDS = {
  mic: "microphone or line in",
  monitor: "what this computer plays",
  demo: "the demo song",
  remote: "a client sends audio",
  file: "file",
  address: "address",
  stdin: "standard input",
};
const MASTERED = ["demo", "file"]; // they may peak at full scale, and cannot be turned down
const TYPED = "\0typed"; // the value of the row where a file or an address is typed

const percent = (db) => `${(100 * Math.max(0, Math.min(1, 1 - db / FLOOR_DB))).toFixed(1)}%`;

/** Hear: what a stream listens to. */
export class Hear {
  constructor(ask) {
    this.ask = ask;
    this.stream = null;
    this.inputs = [];
    this.rows = new Map();
    this.list = h("div", { className: "inputs", role: "radiogroup" });
    this.list.addEventListener("change", () => {
      this.source.clear();
      this.#chosen();
    });
    this.again = h("button", { type: "button", onclick: () => this.listInputs() }, "Look again");
    this.source = new Field({ label: "Input", control: this.list, group: true });
    this.typed = h("input", { type: "text", autocomplete: "off", spellcheck: false, placeholder: "/music/set.flac, http://radio.example/live" });
    this.typed.setAttribute("aria-label", "File on the server's computer, or address");
    this.typed.addEventListener("focus", () => this.#choose(TYPED));
    this.typed.addEventListener("keydown", (event) => event.key === "Enter" && this.#listen());
    this.typedRow = this.#row(TYPED, "File or address", "");
    this.typedRow.root.append(this.typed);
    this.typedRow.root.classList.add("typed");
    this.#makeOptions();
    this.go = h("button", { type: "button", className: "main", onclick: () => this.#listen() }, "Listen to it");
    const options = h("div", { className: "pair" }, this.channels.root, this.gain.root, this.track.root, this.loop.root);
    this.root = h("section", {}, h("p", { className: "lead" }, "Choose what the music comes from. Play some, and watch the levels: loud passages belong into the marked part."), this.source.root, options, h("div", { className: "actions" }, this.again, this.go));
    this.showInputs(null);
  }

  #makeOptions() {
    const channels = h("input", { type: "text", autocomplete: "off", placeholder: "the first two" });
    this.channels = new Field({ label: "Channels", control: channels, help: "Numbers of the device's channels, such as 3,4." });
    this.gain = new NumberField({ label: "Gain", unit: "dB", step: 1, empty: "0", help: "For an input that is too quiet or too loud." });
    const track = h("input", { type: "text", autocomplete: "off", placeholder: "the best one" });
    this.track = new Field({ label: "Audio track", control: track, help: "Of a file or an address with more than one." });
    this.loop = new ChoiceField({ label: "At its end", choices: { stop: "Stop", loop: "Start again" }, help: "For files.", onChange: () => (this.loopEdited = true) });
    for (const { control } of [this.channels, this.track]) control.addEventListener("input", () => (control.dataset.edited = ""));
  }

  /** Show what the stream listens to. */
  show(state, stream) {
    if (stream.name !== this.stream?.name) this.#forget();
    const moved = stream.source !== this.stream?.source || stream.device !== this.stream?.device;
    this.stream = stream;
    this.gain.range = state.ranges.gain_db ?? this.gain.range;
    if (!this.loopEdited) this.loop.show(stream.loop ? "loop" : "stop");
    if (moved && this.inputs.length > 0) this.listInputs(true);
    this.#mark();
  }

  /** Ask for the inputs. @param {boolean} [quiet] Leave what the line says. */
  async listInputs(quiet = false) {
    this.again.disabled = true;
    const answer = await this.ask(quiet ? null : this.source, "Looking for inputs …", "inputs");
    this.again.disabled = false;
    if (answer?.setup?.inputs) this.showInputs(answer.setup.inputs, answer.setup.note);
  }

  showInputs(inputs, note) {
    const chosen = this.#value;
    this.inputs = inputs ?? [];
    this.rows = new Map(this.inputs.map((one) => [one.source, this.#row(one.source, one.name, about(one), MASTERED.includes(one.kind))]));
    const rows = [...this.rows.values()].map(({ root }) => root);
    if (inputs === null) rows.push(...[1, 2, 3].map(() => h("div", { className: "input waiting" })));
    this.list.replaceChildren(...rows, this.typedRow.root);
    const hasSound = this.inputs.some(({ kind }) => kind === "mic" || kind === "monitor");
    this.source.help = note ?? (hasSound || inputs === null ? "" : "The server's computer has no sound input that can be used.");
    if (inputs !== null && !this.source.note.textContent) this.source.clear();
    if (chosen !== null) this.#choose(chosen);
    this.#mark();
  }

  showLevels(levels) {
    for (const { source, rms_db, peak_db, error } of levels) {
      const row = this.rows.get(source);
      if (row) row.level({ rms_db, peak_db, error });
    }
  }

  #row(value, name, what, isMastered = false) {
    const radio = h("input", { type: "radio", name: "setup-input", value });
    const kind = h("span", { className: "what" }, what);
    const meter = h("span", { className: "meter", role: "meter", "aria-label": `level of ${name}`, "aria-valuemin": FLOOR_DB, "aria-valuemax": 0 }, h("i"));
    const number = h("span", { className: "db" }, "");
    const root = h("label", { className: "input" }, radio, h("span", { className: "name", title: name }, name), kind, meter, number);
    meter.style.setProperty("--aim", percent(AIM_DB[0]));
    const level = ({ rms_db, peak_db, error }) => {
      write(kind, error ?? what);
      root.toggleAttribute("data-failed", Boolean(error));
      const high = !isMastered && peak_db !== null && peak_db > AIM_DB[1];
      meter.dataset.level = high ? "bad" : "good";
      meter.style.setProperty("--rms", percent(rms_db ?? FLOOR_DB));
      meter.style.setProperty("--peak", percent(peak_db ?? FLOOR_DB));
      meter.setAttribute("aria-valuenow", String(peak_db ?? FLOOR_DB));
      write(number, error ? "–" : high ? "too loud" : peak_db === null ? "" : `${Math.round(peak_db)} dB`);
    };
    return { root, radio, level };
  }

  /** The source that is chosen in the list; null if none. */
  get #value() {
    return this.list.querySelector("input[type=radio]:checked")?.value ?? null;
  }

  #choose(value) {
    for (const { radio } of [...this.rows.values(), this.typedRow]) radio.checked = radio.value === value;
    this.#chosen();
  }

  #chosen() {
    const kind = this.#kind();
    this.channels.root.hidden = this.gain.root.hidden = !["mic", "monitor"].includes(kind);
    this.track.root.hidden = !["file", "address"].includes(kind);
    this.loop.root.hidden = kind !== "file";
    for (const { root, radio } of [...this.rows.values(), this.typedRow]) root.toggleAttribute("data-chosen", radio.checked);
    // Another input starts with the defaults.
    const own = this.#value !== null && this.#value === this.#current()?.source ? this.stream : null;
    for (const [field, value] of [[this.channels, own?.channels], [this.track, own?.track]]) {
      if (!("edited" in field.control.dataset)) field.control.value = value ?? "";
    }
    this.gain.show(own?.gain_db ?? null);
  }

  #kind() {
    const value = this.#value;
    return value === TYPED ? "file" : this.inputs.find(({ source }) => source === value)?.kind;
  }

  /** The input that the stream listens to now. */
  #current() {
    const { stream, inputs } = this;
    const same = inputs.find(({ source }) => source === stream?.source);
    return same ?? inputs.find(({ in_use, kind, name }) => in_use && (kind === stream?.kind || name === stream?.device));
  }

  #mark() {
    const current = this.#current();
    for (const [source, { root }] of this.rows) root.toggleAttribute("data-current", source === current?.source);
    if (this.#value === null && current) this.#choose(current.source);
    else this.#chosen();
  }

  #forget() {
    for (const { control } of [this.channels, this.track]) delete control.dataset.edited;
    for (const field of [this.channels, this.gain, this.track, this.loop, this.source]) field.reset?.() ?? field.clear();
    this.loopEdited = false;
    for (const { radio } of this.rows.values()) radio.checked = false;
    this.typedRow.radio.checked = false;
  }

  async #listen() {
    for (const field of [this.channels, this.track, this.source]) field.clear();
    const changes = this.#changes();
    if (changes === null) return;
    if (Object.keys(changes).length === 0) {
      this.source.done("It listens to this.");
      return;
    }
    this.go.disabled = true;
    const answer = await this.ask((why) => this.#blame(why, changes), [this.source, "Opening it …"], "apply", { stream: this.stream.name, changes });
    this.go.disabled = false;
    if (answer === null) return;
    this.#forget();
    this.#mark();
    this.source.done("It listens to this now.");
  }

  /** The field that a refusal is about. */
  #blame(why, changes) {
    for (const [name, word] of [["channels", /channel/i], ["track", /track/i], ["gain_db", /gain/i]]) {
      if (changes[name] !== undefined && (changes.source === undefined || word.test(why))) return { channels: this.channels, track: this.track, gain_db: this.gain }[name];
    }
    return this.source;
  }

  /** What differs from what the stream has; null if something cannot be. */
  #changes() {
    const value = this.#value;
    const source = value === TYPED ? this.typed.value.trim() : value;
    if (!source) {
      this.source.fail(value === TYPED ? "Type the path of a file on the server's computer, or an address." : "Choose an input.");
      if (value === TYPED) this.typed.focus();
      return null;
    }
    const isNew = value === TYPED ? source !== this.stream.source : value !== this.#current()?.source;
    const changes = isNew ? { source } : {};
    const set = (name, there, wanted) => (isNew ? wanted !== null : wanted !== there) && (changes[name] = wanted);
    if (!this.channels.root.hidden) {
      const gain = this.gain.value;
      if (gain === undefined) return null;
      set("gain_db", this.stream.gain_db ?? 0, !isNew || this.gain.edited ? (gain ?? 0) : null);
      const { control } = this.channels;
      set("channels", this.stream.channels, !isNew || "edited" in control.dataset ? control.value.trim() || null : null);
    }
    if (!this.track.root.hidden) {
      const { control } = this.track;
      set("track", this.stream.track, !isNew || "edited" in control.dataset ? control.value.trim() || null : null);
    }
    const loop = this.loop.inputs.find((input) => input.checked)?.value === "loop";
    if (!this.loop.root.hidden && loop !== this.stream.loop) changes.loop = loop;
    return changes;
  }
}

function about({ kind, channels, default: isDefault }) {
  const parts = [KINDS[kind] ?? kind];
  if (isDefault) parts.push("default");
  if (channels) parts.push(channels === 1 ? "1 channel" : `${channels} channels`);
  return parts.join(", ");
}

/** See: lyrics, and how the values follow the music. */
export class See {
  constructor(ask) {
    this.ask = ask;
    this.stream = null;
    this.live = h("p", { className: "live", role: "note" }, "No frame yet");
    this.lyrics = new ChoiceField({
      label: "Sung lyrics",
      help: "It takes most of the computing.",
      choices: { recognise: "Recognise", known: "File", off: "Off" },
      onChange: (lyrics) => this.#apply(this.lyrics, { lyrics }),
    });
    this.#makeLanguages();
    const number = (name, label, unit, step, help) =>
      new NumberField({ label, unit, step, help, onChange: (value) => this.#number(name, value) });
    this.numbers = {
      hop_s: number("hop_s", "Hop", "s", 0.05, "Time from one frame to the next."),
      dwell_s: number("dwell_s", "Dwell", "s", 0.5, "A category stays at least this long."),
      attack_s: number("attack_s", "Attack", "s", 0.1, "Smoothing while the values rise."),
      release_s: number("release_s", "Release", "s", 0.1, "Smoothing while they fall."),
      hysteresis: number("hysteresis", "Hysteresis", "", 0.05, "Lead that a new category needs."),
      min_confidence: number("min_confidence", "Least confidence", "", 0.05, "Below, the category is unknown."),
    };
    this.spread = new ChoiceField({
      label: "Values for outputs",
      help: "Raw ones use a part of the range.",
      choices: { true: "Full range", false: "Raw" },
      onChange: (spread) => this.#apply(this.spread, { spread: spread === "true" }),
    });
    const numbers = h("div", { className: "pair" }, ...Object.values(this.numbers).map(({ root }) => root));
    const lead = h("p", { className: "lead" }, "Watch how the values follow the music, and change what is too fast or too slow. All of it takes effect at once.");
    this.root = h("section", {}, lead, this.live, h("div", { className: "pair" }, this.lyrics.root, this.spread.root), this.languages.root, numbers);
  }

  #makeLanguages() {
    this.chips = h("div", { className: "chips" });
    this.add = h("select", {});
    this.add.addEventListener("change", () => {
      if (this.add.value) this.#setLanguages([...this.stream.languages, this.add.value]);
    });
    this.languages = new Field({ label: "Languages that are sung", control: this.add, around: h("div", { className: "languages" }, this.add, this.chips), help: "Add all that may be sung. Without any, the language is detected." });
  }

  show(state, stream) {
    if (stream.name !== this.stream?.name) {
      for (const field of Object.values(this.numbers)) field.reset();
      write(this.live, "No frame yet");
    }
    this.stream = stream;
    this.lyrics.show(stream.lyrics, stream.lyrics === "known" ? undefined : ["recognise", "off"]);
    this.lyrics.inputs[1].parentElement.hidden = stream.lyrics !== "known";
    this.spread.show(String(stream.spread));
    for (const [name, field] of Object.entries(this.numbers)) {
      field.range = state.ranges[name] ?? field.range;
      field.show(stream[name]);
    }
    const left = state.languages.filter((code) => !stream.languages.includes(code)).map((code) => [code, languageName(code)]);
    left.sort(([, one], [, other]) => one.localeCompare(other));
    fillSelect(this.add, [["", "Add a language"], ...left]);
    this.add.value = "";
    this.chips.replaceChildren(...stream.languages.map((code) => this.#chip(code)));
    if (stream.languages.length === 0) this.chips.append(h("span", { className: "quiet" }, "detected"));
  }

  /** Show the newest frame. */
  showFrame({ category, valence, arousal }) {
    const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
    this.live.dataset.category = category.top;
    write(this.live, `${category.top}, valence ${signed(valence)}, arousal ${signed(arousal)}`);
  }

  #chip(code) {
    const name = languageName(code);
    const remove = () => this.#setLanguages(this.stream.languages.filter((one) => one !== code));
    return h("button", { type: "button", className: "chip", "aria-label": `Remove ${name}`, onclick: remove }, h("span", {}, name), " ×");
  }

  #setLanguages(languages) {
    return this.#apply(this.languages, { languages });
  }

  async #number(name, value) {
    const field = this.numbers[name];
    if (value === this.stream[name]) field.reset();
    else if (await this.#apply(field, { [name]: value })) field.settle(value);
  }

  async #apply(field, changes) {
    const answer = await this.ask(field, "Changing …", "apply", { stream: this.stream.name, changes });
    if (answer === null) return false;
    const { help } = field;
    field.done("Done.");
    setTimeout(() => field.note.dataset.level === "good" && field.clear(help), 1000 * SURE_FOR_S);
    return true;
  }
}

const languageNames = new Intl.DisplayNames(["en"], { type: "language" });
const MISSING_NAMES = { ba: "Bashkir", bo: "Tibetan" }; // of Whisper's languages, those that Chromium cannot name

function languageName(code) {
  try {
    const name = languageNames.of(code) ?? code;
    return name === code ? (MISSING_NAMES[code] ?? code) : name;
  } catch {
    return code; // not a code that the browser knows
  }
}

/** Send: outputs and their health. */
export class Send {
  constructor(ask) {
    this.ask = ask;
    this.state = null;
    this.rows = new Map();
    this.list = h("ul", { className: "outputs", "aria-label": "Outputs" });
    this.none = h("p", { className: "quiet none" }, "Nothing is sent yet.");
    this.kind = h("select", {});
    this.kind.addEventListener("change", () => this.#explain());
    this.preset = h("select", {});
    this.preset.addEventListener("change", () => this.#explain());
    this.where = h("input", { type: "text", autocomplete: "off", spellcheck: false });
    this.where.addEventListener("keydown", (event) => event.key === "Enter" && this.#add());
    this.follow = h("select", {});
    const field = (label, control, help) => new Field({ label, control, help });
    this.fields = {
      kind: field("Protocol", this.kind),
      preset: field("Preset", this.preset),
      where: field("Where to", this.where),
      stream: field("Stream", this.follow),
    };
    this.fields.where.root.classList.add("wide");
    for (const name of ["kind", "preset", "stream"]) this.fields[name].note.hidden = true; // nothing to say
    this.go = h("button", { type: "button", className: "main", onclick: () => this.#add() }, "Add");
    const form = h("div", { className: "pair" }, this.fields.kind.root, this.fields.preset.root, this.fields.stream.root, this.fields.where.root);
    const lead = h("p", { className: "lead" }, "Send the values to light, video and show control. Test makes an output send a pattern for two seconds.");
    this.root = h("section", {}, lead, this.none, this.list, h("h3", {}, "Add an output"), form, h("div", { className: "actions" }, this.go));
  }

  show(state, stream) {
    const isOther = stream.name !== this.stream?.name;
    this.state = state;
    this.stream = stream;
    fillSelect(this.kind, state.output_kinds.map(({ kind, title }) => [kind, title]));
    fillSelect(this.follow, state.streams.map(({ name }) => [name, name]));
    if (isOther) this.follow.value = stream.name;
    this.fields.stream.root.hidden = state.streams.length < 2;
    this.go.disabled = state.output_kinds.length === 0;
    this.#explain();
    this.showOutputs(state.outputs);
  }

  showOutputs(outputs) {
    const ids = outputs.map(({ id }) => id);
    for (const [id, { root }] of [...this.rows]) {
      if (ids.includes(id)) continue;
      root.remove();
      this.rows.delete(id);
    }
    for (const output of outputs) {
      if (!this.rows.has(output.id)) {
        this.rows.set(output.id, this.#row(output));
        this.list.append(this.rows.get(output.id).root);
      }
      this.rows.get(output.id).show(output, this.state?.streams.length > 1);
    }
    this.none.hidden = outputs.length > 0;
  }

  #row({ id, name }) {
    const light = h("i", { "aria-hidden": "true" });
    const test = h("button", { type: "button", "aria-label": `Test ${name}` }, "Test");
    const remove = h("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
    const counts = h("p", { className: "counts", title: "Packets that were sent, that could not be sent, and updates that were left out because the computer was busy" });
    const note = h("p", { className: "note" });
    const root = h("li", { className: "output" }, light, h("span", { className: "name", title: name }, name), counts, note, test, remove);
    let refusal = "";
    const field = { fail: (text) => (refusal = note.textContent = text), busy: () => {}, clear: () => (refusal = "") };
    test.addEventListener("click", () => this.ask(field, "", "test_output", { output: { id } }));
    confirmed(remove, "Remove", "Sure?", () => this.ask(field, "", "remove_output", { output: { id } }));
    const show = ({ up, sent, refused, skipped, last_error, testing, stream }, several) => {
      root.dataset.level = sent === 0 && !last_error ? "off" : up ? "good" : "bad";
      write(test, testing ? "Testing" : "Test");
      test.setAttribute("aria-pressed", String(testing === true));
      const parts = [`sent ${sent}`, `refused ${refused}`, `skipped ${skipped}`];
      if (several && stream) parts.unshift(stream);
      write(counts, parts.join(" · "));
      write(note, refusal || (last_error ? `${up ? "Last error: " : ""}${last_error}` : ""));
      note.title = note.textContent;
    };
    return { root, show };
  }

  /** Explain what belongs into the field for the chosen kind and preset. */
  #explain() {
    const kind = this.#chosenKind();
    if (!kind) return;
    const before = this.preset.value;
    const none = kind.presets.length > 0 ? "Choose one" : "–";
    fillSelect(this.preset, [["", none], ...kind.presets.map((one) => [one, one])]);
    if (kind.kind !== this.explained && kind.presets.includes(before)) this.preset.value = before;
    this.explained = kind.kind;
    this.preset.disabled = kind.presets.length === 0;
    const place = /(?:PRESET|RIG)@([^\s,]+)/.exec(kind.hint); // what follows a preset
    const preset = place && this.preset.value;
    const isOptional = kind.kind !== "artnet"; // the only one without a usual place
    this.where.placeholder = !preset ? kind.hint : isOptional ? `${place[1]}, or nothing for the usual place` : place[1];
    const spec = preset ? `--${kind.kind} ${preset}${isOptional ? `, or ${preset}@${place[1]}` : `@${place[1]}`}` : kind.hint;
    if (!this.fields.where.failed) this.fields.where.clear(`On the command line: ${spec}`);
  }

  #chosenKind() {
    return this.state?.output_kinds.find(({ kind }) => kind === this.kind.value);
  }

  async #add() {
    const kind = this.#chosenKind();
    const { where: field } = this.fields;
    const place = this.where.value.trim();
    const preset = this.preset.value;
    const spec = place.startsWith(`${preset}@`) ? place : [preset, place].filter(Boolean).join("@"); // also as on the command line
    if (!kind) return;
    if (!spec) {
      field.fail(`Type where to send it: ${kind.hint}`);
      this.where.focus();
      return;
    }
    this.go.disabled = true;
    const stream = this.state.streams.length > 1 ? this.follow.value : null;
    const answer = await this.ask(field, "Adding …", "add_output", { output: { kind: kind.kind, spec, stream } });
    this.go.disabled = false;
    if (answer === null) return;
    this.where.value = "";
    this.#explain();
  }
}

/** A button that acts at the second press only. */
function confirmed(button, text, question, run) {
  let asked_s = -Infinity;
  const ask = (on) => {
    asked_s = on ? now() : -Infinity;
    button.toggleAttribute("data-sure", on);
    write(button, on ? question : text);
  };
  button.addEventListener("click", () => {
    if (now() - asked_s < SURE_FOR_S) {
      ask(false);
      run();
      return;
    }
    ask(true);
    setTimeout(() => now() - asked_s >= SURE_FOR_S - 0.1 && ask(false), 1000 * SURE_FOR_S);
  });
  button.addEventListener("blur", () => ask(false));
}

/** Other devices: the addresses of the page, and the first one as a QR code. */
export class Devices {
  constructor() {
    this.code = h("img", { className: "code", alt: "The address as a QR code" });
    this.list = h("ul", { className: "addresses" });
    this.lead = h("p", { className: "lead" });
    this.root = h("section", {}, this.lead, h("div", { className: "share" }, this.code, this.list));
  }

  show({ addresses, qr_svg }) {
    const reachable = addresses.length > 0;
    write(this.lead, reachable
      ? "Scan the code with a phone or a tablet in the same network, or type an address. It holds the token: anyone who has it may do what it allows."
      : "Only this computer reaches the page. For others, start the server with --host 0.0.0.0 and a token.");
    this.code.hidden = !qr_svg;
    const image = qr_svg ? `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(qr_svg))}` : "";
    if (this.code.src !== image) this.code.src = image;
    this.list.replaceChildren(...addresses.map((address) => h("li", {}, h("code", {}, address), this.#copy(address))));
  }

  #copy(address) {
    const button = h("button", { type: "button", "aria-label": `Copy ${address}` }, "Copy");
    button.hidden = !navigator.clipboard; // over plain http, browsers have none
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(address).catch(() => {});
      write(button, "Copied");
    });
    return button;
  }
}

/** An SVG that an image can hold, which needs the namespace. */
function standalone(svg) {
  return svg.includes("xmlns=") ? svg : svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
}

/** Save: what would change in the settings file. */
export class Save {
  constructor(ask, { onSaved, onBack }) {
    this.ask = ask;
    this.onSaved = onSaved;
    this.path = h("code", {});
    this.lines = h("pre", { className: "diff", tabIndex: 0, "aria-label": "Changes of the file" });
    this.notes = h("ul", { className: "remarks" });
    this.field = new Field({ label: "Settings file", control: this.lines, group: true });
    this.go = h("button", { type: "button", className: "main", onclick: () => this.#save() }, "Save");
    this.back = h("button", { type: "button", onclick: onBack }, "Back");
    const lead = h("p", { className: "lead" }, "The next start without options begins with this. In ", this.path, ":");
    this.root = h("section", {}, lead, this.field.root, this.notes, h("div", { className: "actions" }, this.back, this.go));
  }

  async enter() {
    this.go.disabled = true;
    this.lines.replaceChildren();
    this.notes.replaceChildren();
    const answer = await this.ask(this.field, "Comparing …", "preview");
    const preview = answer?.setup?.preview;
    if (!preview) return;
    write(this.path, preview.path);
    const lines = preview.diff.split("\n").filter(Boolean);
    this.lines.replaceChildren(...lines.map((line) => h(line[0] === "+" ? "ins" : line[0] === "-" ? "del" : "span", {}, `${line}\n`)));
    if (lines.length === 0) this.lines.textContent = "Nothing changes.";
    this.notes.replaceChildren(...(preview.notes ?? []).map((note) => h("li", {}, note)));
    this.go.disabled = lines.length === 0;
  }

  async #save() {
    this.go.disabled = true;
    const answer = await this.ask(this.field, "Saving …", "save");
    this.go.disabled = false;
    if (answer !== null) this.onSaved();
  }
}
