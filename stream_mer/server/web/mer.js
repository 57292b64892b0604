// The client of mer.v1 in one file, without dependencies: for browsers, and for Node with its WebSocket or that of `ws`.
//
//   import { connect } from "http://127.0.0.1:8765/mer.js";
//   const mer = connect();
//   mer.on("emotion", (emotion) => console.log(emotion.valence, emotion.arousal, emotion.category.top));
//
// It comes back by itself, with what was missed meanwhile, and says so when it is gone.

const KINDS = ["emotion", "lyrics", "change", "status"];
const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 8000;
const PING_EVERY_MS = 5000;
const ANSWER_WITHIN_MS = 7000;
const WANTS_TOKEN = new Set([4401, 4408]);
const WOULD_REPEAT = new Set([4400, 4403, 4404]);

/**
 * @typedef {{streams?: string[], events?: string[], max_hz?: number | null}} Wish Nothing named means all streams, and
 *   the default events (all of them where it is about wanting less).
 * @typedef {{type: "result", ok: boolean, error: {code: number, message: string} | null}} Result
 * @typedef {object} Client
 * @property {(kind: string, listener: (message: any, age_s: number) => void) => () => void} on Call a function with
 *   every message of a type, whose age is not 0 where it comes out of the snapshot; with `{up, why, final}` on "link";
 *   with `{why}` on "token", when one is wanted. Returns what takes it away again.
 * @property {(wish?: Wish) => Promise<Result>} subscribe Get more, or the same at another rate.
 * @property {(wish?: Wish) => Promise<Result>} unsubscribe Get less.
 * @property {(action: "freeze" | "blackout" | "override" | "resume", more?: object) => Promise<Result>} control Hold the
 *   values: `control("override", {override: {valence: 0.8, arousal: 0.6, ttl_s: 30}, streams: ["main"]})`. Not ok, with
 *   the code 0, where no connection could carry it; so are the other two once it has left for good.
 * @property {(token: string) => void} offer Connect with this token from now on.
 * @property {() => void} close Leave and stay away.
 */

/**
 * Connect and stay connected.
 *
 * @param {string} [url] Where the server is, as `ws://127.0.0.1:8765` or `stage-pc`; where this file came from, if left
 *   out.
 * @param {object} [options]
 * @param {string | null} [options.token] What the server wants to be shown.
 * @param {Wish[] | null} [options.subscribe] What to get; the default events of all streams, if left out.
 * @param {string} [options.name] What the server's log shall call this client.
 * @param {boolean | string[]} [options.resume] Get what was missed after a break: everything, nothing, or these kinds.
 * @param {boolean} [options.history] Get at first, too, what the server still remembers of these kinds: minutes.
 * @param {any} [options.WebSocket] Where there is no global one: that of `ws`.
 * @returns {Client}
 */
