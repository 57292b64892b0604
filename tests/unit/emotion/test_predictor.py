"""The predictor on windows: dropped ones are caught up, odd ones do no harm, and words move what they have earned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import wait_for
from numpy.typing import NDArray
from products import Products
from tolerance import LAYER, NETWORK

from stream_mer.audio.windowing import Windower
from stream_mer.cli.diagnose import demo_song
from stream_mer.config import WindowSettings
from stream_mer.emotion.audio_branch import TOKEN_HOP
from stream_mer.emotion.checkpoint import Checkpoint, TextStrength
from stream_mer.emotion.estimates import WARMING_UP, apply_text_gate
from stream_mer.emotion.joint import Encoded, JointModel, JointModelConfig
from stream_mer.emotion.predictor import AudioContext, Batcher, EmotionPredictor, JointEmotionStream, Request
from stream_mer.errors import CheckpointError, SettingError
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training.network import AudioInput, Heads, JointNetwork, JointOutput, TextInput, time_scales
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    NO_LYRICS,
    AudioChunk,
    EmotionEstimate,
    EncodedLine,
    Floats,
    LyricState,
    Samples,
    Window,
)

SETTINGS = WindowSettings(hop_s=0.5, context_s=4.0)

Music = Callable[..., Samples]


@pytest.fixture(scope="module")
def predictor(tiny_model: Path) -> EmotionPredictor:
    return EmotionPredictor.load(tiny_model)


def windows(samples: Samples, settings: WindowSettings = SETTINGS, *, start_sample: int = 0) -> list[Window]:
    windower = Windower(settings)
    found = windower.feed(AudioChunk(start_sample=start_sample, samples=samples))
    tail = windower.finish()
    return found if tail is None else [*found, tail]


def numbers(estimate: EmotionEstimate) -> list[float]:
    return [estimate.valence, estimate.arousal, *estimate.categories.values(), *estimate.clusters.values()]


def estimates(stream: JointEmotionStream, given: Sequence[Window]) -> list[EmotionEstimate]:
    return [stream.predict(window, NO_LYRICS) for window in given]


def lines(*t1: float, seed: int = 4) -> LyricState:
    rng = np.random.default_rng(seed)
    vectors = [rng.standard_normal(LINE_FEATURES).astype(np.float32) for _ in t1]
    encoded = [
        EncodedLine(t1=t, vector=vector, reliability=0.8, n_words=5) for t, vector in zip(t1, vectors, strict=True)
    ]
    return LyricState(lines=tuple(encoded), health="ok")


def last(predictor: EmotionPredictor, samples: Samples, lyrics: LyricState) -> EmotionEstimate:
    """The newest estimate of a stream that heard these samples from its beginning."""
    stream = predictor.open_stream(SETTINGS)
    return [stream.predict(window, lyrics) for window in windows(samples)][-1]


@torch.inference_mode()
def judged_at_once(
    predictor: EmotionPredictor, samples: Samples, words: LyricState, settings: WindowSettings = SETTINGS
) -> JointOutput:
    """What the joint model as it is trained says of the context of samples that are the whole stream so far.

    Nothing is kept: the audio branch hears all of it at once, and ``JointNetwork.forward`` reads the context's tokens.
    """
    stream = predictor.audio.open()
    predictor.audio.feed([(stream, samples)])
    if not stream.fresh:  # less than half a second: the token that silence would complete
        predictor.audio.feed([(stream, np.zeros(TOKEN_HOP - len(samples), np.float32))])
    tokens = torch.from_numpy(np.stack(stream.take()[-(settings.context_samples // TOKEN_HOP) :]))
    joint, t1 = JointNetwork.from_model(predictor.joint), len(samples) / 16_000
    audio = AudioInput(
        joint.components(tokens).unsqueeze(0),
        torch.zeros(1, dtype=torch.long),
        time_scales(torch.arange(len(tokens)).flip(0).unsqueeze(0), joint.config),
    )
    vectors = [torch.from_numpy(line.vector) for line in words.lines]
    text = TextInput(
        torch.stack(vectors).unsqueeze(0) if vectors else torch.zeros(1, 0, LINE_FEATURES),
        torch.tensor([[line.reliability for line in words.lines]]),
        torch.tensor([[max(0.0, t1 - line.t1) for line in words.lines]]),
    )
    output: JointOutput = joint(audio, text)
    return output


def as_numbers(heads: Heads) -> list[float]:
    """The one moment of the heads as an estimate has it: means of the members, probabilities."""
    emotion, category, cluster = (head.mean(0)[0] for head in heads)
    return [*emotion.tolist(), *category.softmax(-1).tolist(), *cluster.softmax(-1).tolist()]


def with_strength(predictor: EmotionPredictor, strength: TextStrength) -> EmotionPredictor:
    checkpoint = predictor.checkpoint
    return EmotionPredictor(replace(checkpoint, calibration=replace(checkpoint.calibration, text_strength=strength)))


def test_an_estimate_is_whole_and_in_its_ranges(predictor: EmotionPredictor, music: Music) -> None:
    for estimate in estimates(predictor.open_stream(SETTINGS), windows(music(3.2))):
        assert list(estimate.categories) == list(CATEGORIES)
        assert list(estimate.clusters) == list(CLUSTERS)
        assert sum(estimate.categories.values()) == pytest.approx(1, abs=1e-5)
        assert sum(estimate.clusters.values()) == pytest.approx(1, abs=1e-5)
        for name, error in (("valence", 0.4), ("arousal", 0.3)):
            value, (low, high) = getattr(estimate, name), getattr(estimate.interval, name)
            assert (low, high) == pytest.approx((max(-1, value - error), min(1, value + error)))
        assert estimate.interval.level == 0.8
        assert (estimate.modalities, estimate.text_age_s) == (("audio",), None)
        assert estimate.degraded == (WARMING_UP,)
        assert estimate.features_ms > 0
        assert estimate.model_ms > 0


@pytest.mark.parametrize("kept", [[0, 1, 2, 6, 7, 8, 13], [5, 13], [0, 7, 13]])
def test_dropped_windows_are_caught_up_from_the_overlap(
    kept: list[int], predictor: EmotionPredictor, music: Music
) -> None:
    """Each of these windows starts before the one before it ends, so all of the audio reaches the stream."""
    given = windows(music(7))
    assert given[13].start_sample == given[5].end_sample == 48_000  # the tightest of them
    all_of_them = estimates(predictor.open_stream(SETTINGS), given)
    some = estimates(predictor.open_stream(SETTINGS), [given[i] for i in kept])
    for i, estimate in zip(kept, some, strict=True):
        assert numbers(estimate) == pytest.approx(numbers(all_of_them[i]), abs=NETWORK)


def test_after_a_gap_a_stream_warms_up_again(predictor: EmotionPredictor, music: Music) -> None:
    stream = predictor.open_stream(SETTINGS)
    given = windows(music(6))
    assert [told.degraded for told in estimates(stream, given)] == [(WARMING_UP,)] * 9 + [()] * 3
    assert stream.heard_s == 6.0
    later = Window(index=40, start_sample=320_000, samples=given[-1].samples[-8_000:])
    again = stream.predict(later, NO_LYRICS)
    assert (again.degraded, stream.heard_s) == ((WARMING_UP,), 0.5)
    fresh = Window(index=0, start_sample=0, samples=later.samples)
    expected = predictor.open_stream(SETTINGS).predict(fresh, NO_LYRICS)
    assert numbers(again) == pytest.approx(numbers(expected), abs=NETWORK)


def test_a_stream_may_start_anywhere_on_the_clock(predictor: EmotionPredictor, music: Music) -> None:
    at_zero = estimates(predictor.open_stream(SETTINGS), windows(music(2)))
    later = estimates(predictor.open_stream(SETTINGS), windows(music(2), start_sample=160_000))
    for one, other in zip(later, at_zero, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), abs=NETWORK)


@pytest.mark.parametrize("length", [1, 255, 256, 511, 512])
def test_audio_shorter_than_one_transform_gives_an_estimate(
    length: int, predictor: EmotionPredictor, music: Music
) -> None:
    (window,) = windows(music(1)[:length])
    assert np.isfinite(numbers(predictor.open_stream(SETTINGS).predict(window, NO_LYRICS))).all()


@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0, 1e4])
def test_silence_and_noise_of_any_level_give_finite_values(level: float, predictor: EmotionPredictor) -> None:
    samples = (level * np.random.default_rng(0).uniform(-1, 1, 32_000)).astype(np.float32)
    for estimate in estimates(predictor.open_stream(SETTINGS), windows(samples)):
        assert np.isfinite(numbers(estimate)).all()


@pytest.mark.parametrize("hop_s", [0.1, 0.3, 1.0, 2.0])
def test_the_hop_does_not_change_what_a_moment_feels_like(
    hop_s: float, predictor: EmotionPredictor, music: Music
) -> None:
    settings = WindowSettings(hop_s=hop_s, context_s=4.0)
    hopped = estimates(predictor.open_stream(settings), windows(music(6), settings))
    reference = estimates(predictor.open_stream(SETTINGS), windows(music(6)))
    assert numbers(hopped[-1]) == pytest.approx(numbers(reference[-1]), abs=NETWORK)


def test_lyrics_move_the_estimate_and_tell_their_age(predictor: EmotionPredictor, music: Music) -> None:
    given = windows(music(3))
    plain = estimates(predictor.open_stream(SETTINGS), given)[-1]
    stream = predictor.open_stream(SETTINGS)
    sung = [stream.predict(window, lines(0.2, 0.4)) for window in given][-1]
    assert sung.modalities == ("audio", "text")
    assert sung.text_age_s == pytest.approx(2.6)
    assert numbers(sung) != pytest.approx(numbers(plain), abs=1e-4)


def test_lyrics_of_long_ago_are_no_modality(predictor: EmotionPredictor, music: Music) -> None:
    window = windows(music(1), start_sample=16_000 * 3600)[-1]
    estimate = predictor.open_stream(SETTINGS).predict(window, lines(1.0))
    assert (estimate.modalities, estimate.text_age_s) == (("audio",), None)


# --- what is kept, and what is computed together


@pytest.mark.parametrize("words", [NO_LYRICS, lines(0.2, 3.0)], ids=["audio alone", "with words"])
@pytest.mark.parametrize(("hop_s", "context_s"), [(0.5, 4.0), (0.1, 3.0), (0.3, 20.0), (2.0, 5.3)])
def test_encoding_each_token_once_gives_what_the_whole_context_gives_at_once(
    hop_s: float, context_s: float, words: LyricState, predictor: EmotionPredictor, music: Music
) -> None:
    """From the first hop, before the first token, until long after the ring is full; or of a ring that never is."""
    settings, samples = WindowSettings(hop_s=hop_s, context_s=context_s), music(8)
    stream = predictor.open_stream(settings)
    for i, window in enumerate(windows(samples, settings)):
        told = stream.predict(window, words)
        if i < 7 or window.end_sample % 24_000 == 0:
            whole = judged_at_once(predictor, samples[: window.end_sample], words, settings)
            assert numbers(told) == pytest.approx(as_numbers(whole.fused), abs=NETWORK)


@pytest.mark.parametrize("length", [1_600, 3_200, 7_999])
def test_less_than_half_a_second_is_judged_as_if_silence_followed(
    length: int, predictor: EmotionPredictor, music: Music
) -> None:
    """However it arrived; and nothing of that is left once there is a true token."""
    settings = WindowSettings(hop_s=0.1, context_s=4.0)
    stream, heard = predictor.open_stream(settings), music(2)
    early = [Window(index=i, start_sample=0, samples=heard[:n]) for i, n in enumerate((800, 1_200, length))]
    said = estimates(stream, early)
    for window, told in zip(early, said, strict=True):
        expected = as_numbers(judged_at_once(predictor, window.samples, NO_LYRICS, settings).fused)
        assert numbers(told) == pytest.approx(expected, abs=NETWORK)
    assert numbers(said[0]) != pytest.approx(numbers(said[2]), abs=1e-6)
    for n in (8_000, 8_100, 16_000, 24_000):
        told = stream.predict(Window(index=n, start_sample=0, samples=heard[:n]), NO_LYRICS)
        expected = as_numbers(judged_at_once(predictor, heard[:n], NO_LYRICS, settings).fused)
        assert numbers(told) == pytest.approx(expected, abs=NETWORK)


def test_between_two_tokens_the_estimate_stays(predictor: EmotionPredictor, music: Music) -> None:
    settings = WindowSettings(hop_s=0.1, context_s=4.0)
    said = estimates(predictor.open_stream(settings), windows(music(2), settings))
    for i in range(4, 19):  # from the first token on
        same = numbers(said[i + 1]) == pytest.approx(numbers(said[i]), abs=1e-7)
        assert same == ((i + 2) % 5 != 0)


# --- the ring of tokens


def marked(first: int, count: int) -> Encoded:
    """Encoded tokens that bear their number."""
    numbers = np.arange(first, first + count, dtype=np.float32)[:, None, None, None]
    return Encoded(values=np.tile(numbers, (1, 2, 2, 16)), scores=np.tile(-numbers, (1, 2, 2, 2)))


def ages_of(context: AudioContext) -> dict[int, int]:
    """The number of each token in the context, and its age."""
    values, scores = context.encoded
    np.testing.assert_array_equal(scores, -values[..., :2])
    return {int(values[place, 0, 0, 0]): int(age) for place, age in enumerate(context.ages()) if age >= 0}


def context_of(tokens: int) -> AudioContext:
    config = JointModelConfig(audio_features=24, text_features=10, audio_components=4, members=2, width=16)
    return AudioContext(config, tokens)


@pytest.mark.parametrize("counts", [[1] * 10, [3, 1, 2, 4, 1], [4, 4], [9, 1], [2, 11]])
def test_a_context_holds_the_newest_tokens_and_knows_their_ages(counts: list[int]) -> None:
    context, added = context_of(4), 0
    assert ages_of(context) == {}
    for n in counts:
        context.add(marked(added, n))
        added += n
        assert ages_of(context) == {added - 1 - age: age for age in range(min(4, added))}


def test_a_provisional_token_is_replaced_by_the_next_one() -> None:
    context = context_of(4)
    assert context.awaits_token
    for number in (70, 80):
        context.add(marked(number, 1), provisional=True)
        assert context.awaits_token
        assert ages_of(context) == {number: 0}
    context.add(marked(5, 2))
    assert not context.awaits_token
    assert ages_of(context) == {5: 1, 6: 0}


def test_the_joint_model_costs_the_same_for_every_context(predictor: EmotionPredictor, music: Music) -> None:
    """All but the pooling itself: a score and a share of the sum for each number of a token that is kept."""
    checkpoint, config = predictor.checkpoint, predictor.joint.config

    def products(context_s: float, words: LyricState) -> int:
        settings = WindowSettings(hop_s=0.5, context_s=context_s)
        joint = JointModel(config, checkpoint.joint.tensors)
        stream = EmotionPredictor(replace(checkpoint, joint=joint)).open_stream(settings)
        *before, newest = windows(music(14), settings)
        estimates(stream, before)
        counter = Products()
        counter.watch(joint)
        counter.watch(stream.context)
        stream.predict(newest, words)
        return counter.total

    kept = config.members * config.width * config.scales * (config.private + config.shared)
    for words in (NO_LYRICS, lines(13.0)):
        short, long = products(3.0, words), products(12.0, words)
        assert long - short == (24 - 6) * kept
        assert short > 6 * kept


def test_windows_computed_together_give_what_they_give_alone(predictor: EmotionPredictor, music: Music) -> None:
    """Of streams that began at other times, with words and without, one of them silent."""
    sounds = [music(6, seed=0), music(5, seed=1), silence(6), music(6, seed=3)]
    said = [NO_LYRICS, lines(0.2), lines(0.4, 1.0), NO_LYRICS]
    streams = [predictor.open_stream(SETTINGS) for _ in sounds]
    given = [windows(samples) for samples in sounds]
    expected = []
    for of_one, words in zip(given, said, strict=True):
        stream = predictor.open_stream(SETTINGS)
        expected.append([stream.predict(window, words) for window in of_one])
    turns = [[(i, k - i) for i in range(4) if 0 <= k - i < len(given[i])] for k in range(15)]
    for turn in turns:
        asked = [Request(streams[i], given[i][k], said[i]) for i, k in turn]
        for (i, k), told in zip(turn, predictor.predict(asked), strict=True):
            assert numbers(told) == pytest.approx(numbers(expected[i][k]), abs=NETWORK)
            assert (told.modalities, told.text_age_s) == (expected[i][k].modalities, expected[i][k].text_age_s)


def test_threads_share_batches_and_get_their_own_answers(predictor: EmotionPredictor, music: Music) -> None:
    sounds = [music(4, seed=seed) for seed in range(6)]
    expected = [numbers(estimates(predictor.open_stream(SETTINGS), windows(samples))[-1]) for samples in sounds]
    with ThreadPoolExecutor(len(sounds)) as pool:
        told = list(pool.map(lambda samples: numbers(last(predictor, samples, NO_LYRICS)), sounds))
    for one, other in zip(told, expected, strict=True):
        assert one == pytest.approx(other, abs=NETWORK)


# --- words alone


def silence(duration_s: float) -> Samples:
    return np.zeros(round(16_000 * duration_s), np.float32)


def of_words_alone(predictor: EmotionPredictor, samples: Samples, lyrics: LyricState) -> EmotionEstimate:
    stream = predictor.open_stream(SETTINGS, words_alone=True)
    return [stream.predict(window, lyrics) for window in windows(samples)][-1]


def test_where_words_are_all_there_is_they_answer_alone(predictor: EmotionPredictor) -> None:
    said = of_words_alone(predictor, silence(3), lines(0.2, 0.4))
    assert said.modalities == ("text",)
    assert said.text_age_s == pytest.approx(2.6)
    other = of_words_alone(predictor, silence(3), lines(0.2, 0.4, seed=5))
    assert numbers(said) != pytest.approx(numbers(other), abs=1e-3)
    assert numbers(said) != pytest.approx(numbers(last(predictor, silence(3), NO_LYRICS)), abs=1e-3)


def test_words_alone_do_not_depend_on_any_audio(predictor: EmotionPredictor, music: Music) -> None:
    said = of_words_alone(predictor, silence(3), lines(1.0))
    assert numbers(of_words_alone(predictor, music(3), lines(1.0))) == pytest.approx(numbers(said), abs=NETWORK)


@pytest.mark.parametrize("samples", [silence(3), np.full(48_000, 1e-6, np.float32)], ids=["digital", "faint"])
def test_in_a_stream_with_sound_words_never_answer_alone(samples: Samples, predictor: EmotionPredictor) -> None:
    assert last(predictor, samples, lines(0.2, 0.4)).modalities == ("audio", "text")


# --- how far words may move each output


@pytest.fixture
def text_computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What of the text path is computed from now on: its encoder, and the fusion that reads it."""
    computed: list[str] = []
    encode_text, combine, combine_with_and_without_text = (
        JointModel.encode_text,
        JointModel.combine,
        JointModel.combine_with_and_without_text,
    )

    def encoded(joint: JointModel, mean: Floats) -> Floats:
        computed.append("encoder")
        return encode_text(joint, mean)

    def fused(joint: JointModel, audio: Floats | None, text: Floats | None) -> Floats:
        if text is not None:
            computed.append("fusion")
        return combine(joint, audio, text)

    def fused_twice(joint: JointModel, audio: Floats, text: Floats) -> tuple[Floats, Floats]:
        computed.append("fusion")
        return combine_with_and_without_text(joint, audio, text)

    monkeypatch.setattr(JointModel, "encode_text", encoded)
    monkeypatch.setattr(JointModel, "combine", fused)
    monkeypatch.setattr(JointModel, "combine_with_and_without_text", fused_twice)
    return computed


