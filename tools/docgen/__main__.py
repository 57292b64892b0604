"""Write the generated parts of the documentation: ``python -m tools.docgen``. ``--check`` only compares."""

import sys
from pathlib import Path

from tools.docgen import dmx, osc, protocol, settings

ROOT = Path(__file__).parents[2]
PAGES = (protocol.PAGE, settings.PAGE, osc.PAGE, dmx.PAGE)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the pages below ``root``; with ``--check`` return 1 if one is out of date, and write nothing."""
    stale = []
    for page in PAGES:
        path = root / page.page
        before = path.read_text(encoding="utf-8")
        after = page.refresh(before)
        if before != after:
            stale.append(page.page)
            if "--check" not in arguments:
                path.write_text(after, encoding="utf-8")
    print("\n".join(stale) or "all pages are up to date")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
