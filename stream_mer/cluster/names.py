"""What channels are called, on the wire and in NATS. Pure.

A channel's name may hold spaces, dots and letters of any script; a NATS subject's token and a key may not. So every
byte that is not a letter, a digit, ``-`` or ``_`` of ASCII travels as ``=`` and two hexadecimal digits: ``Zürich 1`` is
``Z=C3=BCrich=201``. Two names never meet in one token.
"""

from __future__ import annotations

import functools
import re

from stream_mer.errors import SettingError

SUBJECTS = "mer.v1"
"""What a channel publishes goes to ``mer.v1.<channel>.<kind>``."""

WANTED = "mer.want"
"""Serving nodes say on ``mer.want.<channel>.<kind>`` what is only made for those who ask."""

LONGEST_NAME = 64

_NAME = re.compile(r"[\w][\w .-]*")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a channel, or of a worker."""
    return _NAME.fullmatch(text) is not None and len(text) <= LONGEST_NAME


def check_name(name: str) -> str:
    """Return the name of a channel, or of a worker, as it was given.

    Raises:
        SettingError: It is none: empty, too long, or with letters that a name may not have.
    """
    if not is_name(name):
        raise SettingError(
            f"{name[:80]!r} cannot be a name: take letters, digits, spaces, dots, - and _, "
            f"beginning with a letter or a digit, {LONGEST_NAME} at most"
        )
    return name


def token_of(name: str) -> str:
    """Return a name as one token of a subject, which is also a key."""
    return "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in name.encode())


@functools.lru_cache(maxsize=1 << 17)
def name_of(token: str) -> str | None:
    """Return the name that a token stands for; None if ``token_of`` made none such."""
    try:
        raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), token).encode("latin-1")
        name = raw.decode()
    except UnicodeError:
        return None
    return name if name and token_of(name) == token else None


def subject_of(channel: str, kind: str) -> str:
    """Return where a channel's messages of a kind go."""
    return f"{SUBJECTS}.{token_of(channel)}.{kind}"


def wanted_subject_of(channel: str, kind: str) -> str:
    """Return where it is said that a channel's messages of a kind are wanted."""
    return f"{WANTED}.{token_of(channel)}.{kind}"


def split_subject(subject: str) -> tuple[str, str] | None:
    """Return channel and kind of a subject of either sort; None if it is of none."""
    head, _, kind = subject.rpartition(".")
    root, _, token = head.rpartition(".")
    name = name_of(token)
    return (name, kind) if root in {SUBJECTS, WANTED} and name is not None else None