SILENT_WORDS = LyricState(lines=tuple(replace(line, reliability=0.0) for line in lines(0.2, 0.4).lines), health="ok")


@pytest.mark.parametrize(
    ("strength", "words"),
    [(0.0, lines(0.2, 0.4)), (1.0, NO_LYRICS), (1.0, SILENT_WORDS)],
    ids=["strength 0", "no words", "words of no weight"],
)
def test_where_words_may_not_move_anything_nothing_of_them_is_computed(
    strength: float, words: LyricState, text_computed: list[str], predictor: EmotionPredictor, music: Music
) -> None:
    """So the result is that of audio exactly, on any processor: there is nothing else."""
    given = with_strength(predictor, TextStrength(emotion=strength, category=strength, cluster=strength))
    sung = last(given, music(3), words)
    assert text_computed == []
    assert (sung.modalities, sung.text_age_s) == (("audio",), None)
    assert numbers(sung) == pytest.approx(numbers(last(predictor, music(3), NO_LYRICS)), abs=NETWORK)
    last(predictor, music(3), lines(0.2))
    assert set(text_computed) == {"encoder", "fusion"}, "and words that may are computed"


def test_streams_with_words_do_not_make_others_compute_them(
    text_computed: list[str], predictor: EmotionPredictor, music: Music
) -> None:
    streams = [predictor.open_stream(SETTINGS) for _ in range(3)]
    asked = [
        Request(stream, windows(music(0.5))[0], words)
        for stream, words in zip(streams, (NO_LYRICS, lines(0.2), NO_LYRICS), strict=True)
    ]
    pooled: list[int] = []
    pool_audio = JointModel.pool_audio

    def watched(joint: JointModel, values: Floats, scores: Floats, ages: NDArray[np.int64]) -> Floats:
        pooled.append(len(values))
        return pool_audio(joint, values, scores, ages)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JointModel, "pool_audio", watched)
        predictor.predict(asked)
    assert pooled == [2, 1], "two streams without words, then the one with words"
    assert text_computed == ["encoder", "fusion"]


