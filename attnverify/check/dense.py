"""All rows of a long case together: sums that are known, under cotangents on every row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Index
from attnverify.check.free import applying
from attnverify.check.long import row_place
from attnverify.check.rows import FEWEST, Group
from attnverify.check.rowwise import Bounds, Rows
from attnverify.check.sums import (
    SINGLE,
    Identity,
    Scale,
    compared,
    identities,
    least_tile,
    mass,
    sigma,
    stray,
    told,
)
from attnverify.compare import Due, judge
from attnverify.compile.streamed import KEYS, ROWS
from attnverify.inputs.sizes import CHANNELS
from attnverify.rounding import Rounding, arrays_for
from attnverify.verdict import Status, Verdict

Array = NDArray[Any]
# Rows whose cotangents are looked at, to know what a tile of them adds.
SEEDS = 4096


class Dense:
    """The identities that a spec has, and how far rounding may move each."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.spec = rows, rows.judge.spec
        names = {check.name for check in applying(rows.judge)}
        # Rounding of all rows is told by some: of so few, nothing is.
        enough = rows.backward and rows.rows.count >= min(FEWEST, rows.case.sizes[ROWS])
        self.asked = identities(self.spec, names) if enough else []
        self.scales = {one.name: Scale() for one in self.asked}
        self.singles = 0

    @cached_property
    def ndim(self) -> dict[str, int]:
        """The number of dimensions of each input."""
        return {e.tensor.name: len(e.places) for e in self.spec.inputs}

    def look(self, bounds: Bounds, rounding: Rounding) -> None:
        """Learn from a group of rows how far rounding moves what its rows add to each sum."""
        if bounds.expected.reason or not self.asked:
            return
        group, slopes = bounds.group, rounding.gradients
        arrays, parameters, sizes = self.rows.part(group, self.rows.case, rounding)
        wide = {n: np.asarray(arrays[n], float) for n in slopes}
        seed = np.asarray(arrays[rounding.cotangents[self.spec.outputs[0]]], float)
        runs = {name: bounds.runs[out] for name, out in slopes.items()}
        exact = {name: bounds.expected.dues[out].value for name, out in slopes.items()}
        for one in self.asked:
            scale = self.scales[one.name]
            moved = stray(one, runs, wide, self.ndim, len(group.rows))
            scale.stray = max(scale.stray, moved)
            total = one.of(exact, wide, self.ndim)
            right = compared(one.name, total, one.due(seed), moved * len(group.rows))
            scale.lawful = scale.lawful and right.status is Status.HELD
        self._single(group, rounding, arrays, parameters, sizes)

    def _single(
        self,
        group: Group,
        rounding: Rounding,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        sizes: Mapping[str, int],
    ) -> None:
        """Learn from the last row of a group alone what it adds."""
        if self.singles == SINGLE:
            return
        self.singles += 1
        at = {ROWS: np.array([len(group.rows) - 1])}
        heads = {e.tensor.name: e for e in rounding.forms[0].spec.inputs}
        one_row = self.rows.parts.cut(arrays, heads, at)
        given = arrays_for(rounding.oracle.dtype, one_row)
        found = rounding.oracle(**given, **parameters, sizes={**sizes, ROWS: 1})
        slopes = {n: np.asarray(found[out], float) for n, out in rounding.gradients.items()}
        wide = {n: np.asarray(one_row[n], float) for n in slopes}
        for one in self.asked:
            scale = self.scales[one.name]
            scale.mass = max(scale.mass, mass(one, slopes, wide, self._added))
            scale.given.append(self._gives(one, slopes, wide) / self._heads)

    @cached_property
    def _seeds(self) -> list[float]:
        """What rows add to the sum over queries of dO, in the channel where none cancels."""
        out = self.spec.outputs[0]
        seed = np.moveaxis(self.rows.case.cotangents[out], row_place(self.spec.heads[out]), 0)
        rows = np.linspace(0, len(seed) - 1, min(len(seed), SEEDS)).astype(int)
        return [float(x) for x in seed[rows][..., 0].ravel()]

    @cached_property
    def _heads(self) -> int:
        """In how many heads and batch entries a row stands: one of them may lose it."""
        few = (ROWS, KEYS, *CHANNELS)
        return prod(size for axis, size in self.rows.case.sizes.items() if axis not in few)

    @cached_property
    def _added(self) -> set[str]:
        """The inputs whose gradients add up over rows."""
        found = set()
        for entry in self.spec.inputs:
            axes = {p.axis.name for p in entry.places if isinstance(p, Index)}
            found |= set() if ROWS in axes else {entry.tensor.name}
        return found

    def _gives(
        self, one: Identity, slopes: Mapping[str, Array], wide: Mapping[str, Array]
    ) -> float:
        """What a row's gradients add to one side, or half of its keys' where all add nothing."""
        name = next(iter(one.terms))
        if one.weighted:
            return float((slopes[name] * wide[name]).sum())
        slope = slopes[name]
        places = self.spec.heads[name].places
        at = next(n for n, p in enumerate(places) if isinstance(p, Index) and p.axis.name == KEYS)
        half = np.moveaxis(slope, at, 0)[: slope.shape[at] // 2]
        return float(np.abs(half.reshape(-1, slope.shape[-1]).sum(0)).max(initial=0.0))

    def verdicts(self, slopes: Mapping[str, Array | None]) -> list[Verdict]:
        """Whether each identity holds of the subject's gradients under dense cotangents."""
        return [self._judged(one, slopes) for one in self.asked if self._can(one, slopes)]

    def _can(self, one: Identity, slopes: Mapping[str, Array | None]) -> bool:
        scale = self.scales[one.name]
        told = bool(scale.given) and scale.lawful and scale.stray > 0
        return told and all(slopes[n] is not None for n in one.terms)

    def _judged(self, one: Identity, slopes: Mapping[str, Array | None]) -> Verdict:
        case, judge = self.rows.case, self.rows.judge
        scale, count = self.scales[one.name], case.sizes[ROWS]
        bound = sigma(scale, count, self.most_rows, judge.rounding.profile)
        answers = {n: self.rows.restored(n, slopes[n]) for n in one.terms}
        total = one.of(answers, case.arrays, self.ndim)
        due = one.due(case.cotangents[self.spec.outputs[0]])
        title = f"{one.name} ({judge.dtype})"
        found = compared(title, total, due, bound)
        coherent = one.seeds or (one.weighted and self.rows.long.aligned)
        given = self._seeds if one.seeds else scale.given
        tile = least_tile(given, bound, aligned=coherent)
        words = f"{self.rows.long.sure:,} of {count:,} rows together, {one.words}"
        power = told(tile, count) if one.seeds or one.weighted else ""
        held = f"{words}: {found.evidence.get('worst', 0.0):.2f} sigma of 6"
        detail = f"{held}; {power}" if power else held
        if found.status is not Status.HELD:
            detail = f"{words}: {found.detail}"
        evidence = {**found.evidence, "sigma": bound, "tile": tile}
        replay = "" if found.witness is None else found.replay
        scope = f"{self.rows.long.sure} rows under cotangents on each"
        return replace(found, detail=detail, cases=1, scope=scope, evidence=evidence, replay=replay)

    @cached_property
    def most_rows(self) -> int:
        """No gradient adds up more rows than this."""
        rows = self.rows.case.sizes[ROWS]
        few = [e for e in self.spec.inputs if e.tensor.name in self._added]
        whole = any(KEYS not in {i.axis.name for i in e.indices} for e in few)
        return rows if whole else self.rows.sight.most_rows(max(1024, rows // 128))


def row_sums(rows: Rows) -> Verdict | None:
    """V = 1 gives O = 1 in every row that surely sees a key; None where that is no law."""
    judge_of, spec = rows.judge, rows.judge.spec
    names = {check.name for check in applying(judge_of)}
    value = rows.values
    if "rows sum to one" not in names or not value:
        return None
    ones = np.ones_like(rows.case.arrays[value])
    case = replace(rows.case, arrays={**rows.case.arrays, value: ones})
    rounding, out = rows.rounding(backward=False), spec.outputs[0]
    widest = 0.0
    for group in rows.groups:
        arrays, parameters, sizes = rows.part(group, case, rounding)
        expected = rounding.expected(arrays, parameters, case.seed, sizes)
        if expected.reason:
            return None
        widest = max(widest, float(expected.dues[out].sigma.max(initial=0.0)))
    if rows.rows.count < FEWEST or not widest:
        return None
    title = f"rows sum to one ({judge_of.dtype})"
    outputs, _ = rows.asked(case, backward=False)
    array = np.moveaxis(rows.restored(out, outputs[out]), row_place(spec.heads[out]), 0)
    array = array.reshape(len(array), -1)[rows.long.seeing]
    # The least and the largest of a row say what every channel says; a NaN is both.
    ends = np.stack([array.min(1), array.max(1)], 1).astype(float)
    found = judge(title, ends, Due(np.ones_like(ends), np.full_like(ends, widest), ("row", "end")))
    words = f"V = 1 gives O = 1: {len(array):,} of {case.sizes[ROWS]:,} rows"
    detail = f"{words}: {found.evidence.get('worst', 0.0):.2f} sigma of 6"
    detail = detail if found.status is Status.HELD else f"{words}: {found.detail}"
    return replace(found, detail=detail, cases=1, scope=f"{len(array)} rows")
