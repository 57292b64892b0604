"""Every recipe of docs/CLIENTS.md is run as it stands there, against a real server; only the port is another one.

Those of docs/OBS.md and docs/VISUALS.md are in test_obs.py and test_visuals.py.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import websockets
from helpers import PATIENCE_S

from stream_mer.server.server import Server
from tools.examples import CHANGE, FRAME, LINE

DOCS = Path(__file__).parents[2] / "docs"
RECIPES = DOCS / "recipes"
PY5 = "py5==0.10.12a0"
"""Brings the core.jar of Processing 4, which no package registry has under its own name."""


SAD = replace(FRAME, valence=-0.5, arousal=-0.5, category="sad")


def recipe(name: str, server: Server) -> str:
    """Return a recipe with the port of the test put in."""
    text = (RECIPES / name).read_text()
    assert "127.0.0.1:8765" in text
    return text.replace("127.0.0.1:8765", f"127.0.0.1:{server.port}")


@contextlib.asynccontextmanager
async def program(*command, folder, **options):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=folder, stdin=pipe, stdout=pipe, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        # With all that it started: npx has children, which would hold the pipe for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def printed(process, wanted: str) -> list[str]:
    """Read lines until one holds what is wanted; return them all."""
    lines = []
    async with asyncio.timeout(PATIENCE_S):
        while not lines or wanted not in lines[-1]:
            line = await process.stdout.readline()
            assert line, f"it ended and never said {wanted!r}: {lines}"
            lines.append(line.decode().strip())
    return lines


@contextlib.asynccontextmanager
async def publishing(hub, *events):
    """Publish these events again and again: what listens begins when it likes."""

    async def publish() -> None:
        while True:
            for event in events:
                hub.sink("main").publish(event)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()


def test_the_documents_hold_every_recipe_word_for_word():
    text = "".join(page.read_text() for page in sorted(DOCS.glob("*.md")))
    shown = dict(re.findall(r"<!-- (recipes/\S+) -->\n```\w+\n(.*?)```\n", text, flags=re.DOTALL))
    there = {
        path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(RECIPES.rglob("*")) if path.is_file()
    }
    assert shown == there


# Node


async def test_node_with_ws(node_folder, hub, serving):
    async with serving(hub) as server:
        (node_folder / "recipe.mjs").write_text(recipe("node_ws.mjs", server))
        async with program("node", "recipe.mjs", folder=node_folder) as node, publishing(hub, SAD, LINE):
            lines = await printed(node, LINE.text)
        assert "-0.5 -0.5 sad" in lines


async def test_node_with_mer_js(node_folder, hub, serving):
    async with serving(hub) as server:
        (node_folder / "recipe.mjs").write_text(recipe("node_mer.mjs", server))
        async with program("node", "recipe.mjs", folder=node_folder) as node:
            assert await printed(node, "connected") == ["connected"]
            async with publishing(hub, SAD, CHANGE):
                lines = await printed(node, "cue: relaxed -> happy")
                lines += await printed(node, "-0.5 -0.5")
            port = server.port
            await server.stop()
            await printed(node, "lost: the server is shutting down")
            async with serving(hub, port=port):
                await printed(node, "connected")


async def test_wscat(node_folder, hub, serving):
    """The command line of the document, by the shell."""
    line = next(one for one in (DOCS / "CLIENTS.md").read_text().splitlines() if one.startswith("npx wscat"))
    async with serving(hub) as server:
        line = line.replace("127.0.0.1:8765", f"127.0.0.1:{server.port}")
        async with program("bash", "-c", f"exec {line}", folder=node_folder) as shell, publishing(hub, SAD):
            lines = await printed(shell, '"sad"')
    assert json.loads(lines[0])["type"] == "hello"


# Python


async def test_python(hub, serving, tmp_path):
    async with serving(hub) as server:
        (tmp_path / "listen.py").write_text(recipe("listen.py", server))
        async with (
            program(sys.executable, "listen.py", folder=tmp_path) as python,
            publishing(hub, SAD, LINE),
        ):
            assert "-0.5 -0.5 sad" in await printed(python, LINE.text)


# The browser


@contextlib.asynccontextmanager
async def opened(browser, path):
    page = await browser.new_page()
    await page.goto(path.as_uri())
    yield page
    await page.close()


async def text_is(page, selector: str, text: str) -> None:
    await page.wait_for_function(
        "([selector, text]) => document.querySelector(selector).textContent === text",
        arg=[selector, text],
        timeout=1000 * PATIENCE_S,
    )


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_page_from_a_file(browser, hub, serving, tmp_path):
    async with serving(hub, allowed_origins=("null",)) as server:
        (tmp_path / "page.html").write_text(recipe("browser.html", server))
        async with opened(browser, tmp_path / "page.html") as page, publishing(hub, SAD):
            await text_is(page, "#now", "sad")
            assert await page.evaluate("document.body.style.background") != ""


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_page_from_a_file_with_mer_js(browser, hub, serving, tmp_path):
    async with serving(hub, allowed_origins=("null",)) as server:
        (tmp_path / "page.html").write_text(recipe("browser_mer.html", server))
        async with opened(browser, tmp_path / "page.html") as page:
            await text_is(page, "#now", "waiting for the music")
            hub.sink("main").publish(SAD)
            hub.sink("main").publish(LINE)
            await text_is(page, "#now", "sad")
            await text_is(page, "#line", LINE.text)
            await page.click("#blackout")
            await text_is(page, "#now", "")
            await page.click("#live")
            await text_is(page, "#now", "sad")
            await server.stop()
            await text_is(page, "#now", "connection lost the server is shutting down")


# TouchDesigner: cannot be run here. The script is, with stand-ins for the operators that it names.


class StandInTable:
    def __init__(self) -> None:
        self.rows = []

    def clear(self) -> None:
        self.rows.clear()

    def appendRow(self, cells) -> None:  # noqa: N802 - TouchDesigner's name
        self.rows.append(list(cells))


class StandInParameters:
    pass


class StandInChop:
    def __init__(self) -> None:
        self.par = StandInParameters()


class StandInSocketDat:
    """A WebSocket DAT as the documentation tells of it: it calls the callbacks for what a real websocket brings."""

    def __init__(self, callbacks: dict, socket) -> None:
        self.callbacks = callbacks
        self.par = StandInParameters()
        self.pongs = []
        self._socket = socket
        self._to_send = []

    def sendText(self, text: str) -> None:  # noqa: N802 - TouchDesigner's name
        self._to_send.append(text)

    def sendPong(self, contents: bytes) -> None:  # noqa: N802 - TouchDesigner's name
        self.pongs.append(contents)

    async def cook(self) -> None:
        """Take one message in and send what was to be sent."""
        async with asyncio.timeout(PATIENCE_S):
            for text in self._to_send:
                await self._socket.send(text)
            self._to_send.clear()
            self.callbacks["onReceiveText"](self, 0, await self._socket.recv())


async def test_touchdesigner_with_stand_ins_for_its_operators(hub, serving):
    operators = {"emotion": StandInChop(), "cue": StandInTable()}
    later = []
    script = {"op": operators.get, "run": lambda code, *args, delayFrames: later.append((code, args, delayFrames))}  # noqa: N803
    exec(compile((RECIPES / "touchdesigner.py").read_text(), "touchdesigner.py", "exec"), script)  # noqa: S102 - as TouchDesigner does
    values, cue = operators["emotion"].par, operators["cue"]
    hub.sink("main").publish(CHANGE)
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server, websockets.connect(server.stream_url) as socket:
        dat = StandInSocketDat(script, socket)
        script["onConnect"](dat)
        while not hasattr(values, "const0value"):
            await dat.cook()
        assert (values.const0value, values.const1value) == (FRAME.valence, FRAME.arousal)
        assert (values.const2value, values.const3value) == (FRAME.confidence, 0)
        assert cue.rows == [], "an old cue must not fire again"
        hub.sink("main").publish(LINE)
        hub.sink("main").publish(CHANGE)
        await dat.cook()
        assert cue.rows == [["happy", "relaxed", CHANGE.t]]
        hub.sink("main").publish(replace(SAD, hold="blackout"))
        await dat.cook()
        assert (values.const0value, values.const3value) == (-0.5, 1)
    script["onReceivePing"](dat, b"still there?")
    assert dat.pongs == [b"still there?"]
    script["onDisconnect"](dat)
    assert dat.par.active is False
    [(code, args, frames)] = later
    exec(code, {"args": args})  # noqa: S102 - as TouchDesigner's run() does
    assert dat.par.active is True
    assert frames > 0


# Processing: its core library and a real window, on a display that nobody sees.

WATCHING = """
public class Watching extends emotion {
  public static void main(String[] arguments) { processing.core.PApplet.main("Watching"); }
  public void draw() {
    super.draw();
    int there = get(width / 4, 3 * height / 4);
    println(connected + " " + category + " " + valence + " " + arousal + " [" + sung + "] " + hex(there, 6));
  }
}
"""
"""Looks at what the sketch draws where the point must come to rest."""


def as_java(sketch: str) -> str:
    """Do to a sketch what Processing does before it compiles: imports on top, a class around it, and so on."""
    imports = re.findall(r"^import .*;$", sketch, flags=re.MULTILINE)
    body = re.sub(r"^import .*;$", "", sketch, flags=re.MULTILINE)
    size = re.search(r"^ *size\(.*\);$", body, flags=re.MULTILINE).group()
    body = body.replace(size, "")
    body = re.sub(r"^void (\w+)\(", r"public void \1(", body, flags=re.MULTILINE)
    body = re.sub(r"(?<![\w.])(\d+\.\d+)(?![\w.])", r"\1f", body)
    usual = ["import processing.core.*;", "import processing.data.*;", "import java.util.*;", "import java.io.*;"]
    settings = f"public void settings() {{ {size} }}"
    return "\n".join([*usual, *imports, "public class emotion extends PApplet {", settings, body, "}"])


def compile_java(sketch: str, core_jar: str, folder: Path) -> None:
    (folder / "emotion.java").write_text(as_java(sketch))
    (folder / "Watching.java").write_text(WATCHING)
    subprocess.run(["javac", "-cp", core_jar, "emotion.java", "Watching.java"], cwd=folder, check=True, timeout=120)


@pytest.fixture(scope="module")
def core_jar(tmp_path_factory):
    """The library of Processing 4, out of the Python package that brings it."""
    for name, package in (("java", "default-jre"), ("javac", "default-jdk-headless"), ("Xvfb", "xvfb")):
        if shutil.which(name) is None:
            pytest.skip(f"wants {name}: apt-get install {package}")
    folder = tmp_path_factory.mktemp("processing")
    options = ["--quiet", "--retries=0", "--timeout=30", "--no-deps", "--only-binary=:all:", "--dest", folder]
    command = [sys.executable, "-m", "pip", "download", *options, PY5]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=90)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"{PY5}, which holds Processing's core.jar, cannot be had here: {exc.stderr[-300:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PY5}, which holds Processing's core.jar, cannot be had here: no answer within 90 s")
    with zipfile.ZipFile(next(folder.glob("py5-*.whl"))) as wheel:
        return wheel.extract("py5/jars/core.jar", folder)


@pytest.fixture
def display():
    """A display of its own, that nobody sees."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "800x800x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    number = screen.stdout.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    screen.terminate()
    screen.wait(10)
    screen.stdout.close()


async def test_processing(core_jar, display, hub, serving, tmp_path):
    async with serving(hub) as server:
        port = server.port
        compile_java(recipe("emotion/emotion.pde", server), core_jar, tmp_path)
        path = os.pathsep.join([str(core_jar), "."])
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", path, "Watching"]
        async with program(*command, folder=tmp_path, env=os.environ | {"DISPLAY": display}) as sketch:
            async with publishing(hub, SAD, replace(LINE, text="così è l’amor " * 400), LINE):
                await printed(sketch, f"true sad -0.5 -0.5 [{LINE.text}] FFC850")
            await server.stop()
            await printed(sketch, "false")
            async with serving(hub, port=port), publishing(hub, FRAME):
                await printed(sketch, "true happy 0.4183 0.2957")
