"""Sequences of many lengths laid end to end, as kernels for variable lengths take them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.errors import ParameterError
from attnverify.spec import Spec
from attnverify.subjects.layout import LETTERS, Layout, place_name

Array = NDArray[Any]


class PackedLayout(Layout):
    """A layout in which only the tokens of each sequence lie along its axis "(b n)".

    `packed` maps an axis to the integer input that holds the length of each sequence along it; that
    input reaches the subject as cumulative lengths, int32 (batch + 1), beginning at 0.  What is
    padding in the spec is not there for the subject, and counts as zeros on the way back.  Raises
    ParameterError where the spec has no such axis or lengths, or no array lies as "(b n)".
    """

    def __init__(
        self, spec: Spec, pattern: str | Mapping[str, str] | None, packed: Mapping[str, str]
    ) -> None:
        super().__init__(spec, pattern)
        self.packed = dict(packed)
        self.counts: dict[str, Array] = {}
        axes = [axis.name for axis in spec.axes]
        known = [e.tensor.name for e in spec.inputs if e.tensor.kind == "int" and _per_batch(e)]
        for axis, lengths in packed.items():
            if axis not in axes or lengths not in known:
                raise ParameterError(
                    "sequences are packed along an axis of the spec, by lengths per batch",
                    spec=spec.name,
                    found=f"{axis}: {lengths}",
                    due=f"an axis ({', '.join(axes)}) and a length ({', '.join(known) or 'none'})",
                )
        self._merged = {name: self._place(name) for name in self.heads}
        if not any(self._merged.values()):
            raise ParameterError(
                "no array of the layout is packed",
                spec=spec.name,
                found=repr(pattern),
                due='a layout with "(b n)", such as "(b n) h d"',
            )

    def at(self, arrays: Mapping[str, Array]) -> Layout:
        """The layout of one case, whose arrays say how long each sequence is."""
        found = copy.copy(self)
        found.counts = {axis: arrays[name] for axis, name in self.packed.items()}
        return found

    def outward(self, name: str, array: Array) -> Array:
        """The tokens alone, end to end; of the lengths, their cumulative sums."""
        if name in self.packed.values():
            return np.concatenate([[0], np.cumsum(array)]).astype(np.int32)
        dense, place = super().outward(name, array), self._merged[name]
        if place is None:
            return dense
        spot, axis = place
        steps = dense.shape[spot] // len(self.counts[axis])
        return np.compress(self._tokens(axis, steps), dense, axis=spot)

    def shape(self, name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape that the subject's array of this name has."""
        dense, place = super().shape(name, sizes), self._merged[name]
        if name in self.packed.values():
            return (dense[0] + 1,)
        if place is None or not self.counts:
            return dense
        spot, axis = place
        return (*dense[:spot], int(self.counts[axis].sum()), *dense[spot + 1 :])

    def inward(self, name: str, array: Array, sizes: Mapping[str, int]) -> Array:
        """A subject's array, of the right shape, in the spec's order with zeros as padding."""
        place = self._merged[name]
        if place is None:
            return super().inward(name, array, sizes)
        spot, axis = place
        dense = np.zeros(super().shape(name, sizes), array.dtype)
        dense[(slice(None),) * spot + (self._tokens(axis, sizes[axis]),)] = array
        return super().inward(name, dense, sizes)

    def _tokens(self, axis: str, steps: int) -> Array:
        """Which rows of "(b n)" are tokens."""
        rows: Array = np.arange(steps) < self.counts[axis][:, None]
        return rows.reshape(-1)

    def _place(self, name: str) -> tuple[int, str] | None:
        """Which axis of the subject's array is packed, and along which axis of the spec."""
        along = [place_name(place) for place in self.heads[name].places]
        merged = [axis for axis in along if axis in self.packed]
        groups = self.groups(name)
        if len(merged) != 1 or [LETTERS["batch"], "n"] not in groups:
            return None
        if LETTERS["key_dim"] not in [letter for group in groups for letter in group]:
            raise ParameterError(
                "a row's statistics have no packed form", found=name, due="an array with channels"
            )
        return groups.index([LETTERS["batch"], "n"]), merged[0]


def _per_batch(entry: Any) -> bool:
    return [place_name(place) for place in entry.places] == ["batch"]
