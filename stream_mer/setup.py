"""Set-up of a running server: what operators change of streams, outputs and settings, and how it is undone and saved.

``ServeSetup`` is the one place that knows all of it. The server passes it the requests of operators (``SetupHandler``),
the runner its pipelines and outputs, the command line what was given and where settings are kept. What is set up is a
``Snapshot``: plain values, which can be compared, gone back to, and saved. Requests that take time run in threads, one
change at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import UNSET

from stream_mer.config import (
    LANGUAGES,
    LyricsSettings,
    OutputSettings,
    Snapshot,
    StreamSettings,
    WindowSettings,
)
from stream_mer.errors import ServeError, SettingError, did_you_mean
from stream_mer.outputs.catalogue import OUTPUT_KINDS, open_output
from stream_mer.outputs.runner import ShowOutput, ShowRunner
from stream_mer.pipeline import Pipeline, Reopener
from stream_mer.ports import AudioSource, EmotionStream, EventHub, LyricFeed
from stream_mer.server import messages as wire
from stream_mer.server.server import Server
from stream_mer.server.setup import SetupClient
from stream_mer.server.setup_messages import RANGES
from stream_mer.sources.catalogue import open_source
from stream_mer.sources.file import set_chunker
from stream_mer.sources.inputs import Input, InputMeters, MeterReading, kind_of_source, list_inputs
from stream_mer.sources.microphone import MicrophoneSource
from stream_mer.sources.remote import RemoteSource
from stream_mer.sources.switchable import SwitchableSource
from stream_mer.types import InputLevels, StreamEvent
from stream_mer.utils.qr_code import qr_svg
from stream_mer.utils.sanitise import redact_argument
from stream_mer.utils.threads import in_thread

if TYPE_CHECKING:  # it loads the libraries of the models
    from stream_mer.engine import Engine

log = logging.getLogger(__name__)

MAX_UNDO = 100
MAX_OUTPUTS = 64
"""Outputs that operators can add up to; each has a thread and a connection."""

LEVELS_EVERY_S = 0.2
OUTPUTS_EVERY_S = 1.0
INPUTS_KEPT_S = 10.0
"""Inputs are listed anew for ``watch_inputs`` after this time."""

T = TypeVar("T")


class SettingsStore(Protocol):
    """Where a set-up is kept."""

    @property
    def path(self) -> str:
        """Name of the file."""

    def preview(self, snapshot: Snapshot) -> wire.PreviewPart:
        """Return what saving would change.

        Raises:
            SettingError: The file cannot be read or changed.
        """

    def save(self, snapshot: Snapshot) -> None:
        """Write the set-up to the file; what else is in it stays.

        Raises:
            SettingError: The file cannot be changed.
        """


class LiveStream(Reopener):
    """A running stream, of which everything can be changed.

    Args:
        engine: Opens what it needs anew.
        source: Its audio.
        settings: What it runs with.
    """

    pipeline: Pipeline

    def __init__(self, engine: Engine, source: SwitchableSource, settings: StreamSettings) -> None:
        self._engine = engine
        self.source = source
        self.settings = settings

    def emotion(self) -> EmotionStream:
        """Implement ``Reopener``."""
        return self._engine.open_emotion()

    def lyrics(self) -> LyricFeed:
        """Implement ``Reopener``."""
        return self._open_lyrics(self.settings)

    def change(self, new: StreamSettings, *, again: bool = False) -> None:
        """Make the stream run with these settings. A source that cannot be opened changes nothing.

        Args:
            new: The settings.
            again: Open a source that has ended again.

        Raises:
            SettingError: There is no such source.
            SourceError: The source cannot be opened.
        """
        old = self.settings
        # All that may fail comes first, so that a failure changes nothing.
        others = new.lyrics != old.lyrics or (new.lyrics == "recognise" and new.languages != old.languages)
        lyrics = self._open_lyrics(new) if others else None
        try:
            if not new.opens_like(old) or (again and self.source.has_ended):
                self._switch(new)
        except BaseException:
            if lyrics is not None:
                lyrics.close()
            raise
        if lyrics is not None:
            self.pipeline.set_lyrics(lyrics)
        if (new.hop_s, new.lyrics) != (old.hop_s, old.lyrics):
            from stream_mer.engine import chunker  # noqa: PLC0415 - loads the models' runtime, which runs already

            hop_samples = WindowSettings(hop_s=new.hop_s).hop_samples
            set_chunker(self.source, chunker(hop_samples=hop_samples, recognises=new.lyrics == "recognise"))
            self.pipeline.set_hop(hop_samples)
        if new.smoothing != old.smoothing:
            self.pipeline.set_smoothing(new.smoothing)
        self.settings = new

    def _switch(self, new: StreamSettings) -> None:
        if new.source == "-":
            raise SettingError("standard input can be listened to from the start only: give --source - to serve")
        self.source.switch(lambda: open_source(new.source, **new.source_options()))

    def _open_lyrics(self, settings: StreamSettings) -> LyricFeed:
        return self._engine.open_lyrics(settings.lyrics, settings.languages)


def changed(settings: StreamSettings, changes: wire.SetupChanges) -> StreamSettings:
    """Return settings with changes.

    Raises:
        SettingError: A value is out of range.
    """
    given: dict[str, Any] = {name: getattr(changes, name) for name in changes.__struct_fields__}
    given = {name: value for name, value in given.items() if value is not UNSET}
    if "languages" in given:
        given["languages"] = tuple(dict.fromkeys(given["languages"]))
    if given.get("source") == redact_argument(settings.source):  # as it was shown
        given["source"] = settings.source
    if not str(given.get("source", "-")).strip():
        raise SettingError("the source is empty; choose one")
    if given.get("source", settings.source) != settings.source:
        given = {"channels": None, "gain_db": None, "track": None} | given
        if settings.lyrics == "known":  # its lyrics file is that of the former source
            given = {"lyrics": "recognise"} | given
    LyricsSettings(languages=tuple(given.get("languages", ())))
    names = {"attack_s": "attack_s", "release_s": "release_s", "dwell_s": "dwell_s", "hysteresis": "margin"}
    names["min_confidence"] = "min_confidence"
    smoothing: dict[str, Any] = {field: given.pop(name) for name, field in names.items() if name in given}
    return replace(settings, smoothing=replace(settings.smoothing, **smoothing), **given)


class _Output:
    """A running output."""

    def __init__(self, output_id: str, settings: OutputSettings, output: ShowOutput) -> None:
        self.id = output_id
        self.settings = settings
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """What the runner has started."""

    hub: EventHub
    show: ShowRunner
    server: Server
    inlets: dict[str, RemoteSource]


class ServeSetup:
    """Implements ``server.setup.SetupHandler`` for streams that this process computes.

    Args:
        snapshot: What was given at the start; streams by name.
        outputs: The outputs of ``snapshot``, in the same order.
        store: Where the set-up is saved; None where it cannot be.
        first_start: Whether nothing was ever set up.
        inputs: Lists what can be listened to.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        outputs: Sequence[ShowOutput] = (),
        *,
        store: SettingsStore | None = None,
        first_start: bool = False,
        inputs: Callable[[], tuple[list[Input], str]] = list_inputs,
    ) -> None:
        self._initial = snapshot
        self._streams: dict[str, LiveStream] = {}
        self._numbers = itertools.count(1)
        self._outputs = [self._numbered(one, output) for one, output in zip(snapshot.outputs, outputs, strict=True)]
        self._store = store
        self._first_start = first_start
        self._saved = snapshot
        self._undo: list[Snapshot] = []
        self._running: _Running | None = None
        self._changing = threading.Lock()
        self._watcher = InputWatcher(inputs, self._sources_in_use)
        self._clients: set[SetupClient] = set()
        self._health_task: asyncio.Task[None] | None = None

    # The runner's side

    def build(
        self,
        engine: Engine,
        name: str,
        source: AudioSource,
        *,
        build: Callable[[AudioSource, Reopener | None], Pipeline],
    ) -> Pipeline:
        """Build a stream that can be changed.

        Args:
            engine: The models.
            name: Name of the stream.
            source: Its first source.
            build: Builds the pipeline for a source and a reopener.
        """
        settings = self._initial.streams[name]
        reopen = None if settings.source == "-" else lambda: open_source(settings.source, **settings.source_options())
        stream = LiveStream(engine, SwitchableSource(source, reopen=reopen), settings)
        stream.pipeline = build(stream.source, stream)
        self._streams[name] = stream
        return stream.pipeline

    def bind(self, *, hub: EventHub, show: ShowRunner, server: Server, inlets: dict[str, RemoteSource]) -> None:
        """Begin to take requests, once everything runs."""
        self._running = _Running(hub=hub, show=show, server=server, inlets=inlets)
        self._watcher.hub = hub

    # Requests

    async def handle(self, request: wire.Setup, client: SetupClient) -> wire.SetupPart | None:
        """Implement ``SetupHandler``."""
        running = self._require_running()
        match request.action:
            case "get":
                self._follow(client)
            case "inputs":
                inputs, note = await in_thread(self._watcher.list, name="list inputs")
                return wire.SetupPart(inputs=tuple(map(self._watcher.part, inputs)), note=note or None)
            case "watch_inputs":
                await self._watcher.watch(client, request.seconds)
                return None
            case "preview":
                return wire.SetupPart(preview=await in_thread(self._preview, name="preview"))
            case "test_output":
                running.show.test(self._output(request).output)
                self._tell_outputs()
            case _:
                # A client that leaves meanwhile stops nothing, and the others get the new state.
                await asyncio.shield(asyncio.ensure_future(self._change_and_tell(request)))
        return wire.SetupPart(state=await in_thread(self.state, name="state"))

    def leave(self, client: SetupClient) -> None:
        """Implement ``SetupHandler``."""
        self._clients.discard(client)
        self._watcher.leave(client)
        if not self._clients and self._health_task is not None:
            self._health_task.cancel()
            self._health_task = None

    def state(self) -> wire.SetupStatePart:
        """Return what is set up; from any thread."""
        running = self._require_running()
        addresses = running.server.network_urls()
        return wire.SetupStatePart(
            can_save=self._store is not None,
            path=None if self._store is None else self._store.path,
            dirty=self.snapshot() != self._saved,
            can_undo=bool(self._undo),
            streams=tuple(_stream_part(name, stream) for name, stream in self._streams.items()),
            ranges=RANGES,
            languages=LANGUAGES,
            output_kinds=tuple(
                wire.OutputKindPart(kind=one.kind, title=one.title, presets=tuple(one.presets()), hint=one.hint)
                for one in OUTPUT_KINDS.values()
            ),
            outputs=self._output_parts(),
            addresses=addresses,
            qr_svg=qr_svg(addresses[0]) if addresses else None,
            first_start=self._first_start,
        )

    def snapshot(self) -> Snapshot:
        """Return what is set up, to compare it or to go back to it."""
        return Snapshot(
            streams={name: stream.settings for name, stream in self._streams.items()},
            outputs=tuple(one.settings for one in self._outputs),
        )

    async def _change_and_tell(self, request: wire.Setup) -> None:
        await in_thread(lambda: self._change(request), name=f"setup {request.action}")
        self._tell_state()

    # Changes, in threads

    def _change(self, request: wire.Setup) -> None:
        """Carry out a request that changes something; one at a time."""
        with self._changing:
            match request.action:
                case "apply":
                    self._remembering(lambda: self._apply(request))
                case "add_output":
                    self._require_room()
                    self._remembering(lambda: self._add_output(_new_output(request)))
                case "remove_output":
                    self._remembering(lambda: self._remove_output(self._output(request)))
                case "save":
                    self._save()
                case "undo":
                    self._restore()
                case _:
                    raise SettingError(f"{request.action} is no request that can be carried out")
        self._first_start = False

    def _remembering(self, change: Callable[[], None]) -> None:
        """Change something, and keep what was before."""
        before = self.snapshot()
        change()
        if self.snapshot() != before:
            self._undo = [*self._undo, before][-MAX_UNDO:]

    def _apply(self, request: wire.Setup) -> None:
        name = self._stream_name(request.stream)
        if request.changes is None:
            raise SettingError('there are no changes: give some, such as "changes":{"hop_s":0.25}')
        new = changed(self._streams[name].settings, request.changes)
        self._change_stream(name, new, again=request.changes.source is not UNSET)

    def _change_stream(self, name: str, new: StreamSettings, *, again: bool = False) -> None:
        running, stream = self._require_running(), self._streams[name]
        old = stream.settings
        stream.change(new, again=again)
        current = stream.source.current
        if isinstance(current, RemoteSource):
            running.inlets[name] = current
        else:
            running.inlets.pop(name, None)
        if new.spread != old.spread:
            running.show.set_spread(name, spread=new.spread)
        if new.hop_s != old.hop_s:
            running.server.set_hop(max(one.settings.hop_s for one in self._streams.values()))

    def _add_output(self, settings: OutputSettings) -> None:
        running = self._require_running()
        stream = self._stream_name(settings.stream or next(iter(self._streams)))
        added = self._numbered(settings, open_output(settings.kind, settings.spec, stream))
        running.show.add(added.output, spread=self._streams[stream].settings.spread)
        self._outputs.append(added)

    def _remove_output(self, gone: _Output) -> None:
        self._require_running().show.remove(gone.output)
        self._outputs = [one for one in self._outputs if one is not gone]

    def _restore(self) -> None:
        if not self._undo:
            raise SettingError("there is nothing to undo")
        wanted = self._undo[-1]
        left = list(wanted.outputs)
        for one in list(self._outputs):
            if one.settings in left:
                left.remove(one.settings)
            else:
                self._remove_output(one)
        for name, settings in wanted.streams.items():
            if self._streams[name].settings != settings:
                self._change_stream(name, settings)
        for output in left:
            self._add_output(output)
        self._undo.pop()

    def _save(self) -> None:
        snapshot = self.snapshot()
        self._require_store().save(snapshot)
        self._saved = snapshot

    def _preview(self) -> wire.PreviewPart:
        with self._changing:
            return self._require_store().preview(self.snapshot())

    # What operators get

    def _follow(self, client: SetupClient) -> None:
        self._clients.add(client)
        if self._health_task is None:
            self._health_task = asyncio.get_running_loop().create_task(self._tell_health())

    async def _tell_health(self) -> None:
        """Send the outputs while their counts change."""
        last = self._output_parts()
        while True:
            await asyncio.sleep(OUTPUTS_EVERY_S)
            parts = self._output_parts()
            if parts != last:
                last = parts
                self._tell(wire.SetupUpdate(outputs=parts))

    def _tell_outputs(self) -> None:
        self._tell(wire.SetupUpdate(outputs=self._output_parts()))

    def _tell_state(self) -> None:
        if self._clients:
            self._tell(wire.SetupUpdate(state=self.state()))

    def _tell(self, update: wire.SetupUpdate) -> None:
        for client in self._clients:
            client.send(update)

    def _output_parts(self) -> tuple[wire.OutputPart, ...]:
        return tuple(map(self._output_part, list(self._outputs)))

    def _output_part(self, one: _Output) -> wire.OutputPart:
        statistics = self._require_running().show.statistics_of(one.output)
        return wire.OutputPart(
            id=one.id,
            kind=one.settings.kind,
            spec=redact_argument(one.settings.spec),
            name=statistics.name,
            stream=one.output.stream,
            up=statistics.up,
            sent=statistics.sent,
            refused=statistics.errors,
            skipped=statistics.skipped,
            last_error=statistics.last_error or None,
            testing=statistics.testing,
        )

    # What is named

    def _numbered(self, settings: OutputSettings, output: ShowOutput) -> _Output:
        return _Output(f"o{next(self._numbers)}", settings, output)

    def _output(self, request: wire.Setup) -> _Output:
        wanted = None if request.output is None else request.output.id
        for one in self._outputs:
            if one.id == wanted:
                return one
        raise SettingError(f"there is no output {wanted!r}; the state lists all")

    def _stream_name(self, wanted: str | None) -> str:
        if wanted is None and len(self._streams) == 1:
            return next(iter(self._streams))
        if wanted not in self._streams:
            shown = (wanted or "")[:80]
            raise SettingError(f"there is no stream {shown!r}{did_you_mean(shown, self._streams)}")
        return wanted

    def _sources_in_use(self) -> dict[str, tuple[str, AudioSource]]:
        """Return what each stream listens to, as it is typed, and the source itself."""
        return {name: (stream.settings.source, stream.source.current) for name, stream in self._streams.items()}

    def _require_running(self) -> _Running:
        if self._running is None:
            raise ServeError("the server is still starting; ask again")
        return self._running

    def _require_room(self) -> None:
        if len(self._outputs) >= MAX_OUTPUTS:
            raise SettingError(
                f"there are {len(self._outputs)} outputs, and {MAX_OUTPUTS} is the most: remove one first"
            )

    def _require_store(self) -> SettingsStore:
        if self._store is None:
            raise SettingError("no settings file is used: start without --config '' to save")
        return self._store


