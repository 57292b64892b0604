// The connection: one websocket of mer.v1 that comes back by itself.

const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 8000;
const PING_EVERY_MS = 5000;
const SILENT_AFTER_MS = 12000;
const TOKEN_CODES = new Set([4401, 4408]);

/**
 * Connect and stay connected.
 *
 * @param {object} on
 * @param {(message: object) => void} on.message Each message of the server, parsed.
 * @param {(up: boolean, why: string) => void} on.link The connection came up or was lost.
 * @param {() => void} on.token The server wants a token; call `offer` with one.
 * @returns {{offer: (token: string) => void}}
 */
export function connect(on) {
  const address = new URL("/v1/stream", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  let token = new URLSearchParams(location.hash.slice(1)).get("token");
  let delayMs = FIRST_DELAY_MS;
  let lastWords = "";
  let waiting = 0;

  function open() {
    const socket = new WebSocket(address, "mer.v1.json");
    let heardAt = performance.now();
    let pings = 0;
    const pulse = setInterval(() => {
      // A cable that was pulled closes nothing; only the missing answer tells.
      if (performance.now() - heardAt > SILENT_AFTER_MS) {
        lost({ code: 0 });
        socket.close();
      } else if (socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({ type: "ping", id: pings++ }));
      }
    }, PING_EVERY_MS);

    let gone = false;
    function lost(event) {
      if (gone) return;
      gone = true;
      clearInterval(pulse);
      if (TOKEN_CODES.has(event.code)) {
        token = null;
        on.link(false, lastWords);
        on.token();
        return;
      }
      on.link(false, lastWords);
      waiting = setTimeout(open, delayMs * (0.5 + Math.random() / 2));
      delayMs = Math.min(delayMs * 2, LAST_DELAY_MS);
    }

    socket.addEventListener("message", (event) => {
      if (gone) return;
      heardAt = performance.now();
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        return; // not of this protocol; the next one may be
      }
      if (message.type === "hello") {
        delayMs = FIRST_DELAY_MS;
        lastWords = "";
        if (message.auth_required && token === null) {
          gone = true;
          clearInterval(pulse);
          socket.close();
          on.token();
          return;
        }
        const identify = { type: "identify", client: { name: "page", kind: "browser" } };
        if (token !== null) identify.token = token;
        socket.send(JSON.stringify(identify));
        on.link(true, "");
      } else if (message.type === "error") {
        lastWords = message.message;
      }
      on.message(message);
    });
    socket.addEventListener("close", lost);
  }

  open();
  return {
    offer(offered) {
      token = offered;
      clearTimeout(waiting);
      open();
    },
  };
}
