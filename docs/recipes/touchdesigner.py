# Callbacks DAT of a WebSocket DAT. Wants beside it, in the same network:
#   Constant CHOP "emotion": four channels, valence, arousal, confidence and blackout
#   Table DAT "cue": gets the category that begins, the one that ends, and when
# ruff: noqa: ARG001, D100, D103, F821, N802, N803 - TouchDesigner names these functions and brings `op` and `run`
import json

TOKEN = None


def onConnect(dat):
    identify = {
        "type": "identify",
        "token": TOKEN,
        "client": {"name": "TouchDesigner", "kind": "visuals"},
        "subscribe": [{"events": ["emotion", "change"], "max_hz": 30}],
    }
    dat.sendText(json.dumps(identify))


def onReceiveText(dat, rowIndex, message):
    take(json.loads(message), is_news=True)


def take(message, is_news):
    kind = message["type"]
    if kind == "emotion":
        values = op("emotion").par
        values.const0value = message["valence"]
        values.const1value = message["arousal"]
        values.const2value = message["confidence"]
        values.const3value = 1 if message["hold"] == "blackout" else 0
    elif kind == "change" and is_news:
        cue = op("cue")
        cue.clear()
        cue.appendRow([message["to"], message["from"], message["t"]])
    elif kind == "ready":
        for entry in message["snapshot"]:
            take(entry["message"], is_news=False)
    elif kind == "error":
        print("stream_mer:", message["message"])


def onReceivePing(dat, contents):
    dat.sendPong(contents)


def onDisconnect(dat):
    # Off and, two seconds later, on again: tries until the server is back.
    dat.par.active = False
    run("args[0].par.active = True", dat, delayFrames=120)


def onReceiveBinary(dat, contents):
    pass


def onReceivePong(dat, contents):
    pass


def onMonitorMessage(dat, message):
    pass
