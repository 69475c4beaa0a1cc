"""Some rows of a spec with the keys that they see: what is due for a few rows of a long input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.compile.positioned import place_name, positioned
from attnverify.compile.recipe import label_axis
from attnverify.compile.streamed import KEYS, ROWS, parameters_of, plan
from attnverify.compile.unseen import unseen
from attnverify.spec import Spec

Array = NDArray[Any]
Places = NDArray[np.integer[Any]]
Flags = NDArray[np.bool_]
# Keys are left out in chunks of so many.
CHUNK = 64


class Parts:
    """A spec on some of its rows and some of its keys, which say where they stand.

    `spec` is the spec on a part.  What a row does not depend on has no gradient by it either: the
    gradients of a part under its own cotangents are those of the whole under the same.

    Raises SpecError, which says why, where rows cannot be computed one by one.

    >>> from attnverify import load
    >>> [entry.tensor.name for entry in Parts(load("causal")).spec.inputs]
    ['Q', 'K', 'V', 'position_queries', 'position_keys']
    """

    def __init__(self, spec: Spec) -> None:
        self.plan = plan(spec)
        axes = {axis.name for axis in spec.axes}
        self.axes = tuple(axis for axis in (ROWS, KEYS) if axis in axes)
        self.spec = positioned(spec, self.axes)

    def sight(
        self, arrays: Mapping[str, Array], sizes: Mapping[str, int], parameters: Mapping[str, Any]
    ) -> Sight:
        """Which keys rows may see, for these arrays."""
        return Sight(self, arrays, sizes, parameters, self._intervals(arrays, sizes))

    def cut(
        self, arrays: Mapping[str, Array], heads: Mapping[str, Entry], kept: Mapping[str, Places]
    ) -> dict[str, Array]:
        """The part of arrays, whose places are those of `heads`, at the rows and keys `kept`."""
        return {name: cut(array, heads[name], kept) for name, array in arrays.items()}

    def positions(self, kept: Mapping[str, Places]) -> dict[str, Array]:
        """The inputs that say where rows and keys stand."""
        return {place_name(axis): np.asarray(kept[axis]) for axis in self.axes}

    def parameters(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The whole sizes, which a part cannot tell."""
        return parameters_of(sizes)

    def _intervals(
        self, arrays: Mapping[str, Array], sizes: Mapping[str, int]
    ) -> dict[str, tuple[Any, Any]]:
        """The least and the largest of each integer or boolean input that no row chooses."""
        starts = np.arange(0, sizes.get(KEYS, 0), CHUNK)
        found: dict[str, tuple[Any, Any]] = {}
        for name, places in self.plan.recipe.inputs:
            array = arrays.get(name)
            axes = [label_axis(place[0]) if len(place) == 1 else "" for place in places]
            if array is None or array.dtype.kind not in "iub" or ROWS in axes or not array.size:
                continue
            if KEYS not in axes:
                found[name] = (float(array.min()), float(array.max()))
                continue
            at = axes.index(KEYS)
            flat = np.moveaxis(array, at, 0).reshape(array.shape[at], -1)
            found[name] = (
                np.minimum.reduceat(flat.min(1).astype(float), starts),
                np.maximum.reduceat(flat.max(1).astype(float), starts),
            )
        return found


def cut(array: Array, head: Entry, kept: Mapping[str, Places]) -> Array:
    """The part of one array at the places kept along each axis that it has."""
    found = array
    for at, place in enumerate(head.places):
        if isinstance(place, Index) and place.axis.name in kept:
            found = np.take(found, kept[place.axis.name], at)
    return found


@dataclass(frozen=True)
class Sight:
    """Which chunks of keys rows may see, in one case."""

    parts: Parts
    arrays: Mapping[str, Array]
    sizes: Mapping[str, int]
    parameters: Mapping[str, Any]
    intervals: Mapping[str, tuple[Any, Any]]

    def chunks(self, first: int, last: int) -> Flags:
        """For each chunk of keys, whether some row from `first` to `last` may see one of it.

        What cannot be told may be seen.
        """
        whole = self.sizes.get(KEYS, 0)
        starts = np.arange(0, whole, CHUNK, dtype=float)
        everything = np.ones(starts.shape, bool)
        if not self.parts.plan.keys:
            return everything
        ends = np.minimum(starts + CHUNK, whole) - 1
        places = {
            **self.intervals,
            place_name(KEYS): (starts, ends),
            place_name(ROWS): (float(first), float(last)),
        }
        chosen = {**self.parameters, **parameters_of(self.sizes)}
        plan = self.parts.plan
        away = unseen(plan.recipe, plan.keys, places, self.sizes, chosen)
        return everything if away is None or away.shape != starts.shape else ~away

    def keys(self, chunks: Flags) -> Places:
        """The keys of chunks."""
        whole = self.sizes.get(KEYS, 0)
        seen = np.flatnonzero(chunks)
        found = (seen[:, None] * CHUNK + np.arange(CHUNK)).ravel()
        return np.asarray(found[found < whole])

    def most_rows(self, step: int) -> int:
        """No key is seen by more rows than this; rows are looked at in steps of so many."""
        rows = self.sizes[ROWS]
        count = sum(
            np.where(self.chunks(n, min(rows, n + step) - 1), min(rows, n + step) - n, 0)
            for n in range(0, rows, step)
        )
        return int(np.max(count, initial=0))