def test_lyrics_are_encoded_again_when_a_line_comes_or_fades_from_now_on(
    text_computed: list[str], predictor: EmotionPredictor, music: Music
) -> None:
    """While the same lines fade, what they say stays; a line that ends after the window does not fade yet."""
    given = windows(music(4))
    sung = lines(0.2, 0.9, 2.4)
    said = [LyricState(lines=sung.lines[: 2 + (k >= 4)], health="ok") for k in range(len(given))]
    stream = predictor.open_stream(SETTINGS)
    for k, (window, words) in enumerate(zip(given, said, strict=True)):
        text_computed.clear()
        told = stream.predict(window, words)
        # The windows end at .5 s, 1 s (the second line has ended), ..., and 2.5 s, with the third line.
        assert text_computed == ["encoder"] * (k in (0, 1, 4)) + ["fusion"]
        fresh = predictor.open_stream(SETTINGS)
        for before in given[:k]:
            fresh.predict(before, NO_LYRICS)
        assert numbers(told) == pytest.approx(numbers(fresh.predict(window, words)), abs=LAYER)


def test_only_a_new_token_or_other_lines_are_fused(
    text_computed: list[str], predictor: EmotionPredictor, music: Music
) -> None:
    """At a hop of .1 s four of five windows have neither; the gate closes with the age of the lines meanwhile."""
    sung, settings = lines(0.15, 1.7), WindowSettings(hop_s=0.1, context_s=4.0)
    given = windows(music(2.6), settings)
    stream, told = predictor.open_stream(settings), []
    for k, window in enumerate(given, 1):
        text_computed.clear()
        told.append(stream.predict(window, LyricState(lines=sung.lines[: 1 + (k >= 18)], health="ok")))
        # Until .5 s there is a provisional token for each window. The first line ends in the second window.
        assert text_computed == ["encoder"] * (k in (1, 2, 18)) + ["fusion"] * (k <= 5 or k % 5 == 0 or k == 18), k
    ages = [one.text_age_s for one in told]
    assert ages == pytest.approx([max(0, 0.1 * k - (0.15 if k < 18 else 1.7)) for k in range(1, 27)], abs=1e-6)
    fresh = predictor.open_stream(settings)
    for window in given[:-1]:
        fresh.predict(window, NO_LYRICS)
    assert numbers(told[-1]) == pytest.approx(numbers(fresh.predict(given[-1], sung)), abs=LAYER)


