"""The joint model at work: windows in, estimates out; windows of several streams that meet are computed together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from stream_mer.config import WindowSettings
from stream_mer.emotion.audio_branch import TOKEN_HOP, AudioBranch, AudioStream
from stream_mer.emotion.checkpoint import Checkpoint, load_checkpoint
from stream_mer.emotion.estimates import Numbers, TextContext, apply_text_gate, estimate
from stream_mer.emotion.joint import Encoded, Heads, JointModelConfig, time_scales
from stream_mer.errors import SettingError
from stream_mer.types import EmotionEstimate, LyricState, Samples, Window, seconds

MOST_TOGETHER = 32
"""Windows in one batch: more save next to nothing, and who comes next would wait longer."""


class Asked(NamedTuple):
    """A window of a stream, and the lyrics that were known when it was cut."""

    stream: JointEmotionStream
    window: Window
    lyrics: LyricState


class EmotionPredictor:
    """A loaded checkpoint; opens any number of streams on it.

    Args:
        checkpoint: The model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.audio = AudioBranch(checkpoint.backbone)
        self.joint = checkpoint.joint
        self.device = checkpoint.joint.components.mean.device
        self._batching: dict[WindowSettings, Batching[Asked, EmotionEstimate]] = {}

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> EmotionPredictor:
        """Load a checkpoint.

        Args:
            folder: See ``emotion.checkpoint``.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

        Raises:
            CheckpointError: The checkpoint is missing, damaged or does not match.
            SettingError: The device is not there.
        """
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise SettingError(f"the device {device!r} is not available: {str(error).splitlines()[0]}") from error
        predictor = cls(load_checkpoint(folder, device=device))
        predictor.audio.yamnet.load()  # now rather than at the first frame
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
        news = [stream.news(window) for stream, window, _ in asked]  # may begin a stream anew, with another state
        self.audio.feed([(one.stream.audio, samples) for one, samples in zip(asked, news, strict=True)])
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
                estimate(
                    outputs[i], words[i], lyrics, calibration, heard_s=stream.heard_s, words_alone=alone[i], clock=clock
                ),
                audio_state=None if stream.words_alone else stream.audio.decider.state,
            )
            for i, (stream, _, lyrics) in enumerate(asked)
        ]

    def _words(self, stream: JointEmotionStream, window: Window, lyrics: LyricState) -> TextContext:
        """The words that are to be read; none where they could not move the result of the audio."""
        if not stream.words_alone and not self.checkpoint.calibration.text_strength.greatest:
            return TextContext()
        config = self.joint.config
        half_life_s, half_lines = config.text_half_life_s, config.text_half_lines
        return TextContext.from_lines(
            lyrics, seconds(window.end_sample), half_life_s=half_life_s, half_lines=half_lines
        )

    def _outputs(
        self, streams: Sequence[JointEmotionStream], words: Sequence[TextContext], words_alone: Sequence[bool]
    ) -> list[Numbers]:
        """The model's outputs for each stream, [11]: of audio, moved by words, or of ``words_alone``.

        Where there are no words, neither the text branch nor the fusion of both is computed.
        """
        self._encode(streams)
        outputs: list[Numbers] = [np.empty(0, np.float32)] * len(streams)
        groups = [(said.mean is not None, alone) for said, alone in zip(words, words_alone, strict=True)]
        for has_words, alone in sorted({*groups}):
            rows = [i for i, group in enumerate(groups) if group == (has_words, alone)]
            text = (
                self.joint.encode_text(_stacked([words[i].mean for i in rows]).to(self.device)) if has_words else None
            )
            audio = None if alone else self._pooled([streams[i] for i in rows])
            results = [self.joint.combine(audio, None)] if not alone else []
            results += [self.joint.combine(audio, text)] if has_words else []
            for i, *numbers in zip(rows, *(_numbers(heads) for heads in results), strict=True):
                outputs[i] = numbers[0]
                if len(numbers) == 2:
                    outputs[i] = apply_text_gate(numbers[0], numbers[1], words[i].gate, self.checkpoint.calibration)
        return outputs

    def _encode(self, streams: Sequence[JointEmotionStream]) -> None:
        """Encode the tokens that are new of each stream, all at once, into its context."""
        taken = [stream.audio.take() for stream in streams]
        new = [tokens or stream.first_token() for stream, tokens in zip(streams, taken, strict=True)]
        tokens = [token for of_one in new for token in of_one]
        if not tokens:
            return
        private, shared = self.joint.encode_audio(self.joint.components(torch.stack(tokens)).unsqueeze(0))
        start = 0
        for stream, true, of_one in zip(streams, taken, new, strict=True):
            stop = start + len(of_one)
            parts = [None if part is None else part[:, 0, start:stop] for part in (private, shared)]
            if of_one:
                stream.context.add(*parts, provisional=not true)
            start = stop

    def _pooled(self, streams: Sequence[JointEmotionStream]) -> list[Tensor]:
        """Private and shared representation of each stream's audio, [E, B, S, D]."""
        contexts = [stream.context for stream in streams]
        weights = time_scales(torch.stack([context.ages() for context in contexts]), self.joint.config)
        encoded = Encoded(
            *(
                None if parts[0] is None else torch.stack([part for part in parts if part is not None], 1)
                for parts in zip(*((context.private, context.shared) for context in contexts), strict=True)
            )
        )
        return self.joint.pool_audio(encoded, weights.to(self.device))


