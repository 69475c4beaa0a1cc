"""Expressions and predicates as closures that read tables and positions.

One rule per node, plain loops.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import sympy

from attnverify.algebra.predicates import All, AnyOf, Compare, Holds, Not, Predicate, Truth
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
)
from attnverify.errors import AttnverifyError, ShapeError, UnknownPrimitiveError
from attnverify.exact.arithmetic import Arithmetic, Value, rule
from attnverify.exact.places import Places
from attnverify.exact.scalars import Scalars, Thunk
from attnverify.exact.thresholds import threshold

Test = Callable[[], bool]
# A tensor's values, flat in row-major order, and its shape.
Table = tuple[list[Value], tuple[int, ...]]
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Closures:
    """Compiles expressions over tables; a closure gives the value where the indices now stand."""

    def __init__(self, places: Places, scalars: Scalars, arithmetic: Arithmetic) -> None:
        self.places, self.scalars, self.arithmetic = places, scalars, arithmetic
        self.tables: dict[str, Table] = {}
        self.before: dict[str, tuple[Entry, Index, bool, Entry]] = {}

    def expression(self, expr: Expr) -> Thunk:
        """The closure of an expression; UnknownPrimitiveError for a node without a rule."""
        match expr:
            case Scalar(value):
                return self._scalar(value)
            case Entry():
                return self._entry(expr)
            case Previous(entry):
                return self._previous(entry)
            case Add(terms):
                return _sum([self.expression(term) for term in terms])
            case Mul(factors):
                return self._product(factors)
            case Power(base, exponent):
                below, power = self.expression(base), self.arithmetic.power
                return lambda: power(below(), exponent)
            case Apply(name, arguments):
                return _apply(rule(name, self.arithmetic), [self.expression(a) for a in arguments])
            case Total(body, over):
                return self._total(body, over)
            case Softmax():
                return self._softmax(expr)
            case Maximum() | Threshold():
                return self._row(expr)
            case Indicator(where):
                test = self.predicate(where)
                return lambda: int(test())
        raise UnknownPrimitiveError(
            "the exact interpreter has no rule for this node",
            found=f"{type(expr).__name__}: {expr!r}",
        )

    def predicate(self, where: Predicate) -> Test:
        """The closure of a predicate."""
        match where:
            case Truth(value):
                return lambda: value
            case Compare(op, left, right):
                return self._compare(_COMPARE[op], left, right)
            case Holds(entry):
                return self._entry(entry)
            case All(parts):
                every = [self.predicate(part) for part in parts]
                return lambda: all(test() for test in every)
            case AnyOf(parts):
                some = [self.predicate(part) for part in parts]
                return lambda: any(test() for test in some)
            case Not(part):
                inner = self.predicate(part)
                return lambda: not inner()
        raise UnknownPrimitiveError(
            "the exact interpreter has no rule for this predicate",
            found=f"{type(where).__name__}: {where!r}",
        )

    def offset(self, entry: Entry) -> Callable[[], int]:
        """The closure that gives where an entry stands in its flat table."""
        if entry.tensor.name not in self.tables:
            raise AttnverifyError(
                "a tensor has no table",
                found=str(entry),
                due=", ".join(self.tables) or "none is given",
            )
        shape = self.tables[entry.tensor.name][1]
        due = tuple(self.places.length(place) for place in entry.places)
        if shape != due:
            raise ShapeError(
                "a table has another shape than its axes",
                array=str(entry),
                found=str(shape),
                due=str(due),
            )
        steps: list[tuple[int, int]] = []
        stride, positions = 1, self.places.positions
        for index in reversed(entry.indices):
            steps.append((self.places.read(index), stride))
            stride *= self.places.length(index)
        return _offset(positions, steps)

    # ---- One rule per node

    def _scalar(self, value: sympy.Expr) -> Thunk:
        """What stands at no position is made a number once."""
        number = self.arithmetic.number
        with self.places.reading() as used:
            scalar = self.scalars.compiled(value)
        if used:
            return lambda: number(scalar())
        fixed = number(scalar())
        return lambda: fixed

    def _entry(self, entry: Entry) -> Thunk:
        offset = self.offset(entry)
        flat = self.tables[entry.tensor.name][0]
        return lambda: flat[offset()]

    def _previous(self, entry: Entry) -> Thunk:
        """The state one step earlier, or its initial value at the first step."""
        if entry.tensor.name not in self.before:
            raise AttnverifyError("previous(...) has no recurrence around it", found=str(entry))
        head, along, reverse, first = self.before[entry.tensor.name]
        spot = head.places.index(along)
        begun = self._entry(Entry(first.tensor, entry.places[:spot] + entry.places[spot + 1 :]))
        earlier, slot, positions = (
            self._entry(entry),
            self.places.read(along),
            self.places.positions,
        )
        edge, step = (self.places.length(along) - 1, 1) if reverse else (0, -1)

        def run() -> Value:
            place = positions[slot]
            if place == edge:
                return begun()
            positions[slot] = place + step
            result = earlier()
            positions[slot] = place
            return result

        return run

    def _product(self, factors: Sequence[Expr]) -> Thunk:
        """A product is 0 where one of its indicators is, whatever the other factors are."""
        tests = [self.predicate(f.where) for f in factors if isinstance(f, Indicator)]
        rest = [self.expression(f) for f in factors if not isinstance(f, Indicator)]

        def run() -> Value:
            for test in tests:
                if not test():
                    return 0
            result: Value = 1
            for factor in rest:
                result = result * factor()
            return result

        return run

    def _total(self, body: Expr, over: tuple[Index, ...]) -> Thunk:
        with self.places.reading(*over):
            inner = self.expression(body)
        slots = [self.places.slot(index) for index in over]
        ranges = [range(self.places.length(index)) for index in over]
        positions = self.places.positions

        if len(slots) == 1:
            return _sum_along(positions, slots[0], ranges[0], inner)

        def run() -> Value:
            saved = [positions[slot] for slot in slots]
            result: Value = 0
            for standing in product(*ranges):
                for slot, place in zip(slots, standing, strict=True):
                    positions[slot] = place
                result = result + inner()
            for slot, place in zip(slots, saved, strict=True):
                positions[slot] = place
            return result

        return run

    def _row(self, node: Maximum | Threshold) -> Thunk:
        """The largest of the scores that are seen, or their threshold; a row is computed once."""
        over, arithmetic = node.over, self.arithmetic
        with self.places.reading(over) as used:
            test, score = self.predicate(node.where), self.expression(node.score)
        slot, positions = self.places.slot(over), self.places.positions
        length, others = self.places.length(over), sorted(used - {slot})
        kept: dict[tuple[int, ...], Value] = {}

        def row() -> Iterator[Value]:
            saved = positions[slot]
            for place in range(length):
                positions[slot] = place
                if test():
                    yield score()
            positions[slot] = saved

        def run() -> Value:
            key = tuple([positions[s] for s in others])
            if key not in kept:
                kept.clear()
                seen = list(row())
                if isinstance(node, Maximum):
                    kept[key] = max(seen, default=0)
                else:
                    kept[key] = threshold(arithmetic, seen, node.exponent)
            return kept[key]

        return run

    def _softmax(self, node: Softmax) -> Thunk:
        """The exponentials of the visible places over their sum; a row is computed once."""
        exp = rule("exp", self.arithmetic)
        with self.places.reading(node.over) as used:
            test, score = self.predicate(node.where), self.expression(node.score)
        slot, at = self.places.slot(node.over), self.places.read(node.at)
        positions, length, power = (
            self.places.positions,
            self.places.length(node.over),
            self.arithmetic.power,
        )
        key_slots = sorted(used - {slot})
        kept: dict[tuple[int, ...], list[Value]] = {}

        def row() -> Iterator[Value]:
            saved = positions[slot]
            for place in range(length):
                positions[slot] = place
                yield exp(score()) if test() else 0
            positions[slot] = saved

        def run() -> Value:
            key = tuple([positions[s] for s in key_slots])
            if key not in kept:
                kept.clear()
                values = list(row())
                scale = power(sum(values), Fraction(-1))
                kept[key] = [value * scale for value in values]
            return kept[key][positions[at]]

        return run

    def _compare(self, holds: Callable[[Any, Any], bool], left: Expr, right: Expr) -> Test:
        one, other = self._side(left), self._side(right)
        number = self.arithmetic.number

        def run() -> bool:
            a, b = one(), other()
            if not (isinstance(a, int | Fraction) and isinstance(b, int | Fraction)):
                a, b = number(a), number(b)
            return holds(a, b)

        return run

    def _side(self, expr: Expr) -> Thunk:
        """One side of a comparison; scalars stay fractions, so that ties are decided exactly."""
        return (
            self.scalars.compiled(expr.value) if isinstance(expr, Scalar) else self.expression(expr)
        )


def _offset(positions: list[int], steps: list[tuple[int, int]]) -> Callable[[], int]:
    """The closure of the sum of positions times strides, written out where they are few."""
    match steps:
        case [(a, one)]:
            return lambda: positions[a] * one
        case [(a, one), (b, two)]:
            return lambda: positions[a] * one + positions[b] * two
        case [(a, one), (b, two), (c, three)]:
            return lambda: positions[a] * one + positions[b] * two + positions[c] * three
        case [(a, one), (b, two), (c, three), (d, four)]:
            return lambda: (
                positions[a] * one + positions[b] * two + positions[c] * three + positions[d] * four
            )
    return lambda: sum([positions[slot] * stride for slot, stride in steps])


def _sum_along(positions: list[int], slot: int, places: range, inner: Thunk) -> Thunk:
    """The closure of a sum over one index."""

    def run() -> Value:
        saved = positions[slot]
        result: Value = 0
        for place in places:
            positions[slot] = place
            result = result + inner()
        positions[slot] = saved
        return result

    return run


def _sum(terms: list[Thunk]) -> Thunk:
    def run() -> Value:
        result: Value = 0
        for term in terms:
            result = result + term()
        return result

    return run


def _apply(function: Callable[..., Value], arguments: list[Thunk]) -> Thunk:
    return lambda: function(*[argument() for argument in arguments])
