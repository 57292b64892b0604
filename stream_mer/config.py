"""All settings. Their names hold the units; ranges are checked when they are made."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from stream_mer.errors import SettingError, brief
from stream_mer.types import SAMPLE_RATE_HZ
from stream_mer.utils.hosts import is_address, is_loopback
from stream_mer.utils.sanitise import redact_address

DEFAULT_MODEL = "joint-v3"
"""Name of the checkpoint that is used unless another is named."""

SHORTEST_TOKEN = 16
"""Minimum length of a token, characters."""

HISTORY_MESSAGES = 256
"""Messages kept of each stream and kind: two minutes of emotion at two a second."""

_ORIGIN = re.compile(r"\*|https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
"""What ``frame-ancestors`` may hold."""

_SERVE_RANGES = {
    "port": (0, 65_535, ""),
    "max_clients": (1, 100_000, ""),
    "max_message_bytes": (64, 65_536, " bytes"),
    "max_messages_per_s": (1, 10_000, " per second"),
    "max_audio_bytes": (1024, 1_048_576, " bytes"),
    "max_audio_messages_per_s": (1, 10_000, " per second"),
    "max_subscriptions": (1, 1000, ""),
    "history_messages": (1, 100_000, ""),
    "queued_messages": (1, 10_000, ""),
    "handshake_timeout_s": (0.05, 3600, " seconds"),
    "identify_timeout_s": (0.05, 3600, " seconds"),
    "stuck_after_s": (0.05, 3600, " seconds"),
    "pong_timeout_s": (0.05, 3600, " seconds"),
    "close_timeout_s": (0.05, 60, " seconds"),
}

DEFAULT_LEASE_S = 1.2
"""NATS removes expired leases four times a second: others may take over after at most 1.45 s.

After half a second where a process was killed and its connection closed (``cluster/failure_detector.py``)."""

_LANGUAGE_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id "
    "is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si "
    "sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh"
)

LANGUAGES: tuple[str, ...] = tuple(_LANGUAGE_CODES.split())
"""ISO 639 codes of the languages that multilingual Whisper models know."""

LyricsMode: TypeAlias = Literal["recognise", "known", "off"]


def _require(ok: bool, message: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not ok:
        raise SettingError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How the audio is cut.

    Attributes:
        hop_s: Time between frames, .1..2 s.
        context_s: Audio that a frame may use, from its end backwards, 3..60 s.
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
    """How estimates are smoothed, and the category held.

    Attributes:
        attack_s: Time constant while a value grows (arousal rises, valence leaves neutral), seconds, 0 or more.
        release_s: Time constant while it falls back, seconds, 0 or more.
        margin: Hysteresis: how much more probable a new category must be before it takes over, 0..1.
        dwell_s: Minimum duration of a category, seconds, 0 or more.
        min_confidence: Below this probability the category is ``unknown``, 0..1.
    """

    attack_s: float = 0.3
    release_s: float = 1.5
    margin: float = 0.1
    dwell_s: float = 4.0
    min_confidence: float = 0.4

    def __post_init__(self) -> None:
        _require(self.attack_s >= 0 and self.release_s >= 0, "attack and release must not be negative")
        _require(0 <= self.margin <= 1, f"hysteresis must be 0 to 1, not {self.margin:g}")
        _require(self.dwell_s >= 0, f"dwell must not be negative, but is {self.dwell_s:g}")
        _require(0 <= self.min_confidence <= 1, f"minimum confidence must be 0 to 1, not {self.min_confidence:g}")


DEFAULT_WORDS = "default"
"""Stands for the default list of ``MaskSettings.words``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """Which words of lyrics an audience does not see.

    Attributes:
        words: Files with one word or phrase a line, and ``default`` for the default list; empty masks nothing.
        page: Whether they are masked on the page and in captions, too, and not in the overlay alone.
        everywhere: Whether they are masked in messages, files and outputs, too.
    """

    words: tuple[str, ...] = (DEFAULT_WORDS,)
    page: bool = False
    everywhere: bool = False


