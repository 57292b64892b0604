"""An address as a QR code, for a terminal and for a page; segno is imported here alone."""

from __future__ import annotations

import functools
import io

_QUIET_ZONE = 2
"""Light modules around the code: the standard asks for 4, cameras do with 2, and a terminal has few lines."""


def qr_terminal(text: str) -> str:
    """Return a QR code as lines of half blocks, dark on light."""
    import segno  # noqa: PLC0415 - only servers in a network need it

    out = io.StringIO()
    segno.make_qr(text, error="l").terminal(out, border=_QUIET_ZONE, compact=True)
    return out.getvalue()


@functools.lru_cache(maxsize=4)
def qr_svg(text: str) -> str:
    """Return a QR code as one ``<svg>`` element without size, dark on light."""
    import segno  # noqa: PLC0415 - as above

    return str(segno.make_qr(text, error="m").svg_inline(omitsize=True, light="#fff", border=_QUIET_ZONE))
