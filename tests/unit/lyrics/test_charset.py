from __future__ import annotations

import pytest

from stream_mer.errors import LyricsError, SettingError
from stream_mer.lyrics.charset import decode
from stream_mer.lyrics.text_features import surprise


def never(text: str) -> float:
    raise AssertionError(f"nothing was to be guessed, but {text!r} was")


def guessed(text: str, encoding: str) -> str:
    data = "".join(f"[00:{i:02d}.00]{row}\n" for i, row in enumerate(text.split("|"))).encode(encoding)
    found = decode(data, encoding=None, surprise=surprise)
    return "|".join(row[10:] for row in found.splitlines())


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("我爱你|再见", "gbk"),
        ("月亮代表我的心", "gbk"),
        ("我愛你|再見", "big5"),
        ("聽海哭的聲音", "big5"),
        ("さくら|愛してる", "shift_jis"),
        ("上を向いて歩こう|涙の数だけ強くなれるよ", "euc_jp"),
        ("愛してる", "iso2022_jp"),
        ("사랑해|안녕 내 사랑", "euc_kr"),
        ("Я тебя люблю|До свидания", "cp1251"),
        ("Расцветали яблони и груши", "koi8_r"),
        ("I don’t know – “love” costs 5 €…", "cp1252"),
        ("Café mañana", "latin-1"),
        ("Schöne Grüße", "cp1252"),
        ("Şarkı söyle|seni çok özledim, aşkım", "cp1254"),
        ("ฉันรักเธอ", "cp874"),
    ],
)
def test_words_in_old_encodings_are_read(text: str, encoding: str) -> None:
    assert guessed(text, encoding) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Příliš žluťoučký kůň", "cp1250"),
        ("Źle mi bez ciebie", "cp1250"),
        ("szerelmem, őrült vagyok, gyűlöllek", "cp1250"),
        ("σε αγαπώ πολύ", "cp1253"),
        ("אני אוהב אותך|שלום", "cp1255"),
        ("Aš tave myliu, žvaigždė", "cp1257"),
        ("再见", "gbk"),
    ],
)
def test_words_that_may_be_others_are_refused_with_what_they_may_be(text: str, encoding: str) -> None:
    with pytest.raises(LyricsError, match=r"ambiguous: name it with --lyrics-encoding, such as \w+ \("):
        guessed(text, encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["[00:01.00]plain words\n", "[00:01.00]我愛你 \U0001f3b5 Привет\r\n"])
def test_what_tells_its_encoding_is_not_guessed(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), encoding=None, surprise=never) == text


def test_a_mark_of_big_endian_utf_16_is_heeded() -> None:
    assert decode(b"\xfe\xff" + "愛\n".encode("utf-16-be"), encoding=None, surprise=never) == "愛\n"


def test_a_named_encoding_is_believed_and_checked() -> None:
    assert decode("再见".encode("gbk"), encoding="GBK", surprise=never) == "再见"
    with pytest.raises(LyricsError, match=r"^is not a text file in euc-kr \(byte 1\); name its encoding"):
        decode(b"\xff\xff", encoding="euc-kr", surprise=never)
    for name in ("klingon", "rot13", "base64", ""):
        with pytest.raises(SettingError, match=f"no text encoding '{name}'"):
            decode(b"words", encoding=name, surprise=never)


@pytest.mark.parametrize(
    "data",
    [
        b"OggS\x00\x02\x00\x00\x8f\xfe\x01",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"\xff\xfe\x00",
        b"a\x00b",
        b"[00:01.00]a\x00b\n",
    ],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(LyricsError, match="is not a text file"):
        decode(data, encoding=None, surprise=surprise)
