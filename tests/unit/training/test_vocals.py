"""Training of the detector of voices, with its real teacher."""

import wave
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from tolerance import LAYER

from stream_mer.cli import training
from stream_mer.errors import SettingError
from stream_mer.lyrics.vocals import VocalDetector, VocalShape, load_detector
from stream_mer.training.tokens import read_audio
from stream_mer.training.vocals import (
    VocalFeatures,
    VocalNetwork,
    VocalRecipe,
    compute_features,
    find_recordings,
    open_teacher,
    train_network,
)

SHAPE = VocalShape(shapes=4, width=16, dilations=(1, 2))
RECIPE = VocalRecipe(epochs=12, batch_size=8, crop_s=2.0)
DEMO = Path(training.__file__).parents[1] / "demo" / "demo.ogg"


def loud_bands(n, seed):
    """Noise whose middle bands are louder where somebody "sings"."""
    rng = np.random.default_rng(seed)
    voice = np.repeat(rng.integers(0, 2, n // 50 + 1), 50)[:n].astype(np.float16)
    log_mel = rng.normal(1.0, 0.3, (n, 96))
    log_mel[:, 30:60] += voice[:, None]
    return VocalFeatures(voice, log_mel.astype(np.float16), (log_mel * 0.8).astype(np.float16))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    network = VocalNetwork(SHAPE)
    train_network([loud_bands(1500, seed) for seed in range(4)], RECIPE, 0, network=network)
    return network


def test_it_learns_what_the_teacher_says(trained):
    other = loud_bands(1500, 99)
    for log_mel in (other.clean, other.degraded):
        with torch.inference_mode():
            told = torch.sigmoid(trained(torch.from_numpy(log_mel.astype(np.float32))[None]))[0].numpy()
        assert ((told > 0.5) == (other.voice > 0.5)).mean() > 0.9


@pytest.mark.parametrize("n", [1, 5, 300])
def test_the_detector_computes_what_was_trained(n, trained):
    log_mel = loud_bands(n, 98).clean.astype(np.float32)
    with torch.inference_mode():
        expected = trained(torch.from_numpy(log_mel)[None])[0].numpy()
    found = VocalDetector(SHAPE, trained.tensors()).logits(log_mel)
    assert found.shape == (n,)
    assert np.ptp(expected) > (1.0 if n == 300 else -1.0)  # the comparison is of something
    np.testing.assert_allclose(found, expected, rtol=LAYER, atol=LAYER)


def test_the_seed_decides(trained):
    torch.manual_seed(0)
    again = VocalNetwork(SHAPE)
    train_network([loud_bands(1500, seed) for seed in range(4)], RECIPE, 0, network=again)
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), again.parameters(), strict=True))


def test_recordings_shorter_than_a_crop_are_told():
    with pytest.raises(SettingError, match="as long as a crop of 2 s"):
        train_network([loud_bands(100, 0)], RECIPE, 0, network=VocalNetwork(SHAPE))


def test_a_folder_without_audio_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(SettingError, match="no audio in"):
        find_recordings([tmp_path])


def test_audio_is_found_below_a_folder(tmp_path):
    for name in ("b.MP3", "a/x.opus", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_recordings([tmp_path])] == ["x.opus", "b.MP3"]


def test_the_teacher_hears_the_song_where_it_is_sung():

    voice = open_teacher().voice(read_audio(DEMO))
    assert voice[: round(1.0 * 62.5)].mean() < 0.2  # the band begins alone
    assert voice.mean() > 0.2


def test_what_was_heard_once_is_kept(tmp_path, sung):
    recordings = [sung(tmp_path / "song.wav")]
    [first] = compute_features(recordings, tmp_path / "cache", workers=1)
    [kept] = (tmp_path / "cache" / "vocals").glob("*.npz")
    written = kept.stat().st_mtime_ns
    [again] = compute_features(recordings, tmp_path / "cache", workers=1)
    assert kept.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.voice, again.voice)
    assert first.clean.shape == first.degraded.shape == (len(first.voice), 96)
    assert not np.array_equal(first.clean, first.degraded)


def test_the_command_writes_a_detector_that_can_be_used(tmp_path, sung):
    sung(tmp_path / "music" / "song.wav")
    arguments = [tmp_path / "music", "--out", tmp_path / "out", "--cache", tmp_path / "cache", "--epochs", "1"]
    training.train_vocals_command.main(
        [str(argument) for argument in (*arguments, "--workers", "1", "--threads", "1")], standalone_mode=False
    )
    detector = load_detector(tmp_path / "out")
    assert isinstance(detector, VocalDetector)
    assert len(detector.probabilities(np.zeros(16_000, np.float32))) == 62


def test_out_must_not_be_a_file(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises((SettingError, click.ClickException), match="is a file"):
        training.train_vocals_command.main([str(tmp_path), "--out", str(tmp_path / "out")], standalone_mode=False)


@pytest.fixture
def sung():
    """Writes ten seconds of the demo song as a WAV."""

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = read_audio(DEMO)[16_000 * 4 : 16_000 * 14]
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        return path

    return write
