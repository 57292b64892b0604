// The JavaScript client of mer.v1 in one file, without dependencies: for browsers, and for Node with its own WebSocket
// or that of `ws`.
//
//   import { connect } from "http://127.0.0.1:8765/mer.js";
//   const mer = connect();
//   mer.on("emotion", (emotion) => console.log(emotion.valence, emotion.arousal, emotion.category.top));
//
// It reconnects by itself, with the messages that were missed, and reports when the connection is lost.

const KINDS = ["emotion", "lyrics", "change", "status"];
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 8000;
const PING_INTERVAL_MS = 5000;
const PONG_TIMEOUT_MS = 7000;
const MOST_BUFFERED_BYTES = 200_000; // two seconds of 48 kHz
const TOKEN_REQUIRED = new Set([4401, 4408]);
const PERMANENT = new Set([4400, 4403, 4404]);
const ONCE = new Set(["control", "setup"]); // requests that are not repeated on another connection

/**
 * @typedef {{streams?: string[], events?: string[], max_hz?: number | null}} Subscription Empty means all
 *   streams, and the default events (all of them for `unsubscribe`).
 * @typedef {{type: "result", ok: boolean, error: {code: number, message: string} | null}} Result
 * @typedef {object} Client
 * @property {(kind: string, listener: (message: any, age_s: number) => void) => () => void} on Call a function with
 *   every message of a type, and its age, which is not 0 for messages of the snapshot; with `{up, why, final}` on "link";
 *   with `{why}` on "token", when one is required. Returns a function that removes the listener.
 * @property {(subscription?: Subscription) => Promise<Result>} subscribe Get more, or the same at another rate.
 * @property {(subscription?: Subscription) => Promise<Result>} unsubscribe Get less.
 * @property {(action: "freeze" | "blackout" | "override" | "resume", more?: object) => Promise<Result>} control Override
 *   values: `control("override", {override: {valence: 0.8, arousal: 0.6, ttl_s: 30}, streams: ["main"]})`. Not ok, with
 *   the code 0, without a connection; so are the other two once the client is closed.
 * @property {(action: string, more?: object) => Promise<Result & {setup?: object}>} setup Read or change the set-up of
 *   the server, as an operator: `setup("apply", {stream: "main", changes: {hop_s: 0.25}})`. Changes of it come as
 *   "setup.update" after `setup("get")`, which is to be asked again after each "ready". Not ok without a connection.
 * @property {(what: {stream: string, format: "s16le" | "f32le", rate_hz: number, channels?: number} | ArrayBuffer |
 *   ArrayBufferView | null) => boolean} audio Send audio to a stream of `hello.remote_streams`, as an operator: first what
 *   it is, then blocks of 20 to 100 ms in real time, null at the end. False where it was not sent: without a connection,
 *   or over one that is too slow. Begin anew after each "ready"; a refusal comes as "error".
 * @property {(token: string) => void} offer Connect with this token from now on.
 * @property {() => void} close Close the connection for good.
 */

/**
 * Connect and stay connected.
 *
 * @param {string} [url] Address of the server, as `ws://127.0.0.1:8765` or `stage-pc`; the origin of this file by
 *   default.
 * @param {object} [options]
 * @param {string | null} [options.token] The server's token.
 * @param {Subscription[] | null} [options.subscribe] What to get; the default events of all streams by default.
 * @param {string} [options.name] Name of this client in the server's log.
 * @param {boolean | string[]} [options.resume] Get the messages missed during a break: all, none, or these kinds.
 * @param {boolean} [options.history] At first, also get the messages of these kinds that the server keeps: minutes.
 * @param {any} [options.WebSocket] That of `ws`, where there is no global one.
 * @returns {Client}
 */
