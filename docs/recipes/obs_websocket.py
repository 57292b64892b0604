"""Switch the scenes of OBS when the category changes, over OBS's own websocket (obs-websocket 5)."""

import asyncio
import base64
import hashlib
import json
import os

from websockets.asyncio.client import connect as connect_obs
from websockets.exceptions import WebSocketException

from stream_mer import connect, messages

MER = "ws://127.0.0.1:8765"
OBS = "ws://127.0.0.1:4455"
PASSWORD = os.environ.get("OBS_PASSWORD", "")
SCENES = {"happy": "Bright", "angry": "Hard", "sad": "Blue", "relaxed": "Slow"}  # the names of yours


def digest(text: str) -> str:
    """SHA-256 in base64, as obs-websocket wants it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


async def switch(scene: str) -> str:
    """Show a scene; returns what happened. Each change connects anew, so OBS may be restarted at any time."""
    async with connect_obs(OBS, open_timeout=2) as obs:
        identify = {"rpcVersion": 1, "eventSubscriptions": 0}
        if asked := json.loads(await obs.recv())["d"].get("authentication"):
            identify["authentication"] = digest(digest(PASSWORD + asked["salt"]) + asked["challenge"])
        await obs.send(json.dumps({"op": 1, "d": identify}))
        await obs.recv()
        request = {"requestType": "SetCurrentProgramScene", "requestId": "1", "requestData": {"sceneName": scene}}
        await obs.send(json.dumps({"op": 6, "d": request}))
        status = json.loads(await obs.recv())["d"]["requestStatus"]
    return scene if status["result"] else f"not switched: {status['comment']}"


async def main() -> None:
    """Follow the changes until interrupted."""
    async with connect(MER, subscribe=[messages.Subscription(events=("change",))], name="OBS scenes") as client:
        async for message in client:
            if isinstance(message, messages.Change) and message.to in SCENES:
                try:
                    print(await switch(SCENES[message.to]), flush=True)
                except (OSError, WebSocketException) as error:
                    print(f"not switched: {error}", flush=True)


asyncio.run(main())