def test_each_output_is_moved_by_its_own_strength(predictor: EmotionPredictor, music: Music) -> None:
    mixed = with_strength(predictor, TextStrength(emotion=0.5, category=0, cluster=1))
    plain, fused, told = (
        last(one, music(3), words)
        for one, words in ((predictor, NO_LYRICS), (predictor, lines(0.2)), (mixed, lines(0.2)))
    )
    assert told.valence == pytest.approx((plain.valence + fused.valence) / 2, abs=1e-6)
    assert told.arousal == pytest.approx((plain.arousal + fused.arousal) / 2, abs=1e-6)
    assert told.categories == pytest.approx(plain.categories, abs=NETWORK)
    assert told.clusters == pytest.approx(fused.clusters, abs=1e-6)
    assert told.modalities == ("audio", "text")


def test_an_output_of_strength_0_is_that_of_audio_itself(predictor: EmotionPredictor) -> None:
    """Nothing is computed of it: not even what is no number reaches it."""
    calibration = replace(
        predictor.checkpoint.calibration, text_strength=TextStrength(emotion=1, category=0, cluster=0)
    )
    audio = np.linspace(-0.9, 0.9, 11, dtype=np.float32)
    told = apply_text_gate(audio, np.full(11, np.nan, np.float32), 0.5, calibration)
    assert told[2:].tobytes() == audio[2:].tobytes()
    assert np.isnan(told[:2]).all()


