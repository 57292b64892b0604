"""Runs in a fresh process for the benchmark ``startup``: the live path at work, then what it cost, as one line of JSON.

Arguments: WAV MODEL PACKAGE... [--lyrics]. Says which of the packages were loaded.
"""

from __future__ import annotations

import json
import sys

from benchmarks.machine import memory_mib


def import_live_path() -> None:
    """Import what `stream-mer serve` needs before its first frame, torchaudio's transforms included."""
    import stream_mer.cli.serve  # noqa: PLC0415, F401 - the import is what is measured
    from stream_mer.audio.features import LogMelStream  # noqa: PLC0415 - likewise

    LogMelStream()


def main(wav: str, model: str, packages: list[str], *, lyrics: bool) -> None:
    """Run one stream and print the findings."""
    import torch  # noqa: F401, PLC0415 - its memory is the floor

    torch_mib = memory_mib("VmRSS")
    import_live_path()
    from stream_mer.config import EngineSettings, LyricsSettings  # noqa: PLC0415 - only now: numpy is counted too
    from stream_mer.engine import Engine  # noqa: PLC0415 - only now: see above
    from stream_mer.errors import LyricsError  # noqa: PLC0415 - likewise
    from stream_mer.lyrics.text_features import SentenceEncoder  # noqa: PLC0415 - likewise
    from stream_mer.lyrics.whisper import WhisperRecogniser  # noqa: PLC0415 - likewise
    from stream_mer.sources.file import FileSource  # noqa: PLC0415 - likewise

    class Nowhere:
        def publish(self, event: object) -> None: ...

    engine = Engine(EngineSettings(model=model, lyrics=LyricsSettings(mode="off")))
    engine.pipeline(FileSource(wav), Nowhere(), in_real_time=True).run()
    lyrics_error = ""
    if lyrics:
        # Loaded directly: the tone of the wav has no words, so a stream of it would not need the encoder.
        try:
            recogniser, encoder = WhisperRecogniser(allow_download=False), SentenceEncoder()
            recogniser.load()
            encoder.encode("a line of words")
        except LyricsError as error:
            lyrics_error = str(error)
    found = {
        "torch_mib": torch_mib,
        "rest_mib": memory_mib("VmRSS"),
        "peak_mib": memory_mib("VmHWM"),
        "loaded": [package for package in packages if package in sys.modules],
        "lyrics_error": lyrics_error,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--lyrics"]
    main(given[0], given[1], given[2:], lyrics="--lyrics" in sys.argv)
