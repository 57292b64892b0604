"""``hello`` tells every limit, and none that is not applied."""

from dataclasses import fields, replace

from stream_mer.config import ServeSettings
from stream_mer.server.hub import Hub
from stream_mer.server.messages import LimitsPart
from stream_mer.server.session import ServerInfo, hello

NO_LIMITS = {"port", "close_timeout_s"}
"""Numbers among the settings that do not limit a client: where to listen, and how long a goodbye may take."""


def test_every_limit_is_a_setting_whose_value_is_told():
    limits = {field.name for field in fields(ServeSettings) if field.type in {"int", "float"}} - NO_LIMITS
    assert set(LimitsPart.__struct_fields__) == limits
    for name in limits:
        settings = replace(ServeSettings(), **{name: 2048 if name == "max_audio_bytes" else 64})
        told = hello(Hub(), settings, ServerInfo()).limits
        assert getattr(told, name) == getattr(settings, name)
        others = limits - {name}
        assert all(getattr(told, other) == getattr(ServeSettings(), other) for other in others)