def test_no_strength_leads_out_of_the_range(predictor: EmotionPredictor, music: Music) -> None:
    beyond = with_strength(predictor, TextStrength(emotion=1e4))
    told = last(beyond, music(3), lines(0.2))
    assert {abs(told.valence), abs(told.arousal)} == {1.0}
    for low, high in (told.interval.valence, told.interval.arousal):
        assert -1 <= low <= high <= 1


def test_the_strength_of_words_does_not_matter_where_they_are_all_there_is(predictor: EmotionPredictor) -> None:
    deaf_to_words = with_strength(predictor, TextStrength(emotion=0, category=0, cluster=0))
    told, expected = (of_words_alone(one, silence(3), lines(0.2)) for one in (deaf_to_words, predictor))
    assert numbers(told) == pytest.approx(numbers(expected), abs=NETWORK)
    assert told.modalities == ("text",)


# --- ensembles and temperatures


def one_member(checkpoint: Checkpoint, member: int) -> Checkpoint:
    """The checkpoint with a single one of its networks."""
    config = replace(checkpoint.joint.config, members=1)
    shared = {name for name, _ in JointNetwork(config).named_buffers()}
    tensors = {
        name: tensor if name in shared else tensor[member : member + 1]
        for name, tensor in checkpoint.joint.tensors.items()
    }
    return replace(checkpoint, joint=JointModel(config, tensors))