ASR_MODELS = (
    "tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en", "large", "large-v1", "large-v2",
    "large-v3", "large-v3-turbo", "turbo", "distil-small.en", "distil-medium.en", "distil-large-v2", "distil-large-v3",
    "distil-large-v3.5",
)  # fmt: skip
"""Names of Whisper models that faster-whisper knows; a folder, or a name of the model hub with a /, will do, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricsSettings:
    """Where the lyrics come from.

    Attributes:
        mode: ``recognise`` transcribes the vocals, ``known`` reads ``file``, ``off`` uses audio alone.
        file: Lyrics file (LRC, SRT, WebVTT or plain text) for ``known``.
        encoding: Character encoding of lyrics files, by any name that Python knows; None detects it.
        model: Name of a Whisper model, or a folder that holds one.
        device: ``cpu``, ``cuda`` or ``auto``, for the recogniser.
        cpu_threads: Threads of the recogniser, at least 1. Live, as many decodes run side by side with a thread each;
            of files, one at a time with all.
        allow_download: Whether weights that are not on this machine may be downloaded.
        vocal_gate: Whether the recogniser gets only passages with vocals; else everything but silence.
        languages: The languages that may be sung, of ``LANGUAGES``; empty for all of them.
        recheck_s: The language of a song is detected again after this time, and for passages that are not understood,
            5..3,600 seconds. 0 keeps a detected language until nothing is understood for some time.
        mask: Which words an audience does not see.
    """

    mode: LyricsMode = "recognise"
    file: Path | None = None
    encoding: str | None = None
    model: str = "base"
    device: str = "cpu"
    cpu_threads: int = 2
    allow_download: bool = True
    vocal_gate: bool = True
    languages: tuple[str, ...] = ()
    recheck_s: float = 30.0
    mask: MaskSettings = field(default_factory=MaskSettings)

    def __post_init__(self) -> None:
        known = self.device in {"cpu", "cuda", "auto"}
        _require(known, f"the device of the recogniser must be cpu or cuda, not {brief(repr(self.device))}")
        for language in self.languages:
            hint = "give a code of ISO 639-1, such as en, fr or ja"
            _require(language in LANGUAGES, f"the recogniser knows no language {brief(repr(language))}: {hint}")
        rare = self.recheck_s == 0 or 5 <= self.recheck_s <= 3600
        _require(rare, f"the language can be looked for again every 5 to 3600 seconds, or 0, not {self.recheck_s:g}")
        _require(self.cpu_threads >= 1, f"the recogniser needs at least 1 thread, not {self.cpu_threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Which models run, and with which settings.

    Attributes:
        model: Name or folder of the checkpoint.
        device: ``cpu``, ``cuda`` or ``cuda:N``, for YAMNet.
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

    def __post_init__(self) -> None:
        accuracy = self.min_accuracy
        _require(accuracy is None or 0 <= accuracy <= 1, f"minimum accuracy must be 0 to 1, not {accuracy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """What can be changed of a stream.

    Attributes:
        source: What is typed for its source; with its secrets.
        channels: Channels of a device, such as ``3,4``; None for the default.
        gain_db: Gain of a device, dB; None for none.
        track: Audio track of a file or address; None for the best one.
        loop: Whether a file starts again at its end.
        lyrics: Where its lyrics come from.
        languages: What may be sung; empty for everything.
        hop_s: Time between frames, seconds.
        smoothing: How it is smoothed.
        spread: Whether outputs get values over the range of listeners' ratings.
    """

    source: str
    channels: str | None = None
    gain_db: float | None = None
    track: str | None = None
    loop: bool = False
    lyrics: LyricsMode = "recognise"
    languages: tuple[str, ...] = ()
    hop_s: float = WindowSettings().hop_s
    smoothing: SmoothingSettings = field(default_factory=SmoothingSettings)
    spread: bool = True

    def opens_like(self, other: StreamSettings) -> bool:
        """Tell whether the same source is opened in the same way."""
        return self.source_options() == other.source_options() and self.source == other.source

    def source_options(self) -> dict[str, Any]:
        """Return the options of ``open_source``."""
        return {"channels": self.channels, "gain_db": self.gain_db, "track": self.track, "loop": self.loop}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """An output: its kind, what is typed for it, and the stream that it follows; None for the first one."""

    kind: str
    spec: str
    stream: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that is set up."""

    streams: Mapping[str, StreamSettings]
    outputs: tuple[OutputSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """How to reach NATS. Secrets are never shown: in no log, no error and no representation.

    Attributes:
        url: ``nats://host:4222`` or ``tls://...``, with ``user:password@`` or ``token@`` in front of the host if
            needed; several, separated by commas, for a NATS cluster.
        credentials: File with a user's JWT and key (``.creds``).
        authorities: File with the certificates (PEM) of trusted authorities; None for those of the machine.
        lease_s: A worker that is silent for this long loses its channels, 1..60 s. Used when the buckets are created.
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
            _require(file is None or file.is_file(), f"there is no file {file}: ask the operator of NATS for it")

    @property
    def servers(self) -> list[str]:
        """The addresses, with their secrets."""
        return [server.strip() for server in self.url.split(",") if server.strip()] or [""]

    @property
    def shown(self) -> str:
        """The addresses, redacted."""
        return ", ".join(map(redact_address, self.servers))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Address, tokens and limits of the server.

    Attributes:
        host: Address to bind; anything but a loopback address requires a token.
        port: 1..65535, or 0 for any free port.
        token: Secret that clients must show; None lets everyone in.
        operator_token: Secret that operators must show; None makes every client that is let in an operator.
        tls_certificate: File with the certificate chain (PEM); None serves without TLS.
        tls_key: File with the key (PEM); None where it is in the same file.
        allowed_origins: Origins of pages that may connect besides the server's own and those of this machine, such as
            ``https://example.org``; ``null`` stands for pages opened from a file, ``*`` for all.
        frame_origins: Origins of pages that may show ``/overlay`` in a frame, such as ``https://example.org``; ``*``
            for all. The page itself is never shown in one.
        proxies: IP addresses of reverse proxies whose ``X-Forwarded-For`` is trusted.
        max_clients: Websocket clients at once, 1..100,000.
        max_message_bytes: Size of one message from a client, 64..65,536.
        max_messages_per_s: Messages that a client may send in one second, 1..10,000.
        max_audio_bytes: Size of one binary message with audio, 1,024..1,048,576.
        max_audio_messages_per_s: Binary messages that a client may send in one second, 1..10,000.
        handshake_timeout_s: Time for a connection to become a websocket or to request a page, 0.05..3,600 seconds.
        identify_timeout_s: Time for a client to identify, 0.05..3,600 seconds; then it is closed where a token is
            required. Where none is, a silent client gets the default events much sooner.
        max_subscriptions: Rules kept of one client, 1..1,000.
        history_messages: Messages of each stream and kind that a client may resume over, 1..100,000.
        queued_messages: Ordered messages that may wait for one client, 1..10,000.
        stuck_after_s: A client that takes nothing for this long is closed, 0.05..3,600 seconds.
        pong_timeout_s: Interval of pings, and time to answer one, 0.05..3,600 seconds.
        close_timeout_s: Time for a client to close, 0.05..60 seconds.

    Raises:
        SettingError: A value is out of its range, or two contradict each other.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    operator_token: str | None = field(default=None, repr=False)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    frame_origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    max_clients: int = 1000
    max_message_bytes: int = 4096
    max_messages_per_s: int = 50
    max_audio_bytes: int = 65_536
    max_audio_messages_per_s: int = 200
    handshake_timeout_s: float = 5.0
    identify_timeout_s: float = 5.0
    max_subscriptions: int = 64
    history_messages: int = HISTORY_MESSAGES
    queued_messages: int = 64
    stuck_after_s: float = 10.0
    pong_timeout_s: float = 20.0
    close_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        for name, (low, high, unit) in _SERVE_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"{name} must be {low:g} to {high:g}{unit}, not {value:g}")
        self._check_texts()
        if self.token is None and not self.is_private:
            host = self.host or "0.0.0.0"  # noqa: S104 - an empty host means every address; here it is named, not bound
            token = new_token()  # users copy the line, so the token must be a random one
            raise SettingError(
                f"{host} can be reached from the network, so a token is required. "
                f"Type: stream-mer serve --host {host} --token {token} (or add --token to another command; "
                "without a value it makes one)"
            )

    def _check_texts(self) -> None:
        for option, token in (("--token", self.token), ("--operator-token", self.operator_token)):
            if token is not None:
                _check_token(option, token)
        for origin in self.frame_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"--allow-frame {origin!r} is not an origin: use one such as https://example.org, or *"
                )
        for proxy in self.proxies:
            if not is_address(proxy):
                raise SettingError(f"--proxy {proxy!r} is not an IP address: use that of the proxy, such as 127.0.0.1")
        if self.token is not None and self.token == self.operator_token:
            raise SettingError("both tokens are the same: give operators another one, or leave --operator-token out")
        if self.tls_key is not None and self.tls_certificate is None:
            raise SettingError("a TLS key needs its certificate: add --tls-certificate")

    @property
    def is_private(self) -> bool:
        """True if only this machine can connect."""
        return is_loopback(self.host)

    @property
    def is_guarded(self) -> bool:
        """True if at least operators have to show a token."""
        return self.token is not None or self.operator_token is not None

    @property
    def needs_token(self) -> bool:
        """True if every client has to show a token."""
        return self.token is not None


def new_token() -> str:
    """Return a random token: 128 bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def _check_token(option: str, token: str) -> None:
    """Refuse a token that could be guessed, or that no header can hold.

    Raises:
        SettingError: It is too short, or has spaces at its ends.
    """
    if len(token) < SHORTEST_TOKEN:
        raise SettingError(
            f"{option} has {len(token)} characters: use at least {SHORTEST_TOKEN}, "
            f"or {option} without a value to make one"
        )
    if token != token.strip():
        raise SettingError(f"{option} begins or ends with a space, which no header can hold: remove it")
