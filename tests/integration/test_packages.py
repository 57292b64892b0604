"""The clients that `make packages` builds, each installed where nothing else is, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import PATIENCE_S

from stream_mer import connect, messages
from stream_mer.version import __version__
from tools import packages
from tools.examples import CHANGE, FRAME, LINE

FOLLOW = """
import asyncio, json, sys
from stream_mer_client import StreamMerError, connect, messages

async def main():
    async with connect(sys.argv[1], name="slim") as client:
        async for message in client:
            if isinstance(message, messages.Ready):
                await client.control("override", override=messages.OverridePart(valence=-0.5, arousal=-0.25))
            if isinstance(message, messages.Emotion) and message.hold == "override":
                print(json.dumps([message.valence, message.arousal, message.category.top]), flush=True)
                break
    loaded = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps(sorted(loaded & {"numpy", "torch", "stream_mer", "msgspec", "websockets"})))

asyncio.run(main())
"""

CHEAP = ["--quiet", "--disable-pip-version-check", "--retries=0", "--timeout=30"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    packages.build_python(folder)
    packages.build_npm(folder)
    return folder


async def run(*command, folder: Path, env: dict[str, str] | None = None) -> str:
    """Run a program to its end; return what it printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, command), cwd=folder, stdout=pipe, stderr=pipe, env=env)
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0, err.decode() + out.decode()
    return out.decode()


# pip


def test_the_wheel_holds_the_client_and_nothing_of_the_models(dist):
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "stream_mer_client/__init__.py",
        "stream_mer_client/server/client.py",
        "stream_mer_client/py.typed",
    } <= names
    assert {name.partition("/")[0] for name in names} == {
        "stream_mer_client",
        f"stream_mer_client-{__version__}.dist-info",
    }, "nothing that stream-mer installs, too"
    assert not [name for name in names if "/web/" in name or "pipeline" in name or "session" in name]


def test_the_source_archive_builds_the_same_wheel(dist, tmp_path):
    (archive,) = dist.glob("*.tar.gz")
    subprocess.run(["tar", "xzf", archive, "-C", tmp_path], check=True)
    (folder,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (again,), (wheel,) = (tmp_path / "again").glob("*.whl"), dist.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


async def test_pip_installs_it_where_nothing_is_and_it_follows_and_controls(dist, hub, serving, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    (wheel,) = dist.glob("*.whl")
    install = [python, "-m", "pip", "install", *CHEAP, wheel]
    installed = await asyncio.to_thread(subprocess.run, install, env=env, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"pip cannot install msgspec and websockets here: {installed.stderr[-300:]}")
    listed = json.loads(await run(python, "-m", "pip", "list", "--format=json", folder=tmp_path, env=env))
    assert {one["name"] for one in listed} - {"pip", "setuptools"} == {"msgspec", "stream-mer-client", "websockets"}
    (tmp_path / "follow.py").write_text(FOLLOW)
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server:
        told = await run(python, "follow.py", server.stream_url, folder=tmp_path, env=env)
    assert [json.loads(line) for line in told.splitlines()] == [[-0.5, -0.25, "sad"], ["msgspec", "websockets"]]


async def test_beside_the_whole_package_each_keeps_to_its_own(hub, serving, tmp_path):
    packages.assemble_python(tmp_path)
    (tmp_path / "follow.py").write_text(
        FOLLOW.replace("import asyncio", "import stream_mer\nfrom stream_mer import connect as whole\nimport asyncio")
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(packages.ROOT)))}
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server, connect(server.stream_url) as client:
        told = await run(sys.executable, "follow.py", server.stream_url, folder=tmp_path, env=env)
        async for message in client:
            if isinstance(message, messages.Emotion) and message.held:
                break
    first, loaded = [json.loads(line) for line in told.splitlines()]
    assert first == [-0.5, -0.25, "sad"]
    assert loaded == ["msgspec", "stream_mer", "websockets"]


# npm

NODE = """
import { connect } from "stream-mer-client";
const mer = connect(process.argv[2], { name: "npm" });
mer.on("emotion", ({ valence, arousal, category }) => console.log(JSON.stringify([valence, arousal, category.top])));
mer.on("lyrics", ({ text }) => console.log(JSON.stringify(text)));
mer.on("change", ({ from, to }) => { console.log(JSON.stringify([from, to])); mer.close(); });
"""

