"""The joint model at work: windows in, estimates out; windows of several streams that meet are computed together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stream_mer.audio.audio_state import AudioStateDecider
from stream_mer.audio.features import STEP_LENGTH, LogMelStream, log_mel
from stream_mer.audio.yamnet import MEL_BANDS, PATCH_STEPS, Yamnet, YamnetPatches
from stream_mer.config import WindowSettings
from stream_mer.emotion.backbone import BLOCK_STEPS
from stream_mer.emotion.batching import Batching
from stream_mer.emotion.checkpoint import Checkpoint, load_checkpoint
from stream_mer.emotion.estimates import Numbers, Words, estimate, moved
from stream_mer.emotion.streaming_backbone import BackboneStream, StreamingBackbone
from stream_mer.emotion.streaming_joint import StreamingJoint, TokenCodes
from stream_mer.errors import SettingError
from stream_mer.types import EmotionEstimate, LyricState, Window, seconds

MOST_TOGETHER = 32
"""Windows in one batch: more save next to nothing, and who comes next would wait longer."""

_MIN_SAMPLES = 512  # one FFT: less audio than this is continued with silence


class Asked(NamedTuple):
    """A window of a stream, and the lyrics that were known when it was cut."""

    stream: JointEmotionStream
    window: Window
    lyrics: LyricState


class EmotionPredictor:
    """A loaded checkpoint; opens any number of streams on it.

    Args:
        checkpoint: The model.
        threads: CPU threads that torch may use. One is fastest: a hop is little work, and so is a batch of them.
    """

    def __init__(self, checkpoint: Checkpoint, *, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        # All that oneDNN would compute here is GELU, and slower than torch itself.
        torch.backends.mkldnn.set_flags(_enabled=False)  # type: ignore[no-untyped-call]
        self.checkpoint = checkpoint
        self.backbone = StreamingBackbone(checkpoint.backbone)
        self.joint = StreamingJoint(checkpoint.joint)
        self.yamnet = Yamnet(blocks=())
        self._batching: dict[WindowSettings, Batching[Asked, EmotionEstimate]] = {}

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
        predictor = cls(load_checkpoint(folder, device=device), threads=threads)
        predictor.yamnet.load()  # now rather than at the first frame
        return predictor

    def open_stream(self, settings: WindowSettings, *, words_alone: bool = False) -> JointEmotionStream:
        """Start a stream with a state of its own.

        Args:
            settings: How its windows are cut.
            words_alone: The stream has words and no sound: estimates come from the words as soon as there are some.
        """
        batching = self._batching.setdefault(settings, Batching(self.predict, most=MOST_TOGETHER))
        return JointEmotionStream(self, settings, batching, words_alone=words_alone)

    @torch.inference_mode()
    def predict(self, asked: Sequence[Asked]) -> list[EmotionEstimate]:
        """Compute one window each of different streams with the same settings."""
        started = time.perf_counter()
        self.listen([(stream, stream.news(window)) for stream, window, _ in asked])
        self._decide_audio_states([stream for stream, _, _ in asked])
        listened = time.perf_counter()
        words = [self._words(stream, window, lyrics) for stream, window, lyrics in asked]
        alone = [
            stream.words_alone and said.mean is not None for (stream, _, _), said in zip(asked, words, strict=True)
        ]
        outputs = self._outputs([stream for stream, _, _ in asked], words, alone)
        clock = 1e3 * (listened - started), 1e3 * (time.perf_counter() - listened)
        calibration = self.checkpoint.calibration
        return [
            replace(
                estimate(outputs[i], words[i], lyrics, calibration, words_alone=alone[i], clock=clock),
                audio_state=stream.decider.state,
            )
            for i, (stream, _, lyrics) in enumerate(asked)
        ]

    def _words(self, stream: JointEmotionStream, window: Window, lyrics: LyricState) -> Words:
        """The words that are to be read; none where they could not move the result of the audio."""
        if not stream.words_alone and not self.checkpoint.calibration.text_strength.greatest:
            return Words()
        config = self.checkpoint.joint.config
        half_life_s, half_lines = config.text_half_life_s, config.text_half_lines
        return Words.sung(lyrics, seconds(window.end_sample), half_life_s=half_life_s, half_lines=half_lines)

    def listen(self, fed: Sequence[tuple[JointEmotionStream, Tensor]]) -> None:
        """Spectrogram and backbone of what is new."""
        cuts = [cut for _, cut in fed]
        steps = log_mel(torch.cat(cuts).to(self.backbone.device))
        self.backbone.feed([stream.backbone for stream, _ in fed], torch.split(steps, [len(cut) for cut in cuts]))

    def _decide_audio_states(self, streams: Sequence[JointEmotionStream]) -> None:
        """Hear the patches that are new with YAMNet, those of all streams at once."""
        patches = [stream.take_patches() for stream in streams]
        scores = self.yamnet.run(np.concatenate(patches)).scores
        ends = np.cumsum([len(of_one) for of_one in patches])
        for stream, of_one in zip(streams, np.split(scores, ends[:-1]), strict=True):
            stream.decider.feed(of_one)

    def _outputs(
        self, streams: Sequence[JointEmotionStream], words: Sequence[Words], words_alone: Sequence[bool]
    ) -> list[Numbers]:
        """The model's outputs for each stream, [11]: of audio, moved by words, or of ``words_alone``.

        Where there are no words, neither the text branch nor the fusion of both is computed.
        """
        audio = self._audio(streams)
        outputs: list[Numbers] = [np.empty(0, np.float32)] * len(streams)
        groups = [(said.mean is not None, alone) for said, alone in zip(words, words_alone, strict=True)]
        for has_words, alone in sorted({*groups}):
            rows = [i for i, group in enumerate(groups) if group == (has_words, alone)]
            means = _stacked([words[i].mean for i in rows]).to(self.joint.device) if has_words else None
            of_rows = self.joint.outputs(
                None if alone else audio if len(rows) == len(streams) else audio[rows],
                None if means is None else self.joint.encode_text(means),
            )
            for i, results in zip(rows, of_rows.cpu().numpy().swapaxes(0, 1), strict=True):
                said = words[i]
                outputs[i] = (
                    results[0]
                    if len(results) == 1
                    else moved(results[0], results[1], said.gate, self.checkpoint.calibration)
                )
        return outputs

    def _audio(self, streams: Sequence[JointEmotionStream]) -> Tensor:
        """Encode the tokens that are new, and pool each stream's context: [B, G, D]."""
        tokens = [[*stream.backbone.fresh_tokens(), stream.backbone.newest] for stream in streams]
        codes = self.joint.encode_audio(torch.stack([token for of_one in tokens for token in of_one])).unbind()
        start = 0
        for stream, of_one in zip(streams, tokens, strict=True):
            stream.codes.take(codes[start : start + len(of_one)])
            start += len(of_one)
        return self.joint.pool_audio([s.codes for s in streams], [s.hidden_place() for s in streams])


