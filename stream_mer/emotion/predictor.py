"""Inference with the joint model: windows in, estimates out. Windows of several streams are computed in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_mer.audio.yamnet import Yamnet
from stream_mer.config import WindowSettings
from stream_mer.emotion.audio_branch import TOKEN_HOP, YAMNET, AudioBranch, AudioStream
from stream_mer.emotion.checkpoint import Checkpoint, load_checkpoint
from stream_mer.emotion.estimates import Numbers, TextContext, apply_text_gate, estimate
from stream_mer.emotion.joint import Encoded, JointModelConfig
from stream_mer.types import EmotionEstimate, EncodedLine, Floats, LyricState, Samples, Window, seconds
from stream_mer.utils.threads import available_cores

MAX_BATCH = 32
"""Most windows in a batch: more save next to nothing, and those that come next would wait longer."""

CROWD = 16
"""Windows that wait for the batch in progress, before another batch is computed beside it."""

_MOST_BATCHES = 4
"""Most batches that are computed side by side. Two were measured, on two cores."""


class Request(NamedTuple):
    """A window of a stream, and the lyrics that were known when it was cut."""

    stream: JointEmotionStream
    window: Window
    lyrics: LyricState


class EmotionPredictor:
    """A loaded checkpoint; opens any number of streams on it.

    Args:
        checkpoint: The model.
        yamnet: The second audio network.
    """

    def __init__(self, checkpoint: Checkpoint, yamnet: Yamnet = YAMNET) -> None:
        self.checkpoint = checkpoint
        self.audio = AudioBranch(checkpoint.backbone, yamnet)
        self.joint = checkpoint.joint
        self._batchers: dict[WindowSettings, Batcher[Request, EmotionEstimate]] = {}

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> EmotionPredictor:
        """Load a checkpoint.

        Args:
            folder: See ``emotion.checkpoint``.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; see ``Yamnet``.

        Raises:
            CheckpointError: The checkpoint is missing, damaged or does not match.
            SettingError: The device is not there.
        """
        yamnet = YAMNET if device == "cpu" else Yamnet(device=device)
        yamnet.load()  # now rather than at the first frame
        return cls(load_checkpoint(folder), yamnet)

    def open_stream(self, settings: WindowSettings, *, words_alone: bool = False) -> JointEmotionStream:
        """Start a stream with a state of its own.

        Args:
            settings: How its windows are cut.
            words_alone: The stream has words and no sound: estimates come from the lyrics alone.
        """
        batcher = self._batchers.setdefault(
            settings, Batcher(self.predict, max_size=MAX_BATCH, most_batches=min(available_cores(), _MOST_BATCHES))
        )
        return JointEmotionStream(self, settings, batcher, words_alone=words_alone)

    def predict(self, requests: Sequence[Request]) -> list[EmotionEstimate]:
        """Compute one window each of different streams with the same settings."""
        started = time.perf_counter()
        new = [stream.new_samples(window) for stream, window, _ in requests]  # may restart a stream
        self.audio.feed([(one.stream.audio, samples) for one, samples in zip(requests, new, strict=True)])
        features_done = time.perf_counter()
        texts = [self._text_context(stream, window, lyrics) for stream, window, lyrics in requests]
        alone = [stream.words_alone and bool(text.lines) for (stream, _, _), text in zip(requests, texts, strict=True)]
        outputs = self._outputs([stream for stream, _, _ in requests], texts, alone)
        clock = 1e3 * (features_done - started), 1e3 * (time.perf_counter() - features_done)
        calibration = self.checkpoint.calibration
        return [
            estimate(
                outputs[i],
                texts[i],
                lyrics,
                calibration,
                heard_s=stream.heard_s,
                words_alone=alone[i],
                clock=clock,
                audio_state=None if stream.words_alone else stream.audio.decider.state,
            )
            for i, (stream, _, lyrics) in enumerate(requests)
        ]

    def _text_context(self, stream: JointEmotionStream, window: Window, lyrics: LyricState) -> TextContext:
        """Return the context of the lyrics; an empty one where they could not change the result of the audio."""
        if not stream.words_alone and not self.checkpoint.calibration.text_strength.greatest:
            return TextContext()
        config = self.joint.config
        half_life_s, half_lines = config.text_half_life_s, config.text_half_lines
        return TextContext.from_lines(
            lyrics, seconds(window.end_sample), half_life_s=half_life_s, half_lines=half_lines
        )

    def _outputs(
        self, streams: Sequence[JointEmotionStream], texts: Sequence[TextContext], words_alone: Sequence[bool]
    ) -> list[Numbers]:
        """Return the model's outputs for each stream, [11]: of audio, moved by lyrics, or of ``words_alone``.

        Without lyrics, neither the text branch nor the fusion with it is computed, and nothing for a stream that has
        neither a new token nor other lines.
        """
        self._encode(streams)
        self._encode_text(streams, texts)
        kinds = [(bool(text.lines), alone) for text, alone in zip(texts, words_alone, strict=True)]
        stale = [(stream, kind) for stream, kind in zip(streams, kinds, strict=True) if stream.fused.kind != kind]
        for kind in sorted({kind for _, kind in stale}):
            self._fuse([stream for stream, of_stream in stale if of_stream == kind], kind)
        outputs = []
        for stream, text in zip(streams, texts, strict=True):
            _, alone, both = stream.fused
            outputs.append(
                alone if both is None else apply_text_gate(alone, both, text.gate, self.checkpoint.calibration)
            )
        return outputs

    def _fuse(self, streams: Sequence[JointEmotionStream], kind: tuple[bool, bool]) -> None:
        """Compute the outputs of streams of a kind, see ``Fused``."""
        has_text, words_alone = kind
        audio = None if words_alone else self._pooled(streams)
        text = np.stack([stream.text.values for stream in streams], axis=1) if has_text else None
        if audio is None or text is None:
            for stream, alone in zip(streams, self.joint.combine(audio, text), strict=True):
                stream.fused = Fused(kind, alone)
        else:
            outputs = self.joint.combine_with_and_without_text(audio, text)
            for stream, both, alone in zip(streams, *outputs, strict=True):
                stream.fused = Fused(kind, alone, both)

    def _encode_text(self, streams: Sequence[JointEmotionStream], texts: Sequence[TextContext]) -> None:
        """Encode the lyrics of all streams where lines have changed, in one pass.

        While they stay the same, all fade at one pace, so that their mean stays, too.
        """
        new = [
            (stream, text)
            for stream, text in zip(streams, texts, strict=True)
            if text.lines and stream.text.lines != text.lines
        ]
        if not new:
            return
        encoded = self.joint.encode_text(np.stack([text.mean() for _, text in new]))
        for (stream, text), values in zip(new, encoded.swapaxes(0, 1), strict=True):
            # A line that ends after the window does not fade yet.
            stream.text = EncodedText(text.lines if text.age_s else (), values.copy())
            stream.fused = STALE

    def _encode(self, streams: Sequence[JointEmotionStream]) -> None:
        """Encode the new tokens of all streams in one pass, into their contexts."""
        taken = [stream.audio.take() for stream in streams]
        new = [tokens or stream.first_token() for stream, tokens in zip(streams, taken, strict=True)]
        tokens = [token for of_one in new for token in of_one]
        if not tokens:
            return
        encoded = self.joint.encode_audio(np.stack(tokens))
        start = 0
        for stream, true, of_one in zip(streams, taken, new, strict=True):
            stop = start + len(of_one)
            if of_one:
                stream.context.add(Encoded(*(part[start:stop] for part in encoded)), provisional=not true)
                stream.fused = STALE
            start = stop

    def _pooled(self, streams: Sequence[JointEmotionStream]) -> Floats:
        """Return the representations of each stream's audio, [E, B, K, S, D]."""
        contexts = [stream.context for stream in streams]
        if len(contexts) == 1:
            values, scores = (part[None] for part in contexts[0].encoded)
            ages = contexts[0].ages()[None]
        else:
            values, scores = (np.stack(parts) for parts in zip(*(one.encoded for one in contexts), strict=True))
            ages = np.stack([context.ages() for context in contexts])
        return self.joint.pool_audio(values, scores, ages)


