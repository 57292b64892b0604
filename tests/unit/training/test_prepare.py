"""From a folder to clips in memory: everything slow once, and with the backbone that the tokens came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tolerance import KEPT
from torch import Tensor

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.audio_branch import AudioBranch, token_features
from stream_mer.emotion.checkpoint import load_checkpoint
from stream_mer.emotion.musicnn import Backbone, BackboneShape, load_musicnn
from stream_mer.errors import CheckpointError, CorpusError
from stream_mer.training import prepare as prepare_module
from stream_mer.training.corpus import Corpus, load_corpus
from stream_mer.training.dataset import corrupted_kind
from stream_mer.training.prepare import load_backbone, prepare
from stream_mer.training.tokens import cached_tokens, clip_tokens, read_audio, reduce

Jobs = Callable[[], Sequence[Any]]
Music = Callable[..., NDArray[np.float32]]

DEAD = (0, 100, 203, 204, 300, 407, 408, 458, 459, 509, 510, 560)  # of every bank some, its first and last among them
# Until then the middle layers reach before the stream: 61 steps of delay, 3 layers of 6 steps, 186 that a token pools.
SETTLED_TOKENS = -(-(186 + 61 + 18) // 31) - 1  # 31 steps are a little less than a token's half second


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole network with random weights, written as the original's; of the front, ``DEAD`` never fire."""
    torch.manual_seed(3)
    net = Backbone().requires_grad_(requires_grad=False)
    layers = [*net.front, *net.middle]
    biases = [torch.full_like(layer.linear.bias, 5.0 if i < 5 else 40.0) for i, layer in enumerate(layers)]
    flat = torch.cat(biases)
    flat[list(DEAD)] = -1e4
    tensors: dict[str, Tensor] = {}

    def norm(index: int, n: int) -> None:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        tensors[f"{name}/gamma"], tensors[f"{name}/beta"] = 0.5 + torch.rand(n), torch.randn(n)
        tensors[f"{name}/moving_mean"], tensors[f"{name}/moving_variance"] = torch.randn(n), 0.5 + torch.rand(n)

    norm(0, 1)
    shapes = [(7, 38, 1), (7, 67, 1), (128, 1, 1), (64, 1, 1), (32, 1, 1), *[(7, n, 1) for n in (561, 64, 64)]]
    for i, (layer, shape, bias) in enumerate(
        zip(layers, shapes, torch.split(flat, [len(b) for b in biases]), strict=True)
    ):
        name = f"conv2d_{i}" if i else "conv2d"
        weight = layer.linear.weight
        tensors[f"{name}/kernel"] = weight.view(len(weight), *shape).permute(1, 2, 3, 0)
        tensors[f"{name}/bias"] = bias
        norm(i + 1, len(weight))
    path = tmp_path_factory.mktemp("weights") / "network.npz"
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]
    return path


def tokens_of(backbone: Backbone, samples: NDArray[np.float32]) -> Tensor:
    """Of MusiCNN's part, as float32, which the cache does not keep."""
    branch = AudioBranch(backbone)
    stream = branch.open()
    branch.feed([(stream, samples)])
    return torch.stack(stream.take())[:, : backbone.shape.token_features]


# --- the backbone


def test_the_backbone_of_a_checkpoint_is_taken_as_it_is(tiny_model: Path, tmp_path: Path, jobs: Jobs) -> None:
    found = load_backbone(tiny_model, (), tmp_path, workers=1)
    expected = load_checkpoint(tiny_model).backbone.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    assert len(jobs()) == 0


def test_published_weights_are_made_slim_and_give_the_same_tokens(
    corpus_folder: Path, npz: Path, tmp_path: Path, jobs: Jobs, music: Music
) -> None:
    clips = load_corpus(corpus_folder).clips[:2]
    small = load_backbone(npz, clips, tmp_path, workers=1)
    assert len(jobs()) == 2
    whole = load_musicnn(npz)
    heard = torch.stack([torch.from_numpy(t)[8:].float() for t in cached_tokens(clips, whole, tmp_path).values()])
    assert len(jobs()) == 0  # the whole network has listened already, and its tokens are kept
    spread = heard.amax((0, 1)) - heard.amin((0, 1))
    living = (spread[:753] > 1e-3) | (spread[753:1506] > 1e-3)
    assert tuple((~living[:561]).nonzero().flatten().tolist()) == DEAD
    assert int(living[561:].sum()) > 180  # of the middle layers a few may happen never to fire
    assert small.shape.pooled == int(living.sum())
    assert sum(small.shape.filters) == int(living[:561].sum())

    samples = music(7.0, seed=5)  # of another recording
    columns = torch.cat([living, living, torch.ones(3 * MEL_BANDS, dtype=torch.bool)])
    ours, theirs = tokens_of(small, samples)[SETTLED_TOKENS:], tokens_of(whole, samples)[SETTLED_TOKENS:, columns]
    assert ours.shape == (6, small.shape.token_features)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # float32 sums in another order


