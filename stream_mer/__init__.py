"""Streaming, real-time music emotion tagging: valence and arousal, emotion category and sung words, live.

``connect`` joins a running server, and ``messages`` holds what it sends; both are loaded when they are asked for, so
that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_mer.server import messages as messages
    from stream_mer.server.client import connect as connect

__version__ = "0.1.0"

__all__ = ["__version__", "connect", "messages"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        return import_module("stream_mer.server.client").connect
    if name == "messages":
        return import_module("stream_mer.server.messages")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