@pytest.mark.parametrize("words", [NO_LYRICS, lines(0.2)], ids=["audio alone", "with words"])
def test_an_ensemble_is_averaged(words: LyricState, predictor: EmotionPredictor, music: Music) -> None:
    """Emotion by its mean, probabilities by the mean of their logits: the geometric mean, normalised."""
    both = last(predictor, music(2), words)
    one, other = (last(EmotionPredictor(one_member(predictor.checkpoint, i)), music(2), words) for i in (0, 1))
    assert numbers(one) != pytest.approx(numbers(other), abs=1e-3)
    assert both.valence == pytest.approx((one.valence + other.valence) / 2, abs=1e-5)
    assert both.arousal == pytest.approx((one.arousal + other.arousal) / 2, abs=1e-5)
    for name in ("categories", "clusters"):
        means = np.sqrt([[*getattr(one, name).values()], [*getattr(other, name).values()]]).prod(0)
        assert [*getattr(both, name).values()] == pytest.approx(means / means.sum(), abs=1e-5)


def test_a_temperature_makes_probabilities_flatter_and_nothing_else(predictor: EmotionPredictor, music: Music) -> None:
    checkpoint = predictor.checkpoint
    calibration = replace(checkpoint.calibration, category_temperature=2.0)
    plain = last(predictor, music(2), NO_LYRICS)
    flatter = last(EmotionPredictor(replace(checkpoint, calibration=calibration)), music(2), NO_LYRICS)
    roots = np.sqrt([*plain.categories.values()])
    assert [*flatter.categories.values()] == pytest.approx(roots / roots.sum(), abs=1e-6)
    assert flatter.clusters == pytest.approx(plain.clusters, abs=NETWORK)
    assert (flatter.valence, flatter.arousal) == pytest.approx((plain.valence, plain.arousal), abs=NETWORK)