class EncodedText(NamedTuple):
    """The representation of a stream's lyrics, [E, K, D], and the lines that it is of; none if it must not be kept."""

    lines: tuple[EncodedLine, ...]
    values: Floats


class Fused(NamedTuple):
    """Outputs of the joint model, which a stream keeps until it has another token or other lines.

    Attributes:
        kind: Whether there are lyrics, and whether they are judged alone; None if they must be computed.
        alone: Of audio alone or of lyrics alone, [11].
        both: Of both, [11]; None without one of them.
    """

    kind: tuple[bool, bool] | None
    alone: Numbers
    both: Numbers | None = None


STALE = Fused(None, np.empty(0, np.float32))
"""There are no outputs, or they are of other tokens or lines."""


class AudioContext:
    """The encoded tokens of a stream's context, as a ring buffer.

    Args:
        config: Of the network.
        tokens: Capacity ``N``.

    Attributes:
        encoded: ``N`` tokens, in any order.
    """

    def __init__(self, config: JointModelConfig, tokens: int) -> None:
        shape = (tokens, config.members, config.private + config.shared)
        self.encoded = Encoded(
            values=np.zeros((*shape, config.width), np.float32), scores=np.zeros((*shape, config.scales), np.float32)
        )
        self._tokens = tokens
        self._added = 0
        self._provisional = False

    @property
    def awaits_token(self) -> bool:
        """Whether it has no token yet, or a provisional one."""
        return self._added == 0 or self._provisional

    def add(self, new: Encoded, *, provisional: bool = False) -> None:
        """Take encoded tokens, oldest first. The next ones replace a ``provisional`` one."""
        if self._provisional:
            self._added = 0
        self._provisional = provisional
        n = len(new.values)
        places = np.arange(self._added, self._added + n)[-self._tokens :] % self._tokens
        for kept, part in zip(self.encoded, new, strict=True):
            kept[places] = part[-self._tokens :]
        self._added += n

    def ages(self) -> NDArray[np.int64]:
        """Return the age of each place, in tokens, [N]; negative for an empty one."""
        ages = (self._added - 1 - np.arange(self._tokens)) % self._tokens
        return np.where(ages < self._added, ages, -1)


