"""Text from outside, made safe to show: secrets in addresses are masked, control characters are escaped. Pure.

Every message that may contain an address passes through here. Secrets are: user and password in front of the host,
every value of the query, the fragment, and values in the path whose names say so (``/user=admin&password=...``, as
cameras write them). The names of query parameters stay, so that a person recognises the address.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MASK = "***"

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?:(?![A-Za-z][A-Za-z0-9+.-]+://)\S)+")
"""One slash, too: a path type makes that of an address. A single letter is a drive."""

_CLOSING = "'\"`),.;:>]}"
"""Ends the sentence around an address, not the address."""

_SECRET_NAME = r"(?:pass(?:word|phrase|wd|code)?|pwd|tokens?|key|secret|auth|signature|sig|credentials?)"  # noqa: S105 - a pattern
_SECRET_PAIR = re.compile(rf"(?i)({_SECRET_NAME}=)(?!\*)[^\s&;/?#'\"]+")
_LOGIN = re.compile(r"[^/\\]{2,}:[^/]*@")
_QUERY_PAIR = re.compile(r"(?P<begin>^|[&;])(?P<name>[^=&;]*=)?(?P<value>[^&;]*)")

_WITHOUT_PATH = frozenset({"", "nats", "tls"})
"""Addresses of these kinds have no path, so an ``@`` always ends a user; the empty one is typed without a scheme."""

_OF_FILES = frozenset({"file"})

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of writing: text would be shown differently from what it is."""

_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ufeff\ud800-\udfff]")
_UNSAFE_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ufeff\ud800-\udfff]")


def redact(text: str) -> str:
    """Return a message whose addresses show nothing secret.

    Args:
        text: Any text. An address in it ends at white space; one that holds white space itself is for
            ``redact_address``, before it becomes part of a message.
    """
    return _mask_pairs(_ADDRESS.sub(_redact_match, text))


def redact_address(address: str) -> str:
    """Return one address, with or without a scheme, that shows nothing secret.

    Args:
        address: As a person typed it; need not be valid.
    """
    head, separator, rest = address.partition("://")
    if not separator:
        head, rest = "", address
    if head.lower() in _OF_FILES:
        return address
    authority, path = _split_authority(head.lower(), rest)
    user, at, host = authority.rpartition("@")
    if not _is_host_and_port(host):  # the port may be the first half of a password
        host = f"{host.partition(':')[0]}:{MASK}"
    return f"{head}{separator}{MASK + at if user else at}{host}{_redact_path(path)}"


def redact_argument(text: str) -> str:
    """Return a typed path or address, redacted if it is an address, with or without its protocol."""
    return redact_address(text) if "://" in text or looks_like_login(text) else redact(text)


def looks_like_login(text: str) -> bool:
    """Return whether this is ``user:password@host``: an address that was typed without its protocol."""
    return _LOGIN.match(text) is not None


def public_address(url: str) -> str:
    """Return scheme, host, port and path of a valid address: short enough for a name, and without any secret.

    Args:
        url: With a scheme.

    Raises:
        ValueError: It is no address.
    """
    scheme = urlsplit(url).scheme
    authority, rest = _split_authority(scheme, url.partition("://")[2])
    path = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{_mask_pairs(path)}"


def _redact_match(found: re.Match[str]) -> str:
    whole = found.group()
    address = whole.rstrip(_CLOSING)
    closing = whole[len(address) :]
    if "://" in address:
        return redact_address(address) + closing
    scheme, _, rest = address.partition(":/")
    return redact_address(f"{scheme}://{rest}").replace("://", ":/", 1) + closing


def _split_authority(scheme: str, rest: str) -> tuple[str, str]:
    """Split into user, host and port, and the rest. A password may hold characters that are not allowed in it."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # A slash or a question mark in a password ends what looks like the host: better hide too much than too little.
    holds_user = scheme in _WITHOUT_PATH or "@" in authority or not _is_host_and_port(authority)
    cut = rest.rfind("@") + 1 if holds_user else 0
    found = re.search(r"[/?#]", rest[cut:])
    end = len(rest) if found is None else cut + found.start()
    return rest[:end], rest[end:]


def _is_host_and_port(authority: str) -> bool:
    if any(map(str.isspace, authority)):
        return False
    try:
        return (urlsplit(f"//{authority}").port or 0) >= 0
    except ValueError:
        return False


def _redact_path(path: str) -> str:
    """Redact what follows the host: path, query and fragment."""
    before, mark, query = path.partition("?")
    target, hash_mark, fragment = (query if mark else before).partition("#")
    masked_fragment = hash_mark + (MASK if fragment else "")
    if not mark:
        return _mask_pairs(target) + masked_fragment
    pairs = _QUERY_PAIR.sub(lambda pair: pair["begin"] + (pair["name"] or "") + (MASK if pair["value"] else ""), target)
    return _mask_pairs(before) + mark + pairs + masked_fragment


def _mask_pairs(text: str) -> str:
    return _SECRET_PAIR.sub(rf"\g<1>{MASK}", text)


def one_line(text: str, max_characters: int) -> str:
    """Return text of others as one line to show: without control and bidirectional characters, and not too long."""
    line = " ".join(_UNSAFE.sub(" ", text).split())
    return line if len(line) <= max_characters else line[: max_characters - 1].rstrip() + "…"


def escape(text: str, *, keep_lines: bool = False) -> str:
    r"""Return text with control, C1, bidirectional and line-separator characters escaped.

    They become ``\u001b`` and the like, which JSON and TOML read as the character again. Applying it twice changes
    nothing.

    Args:
        text: Any text, with lone surrogates or not.
        keep_lines: Leave line feeds and tabs: for text whose lines were put together here.
    """
    return (_UNSAFE_IN_LINES if keep_lines else _UNSAFE).sub(lambda found: f"\\u{ord(found[0]):04x}", text)
