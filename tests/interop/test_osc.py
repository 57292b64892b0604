"""OSC out and in, with liblo's programs and with Pure Data."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import free_port, wait_for
from interop.programs import Program, Serve, need

NUMBERS = ["valence", "arousal", "confidence", "rms", "peak", "onset", "blackout", "alive"]
FLOATS = [*NUMBERS, "happy", "angry", "sad", "relaxed", "C1", "C2", "C3", "C4", "C5"]
INTEGERS = ["category", "hold"]
TEXTS = ["category_name", "hold_name"]


def newest(text: str, address: str) -> tuple[str, str] | None:
    """The types and values of the last message to an address that oscdump printed."""
    lines = re.findall(rf"^\S+ {re.escape(address)} (\S+) (.*)$", text, re.MULTILINE)
    return lines[-1] if lines else None


def number(text: str, address: str) -> float | None:
    found = newest(text, address)
    return float(found[1]) if found else None


@pytest.mark.parametrize("transport", ["udp", "tcp", "slip"])
def test_liblo_gets_every_field_and_is_obeyed(
    start: Callable[..., Program], serve: Callable[..., Serve], transport: str
) -> None:
    need("liblo-tools", "oscdump", "oscsend")
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    port, port_in = free_port(kind), free_port(socket.SOCK_DGRAM)
    dump = start("oscdump", ["oscdump", "-L", f"osc.{'udp' if transport == 'udp' else 'tcp'}://:{port}"])
    serve("--osc", f"{transport}://127.0.0.1:{port}", "--osc-in", str(port_in))

    for names, types in ((FLOATS, "f"), (INTEGERS, "i"), (TEXTS, "s")):
        for name in names:
            dump.find(rf" /mer/demo/{name} {types} ")
    wait_for(lambda: number(dump.text(), "/mer/demo/alive") == 1, "music")

    subprocess.run(
        ["oscsend", "127.0.0.1", str(port_in), "/mer/control/override", "ff", "0.75", "-0.5"], check=True, timeout=10
    )
    wait_for(lambda: newest(dump.text(), "/mer/demo/hold_name") == ("s", '"override"'), "override")
    wait_for(lambda: number(dump.text(), "/mer/demo/valence") == 0.75, "valence that was sent")
    wait_for(lambda: number(dump.text(), "/mer/demo/arousal") == -0.5, "arousal that was sent")
    bundle = ["oscsend", "127.0.0.1", str(port_in), "/mer/demo/control/blackout", "i", "1"]
    subprocess.run(bundle, check=True, timeout=10)
    wait_for(lambda: number(dump.text(), "/mer/demo/blackout") == 1, "blackout")
    subprocess.run([*bundle[:3], "/mer/demo/control/resume"], check=True, timeout=10)
    wait_for(lambda: newest(dump.text(), "/mer/demo/hold_name") == ("s", '"none"'), "resume")


PATCH = """\
#N canvas 0 0 600 400 12;
#X obj 10 10 netreceive -u -b {port};
#X obj 10 40 oscparse;
#X obj 10 70 list trim;
#X obj 10 100 print got;
#X obj 200 100 route mer;
#X obj 200 130 route demo;
#X obj 200 160 route alive;
#X obj 200 190 sel 1;
#X msg 200 250 0.75 -0.5;
#X obj 200 280 oscformat mer control override;
#X obj 200 310 list prepend send;
#X obj 200 340 list trim;
#X obj 200 370 netsend -u -b;
#X obj 400 10 loadbang;
#X msg 400 40 connect 127.0.0.1 {port_in};
#X connect 0 0 1 0;
#X connect 1 0 2 0;
#X connect 2 0 3 0;
#X connect 2 0 4 0;
#X connect 4 0 5 0;
#X connect 5 0 6 0;
#X connect 6 0 7 0;
#X connect 7 0 8 0;
#X connect 8 0 9 0;
#X connect 9 0 10 0;
#X connect 10 0 11 0;
#X connect 11 0 12 0;
#X connect 13 0 14 0;
#X connect 14 0 12 0;
"""


def test_pure_data_hears_the_music_and_overrides_it(
    start: Callable[..., Program], serve: Callable[..., Serve], home: Path
) -> None:
    need("puredata-core", "pd")
    port, port_in = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    patch = home / "mer.pd"
    patch.write_text(PATCH.format(port=port, port_in=port_in))
    pd = start("pd", ["pd", "-nogui", "-noaudio", "-nomidi", "-stderr", "-noprefs", str(patch)])
    serve("--osc", f"127.0.0.1:{port}", "--osc-in", str(port_in))
    for name in FLOATS + INTEGERS + TEXTS:
        pd.find(rf"got: mer demo {name} \S+")
    # The patch sends its override when the music is there.
    pd.find(r"got: mer demo hold_name override")
    pd.find(r"got: mer demo valence 0\.75\s")
    pd.find(r"got: mer demo arousal -0\.5\s")
