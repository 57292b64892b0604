"""Counts the products that a model of numpy computes, as torch's ``FlopCounterMode`` does for one of torch."""

from __future__ import annotations

from typing import Any

import numpy as np


class Products:
    """Counts the multiplications of matrix products; ``watch`` says which.

    Attributes:
        total: Multiplications so far; each comes with an addition.
    """

    def __init__(self) -> None:
        self.total = 0
        self._seen: set[int] = set()

    def watch(self, owner: Any) -> None:
        """Count from now on each product with an array of this object, however deep within it, or with its results."""
        if id(owner) in self._seen or not type(owner).__module__.startswith("stream_mer."):
            return
        self._seen.add(id(owner))
        for name, value in vars(owner).items():
            setattr(owner, name, self._watched(value))

    def _watched(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return counted(value, self)
        if isinstance(value, list):
            value[:] = map(self._watched, value)
        elif isinstance(value, tuple):
            parts = [self._watched(one) for one in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        elif hasattr(value, "__dict__"):
            self.watch(value)
        return value


class _Counted(np.ndarray):
    """An array whose matrix products are counted, as are those of whatever is computed from it."""

    products: Products

    def __array_finalize__(self, origin: object) -> None:
        if isinstance(origin, _Counted):
            self.products = origin.products

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if out:
            options["out"] = tuple(map(_plain, out))
        result = getattr(ufunc, method)(*map(_plain, inputs), **options)
        if ufunc is np.matmul:
            self.products.total += result.size * inputs[0].shape[-1]
        return counted(result, self.products) if isinstance(result, np.ndarray) else result


def counted(array: np.ndarray, products: Products) -> np.ndarray:
    """Return a view of an array whose products are counted."""
    view = array.view(_Counted)
    view.products = products
    return view


def _plain(array: Any) -> Any:
    return array.view(np.ndarray) if isinstance(array, _Counted) else array