TYPED = """
import { connect, type Client, type Emotion, type Ready } from "stream-mer-client";

const mer: Client = connect("ws://127.0.0.1:8765", { subscribe: [{ events: ["emotion", "change"], max_hz: 10 }] });
mer.on("emotion", (emotion: Emotion, age_s: number) => {
  const point: [number, number] = [emotion.valence, emotion.arousal];
  if (emotion.category.top === "happy") console.log(point, age_s, emotion.category.probs.happy);
  const age: number | null = emotion.text_age_s;
  const hold: string | null = emotion.hold;
  console.log(age, hold, emotion.clusters.C1);
});
mer.on("ready", (ready: Ready) => {
  for (const { message } of ready.snapshot) if (message.type === "lyrics") console.log(message.words[0]?.text);
});
mer.on("link", ({ up, why, final }) => console.log(up, why, final));
const stop: () => void = mer.on("change", ({ from, to }) => console.log(`${from} -> ${to}`));
mer.control("override", { override: { valence: 0.5, arousal: 0.2, ttl_s: 30 } }).then((result) => {
  if (!result.ok) console.log(result.error?.code);
});
mer.setup("apply", { stream: "main", changes: { hop_s: 0.25 } }).then((result) => result.setup?.state);
const sent: boolean = mer.audio({ stream: "desk", format: "s16le", rate_hz: 48000 }) && mer.audio(new Int16Array(2400));
console.log(sent);
stop();
// @ts-expect-error an unknown event
mer.on("emotions", () => {});
// @ts-expect-error an unknown action
mer.control("dance");
// @ts-expect-error a wrong field
mer.on("emotion", ({ valenz }) => console.log(valenz));
"""


def npm_package(dist: Path) -> Path:
    (package,) = dist.glob("*.tgz")
    return package


@pytest.fixture
def unpacked(dist: Path, tmp_path: Path) -> Path:
    subprocess.run(["tar", "xzf", npm_package(dist), "-C", tmp_path], check=True)
    return tmp_path / "package"


async def test_npm_installs_it_where_nothing_is_and_it_follows(dist, hub, serving, npm_install, tmp_path):
    npm_install(tmp_path, str(npm_package(dist)), "ws@8")
    (tmp_path / "follow.mjs").write_text(NODE)
    sink = hub.sink("main")
    async with serving(hub) as server:
        following = asyncio.create_task(run("node", "follow.mjs", server.stream_url, folder=tmp_path))
        while not following.done():
            for event in (replace(FRAME, valence=0.5), LINE, CHANGE):
                sink.publish(event)
            await asyncio.sleep(0.05)
        told = [json.loads(line) for line in (await following).splitlines()]
    assert [0.5, FRAME.arousal, "happy"] in told
    assert LINE.text in told
    assert told[-1] == [CHANGE.before, CHANGE.after]


async def test_without_a_websocket_node_says_what_to_install(dist, npm_install, tmp_path):
    npm_install(tmp_path, str(npm_package(dist)))
    script = """
        delete globalThis.WebSocket;
        const { connect } = await import("stream-mer-client");
        try { connect(); } catch (error) { console.log(error.message); }
    """
    (tmp_path / "lonely.mjs").write_text(script)
    assert (await run("node", "lonely.mjs", folder=tmp_path)).strip().endswith("npm install ws")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_browser_imports_the_file_of_the_package(unpacked, browser, hub, serving, served_folder):
    page = """<!doctype html><h1></h1><script type="module">
        import { connect } from "./mer.js";
        connect(new URLSearchParams(location.search).get("server")).on("emotion", ({ category }) => {
          document.querySelector("h1").textContent = category.top;
        });
    </script>"""
    (unpacked / "index.html").write_text(page)
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server:
        opened = await browser.new_page()
        await opened.goto(f"{served_folder(unpacked)}/?server={server.stream_url}")
        await opened.wait_for_selector("h1:text('happy')", timeout=PATIENCE_S * 1000)


async def test_its_types_hold_for_typescript(dist, npm_install, tmp_path):
    npm_install(tmp_path, str(npm_package(dist)), "typescript@5")
    (tmp_path / "typed.mts").write_text(TYPED)
    for module in ("nodenext", "preserve"):
        flags = ["--noEmit", "--strict", "--module", module, "--target", "es2022", "--lib", "es2022,dom"]
        resolution = ["--moduleResolution", "bundler"] if module == "preserve" else []
        await run("node_modules/.bin/tsc", *flags, *resolution, "typed.mts", folder=tmp_path)
