"""How expressions read: which entries, under which sums, and where an expression can be non-zero.

All of it goes by the form of equations; nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from attnverify.algebra.predicates import (
    FALSE,
    TRUE,
    All,
    AnyOf,
    Predicate,
    conjunction,
    disjunction,
)
from attnverify.algebra.rewrite import children, free, free_in, rename_in
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Total,
)
from attnverify.equations import Equation, equations_of
from attnverify.spec import Spec

# Functions that are 0 at 0.  log is not among them: in numbers, log 0 is -inf.
ZERO_AT_ZERO = frozenset(
    {"relu", "tanh", "sin", "erf", "absolute", "sign", "step", "stop_gradient"}
)


@dataclass(frozen=True)
class Read:
    """An entry that an expression reads outside its predicates, and what binds around it."""

    entry: Entry
    around: tuple[Expr, ...] = ()

    def binder(self, index: Index) -> Expr | None:
        """The innermost sum or softmax around the entry that binds an index; None where free."""
        return next((node for node in reversed(self.around) if index in bound_by(node)), None)


def bound_by(node: Expr) -> tuple[Index, ...]:
    """The indices that a node binds: free below it and not in it, or summed."""
    match node:
        case Total(_, over):
            return over
        case Softmax(_, over, _, _):
            return (over,)
    below = {index: None for child in children(node) for index in free(child)}
    outside = free(node)
    return tuple(index for index in below if index not in outside)


def reads(expr: Expr, around: tuple[Expr, ...] = ()) -> Iterator[Read]:
    """Every entry that an expression reads now, outside predicates, with its binders."""
    if isinstance(expr, Entry):
        yield Read(expr, around)
    elif not isinstance(expr, Previous):
        inside = (*around, expr) if bound_by(expr) else around
        for child in children(expr):
            yield from reads(child, inside)


@lru_cache(maxsize=64)
def assigned(spec: Spec) -> Mapping[str, Equation]:
    """Every equation by the name it assigns, steps of recurrences among them, in order."""
    return {e.name: e for statement in spec.equations for e in equations_of(statement)}


def support(spec: Spec, expr: Expr) -> Predicate:
    """A predicate outside which an expression is 0 by its form, over its free indices.

    >>> from attnverify import load
    >>> spec = load("linear", causal=True)
    >>> print(support(spec, spec.equation("W").body))
    j <= i
    """
    match expr:
        case Indicator(where):
            return where
        case Softmax(_, over, where, at):
            return rename_in(where, {over: at})
        case Mul(factors):
            return conjunction(*(support(spec, factor) for factor in factors))
        case Add(terms):
            return disjunction(*(support(spec, term) for term in terms))
        case Power(base, _):  # the inverse is total: 0 where its base is
            return support(spec, base)
        case Apply(name, (argument, *_)) if name in ZERO_AT_ZERO:
            return support(spec, argument)
        case Total(body, over):
            return _without(support(spec, body), over)
        case Entry():
            return _support_of_entry(spec, expr)
        case Scalar(value):
            return FALSE if value == 0 else TRUE
    return TRUE


def _support_of_entry(spec: Spec, entry: Entry) -> Predicate:
    row = assigned(spec).get(entry.tensor.name)
    if row is None:
        return TRUE
    inside = _support_of_name(spec, row.name)
    return rename_in(inside, dict(zip(row.head.indices, entry.indices, strict=True)))


@lru_cache(maxsize=256)
def _support_of_name(spec: Spec, name: str) -> Predicate:
    """Outside of what an assigned name is 0: worked out once, however often layers read it."""
    return support(spec, assigned(spec)[name].body)


def _without(where: Predicate, bound: tuple[Index, ...]) -> Predicate:
    """What of a predicate can be said without some of its indices."""
    return conjunction(*(part for part in parts(where) if not {*free_in(part)} & {*bound}))


def parts(where: Predicate) -> tuple[Predicate, ...]:
    """The predicates that all hold where this one does."""
    return where.parts if isinstance(where, All) else () if where == TRUE else (where,)


def covers(inside: Predicate, where: Predicate) -> bool:
    """Whether `inside` implies `where` by its form: it has each of its parts."""
    ways = inside.parts if isinstance(inside, AnyOf) else (inside,)
    return inside == FALSE or all({*parts(where)} <= {*parts(way)} for way in ways)


def inputs_at(
    spec: Spec, expr: Expr, marks: Mapping[Index, str]
) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    """Each input that an expression depends on, as declared, and the mark of each of its indices.

    A mark goes with an index through the definitions of names; an index that a sum binds has none
    and says "".
    """
    for read in reads(expr):
        told = tuple(_mark(read, index, marks) for index in read.entry.indices)
        row = assigned(spec).get(read.entry.tensor.name)
        if row is None:
            yield spec.heads[read.entry.tensor.name], told
        elif any(told):
            inner = dict(zip(row.head.indices, told, strict=True))
            yield from inputs_at(spec, row.body, {i: m for i, m in inner.items() if m})


def _mark(read: Read, index: Index, marks: Mapping[Index, str]) -> str:
    """The mark of a free index; a softmax read at a marked place reads its scores there."""
    node = read.binder(index)
    if node is None:
        return marks.get(index, "")
    return marks.get(node.at, "") if isinstance(node, Softmax) else ""
