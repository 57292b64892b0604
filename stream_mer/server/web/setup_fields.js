// Building blocks of the set-up panel. Each field has one line below it, always there: what it is for, or what is
// wrong with it. So no message moves anything.

let fields = 0;

/**
 * Make an element. Texts become text nodes, never HTML.
 *
 * @param {string} tag
 * @param {object} [properties] Properties, attributes where the name has a hyphen or is `role`, listeners as `onclick`.
 * @param {...(Node | string)} children
 */
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A labelled control with its line. */
export class Field {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {string} [options.help] What it is for.
   * @param {HTMLElement} options.control What the label names.
   * @param {HTMLElement} [options.around] Element that holds the control, if it is not alone.
   * @param {boolean} [options.group] Whether the control is a group of several.
   */
  constructor({ label, help = "", control, around = control, group = false }) {
    const id = `setup-field-${(fields += 1)}`;
    this.control = control;
    this.help = help;
    this.note = h("p", { className: "note", id: `${id}-note` });
    control.id ||= id;
    control.setAttribute("aria-describedby", this.note.id);
    const name = h(group ? "span" : "label", { className: "label", id: `${id}-label` }, label);
    if (group) control.setAttribute("aria-labelledby", name.id);
    else name.htmlFor = control.id;
    this.root = h("div", { className: "field" }, name, around, this.note);
    this.clear();
  }

  /** Show what it is for. @param {string} [help] From now on. */
  clear(help = this.help) {
    this.help = help;
    this.#say("", help);
  }

  fail(text) {
    this.#say("bad", text);
    this.note.scrollTop = 0;
    this.note.scrollIntoView({ block: "nearest" });
  }

  busy(text) {
    this.#say("busy", text);
  }

  done(text) {
    this.#say("good", text);
  }

  get failed() {
    return this.note.dataset.level === "bad";
  }

  #say(level, text) {
    this.note.dataset.level = level;
    this.note.textContent = text;
    this.note.setAttribute("role", level === "bad" ? "alert" : "note");
    if (level === "bad") this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }
}

const SETTLES_MS = 500; // several steps in a row are one change

/** A number with a unit, to be typed or stepped. */
export class NumberField extends Field {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {string} options.help
   * @param {string} options.unit
   * @param {number} options.step
   * @param {string} [options.empty] What no number means; without it, there must be one.
   * @param {(value: number | null) => void} [options.onChange] Called with a value in the range, once it settled.
   */
  constructor({ label, help, unit, step, empty, onChange = () => {} }) {
    const input = h("input", { type: "number", step: "any", inputMode: "decimal", autocomplete: "off", placeholder: empty ?? "" });
    const button = (sign, name) =>
      h("button", { type: "button", "aria-label": `${label}: ${name}`, onclick: () => this.#step(sign * step) }, sign < 0 ? "−" : "+");
    const around = h("div", { className: "stepper" }, button(-1, "less"), input, h("span", { className: "unit" }, unit), button(1, "more"));
    super({ label, help, control: input, around });
    this.unit = unit;
    this.step = step;
    this.empty = empty;
    this.onChange = onChange;
    this.range = [-Infinity, Infinity];
    this.edited = false;
    this.timer = 0;
    input.addEventListener("input", () => (this.edited = true));
    input.addEventListener("change", () => this.commit());
    input.addEventListener("keydown", (event) => {
      const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (sign === undefined) return;
      event.preventDefault();
      this.#step(sign * step);
    });
  }

  /** Show a value, unless another one is being typed. */
  show(value) {
    if (!this.edited) this.control.value = value === null ? "" : String(Number(value.toFixed(4)));
  }

  /** The value was taken; what was typed since then stays. */
  settle(value) {
    if (this.control.valueAsNumber === value) this.edited = false;
  }

  /** Forget what was typed. */
  reset() {
    clearTimeout(this.timer);
    this.edited = false;
    this.clear();
  }

  /** The number; null for an empty field, undefined for what cannot be, which it says. */
  get value() {
    const { control, empty } = this;
    const [least, most] = this.range;
    const number = control.valueAsNumber;
    if (control.value === "" && !control.validity.badInput && empty !== undefined) return null;
    if (number >= least && number <= most) return number;
    this.fail(`A number from ${least} to ${most}${this.unit && ` ${this.unit}`}.`);
    return undefined;
  }

  /** Pass on what was typed. */
  commit() {
    clearTimeout(this.timer);
    if (!this.edited) return;
    const { value } = this;
    if (value !== undefined) this.onChange(value);
  }

  #step(step) {
    const [least, most] = this.range;
    const before = Number.isFinite(this.control.valueAsNumber) ? this.control.valueAsNumber : 0;
    const after = Math.round((before + step) / this.step) * this.step;
    this.control.value = String(Number(Math.max(least, Math.min(most, after)).toFixed(4)));
    this.edited = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.commit(), SETTLES_MS);
  }
}

/** A few choices of which one is taken, as buttons in a row. */
export class ChoiceField extends Field {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {string} options.help
   * @param {Record<string, string>} options.choices Labels by values.
   * @param {(value: string) => void} options.onChange
   */
  constructor({ label, help, choices, onChange }) {
    const name = `setup-choice-${(fields += 1)}`;
    const inputs = Object.entries(choices).map(([value, text]) => [h("input", { type: "radio", name, value }), text]);
    const control = h("div", { className: "choice", role: "radiogroup" }, ...inputs.map(([input, text]) => h("label", {}, input, h("span", {}, text))));
    super({ label, help, control, group: true });
    this.inputs = inputs.map(([input]) => input);
    control.addEventListener("change", ({ target }) => onChange(target.value));
  }

  /** Show a value. @param {string[]} [possible] Values that can be chosen; all by default. */
  show(value, possible = this.inputs.map((input) => input.value)) {
    for (const input of this.inputs) {
      input.checked = input.value === value;
      input.disabled = !possible.includes(input.value);
    }
  }
}

/** Fill a list of choices and keep what was chosen, if it is still there. @param {[string, string][]} choices */
export function fillSelect(select, choices) {
  const wanted = JSON.stringify(choices);
  if (select.dataset.choices === wanted) return;
  const { value } = select;
  select.dataset.choices = wanted;
  select.replaceChildren(...choices.map(([value, text]) => h("option", { value }, text)));
  if (choices.some(([one]) => one === value)) select.value = value;
}
