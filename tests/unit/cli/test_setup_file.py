"""What was set up is found again at the next start, and what else a settings file says stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from stream_mer.cli import cli
from stream_mer.cli.serve import _as_started
from stream_mer.cli.serving_options import output_settings, split_name, typed_sources
from stream_mer.cli.settings import SAVED_TO
from stream_mer.cli.setup_file import SetupFile
from stream_mer.config import EngineSettings, LyricsSettings, SmoothingSettings
from stream_mer.errors import SettingError
from stream_mer.setup import OutputSettings, Snapshot, StreamSettings


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine, and a working directory of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STREAM_MER_CONFIG", raising=False)


def start(path: Path | str | None, *arguments: str) -> click.Context:
    """The context of ``serve`` with these arguments."""
    parent = click.Context(cli, info_name="stream-mer")
    command = cli.get_command(parent, "serve")
    assert command is not None
    given = [] if path is None else ["--config", str(path)]
    return command.make_context("serve", [*given, *arguments], parent=parent)


def snapshot_of(context: click.Context) -> Snapshot:
    """What runs after a start; a stream is named by its source where nothing else names it."""
    values = context.params
    names = [split_name(source)[0] or split_name(source)[1] for source in values["sources"]]
    options = {"channels": values["channels"], "gain_db": values["gain"], "track": values["track"]}
    typed = typed_sources(values["sources"], names, loop=values["loop"], options=options)
    smoothing = SmoothingSettings(
        attack_s=values["attack"],
        release_s=values["release"],
        dwell_s=values["dwell"],
        margin=values["hysteresis"],
        min_confidence=values["min_confidence"],
    )
    mode = "off" if values["no_lyrics"] else "known" if values["lyrics_file"] else "recognise"
    engine = EngineSettings(lyrics=LyricsSettings(mode=mode, languages=tuple(values["languages"])))
    started = {
        name: replace(_as_started(engine, smoothing, one, spread=values["spread"]), hop_s=values["hop"])
        for name, one in typed.items()
    }
    return Snapshot(streams=started, outputs=output_settings(values))


def store_of(context: click.Context, path: Path) -> SetupFile:
    named = [name for name, _ in map(split_name, context.params["sources"]) if name is not None]
    return SetupFile(context, path, named=named, initial=snapshot_of(context).streams)


def changed(snapshot: Snapshot, name: str, **values: Any) -> Snapshot:
    return replace(snapshot, streams={**snapshot.streams, name: replace(snapshot.streams[name], **values)})


def test_nothing_changed_writes_nothing(tmp_path) -> None:
    context = start(None)
    path = context.meta[SAVED_TO]
    assert path == tmp_path / "home" / "stream_mer" / "config.toml"
    store = store_of(context, path)
    preview = store.preview(snapshot_of(context))
    assert (preview.path, preview.diff, preview.notes) == (str(path), "", ())
    store.save(snapshot_of(context))
    assert not path.exists()


def test_no_file_is_wanted(monkeypatch) -> None:
    assert start("").meta[SAVED_TO] is None
    monkeypatch.setenv("STREAM_MER_CONFIG", "")
    assert start(None).meta[SAVED_TO] is None


def test_what_was_set_up_runs_at_the_next_start(tmp_path) -> None:
    (tmp_path / "set.flac").touch()
    context = start(None)
    path = context.meta[SAVED_TO]
    wanted = StreamSettings(
        source="mic:USB Audio",
        channels="3,4",
        gain_db=6.0,
        languages=("en", "de"),
        hop_s=0.25,
        smoothing=SmoothingSettings(attack_s=0.0, release_s=2.0, dwell_s=1.0, margin=0.2, min_confidence=0.5),
        spread=False,
    )
    outputs = (OutputSettings(kind="osc", spec="resolume@192.168.1.5"), OutputSettings(kind="sacn", spec="wash"))
    store = store_of(context, path)
    store.save(Snapshot(streams={"demo": wanted}, outputs=outputs))
    assert path.stat().st_mode & 0o777 == 0o600
    again = snapshot_of(start(None))
    assert again == Snapshot(streams={"mic:USB Audio": wanted}, outputs=outputs)
    assert store.preview(Snapshot(streams={"demo": wanted}, outputs=outputs)).diff == ""


FILE = """\
# The show.
[serve]
source = "set.flac"  # the warm-up
hop = 0.5
channels = "1"
osc = ["resolume", "eos@192.168.1.5"]
token = "a secret that is long"