class AudioContext:
    """The encoded tokens of a stream's context, [E, N, D]; a new one takes the place of the oldest.

    Args:
        config: Of the network.
        tokens: How many are kept, ``N``.
        device: Where they are kept.
    """

    def __init__(self, config: JointModelConfig, tokens: int, device: torch.device) -> None:
        def empty() -> Tensor:
            return torch.zeros(config.members, tokens, config.width, device=device)

        self.private = empty() if config.private else None
        self.shared = empty() if config.shared else None
        self._tokens = tokens
        self._added = 0
        self._provisional = False

    @property
    def awaits_token(self) -> bool:
        """Whether no true token was added yet."""
        return self._added == 0 or self._provisional

    def add(self, private: Tensor | None, shared: Tensor | None, *, provisional: bool = False) -> None:
        """Take encoded tokens, each [E, n, D], oldest first; whatever comes next replaces a ``provisional`` one."""
        if self._provisional:
            self._added = 0
        self._provisional = provisional
        for kept, new in ((self.private, private), (self.shared, shared)):
            if kept is not None and new is not None:
                n = new.shape[1]
                places = torch.arange(self._added, self._added + n)[-self._tokens :] % self._tokens
                kept[:, places.to(kept.device)] = new[:, -self._tokens :]
        self._added += next(new.shape[1] for new in (private, shared) if new is not None)

    def ages(self) -> Tensor:
        """Age of what stands at each place, in tokens, [N]; negative where nothing does."""
        ages = (self._added - 1 - torch.arange(self._tokens)) % self._tokens
        return torch.where(ages < self._added, ages, -1)


