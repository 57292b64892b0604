"""Hypothesis strategies that make every value of a message, from its struct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import HealthCheck
from hypothesis import strategies as st
from msgspec import inspect as kinds

Strategies = Mapping[str, st.SearchStrategy[Any]]

text = st.text(max_size=12)

REPEATABLE: dict[str, Any] = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}
"""Settings for cases that are the same in every run."""


def structs(cls: type[msgspec.Struct], *, named: Strategies = {}) -> st.SearchStrategy[Any]:  # noqa: B006 - not changed
    """Every struct of a class; fields with a default are now and then left out.

    Args:
        cls: The class.
        named: Strategies for fields of these names, also of nested structs.
    """
    required, optional = {}, {}
    for one in kinds.type_info(cls).fields:
        strategy = named[one.name] if one.name in named else _values(one.type, named)
        (required if one.required else optional)[one.name] = strategy
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: cls(**fields))


def _values(kind: kinds.Type, named: Strategies) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911 - one case a type
    match kind:
        case kinds.Metadata():
            return _values(kind.type, named)
        case kinds.StrType():
            return text
        case kinds.BoolType():
            return st.booleans()
        case kinds.NoneType():
            return st.none()
        case kinds.IntType():
            return st.integers(kind.ge, kind.le)
        case kinds.FloatType():
            low = kind.ge if kind.ge is not None else kind.gt
            return st.floats(low, kind.le, exclude_min=kind.gt is not None, allow_nan=False, allow_infinity=False)
        case kinds.LiteralType():
            return st.sampled_from(kind.values)
        case kinds.UnionType():
            return st.one_of(*(_values(one, named) for one in kind.types))
        case kinds.VarTupleType():
            return st.lists(_values(kind.item_type, named), max_size=3).map(tuple)
        case kinds.TupleType():
            return st.tuples(*(_values(one, named) for one in kind.item_types))
        case kinds.DictType():
            return st.dictionaries(_values(kind.key_type, named), _values(kind.value_type, named), max_size=3)
        case kinds.StructType():
            return structs(kind.cls, named=named)
    raise AssertionError(f"no strategy for {kind}")
