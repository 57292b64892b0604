"""Streaming, real-time music emotion tagging: valence and arousal, emotion category and sung lyrics.

``tag`` tags a file, ``Tagger`` tags blocks of samples, ``connect`` joins a running server. Each name is loaded when it
is first used: importing the package does not load numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stream_mer.version import __version__

if TYPE_CHECKING:
    from stream_mer.api import Tagger as Tagger
    from stream_mer.api import TaggingOptions as TaggingOptions
    from stream_mer.api import TagResult as TagResult
    from stream_mer.api import tag as tag
    from stream_mer.errors import StreamMerError as StreamMerError
    from stream_mer.server import messages as messages
    from stream_mer.server.client import connect as connect
    from stream_mer.types import CategoryChange as CategoryChange
    from stream_mer.types import EmotionFrame as EmotionFrame
    from stream_mer.types import LyricLine as LyricLine

_MODULES = {
    "CategoryChange": "stream_mer.types",
    "EmotionFrame": "stream_mer.types",
    "LyricLine": "stream_mer.types",
    "StreamMerError": "stream_mer.errors",
    "TagResult": "stream_mer.api",
    "Tagger": "stream_mer.api",
    "TaggingOptions": "stream_mer.api",
    "connect": "stream_mer.server.client",
    "tag": "stream_mer.api",
}

__all__ = [
    "CategoryChange",
    "EmotionFrame",
    "LyricLine",
    "StreamMerError",
    "TagResult",
    "Tagger",
    "TaggingOptions",
    "__version__",
    "connect",
    "messages",
    "tag",
]


def __getattr__(name: str) -> Any:
    if name == "messages":
        return import_module("stream_mer.server.messages")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
