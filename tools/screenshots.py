"""Screenshots of the real page for the documentation: serves the demo song and looks at it in Chromium.

Run ``python -m tools.screenshots`` (or ``make screenshots``) after a change of the page; it takes about two minutes,
because the timeline needs music to show. The lyrics are those of the demo's file, so that the pictures do not depend on
what a recogniser understood.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "stream_mer" / "demo"
WORDS_SHOWN = "() => /[a-z] [a-z]+ [a-z]/.test(document.getElementById('lines').innerText)"
READY = re.compile(rb"http://127\.0\.0\.1:\d+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture.

    Attributes:
        name: File name without suffix.
        width: Width of the window, CSS pixels.
        height: Height of the window, CSS pixels.
        path: What of the server is shown.
        key: Key that is pressed once the page runs; empty for none.
        click: Selector of an element that is clicked first; empty for none.
        touch: Whether the window is that of a phone or a tablet.
    """

    name: str
    width: int
    height: int
    path: str = ""
    key: str = ""
    click: str = ""
    touch: bool = False


SHOTS = (
    Shot(name="page", width=1366, height=768),
    Shot(name="overlay", width=1280, height=360, path="overlay"),
    Shot(name="stage", width=1366, height=768, key="f"),
    Shot(name="setup", width=1366, height=768, click="#setup-open"),
    Shot(name="phone", width=390, height=844, touch=True),
)


async def start_server() -> tuple[asyncio.subprocess.Process, str]:
    """Serve the demo song on a free port; return the process and the address of its page."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream_mer", "serve", "--port", "0"),
        *("--source", "demo", "--lyrics", str(DEMO / "demo.lrc")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    if server.stdout is None:
        raise RuntimeError("the server has no output")
    said = b""
    async for line in server.stdout:
        said += line
        if found := READY.search(line):
            return server, found[0].decode()
    raise RuntimeError(f"the server ended: {said.decode()}")


async def open_page(browser: Browser, shot: Shot, address: str) -> Page:
    """Open what a picture shows, and bring it into the state of the picture."""
    page = await browser.new_page(
        viewport={"width": shot.width, "height": shot.height}, has_touch=shot.touch, is_mobile=shot.touch
    )
    await page.goto(address + shot.path)
    if shot.click:
        await page.click(shot.click, timeout=60_000)
    if shot.key:
        await page.keyboard.press(shot.key)
    return page


async def take(folder: Path, *, after_s: float, names: Sequence[str]) -> None:
    """Write the pictures.

    Args:
        folder: Where they go.
        after_s: How long the pages follow the song first, seconds.
        names: Which of ``SHOTS``; empty for all.
    """
    from playwright.async_api import async_playwright  # noqa: PLC0415 - in the extra `dev` alone

    shots = [shot for shot in SHOTS if not names or shot.name in names]
    server, address = await start_server()
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            pages = [await open_page(browser, shot, address) for shot in shots]
            await asyncio.sleep(after_s)
            for shot, page in zip(shots, pages, strict=True):
                await page.bring_to_front()
                await page.wait_for_function(WORDS_SHOWN)
                await asyncio.sleep(2.5)  # colours fade slowly
                await page.screenshot(path=folder / f"{shot.name}.png", omit_background=shot.path == "overlay")
                click.echo(f"{folder / shot.name}.png")
    finally:
        server.terminate()
        await server.wait()


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "docs" / "images")
@click.option("--after", "after_s", type=click.FloatRange(min=0), default=62.0, show_default=True, help="Seconds.")
def main(names: tuple[str, ...], out: Path, after_s: float) -> None:
    """Take the screenshots."""
    unknown = set(names) - {shot.name for shot in SHOTS}
    if unknown:
        raise click.UsageError(f"no picture is called {min(unknown)!r}: {', '.join(shot.name for shot in SHOTS)}")
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(out, after_s=after_s, names=names))


if __name__ == "__main__":
    main()
