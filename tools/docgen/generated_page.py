"""Pages of the documentation that are partly made from code: what stands between two marks is written anew."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

END_MARK = "<!-- end of what is made from code -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPage:
    """A page, and how its part is made.

    Attributes:
        module: Run with ``python -m`` to write it.
        page: Its path in the repository.
        make: Returns the part, as Markdown.
    """

    module: str
    page: str
    make: Callable[[], str]

    @property
    def begin_mark(self) -> str:
        return f"<!-- made by `python -m {self.module} --write {self.page}`; edit the code, not this -->"

    def refresh(self, text: str) -> str:
        """Return the page with what is between the marks made anew.

        Raises:
            ValueError: A mark is missing.
        """
        head, begin, rest = text.partition(self.begin_mark)
        _, end, tail = rest.partition(END_MARK)
        if not begin or not end:
            raise ValueError(f"the page lacks the marks between which goes what {self.module} makes")
        return f"{head}{self.begin_mark}\n\n{self.make()}\n{END_MARK}{tail}"

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Write the page, or tell by the exit code 1 whether it is out of step."""
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=f"Writes a part of {self.page}.")
        parser.add_argument("--write", type=Path, metavar="PAGE", required=True, help=self.page)
        parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if it is out of step")
        options = parser.parse_args(arguments)
        before = options.write.read_text(encoding="utf-8")
        after = self.refresh(before)
        if options.check:
            return int(before != after)
        options.write.write_text(after, encoding="utf-8")
        return 0
