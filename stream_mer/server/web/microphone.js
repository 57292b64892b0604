// Sends the microphone of this device to a stream of `--source remote`. For operators; a browser gives a page the
// microphone only over https, or on the server's own machine.

import { $, now, say, write } from "./view.js";

const FORBIDDEN = 4403;
const ANSWERED_S = 1; // a refusal comes this soon; one that is replaced later does not fight for its place
const AGAIN_MS = 1500; // after a reconnection, the server may take a moment to notice that the former one is gone
const MOST_TRIES = 8;
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // music, not a telephone call
const WHY = {
  NotAllowedError: "the browser was not allowed to use the microphone: allow it in the browser's settings of this page",
  NotFoundError: "this device has no microphone",
  NotReadableError: "another program has the microphone",
};

export class Microphone {
  /**
   * @param {object} options
   * @param {object} options.mer The client.
   */
  constructor({ mer }) {
    this.mer = mer;
    this.open = null; // the parts while it is on
    this.allowed = false;
    this.peak = 0;
    $("microphone-on").addEventListener("click", () => (this.open ? this.#stop("") : this.#start()));
    mer.on("ready", () => {
      if (this.open) this.open.tries = 0;
      this.#claim();
    });
    mer.on("error", (error) => this.#onError(error));
    mer.on("link", ({ up }) => this.open && !up && this.#say("no connection: trying again"));
  }

  /** Offer it to operators of a server that takes audio. @param {string[]} streams @param {boolean} allowed */
  offer(streams, allowed) {
    this.allowed = allowed && streams.length > 0;
    $("microphone").hidden = !this.allowed;
    const select = $("microphone-stream");
    const { value } = select;
    select.replaceChildren(...streams.map((name) => new Option(name, name)));
    if (streams.includes(value)) select.value = value;
    if (this.open && !streams.includes(this.open.stream)) this.#stop("its stream takes no audio any more");
  }

  async #start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.#say("The browser gives a page the microphone only over https or on the server's own machine: start the " +
        "server with --tls-certificate, or use stream-mer send");
      return;
    }
    const open = { stream: $("microphone-stream").value, tries: 0, sent: 0, sending: false };
    this.open = open;
    this.#show();
    this.#say("asking for the microphone");
    try {
      open.media = await navigator.mediaDevices.getUserMedia({ audio: RAW });
      open.context = new AudioContext();
      await open.context.resume(); // iOS starts it suspended
      await open.context.audioWorklet.addModule("microphone_worklet.js");
      open.node = new AudioWorkletNode(open.context, "blocks", { numberOfOutputs: 0 });
      open.context.createMediaStreamSource(open.media).connect(open.node);
    } catch (error) {
      if (this.open === open) this.#stop(WHY[error.name] ?? `the microphone cannot be used: ${error.message}`);
      else close(open);
      return;
    }
    if (this.open !== open) {
      close(open); // stopped meanwhile
      return;
    }
    open.media.getTracks()[0].addEventListener("ended", () => this.open === open && this.#stop("the microphone was taken away"));
    open.node.port.onmessage = ({ data }) => this.open === open && this.#send(data);
    this.#claim();
  }

  /** Begin to send, on this connection. */
  #claim() {
    const { open } = this;
    if (!open?.node) return;
    const { stream, context } = open;
    open.claimedAt_s = now();
    open.sending = this.mer.audio({ stream, format: "s16le", rate_hz: Math.round(context.sampleRate), channels: 1 });
    if (open.sending) this.#say(`sending to ${stream}`);
  }

  #send({ samples, peak }) {
    const { open } = this;
    this.peak = Math.max(peak, 0.9 * this.peak);
    $("microphone-level").style.setProperty("--share", Math.max(0, 1 + (20 * Math.log10(this.peak + 1e-9)) / 60).toFixed(2));
    if (open.sending && this.mer.audio(samples)) open.sent += 1;
  }

  #onError({ fatal, code, message }) {
    const { open } = this;
    if (!open?.node || fatal) return;
    open.sending = false;
    const answersClaim = now() - open.claimedAt_s < ANSWERED_S;
    if (code === FORBIDDEN && answersClaim && open.sent > 0 && open.tries < MOST_TRIES) {
      open.tries += 1;
      setTimeout(() => this.open === open && this.#claim(), AGAIN_MS);
    } else this.#stop(message);
  }

  #stop(why) {
    const { open } = this;
    this.open = null;
    close(open);
    if (open.sending) this.mer.audio(null);
    $("microphone-level").style.setProperty("--share", "0");
    this.#show();
    this.#say(why);
    if (why) say(`Microphone off: ${why}`);
  }

  #show() {
    const on = this.open !== null;
    document.documentElement.toggleAttribute("data-microphone", on);
    $("microphone-on").setAttribute("aria-pressed", String(on));
    write($("microphone-on"), on ? "Stop" : "Use this device's microphone");
    $("microphone-stream").disabled = on;
  }

  #say(text) {
    write($("microphone-state"), text);
  }
}

function close({ media, context }) {
  for (const track of media?.getTracks() ?? []) track.stop();
  context?.close();
}