class InputWatcher:
    """Lists what can be listened to, and sends the level of each input to the clients that watch.

    Args:
        inputs: Lists the inputs.
        in_use: Returns what each stream listens to, by its name.
    """

    hub: EventHub

    def __init__(
        self,
        inputs: Callable[[], tuple[list[Input], str]],
        in_use: Callable[[], Mapping[str, tuple[str, AudioSource]]],
    ) -> None:
        self._list = inputs
        self._in_use = in_use
        self._inputs: list[Input] = []
        self._note = ""
        self._listed_at = float("-inf")
        self._meters = InputMeters()
        self._levels: dict[str, InputLevels] = {}
        self._watching: dict[SetupClient, float] = {}  # until when
        self._task: asyncio.Task[None] | None = None

    def list(self) -> tuple[list[Input], str]:
        """List the inputs anew, and what else streams listen to; takes about a second."""
        inputs, self._note = self._list()
        used = self._used(inputs)
        for stream, (spec, source) in self._in_use().items():
            if stream not in used:
                shown = redact_argument(spec)
                inputs = [*inputs, Input(source=shown, name=source.name, kind=kind_of_source(spec))]
        self._inputs, self._listed_at = inputs, time.monotonic()
        return inputs, self._note

    def part(self, one: Input) -> wire.InputPart:
        """Return an input as a message has it."""
        return wire.InputPart(
            source=one.source,
            name=one.name,
            kind=one.kind,
            channels=one.channels,
            default=one.is_default,
            in_use=one.source in self._used(self._inputs).values(),
        )

    async def watch(self, client: SetupClient, seconds: float) -> None:
        """Send levels to a client for some seconds from now on."""
        if seconds <= 0:
            self.leave(client)
            return
        if time.monotonic() - self._listed_at > INPUTS_KEPT_S:
            await in_thread(self.list, name="list inputs")
        self._watching[client] = time.monotonic() + seconds
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_levels())

    def leave(self, client: SetupClient) -> None:
        """Send a client no more levels; idempotent."""
        self._watching.pop(client, None)

    async def _send_levels(self) -> None:
        self.hub.subscribe(self._on_event, levels=True)
        try:
            while self._watching:
                now = time.monotonic()
                self._watching = {client: until for client, until in self._watching.items() if until > now}
                used = self._used(self._inputs)
                idle = [one for one in self._inputs if one.source not in used.values()]
                self._meters.watch(idle, 2 * LEVELS_EVERY_S + 1.0)
                await asyncio.sleep(LEVELS_EVERY_S)
                levels = self._level_parts(used)
                for client in self._watching:
                    client.send(wire.SetupUpdate(levels=levels))
        finally:
            self._task = None
            self.hub.unsubscribe(self._on_event)
            self._meters.stop()

    def _level_parts(self, used: Mapping[str, str]) -> tuple[wire.InputLevelPart, ...]:
        readings = dict(self._meters.readings())
        for stream, source in used.items():
            levels = self._levels.pop(stream, None)
            readings[source] = (
                MeterReading() if levels is None else MeterReading(rms_db=levels.rms_db, peak_db=levels.peak_db)
            )
        return tuple(
            wire.InputLevelPart(
                source=source,
                rms_db=None if reading.rms_db is None else round(reading.rms_db, 1),
                peak_db=None if reading.peak_db is None else round(reading.peak_db, 1),
                error=reading.error or None,
            )
            for source, reading in readings.items()
        )

    def _on_event(self, stream: str, event: StreamEvent) -> None:
        """Keep the loudest levels since the last look, in the publishing thread."""
        if isinstance(event, InputLevels):
            before = self._levels.get(stream)
            louder = event if before is None else replace(event, peak_db=max(before.peak_db, event.peak_db))
            self._levels[stream] = louder

    def _used(self, inputs: Sequence[Input]) -> dict[str, str]:
        """Return the input that each stream listens to, by the name of the stream."""
        used = {}
        for stream, (spec, source) in self._in_use().items():
            typed = redact_argument(spec)
            found = next((one.source for one in inputs if one.source == typed), None)
            if found is None and isinstance(source, MicrophoneSource):
                found = next((one.source for one in inputs if one.device == source.device), None)
            if found is not None:
                used[stream] = found
        return used


def _stream_part(name: str, stream: LiveStream) -> wire.StreamSetupPart:
    settings, smoothing = stream.settings, stream.settings.smoothing
    return wire.StreamSetupPart(
        name=name,
        source=redact_argument(settings.source),
        kind=kind_of_source(settings.source),
        device=stream.source.name,
        channels=settings.channels,
        gain_db=settings.gain_db,
        track=settings.track,
        loop=settings.loop,
        lyrics=settings.lyrics,
        languages=settings.languages,
        hop_s=settings.hop_s,
        attack_s=smoothing.attack_s,
        release_s=smoothing.release_s,
        dwell_s=smoothing.dwell_s,
        hysteresis=smoothing.margin,
        min_confidence=smoothing.min_confidence,
        spread=settings.spread,
    )


def _new_output(request: wire.Setup) -> OutputSettings:
    output = request.output
    if output is None or not output.kind or not (output.spec or "").strip():
        raise SettingError('an output has a kind and a spec, such as "output":{"kind":"osc","spec":"resolume"}')
    return OutputSettings(kind=output.kind, spec=str(output.spec).strip(), stream=output.stream or None)
