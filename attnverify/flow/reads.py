"""What each equation reads at which positions, at sizes that are known.

Everything goes by the form of equations: an entry is read where no factor beside it is 0 by an
indicator, and a value that no form makes 0 counts as one that may differ from 0. What a predicate
asks of inputs is not known, so that it may hold everywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import sympy

from attnverify.algebra.predicates import (
    All,
    AnyOf,
    Compare,
    Predicate,
    Truth,
    conjunction,
)
from attnverify.algebra.rewrite import free, predicate_entries, unknown
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
    symbol_axis,
    symbol_index,
    symbols_of,
)
from attnverify.equations import Recurrence
from attnverify.errors import ParameterError, ShapeError
from attnverify.flow.places import EVERYWHERE, NOWHERE, Array, Places

# Functions that are 0 at 0. log is not among them: in numbers, log 0 is -inf.
ZERO_AT_ZERO = frozenset(
    {"relu", "tanh", "sin", "erf", "absolute", "sign", "step", "stop_gradient"}
)
COMPARED = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


@dataclass(frozen=True)
class Read:
    """One way in which a value reads a tensor.

    `at` has an index for each position of the entry that is read, `where` the places at which it
    is. `hop` tells that the reader sums over the position or reads a step before, `earlier` that it
    is the step before, `mask` that only a predicate reads it.
    """

    tensor: str
    at: tuple[Index, ...]
    where: Places
    hop: bool = False
    earlier: bool = False
    mask: bool = False


@dataclass(frozen=True)
class Value:
    """Where a value may differ from 0, and what it reads."""

    support: Places
    reads: tuple[Read, ...] = ()


class Reader:
    """Reads expressions at sizes; `along` names the axes whose positions are told apart."""

    def __init__(self, name: str, sizes: Mapping[str, int], along: frozenset[str]) -> None:
        self.name, self.sizes, self.along = name, sizes, along
        # Predicates that were taken to hold everywhere.
        self.supports: dict[str, tuple[tuple[Index, ...], Places]] = {}
        # The same of a state one step before, at the position of the step.
        self.before: dict[str, tuple[tuple[Index, ...], Places]] = {}
        self.undecided: set[str] = set()
        self._slots = itertools.count()

    def positions(self, entry: Entry) -> tuple[Index, ...]:
        """The indices of an entry whose positions are told apart."""
        return tuple(index for index in entry.indices if index.axis.name in self.along)

    def length(self, index: Index) -> int:
        """The number of positions of an index; ShapeError where its axis has no size."""
        size = self.sizes.get(index.axis.name)
        if size is None:
            raise ShapeError(
                "a size is needed to tell which positions are read",
                spec=self.name,
                axis=index.axis.name,
                hint=f"give sizes={{'{index.axis.name}': ...}}",
            )
        return size

    # Recurrences

    def settle(self, rec: Recurrence) -> None:
        """Find where the states of a recurrence may differ from 0, from the first step on.

        Each pass goes one step further, so that there are no more than there are steps.
        """
        begun = {name: self.expr(value).support for name, value in rec.initial}
        for step in rec.steps:
            self.supports[step.name] = (self.positions(step.head), NOWHERE)
        moving = True
        while moving:
            for name, first in begun.items():
                head, support = self.supports[name]
                self.before[name] = (head, self._shifted(rec, head, support, first))
            moving = False
            for step in rec.steps:
                head, known = self.supports[step.name]
                found = self._over(head, self.expr(step.body).support)
                moving = moving or bool((found.array & ~known.over(head)).any())
                self.supports[step.name] = (head, found)

    def _over(self, head: tuple[Index, ...], support: Places) -> Places:
        """Places over all of a head's positions and nothing else."""
        shape = tuple(self.length(index) for index in head)
        kept = support.some(index for index in support.dims if index not in head)
        return Places(np.broadcast_to(kept.over(head), shape), head)

    def _shifted(
        self, rec: Recurrence, head: tuple[Index, ...], support: Places, first: Places
    ) -> Places:
        """Where the step before is not 0, at each step; at the first one, the initial value."""
        spot = head.index(rec.along)
        steps = np.moveaxis(self._over(head, support).array, spot, 0)
        rest = (*head[:spot], *head[spot + 1 :])
        begin = self._over(rest, first).array[None]
        order = [steps[1:], begin] if rec.reverse else [begin, steps[:-1]]
        return Places(np.moveaxis(np.concatenate(order), 0, spot), head)

    # Predicates

    def possible(self, where: Predicate) -> Places:
        """Where a predicate holds or, where it reads inputs, may hold."""
        match where:
            case Truth(value):
                return EVERYWHERE if value else NOWHERE
            case Compare(op, Scalar(left), Scalar(right)):
                return self._compared(op, left - right)
            case All(parts) | AnyOf(parts):
                found = EVERYWHERE if isinstance(where, All) else NOWHERE
                for part in parts:
                    one = self.possible(part)
                    found = found & one if isinstance(where, All) else found | one
                return found
        self.undecided.add(str(where))  # it reads inputs, or counts: nothing is known
        return EVERYWHERE

    def _compared(self, op: str, difference: sympy.Expr) -> Places:
        """Where a difference of scalars stands to 0 as told."""
        sized = difference.xreplace(
            {s: sympy.Integer(self._size(s)) for s in difference.free_symbols if symbol_axis(s)}
        )
        found = (symbol_index(s) for s in symbols_of(sized))
        indices = [index for index in found if index is not None]
        open_names = [str(s) for s in sized.free_symbols if symbol_index(s) is None]
        if open_names:
            raise ParameterError(
                "a mask depends on a parameter that is left open",
                spec=self.name,
                found=", ".join(sorted(open_names)),
                hint=f"give it a value: {min(open_names)}=...",
            )
        places = np.ix_(*(np.arange(self.length(i)) for i in indices)) if indices else ()
        values = dict(zip(indices, places, strict=True))
        above, _ = _whole(sympy.expand(sized), values)
        shape = tuple(self.length(i) for i in indices)
        return Places(np.broadcast_to(COMPARED[op](above, 0), shape), tuple(indices))

    def _size(self, symbol: sympy.Symbol) -> int:
        axis = symbol_axis(symbol) or ""
        if axis not in self.sizes:
            raise ShapeError(
                "a mask depends on a size that is not given", spec=self.name, axis=axis
            )
        return self.sizes[axis]

    # Expressions

    def expr(self, expr: Expr) -> Value:
        """Where an expression may differ from 0, and what it reads where."""
        match expr:
            case Scalar(value):
                return Value(NOWHERE if value == 0 else EVERYWHERE)
            case Entry():
                return self._entry(expr)
            case Previous(entry):
                return self._previous(entry)
            case Add(terms):
                values = [self.expr(term) for term in terms]
                return Value(_either(v.support for v in values), _all_reads(values))
            case Mul(factors):
                return _product([self.expr(factor) for factor in factors])
            case Power(base, _):  # the inverse is total: 0 where its base is
                return self.expr(base)
            case Apply(name, arguments):
                return self._apply(name, arguments)
            case Indicator(where):
                return Value(self.possible(where), tuple(self._asked(where)))
            case Total(body, over):
                return self._summed(expr, self.expr(body), over)
            case Softmax():
                return self._softmax(expr)
            case Maximum(score, over, where) | Threshold(score, over, where, _):
                inside = _product([self.expr(score), self.expr(Indicator(where))])
                return Value(EVERYWHERE, self._summed(expr, inside, (over,)).reads)
        raise unknown(expr, "reading positions")

    def _entry(self, entry: Entry) -> Value:
        at = self.positions(entry)
        head, support = self.supports[entry.tensor.name]
        support = support.renamed(dict(zip(head, at, strict=True)))
        return Value(support, (Read(entry.tensor.name, at, support),))

    def _previous(self, entry: Entry) -> Value:
        at = self.positions(entry)
        head, support = self.before[entry.tensor.name]
        support = support.renamed(dict(zip(head, at, strict=True)))
        return Value(support, (Read(entry.tensor.name, at, support, hop=True, earlier=True),))

    def _apply(self, name: str, arguments: tuple[Expr, ...]) -> Value:
        values = [self.expr(argument) for argument in arguments]
        small = name in ZERO_AT_ZERO and len(values) == 1
        return Value(values[0].support if small else EVERYWHERE, _all_reads(values))

    def _asked(self, where: Predicate) -> Iterator[Read]:
        """What a predicate reads."""
        for entry in predicate_entries(where):
            yield Read(entry.tensor.name, self.positions(entry), EVERYWHERE, mask=True)

    def _softmax(self, expr: Softmax) -> Value:
        """exp(score) at its own place over the sum of those in its row; 0 where masked."""
        score, keep = self.expr(expr.score), self.expr(Indicator(expr.where))
        grown = Value(keep.support, (*score.reads, *keep.reads))
        inside = Value(keep.support, tuple(_seen(r, keep.support) for r in grown.reads))
        row = self._summed(expr, inside, (expr.over,))
        own = {expr.over: expr.at}
        shown = keep.support.renamed(own)
        reads = [*(_renamed(read, own) for read in inside.reads), *row.reads]
        return Value(shown, tuple(_seen(read, shown) for read in reads))

    def _summed(self, node: Expr, inside: Value, over: tuple[Index, ...]) -> Value:
        """A value summed over indices: what is read at them is read at positions of its own."""
        support = inside.support.some(over)
        return Value(support, tuple(self._left(node, read, over) for read in inside.reads))

    def _left(self, node: Expr, read: Read, over: tuple[Index, ...]) -> Read:
        own = [index for index in over if index in read.at]
        carried = all(self._carries(node, read, index) for index in own)
        slots = {i: Index(f"#{next(self._slots)}", i.axis) for i in own}
        where = read.where.some(i for i in over if i not in slots)
        read = _renamed(replace(read, where=where), slots)
        return replace(read, hop=read.hop or not carried)

    def _carries(self, node: Expr, read: Read, index: Index) -> bool:
        """Whether a sum only reads another axis at a place: no position of this axis is left.

        As a cache that is laid before new keys, or the last state that a decoder starts from.
        """
        outside = {i.axis.name for i in free(node)}
        return (
            isinstance(node, Total)
            and index.axis.name not in outside
            and _placed(node.body, index)
            and read.where.single(index)
        )


