"""The ways from inputs to outputs, as predicates over positions, for all sizes.

Where the graph has positions, this has indices: an output at position t reads an input at position
s, through names that pass it on in place and sums over positions, each of which is a hop as in the
graph. A way through a step of a recurrence is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import sympy

from attnverify.algebra.predicates import (
    FALSE,
    TRUE,
    All,
    Compare,
    Predicate,
    conjunction,
    disjunction,
)
from attnverify.algebra.rewrite import free_in, predicate_entries, rename_in, with_scalars_in
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Maximum,
    Mul,
    Power,
    Scalar,
    Softmax,
    Threshold,
    Total,
    index_symbol,
    size_symbol,
)
from attnverify.equations import Equation, Recurrence, equations_of
from attnverify.flow.edges import CHANNELS
from attnverify.invariants.reading import support
from attnverify.spec import Spec

# Beyond so many ways into one name, a layer's form is no statement that can be read.
MOST_WAYS = 150


class _TooManyError(Exception):
    """A name has too many ways."""


@dataclass(frozen=True)
class Way:
    """An input read `at` indices, by so many hops, only where a predicate holds.

    `read` are the positions of the entry that the equation at hand reads. Where the way is `exact`
    it is there wherever the predicate holds.
    """

    tensor: str
    at: tuple[Index, ...]
    read: tuple[Index, ...] = ()
    where: Predicate = TRUE
    hops: int = 0
    exact: bool = True


@dataclass(frozen=True)
class Hop:
    """Where an output at `target` is reached from an input at `source` by at most one hop.

    `farther` has what ways of more hops there may be: their number of hops, and where they are at
    most.
    """

    target: Index
    source: Index
    where: Predicate
    farther: tuple[tuple[int, Predicate], ...] = ()


def one_hop(spec: Spec, inputs: Iterable[str] | None = None) -> Hop | None:
    """Where the first output reads an input by at most one hop, and by how many else.

    None where inputs and outputs have not one position each, where the spec has a recurrence, or
    too many ways to be told. `inputs` are those that ways start from, every real one unless told.
    The predicates are over one index of the output's position, one of the input's, sizes and
    parameters.

    >>> from attnverify import load
    >>> print(one_hop(load("sliding_window")).where)
    s <= t and s >= t - window + 1
    """
    head = spec.heads[spec.outputs[0]]
    rows = _positions(head)
    if len(rows) != 1 or any(isinstance(s, Recurrence) for s in spec.equations):
        return None
    real = {e.tensor.name for e in spec.inputs if e.tensor.kind == "real"}
    names = real if inputs is None else set(inputs)
    try:
        ways = [*_Ways(spec).of(head)]
    except _TooManyError:
        return None
    found = [way for way in ways if way.tensor in names and len(way.at) == 1]
    # Queries stand at their own output; what a sum runs over is the sequence that is read.
    axes = {w.at[0].axis for w in found if w.at != rows} or {w.at[0].axis for w in found}
    if len(axes) != 1:
        return None
    target, source = Index("t", rows[0].axis), Index("s", *axes)
    found = [way for way in found if way.at[0].axis == source.axis]
    told = [(way, _between(way, rows[0], target, source)) for way in found]
    near = [where for way, where in told if way.exact and way.hops <= 1]
    far = dict.fromkeys((way.hops, where) for way, where in told if way.hops > 1)
    vague = dict.fromkeys((1, where) for way, where in told if not way.exact and way.hops <= 1)
    return Hop(target, source, disjunction(*near), (*vague, *far))


def _between(way: Way, row: Index, target: Index, source: Index) -> Predicate:
    """Where a way is, over the output's position and the input's."""
    if way.at == (row,):  # read in place
        same = Compare("==", Scalar(index_symbol(source)), Scalar(index_symbol(target)))
        return conjunction(same, rename_in(way.where, {row: target}))
    return rename_in(way.where, {row: target, way.at[0]: source})


def _positions(entry: Entry) -> tuple[Index, ...]:
    return tuple(index for index in entry.indices if index.axis.name not in CHANNELS)


class _Ways:
    """Follows names back to inputs."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.rows: Mapping[str, Equation] = {
            e.name: e for statement in spec.equations for e in equations_of(statement)
        }
        self.known: dict[str, tuple[Way, ...]] = {}
        self.fresh = 0

    def of(self, expr: Expr) -> Iterator[Way]:
        """Every way that an expression reads an input."""
        match expr:
            case Entry():
                yield from self._entry(expr)
            case Add(parts) | Apply(_, parts):
                for part in parts:
                    yield from self.of(part)
            case Mul(factors):
                for n, factor in enumerate(factors):
                    others = [support(self.spec, f) for m, f in enumerate(factors) if m != n]
                    yield from _under(self.of(factor), conjunction(*others))
            case Power(base, _):
                yield from self.of(base)
            case Total(body, over):
                yield from self._summed(self.of(body), over)
            case Maximum(score, over, where) | Threshold(score, over, where, _):
                yield from self._summed(_under(self.of(score), where), (over,))
            case Softmax(score, over, where, at):
                shown = rename_in(where, {over: at})
                yield from _under(self._summed(_under(self.of(score), where), (over,)), shown)
                own = (_moved(way, {over: at}) for way in self.of(score))
                yield from _under(own, shown)

    def _entry(self, entry: Entry) -> Iterator[Way]:
        read, row = _positions(entry), self.rows.get(entry.tensor.name)
        if row is None:
            yield Way(entry.tensor.name, read, read)
            return
        if row.name not in self.known:
            own = row.head.indices
            found = (_named(_plain(way, own), own) for way in self.of(row.body))
            self.known[row.name] = tuple(dict.fromkeys(found))
            if len(self.known[row.name]) > MOST_WAYS:
                raise _TooManyError
        to = dict(zip(row.head.indices, entry.indices, strict=True))
        for way in self.known[row.name]:
            apart = {index: self._new(index) for index in way.at if index not in to}
            yield replace(_moved(_moved(way, apart), to), read=read)

    def _new(self, index: Index) -> Index:
        self.fresh += 1
        return Index(f"{index.name.partition('#')[0]}#{self.fresh}", index.axis)

    def _summed(self, ways: Iterable[Way], over: tuple[Index, ...]) -> Iterator[Way]:
        """What a sum reads: an index that it binds becomes a position of the source's own."""
        for way in ways:
            left = any(index in way.read for index in over)
            own = {index: self._new(index) for index in over if index in way.at}
            found = replace(_moved(way, own), hops=way.hops + left)
            for index in over:
                if index not in own and index in free_in(found.where):
                    found = _without(found, index)
            yield found