def test_what_is_prepared_has_the_tokens_of_the_slim_backbone(
    corpus_folder: Path, npz: Path, tmp_path: Path, jobs: Jobs, quick_encoder: type[Any]
) -> None:
    first = prepare([corpus_folder], npz, tmp_path, transcripts=False)
    assert len(jobs()) == 10  # this time the slim network
    assert first.backbone.shape != BackboneShape()
    features, n = first.data.components.basis.shape
    assert features == token_features(first.backbone)
    assert first.data.tokens.shape[3] == n
    clip = load_corpus(corpus_folder).clips[3]
    expected = reduce(clip_tokens(read_audio(clip.audio), first.backbone), first.data.components)
    found = first.data.clip_tokens(3)[0].numpy()
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=KEPT, atol=10 * KEPT)
    assert quick_encoder.encoded
    again = prepare([corpus_folder], npz, tmp_path, transcripts=False)
    assert len(jobs()) == 0
    assert again.data.fingerprint() == first.data.fingerprint()


@pytest.mark.usefixtures("jobs")
def test_it_tells_that_the_whole_network_listens(
    corpus_folder: Path, npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_backbone(npz, load_corpus(corpus_folder).clips[:1], tmp_path, workers=1)
    assert "Listening with the whole network of network.npz" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere", "broken.npz"])
def test_a_backbone_that_cannot_be_read_is_an_error(name: str, corpus_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK no weights")
    with pytest.raises(CheckpointError, match=name):
        prepare([corpus_folder], tmp_path / name, tmp_path / "cache", transcripts=False)


# --- the clips


SONGS = "id,lyrics,quadrant\n" + "".join(f"{k},a song that has number {k},Q{k % 4 + 1}\n" for k in range(6))


@pytest.mark.usefixtures("quick_encoder")
def test_clips_songs_copies_and_troubles_come_together(
    corpus_folder: Path, tiny_model: Path, tmp_path: Path, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "verses.csv").write_text(SONGS, encoding="utf-8")
    sound = "level -30 dB"
    data = prepare(
        [corpus_folder],
        tiny_model,
        tmp_path / "cache",
        transcripts=False,
        copies=2,
        words=[tmp_path / "verses.csv"],
        corrupted=[0.5],
        sounds=[sound],
    ).data
    assert len(jobs()) > 0
    assert len(data) == 16
    assert data.sets.tolist() == [""] * 10 + ["verses"] * 6
    assert data.tokens.shape[:2] == (3, 10)  # the clip and its copies
    assert [int(n) for n in data.n_tokens] == [12] * 10 + [0] * 6
    assert not torch.equal(data.tokens[0], data.tokens[1])
    assert not torch.equal(data.tokens[1], data.tokens[2])
    quiet = data.clip_tokens(4, sound)
    assert quiet.shape == data.clip_tokens(4).shape
    assert not torch.equal(quiet, data.clip_tokens(4))
    spoken = {kind: [row for row in range(16) if data.has_lines(row, kind)] for kind in ("recognised", "printed")}
    assert spoken == {"recognised": [0, 1, 4], "printed": [0, 3, *range(10, 16)]}
    for kind, row in (("recognised", 1), ("printed", 3)):
        clean, wrong = (data.heard_lines(row, k, delay_s=0.0).vectors for k in (kind, corrupted_kind(kind, 0.5)))
        assert clean.shape == wrong.shape
        assert not torch.equal(clean, wrong)
    assert not data.has_lines(12, corrupted_kind("printed", 0.5))  # only clips are measured on these
    assert "verses.csv: 6 songs of words alone" in capsys.readouterr().err


def test_what_was_prepared_once_is_read_from_the_cache(
    corpus_folder: Path, tiny_model: Path, tmp_path: Path, jobs: Jobs, quick_encoder: type[Any]
) -> None:
    (tmp_path / "verses.csv").write_text(SONGS, encoding="utf-8")

    def fingerprint() -> str:
        words = [tmp_path / "verses.csv"]
        cache = tmp_path / "cache"
        return prepare([corpus_folder], tiny_model, cache, transcripts=False, copies=1, words=words).data.fingerprint()

    first = fingerprint()
    assert len(jobs()) > 0
    assert quick_encoder.encoded
    quick_encoder.encoded = []
    assert fingerprint() == first
    assert len(jobs()) == 0
    assert quick_encoder.encoded == []


@pytest.mark.usefixtures("jobs", "quick_encoder")
@pytest.mark.parametrize("transcripts", [True, False])
def test_the_recogniser_listens_only_where_it_is_asked_to(
    transcripts: bool,
    corpus_folder: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = json.loads((corpus_folder / "transcripts.jsonl").read_text(encoding="utf-8").splitlines()[0])

    def heard(corpus: Corpus, cache: Path, _recogniser: object) -> Corpus:
        assert cache == tmp_path
        return replace(corpus, transcripts={clip.clip_id: given for clip in corpus.clips})

    monkeypatch.setattr(prepare_module, "with_transcripts", heard)
    data = prepare([corpus_folder], tiny_model, tmp_path, transcripts=transcripts).data
    spoken = [row for row in range(10) if data.has_lines(row, "recognised")]
    assert spoken == (list(range(10)) if transcripts else [0, 1, 4])


def test_words_that_cannot_be_read_are_an_error(
    corpus_folder: Path, tiny_model: Path, tmp_path: Path, jobs: Jobs
) -> None:
    with pytest.raises(CorpusError, match=r"nothing\.csv"):
        prepare([corpus_folder], tiny_model, tmp_path, transcripts=False, words=[tmp_path / "nothing.csv"])
    assert len(jobs()) == 0  # told before anything that takes minutes