# --- what cannot be loaded


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "", "cpu:x"])
def test_a_device_that_is_not_there_is_a_setting_error_in_one_line(device: str, tiny_model: Path) -> None:
    with pytest.raises(SettingError) as caught:
        EmotionPredictor.load(tiny_model, device=device)
    assert repr(device) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_checkpoint_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        EmotionPredictor.load(tmp_path)


def test_each_stream_of_a_batch_is_told_music_from_noise(predictor: EmotionPredictor) -> None:
    song = demo_song()[: 6 * 16_000]
    hiss = (0.05 * np.random.default_rng(0).standard_normal(len(song))).astype(np.float32)
    streams = [predictor.open_stream(SETTINGS) for _ in range(2)]
    for pair in zip(windows(song), windows(hiss), strict=True):
        asked = [Request(stream, window, NO_LYRICS) for stream, window in zip(streams, pair, strict=True)]
        told = [estimate.audio_state for estimate in predictor.predict(asked)]
    assert [state.state for state in told if state is not None] == ["music", "noise"]
    assert all(state is not None and 0.6 < state.prob <= 1 for state in told)


def test_dropped_windows_are_heard_in_the_next_one(predictor: EmotionPredictor) -> None:
    given = windows(demo_song()[: 6 * 16_000])
    every, few = predictor.open_stream(SETTINGS), predictor.open_stream(SETTINGS)
    whole = [estimate.audio_state for estimate in estimates(every, given)]
    gaps = [estimate.audio_state for estimate in estimates(few, given[3::4])]
    for one, other in zip(whole[3::4], gaps, strict=True):
        assert one is not None
        assert other is not None
        assert one.state == other.state
        assert one.prob == pytest.approx(other.prob, abs=1e-3)