export function connect(
  url,
  { token = null, subscribe = null, name = "mer.js", resume = true, history = false, WebSocket } = {},
) {
  const Socket = WebSocket ?? globalThis.WebSocket;
  if (!Socket) throw new Error("no global WebSocket: pass that of `ws`, as in connect(url, { WebSocket })");
  const address = streamAddress(url);
  const resumed = resume === true ? KINDS : resume || [];
  const listeners = new Map();
  const asked = new Map();
  let rules = (subscribe ?? [{}]).map((subscription) => explicit({ type: "subscribe", ...subscription }));
  let link = null;
  let closed = false; // for good
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
        // Reported, without stopping the other listeners or the conversation.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  function open() {
    const socket = new Socket(address, "mer.v1.json");
    const current = { socket, send: (message) => socket.send(JSON.stringify(message)), ready: false, leave };
    let why = "";
    let retryMs = 0;
    let hello = null;
    let waitingSince = performance.now(); // for `hello`, or for a pong
    const pulse = setInterval(() => {
      // Only a missing pong shows that a cable was pulled.
      if (waitingSince !== null && performance.now() - waitingSince > PONG_TIMEOUT_MS) {
        onClose(0);
        socket.terminate?.(); // `ws` would wait for the other side's close
      } else if (socket.readyState === 1) {
        current.send({ type: "ping", id: requests++ });
        waitingSince ??= performance.now();
      }
    }, PING_INTERVAL_MS);

    function leave() {
      link = null;
      clearInterval(pulse);
      socket.close();
    }

    function onClose(code) {
      if (link !== current) return;
      leave();
      const needsToken = TOKEN_REQUIRED.has(code);
      const final = PERMANENT.has(code);
      closed ||= final;
      if (needsToken) token = null;
      else if (!final) {
        again = setTimeout(open, Math.max(retryMs, delayMs * (0.5 + Math.random() / 2)));
        delayMs = Math.min(delayMs * 2, MAX_DELAY_MS);
      }
      refuse((request) => final || ONCE.has(request.type));
      emit("link", { up: false, why, final });
      if (needsToken) emit("token", { why });
    }

    function onHello() {
      delayMs = FIRST_DELAY_MS;
      if (hello.auth_required && token === null) {
        leave();
        emit("token", { why: "" });
        return;
      }
      const identify = { type: "identify", client: { name, kind: globalThis.document ? "browser" : "node" } };
      if (token !== null) identify.token = token;
      identify.subscribe = rules.slice(0, firstUnsubscribe()).map(({ type, ...subscription }) => subscription);
      const known = session === hello.session;
      session = hello.session;
      if (!known) lastSeq = Object.create(null);
      if (!known && history) for (const stream of hello.streams) for (const kind of resumed) noteSeq(stream, kind, -1);
      if ((known || history) && resumed.length > 0) identify.resume = { session, last_seq: lastSeq };
      // With hundreds of streams it could be too long for the server.
      if (sizeOf(identify) > hello.limits.max_message_bytes) delete identify.resume;
      current.send(identify);
      emit("link", { up: true, why: "", final: false });
    }

    function onReady(ready) {
      current.ready = true;
      for (const subscription of ready.granted) {
        for (const stream of subscription.streams.length ? subscription.streams : hello.streams) {
          for (const kind of subscription.events) noteSeq(stream, kind, lastSeq[stream]?.[kind] ?? -1);
        }
      }
      for (const { message } of ready.snapshot) noteSeq(message.stream, message.type, message.seq);
      const pending = [...rules.slice(firstUnsubscribe()), ...[...asked].map(([id, { request }]) => ({ id, ...request }))];
      // All at once could exceed the server's limit, after every reconnection.
      const most = Math.max(1, Math.floor(hello.limits.max_messages_per_s / 3));
      pending.forEach((message, i) => {
        if (i < most) current.send(message);
        else setTimeout(() => link === current && current.send(message), 1000 * Math.floor(i / most));
      });
    }

    socket.addEventListener("message", ({ data }) => {
      if (link !== current) return;
      waitingSince = null;
      let message;
      try {
        message = Object(JSON.parse(data));
      } catch {
        return; // not a message of this protocol
      }
      if (message.type === "hello") hello = message;
      else if (message.type === "ready") onReady(message);
      else if (message.type === "ping") current.send({ ...message, type: "pong" });
      else if (message.type === "result") onResult(message);
      else if (message.type === "error" && message.fatal) {
        why = message.message;
        retryMs = 1000 * (message.retry_after_s ?? 0);
      } else if (message.type === "error" && message.code === 4400 && !current.ready) {
        // `identify` was refused, and would be again.
        why = message.message;
        emit("error", message);
        onClose(4400);
        return;
      } else if (message.stream !== undefined && !current.ready) return; // the default of one that has not identified
      else if (message.stream !== undefined) noteSeq(message.stream, message.type, message.seq);
      emit(message.type, message);
      if (message.type === "hello" && link === current) onHello();
      if (message.type !== "ready") return;
      for (const old of message.snapshot) {
        // An old cue must not fire again.
        if (old.message.type !== "change") emit(old.message.type, old.message, old.age_s);
      }
    });
    socket.addEventListener("close", ({ code }) => onClose(code));
    socket.addEventListener("error", ({ message }) => {
      why ||= message ?? ""; // empty in browsers; a close follows in any case
    });
    link = current;
  }

  function noteSeq(stream, kind, seq) {
    if (resumed.includes(kind)) (lastSeq[stream] ??= {})[kind] = seq;
  }

  function firstUnsubscribe() {
    const first = rules.findIndex((rule) => rule.type === "unsubscribe");
    return first < 0 ? rules.length : first;
  }

  function ask(request) {
    const id = requests++;
    return new Promise((resolve) => {
      asked.set(id, { request, resolve });
      if (link?.ready) link.send({ id, ...request });
      else if (ONCE.has(request.type) || closed) refuse((other) => other === request);
    });
  }

  function onResult(result) {
    const answered = asked.get(result.id);
    if (answered === undefined) return;
    asked.delete(result.id);
    if (result.ok && !ONCE.has(answered.request.type)) remember(answered.request);
    answered.resolve(result);
  }

  /** Keep a subscription for the next connection, without the older ones that it overrules. */
  function remember(rule) {
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
    const error = { code: 0, message: "there is no connection, or it was lost before the answer" };
    for (const [id, { request }] of [...asked]) if (concerns(request)) onResult({ type: "result", id, ok: false, error });
  }

  function audio(what) {
    if (!link?.ready || link.socket.readyState !== 1) return false;
    if (what === null) link.send({ type: "audio.end" });
    else if (!(what instanceof ArrayBuffer || ArrayBuffer.isView(what))) link.send({ type: "audio.start", ...what });
    else if (link.socket.bufferedAmount > MOST_BUFFERED_BYTES) return false;
    else link.socket.send(what);
    return true;
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
    subscribe: (subscription = {}) => ask({ type: "subscribe", ...subscription }),
    unsubscribe: ({ streams = [], events = [] } = {}) => ask({ type: "unsubscribe", streams, events }),
    control: (action, more = {}) => ask({ type: "control", action, ...more }),
    setup: (action, more = {}) => ask({ type: "setup", action, ...more }),
    audio,
    offer(offered) {
      stop();
      closed = false;
      token = offered;
      open();
    },
    close() {
      closed = true;
      stop();
      refuse(() => true);
    },
  };
}

function streamAddress(url) {
  const here = import.meta.url.startsWith("http") ? import.meta.url : "http://127.0.0.1:8765/";
  const bare = url !== undefined && !String(url).includes("://"); // `stage-pc`, `stage-pc:9000`
  const address = new URL(bare ? `ws://${url}` : (url ?? new URL("v1/stream", here)));
  if (bare && address.port === "") address.port = "8765";
  if (address.pathname.endsWith("/")) address.pathname += "v1/stream"; // the URL of a page, perhaps behind a proxy
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
