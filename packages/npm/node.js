// The client for Node: mer.js with the global WebSocket (from Node 22 on), or else with that of `ws`.

import { createRequire } from "node:module";
import { connect as connectWith } from "./mer.js";

const require = createRequire(import.meta.url);

function findWebSocket() {
  if (globalThis.WebSocket) return globalThis.WebSocket;
  try {
    return require("ws").WebSocket;
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
    throw new Error("Node before 22 has no WebSocket: npm install ws", { cause: error });
  }
}

export function connect(url, options = {}) {
  return connectWith(url, { ...options, WebSocket: options.WebSocket ?? findWebSocket() });
}
