"""Compute a spec in blocks of rows, each with the keys that it sees: memory grows as the inputs do.

Every block runs the spec's own program on a part of the rows and keys, with their true positions.
Outputs of rows are written where they belong; sums over rows, such as slopes by keys, add up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from attnverify.compile.additive import ROW, SUM, classes, only_label, refused
from attnverify.compile.lower import lower
from attnverify.compile.positioned import count_name, place_name, positioned
from attnverify.compile.recipe import Labels, Recipe, label_axis
from attnverify.compile.unseen import unseen
from attnverify.errors import SpecError
from attnverify.spec import Spec

ROWS, KEYS = "queries", "keys"
# Entries of the largest array of a block: half of a cache of the second level and the products'
# own panels beside it.
TILE = 2**18
FEWEST, MOST = 16, 512
# Keys are left out in chunks of so many.
CHUNK = 256

Runner = Callable[[Mapping[str, Any], Mapping[str, int]], dict[str, Any]]


@dataclass
class Plan:
    """What a spec in blocks is made of: its recipe and the labels of rows and keys.

    `keys` is empty where all keys must be there.
    """

    spec: Spec
    recipe: Recipe
    rows: str
    keys: str
    kinds: Mapping[str, str]


def plan(spec: Spec) -> Plan:
    """How a spec is computed in blocks of rows.

    Raises SpecError, which says why, where it cannot be.

    >>> from attnverify import load
    >>> plan(load("causal")).keys
    'j@keys'
    """
    names = {axis.name for axis in spec.axes}
    if ROWS not in names:
        raise SpecError("the spec cannot be computed in parts", spec=spec.name, found="no queries")
    parts = positioned(spec, tuple(n for n in (ROWS, KEYS) if n in names))
    recipe = lower(parts)
    rows = only_label(recipe, ROWS)
    if not rows:
        raise refused(recipe, "rows are compared with rows")
    kinds = classes(recipe, rows)
    if any(kinds[operand.name] not in (ROW, SUM) for _, operand, _ in recipe.outputs):
        raise refused(recipe, "an output has no rows in it")
    keys = only_label(recipe, KEYS)
    counted = any(
        f"n:{KEYS}" in map(str, op.value.free_symbols) for op in recipe.ops if op.value is not None
    )
    return Plan(parts, recipe, rows, "" if counted else keys, kinds)


@dataclass
class Stream:
    """One run in blocks: arrays and sizes as a whole, and the outputs as they grow."""

    plan: Plan
    run: Runner
    arrays: Mapping[str, Any]
    sizes: Mapping[str, int]
    parameters: Mapping[str, Any]
    dtype: np.dtype[Any]
    tile: int = TILE
    chunk: int = CHUNK
    fewest: int = FEWEST
    outputs: dict[str, Any] = field(default_factory=dict)

    def results(self) -> dict[str, Any]:
        """Every output, the blocks on as many threads as there are cores."""
        for name, _, places in self.plan.recipe.outputs:
            shape = [prod(self.sizes[label_axis(x)] for x in place) for place in places]
            self.outputs[name] = np.zeros(shape, self.dtype)
        spans = self.spans()
        self._intervals()
        cores = min(len(os.sched_getaffinity(0)), len(spans)) if len(spans) else 1
        with _threads().limit(limits=1, user_api="blas"), ThreadPoolExecutor(cores) as pool:
            # What blocks add up to is added in their order, so that equal calls give equal bits.
            for start in range(0, len(spans), cores):
                for found in pool.map(self.block, spans[start : start + cores]):
                    for part in found:
                        part.added()
        return self.outputs

    def spans(self) -> list[tuple[int, int]]:
        """The blocks of rows: fewer rows where there are more keys or heads."""
        rows = self.sizes[ROWS]
        widest = max(
            prod(self.sizes[label_axis(x)] for x in op.labels if label_axis(x) != ROWS)
            for op in self.plan.recipe.ops
            if self.plan.rows in op.labels
        )
        step = max(self.fewest, min(MOST, self.tile // max(1, widest)))
        return [(n, min(rows, n + step)) for n in range(0, rows, step)]

    def _intervals(self) -> None:
        """The least and the largest of each integer or boolean input, by chunks of keys."""
        self.chunks = list(range(0, self.sizes.get(KEYS, 0), self.chunk))
        self.places: dict[str, tuple[Any, Any]] = {}
        for name, places in self.plan.recipe.inputs:
            array = self.arrays.get(name)
            axes = [label_axis(place[0]) if len(place) == 1 else "" for place in places]
            if array is None or array.dtype.kind not in "iub" or ROWS in axes or not array.size:
                continue
            if KEYS not in axes:
                self.places[name] = (float(array.min()), float(array.max()))
                continue
            flat = np.moveaxis(array, axes.index(KEYS), 0).reshape(
                array.shape[axes.index(KEYS)], -1
            )
            low, high = flat.min(1).astype(float), flat.max(1).astype(float)
            self.places[name] = (
                np.minimum.reduceat(low, self.chunks),
                np.maximum.reduceat(high, self.chunks),
            )

    def keys(self, start: int, stop: int) -> tuple[int, int]:
        """The span of keys that some row of a block may see."""
        whole = self.sizes.get(KEYS, 0)
        if not self.plan.keys or whole <= self.chunk:
            return 0, whole
        first = np.array(self.chunks, float)
        last = np.minimum(first + self.chunk, whole) - 1
        places = {
            **self.places,
            place_name(KEYS): (first, last),
            place_name(ROWS): (float(start), float(stop - 1)),
        }
        away = unseen(self.plan.recipe, self.plan.keys, places, self.sizes, self.parameters)
        if away is None or away.shape != first.shape:
            return 0, whole
        seen = np.flatnonzero(~away)
        if not seen.size:  # rows without a key: one chunk says so
            return 0, min(whole, self.chunk)
        return int(first[seen[0]]), int(last[seen[-1]]) + 1

    def block(self, span: tuple[int, int]) -> list[_Sum]:
        """Compute one block of rows and write its rows; what is to be added is returned."""
        parts = {ROWS: span, KEYS: self.keys(*span)}
        arrays: dict[str, Any] = {}
        for name, places in self.plan.recipe.inputs:
            axis = next((a for a in (ROWS, KEYS) if name == place_name(a)), "")
            arrays[name] = (
                np.arange(*parts[axis]) if axis else self.arrays[name][_cut(places, parts)]
            )
        sizes = {**self.sizes, ROWS: span[1] - span[0]}
        if KEYS in self.sizes:
            sizes[KEYS] = parts[KEYS][1] - parts[KEYS][0]
        with np.errstate(all="ignore"):  # each thread has its own state
            found = self.run(arrays, sizes)
        sums = []
        for name, operand, places in self.plan.recipe.outputs:
            where = self.outputs[name][_cut(places, parts)]
            if self.plan.kinds[operand.name] == ROW:
                where[...] = found[name]
            else:
                sums.append(_Sum(where, found[name]))
        return sums


@dataclass
class _Sum:
    """A part of an output, and what a block adds to it."""

    where: Any
    part: Any

    def added(self) -> None:
        """Add it."""
        self.where += self.part


def _cut(places: tuple[Labels, ...], parts: Mapping[str, tuple[int, int]]) -> tuple[slice, ...]:
    """The part of an array that a block takes; every axis that is cut stands alone."""
    axes = [label_axis(place[0]) if len(place) == 1 else "" for place in places]
    return tuple(slice(*parts[a]) if a in parts else slice(None) for a in axes)


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def parameters_of(sizes: Mapping[str, int]) -> dict[str, int]:
    """The whole sizes as the parameters of a spec in parts."""
    return {count_name(axis): sizes[axis] for axis in (ROWS, KEYS) if axis in sizes}