[tag]
hop = 1
"""


def test_a_password_with_a_space_is_not_shown_either(tmp_path) -> None:
    path = tmp_path / "show.toml"
    path.write_text('[serve]\nsource = "demo"\nmqtt = "mqtt://me:old word@host"\n', encoding="utf-8")
    context = start(path)
    outputs = (OutputSettings(kind="mqtt", spec='mqtt://me:new "word@host'),)
    preview = store_of(context, path).preview(replace(snapshot_of(context), outputs=outputs))
    assert preview.diff == '- mqtt = "mqtt://***@host"\n+ mqtt = "mqtt://***@host"\n'


def test_lines_change_in_their_place_and_no_secret_is_shown(tmp_path) -> None:
    path = tmp_path / "show.toml"
    path.write_text(FILE, encoding="utf-8")
    (tmp_path / "set.flac").touch()
    context = start(path)
    running = snapshot_of(context)
    assert store_of(context, path).preview(running).diff == '- channels = "1"\n'
    outputs = running.outputs[1:]
    stream = next(iter(running.streams))
    new = replace(changed(running, stream, source="rtsp://me:secret@camera/live", hop_s=0.2), outputs=outputs)
    preview = store_of(context, path).preview(new)
    assert preview.diff == (
        '- source = "set.flac"  # the warm-up\n'
        "- hop = 0.5\n"
        '- channels = "1"\n'
        '- osc = ["resolume", "eos@192.168.1.5"]\n'
        '+ source = "rtsp://***@camera/live"  # the warm-up\n'
        "+ hop = 0.2\n"
        '+ osc = "eos@192.168.1.5"\n'
    )
    store_of(context, path).save(new)
    text = path.read_text(encoding="utf-8")
    assert "me:secret@camera" in text
    assert text.startswith("# The show.\n")
    assert text.endswith("[tag]\nhop = 1\n")
    assert snapshot_of(start(path)).outputs == outputs


def test_a_file_beside_the_settings_stays_relative_and_another_one_becomes_absolute(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = folder / "show.toml"
    path.write_text('[serve]\nsource = "set.flac"\n', encoding="utf-8")
    for place in (folder, tmp_path):
        (place / "set.flac").touch()
    context = start(path)
    running = snapshot_of(context)
    assert store_of(context, path).preview(running).diff == ""
    stream = next(iter(running.streams))
    diff = store_of(context, path).preview(changed(running, stream, source="set.flac")).diff
    assert diff.endswith(f'+ source = "{tmp_path / "set.flac"}"\n')
    monkeypatch.chdir(folder)


def test_names_that_were_given_are_kept(tmp_path) -> None:
    path = tmp_path / "show.toml"
    context = start(None, "--source", "A=demo", "--source", "B=mic", "--osc", "B=resolume")
    running = snapshot_of(context)
    store = store_of(context, path)
    store.save(changed(running, "B", source="monitor"))
    again = snapshot_of(start(path))
    assert {name: one.source for name, one in again.streams.items()} == {"A": "demo", "B": "monitor"}
    assert again.outputs == (OutputSettings(kind="osc", spec="resolume", stream="B"),)


def test_what_differs_between_streams_is_not_saved_but_told(tmp_path) -> None:
    context = start(None, "--source", "A=demo", "--source", "B=mic")
    running = changed(snapshot_of(context), "B", hop_s=0.2)
    preview = store_of(context, tmp_path / "show.toml").preview(running)
    assert "hop" not in preview.diff
    assert any(note.startswith("hop differs") for note in preview.notes)


def test_what_overrides_the_file_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STREAM_MER_SERVE_DWELL", "3")
    context = start(None, "--hop", "1")
    running = snapshot_of(context)
    stream = next(iter(running.streams))
    store = store_of(context, tmp_path / "show.toml")
    assert store.preview(running).notes == ()
    new = changed(running, stream, hop_s=0.2, smoothing=replace(running.streams[stream].smoothing, dwell_s=1.0))
    notes = store.preview(new).notes
    assert [note.split()[0] for note in notes] == ["--hop", "STREAM_MER_SERVE_DWELL"]


def test_a_threshold_of_accuracy_is_left_until_the_confidence_changes(tmp_path) -> None:
    path = tmp_path / "show.toml"
    path.write_text("[serve]\nmin-accuracy = 0.7\n", encoding="utf-8")
    context = start(path)
    running = snapshot_of(context)
    store = store_of(context, path)
    assert store.preview(running).diff == ""
    stream = next(iter(running.streams))
    new = changed(running, stream, smoothing=replace(running.streams[stream].smoothing, min_confidence=0.6))
    assert store.preview(new).diff == "- min-accuracy = 0.7\n+ min-confidence = 0.6\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [("[serve\n", "no TOML"), ("serve.hop = 1\n", "by hand"), ('[serve]\nhop = "fast"\n', "hop must be a number")],
)
def test_a_file_that_cannot_be_changed_says_why(tmp_path, text, why) -> None:
    path = tmp_path / "show.toml"
    context = start(None)
    path.write_text(text, encoding="utf-8")
    running = snapshot_of(context)
    store = store_of(context, path)
    with pytest.raises(SettingError, match=f"show.toml.*{why}"):
        store.save(changed(running, next(iter(running.streams)), hop_s=0.2))
    assert path.read_text(encoding="utf-8") == text


def test_a_place_that_cannot_be_written_says_why(tmp_path) -> None:
    (tmp_path / "taken").touch()
    context = start(None)
    running = snapshot_of(context)
    store = store_of(context, tmp_path / "taken" / "config.toml")
    with pytest.raises(SettingError, match="cannot"):
        store.save(changed(running, next(iter(running.streams)), hop_s=0.2))
