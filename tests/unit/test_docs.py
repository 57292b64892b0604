"""What the documents tell people to type and where they point to is there."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from stream_mer.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "2>", "<"}
"""Where a shell's command ends and something else begins."""

BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(stream-mer\s[^`]+)`")


def commands_of(line: str) -> Iterator[list[str]]:
    """Yield the words behind each ``stream-mer`` of a line of shell that is a command and not an argument."""
    words = shlex.split(line, comments=True)
    for start, word in enumerate(words):
        before = [other for other in words[:start] if not re.match(r"\w+=", other)]
        if word == "stream-mer" and (not before or before[-1] in ENDS):
            rest = words[start + 1 :]
            end = next((at for at, other in enumerate(rest) if other in ENDS), len(rest))
            yield rest[:end]


def typed_in_blocks(text: str) -> Iterator[list[str]]:
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if re.search(r"(?<![\w./-])stream-mer ", line):
                yield from commands_of(line)


def named_in_sentences(text: str) -> Iterator[list[str]]:
    for words in INLINE.findall(BLOCK.sub("", text)):
        yield from commands_of(" ".join(words.split()))


def check(words: list[str], *, is_whole: bool) -> None:
    """Parse a command line as click would, without running it.

    Args:
        words: What follows ``stream-mer``.
        is_whole: False where what is only a mention may leave out what the command needs.

    Raises:
        click.UsageError: It cannot be.
    """
    own = [word for word in words if word not in {"-v", "-vv"}]
    leaves = contextlib.suppress(click.exceptions.Exit)  # with which --help ends
    with click.Context(cli, **cli.context_settings) as group, leaves:
        name, command, rest = cli.resolve_command(group, own)
        assert command is not None
        try:
            command.make_context(name, rest)
        except click.MissingParameter:
            if is_whole:
                raise


@pytest.fixture(autouse=True)
def every_file_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))  # noqa: ARG005 - click's


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_can_be_typed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [(words, True) for words in typed_in_blocks(text)] + [(words, False) for words in named_in_sentences(text)]
    for words, is_whole in lines:
        try:
            check(words, is_whole=is_whole)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: stream-mer {shlex.join(words)}: {error.format_message()}")


def test_command_lines_are_found_and_judged() -> None:
    block = 'pip install stream-mer\nFOO=1 arecord | stream-mer -v serve --source "mic:A B" > x  # stream-mer'
    text = f"Try `stream-mer\ntag`.\n\n```sh\n{block}\n```\n"
    assert list(named_in_sentences(text)) == [["tag"]]
    assert list(typed_in_blocks(text)) == [["-v", "serve", "--source", "mic:A B"]]
    check(["tag"], is_whole=False)
    for words in (
        ["tag"],
        ["sing"],
        ["serve", "--sauce", "mic"],
        ["serve", "--port", "many"],
        ["tag", "a.mp3", "--format", "xml"],
    ):
        with pytest.raises(click.UsageError):
            check(words, is_whole=True)


def test_the_readme_shows_most_commands() -> None:
    shown = {words[0] for words in typed_in_blocks((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {"serve", "listen", "tag", "diagnose", "devices"} <= shown <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} points to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors_of(file.read_text(encoding="utf-8")), f"{page.name} points to {target}"


def anchors_of(text: str) -> set[str]:
    """Return what a page's headings are called in addresses, as GitHub does it."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
