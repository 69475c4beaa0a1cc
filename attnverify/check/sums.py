"""What all rows of a long case give together: identities of the gradients under dense cotangents.

A tile of rows that is lost among a million moves no row that is looked at.  It moves sums over all
of them: those over keys of dV and of dK, and <dQ, Q> against <dK, K>.  How far rounding moves a sum
is what it moves the rows that are judged, each as far as the worst and all the same way, and what
adding the rows up in an accumulator adds to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import WIDTHS, Due, judge
from attnverify.invariants import roles
from attnverify.invariants.roles import Roles
from attnverify.rounding.profiles import Profile
from attnverify.spec import Spec
from attnverify.verdict import Verdict

Array = NDArray[Any]
Slopes = Mapping[str, Array]
# Bytes of a type whose sums need a wider one than float64.
WIDE = 8
# Entries that are added up at a time.
SLICE = 2**20
# Tiles that are said to be seen, or not, where all of their rows are lost.
TILES: tuple[int, ...] = tuple(1 << n for n in range(21))
# What is lost shows for sure where it is so many times the bound: rounding may hide one.
SURE = 2.0
# Rows of which the gradients alone are looked at, to know what a row adds.
SINGLE = 12


@dataclass(frozen=True)
class Identity:
    """A sum of gradients that is known without a reference.

    `terms` has the inputs by whose gradients it is, with the sign of each, `weighted` says that
    gradients are multiplied with what they are by.  Sums keep the channels; products nothing.
    """

    name: str
    words: str
    terms: Mapping[str, float]
    weighted: bool = False
    seeds: bool = False

    def of(self, slopes: Slopes, arrays: Mapping[str, Array], ndim: Mapping[str, int]) -> Array:
        """The sum; of disturbed runs, which are one more leading axis, one for each."""
        parts = []
        for name, sign in self.terms.items():
            slope, axes = slopes[name], ndim[name]
            weights = arrays[name] if self.weighted else None
            parts.append(sign * _contracted(slope, weights, axes, keep=not self.weighted))
        return np.asarray(sum(parts))

    def due(self, cotangent: Array) -> Array:
        """What the sum must be, but for its shape."""
        if not self.seeds:
            return np.zeros(())
        return _contracted(cotangent, None, cotangent.ndim, keep=True)


def _contracted(slope: Array, weights: Array | None, axes: int, *, keep: bool) -> Array:
    """The sum over all but leading axes and, where it is kept, the last one.

    Answers are added up in a type that is wider than theirs; how far runs stray need not be.
    """
    if slope.ndim > axes:
        weighed = slope if weights is None else slope * weights
        left = tuple(range(1, slope.ndim - 1 if keep else slope.ndim))
        return np.asarray(np.sum(weighed, axis=left))
    last = slope.shape[-1] if keep else 1
    flat = np.ascontiguousarray(slope).reshape(-1, last)
    other = None if weights is None else np.ascontiguousarray(weights).reshape(-1, last)
    step = max(1, SLICE // max(1, last))
    total: Array = np.zeros(last, np.float64 if slope.dtype.itemsize < WIDE else np.longdouble)
    for start in range(0, len(flat), step):
        part = flat[start : start + step].astype(total.dtype)
        if other is not None:
            part *= other[start : start + step].astype(total.dtype)
        total += part.sum(axis=0)
    return total if keep else total[0]


def identities(spec: Spec, applying: set[str]) -> list[Identity]:
    """The identities that apply to a spec, of those whose names are given."""
    parts = roles(spec)
    found = [one for one in (_values(parts), _keys(parts), _euler(parts)) if one is not None]
    return [one for one in found if one.name in applying]


def _values(parts: Roles) -> Identity | None:
    value = parts.direct_values
    if value is None or value.places[-1:] != parts.output.places[-1:]:
        return None
    words = "sum over keys of dV against the sum over queries of dO"
    name = "value gradients sum to output cotangents"
    return Identity(name, words, {value.tensor.name: 1.0}, seeds=True)


def _keys(parts: Roles) -> Identity | None:
    names = [entry.tensor.name for entry in parts.key_inputs]
    if len(names) != 1:
        return None
    return Identity("key gradients sum to zero", f"sum over keys of d{names[0]}", {names[0]: 1.0})


def _euler(parts: Roles) -> Identity | None:
    sides = [(e, 1.0) for e in parts.query_inputs] + [(e, -1.0) for e in parts.key_inputs]
    terms = {entry.tensor.name: sign for entry, sign in sides}
    if not parts.query_inputs or not parts.key_inputs or len(terms) < len(sides):
        return None
    return Identity("<dQ, Q> = <dK, K>", "<dQ, Q> against <dK, K>", terms, weighted=True)


@dataclass
class Scale:
    """What single rows and groups of rows say of an identity.

    `stray` is how far rounding moves the sum of a row, `mass` the sum of the squares of what a row
    adds to the gradients that rows are added up in, `given` what rows add to the first side.
    """

    stray: float = 0.0
    mass: float = 0.0
    given: list[float] = field(default_factory=list)
    lawful: bool = True


def stray(
    one: Identity,
    runs: Mapping[str, list[Array]],
    arrays: Mapping[str, Array],
    ndim: Mapping[str, int],
    rows: int,
) -> float:
    """How far disturbed runs of a group move its sum, for each of its rows: of the widest form."""
    widest = 0.0
    for form in range(len(next(iter(runs.values())))):
        moved = {name: runs[name][form] for name in one.terms}
        told = one.of(moved, arrays, ndim)
        widest = max(widest, float(np.sqrt(np.mean(np.square(told), axis=0)).max(initial=0.0)))
    return widest / rows


def mass(one: Identity, slopes: Slopes, arrays: Mapping[str, Array], added: set[str]) -> float:
    """The sum of squares of what one row adds to gradients that rows are added up in."""
    found = 0.0
    for name in added & set(one.terms):
        part = np.square(slopes[name] * arrays[name] if one.weighted else slopes[name])
        kept = part.sum() if one.weighted else part.reshape(-1, part.shape[-1]).sum(0).max()
        found += float(kept)
    return found


def sigma(scale: Scale, rows: int, most: int, profile: Profile) -> float:
    """How far rounding moves the sum over all rows, as a standard deviation.

    Rows may all stray the same way.  Of m numbers added one by one, each sum is rounded once: the
    squares of the sums are at most m times the squares of what is added.
    """
    added = profile.accumulator / 3**0.5 * (1 + most / 2 + most**2 / 3) ** 0.5
    return float(np.hypot(rows * scale.stray, added * (rows * scale.mass) ** 0.5))


def compared(title: str, found: Array, due: Array, bound: float) -> Verdict:
    """Whether a sum is what it must be, each channel within six of its standard deviations."""
    value = np.broadcast_to(due, found.shape).astype(found.dtype)
    axes = ("channel",) if found.ndim else ()
    return judge(title, found, Due(value, np.full(found.shape, bound), axes))


def least_tile(given: list[float], bound: float, *, aligned: bool) -> int:
    """The least tile of rows whose loss would surely show, by what single rows add; 0 for none.

    Where rows add with one sign, they add up as their number; else as its root.
    """
    values = np.array(given)
    if not values.size:
        return 0
    mean, spread = float(values.mean()), float(values.std())
    for tile in TILES:
        if aligned:
            shows = tile * abs(mean) - 3 * spread * tile**0.5
        else:
            shows = tile**0.5 * float(np.sqrt(np.mean(values**2)))
        if shows > SURE * WIDTHS * bound:
            return tile
    return 0


def told(tile: int, rows: int) -> str:
    """What a loss would have shown."""
    if not 0 < tile <= rows:
        return "no tile of rows, were it lost, would surely show"
    return f"a lost tile of {tile:,} rows would show"
