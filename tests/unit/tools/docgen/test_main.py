"""Pages out of date are found and written."""

import shutil
from pathlib import Path

import pytest

from tools.docgen.__main__ import PAGES, main

ROOT = Path(__file__).parents[4]


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
