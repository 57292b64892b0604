"""Hook of MkDocs (``mkdocs.yml``): adds pages from outside ``docs/`` and rewrites the links of the repository.

The pages are written for a browser of the repository, where links are relative paths between files. In the site,
links to files that are not part of it (source code, configuration) become plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ADDED = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    **{str(card.relative_to(ROOT)): str(card.relative_to(ROOT)) for card in sorted(ROOT.glob("models/*/CARD.md"))},
    **{str(image.relative_to(ROOT)): str(image.relative_to(ROOT)) for image in sorted(ROOT.glob("models/*/*.svg"))},
}
"""Files outside ``docs/``, with their place in the site."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the files of ``ADDED``."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - in the extra `docs` alone

    for source, place in ADDED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    del config
    place = page.file.src_uri
    sources = {added: source for source, added in ADDED.items()}
    return rewrite_links(markdown, sources.get(place, f"docs/{place}"), place, {file.src_uri for file in files})


def rewrite_links(markdown: str, source: str, place: str, places: set[str]) -> str:
    """Return Markdown with links that work in the site.

    Args:
        markdown: Text of a page.
        source: Path of the page in the repository.
        place: Path of the page in the site's sources.
        places: All paths of the site's sources.
    """

    def rewritten(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        found = ADDED.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        if found not in places:
            return text
        return f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(place) or '.')}{anchor})"

    return _LINK.sub(rewritten, markdown)
