"""docs/OSC.md tells what the code does."""

import re
from pathlib import Path

from stream_mer.outputs.osc.targets import find_target
from tools.docgen.osc import PAGE

DOC = Path(__file__).parents[4] / PAGE.page


def test_the_tables_are_those_of_the_code():
    text = DOC.read_text(encoding="utf-8")
    assert PAGE.refresh(text) == text, "run: python -m tools.docgen"


def test_the_mappings_shown_can_be_used(tmp_path):
    path = tmp_path / "show.toml"
    places = []
    for shown in re.findall(r"```toml\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL):
        path.write_text(shown, encoding="utf-8")
        target = find_target(str(path))
        places.append((target.place, len(target.mapping.sent)))
    assert places == [("udp://192.168.1.20:7000", 5), ("tcp://127.0.0.1:3032", 4), ("udp://127.0.0.1:8000", 2)]
