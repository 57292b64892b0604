"""Settings, with their units in their names and their ranges checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from stream_mer.errors import SettingError
from stream_mer.types import SAMPLE_RATE_HZ
from stream_mer.utils.redaction import redact_address

DEFAULT_MODEL = "joint-v3"
"""Name of the checkpoint that is used unless another is named."""

DEFAULT_LEASE_S = 1.2
"""NATS removes expired leases four times a second: others may take over after at most 1.45 s."""

LyricsMode: TypeAlias = Literal["recognise", "known", "off"]


def _require(ok: bool, message: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not ok:
        raise SettingError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How the audio is cut.

    Attributes:
        hop_s: Time between frames, .1..2 s.
        context_s: Audio that a frame may know, from its end backwards, 3..60 s.
    """

    hop_s: float = 0.5
    context_s: float = 10.0

    def __post_init__(self) -> None:
        _require(0.1 <= self.hop_s <= 2.0, f"hop must be 0.1 to 2 seconds, not {self.hop_s:g}")
        _require(3.0 <= self.context_s <= 60.0, f"context must be 3 to 60 seconds, not {self.context_s:g}")

    @property
    def hop_samples(self) -> int:
        return round(self.hop_s * SAMPLE_RATE_HZ)

    @property
    def context_samples(self) -> int:
        return round(self.context_s * SAMPLE_RATE_HZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothingSettings:
    """How raw estimates become steady ones.

    Attributes:
        attack_s: Time constant while a value grows (arousal rises, valence leaves neutral).
        release_s: Time constant while it falls back.
        margin: How much likelier a new category must be than the current one before it may take over, 0..1.
        dwell_s: How long a category is kept at least.
        min_confidence: Below this probability the category is ``unknown``, 0..1.
    """

    attack_s: float = 0.3
    release_s: float = 1.5
    margin: float = 0.1
    dwell_s: float = 4.0
    min_confidence: float = 0.4

    def __post_init__(self) -> None:
        _require(self.attack_s >= 0 and self.release_s >= 0, "attack and release must not be negative")
        _require(0 <= self.margin <= 1, f"margin must be 0 to 1, not {self.margin:g}")
        _require(self.dwell_s >= 0, f"dwell must not be negative, but is {self.dwell_s:g}")
        _require(0 <= self.min_confidence <= 1, f"minimum confidence must be 0 to 1, not {self.min_confidence:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricsSettings:
    """Where the lyrics come from.

    Attributes:
        mode: ``recognise`` transcribes the vocals, ``known`` reads ``file``, ``off`` uses audio alone.
        file: Lyrics file (LRC, SRT, WebVTT or plain text) for ``known``.
        encoding: Character encoding of lyrics files, by any name that Python knows; None detects it.
        model: Name of a Whisper model, or a folder that holds one.
        device: ``cpu`` or ``cuda``, for the recogniser.
        cpu_threads: Threads that one decode may use, at least 1.
        allow_download: Whether weights that are not on this machine may be downloaded.
        vocal_gate: Whether the recogniser gets only passages with vocals; else everything but silence.
    """

    mode: LyricsMode = "recognise"
    file: Path | None = None
    encoding: str | None = None
    model: str = "base"
    device: str = "cpu"
    cpu_threads: int = 2
    allow_download: bool = True
    vocal_gate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Which models run, and with which settings.

    Attributes:
        model: Name or folder of the checkpoint.
        device: ``cpu``, ``cuda`` or ``cuda:N``, for the joint model.
        window: How the audio is cut.
        smoothing: How estimates are smoothed.
        min_accuracy: The category is ``unknown`` where its expected accuracy is lower than this, 0..1. Replaces
            ``smoothing.min_confidence`` by the value that the checkpoint's calibration gives; None keeps that.
        lyrics: Where the lyrics come from.
    """

    model: str = DEFAULT_MODEL
    device: str = "cpu"
    window: WindowSettings = field(default_factory=WindowSettings)
    smoothing: SmoothingSettings = field(default_factory=SmoothingSettings)
    min_accuracy: float | None = None
    lyrics: LyricsSettings = field(default_factory=LyricsSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """How to reach NATS. Secrets are never shown: in no log, no error and no representation.

    Attributes:
        url: ``nats://host:4222`` or ``tls://...``, with ``user:password@`` or ``token@`` in front of the host if
            needed; several, separated by commas, for a NATS cluster.
        credentials: File with a user's JWT and key (``.creds``).
        authorities: File with the certificates (PEM) of trusted authorities; None for those of the machine.
        lease_s: A worker that is silent for so long loses its channels, 1..60 s. Used when the buckets are created.
        replicas: Number of NATS servers that keep the buckets, 1..5; likewise.

    Raises:
        SettingError: A value is out of range, a file is missing, or the package ``nats-py`` is not installed.
    """

    url: str = field(repr=False)
    credentials: Path | None = None
    authorities: Path | None = None
    lease_s: float = DEFAULT_LEASE_S
    replicas: int = 1

    def __post_init__(self) -> None:
        _require(find_spec("nats") is not None, "NATS needs another package: pip install 'stream-mer[nats]'")
        for server in self.servers:
            try:
                parts = urlsplit(server)
                valid = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and (parts.port or 1) > 0
            except ValueError:
                valid = False
            shown = redact_address(server)
            _require(valid, f"{shown!r} is not an address of NATS: give one such as nats://127.0.0.1:4222")
        _require(1 <= self.lease_s <= 60, f"the lease must be 1 to 60 seconds, not {self.lease_s:g}")
        _require(1 <= self.replicas <= 5, f"the replicas must be 1 to 5, not {self.replicas}")
        for file in (self.credentials, self.authorities):
            _require(file is None or file.is_file(), f"there is no file {file}: ask whoever operates NATS for it")

    @property
    def servers(self) -> list[str]:
        """The addresses, with their secrets."""
        return [server.strip() for server in self.url.split(",") if server.strip()] or [""]

    @property
    def shown(self) -> str:
        """The addresses, redacted."""
        return ", ".join(map(redact_address, self.servers))