class JointEmotionStream:
    """Implements ``ports.EmotionStream``: the state of one stream, which ``EmotionPredictor`` computes.

    Attributes:
        backbone: What the audio network remembers.
        codes: The context's tokens, encoded.
        decider: What the newest audio is.
        words_alone: Whether words are all there is.
    """

    backbone: BackboneStream
    codes: TokenCodes
    decider: AudioStateDecider

    def __init__(
        self,
        predictor: EmotionPredictor,
        settings: WindowSettings,
        batching: Batching[Asked, EmotionEstimate],
        *,
        words_alone: bool,
    ) -> None:
        self.words_alone = words_alone
        self._predictor = predictor
        self._batching = batching
        self._context_steps = settings.context_samples // STEP_LENGTH
        self._heard = 0
        self._restart(at_sample=0)

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        """Compute the estimate of one window; see ``ports.EmotionStream.predict``."""
        return self._batching.ask(Asked(self, window, lyrics))

    def news(self, window: Window) -> Tensor:
        """What is new in the window, with what dropped windows left out, as ``LogMelStream.cut`` gives it.

        The very first window gives a step in any case, so that there is something to judge.
        """
        if window.start_sample > self._heard:  # the gap is longer than the overlap: begin anew
            self._restart(at_sample=window.start_sample)
        samples = window.samples[self._heard - window.start_sample :]
        self._heard = window.end_sample
        if not self.words_alone:
            self._fresh_patches.append(self._patches.feed(samples))
        cuts = self._log_mel.cut(samples)
        if self.backbone.steps == 0 and len(cuts) == 0:
            cuts = self._log_mel.cut(np.zeros(_MIN_SAMPLES, np.float32))
        return cuts

    def take_patches(self) -> Numbers:
        """The patches for YAMNet that are new, [n, 96, 64]."""
        taken = np.concatenate([np.zeros((0, PATCH_STEPS, MEL_BANDS), np.float32), *self._fresh_patches])
        self._fresh_patches.clear()
        return taken

    def hidden_place(self) -> int:
        """The place in ``codes`` that does not count now: that of a kept token that nearly repeats the newest."""
        return self.codes.hidden(newest_kept=self.backbone.steps % BLOCK_STEPS >= BLOCK_STEPS // 2)

    def _restart(self, *, at_sample: int) -> None:
        self._log_mel = LogMelStream()
        self.backbone = BackboneStream(self._predictor.backbone, context_steps=self._context_steps)
        self.codes = TokenCodes(self._predictor.joint, kept=self.backbone.kept)
        self._patches = YamnetPatches(at_sample=at_sample)
        self._fresh_patches: list[Numbers] = []
        self.decider = AudioStateDecider()
        self._heard = at_sample


def _stacked(means: Sequence[Numbers | None]) -> Tensor:
    """[B, text_features]."""
    return torch.from_numpy(np.stack([mean for mean in means if mean is not None]))