def _plain(way: Way, own: tuple[Index, ...]) -> Way:
    """A way without what its predicate says of inputs, or of other indices than it has."""
    known = {*own, *way.at}
    parts = way.where.parts if isinstance(way.where, All) else (way.where,)
    kept = [p for p in parts if {*free_in(p)} <= known and not [*predicate_entries(p)]]
    exact = way.exact and len(kept) == len(parts)
    return replace(way, where=conjunction(*kept), exact=exact)


def _named(way: Way, own: tuple[Index, ...]) -> Way:
    """A way whose own indices are named by their order, so that equal ways are equal."""
    others = [index for index in dict.fromkeys(way.at) if index not in own]
    to = {index: Index(f"#{n}", index.axis) for n, index in enumerate(others)}
    return replace(_moved(way, to), read=())


def _without(way: Way, index: Index) -> Way:
    """A way for some position of an index: the one that an equality says, or else not exact."""
    parts = way.where.parts if isinstance(way.where, All) else (way.where,)
    for part in parts:
        value = _solved(part, index)
        if value is not None:
            kept = conjunction(*(p for p in parts if p != part))
            inside = conjunction(
                with_scalars_in(kept, {index_symbol(index): value}),
                Compare(">=", Scalar(value), Scalar(sympy.Integer(0))),
                Compare("<", Scalar(value), Scalar(size_symbol(index.axis.name))),
            )
            return replace(way, where=inside)
    kept = conjunction(*(p for p in parts if index not in free_in(p)))
    return replace(way, where=kept, exact=False)


def _solved(part: Predicate, index: Index) -> sympy.Expr | None:
    """The position that an equality says an index has; None for anything else."""
    match part:
        case Compare("==", Scalar(left), Scalar(right)):
            symbol = index_symbol(index)
            difference = sympy.expand(left - right)
            times = difference.coeff(symbol, 1)
            rest = sympy.expand(difference - times * symbol)
            if times in (1, -1) and not rest.has(symbol):
                return sympy.expand(-rest * times)
    return None


def _under(ways: Iterable[Way], where: Predicate) -> Iterator[Way]:
    """Ways where a predicate holds too."""
    for way in ways:
        inside = conjunction(way.where, where)
        if inside != FALSE:
            yield replace(way, where=inside)


def _moved(way: Way, to: Mapping[Index, Index]) -> Way:
    return replace(
        way,
        at=tuple(to.get(index, index) for index in way.at),
        read=tuple(to.get(index, index) for index in way.read),
        where=rename_in(way.where, to),
    )


__all__ = ["Hop", "one_hop"]
