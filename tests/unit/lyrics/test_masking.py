"""Words of a list are masked where an audience reads them, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.config import MaskSettings
from stream_mer.errors import SettingError
from stream_mer.lyrics.masking import MaskingSink, WordMask, masked_text, open_mask
from stream_mer.types import LyricLine, LyricWord, StreamEvent


def own(tmp_path: Path, text: str, *more: str) -> WordMask:
    path = tmp_path / "words.txt"
    path.write_text(text, encoding="utf-8")
    mask = open_mask(MaskSettings(words=(str(path), *more)))
    assert mask is not None
    return mask


@pytest.mark.parametrize(
    ("text", "language", "masked"),
    [
        ("what the fuck is this", "en", "what the f*** is this"),
        ("Motherfuckers, all of you", "en", "M************, all of you"),
        ("WHORES and bitches", "en", "W***** and b******"),
        ("get your ass in the class", "", "get your a** in the class"),
        ("all my women, sexy girls", "en", None),
        ("Scunthorpe, cocktail, butter, spicy, cumin", "en", None),
        ("putain, ma bite", "fr", "p*****, ma b***"),
        ("take a bite", "en", None),
        ("fuck, das ist dick", "de", "f***, das ist dick"),
        ("det är slut", "sv", None),
        ("くそったれの馬鹿", "ja", None),
        ("", "en", None),
    ],
)
def test_the_default_list_goes_by_the_language_and_takes_whole_words(text: str, language: str, masked: str) -> None:
    mask = open_mask(MaskSettings())
    assert mask is not None
    assert mask.mask(text, language) == masked


def test_where_words_have_no_spaces_between_them_they_are_found_anywhere() -> None:
    mask = WordMask(lambda language: ("糞",) if language == "ja" else ())
    assert mask.mask("この糞野郎", "ja") == "この*野郎"
    two = WordMask(lambda language: ("野郎",) if language == "ja" else ())
    assert two.mask("この糞野郎が", "ja") == "この糞野*が"


def test_a_list_of_ones_own_counts_in_every_language_with_endings_and_exceptions(tmp_path: Path) -> None:
    mask = own(tmp_path, "# ours\nwine\nlove me\nparty*\n\n")
    assert mask.mask("Wine and wines, winery", "en") == "W*** and w****, winery"
    assert mask.mask("LOVE  me, partying", "ja") == "L***  **, p*******"
    assert mask.mask("what the fuck") is None
    both = own(tmp_path, "wine\n-ass\n", "default")
    assert both.mask("wine, fuck, ass", "en") == "w***, f***, ass"


def test_sharp_s_and_accents_are_found_however_they_are_written(tmp_path: Path) -> None:
    mask = own(tmp_path, "Scheiße\ncaf\u00e9\nne\u0301e\n")
    assert mask.mask("so eine Scheiße, SCHEISSE", "de") == "so eine S******, S*******"
    assert mask.mask("caf\u00e9, caf\u00e9s", "fr") == "c***, c****"
    assert mask.mask("ma cafe\u0301", "fr") == "ma c***\u0301"
    assert mask.mask("n\u00e9e", "fr") == "n**"
    kept = own(tmp_path, "Scheiße\n-SCHEIßE\nx\n")
    assert kept.mask("Scheiße", "de") is None


@given(st.text(), st.lists(st.text(min_size=1, max_size=5), max_size=4))
def test_no_text_and_no_list_breaks_it_and_the_length_stays(text: str, words: list[str]) -> None:
    masked = WordMask(lambda _: words).mask(text)
    if masked is not None:
        assert len(masked.encode("utf-16-le", "surrogatepass")) == len(text.encode("utf-16-le", "surrogatepass"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the list of words"),
        (b"# nothing\n", "holds no word"),
        (b"\xff\xfe\xff", "not in UTF-8"),
        (b"*\n", "is no word"),
    ],
)
def test_a_list_that_cannot_be_used_is_an_error_that_says_why(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=message):
        open_mask(MaskSettings(words=(str(path),)))


def test_off_masks_nothing() -> None:
    assert open_mask(MaskSettings(words=())) is None


LINE = LyricLine(
    segment=0,
    revision=0,
    t0=0.0,
    t1=1.0,
    text="oh shit, no",
    committed=True,
    language="en",
    words=tuple(LyricWord(t0=0.0, t1=1.0, text=text) for text in ("oh", "shit,", "no")),
    settled_words=3,
)


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_sink_gets_the_words_unless_they_are_masked_everywhere(*, everywhere: bool) -> None:
    class Kept:
        def __init__(self) -> None:
            self.events: list[StreamEvent] = []

        def publish(self, event: StreamEvent) -> None:
            self.events.append(event)

    kept, mask = Kept(), open_mask(MaskSettings())
    assert mask is not None
    MaskingSink(kept, mask, everywhere=everywhere).publish(LINE)
    (line,) = kept.events
    assert isinstance(line, LyricLine)
    if everywhere:
        assert (line.text, [word.text for word in line.words], line.masked) == (
            "oh s***, no",
            ["oh", "s***,", "no"],
            None,
        )
    else:
        assert (line.text, line.words, line.masked) == (LINE.text, LINE.words, "oh s***, no")
        assert masked_text(line).text == "oh s***, no"
