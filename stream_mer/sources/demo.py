"""The song that comes with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from stream_mer.errors import SourceError
from stream_mer.sources.file import FileSource


def demo_song() -> Path:
    """Path of the packaged song.

    Raises:
        SourceError: The installation lacks it.
    """
    path = Path(str(resources.files("stream_mer.demo") / "demo.ogg"))
    if not path.is_file():
        raise SourceError(f"the demo song is missing from this installation ({path}); install stream-mer again")
    return path


class DemoSource(FileSource):
    """The packaged song as a listener would hear it: in real time, over and over.

    Raises:
        SourceError: The installation lacks it.
    """

    def __init__(self) -> None:
        super().__init__(demo_song(), paced=True, loop=True)
        self.name = "demo"
