"""VibeNet in a process of its own; run by an interpreter that has it, never imported.

Reads one JSON object a line and answers each with one: ``{"audio", "middle_s", "first_s"}`` with the last hidden layer
and the outputs of a file, or of its first seconds; ``{"time_s", "repeats"}`` with the CPU seconds of one pass over so
many seconds of audio. VibeNet's own code reads the file and makes the spectrogram. Its session does not give its hidden
layer, so the same network is opened with that layer as a second output, on one thread.
"""

import importlib.resources
import json
import sys
import time
from typing import Any

import numpy as np
import onnx  # type: ignore[import-not-found,unused-ignore]  # as vibenet, only where this runs
import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]
import vibenet  # type: ignore[import-not-found,unused-ignore]
from vibenet.core import (  # type: ignore[import-not-found,unused-ignore]
    InferenceResult,
    extract_mel,
    load_audio,
)

RATE_HZ = 16_000
HIDDEN = "gelu"  # the trunk's 256 units, which every output reads


def open_network() -> Any:
    """The network with its hidden layer as a second output."""
    with importlib.resources.as_file(
        importlib.resources.files("vibenet.artifacts") / "efficientnet_model.onnx"
    ) as path:
        network = onnx.load(str(path))
    network.graph.output.append(onnx.helper.make_tensor_value_info(HIDDEN, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])


def hear(network: Any, samples: Any) -> tuple[list[float], dict[str, float]]:
    """Hidden layer [256] and outputs [7] of 16 kHz audio, heard at once."""
    logits, hidden = network.run(["out", HIDDEN], {"x": extract_mel(samples, RATE_HZ)[np.newaxis]})
    outputs = InferenceResult.from_logits([float(value) for value in logits[0]]).to_dict()
    return hidden[0].tolist(), outputs


def read(audio: str, middle_s: float | None, first_s: float | None) -> Any:
    """A file's samples: its middle, and of that the beginning where requested."""
    samples = load_audio(audio, RATE_HZ)
    if middle_s is not None:
        length = round(middle_s * RATE_HZ)
        start = max(0, (len(samples) - length) // 2)
        samples = samples[start : start + length]
    return samples if first_s is None else samples[: round(first_s * RATE_HZ)]


def time_pass(network: Any, seconds: float, repeats: int) -> float:
    """CPU seconds of one pass, the mean of ``repeats``."""
    samples = np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ)).astype(np.float32) * 0.1
    hear(network, samples)  # the first pass of a length is slower
    started = time.process_time()
    for _ in range(repeats):
        hear(network, samples)
    return (time.process_time() - started) / repeats


def answer(network: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one question."""
    if "time_s" in asked:
        return {"cpu_s": time_pass(network, asked["time_s"], asked["repeats"])}
    hidden, outputs = hear(network, read(asked["audio"], asked["middle_s"], asked["first_s"]))
    return {"hidden": hidden, "outputs": [outputs[name] for name in vibenet.labels]}


def main() -> None:
    """Answer until stdin ends; the first line holds the names of the outputs."""
    network = open_network()
    print(json.dumps({"names": list(vibenet.labels)}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(network, json.loads(line))
        except Exception as error:  # reported by the parent process
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
