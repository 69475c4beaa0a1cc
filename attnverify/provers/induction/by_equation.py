"""Claims that hold of each equation, and so of all: induction along the equations of a spec.

A relabelling reaches what an equation assigns as it reaches what it reads: if that holds of every
equation, for any arrays that it reads, then it holds of the output. So a claim about a deep network
becomes a claim about each of its equations by itself, in which what it reads is an input that is
relabelled like the others, and no expression grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from attnverify.algebra.rewrite import entries
from attnverify.algebra.terms import Entry
from attnverify.equations import Equation
from attnverify.provers.induction.plan import Plan
from attnverify.provers.induction.steps import flat, needed_rows
from attnverify.statement import Relabel, Statement

# A claim about fewer equations is proved as it stands.
LEAST = 2


def carried(statement: Statement) -> Plan | None:
    """A relabelled array as claims about each equation; None for another claim or a recurrence."""
    rows = needed_rows(statement)
    equations = [row for row in rows if isinstance(row, Equation)]
    heads = {row.name: row.head for row in equations}
    if not statement.relabels or len(equations) < max(LEAST, len(rows)):
        return None
    if statement.hypotheses or not statement.left == statement.right == equations[-1].head:
        return None
    obligations = tuple(_carries(statement, row, heads) for row in equations)
    if [r.indices for r in obligations[-1].relabels] != [r.indices for r in statement.relabels]:
        return None
    words = "each equation by itself: what it assigns is relabelled as what it reads is"
    return Plan((words,), obligations, told=("(induction equations)",))


def _carries(statement: Statement, row: Equation, heads: Mapping[str, Entry]) -> Statement:
    """That what an equation assigns is relabelled, if all that it reads is."""
    names = dict.fromkeys(entry.tensor.name for entry in entries(row.body))
    read = tuple(heads[name] for name in names if name in heads)
    relabels = tuple(
        replace(relabel, indices=tuple(_along(row.head, relabel)))
        for relabel in _relabels(statement, read)
    )
    spec = flat(statement.spec, (row,), read)
    name = f"{row.name} is relabelled as what it reads is"
    return Statement(name, "equal", spec, row.head, row.head, (), relabels)


def _relabels(statement: Statement, read: tuple[Entry, ...]) -> tuple[Relabel, ...]:
    """The relabellings with those names among what they move that run along their axis."""
    return tuple(
        replace(
            relabel,
            tensors=(
                *relabel.tensors,
                *(e.tensor.name for e in read if list(_along(e, relabel))),
            ),
        )
        for relabel in statement.relabels
    )


def _along(entry: Entry, relabel: Relabel) -> Iterator[str]:
    return (index.name for index in entry.indices if index.axis.name == relabel.axis)
