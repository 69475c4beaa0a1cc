"""What a proof of a statement can depend on, so that one proof serves all statements that share it.

Specs of one family, and of many families, hold the same equations on the way to what a statement
reads: that rows of weights sum to one says nothing of the values, nor of what is computed later.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field

from attnverify.algebra.rewrite import entries, predicate_entries
from attnverify.equations import Equation, Recurrence, equations_of
from attnverify.spec import Spec
from attnverify.statement import Sees, Statement


@dataclass(frozen=True)
class Claim:
    """A statement with some names of its spec taken as any arrays; equal where it claims the same.

    Its name, its words and its spec's name are no part of what it claims.
    """

    content: Hashable
    statement: Statement = field(compare=False)
    opaque: frozenset[str] = field(compare=False)


def claim(statement: Statement, opaque: Collection[str] = ()) -> Claim:
    """A statement as what it claims where the names in `opaque` may be any arrays.

    Every equation counts that the sides or the hypotheses read, directly or through others; where
    the spec has a recurrence every equation counts. So do all declared axes and all parameters.

    >>> from attnverify import load
    >>> from attnverify.algebra.terms import ONE, total
    >>> def rows(spec):
    ...     A = spec.equation("A").head
    ...     return claim(Statement("rows", "equal", spec, total(A, over=A.indices[-1]), ONE), {"S"})
    >>> rows(load("global")) == rows(load("cross")), rows(load("global")) == rows(load("causal"))
    (True, False)
    """
    spec, taken = statement.spec, frozenset(opaque)
    told = {row.name: row for row in spec.equations if isinstance(row, Equation)}
    met = _met(statement, {name: row for name, row in told.items() if name not in taken})
    kept = taken & met
    rows = tuple(row for row in spec.equations if equations_of(row)[0].name in met - taken)
    if any(isinstance(row, Recurrence) for row in spec.equations):
        # What is told of a proof names the states that any equation reads.
        rows, kept = spec.equations, taken & set(spec.heads)
    content = (
        statement.kind,
        statement.left,
        statement.right,
        statement.hypotheses,
        statement.relabels,
        rows,
        kept,
        spec.parameters,
        _declared(spec),
    )
    return Claim(content, statement, kept)


def _met(statement: Statement, told: dict[str, Equation]) -> set[str]:
    """The names that a statement reads, directly or through the equations told."""
    met: set[str] = set()
    waiting = list(_read(statement))
    while waiting:
        name = waiting.pop()
        if name not in met:
            met.add(name)
            waiting += [e.tensor.name for e in entries(told[name].body)] if name in told else []
    return met


def _read(statement: Statement) -> Iterator[str]:
    """The names that the sides and the hypotheses read."""
    for side in (statement.left, statement.right):
        yield from (entry.tensor.name for entry in entries(side))
    for hypothesis in statement.hypotheses:
        where = hypothesis.where if isinstance(hypothesis, Sees) else hypothesis
        yield from (entry.tensor.name for entry in predicate_entries(where))


def _declared(spec: Spec) -> tuple[tuple[str, str], ...]:
    """The sizes that axes are declared with: axes are equal by name alone."""
    return tuple((axis.name, axis.declaration) for axis in spec.axes if axis.follows)
