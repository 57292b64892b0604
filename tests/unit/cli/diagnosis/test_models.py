"""Checks of what listens: the real models on the built-in song, and what speeds mean."""

import pytest

from stream_mer.cli.diagnosis import models
from stream_mer.config import DEFAULT_MODEL
from stream_mer.errors import CheckpointError


def test_the_song_is_decoded() -> None:
    assert models.decoding().said.endswith("90 s")


def test_the_shipped_model_follows_the_song() -> None:
    found = models.emotion(DEFAULT_MODEL)
    assert found.said.startswith(f"{DEFAULT_MODEL} runs ")


def test_a_missing_model_is_an_error_with_what_there_is() -> None:
    with pytest.raises(CheckpointError, match=DEFAULT_MODEL):
        models.emotion("none-such")


def test_the_gate_and_the_encoder_work() -> None:
    assert models.vocal_gate().level == "ok"
    assert models.sentence_encoder().level == "ok"


@pytest.mark.parametrize(("factor", "level"), [(0.9, "fail"), (1.1, "fail"), (2.0, "warn"), (3.1, "ok"), (85.0, "ok")])
def test_what_a_speed_means(factor: float, level: str) -> None:
    assert models.judge_speed("joint", factor).level == level


@pytest.mark.parametrize(
    ("took_s", "words", "level", "advice"),
    [(0.7, 25, "ok", ""), (2.2, 25, "warn", "--asr-model tiny.en"), (0.7, 0, "warn", "install them again")],
)
def test_what_a_decode_means(took_s: float, words: int, level: str, advice: str) -> None:
    found = models.judge_decode("base", took_s=took_s, step_s=1.5, words=words)
    assert found.level == level
    assert advice in found.advice + found.said
