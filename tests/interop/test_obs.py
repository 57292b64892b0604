"""OBS under a display without a screen: its scenes follow the music, by the program of the manual."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import free_port, wait_for
from interop.programs import Program, Serve, need
from websockets.sync.client import connect

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "obs_websocket.py"
PASSWORD = "a-password-of-obs"  # noqa: S105 - of a test
PLACES = {"happy": (0.8, 0.8), "angry": (-0.8, 0.8), "sad": (-0.8, -0.8), "relaxed": (0.8, -0.8)}
SCENES = {"happy": "Bright", "angry": "Hard", "sad": "Blue", "relaxed": "Slow"}

# obs-studio keeps its settings here; FirstRun suppresses the wizard.
SETTINGS = """\
[General]
FirstRun=true
LastVersion=486539266
EnableAutoUpdates=false
[OBSWebSocket]
FirstLoad=false
ServerEnabled=true
ServerPort={port}
AlertsEnabled=false
AuthRequired=true
ServerPassword={password}
"""


class Obs:
    """A running OBS, asked over obs-websocket with the functions of the recipe."""

    def __init__(self, recipe: dict[str, Any], port: int) -> None:
        self._digest = recipe["digest"]
        self._url = f"ws://127.0.0.1:{port}"

    def ask(self, request: str, **data: Any) -> dict[str, Any]:
        with connect(self._url) as socket:
            asked = json.loads(socket.recv(20))["d"]["authentication"]
            answer = self._digest(self._digest(PASSWORD + asked["salt"]) + asked["challenge"])
            identify = {"rpcVersion": 1, "eventSubscriptions": 0, "authentication": answer}
            socket.send(json.dumps({"op": 1, "d": identify}))
            socket.recv(20)
            socket.send(json.dumps({"op": 6, "d": {"requestType": request, "requestId": "1", "requestData": data}}))
            told = json.loads(socket.recv(20))["d"]
        assert told["requestStatus"]["result"], told
        return told.get("responseData", {})

    def scene(self) -> str:
        return str(self.ask("GetCurrentProgramScene")["currentProgramSceneName"])


@pytest.fixture
def obs(start: Callable[..., Program], home: Path, display: str) -> tuple[Obs, int]:
    """OBS with a scene for each category, and the port of its websocket."""
    need("obs-studio", "obs")
    folder = home / "obs"
    (folder / ".config" / "obs-studio").mkdir(parents=True)
    (folder / "run").mkdir(mode=0o700)
    port = free_port()
    (folder / ".config" / "obs-studio" / "global.ini").write_text(SETTINGS.format(port=port, password=PASSWORD))
    env = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "QT_", "DBUS_"))}
    env |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "DISPLAY": display}
    start("obs", ["obs", "--multi", "--disable-updater"], env=env).find("Server started successfully")
    source = RECIPE.read_text().rpartition("asyncio.run")[0]
    recipe: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(source, str(RECIPE), "exec"), recipe)  # noqa: S102 - it is the recipe of this repository
    asked = Obs(recipe, port)
    for scene in SCENES.values():
        asked.ask("CreateScene", sceneName=scene)
    return asked, port


@pytest.fixture
def bridge(
    obs: tuple[Obs, int],
    serve: Callable[..., Serve],
    control: Callable[..., None],
    start: Callable[..., Program],
    home: Path,
) -> Callable[..., Any]:
    """Starts the program of the manual; its function ``cue`` makes a category come."""
    server = serve()

    def run(password: str, scenes: dict[str, str]) -> tuple[Any, Callable[[str], None]]:
        text = RECIPE.read_text().replace("127.0.0.1:8765", server.url.split("/")[2]).replace(":4455", f":{obs[1]}")
        for ours, theirs in scenes.items():
            text = text.replace(f'"{ours}"', f'"{theirs}"')
        (home / "obs_websocket.py").write_text(text)
        environment = os.environ | {"OBS_PASSWORD": password}
        program = start("bridge", [sys.executable, str(home / "obs_websocket.py")], env=environment)

        def cue(category: str) -> None:
            valence, arousal = PLACES[category]
            control(server.url, action="override", override={"valence": valence, "arousal": arousal, "ttl_s": 600.0})

        def is_connected() -> bool:
            for category in ("angry", "relaxed"):  # until a change is heard of
                cue(category)
                time.sleep(0.5)
            return bool(program.text())

        wait_for(is_connected, "bridge")
        return program, cue

    return run


def test_scenes_follow_the_music(obs: tuple[Obs, int], bridge: Callable) -> None:
    program, cue = bridge(PASSWORD, {})
    for category in ("happy", "sad", "angry", "relaxed", "happy"):
        cue(category)
        wait_for(lambda category=category: obs[0].scene() == SCENES[category], f"scene of {category}")
    assert "not switched" not in program.text()


def test_a_scene_that_is_missing_and_a_wrong_password_are_printed(bridge: Callable) -> None:
    program, cue = bridge(PASSWORD, {"Bright": "Missing"})
    cue("happy")
    program.find("not switched: .*Missing")
    program.stop()
    program, cue = bridge("wrong", {})
    program.find("not switched: .*4009")
