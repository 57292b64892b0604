"""Compose the demo song: ``python -m tools.demo_song.compose --out stream_mer/demo/demo.ogg``.

Needs espeak-ng on the system for the voice. The same numpy and espeak-ng give the same samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from stream_mer.errors import StreamMerError
from tools.demo_song import angry, happy, relaxed, sad
from tools.demo_song.dsp import RATE_HZ, Signal, loudness, peak
from tools.demo_song.mix import Passage, join, render

PASSAGES: tuple[Passage, ...] = (happy.PASSAGE, angry.PASSAGE, sad.PASSAGE, relaxed.PASSAGE)
"""The song, in the order of Russell's quadrants."""

SEED = 20260
BITRATE_BPS = 80_000


def starts_s(passages: Iterable[Passage] = PASSAGES) -> tuple[float, ...]:
    """Where each passage starts in the song, and where the last one ends, seconds."""
    lengths = [0, *(passage.length_samples for passage in passages)]
    return tuple(float(s) / RATE_HZ for s in np.cumsum(lengths))


def encode(song: Signal, path: Path, *, bitrate_bps: int) -> None:
    """Write stereo audio as Ogg Opus.

    Raises:
        StreamMerError: The file cannot be written.
    """
    import av  # noqa: PLC0415  # heavy, and only needed here

    samples = np.ascontiguousarray(song.T.reshape(1, -1), dtype=np.float32)
    try:
        with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream("libopus", rate=RATE_HZ, layout="stereo")
            stream.bit_rate = bitrate_bps
            stream.options = {"application": "audio", "vbr": "constrained", "compression_level": "10"}
            frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="stereo")
            frame.sample_rate = RATE_HZ
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    except OSError as error:
        raise StreamMerError(f"{path} cannot be written ({error}): choose another place with --out") from error


def lyrics_lrc(passages: Sequence[Passage] = PASSAGES) -> str:
    """The words of the song as LRC: one line each, with the time at which it starts."""
    rows = []
    for start, passage in zip(starts_s(passages), passages, strict=False):
        for line in passage.voices[0].lines:
            at = start + passage.tempo.seconds(line.notes[0].start_beat)
            rows.append(f"[{int(at // 60):02d}:{at % 60:05.2f}]{line.text}")
    return "\n".join(rows) + "\n"


@click.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(__file__).parents[2] / "stream_mer" / "demo" / "demo.ogg",
    show_default=True,
    help="Where to write the song (Ogg Opus); its words go beside it as .lrc.",
)
@click.option("--seed", default=SEED, show_default=True, help="Of everything that chance decides.")
@click.option("--bitrate", default=BITRATE_BPS, show_default=True, help="Bits a second.")
@click.option("--no-voice", is_flag=True, help="Music only; espeak-ng is not needed, and no .lrc is written.")
def main(out: Path, seed: int, bitrate: int, *, no_voice: bool) -> None:
    """Compose the demo song anew: four passages, happy, angry, sad and relaxed.

    Music and voice are synthesised (about a minute on one core). espeak-ng must be installed for the voice.
    """
    console = Console(stderr=True)
    try:
        parts = []
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("composing", total=len(PASSAGES))
            for i, passage in enumerate(PASSAGES):
                progress.update(task, description=passage.name)
                parts.append((passage, render(passage, seed=seed + i, with_voices=not no_voice)))
                progress.advance(task)
        song = join(parts)
        encode(song, out, bitrate_bps=bitrate)
    except StreamMerError as error:
        console.print(f"error: {error}", markup=False)
        raise SystemExit(error.exit_code) from None
    if not no_voice:
        out.with_suffix(".lrc").write_text(lyrics_lrc(), encoding="utf-8")
    console.print(
        f"{out}: {song.shape[-1] / RATE_HZ:.1f} s, {out.stat().st_size / 1000:.0f} kB, "
        f"{loudness(song):.1f} LUFS, peak {20 * np.log10(peak(song)):.1f} dBFS",
        markup=False,
    )


if __name__ == "__main__":
    main()
