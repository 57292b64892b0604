import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.concurrent.CompletionStage;

final String SERVER = "ws://127.0.0.1:8765/v1/stream";
final HttpClient http = HttpClient.newHttpClient();

// Written by the thread of the network, read by draw().
volatile boolean connected = false;
volatile float valence = 0;
volatile float arousal = 0;
volatile String category = "";
volatile String sung = "";

float x = 300;
float y = 300;
int tryAt = 0;

void setup() {
  size(600, 600);
  textAlign(CENTER);
}

void draw() {
  if (!connected && millis() >= tryAt) {
    tryAt = millis() + 2000;
    http.newWebSocketBuilder().subprotocols("mer.v1.json").buildAsync(URI.create(SERVER), new Ear());
  }
  background(24);
  x = lerp(x, map(valence, -1, 1, 0, width), 0.1);
  y = lerp(y, map(arousal, -1, 1, height, 0), 0.1);
  noStroke();
  fill(255, 200, 80);
  circle(x, y, 60);
  fill(connected ? 255 : 120);
  text(connected ? category : "no connection", width / 2, 40);
  text(sung, width / 2, height - 40);
}

void take(JSONObject message) {
  String type = message.getString("type");
  if (type.equals("emotion")) {
    valence = message.getFloat("valence");
    arousal = message.getFloat("arousal");
    category = message.getJSONObject("category").getString("top");
  } else if (type.equals("lyrics")) {
    sung = message.getString("text");
  } else if (type.equals("error")) {
    println(message.getString("message"));
  }
}

class Ear implements WebSocket.Listener {
  final StringBuilder received = new StringBuilder();

  public void onOpen(WebSocket socket) {
    connected = true;
    socket.sendText("{\"type\": \"identify\", \"client\": {\"name\": \"Processing\"}}", true);
    socket.request(1);
  }

  // A long message may come in parts.
  public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
    received.append(part);
    if (last) {
      take(parseJSONObject(received.toString()));
      received.setLength(0);
    }
    socket.request(1);
    return null;
  }

  public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
    connected = false;
    return null;
  }

  public void onError(WebSocket socket, Throwable error) {
    connected = false;
  }
}