def _placed(body: Expr, index: Index) -> bool:
    """Whether an indicator says where an index stands."""
    factors = body.factors if isinstance(body, Mul) else (body,)
    where = conjunction(*(f.where for f in factors if isinstance(f, Indicator)))
    parts = where.parts if isinstance(where, All) else (where,)
    equal = [part for part in parts if isinstance(part, Compare) and part.op == "=="]
    return any(index in {**free(part.left), **free(part.right)} for part in equal)


def _whole(value: sympy.Expr, at: Mapping[Index, Array]) -> tuple[Array, int]:
    """A scalar of positions as whole numbers over a common denominator of at least 1."""
    if value.is_Rational:
        return np.asarray(int(value.p)), int(value.q)
    index = symbol_index(value) if value.is_Symbol else None
    if index is not None and index in at:
        return at[index], 1
    if isinstance(value, sympy.floor):
        above, below = _whole(sympy.expand(value.args[0]), at)
        return above // below, 1
    if value.is_Add or value.is_Mul:
        parts = [_whole(part, at) for part in value.args]
        if value.is_Mul:
            return _multiplied(p for p, _ in parts), math.prod(q for _, q in parts)
        below = math.lcm(*(q for _, q in parts))
        return sum((p * (below // q) for p, q in parts), np.asarray(0)), below
    if value.is_Pow and value.exp.is_Integer and value.exp > 0:
        above, below = _whole(value.base, at)
        return above ** int(value.exp), below ** int(value.exp)
    raise unknown(Scalar(value), "deciding a mask")


def _multiplied(parts: Iterable[Array]) -> Array:
    found = np.asarray(1)
    for part in parts:
        found = found * part
    return found


def _product(values: list[Value]) -> Value:
    """A product: each factor is read where none of the others is 0."""
    reads: list[Read] = []
    for n, value in enumerate(values):
        others = _both(other.support for m, other in enumerate(values) if m != n)
        reads += [_seen(read, others) for read in value.reads]
    return Value(_both(value.support for value in values), tuple(reads))


def _seen(read: Read, where: Places) -> Read:
    return replace(read, where=read.where & where)


def _renamed(read: Read, to: Mapping[Index, Index]) -> Read:
    return replace(read, at=tuple(to.get(i, i) for i in read.at), where=read.where.renamed(to))


def _all_reads(values: Iterable[Value]) -> tuple[Read, ...]:
    return tuple(read for value in values for read in value.reads)


def _both(parts: Iterable[Places]) -> Places:
    found = EVERYWHERE
    for part in parts:
        found = found & part
    return found


def _either(parts: Iterable[Places]) -> Places:
    found = NOWHERE
    for part in parts:
        found = found | part
    return found


__all__ = ["Read", "Reader", "Value"]
