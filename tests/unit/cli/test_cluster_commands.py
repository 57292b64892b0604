"""Commands of a cluster: what cannot be is said before anything is connected or loaded."""

from __future__ import annotations

import pytest

from stream_mer.cli import cli
from stream_mer.errors import SettingError


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["channels", "add", "only"], "stream-mer channels add NAME SOURCE"),
        (["channels", "list", "much"], "1 words after list"),
        (["channels", "remove"], "stream-mer channels remove NAME"),
        (["channels", "--nats", "http://x"], "not an address of NATS"),
        (["serve", "--from", "nats://x", "--source", "demo"], "leave --source"),
        (["serve", "--from", "nats://x", "--record-audio"], "leave --source and --record-audio"),
        (["serve", "--only", "main"], "among the channels of --from"),
        (["serve", "--from", "x"], "not an address of NATS"),
        (["worker", "--lease", "0.1"], "the lease must be"),
        (["worker", "--replicas", "9"], "the replicas must be"),
        (["worker", "--max-channels", "0"], "1 to 10000"),
        (["worker", "--name", "a/b"], "cannot be a name"),
        (["worker", "--lyrics", "song.lrc"], "belongs to one song"),
    ],
)
def test_a_mistake_is_said_at_once(args: list[str], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        cli.main([*args, "--config", ""], standalone_mode=False)