def test_before_the_first_half_second_and_of_words_alone_no_audio_state_is_known(predictor: EmotionPredictor) -> None:
    short = windows(demo_song()[:1_600], WindowSettings(hop_s=0.1, context_s=3.0))
    assert estimates(predictor.open_stream(WindowSettings(hop_s=0.1, context_s=3.0)), short)[0].audio_state is None
    alone = predictor.open_stream(SETTINGS, words_alone=True)
    assert {estimate.audio_state for estimate in estimates(alone, windows(np.zeros(32_000, np.float32)))} == {None}


TIMEOUT_S = 30.0


class Computer:
    """Doubles numbers, and stops in each batch until it is let go; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append([*questions])
        self.entered.release()
        assert self.go.acquire(timeout=TIMEOUT_S)
        if 13 in questions:
            raise ValueError("thirteen")
        return [2 * question for question in questions]


class Askers:
    """Threads that ask, one after the other."""

    def __init__(self, computer: Computer, *, most: int = 32, most_batches: int = 1, crowd: int = 3) -> None:
        self._batcher = Batcher(computer, max_size=most, most_batches=most_batches, crowd=crowd)
        self._pool = ThreadPoolExecutor(16)

    def ask(self, *questions: int) -> list[Future[int]]:
        """Ask each in a thread of its own; return once all of them wait or are being computed."""
        asked = []
        for question in questions:
            before = len(self._batcher._waiting), self._batcher._running
            asked.append(self._pool.submit(self._batcher.submit, question))
            wait_for(lambda before=before: (len(self._batcher._waiting), self._batcher._running) != before)
        return asked


def results(asked: Sequence[Future[int]]) -> list[int]:
    return [one.result(TIMEOUT_S) for one in asked]


def test_a_single_question_is_computed_at_once_in_its_own_thread() -> None:
    seen: list[int] = []

    def compute(questions: Sequence[int]) -> list[int]:
        seen.append(threading.get_ident())
        return [-question for question in questions]

    batcher = Batcher(compute, max_size=4)
    assert [batcher.submit(n) for n in range(3)] == [0, -1, -2]
    assert {*seen} == {threading.get_ident()}


def test_those_who_come_meanwhile_are_computed_together() -> None:
    computer = Computer()
    askers = Askers(computer)
    first = askers.ask(1)
    rest = askers.ask(2, 3, 4)
    computer.go.release(2)
    assert results([*first, *rest]) == [2, 4, 6, 8]
    assert computer.batches == [[1], [2, 3, 4]]


def test_a_batch_has_a_bound_and_the_next_one_takes_the_rest() -> None:
    computer = Computer()
    askers = Askers(computer, most=2)
    asked = [*askers.ask(1), *askers.ask(2, 3, 4, 5, 6)]
    computer.go.release(4)
    assert results(asked) == [2, 4, 6, 8, 10, 12]
    assert computer.batches == [[1], [2, 3], [4, 5], [6]]


def test_a_crowd_is_computed_beside_the_batch_in_progress() -> None:
    computer = Computer()
    askers = Askers(computer, most_batches=2, crowd=3)
    asked = [*askers.ask(1), *askers.ask(2, 3)]
    assert computer.batches == [[1]]
    asked += askers.ask(4)
    wait_for(lambda: len(computer.batches) == 2)
    assert computer.batches == [[1], [4, 2, 3]]
    asked += askers.ask(5, 6, 7, 8)  # no third batch, however many wait
    assert len(computer.batches) == 2
    computer.go.release()
    wait_for(lambda: len(computer.batches) == 3)
    computer.go.release(2)
    assert sorted(results(asked)) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert computer.batches[2:] == [[5, 6, 7, 8]]


def test_a_failure_reaches_its_batch_and_nobody_else() -> None:
    computer = Computer()
    askers = Askers(computer)
    asked = askers.ask(1)
    doomed = askers.ask(12, 13)
    computer.go.release()
    assert results(asked) == [2]
    assert computer.entered.acquire(timeout=TIMEOUT_S)
    assert computer.entered.acquire(timeout=TIMEOUT_S)  # the second batch is under way
    after = askers.ask(7)
    computer.go.release(2)
    for one in doomed:
        with pytest.raises(ValueError, match="thirteen"):
            one.result(TIMEOUT_S)
    assert results(after) == [14]
    assert computer.batches == [[1], [12, 13], [7]]


def test_many_threads_get_their_own_answers() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [n * n for n in items], max_size=5, most_batches=2, crowd=4)
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(batcher.submit, range(2000))) == [n * n for n in range(2000)]


def test_a_batch_of_none_is_no_batch() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(lambda items: items, max_size=0)
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(lambda items: items, max_size=1, most_batches=0)