class JointEmotionStream:
    """Implements ``ports.EmotionStream``: the state of one stream, which ``EmotionPredictor`` computes.

    Attributes:
        audio: What the audio networks remember.
        context: The context's tokens, encoded.
        words_alone: Whether words are all there is.
    """

    audio: AudioStream
    context: AudioContext

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
        self._context_tokens = settings.context_samples // TOKEN_HOP
        self._restart(at_sample=0)

    @property
    def heard_s(self) -> float:
        """Seconds of audio since the stream began or began anew."""
        return seconds(self.audio.end_sample - self._begun_at)

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        """Compute the estimate of one window; see ``ports.EmotionStream.predict``."""
        return self._batching.ask(Asked(self, window, lyrics))

    def news(self, window: Window) -> Samples:
        """What is new in the window, with what dropped windows left out, [n]."""
        if window.start_sample > self.audio.end_sample:  # the gap is longer than the overlap: begin anew
            self._restart(at_sample=window.start_sample)
        self._newest = window
        return window.samples[self.audio.end_sample - window.start_sample :]

    def first_token(self) -> list[Tensor]:
        """Where the context has no true token yet, the token that the stream gives if silence follows, else nothing.

        A stream of less than half a second has something to judge that way. It is encoded anew for each frame, until
        a true token takes its place.
        """
        if not self.context.awaits_token:
            return []
        branch, begun = self._predictor.audio, self._newest.start_sample
        stream = branch.open(at_sample=begun)
        samples = self._newest.samples[-TOKEN_HOP:]
        branch.feed([(stream, np.concatenate([samples, np.zeros(2 * TOKEN_HOP - len(samples), np.float32)]))])
        return stream.take()[:1]

    def _restart(self, *, at_sample: int) -> None:
        joint = self._predictor.joint
        self._begun_at = at_sample
        self.audio = self._predictor.audio.open(at_sample=at_sample)
        self.context = AudioContext(joint.config, self._context_tokens, self._predictor.device)


def _numbers(heads: Heads) -> Numbers:
    """The outputs of all heads as one row a stream, averaged over the members, [B, 11]."""
    numbers: Numbers = torch.cat(heads, 2).mean(0).cpu().numpy()
    return numbers


def _stacked(means: Sequence[Numbers | None]) -> Tensor:
    """[B, text_features]."""
    return torch.from_numpy(np.stack([mean for mean in means if mean is not None]))


Q = TypeVar("Q")
A = TypeVar("A")


class Batching(Generic[Q, A]):
    """Dynamic batching: calls from other threads that arrive while a batch is computed form the next batch.

    A caller that finds no batch in progress computes its own item at once. Those that arrive meanwhile are computed
    together afterwards, by one of them. No call waits longer than for the batch in progress and those before its own:
    one, with at most ``most`` callers.

    Args:
        compute: Answers some questions in their order; never entered twice at the same time.
        most: Questions in one batch at most, at least 1.
    """

    def __init__(self, compute: Callable[[Sequence[Q]], Sequence[A]], *, most: int) -> None:
        if most < 1:
            raise ValueError(f"a batch holds at least 1 question, not {most}")
        self._compute = compute
        self._most = most
        self._lock = threading.Lock()  # guards the two below; held for short steps only
        self._busy = False
        self._waiting: deque[_Asked[Q, A]] = deque()

    def ask(self, question: Q) -> A:
        """Answer one question, from any thread.

        Raises:
            BaseException: Whatever ``compute`` raises, to everybody whose question was in its batch.
        """
        mine: _Asked[Q, A] = _Asked(question)
        with self._lock:
            waits = self._busy
            if waits:
                self._waiting.append(mine)
            self._busy = True
        if waits:
            mine.woken.wait()
            if not mine.computes:
                return mine.answered()
        return self._answer(mine)

    def _answer(self, mine: _Asked[Q, A]) -> A:
        """Compute the caller's question with those that wait, and leave the next batch to one of the rest."""
        with self._lock:
            others = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most - 1))]
        try:
            answers = self._compute([mine.question, *(other.question for other in others)])
            for other, answer in zip(others, answers[1:], strict=True):
                other.answers = [answer]
        except BaseException as error:
            for other in others:
                other.error = error
            raise
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                if self._busy:
                    successor = self._waiting.popleft()
                    successor.computes = True
                    others.append(successor)
            for other in others:
                other.woken.set()
        return answers[0]


class _Asked(Generic[Q, A]):
    """A question on its way."""

    __slots__ = ("answers", "computes", "error", "question", "woken")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.answers: list[A] = []
        self.error: BaseException | None = None
        self.computes = False  # whether its asker is the one to compute the next batch
        self.woken = threading.Event()

    def answered(self) -> A:
        if self.error is not None:
            raise self.error
        return self.answers[0]
