"""Nothing of a stream on a GPU stays on the processor: computed on torch's device for shapes alone, which needs no GPU.

Arithmetic over tensors of two devices is refused there as it would be on a real one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stream_mer.audio import features
from stream_mer.emotion.audio_branch import AudioBranch, token_features
from stream_mer.emotion.joint import JointModelConfig
from stream_mer.emotion.musicnn import Backbone, BackboneShape
from stream_mer.emotion.predictor import AudioContext
from stream_mer.training.network import Encoded, JointNetwork, time_scales

ELSEWHERE = torch.device("meta")
SHAPE = BackboneShape(filters=(20, 16, 8, 6, 4), pooled=200)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield
    features._transform.cache_clear()


@pytest.mark.parametrize("operation", [torch.add, torch.mul])
def test_two_devices_are_refused(operation: object) -> None:
    with pytest.raises(RuntimeError):
        operation(torch.zeros(3, 3, device=ELSEWHERE), torch.zeros(3, 3))  # type: ignore[operator]


@pytest.mark.parametrize("attention", [True, False], ids=["attention", "concatenation"])
@pytest.mark.parametrize("n_streams", [1, 3])
def test_a_batch_stays_on_its_device_from_spectrogram_to_outputs(n_streams: int, *, attention: bool) -> None:
    backbone = Backbone(SHAPE).to(ELSEWHERE).eval()
    config = JointModelConfig(
        audio_features=token_features(backbone),
        text_features=10,
        audio_components=12,
        members=2,
        width=16,
        heads=2,
        attention=attention,
    )
    branch, joint = AudioBranch(backbone), JointNetwork(config).to(ELSEWHERE).eval()
    streams = [branch.open(at_sample=100 * i) for i in range(n_streams)]  # their numbers of new steps differ
    contexts = [AudioContext(config, 4, ELSEWHERE) for _ in streams]
    for _ in range(3):
        branch.feed([(stream, np.zeros(8_000, np.float32)) for stream in streams])
        for stream, context in zip(streams, contexts, strict=True):
            encoded = joint.encode_audio(joint.components(torch.stack(stream.take())).unsqueeze(0))
            context.add(*(None if part is None else part[:, 0] for part in encoded))
    weights = time_scales(torch.stack([context.ages() for context in contexts]), config).to(ELSEWHERE)
    kept = Encoded(*(torch.stack([getattr(context, name) for context in contexts], 1) for name in Encoded._fields))
    audio = joint.pool_audio(kept, weights)
    text = joint.encode_text(torch.zeros(n_streams, 10).to(ELSEWHERE))
    for heads in (joint.combine(audio, None), joint.combine(audio, text), joint.combine(None, text)):
        assert {head.device for head in heads} == {ELSEWHERE}
        assert [head.shape[1:] for head in heads] == [(n_streams, n) for n in (2, 4, 5)]
    held = [value for stream in streams for value in vars(stream.backbone).values() if isinstance(value, torch.Tensor)]
    assert {tensor.device for tensor in held} == {ELSEWHERE}
