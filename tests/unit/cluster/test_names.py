"""Names of channels in subjects and keys: any name survives, no two meet, nothing can be injected."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.cluster.names import (
    LONGEST_NAME,
    check_name,
    name_of,
    split_subject,
    subject_of,
    token_of,
    wanted_subject_of,
)
from stream_mer.errors import SettingError

KEY = re.compile(r"[-=_a-zA-Z0-9]+")
"""What NATS takes as a key, and as one token of a subject."""


@settings(deadline=None)  # other work may run beside it
@given(st.text(min_size=1, max_size=LONGEST_NAME))
def test_every_name_is_one_token_and_comes_back(name: str) -> None:
    try:
        token = token_of(name)
    except UnicodeEncodeError:  # half a surrogate pair, which no name has
        return
    assert KEY.fullmatch(token)
    assert name_of(token) == name


@settings(deadline=None)  # other work may run beside it
@given(st.text(alphabet="=0123456789ABCDEFabcdef.-_ é", max_size=12))
def test_what_no_name_made_is_no_name(token: str) -> None:
    name = name_of(token)
    assert name is None or token_of(name) == token


def test_subjects_tell_channel_and_kind() -> None:
    assert subject_of("Zürich 1", "emotion") == "mer.v1.Z=C3=BCrich=201.emotion"
    assert split_subject("mer.v1.Z=C3=BCrich=201.emotion") == ("Zürich 1", "emotion")
    assert split_subject(wanted_subject_of("a.b", "levels")) == ("a.b", "levels")


@pytest.mark.parametrize("subject", ["", "mer.v1.emotion", "mer.v2.a.emotion", "mer.v1.a.b.emotion", "mer.v1.=ZZ.x"])
def test_other_subjects_are_passed_over(subject: str) -> None:
    assert split_subject(subject) is None


@pytest.mark.parametrize("name", ["", " a", ".a", "a>b", "a*", "a\nb", "a/b", "x" * (LONGEST_NAME + 1)])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="cannot be a name"):
        check_name(name)


@pytest.mark.parametrize("name", ["Radio 1", "a.b-c_d", "电台 5", "0"])
def test_a_name_that_people_use_is_taken(name: str) -> None:
    assert check_name(name) == name
