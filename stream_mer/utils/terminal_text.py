"""Escaping of untrusted text (names, titles, lyrics, server messages) for the terminal. Pure."""

from __future__ import annotations

import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that turn the direction of writing: what is shown would read otherwise than what is there."""

_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ufeff\ud800-\udfff]")
_UNSAFE_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ufeff\ud800-\udfff]")


def escape(text: str, *, keep_lines: bool = False) -> str:
    r"""Return text with control, C1, bidirectional and line-separator characters escaped.

    They become ``\u001b`` and the like, which JSON and TOML read as the character again. Applying it twice changes
    nothing.

    Args:
        text: Any text, with lone surrogates or not.
        keep_lines: Leave line feeds and tabs: for text whose lines were put together here.
    """
    return (_UNSAFE_IN_LINES if keep_lines else _UNSAFE).sub(lambda found: f"\\u{ord(found[0]):04x}", text)
