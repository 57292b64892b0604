import WebSocket from "ws"; // from Node 22 on, leave out this line and the one with { WebSocket }
import { connect } from "./mer.mjs";

const mer = connect("ws://127.0.0.1:8765", {
  WebSocket,
  name: "my lights",
  subscribe: [{ events: ["emotion", "change"], max_hz: 10 }],
});
mer.on("link", ({ up, why }) => console.log(up ? "connected" : `lost: ${why}`));
mer.on("emotion", ({ valence, arousal }) => console.log(valence, arousal));
mer.on("change", ({ from, to }) => console.log(`cue: ${from} -> ${to}`));
