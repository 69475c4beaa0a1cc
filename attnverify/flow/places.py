"""Boolean arrays over named indices: where something may happen, at sizes that are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from attnverify.algebra.terms import Index

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Places:
    """A boolean array with an index for each dimension; a dimension it lacks does not matter."""

    array: Array
    dims: tuple[Index, ...] = ()

    def over(self, dims: tuple[Index, ...]) -> Array:
        """The array with these dimensions in this order, of size one where it lacks them."""
        order = [d for d in dims if d in self.dims]
        array = np.transpose(self.array, [self.dims.index(d) for d in order])
        return array.reshape([array.shape[order.index(d)] if d in order else 1 for d in dims])

    def __and__(self, other: Places) -> Places:
        dims = tuple(dict.fromkeys((*self.dims, *other.dims)))
        return Places(self.over(dims) & other.over(dims), dims)

    def __or__(self, other: Places) -> Places:
        dims = tuple(dict.fromkeys((*self.dims, *other.dims)))
        return Places(self.over(dims) | other.over(dims), dims)

    def some(self, gone: Iterable[Index]) -> Places:
        """Whether there is a place, over these indices."""
        summed = set(gone)
        dims = tuple(d for d in self.dims if d in summed)
        if not dims:
            return self
        spots = tuple(self.dims.index(d) for d in dims)
        return Places(
            np.asarray(self.array.any(axis=spots)), tuple(d for d in self.dims if d not in dims)
        )

    def renamed(self, to: Mapping[Index, Index]) -> Places:
        """The places with dimensions renamed; two of one name become their diagonal."""
        array, dims = self.array, [to.get(d, d) for d in self.dims]
        while len(set(dims)) < len(dims):
            first = next(n for n, d in enumerate(dims) if d in dims[n + 1 :])
            second = dims.index(dims[first], first + 1)
            array = np.diagonal(array, axis1=first, axis2=second)
            kept = dims.pop(second)
            dims.pop(first)
            dims.append(kept)
        return Places(array, tuple(dims))

    def single(self, index: Index) -> bool:
        """Whether each setting of the other indices leaves at most one place along an index."""
        if index not in self.dims:
            return False
        return bool((self.array.sum(axis=self.dims.index(index)) <= 1).all())


EVERYWHERE = Places(np.ones((), dtype=bool))
NOWHERE = Places(np.zeros((), dtype=bool))
