"""Nothing of a stream on a GPU stays on the processor: computed on torch's device for shapes alone, which needs no GPU.

Arithmetic over tensors of two devices is refused there as it would be on a real one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from stream_mer.audio import features
from stream_mer.audio.features import FFT_LENGTH, log_mel
from stream_mer.emotion.backbone import Backbone, BackboneShape
from stream_mer.emotion.model import JointModel, JointModelConfig
from stream_mer.emotion.streaming_backbone import BackboneStream, StreamingBackbone
from stream_mer.emotion.streaming_joint import StreamingJoint, TokenCodes

ELSEWHERE = "meta"
SHAPE = BackboneShape(filters=(20, 16, 8, 6, 4), pooled=200)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield
    features._transform.cache_clear()


def streaming_joint(*, attention: bool) -> StreamingJoint:
    config = JointModelConfig(
        audio_features=SHAPE.token_features, text_features=10, members=2, width=16, heads=2, attention=attention
    )
    return StreamingJoint(JointModel(config).to(ELSEWHERE).eval())


@pytest.mark.parametrize("operation", [torch.add, torch.mul])
def test_two_devices_are_refused(operation: object) -> None:
    with pytest.raises(RuntimeError):
        operation(torch.zeros(3, 3, device=ELSEWHERE), torch.zeros(3, 3))  # type: ignore[operator]


@pytest.mark.parametrize("attention", [True, False], ids=["attention", "concatenation"])
@pytest.mark.parametrize("n_streams", [1, 3])
def test_a_batch_stays_on_its_device_from_spectrogram_to_outputs(n_streams: int, *, attention: bool) -> None:
    net = StreamingBackbone(Backbone(SHAPE).to(ELSEWHERE).eval())
    joint = streaming_joint(attention=attention)
    streams = [BackboneStream(net, context_steps=625) for _ in range(n_streams)]
    rings = [TokenCodes(joint, kept=stream.kept) for stream in streams]
    for turn in range(8):  # blocks end in some of them, and the streams' numbers of new steps differ
        cuts = [torch.zeros(31 + (turn + i) % 2, FFT_LENGTH).to(net.device) for i in range(n_streams)]
        net.feed(streams, [log_mel(cut) for cut in cuts])
        for stream, ring in zip(streams, rings, strict=True):
            ring.take(joint.encode_audio(torch.stack([*stream.fresh_tokens(), stream.newest])).unbind())
        audio = joint.pool_audio(rings, [ring.hidden(newest_kept=True) for ring in rings])
    text = joint.encode_text(torch.zeros(n_streams, 10).to(joint.device))
    for out in (joint.outputs(audio, None), joint.outputs(audio, text), joint.outputs(None, text)):
        assert out.device.type == ELSEWHERE
        assert out.shape[1:] == (n_streams, 11)
    held = [value for stream in streams for value in vars(stream).values() if isinstance(value, torch.Tensor)]
    assert {tensor.device.type for tensor in held} == {ELSEWHERE}
