"""Generated parts of the documentation are those of the code, and what the pages show can be used."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from stream_mer.outputs import safety
from stream_mer.outputs.dmx.rig import ABOUT, TABLES, Fixture, Rig, Safety, rig_of
from stream_mer.outputs.osc.targets import find_target
from tools.docgen import DMX, OSC, PAGES, ROOT, about_attributes, main


def text_of(page):
    return (ROOT / page.page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page.page).stem)
def test_the_generated_part_is_that_of_the_code(page):
    assert page.refresh(text_of(page)) == text_of(page), "run: python -m tools.docgen"


def test_a_page_out_of_date_is_found_and_written(tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    for page in PAGES:
        shutil.copy(ROOT / page.page, tmp_path / page.page)
    protocol = tmp_path / PAGES[0].page
    protocol.write_text(protocol.read_text(encoding="utf-8").replace("valence", "valance"), encoding="utf-8")
    assert main(["--check"], tmp_path) == 1
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    assert PAGES[0].page in capsys.readouterr().out


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="marks"):
        PAGES[0].refresh("# nothing here")


def test_the_osc_mappings_shown_can_be_used(tmp_path):
    path = tmp_path / "show.toml"
    places = []
    for shown in re.findall(r"```toml\n(.*?)```", text_of(OSC), re.DOTALL):
        path.write_text(shown, encoding="utf-8")
        target = find_target(str(path))
        places.append((target.place, len(target.mapping.sent)))
    assert places == [("udp://192.168.1.20:7000", 5), ("tcp://127.0.0.1:3032", 4), ("udp://127.0.0.1:8000", 2)]


@pytest.mark.parametrize("kind", [Rig, Fixture, *TABLES.values()])
def test_every_key_of_a_rig_is_described(kind):
    assert about_attributes(kind).keys() == set(kind.__struct_fields__)


def test_the_rig_shown_can_be_used():
    (shown,) = re.findall(r"```toml\n(.*?)```", text_of(DMX), re.DOTALL)
    rig = rig_of(tomllib.loads(shown), name="shown")
    assert rig.fixtures[0].count == 4


def test_the_dmx_presets_and_numbers_are_those_of_the_code():
    text = text_of(DMX)
    for name, about in ABOUT.items():
        assert f"| `{name}` | {about} |" in text
    words = " ".join(text.split())
    general = f"at most {safety.GENERAL_CHANGES} opposing changes, a flash and a half, in any {safety.WINDOW_S} s"
    assert f"{general}; of red at most {safety.RED_CHANGES}, one flash" in words
    assert f"dark in `blackout_s` ({Safety().blackout_s} s)" in text
