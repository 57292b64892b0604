"""The rearranged joint model says what the trained one says, for every shape that can be trained."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tolerance import LAYER
from torch import Tensor

from stream_mer.emotion.model import AudioInput, JointModel, JointModelConfig, TextInput
from stream_mer.emotion.streaming_joint import OUTPUTS, StreamingJoint, TokenCodes

# The same sums of float32 numbers in another order; all values are of order 1.
TOLERANCE = {"rtol": LAYER, "atol": LAYER}
SHAPES = {
    "whole": {},
    "one member": {"members": 1},
    "private alone": {"shared": False},
    "shared alone": {"private": False},
    "concatenation": {"attention": False},
}


@pytest.fixture(params=[*SHAPES])
def joint(request: pytest.FixtureRequest) -> JointModel:
    torch.manual_seed(3)
    options = {"members": 3, "width": 16, "heads": 4} | SHAPES[request.param]
    model = JointModel(JointModelConfig(audio_features=24, text_features=10, **options))  # type: ignore[arg-type]
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.add_(0.3 * torch.randn_like(tensor))
    return model.eval().requires_grad_(requires_grad=False)


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def expected(joint: JointModel, tokens: Tensor | None, text: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of audio alone and of both, [B, OUTPUTS], by the trained model: words of such a weight move it all the way."""
    b = len(tokens) if tokens is not None else len(text) if text is not None else 0
    given = torch.zeros(b, 1, 24) if tokens is None else tokens
    words = torch.zeros(b, 0, 10) if text is None else text.unsqueeze(1)
    out = joint(
        AudioInput(given, torch.full(given.shape[:2], tokens is not None)),
        TextInput(words, torch.full(words.shape[:2], 1e9), torch.zeros(words.shape[:2])),
    )
    audio, both = (
        torch.cat([heads.emotion, heads.category, heads.cluster], 2).mean(0) for heads in (out.audio, out.fused)
    )
    return audio, both


def pooled(streaming: StreamingJoint, tokens: Tensor) -> Tensor:
    """As a stream has it that was given its tokens one by one, [B, G, D]."""
    rings = []
    for of_one in tokens:
        ring = TokenCodes(streaming, kept=len(of_one))
        codes = streaming.encode_audio(of_one)
        for i in range(1, len(of_one)):
            ring.take([*codes[i - 1 : i + 1]])
        rings.append(ring)
    return streaming.pool_audio(rings, [ring.hidden(newest_kept=True) for ring in rings])


def test_audio_alone(joint: JointModel) -> None:
    streaming, tokens = StreamingJoint(joint), numbers(0, 4, 7, 24)
    (out,) = streaming.outputs(pooled(streaming, tokens), None)
    assert out.shape == (4, OUTPUTS)
    torch.testing.assert_close(out, expected(joint, tokens, None)[0], **TOLERANCE)


def test_audio_and_words(joint: JointModel) -> None:
    streaming, tokens, text = StreamingJoint(joint), numbers(0, 4, 7, 24), numbers(1, 4, 10)
    audio, both = streaming.outputs(pooled(streaming, tokens), streaming.encode_text(text))
    torch.testing.assert_close(audio, expected(joint, tokens, text)[0], **TOLERANCE)
    torch.testing.assert_close(both, expected(joint, tokens, text)[1], **TOLERANCE)
    assert not torch.allclose(audio, both, atol=1e-2)


def test_words_alone(joint: JointModel) -> None:
    streaming, text = StreamingJoint(joint), numbers(1, 2, 10)
    (out,) = streaming.outputs(None, streaming.encode_text(text))
    torch.testing.assert_close(out, expected(joint, None, text)[1], **TOLERANCE)


# --- the ring of tokens


def marked(first: int, *, count: int = 2) -> list[Tensor]:
    """Codes that bear their number."""
    return [torch.full((6, 17), float(number)) for number in range(first, first + count)]


def counted(ring: TokenCodes, *, newest_kept: bool) -> list[int]:
    """The numbers of the tokens that count."""
    hidden = ring.hidden(newest_kept=newest_kept)
    there = [code for i, code in enumerate(ring.ring.unbind(1)) if i != hidden and torch.isfinite(code[:, -1]).all()]
    assert all(torch.equal(code, code[:1, :1].expand(6, 17)) for code in there)
    return sorted(int(code[0, 0]) for code in there)


@pytest.fixture
def ring() -> TokenCodes:
    torch.manual_seed(3)
    config = JointModelConfig(audio_features=24, text_features=10, members=3, width=16, heads=4)
    return TokenCodes(StreamingJoint(JointModel(config)), kept=4)


def test_the_context_is_the_newest_and_those_kept_before_it(ring: TokenCodes) -> None:
    for newest in range(1, 10):
        ring.take(marked(newest - 1))  # the one before it is kept
        assert counted(ring, newest_kept=True) == list(range(max(0, newest - 3), newest + 1))
        assert counted(ring, newest_kept=False) == [*range(max(0, newest - 4), newest - 1), newest]


def test_several_tokens_may_be_kept_at_once_and_none(ring: TokenCodes) -> None:
    ring.take(marked(0, count=6))
    assert counted(ring, newest_kept=True) == [2, 3, 4, 5][-4:]
    ring.take(marked(9, count=1))
    assert counted(ring, newest_kept=True) == [2, 3, 4, 9]


def test_before_anything_is_kept_the_newest_stands_alone(ring: TokenCodes) -> None:
    ring.take(marked(5, count=1))
    for newest_kept in (False, True):
        assert counted(ring, newest_kept=newest_kept) == [5]


def test_a_hidden_token_has_no_influence() -> None:
    torch.manual_seed(3)
    config = JointModelConfig(audio_features=24, text_features=10, members=3, width=16, heads=4)
    streaming = StreamingJoint(JointModel(config))
    said = []
    for hidden in numbers(2, 2, 24):
        ring = TokenCodes(streaming, kept=3)
        ring.take([*streaming.encode_audio(torch.stack([numbers(3, 24), hidden, numbers(4, 24)]))])
        said.append(streaming.pool_audio([ring], [ring.hidden(newest_kept=False)]))
    for a, b in pairwise(said):
        torch.testing.assert_close(a, b, **TOLERANCE)