export function connect(
  url,
  { token = null, subscribe = null, name = "mer.js", resume = true, history = false, WebSocket } = {},
) {
  const Socket = WebSocket ?? globalThis.WebSocket;
  if (!Socket) throw new Error("there is no WebSocket here: give that of `ws`, as in connect(url, { WebSocket })");
  const address = streamAddress(url);
  const resumed = resume === true ? KINDS : resume || [];
  const listeners = new Map();
  const asked = new Map();
  let rules = (subscribe ?? [{}]).map((wish) => explicit({ type: "subscribe", ...wish }));
  let link = null;
  let gone = false; // for good
  let again = 0;
  let delayMs = FIRST_DELAY_MS;
  let requests = 0;
  let session = null;
  let lastSeq = Object.create(null);

  function emit(kind, message, age_s = 0) {
    for (const listener of [...(listeners.get(kind) ?? [])]) {
      try {
        listener(message, age_s);
      } catch (error) {
        // Its trouble becomes neither that of the other listeners nor that of the conversation; it is told all the same.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  function open() {
    const socket = new Socket(address, "mer.v1.json");
    const here = { send: (message) => socket.send(JSON.stringify(message)), ready: false, leave };
    let why = "";
    let retryMs = 0;
    let hello = null;
    let owedSince = performance.now(); // its first word, or the answer to a ping
    const pulse = setInterval(() => {
      // A cable that was pulled closes nothing; only the missing answer tells.
      if (owedSince !== null && performance.now() - owedSince > ANSWER_WITHIN_MS) {
        lost(0);
        socket.terminate?.(); // that of `ws` would wait for an answer to its close
      } else if (socket.readyState === 1) {
        here.send({ type: "ping", id: requests++ });
        owedSince ??= performance.now();
      }
    }, PING_EVERY_MS);

    function leave() {
      link = null;
      clearInterval(pulse);
      socket.close();
    }

    function lost(code) {
      if (link !== here) return;
      leave();
      const wanting = WANTS_TOKEN.has(code);
      const final = WOULD_REPEAT.has(code);
      gone ||= final;
      if (wanting) token = null;
      else if (!final) {
        again = setTimeout(open, Math.max(retryMs, delayMs * (0.5 + Math.random() / 2)));
        delayMs = Math.min(delayMs * 2, LAST_DELAY_MS);
      }
      refuse((request) => final || request.type === "control");
      emit("link", { up: false, why, final });
      if (wanting) emit("token", { why });
    }

    function greet() {
      delayMs = FIRST_DELAY_MS;
      if (hello.auth_required && token === null) {
        leave();
        emit("token", { why: "" });
        return;
      }
      const identify = { type: "identify", client: { name, kind: globalThis.document ? "browser" : "node" } };
      if (token !== null) identify.token = token;
      identify.subscribe = rules.slice(0, firstWithdrawal()).map(({ type, ...wish }) => wish);
      const known = session === hello.session;
      session = hello.session;
      if (!known) lastSeq = Object.create(null);
      if (!known && history) for (const stream of hello.streams) for (const kind of resumed) note(stream, kind, -1);
      if ((known || history) && resumed.length > 0) identify.resume = { session, last_seq: lastSeq };
      // With hundreds of streams it could be too long to be read.
      if (sizeOf(identify) > hello.limits.max_message_bytes) delete identify.resume;
      here.send(identify);
      emit("link", { up: true, why: "", final: false });
    }

    function begin(ready) {
      here.ready = true;
      for (const wish of ready.granted) {
        for (const stream of wish.streams.length ? wish.streams : hello.streams) {
          for (const kind of wish.events) note(stream, kind, lastSeq[stream]?.[kind] ?? -1);
        }
      }
      for (const { message } of ready.snapshot) note(message.stream, message.type, message.seq);
      const owed = [...rules.slice(firstWithdrawal()), ...[...asked].map(([id, { request }]) => ({ id, ...request }))];
      // All at once could be more than the server bears, and would be again after every reconnection.
      const most = Math.max(1, Math.floor(hello.limits.max_messages_per_s / 3));
      owed.forEach((message, i) => {
        if (i < most) here.send(message);
        else setTimeout(() => link === here && here.send(message), 1000 * Math.floor(i / most));
      });
    }

    socket.addEventListener("message", ({ data }) => {
      if (link !== here) return;
      owedSince = null;
      let message;
      try {
        message = Object(JSON.parse(data));
      } catch {
        return; // not of this protocol; the next one may be
      }
      if (message.type === "hello") hello = message;
      else if (message.type === "ready") begin(message);
      else if (message.type === "ping") here.send({ ...message, type: "pong" });
      else if (message.type === "result") settle(message);
      else if (message.type === "error" && message.fatal) {
        why = message.message;
        retryMs = 1000 * (message.retry_after_s ?? 0);
      } else if (message.stream !== undefined) note(message.stream, message.type, message.seq);
      emit(message.type, message);
      if (message.type === "hello" && link === here) greet();
      if (message.type !== "ready") return;
      for (const old of message.snapshot) {
        // An old cue must not fire again.
        if (old.message.type !== "change") emit(old.message.type, old.message, old.age_s);
      }
    });
    socket.addEventListener("close", ({ code }) => lost(code));
    socket.addEventListener("error", ({ message }) => {
      why ||= message ?? ""; // browsers say nothing; the close that follows tells either way
    });
    link = here;
  }

  function note(stream, kind, seq) {
    if (resumed.includes(kind)) (lastSeq[stream] ??= {})[kind] = seq;
  }

  function firstWithdrawal() {
    const first = rules.findIndex((rule) => rule.type === "unsubscribe");
    return first < 0 ? rules.length : first;
  }

  function ask(request) {
    const id = requests++;
    return new Promise((resolve) => {
      asked.set(id, { request, resolve });
      if (link?.ready) link.send({ id, ...request });
      else if (request.type === "control" || gone) refuse((other) => other === request);
    });
  }

  function settle(result) {
    const answered = asked.get(result.id);
    if (answered === undefined) return;
    asked.delete(result.id);
    if (result.ok && answered.request.type !== "control") obey(answered.request);
    answered.resolve(result);
  }

  /** Remember a wish for the next connection; of the older ones only what it does not overrule. */
  function obey(rule) {
    const { type, streams, events } = explicit(rule);
    rules = rules
      .map((old) => (within(old.streams, streams) ? { ...old, events: old.events.filter((one) => !events.includes(one)) } : old))
      .filter((old) => old.events.length > 0);
    if (type === "subscribe" || rules.length > 0) rules.push({ ...rule, streams, events });
    if (type === "subscribe") return;
    for (const stream of streams.length ? streams : Object.keys(lastSeq)) {
      for (const kind of events) delete lastSeq[stream]?.[kind];
    }
  }

  function refuse(concerns) {
    const error = { code: 0, message: "there is no connection, or it was lost before the answer came" };
    for (const [id, { request }] of [...asked]) if (concerns(request)) settle({ type: "result", id, ok: false, error });
  }

  function stop() {
    clearTimeout(again);
    link?.leave();
  }

  open();
  return {
    on(kind, listener) {
      if (!listeners.has(kind)) listeners.set(kind, new Set());
      listeners.get(kind).add(listener);
      return () => listeners.get(kind).delete(listener);
    },
    subscribe: (wish = {}) => ask({ type: "subscribe", ...wish }),
    unsubscribe: ({ streams = [], events = [] } = {}) => ask({ type: "unsubscribe", streams, events }),
    control: (action, more = {}) => ask({ type: "control", action, ...more }),
    offer(offered) {
      stop();
      gone = false;
      token = offered;
      open();
    },
    close() {
      gone = true;
      stop();
      refuse(() => true);
    },
  };
}

function streamAddress(url) {
  const here = import.meta.url.startsWith("http") ? import.meta.url : "http://127.0.0.1:8765/";
  const bare = url !== undefined && !String(url).includes("://"); // as people type it: `stage-pc`, `stage-pc:9000`
  const address = new URL(bare ? `ws://${url}` : (url ?? new URL("v1/stream", here)));
  if (bare && address.port === "") address.port = "8765";
  if (address.pathname.endsWith("/")) address.pathname += "v1/stream"; // that of a page, behind a proxy perhaps
  address.protocol = address.protocol.replace("http", "ws");
  return address.href;
}

function sizeOf(message) {
  return new TextEncoder().encode(JSON.stringify(message)).length;
}

function explicit({ type, streams = [], events = [], ...more }) {
  const all = type === "subscribe" ? KINDS : [...KINDS, "levels"];
  return { type, streams, events: events.length ? events : all, ...more };
}

function within(streams, others) {
  return others.length === 0 || (streams.length > 0 && streams.every((one) => others.includes(one)));
}
