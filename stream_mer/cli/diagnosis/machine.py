"""Checks of the machine around stream_mer: its Python, its sound, its port, its disk."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from stream_mer.cli.diagnosis.finding import Finding, fail, ok, warn
from stream_mer.errors import DeviceError
from stream_mer.lyrics.whisper import cache_folder
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import PULSE_DEVICE, list_devices, open_monitor
from stream_mer.version import __version__

PACKAGES = ("torch", "torchaudio", "numpy", "faster-whisper", "websockets", "av", "soxr", "pyaudio")
NEEDED_MIB = 300
"""What the recogniser's weights take in the cache, with room to spare."""

OTHER_INPUTS = "files, network addresses, --source remote and raw PCM on stdin work without it"


def versions() -> Finding:
    """Python, the platform and the packages."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return ok(f"stream_mer {__version__}, {where}; {', '.join(found)}")


def microphones() -> Finding:
    """The sound inputs of this machine."""
    if importlib.util.find_spec("pyaudio") is None:
        return warn(
            f"PyAudio is not installed, so no microphone can be heard; {OTHER_INPUTS}",
            "pip install 'stream-mer[mic]' (on Linux first: apt-get install portaudio19-dev)",
        )
    return judge_devices(list_devices())


def judge_devices(devices: Sequence[InputDevice]) -> Finding:
    """What the list of devices says."""
    if not devices:
        return warn(
            f"there is no sound input; {OTHER_INPUTS}",
            "plug one in, or start the sound server (PulseAudio, PipeWire), then: stream-mer devices",
        )
    default = next((device.name for device in devices if device.is_default), None)
    told = f"the default is {default!r}" if default else "none is the default, so choose one by its name"
    return ok(f"{len(devices)} sound inputs; {told}")


def loopback() -> Finding:
    """Whether what this machine itself plays can be heard."""
    if importlib.util.find_spec("pyaudio") is None:
        return warn("--source monitor wants PyAudio too", "see above")
    try:
        source = open_monitor()
    except DeviceError as error:
        what, _, advice = str(error).partition(": ")
        return warn(what, advice)
    way = "the sound server's monitor" if source.device.name == PULSE_DEVICE else repr(source.device.name)
    return ok(f"--source monitor hears what this machine plays, through {way}")


def port(host: str, number: int) -> Finding:
    """Whether the server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # there it would mean something else
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            return _taken(host, number, error.strerror or str(error))
    return ok(f"{host}:{number} is free")


def _taken(host: str, number: int, reason: str) -> Finding:
    name = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{name}:{number}/", timeout=3) as answer:
            ours = b"stream_mer" in answer.read(65_536)
    except (OSError, urllib.error.URLError, ValueError):
        ours = False
    if ours:
        return warn(f"a stream_mer server runs at {host}:{number} already", "use it, or give the new one --port")
    return fail(
        f"{host}:{number} cannot be had ({reason})", f"choose another one: stream-mer serve --port {number + 1}"
    )


def cache() -> Finding:
    """Whether weights can be kept."""
    return judge_cache(cache_folder())


def judge_cache(folder: Path) -> Finding:
    """Whether a folder can be made and written, and has room."""
    probe = folder / ".diagnose"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return fail(
            f"{folder} cannot be written ({error.strerror or error})",
            "set STREAM_MER_CACHE to a folder that can; the recogniser's weights are kept there",
        )
    free_mib = shutil.disk_usage(folder).free // 2**20
    if free_mib < NEEDED_MIB:
        return warn(
            f"{folder} has only {free_mib} MiB left", f"make room there: {NEEDED_MIB} MiB, or set STREAM_MER_CACHE"
        )
    return ok(f"{folder} can be written, {free_mib / 1024:.1f} GiB free")
