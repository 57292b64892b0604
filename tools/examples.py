"""An example of each event and message, for the documentation, tests and benchmarks.

``python -m tools.examples`` writes the messages to ``stream_mer/server/examples.json``, for the AsyncAPI document.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import msgspec

from stream_mer.event_json import MessageEncoder, encode, summary_message
from stream_mer.outputs.files import Summary
from stream_mer.server import messages as wire
from stream_mer.types import (
    AudioState,
    CategoryChange,
    EmotionEstimate,
    EmotionFrame,
    InputLevels,
    Interval,
    Latency,
    LyricLine,
    LyricWord,
    StreamStatus,
)

EXAMPLES_JSON = Path(__file__).parent.parent / "stream_mer" / "server" / "examples.json"

STREAM = "main"

FRAME = EmotionFrame(
    index=84,
    t0=32.5,
    t1=42.5,
    valence=0.4183,
    arousal=0.2957,
    raw=EmotionEstimate(
        valence=0.4561,
        arousal=0.3312,
        interval=Interval(valence=(0.1042, 0.7324), arousal=(0.0511, 0.5403), level=0.8),
        categories={"happy": 0.64, "angry": 0.11, "sad": 0.08, "relaxed": 0.17},
        clusters={"C1": 0.31, "C2": 0.42, "C3": 0.12, "C4": 0.09, "C5": 0.06},
        modalities=("audio", "text"),
        text_age_s=3.24,
        audio_state=AudioState(state="music", prob=0.9871),
        features_ms=5.12,
        model_ms=1.87,
    ),
    category="happy",
    confidence=0.6127,
    probs={"happy": 0.6127, "angry": 0.1205, "sad": 0.0901, "relaxed": 0.1767},
    latency=Latency(capture=20.1, queue=0.4, features=5.12, model=1.87, total=28.3),
)

LINE = LyricLine(
    segment=7,
    revision=2,
    t0=36.9,
    t1=39.26,
    text="and the morning comes again",
    committed=True,
    language="en",
    words=(
        LyricWord(t0=36.9, t1=37.18, text="and"),
        LyricWord(t0=37.18, t1=37.4, text="the"),
        LyricWord(t0=37.4, t1=38.02, text="morning"),
        LyricWord(t0=38.02, t1=38.5, text="comes"),
        LyricWord(t0=38.5, t1=39.26, text="again"),
    ),
    settled_words=5,
)

CHANGE = CategoryChange(t=41.0, before="relaxed", after="happy", dwell_s=18.5)

STATUS = StreamStatus(
    source="live",
    device="USB Audio CODEC",
    lyrics="ok",
    lag_s=2.8,
    lost_samples=0,
    peak_db=-4.1,
    rms_db=-17.6,
    title="Jóga",
    artist="Björk",
)

LEVELS = InputLevels(t=42.52, rms_db=-17.31, peak_db=-5.02, onset=0.83)

SUMMARY = Summary(
    duration_s=214.36,
    valence=0.3811,
    arousal=0.2204,
    category="happy",
    probs=FRAME.probs,
    clusters=FRAME.raw.clusters,
    lyrics="and the morning comes again",
)

HELLO = wire.Hello(
    protocol=wire.PROTOCOL,
    server="stream-mer/0.1.0",
    auth_required=False,
    session="5f0c9a31",
    streams=(STREAM,),
    categories=("happy", "angry", "sad", "relaxed"),
    clusters=("C1", "C2", "C3", "C4", "C5"),
    va_range=(-1.0, 1.0),
    window_s=10.0,
    hop_s=0.5,
    limits=wire.LimitsPart(
        max_clients=1000,
        max_message_bytes=4096,
        max_messages_per_s=50,
        identify_timeout_s=5.0,
        queued_messages=64,
        stuck_after_s=10.0,
    ),
)


def examples() -> dict[str, wire.Message]:
    """Return example messages by kind, in the order in which a conversation meets them."""
    encoder = MessageEncoder(STREAM)
    emotion, lyrics = encoder.message(FRAME), encoder.message(LINE)
    change, status = encoder.message(CHANGE), encoder.message(STATUS)
    levels = encoder.message(LEVELS)
    wanted = wire.Subscription(streams=(STREAM,), events=("emotion", "change", "status"), max_hz=10.0)
    return {
        "hello": HELLO,
        "identify": wire.Identify(
            client=wire.ClientPart(name="front screen", kind="visuals"),
            subscribe=(wanted,),
            resume=wire.ResumePart(session="5f0c9a31", last_seq={STREAM: {"emotion": 83, "change": 4, "status": 0}}),
        ),
        "ready": wire.Ready(
            client_id="b1946ac9",
            role="operator",
            granted=(wanted,),
            snapshot=(wire.SnapshotEntry(age_s=12.034, message=status),),
            resumed=True,
        ),
        "emotion": emotion,
        "lyrics": lyrics,
        "change": change,
        "status": status,
        "levels": levels,
        **_requests(),
        **_setup(),
        "audio.start": wire.AudioStart(stream=STREAM, format="s16le", rate_hz=48_000, channels=2),
        "audio.end": wire.AudioEnd(),
        "ping": wire.Ping(id=1, t=1234.5),
        "pong": wire.Pong(id=1, t=1234.5),
        "error": wire.Error(
            code=wire.CloseCode.BAD_MESSAGE,
            message='"sing" is not a message that clients send; '
            "send one of identify, subscribe, unsubscribe, control, audio.start, audio.end, ping, pong, setup",
            fatal=True,
        ),
        "summary": summary_message("song.mp3", **asdict(SUMMARY)),
    }


def _requests() -> dict[str, wire.Message]:
    """What a client asks for, and an answer."""
    return {
        "subscribe": wire.Subscribe(id=1, streams=(STREAM,), events=("levels",), max_hz=25.0),
        "unsubscribe": wire.Unsubscribe(id=2, events=("lyrics",)),
        "control": wire.Control(
            id=3, action="override", override=wire.OverridePart(valence=0.8, arousal=0.6, ttl_s=30.0)
        ),
        "result": wire.Result(
            id=3,
            ok=False,
            error=wire.RefusalPart(
                code=wire.CloseCode.FORBIDDEN, message="only operators may control; identify as one"
            ),
        ),
    }


def _setup_state() -> wire.SetupStatePart:
    """What is set up: a stream and an output."""
    stream = wire.StreamSetupPart(
        name=STREAM,
        source="mic:USB Audio CODEC",
        kind="mic",
        device="USB Audio CODEC",
        channels="3,4",
        gain_db=6.0,
        track=None,
        loop=False,
        lyrics="recognise",
        languages=("en",),
        hop_s=0.25,
        attack_s=0.3,
        release_s=1.5,
        dwell_s=4.0,
        hysteresis=0.1,
        min_confidence=0.4,
        spread=True,
    )
    output = wire.OutputPart(
        id="o1",
        kind="osc",
        spec="resolume@192.168.1.5",
        name="osc resolume at 192.168.1.5:7000",
        stream=STREAM,
        up=True,
        sent=1234,
        refused=0,
        skipped=0,
        last_error=None,
    )
    return wire.SetupStatePart(
        can_save=True,
        path="/home/vj/.config/stream_mer/config.toml",
        dirty=True,
        can_undo=True,
        streams=(stream,),
        ranges={"hop_s": (0.1, 2.0)},
        languages=("de", "en", "fr"),
        output_kinds=(wire.OutputKindPart(kind="osc", title="OSC", presets=("resolume",), hint="PRESET@HOST:PORT"),),
        outputs=(output,),
        addresses=("http://192.168.1.20:8765/",),
        qr_svg=None,
        first_start=False,
    )


def _setup() -> dict[str, wire.Message]:
    """An operator changes a stream, and what all operators get afterwards."""
    return {
        "setup": wire.Setup(
            id=4,
            action="apply",
            stream=STREAM,
            changes=wire.SetupChanges(source="mic:USB Audio CODEC", channels="3,4", gain_db=6.0, hop_s=0.25),
        ),
        "setup.update": wire.SetupUpdate(
            state=_setup_state(),
        ),
    }


def examples_json() -> bytes:
    """Return the content of ``examples.json``."""
    by_kind = {kind: msgspec.Raw(encode(message)) for kind, message in examples().items()}
    return msgspec.json.format(msgspec.json.encode(by_kind), indent=1) + b"\n"


if __name__ == "__main__":
    EXAMPLES_JSON.write_bytes(examples_json())