class JointEmotionStream:
    """Implements ``ports.EmotionStream``: the state of one stream, updated by ``EmotionPredictor``.

    Attributes:
        audio: State of the audio networks.
        context: Encoded tokens of the context.
        text: Of the newest lyrics.
        fused: Outputs of the context and the lyrics.
        words_alone: The stream has lyrics and no sound.
    """

    audio: AudioStream
    context: AudioContext

    def __init__(
        self,
        predictor: EmotionPredictor,
        settings: WindowSettings,
        batcher: Batcher[Request, EmotionEstimate],
        *,
        words_alone: bool,
    ) -> None:
        self.words_alone = words_alone
        self.text = EncodedText((), np.zeros(0, np.float32))
        self._predictor = predictor
        self._batcher = batcher
        self._context_tokens = settings.context_samples // TOKEN_HOP
        self._restart(at_sample=0)

    @property
    def heard_s(self) -> float:
        """Audio since the stream started or restarted, seconds."""
        return seconds(self.audio.end_sample - self._begun_at)

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        """Compute the estimate of one window; see ``ports.EmotionStream.predict``."""
        return self._batcher.submit(Request(self, window, lyrics))

    def new_samples(self, window: Window) -> Samples:
        """Return the samples of a window that are new, and those of dropped windows before it, [n]."""
        if window.start_sample > self.audio.end_sample:  # the gap is longer than the overlap
            self._restart(at_sample=window.start_sample)
        self._newest = window
        return window.samples[self.audio.end_sample - window.start_sample :]

    def first_token(self) -> list[Floats]:
        """Return the token that the stream would give if silence followed; nothing once the context has a token.

        It allows an estimate before the first half second, and is computed again for each frame until then.
        """
        if not self.context.awaits_token:
            return []
        branch = self._predictor.audio
        stream = branch.open(at_sample=self._newest.start_sample)
        samples = self._newest.samples[-TOKEN_HOP:]
        branch.feed([(stream, np.concatenate([samples, np.zeros(2 * TOKEN_HOP - len(samples), np.float32)]))])
        return stream.take()[:1]

    def _restart(self, *, at_sample: int) -> None:
        joint = self._predictor.joint
        self._begun_at = at_sample
        self.audio = self._predictor.audio.open(at_sample=at_sample)
        self.context = AudioContext(joint.config, self._context_tokens)
        self.fused = STALE


Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Dynamic batching: items that arrive from other threads while a batch is computed form the next batch.

    A caller that finds no batch in progress computes its own item immediately. Items that arrive meanwhile are computed
    together afterwards, by one of their callers. If many wait, another batch is computed beside the one in progress. No
    call waits longer than for the batches in progress and those before its own.

    Args:
        compute: Returns the results of some items, none of them None, in their order; from several threads at a time.
        max_size: Most items in a batch, at least 1.
        most_batches: Most batches at a time, at least 1.
        crowd: Items that must be there for another batch beside those in progress.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_size: int,
        most_batches: int = 1,
        crowd: int = CROWD,
    ) -> None:
        if max_size < 1 or most_batches < 1:
            raise ValueError(
                f"a batch holds at least 1 item and at least 1 is computed, not {max_size}, {most_batches}"
            )
        self._compute = compute
        self._max_size, self._most_batches, self._crowd = max_size, most_batches, crowd
        self._lock = threading.Lock()  # guards the two below; held for short steps only
        self._running = 0
        self._waiting: deque[_Pending[Item, Result]] = deque()

    def submit(self, item: Item) -> Result:
        """Compute one item, from any thread.

        Raises:
            BaseException: Whatever ``compute`` raises, in each thread whose item was in the batch.
        """
        mine: _Pending[Item, Result] = _Pending(item)
        with self._lock:
            is_crowded = self._running < self._most_batches and len(self._waiting) + 1 >= self._crowd
            waits = self._running > 0 and not is_crowded
            if waits:
                self._waiting.append(mine)
            else:
                self._running += 1
        if waits:
            result = mine.future.result()
            if result is not None:
                return result
        return self._run_batch(mine)

    def _run_batch(self, mine: _Pending[Item, Result]) -> Result:
        """Compute the caller's item with those that wait, and leave the next batch to the caller of one of the rest."""
        with self._lock:
            others = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_size - 1))]
        try:
            results = self._compute([mine.item, *(other.item for other in others)])
            for other, result in zip(others, results[1:], strict=True):
                other.future.set_result(result)
        except BaseException as error:
            for other in others:
                if not other.future.done():
                    other.future.set_exception(error)
            raise
        finally:
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                self._running -= following is None
            if following is not None:
                following.future.set_result(None)
        return results[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Pending(Generic[Item, Result]):
    """An item that waits; the result is None if its caller is the one to compute the next batch."""

    item: Item
    future: Future[Result | None] = field(default_factory=Future)
