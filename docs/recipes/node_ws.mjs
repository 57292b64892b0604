import WebSocket from "ws";

const socket = new WebSocket("ws://127.0.0.1:8765/v1/stream", "mer.v1.json");
socket.on("message", (data) => {
  const message = JSON.parse(data);
  if (message.type === "hello") socket.send(JSON.stringify({ type: "identify", client: { name: "my lights" } }));
  if (message.type === "emotion") console.log(message.valence, message.arousal, message.category.top);
  if (message.type === "lyrics" && message.committed) console.log(message.text);
  if (message.type === "error") console.error(message.message);
});
socket.on("error", (error) => console.error(error.message));
