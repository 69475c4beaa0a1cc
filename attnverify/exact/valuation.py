"""The value of an expression at given places, in exact or high precision.

It rests on the terms alone and shares no rule with what it is used to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import Entry, Expr, Index, Tensor
from attnverify.errors import ShapeError
from attnverify.exact.arithmetic import Arithmetic, HighPrecision, Rational, Value
from attnverify.exact.closures import Closures, Table
from attnverify.exact.places import Places
from attnverify.exact.scalars import Scalars, Thunk
from attnverify.exact.shapes import Array, as_array, kind_of


class Valuation:
    """Values of expressions over tables of numbers.

    `sizes` gives the positions of each axis by name, `tables` an array for each tensor that is
    read (nested lists or NumPy; floats are exact), `parameters` a number for each parameter.
    `precision` is a number of decimal digits; with `rational=True` values are fractions and what
    is not rational raises.

    >>> from attnverify.notation import axes, tensors, total
    >>> (keys,) = axes("keys")
    >>> (x,) = tensors("x")
    >>> j = keys["j"]
    >>> Valuation({"keys": 3}, {"x": [1, 2, 3]}, rational=True).value(total(x[j] ** 2, over=j))
    Fraction(14, 1)
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        tables: Mapping[str, object],
        parameters: Mapping[str, int | float | Fraction] | None = None,
        precision: int = 50,
        *,
        rational: bool = False,
    ) -> None:
        # A parameter given as a float means the decimal that it prints as, here as in a spec.
        known = {
            name: Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
            for name, value in (parameters or {}).items()
        }
        self.arithmetic: Arithmetic = Rational() if rational else HighPrecision(precision)
        self._places = Places(sizes)
        self._closures = Closures(
            self._places, Scalars(self._places, known, self.arithmetic), self.arithmetic
        )
        self._asked: dict[Expr | Predicate, tuple[Callable[[], Value], set[int]]] = {}
        for name, values in tables.items():
            self.put(name, values)

    def value(self, expr: Expr, places: Mapping[Index, int] | None = None) -> Value:
        """The value of an expression, an mpf or a Fraction, with its free indices at `places`.

        Raises AttnverifyError where the value is not real, ShapeError for an index without a
        position.
        """
        return self.arithmetic.number(self._answer(expr, places or {}))

    def holds(self, predicate: Predicate, places: Mapping[Index, int] | None = None) -> bool:
        """Whether a predicate holds where its free indices stand at `places`."""
        return bool(self._answer(predicate, places or {}))

    def array(self, name: str) -> Array:
        """A tensor's table as an object array."""
        flat, shape = self._closures.tables[name]
        result = np.empty(len(flat), dtype=object)
        result[:] = flat
        return result.reshape(shape)

    def table(self, name: str) -> Table:
        """A tensor's table as it is kept: its values in a row, and its shape."""
        return self._closures.tables[name]

    def restore(self, name: str, table: Table) -> None:
        """Set a tensor's table to one that was taken by `table`."""
        self._closures.tables[name] = table
        self._asked.clear()

    def put(self, name: str, values: object) -> None:
        """Set the table of a tensor, axes in the order of its places."""
        array = as_array(name, values)
        strange = [v for v in array.ravel().tolist() if kind_of(v) not in ("bool", "int", "real")]
        if strange:
            raise ShapeError("a table holds numbers", array=name, found=repr(strange[0]))
        kept = [self._exact(value) for value in array.ravel().tolist()]
        self._closures.tables[name] = kept, array.shape
        self._asked.clear()

    def assign(self, head: Entry, expr: Expr) -> None:
        """Set a head's table to the values of an expression at every place."""
        self._blank(head)
        self._filler(head, expr)({})

    def iterate(
        self,
        along: Index,
        steps: Mapping[Entry, Expr],
        initial: Mapping[str, Expr],
        *,
        reverse: bool,
    ) -> None:
        """Set the tables of coupled heads step by step along an index."""
        heads = {head.tensor.name: head for head in steps}
        for name, value in initial.items():
            head = heads[name]
            first = Entry(Tensor(f"{name} before"), tuple(p for p in head.places if p != along))
            self.assign(first, value)
            self._closures.before[name] = head, along, reverse, first
        for head in steps:
            self._blank(head)
        fillers = [self._filler(head, body) for head, body in steps.items()]
        order = range(self._places.length(along))
        for place in reversed(order) if reverse else order:
            for fill in fillers:
                fill({along: place})

    def _answer(self, asked: Expr | Predicate, places: Mapping[Index, int]) -> Value:
        if asked not in self._asked:
            with self._places.reading() as used:
                thunk: Thunk = (
                    self._closures.predicate(asked)
                    if isinstance(asked, Predicate)
                    else self._closures.expression(asked)
                )
            self._asked[asked] = thunk, used
        thunk, used = self._asked[asked]
        with self._places.standing(places, used):
            return thunk()

    def _exact(self, value: Value) -> Value:
        """A number without loss: Python's integers and booleans as they are."""
        if isinstance(value, bool | int):
            return value
        if isinstance(value, np.bool_ | np.integer):
            return value.item()
        if isinstance(value, np.longdouble) and np.isfinite(value):
            return self.arithmetic.number(Fraction(*value.as_integer_ratio()))
        return self.arithmetic.number(float(value) if isinstance(value, np.floating) else value)

    def _blank(self, head: Entry) -> None:
        """An empty table of the head's shape."""
        shape = tuple(self._places.length(place) for place in head.places)
        self._closures.tables[head.tensor.name] = [None] * prod(shape), shape
        self._asked.clear()

    def _filler(self, head: Entry, body: Expr) -> Callable[[Mapping[Index, int]], None]:
        """The loop that sets a head's table at every place, some of its indices held fixed."""
        thunk, offset = self._closures.expression(body), self._closures.offset(head)
        flat, positions = self._closures.tables[head.tensor.name][0], self._places.positions
        slots = [self._places.slot(index) for index in head.indices]
        number = self.arithmetic.number

        def fill(fixed: Mapping[Index, int]) -> None:
            ranges = [
                (fixed[index],) if index in fixed else range(self._places.length(index))
                for index in head.indices
            ]
            for standing in product(*ranges):
                for slot, place in zip(slots, standing, strict=True):
                    positions[slot] = place
                flat[offset()] = number(thunk())

        return fill
