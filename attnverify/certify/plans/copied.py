"""Two computations side by side: where a guard holds, a state of the copy is that of the original.

If it holds of the initial values, if the guard holds at a step only where it holds at the step
before, and if a step of both from the same states gives the same where it holds, then it holds at
every step. A state of the copy is then the original's, plus any array where the guard does not
hold. The originals are any arrays, and so is what stands before their steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnverify.algebra.predicates import TRUE, Predicate, negation
from attnverify.algebra.rewrite import free_in
from attnverify.algebra.terms import ONE, Entry, Expr, Indicator, Mul, Tensor, add, indicator, mul
from attnverify.certify.errors import Rejected
from attnverify.certify.lines import text
from attnverify.certify.plans.steps import Loop, flat, needed, placed
from attnverify.certify.plans.told import Told
from attnverify.equations import Equation, Recurrence
from attnverify.statement import Statement


def copied(statement: Statement, told: Told) -> tuple[Statement, ...]:
    """What is due of each copy, and the statement about any originals."""
    if statement.relabels or statement.kind != "equal":
        raise Rejected("an equation without a relabelling was due")
    work = _Copying(_where(statement), told)
    for row in needed(work.statement):
        if isinstance(row, Equation):
            work.rows.append(row)
        else:
            work.recurrence(row)
    spec = flat(statement.spec, work.rows, work.inputs)
    return (*work.due, replace(work.statement, spec=spec))


def _where(statement: Statement) -> Statement:
    """A claim [where] left = [where] right as the claim left = right given `where`."""
    match statement.left, statement.right:
        case Mul((Indicator(where), *left)), Mul((Indicator(other), *right)) if where == other:
            given = (*statement.hypotheses, where)
            return replace(statement, left=mul(*left), right=mul(*right), hypotheses=given)
    return statement


@dataclass
class _Copying:
    """The equations so far, the arrays about which nothing is known, and what is due."""

    statement: Statement
    told: Told
    rows: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    due: list[Statement] = field(default_factory=list)
    loops: dict[str, Loop] = field(default_factory=dict)

    def recurrence(self, row: Recurrence) -> None:
        """A copy, where it is told of which original; an original otherwise."""
        loop, pair = Loop.of(row, self.told), self.told.one("copy", row.steps[0].name)
        if pair is not None:
            self._copy(loop, self._original(row, text(pair[1])))
            return
        self.loops[row.steps[0].name] = loop
        self.inputs += [*loop.states, *loop.before.values()]
        self.rows += [loop.step(s) for s in row.steps if s.name not in row.states]

    def _original(self, row: Recurrence, name: str) -> Loop:
        """The original that a copy is like: the same states at the same places, the same way."""
        loop = self.loops.get(name)
        if loop is None:
            raise Rejected(f"{name} is no original before its copy")
        pairs = zip(row.states, loop.row.states, strict=True)
        alike = row.along == loop.along and row.reverse == loop.row.reverse
        if len(row.states) != len(loop.row.states) or not alike or any(
            row.head(mine).places != loop.row.head(theirs).places for mine, theirs in pairs
        ):  # fmt: skip
            raise Rejected(f"a recurrence is no copy of {name}")
        return loop

    def _copy(self, loop: Loop, original: Loop) -> None:
        row = loop.row
        guard = self._guard(loop)
        spec = flat(self.statement.spec, self.rows, self.inputs)
        names = dict(zip(row.states, original.row.states, strict=True))
        for mine, theirs in names.items():
            value, due = row.states[mine], original.row.states[theirs]
            if value != due:
                self.due.append(Statement(f"{mine} begins", "equal", spec, value, due))
        self._ask_steps(loop, original, names, guard)
        for mine, theirs in names.items():
            self._relate(row.head(mine), Tensor(theirs), guard)
            self._relate(loop.before[mine], original.before[theirs].tensor, guard)
        self.rows += [loop.step(s) for s in row.steps if s.name not in row.states]

    def _guard(self, loop: Loop) -> Predicate:
        """Where the states are compared; there, they are compared at the step before too."""
        name = loop.row.steps[0].name
        row = self.told.one("guard", name)
        if row is None:
            return TRUE
        guard = self.told.predicate(row[1])
        if set(free_in(guard)) != {loop.along}:
            raise Rejected("a guard is about a step, and nothing else")
        earlier = self.told.index(name, loop.along)
        here = Entry(self.told.new("guarded"), (loop.along,))
        spec = flat(self.statement.spec, [Equation(here, indicator(guard))], ())
        there = placed(here, 0, earlier)
        given = (guard, loop.follows(earlier))
        words = "where the states are compared"
        self.due.append(Statement(words, "equal", spec, there, ONE, given))
        return guard

    def _ask_steps(
        self, loop: Loop, original: Loop, names: dict[str, str], guard: Predicate
    ) -> None:
        """A step of both from the same states before it."""
        shared = {mine: original.before[theirs] for mine, theirs in names.items()}
        steps = [original.step(step) for step in original.row.steps]
        made = {step.name for step in steps}
        rows = [*(row for row in self.rows if row.name not in made), *steps]
        rows += [loop.step(step, shared) for step in loop.row.steps]
        inputs = [entry for entry in self.inputs if entry.tensor.name not in made]
        spec = flat(self.statement.spec, rows, inputs)
        given = () if guard == TRUE else (guard,)
        for mine, theirs in names.items():
            head = loop.row.head(mine)
            other = Entry(Tensor(theirs), head.places)
            self.due.append(Statement(f"{mine} makes a step", "equal", spec, head, other, given))

    def _relate(self, head: Entry, original: Tensor, guard: Predicate) -> None:
        """The copy as the original where the guard holds, and any array where it does not."""
        body: Expr = Entry(original, head.places)
        if guard != TRUE:
            off = Entry(self.told.new(f"{head.tensor.name}_off"), head.places)
            self.inputs.append(off)
            body = add(body, mul(indicator(negation(guard)), off))
        self.rows.append(Equation(head, body))
