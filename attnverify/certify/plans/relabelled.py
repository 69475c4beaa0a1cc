"""States are relabelled as their inputs are: by induction along an axis that is not relabelled.

Of a state X it is claimed that X computed from relabelled inputs is X relabelled. It holds before
the first step if it holds of the initial values, and after a step from any relabelled states. In
what reads the states they are then inputs that are relabelled as the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnverify.algebra.rewrite import free
from attnverify.algebra.terms import Entry, Expr, Scalar
from attnverify.certify.errors import Rejected
from attnverify.certify.plans.steps import Loop, flat, needed
from attnverify.certify.plans.told import Told
from attnverify.equations import Equation, Recurrence
from attnverify.statement import Relabel, Statement


@dataclass
class _Moving:
    """The equations so far, the arrays that are relabelled with the inputs, what is due."""

    statement: Statement
    rows: list[Equation] = field(default_factory=list)
    states: list[Entry] = field(default_factory=list)
    due: list[Statement] = field(default_factory=list)

    def relabels(self) -> tuple[Relabel, ...]:
        """The maps of the statement, which move the states too."""
        names = tuple(entry.tensor.name for entry in self.states)
        return tuple(replace(r, tensors=(*r.tensors, *names)) for r in self.statement.relabels)

    def ask(self, name: str, rows: list[Equation], value: Expr) -> None:
        """That a value computed from what is relabelled is the value at relabelled positions."""
        places = [(i.name, i.axis.name) for i in free(value)]
        maps = tuple(
            replace(r, indices=tuple(n for n, axis in places if axis == r.axis))
            for r in self.relabels()
        )
        spec = flat(self.statement.spec, rows, self.states)
        self.due.append(Statement(name, "equal", spec, value, value, (), maps))

    def recurrence(self, row: Recurrence, loop: Loop) -> None:
        """Ask for each state before the first step, and after a step."""
        for state, value in row.initial:
            if not (isinstance(value, Scalar) and value.value.is_number):
                self.ask(f"{state} begins", self.rows, value)
        self.states += loop.before.values()
        steps = [loop.step(step) for step in row.steps]
        for head in loop.states:
            self.ask(f"{head.tensor.name} makes a step", [*self.rows, *steps], head)
        self.rows += [step for step in steps if step.name not in row.states]
        self.states += loop.states


def relabelled(statement: Statement, told: Told) -> tuple[Statement, ...]:
    """What is due for each state, and the statement in which states are relabelled inputs."""
    work = _Moving(statement)
    moved = {relabel.axis for relabel in statement.relabels}
    if not moved or statement.hypotheses:
        raise Rejected("a relabelling without hypotheses was due")
    for row in needed(statement):
        if isinstance(row, Equation):
            work.rows.append(row)
            continue
        if row.along.axis.name in moved:
            raise Rejected("the step before a moved position is not the moved step before it")
        work.recurrence(row, Loop.of(row, told))
    spec = flat(statement.spec, work.rows, work.states)
    return (*work.due, replace(statement, spec=spec, relabels=work.relabels()))
