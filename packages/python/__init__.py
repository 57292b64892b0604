"""The client of a stream_mer server, alone: it needs websockets and msgspec, and no model.

::

    from stream_mer_client import connect, messages

    async with connect("ws://127.0.0.1:8765") as client:
        async for message in client:
            if isinstance(message, messages.Emotion):
                print(message.valence, message.arousal, message.category.top)

The modules are those of stream_mer under another name, so both packages may be installed side by side.
"""

from stream_mer_client.errors import ServeError, SettingError, StreamMerError
from stream_mer_client.server import messages
from stream_mer_client.server.client import Client, client_tls_context, connect
from stream_mer_client.version import __version__

__all__ = [
    "Client",
    "ServeError",
    "SettingError",
    "StreamMerError",
    "__version__",
    "client_tls_context",
    "connect",
    "messages",
]
