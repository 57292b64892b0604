"""docs/DMX.md tells what the code does."""

import re
import tomllib
from pathlib import Path

import pytest

from stream_mer.outputs import safety
from stream_mer.outputs.dmx.presets import ABOUT, TABLES, rig_of
from stream_mer.outputs.dmx.rig import Fixture, Rig, Safety
from tools.docgen.dmx import PAGE, about_attributes

TEXT = (Path(__file__).parents[4] / PAGE.page).read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_code():
    assert PAGE.refresh(TEXT) == TEXT, "run: python -m tools.docgen"


@pytest.mark.parametrize("kind", [Rig, Fixture, *TABLES.values()])
def test_every_key_is_told(kind):
    assert about_attributes(kind).keys() == set(kind.__struct_fields__)


def test_the_rig_shown_can_be_used():
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    rig = rig_of(tomllib.loads(shown), name="shown")
    assert rig.fixtures[0].count == 4


def test_the_presets_and_the_numbers_are_those_of_the_code():
    for name, about in ABOUT.items():
        assert f"| `{name}` | {about} |" in TEXT
    words = " ".join(TEXT.split())
    general = f"at most {safety.GENERAL_CHANGES} opposing changes, a flash and a half, in any {safety.WINDOW_S} s"
    assert f"{general}; of red at most {safety.RED_CHANGES}, one flash" in words
    assert f"dark in `blackout_s` ({Safety().blackout_s} s)" in TEXT
