"""How many pairs of positions a mask keeps, exactly, for all sizes and parameters.

A mask that bounds the distance of two positions, or each of them, by integers leaves a band of a
rectangle; what a band holds has a closed form. Masks joined by `or` are counted by inclusion and
exclusion. Maxima in the result are of whole numbers, and vanish where sizes decide them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from attnverify.algebra.predicates import All, AnyOf, Compare, Predicate, Truth, conjunction
from attnverify.algebra.terms import (
    Index,
    Scalar,
    index_symbol,
    size_symbol,
    symbol_index,
)
from attnverify.errors import SpecError
from attnverify.flow.reads import Reader

# Inclusion and exclusion takes a term for each set of alternatives.
MOST_ALTERNATIVES = 6
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


def count(where: Predicate, row: Index, column: Index) -> sympy.Expr:
    """The number of pairs (row, column) at which a predicate holds, as an expression in sizes.

    Raises SpecError where the predicate is not made of integer bounds on the two positions and on
    their distance: `count_at` counts at given sizes then.

    >>> from attnverify.notation import axes
    >>> (time,) = axes("time")
    >>> print(sympy.factor(count(time["j"] <= time["i"], time["i"], time["j"])))
    n:time*(n:time + 1)/2
    """
    ways = _alternatives(where)
    if len(ways) > MOST_ALTERNATIVES:
        raise _unlike(where, f"{len(ways)} alternatives")
    found = sympy.Integer(0)
    for size in range(1, len(ways) + 1):
        for chosen in itertools.combinations(ways, size):
            parts = tuple(dict.fromkeys(part for way in chosen for part in way))
            found += (-1) ** (size + 1) * _together(parts, row, column)
    return found


def distances(
    where: Predicate, row: Index, column: Index
) -> tuple[sympy.Expr | None, sympy.Expr | None] | None:
    """The least and the largest column - row at which a predicate holds, if it says nothing else.

    None for a side without bound, and None alone where the predicate is not a band of distances.

    >>> from attnverify.notation import axes
    >>> (time,) = axes("time")
    >>> i, j = time["i"], time["j"]
    >>> distances((j <= i) & (j >= i - 2), i, j)
    (-2, 0)
    """
    ways = _alternatives(where)
    if len(ways) != 1 or any(isinstance(p, Compare) and p.op == "!=" for p in ways[0]):
        return None
    band = _Band(row, column)
    try:
        for part in ways[0]:
            band.narrow(part, where)
    except SpecError:
        return None
    if any(len(bounds[side]) > 1 for bounds in (band.low, band.high) for side in ("row", "column")):
        return None
    least, most = band.low.get("distance"), band.high.get("distance")
    return (
        None if least is None else sympy.Max(*least),
        None if most is None else sympy.Min(*most),
    )


def count_at(
    where: Predicate, sizes: Mapping[str, int], row: Index, column: Index, spec: str = ""
) -> int:
    """The number of pairs at which a predicate holds at these sizes, one by one.

    Raises ShapeError or ParameterError where it depends on a size or parameter without a value,
    SpecError where it depends on inputs.

    >>> from attnverify.notation import axes
    >>> (time,) = axes("time")
    >>> count_at(time["j"] < time["i"], {"time": 4}, time["i"], time["j"])
    6
    """
    if any(not _scalars(part) for way in _alternatives(where) for part in way):
        raise _unlike(where, "a mask that reads inputs")
    found = Reader(spec, sizes, frozenset()).possible(where)
    other = [index for index in found.dims if index not in (row, column)]
    if other:
        raise _unlike(where, f"other indices: {', '.join(map(str, other))}")
    whole = found.over((row, column))
    repeats = [
        sizes[index.axis.name] if whole.shape[n] == 1 and index not in found.dims else 1
        for n, index in enumerate((row, column))
    ]
    return int(whole.sum()) * repeats[0] * repeats[1]


def settled(expr: sympy.Expr, larger: sympy.Expr, smaller: sympy.Expr) -> sympy.Expr:
    """The expression where one symbol is at least another expression: maxima decided by that.

    >>> n, w = (sympy.Symbol(name, integer=True, positive=True) for name in "nw")
    >>> settled(sympy.Max(n - w, 0) + w, n, w)
    n
    """
    more = sympy.Symbol("more", integer=True, nonnegative=True)
    moved = sympy.expand(expr.subs(larger, smaller + more))
    return sympy.expand(moved.subs(more, larger - smaller))


def _alternatives(where: Predicate) -> list[tuple[Predicate, ...]]:
    """The ways in which a predicate holds, each a conjunction of what has no alternatives."""
    match where:
        case Truth(value):
            return [()] if value else []
        case AnyOf(parts):
            return [way for part in parts for way in _alternatives(part)]
        case All(parts):
            ways: list[tuple[Predicate, ...]] = [()]
            for part in parts:
                ways = [(*one, *other) for one in ways for other in _alternatives(part)]
            return ways
    return [(where,)]


def _scalars(part: Predicate) -> bool:
    return (
        isinstance(part, Compare)
        and isinstance(part.left, Scalar)
        and isinstance(part.right, Scalar)
    )


def _together(parts: tuple[Predicate, ...], row: Index, column: Index) -> sympy.Expr:
    """The pairs at which all parts hold; what is not equal is what is left of the rest."""
    for n, part in enumerate(parts):
        if isinstance(part, Compare) and part.op == "!=":
            rest = (*parts[:n], *parts[n + 1 :])
            equal = Compare("==", part.left, part.right)
            return _together(rest, row, column) - _together((*rest, equal), row, column)
    band = _Band(row, column)
    for part in parts:
        band.narrow(part, conjunction(*parts))
    return band.size()


@dataclass
class _Band:
    """Bounds, all inclusive, on the row, the column and on column - row."""

    row: Index
    column: Index
    low: dict[str, list[sympy.Expr]] = field(
        default_factory=lambda: {"row": [sympy.Integer(0)], "column": [sympy.Integer(0)]}
    )
    high: dict[str, list[sympy.Expr]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.high["row"] = [size_symbol(self.row.axis.name) - 1]
        self.high["column"] = [size_symbol(self.column.axis.name) - 1]

    def narrow(self, part: Predicate, whole: Predicate) -> None:
        """Add the bound that a comparison says."""
        if not (
            isinstance(part, Compare)
            and isinstance(part.left, Scalar)
            and isinstance(part.right, Scalar)
        ):
            raise _unlike(whole, str(part))
        i, j = index_symbol(self.row), index_symbol(self.column)
        difference = sympy.expand(part.left.value - part.right.value)
        across, along = difference.coeff(i, 1), difference.coeff(j, 1)
        rest = sympy.expand(difference - across * i - along * j)
        whole_numbers = across.is_Integer and along.is_Integer and rest.is_integer
        if not whole_numbers or any(symbol_index(s) is not None for s in rest.free_symbols):
            raise _unlike(whole, str(part))
        if along and across in (0, -along):
            self._bound("distance" if across else "column", part.op, along, rest)
        elif across and not along:
            self._bound("row", part.op, across, rest)
        else:
            raise _unlike(whole, str(part))

    def _bound(self, what: str, op: str, times: sympy.Integer, rest: sympy.Expr) -> None:
        """`times * what + rest op 0`, of whole numbers."""
        if times < 0:
            op, times, rest = TURNED[op], -times, -rest
        if op in ("<", "<=", "=="):
            most = -rest - (1 if op == "<" else 0)
            self.high.setdefault(what, []).append(sympy.floor(most / times))
        if op in (">", ">=", "=="):
            least = -rest + (1 if op == ">" else 0)
            self.low.setdefault(what, []).append(sympy.ceiling(least / times))

    def size(self) -> sympy.Expr:
        """The number of pairs within all bounds."""
        first, last = sympy.Max(*self.low["row"]), sympy.Min(*self.high["row"])
        left, right = sympy.Max(*self.low["column"]), sympy.Min(*self.high["column"])
        rows, columns = sympy.Max(last - first + 1, 0), sympy.Max(right - left + 1, 0)
        moved = first - left
        whole = rows * columns
        if "distance" not in self.low and "distance" not in self.high:
            return whole
        below = sympy.Integer(0)
        if "distance" in self.low:
            least = sympy.Max(*self.low["distance"]) + moved
            below = _up_to(least - 1, rows, columns)
        if "distance" not in self.high:
            return whole - below
        most = sympy.Min(*self.high["distance"]) + moved
        if "distance" in self.low:
            most = sympy.Max(most, least - 1)  # where the bounds cross, nothing is left
        return _up_to(most, rows, columns) - below


def _up_to(most: sympy.Expr, rows: sympy.Expr, columns: sympy.Expr) -> sympy.Expr:
    """The pairs of a rectangle with column - row <= most.

    Row i has min(max(i + most + 1, 0), columns) of them.
    """
    return (
        _triangle(most + rows)
        - _triangle(most)
        - _triangle(most + rows - columns)
        + _triangle(most - columns)
    )


def _triangle(side: sympy.Expr) -> sympy.Expr:
    """1 + 2 + ... + side, 0 where it is not positive."""
    positive = sympy.Max(side, 0)
    return positive * (positive + 1) / 2


def _unlike(where: Predicate, found: str) -> SpecError:
    return SpecError(
        "the pairs that a mask keeps have no closed form here",
        mask=str(where),
        found=found,
        due="integer bounds on two positions and on their distance",
        hint="count_at counts them at given sizes",
    )


__all__ = ["count", "count_at", "distances", "settled"]
