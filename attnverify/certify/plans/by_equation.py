"""Equation by equation: where a relabelled claim is proved so, what is to be checked of each.

A relabelling reaches what an equation assigns as it reaches what it reads. If that holds of every
equation for any arrays that it reads, it holds of what they compute from the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from attnverify.algebra.rewrite import entries
from attnverify.algebra.terms import Entry
from attnverify.certify.errors import Rejected
from attnverify.certify.plans.told import Told
from attnverify.equations import Equation, equations_of
from attnverify.statement import Relabel, Statement


def equations(statement: Statement, _: Told) -> tuple[Statement, ...]:
    """The statements about one equation each that a relabelled statement follows from.

    Raises Rejected for another statement, and where a recurrence is needed.
    """
    rows = _needed(statement)
    heads = {row.name: row.head for row in rows}
    whole = [row for row in rows if row.head == statement.left == statement.right]
    if not statement.relabels or statement.hypotheses or statement.kind != "equal" or not whole:
        raise Rejected("an array computed from what is relabelled was due, without hypotheses")
    if any(relabel.indices != _along(whole[0].head, relabel) for relabel in statement.relabels):
        raise Rejected("a relabelling reaches every index of its axis")
    return tuple(_obligation(statement, row, heads) for row in rows)


def _obligation(statement: Statement, row: Equation, heads: Mapping[str, Entry]) -> Statement:
    """That what an equation assigns is relabelled, if the arrays that it reads are."""
    read = dict.fromkeys(entry.tensor.name for entry in entries(row.body))
    arrays = [heads[name] for name in read if name in heads]
    spec = statement.spec.replace(
        inputs=(*statement.spec.inputs, *arrays), equations=(row,), outputs=(row.name,)
    )
    moved = []
    for relabel in statement.relabels:
        more = (array.tensor.name for array in arrays if _along(array, relabel))
        tensors = (*relabel.tensors, *more)
        moved.append(replace(relabel, tensors=tensors, indices=_along(row.head, relabel)))
    return Statement(row.name, "equal", spec, row.head, row.head, (), tuple(moved))


def _needed(statement: Statement) -> tuple[Equation, ...]:
    """The equations that a statement's sides need, what is read first."""
    wanted = {e.tensor.name for e in (*entries(statement.left), *entries(statement.right))}
    found: list[Equation] = []
    for row in reversed(statement.spec.equations):
        if not wanted.isdisjoint(equation.name for equation in equations_of(row)):
            if not isinstance(row, Equation):
                raise Rejected("a recurrence is proved by its steps")
            wanted |= {entry.tensor.name for entry in entries(row.body)}
            found.append(row)
    return tuple(reversed(found))


def _along(entry: Entry, relabel: Relabel) -> tuple[str, ...]:
    """An entry's indices of a relabelling's axis."""
    return tuple(index.name for index in entry.indices if index.axis.name == relabel.axis)
