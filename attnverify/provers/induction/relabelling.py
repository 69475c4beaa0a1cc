"""A relabelling reaches a recurrence's states as it reaches its inputs: by induction along it.

What is claimed of each state X is that X, computed from relabelled inputs, is X relabelled. If that
holds of the initial values, and a step from relabelled states before it gives the relabelled step,
for any states before it, then it holds at every step. In what reads the recurrence, its states and
the states before each step are then inputs that are relabelled like the others. The axis that the
steps run along must not be relabelled: the step before a moved position is not the moved step
before it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from attnverify.algebra.rewrite import entries, free
from attnverify.algebra.terms import Entry, Expr
from attnverify.equations import Equation, Recurrence
from attnverify.provers.induction.plan import Plan, named_before
from attnverify.provers.induction.steps import Loop, Names, flat, needed_rows, without_previous
from attnverify.spec import Spec
from attnverify.statement import Relabel, Statement


def moved(statement: Statement) -> Plan | None:
    """The relabelled statement with states for inputs, or None where steps run along the axis."""
    axes = {relabel.axis for relabel in statement.relabels}
    rows = needed_rows(statement)
    found = [row for row in rows if isinstance(row, Recurrence)]
    if not axes or not found or axes & {row.along.axis.name for row in found}:
        return None
    work = _Work(statement, Names.of(statement))
    for row in rows:
        if isinstance(row, Recurrence):
            work.recurrence(row)
        else:
            work.rows.append(row)
    claim = replace(
        statement, spec=flat(statement.spec, work.rows, work.inputs), relabels=work.relabels()
    )
    along = ", ".join(dict.fromkeys(row.along.name for row in found))
    words = f"induction along {along}: states are relabelled as their inputs are"
    return Plan((words,), (*work.obligations, claim), ("(induction relabelled)", *work.told))


@dataclass
class _Work:
    """Equations so far, states that are inputs now, and what is left to prove."""

    statement: Statement
    names: Names
    rows: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    obligations: list[Statement] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def relabels(self, read: Collection[Expr] = ()) -> tuple[Relabel, ...]:
        """The relabellings with the states among what they move; `read` gives the free indices."""
        places = [index for expr in read for index in free(expr)]
        states = tuple(entry.tensor.name for entry in self.inputs)
        return tuple(
            replace(
                relabel,
                tensors=(*relabel.tensors, *states),
                indices=tuple(dict.fromkeys(i.name for i in places if i.axis.name == relabel.axis))
                if places or read
                else relabel.indices,
            )
            for relabel in self.statement.relabels
        )

    def recurrence(self, row: Recurrence) -> None:
        """Ask for the claim about each state, and make the states inputs."""
        loop, spec = Loop.of(row, self.names), self.statement.spec
        self.told += named_before(loop.before)
        for name, value in row.initial:
            if free(value) or any(True for _ in entries(value)):
                self._ask(f"{name} begins", flat(spec, self.rows, self.inputs), value)
        values = loop.given_before
        steps = [Equation(s.head, without_previous(s.body, values)) for s in row.steps]
        outer = list(self.inputs)
        self.inputs = [*outer, *loop.before.values()]
        stepping = flat(spec, [*self.rows, *steps], self.inputs)
        for state in row.states:
            self._ask(f"{state} makes a step", stepping, row.head(state))
        self.rows += [step for step in steps if step.name not in row.states]
        self.inputs += [row.head(state) for state in row.states]

    def _ask(self, name: str, spec: Spec, value: Expr) -> None:
        relabels = self.relabels((value,))
        self.obligations.append(Statement(name, "equal", spec, value, value, (), relabels))
