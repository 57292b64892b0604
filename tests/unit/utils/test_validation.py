"""Errors in a table name the key, the value and what would be right."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from stream_mer.errors import SettingError
from stream_mer.utils.toml_file import validated


class Inner(Struct, frozen=True):
    left: float = 0.0


class Table(Struct, frozen=True):
    size: Annotated[int, Meta(ge=1, le=5)]
    rate: Annotated[float, Meta(gt=0, le=50)] = 1.0
    mode: Literal["fast", "slow"] = "slow"
    pair: Annotated[tuple[float, float], Meta(description="two numbers in brackets")] = (0.0, 1.0)
    ports: tuple[Annotated[int, Meta(ge=0, le=255)], ...] = ()
    inner: Inner = Inner()


def test_a_table_becomes_a_struct_on_top_of_a_base():
    base = Table(size=2, mode="fast", inner=Inner(left=0.5))
    assert validated({"rate": 2}, Table, base=base) == Table(size=2, rate=2.0, mode="fast", inner=Inner(left=0.5))
    assert validated({"size": 3, "pair": [1, 2], "ports": [7]}, Table) == Table(size=3, pair=(1.0, 2.0), ports=(7,))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"sise": 1}, "there is no setting part.sise; did you mean 'size'?"),
        ({"size": 1, "inner": {"lefd": 1}}, "there is no setting part.inner.lefd; did you mean 'left'?"),
        ({}, "part.size is missing"),
        ({"size": 6}, "part.size is 1 to 5, not 6"),
        ({"size": "6"}, "part.size is a whole number, not '6'"),
        ({"size": True}, "part.size is a whole number, not True"),
        ({"size": 1, "rate": 0}, "part.rate is above 0 and at most 50, not 0"),
        ({"size": 1, "rate": float("nan")}, "part.rate is a number, not nan"),
        ({"size": 1, "mode": "fats"}, "part.mode: there is no 'fats'; did you mean 'fast'?"),
        ({"size": 1, "pair": [1]}, "part.pair is two numbers in brackets, not [1]"),
        ({"size": 1, "ports": [7, 256]}, "part.ports is 0 to 255, not 256"),
        ({"size": 1, "ports": 7}, "part.ports is a list, not 7"),
        ({"size": 1, "inner": 7}, "part.inner is a table, not 7"),
        ([], "part is a table, not []"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(table, says):
    with pytest.raises(SettingError) as error:
        validated(table, Table, where="part")
    assert str(error.value) == says
