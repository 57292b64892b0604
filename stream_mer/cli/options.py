"""Options that several commands share, and the settings made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from stream_mer.cli.settings import NameOrPath
from stream_mer.config import (
    ASR_MODELS,
    DEFAULT_LEASE_S,
    EngineSettings,
    LyricsSettings,
    MaskSettings,
    NatsSettings,
    ServeSettings,
    SmoothingSettings,
    WindowSettings,
)
from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.lyrics.files import check_encoding

F = TypeVar("F", bound=Callable[..., Any])


def option_group(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return a decorator that adds several options to a command, in this order in its help."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


SERVER_URL = f"ws://{ServeSettings().host}:{ServeSettings().port}/v1/stream"
"""Where commands connect to by default: that of ``server.client``, which is slow to import."""

ca_option = click.option(
    "--ca",
    "authorities",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CA certificates (PEM) for a wss server.  [default: those of this machine]",
)
"""Of commands that connect to a server."""

engine_options = option_group(
    click.option(
        "--model",
        type=NameOrPath(),
        default=EngineSettings().model,
        show_default=True,
        help="Checkpoint: a name or a folder.",
    ),
    click.option(
        "--device", default="cpu", show_default=True, help="Device of YAMNet, a third of the work: cpu or cuda."
    ),
    click.option("--hop", default=WindowSettings().hop_s, show_default=True, help="Seconds between frames, 0.1 to 2."),
    click.option(
        "--context",
        default=WindowSettings().context_s,
        show_default=True,
        help="Seconds of audio that a frame may use, 3 to 60.",
    ),
    click.option(
        "--lyrics",
        "lyrics_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Known lyrics (LRC, SRT, WebVTT or plain text) instead of recognition.",
    ),
    click.option(
        "--lyrics-encoding",
        metavar="NAME",
        help="Encoding of lyrics files, such as gbk, big5, shift_jis or cp1251.  [default: detected]",
    ),
    click.option("--no-lyrics", is_flag=True, help="Use audio alone: no recognition, no lyrics."),
    click.option(
        "--language",
        "languages",
        multiple=True,
        metavar="CODE",
        help="Language that is sung, such as en or ja; may be repeated, for one of several.  [default: detected]",
    ),
    click.option(
        "--recheck",
        default=LyricsSettings().recheck_s,
        show_default=True,
        help="Seconds after which the language is looked for again within a song. 0 keeps the first one.",
    ),
    click.option(
        "--mask-words",
        type=NameOrPath(),
        multiple=True,
        metavar="LIST",
        help="Mask words of lyrics in the overlay, on the page and in captions: default for the list that comes with "
        "stream-mer, or a FILE with a word a line; off masks nothing.  [default: that list, in the overlay alone]",
    ),
    click.option("--mask-all", is_flag=True, help="Mask them in messages, JSON, outputs and recordings, too."),
    click.option(
        "--asr-model",
        type=NameOrPath(),
        default="base",
        show_default=True,
        help="Whisper model: base, tiny.en, another name, or a folder.",
    ),
    click.option("--asr-device", default="cpu", show_default=True, help="Device of the recogniser: cpu or cuda."),
    click.option(
        "--min-confidence",
        default=SmoothingSettings().min_confidence,
        show_default=True,
        help="Below this probability the category is 'unknown'.",
    ),
    click.option(
        "--min-accuracy",
        type=click.FloatRange(0, 1),
        help="Instead: the category is 'unknown' where its expected accuracy is lower than this.",
    ),
    click.option(
        "--attack",
        default=SmoothingSettings().attack_s,
        show_default=True,
        help="Smoothing: time constant while a value grows, seconds. 0 follows every frame.",
    ),
    click.option(
        "--release",
        default=SmoothingSettings().release_s,
        show_default=True,
        help="Smoothing: time constant while a value falls back, seconds.",
    ),
    click.option(
        "--dwell",
        default=SmoothingSettings().dwell_s,
        show_default=True,
        help="Minimum duration of a category, seconds. Longer gives fewer and later cues.",
    ),
    click.option(
        "--hysteresis",
        default=SmoothingSettings().margin,
        show_default=True,
        help="How much more probable another category must be before it takes over, 0 to 1.",
    ),
)
"""Options of how streams are computed; ``engine_settings`` reads them."""


def engine_settings(
    *,
    model: str,
    device: str,
    hop: float,
    context: float,
    lyrics_file: Path | None,
    lyrics_encoding: str | None,
    no_lyrics: bool,
    languages: Sequence[str],
    recheck: float,
    mask_words: Sequence[str],
    mask_all: bool,
    asr_model: str,
    asr_device: str,
    min_confidence: float,
    min_accuracy: float | None,
    attack: float,
    release: float,
    dwell: float,
    hysteresis: float,
) -> EngineSettings:
    """Return the settings that ``engine_options`` give.

    Raises:
        SettingError: A value is out of range, or two options contradict each other.
    """
    _check_lyrics_options(lyrics_file, lyrics_encoding, asr_model, no_lyrics=no_lyrics)
    known = lyrics_file is not None
    return EngineSettings(
        model=model,
        device=device,
        window=WindowSettings(hop_s=hop, context_s=context),
        smoothing=SmoothingSettings(
            attack_s=attack, release_s=release, margin=hysteresis, dwell_s=dwell, min_confidence=min_confidence
        ),
        min_accuracy=min_accuracy,
        lyrics=LyricsSettings(
            mode="off" if no_lyrics else "known" if known else "recognise",
            file=lyrics_file,
            encoding=lyrics_encoding,
            model=asr_model,
            device=asr_device,
            languages=tuple(languages),
            recheck_s=recheck,
            mask=mask_settings(mask_words, everywhere=mask_all),
        ),
    )


def mask_settings(words: Sequence[str], *, everywhere: bool) -> MaskSettings:
    """Return the settings that ``--mask-words`` and ``--mask-all`` give.

    Raises:
        SettingError: They contradict each other.
    """
    if "off" in words and (len(words) > 1 or everywhere):
        raise SettingError("--mask-words off masks nothing: leave the other lists and --mask-all out, or off")
    if "off" in words:
        return MaskSettings(words=())
    page = bool(words) or everywhere
    return MaskSettings(words=tuple(words) or MaskSettings().words, page=page, everywhere=everywhere)


def _check_lyrics_options(file: Path | None, encoding: str | None, asr_model: str, *, no_lyrics: bool) -> None:
    if file is not None and no_lyrics:
        raise SettingError("--lyrics and --no-lyrics contradict each other: give one of them")
    if encoding is not None:
        check_encoding(encoding)
    _check_asr_model(asr_model)


def _check_asr_model(name: str) -> None:
    """Refuse a name that is no model, before a stream runs without lyrics because of it.

    Raises:
        SettingError: It is neither a known name, a name of the model hub nor a folder.
    """
    if name in ASR_MODELS or "/" in name or os.path.isdir(os.path.expanduser(name)):  # noqa: PTH111, PTH112 - Path raises where a name is too long
        return
    near = did_you_mean(name, ASR_MODELS, or_all=False)
    known = ", ".join(ASR_MODELS)
    raise SettingError(
        f"--asr-model: there is no Whisper model {brief(name)!r}{near}; choose a folder, or from {known}"
    )


DEFAULT_URL = "nats://127.0.0.1:4222"

nats_identity_options = option_group(
    click.option("--nats-creds", type=click.Path(path_type=Path), metavar="FILE", help="NATS: file with credentials."),
    click.option(
        "--nats-ca",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="NATS: certificates (PEM) of trusted authorities.  [default: those of this machine]",
    ),
)
"""Options for the identity of this process and of the server."""

nats_options = option_group(
    click.option(
        "--nats",
        "nats_url",
        default=DEFAULT_URL,
        show_default=True,
        metavar="URL",
        help="Where NATS is: nats://[USER:PASSWORD@]HOST:PORT or tls://..., several separated by commas.",
    ),
    nats_identity_options,
    click.option(
        "--lease",
        default=DEFAULT_LEASE_S,
        show_default=True,
        help="Seconds after which a silent worker loses its channels; set by the first process that connects to NATS.",
    ),
    click.option(
        "--replicas",
        default=1,
        show_default=True,
        help="Servers of a NATS cluster that keep the list of channels; set likewise.",
    ),
)
"""Options of commands that may be the first to connect to NATS; ``nats_settings`` reads them."""


def nats_settings(options: MutableMapping[str, Any]) -> NatsSettings:
    """Return the settings that ``nats_options`` give, and remove them from the parameters of a command.

    Raises:
        SettingError: A value is out of range, a file is missing, or the package is not installed.
    """
    return NatsSettings(
        url=options.pop("nats_url"),
        credentials=options.pop("nats_creds"),
        authorities=options.pop("nats_ca"),
        lease_s=options.pop("lease"),
        replicas=options.pop("replicas"),
    )
