"""The joint model at work: windows in, estimates out."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stream_mer.audio.features import STEP_LENGTH, LogMelStream
from stream_mer.config import WindowSettings
from stream_mer.emotion.backbone import BackboneStream
from stream_mer.emotion.checkpoint import Checkpoint, load_checkpoint
from stream_mer.emotion.model import AudioInput, Heads, JointOutput, TextInput
from stream_mer.errors import SettingError
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    EmotionEstimate,
    Interval,
    LyricState,
    Samples,
    Window,
    seconds,
)

MIN_TEXT_GATE = 0.01  # below this influence the text is not called a modality of the estimate
_SILENCE = 1e-5  # -100 dBFS
_MIN_SAMPLES = 512  # one FFT: less audio than this is continued with silence


class EmotionPredictor:
    """A loaded checkpoint; opens any number of streams on it.

    Args:
        checkpoint: The model.
        threads: CPU threads that torch may use. One is fastest for a single stream: a hop is little work.
    """

    def __init__(self, checkpoint: Checkpoint, *, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self.checkpoint = checkpoint

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int = 1) -> EmotionPredictor:
        """Load a checkpoint.

        Args:
            folder: See ``emotion.checkpoint``.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
            threads: CPU threads.

        Raises:
            CheckpointError: The checkpoint is missing, damaged or does not match.
            SettingError: The device is not there.
        """
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise SettingError(f"the device {device!r} is not available: {str(error).splitlines()[0]}") from error
        return cls(load_checkpoint(folder, device=device), threads=threads)

    def open_stream(self, settings: WindowSettings) -> JointEmotionStream:
        """Start a stream with a state of its own."""
        return JointEmotionStream(self.checkpoint, settings)


class JointEmotionStream:
    """Implements ``ports.EmotionStream``: log-mel, backbone and joint model, each step computed once."""

    def __init__(self, checkpoint: Checkpoint, settings: WindowSettings) -> None:
        self._checkpoint = checkpoint
        self._device = next(checkpoint.joint.parameters()).device
        self._context_steps = settings.context_samples // STEP_LENGTH
        self._restart(at_sample=0)

    @torch.inference_mode()
    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        """Compute the estimate of one window; see ``ports.EmotionStream.predict``."""
        started = time.perf_counter()
        tokens = self._listen(window)
        listened = time.perf_counter()
        t1 = seconds(window.end_sample)
        text = self._read(lyrics, t1)
        # Silence says nothing of a song whose words are known.
        silent = self._silent_samples >= window.end_sample - window.start_sample and bool((text.weights > 0).any())
        heard = torch.full((1, len(tokens)), not silent, device=self._device)
        output = self._checkpoint.joint(AudioInput(tokens.unsqueeze(0), heard), text)
        heads = _mean_heads(output.fused if silent else self._strengthened(output), self._checkpoint)
        strength = 1.0 if silent else self._checkpoint.calibration.text_strength.greatest
        spoken = strength * float(output.text_gate) >= MIN_TEXT_GATE
        used = ("audio",) * (not silent) + ("text",) * spoken
        return self._estimate(heads, used, lyrics, t1, (started, listened))

    def _strengthened(self, output: JointOutput) -> Heads:
        """Let words move each output as far as they have earned; without words exactly that of audio alone."""
        strength = self._checkpoint.calibration.text_strength
        emotion, category, cluster = (
            audio + factor * (fused - audio)
            for audio, fused, factor in zip(
                output.audio, output.fused, (strength.emotion, strength.category, strength.cluster), strict=True
            )
        )
        return Heads(emotion.clamp(-1.0, 1.0), category, cluster)

    def _restart(self, *, at_sample: int) -> None:
        self._log_mel = LogMelStream()
        self._backbone = BackboneStream(
            self._checkpoint.backbone, context_steps=self._context_steps, device=self._device
        )
        self._heard = at_sample
        self._silent_samples = 0  # at the end of what was heard

    def _listen(self, window: Window) -> Tensor:
        """Feed what is new in the window, with what dropped windows left out; the context's tokens [N, 1794]."""
        if window.start_sample > self._heard:  # the gap is longer than the overlap: begin anew
            self._restart(at_sample=window.start_sample)
        self._feed(window.samples[self._heard - window.start_sample :])
        self._heard = window.end_sample
        tokens = self._backbone.tokens()
        if len(tokens) == 0:
            self._feed(np.zeros(_MIN_SAMPLES, np.float32))
            tokens = self._backbone.tokens()
        return tokens

    def _feed(self, samples: Samples) -> None:
        sounding = np.flatnonzero(np.abs(samples) > _SILENCE)
        self._silent_samples = (
            len(samples) - 1 - int(sounding[-1]) if len(sounding) else self._silent_samples + len(samples)
        )
        self._backbone.feed(self._log_mel.feed(samples).to(self._device))

    def _read(self, lyrics: LyricState, t1: float) -> TextInput:
        """The lyric lines as the joint model reads them; no lines give shapes [1, 0, ...]."""
        lines = lyrics.lines
        width = self._checkpoint.joint.config.text_features
        vectors = np.stack([line.vector for line in lines]) if lines else np.zeros((0, width), np.float32)
        return TextInput(
            torch.from_numpy(vectors).unsqueeze(0).to(self._device),
            torch.tensor([[line.reliability for line in lines]], device=self._device),
            torch.tensor([[max(0.0, t1 - line.t1) for line in lines]], device=self._device),
        )

    def _estimate(
        self, heads: Heads, used: tuple[str, ...], lyrics: LyricState, t1: float, clock: tuple[float, float]
    ) -> EmotionEstimate:
        calibration = self._checkpoint.calibration
        valence, arousal = (float(value) for value in heads.emotion[0])
        started, listened = clock
        return EmotionEstimate(
            valence=valence,
            arousal=arousal,
            interval=Interval(
                valence=_around(valence, calibration.valence_error),
                arousal=_around(arousal, calibration.arousal_error),
                level=calibration.level,
            ),
            categories=dict(zip(CATEGORIES, heads.category[0].tolist(), strict=True)),
            clusters=dict(zip(CLUSTERS, heads.cluster[0].tolist(), strict=True)),
            modalities=used,
            text_age_s=max(0.0, t1 - max(line.t1 for line in lyrics.lines)) if "text" in used else None,
            degraded=lyrics.degraded,
            features_ms=1e3 * (listened - started),
            model_ms=1e3 * (time.perf_counter() - listened),
        )


def _mean_heads(heads: Heads, checkpoint: Checkpoint) -> Heads:
    """Average the members: emotion, and category and cluster as probabilities after temperature scaling; [1, ...]."""
    calibration = checkpoint.calibration
    return Heads(
        heads.emotion.mean(0),
        torch.softmax(heads.category.mean(0) / calibration.category_temperature, dim=-1),
        torch.softmax(heads.cluster.mean(0) / calibration.cluster_temperature, dim=-1),
    )


def _around(value: float, error: float) -> tuple[float, float]:
    return max(-1.0, value - error), min(1.0, value + error)
