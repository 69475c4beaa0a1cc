"""Two computations side by side, each with its recurrences: states are related step by step.

A statement such as "outputs up to a position do not depend on inputs after it" compares a spec with
a changed copy. A state Y of the copy is related to states X of the original:

    where the guard holds, Y(t) = X(t)

By induction that holds
at every step, if it holds of the initial values, if it is kept by a step from any states X before
it, with X for Y, and if the guard, where it holds at a step, holds at the step before. In what
reads the recurrences X is then any array, and Y is X where the guard holds and any array where it
does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from attnverify.algebra.predicates import TRUE, Predicate, negation
from attnverify.algebra.rewrite import free_in, rename_in
from attnverify.algebra.terms import (
    ONE,
    Entry,
    Expr,
    Indicator,
    Mul,
    Tensor,
    add,
    indicator,
    mul,
)
from attnverify.equations import Equation, Recurrence
from attnverify.provers.induction.plan import Plan, named_before, told
from attnverify.provers.induction.steps import (
    Loop,
    Names,
    flat,
    needed_rows,
    without_previous,
)
from attnverify.spec import Spec
from attnverify.statement import Statement


def copied(statement: Statement) -> Plan | None:
    """The statement with each copy's states related to the original's, or None without copies."""
    if statement.relabels or statement.kind != "equal":
        return None
    statement = given_at(statement)
    rows = needed_rows(statement)
    found = [row for row in rows if isinstance(row, Recurrence)]
    pairs = _pairs(found)
    if not pairs:
        return None
    work = _Work(statement, Names.of(statement), pairs)
    work.run(rows)
    spec = flat(statement.spec, work.rows, work.inputs)
    along = ", ".join(dict.fromkeys(row.along.name for row in found))
    words = f"induction along {along}: states of both computations are related"
    lines = ("(induction copied)", *work.told)
    return Plan((words,), (*work.obligations, replace(statement, spec=spec)), lines)


def given_at(statement: Statement) -> Statement:
    """A claim [where] left = [where] right as the claim left = right given `where`."""
    left, right = _guarded(statement.left), _guarded(statement.right)
    if left is None or right is None or left[0] != right[0]:
        return statement
    where = left[0]
    if not set(free_in(where)) <= {*statement.indices}:
        return statement
    given = (*statement.hypotheses, where)
    return replace(statement, left=left[1], right=right[1], hypotheses=given)


def _guarded(side: Expr) -> tuple[Predicate, Expr] | None:
    """The mask and the rest of a side that is a mask times the rest."""
    match side:
        case Mul((Indicator(where), *rest)):
            return where, mul(*rest)
    return None


def _pairs(found: Sequence[Recurrence]) -> dict[int, Recurrence]:
    """The original of each recurrence that is a copy by its steps' names and axes, by its place."""
    pairs: dict[int, Recurrence] = {}
    for place, row in enumerate(found):
        for before, other in enumerate(found[:place]):
            if before not in pairs and _alike(row, other):
                pairs[place] = other
                break
    return pairs


def _alike(row: Recurrence, other: Recurrence) -> bool:
    same = len(row.steps) == len(other.steps) and row.reverse == other.reverse
    return (
        same
        and row.along.axis == other.along.axis
        and all(
            one.name.startswith(two.name) and one.head.places == two.head.places
            for one, two in zip(row.steps, other.steps, strict=True)
        )
    )


@dataclass
class _Work:
    """Equations so far, and what is left to prove."""

    statement: Statement
    names: Names
    pairs: Mapping[int, Recurrence]
    rows: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    obligations: list[Statement] = field(default_factory=list)
    loops: dict[str, Loop] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def run(self, rows: Iterable[Equation | Recurrence]) -> None:
        """Originals become inputs, copies equations."""
        waiting: list[tuple[Recurrence, Recurrence]] = []
        place = 0
        for row in rows:
            if not isinstance(row, Recurrence):
                self.rows.append(row)
                continue
            if place in self.pairs:
                waiting.append((row, self.pairs[place]))
            else:
                self._original(row)
            place += 1
        for row, other in waiting:
            self._copy(row, other)

    def _original(self, row: Recurrence) -> None:
        """States, and states before each step, are any arrays; what else a step assigns is kept."""
        loop = Loop.of(row, self.names)
        self.told += named_before(loop.before)
        self.loops[row.steps[0].name] = loop
        self.inputs += [*(row.head(state) for state in row.states), *loop.before.values()]
        self.rows += _steps(row, loop, (*row.states,))

    def _copy(self, row: Recurrence, other: Recurrence) -> None:
        """What is to be proved of a copy, and the equations that stand for it afterwards."""
        loop, original = Loop.of(row, self.names), self.loops[other.steps[0].name]
        names = {
            mine.name: theirs.name for mine, theirs in zip(row.steps, other.steps, strict=True)
        }
        guard = self._guard(loop)
        self.told += named_before(loop.before)
        self.told.append(told("copy", row.steps[0].name, other.steps[0].name))
        if guard != TRUE:
            self.told.append(told("guard", row.steps[0].name, guard))
            self.told.append(told("earlier", row.steps[0].name, loop.earlier.name))
        self._ask_guard(loop, guard)
        related: list[Equation] = []
        for state, value in row.states.items():
            head, source = row.head(state), names[state]
            self._ask_begin(state, value, other.states[source])
            self._ask_step(loop, original, state, source, guard)
            for entry, read in ((head, head), (loop.before[state], original.before[source])):
                name = source if entry is head else read.tensor.name
                base: Expr = Entry(Tensor(name), entry.places)
                related.append(Equation(entry, self._off(base, entry, guard)))
        self.rows += [*related, *_steps(row, loop, (*row.states,))]

    def _off(self, base: Expr, entry: Entry, guard: Predicate) -> Expr:
        """The original where the guard holds, any array where it does not."""
        if guard == TRUE:
            return base
        extra = [i for i in free_in(guard) if i not in entry.indices]
        if extra:
            raise LookupError(f"{guard} is not about {entry}")
        other = Entry(self.names.tensor(f"{entry.tensor.name}_off"), entry.places)
        self.inputs.append(other)
        return add(base, mul(indicator(negation(guard)), other))

    def _guard(self, loop: Loop) -> Predicate:
        """The hypothesis about a position of the axis that the steps run along, at a step."""
        for where in self.statement.hypotheses:
            if not isinstance(where, Predicate):
                continue
            about = list(free_in(where))
            if len(about) == 1 and about[0].axis == loop.along.axis:
                return rename_in(where, {about[0]: loop.along})
        return TRUE

    # ---- what is left to prove

    def _ask(self, name: str, spec: Spec, left: Expr, right: Expr, *given: Predicate) -> None:
        kept = tuple(where for where in given if where != TRUE)
        self.obligations.append(Statement(name, "equal", spec, left, right, kept))

    def _ask_guard(self, loop: Loop, guard: Predicate) -> None:
        if guard != TRUE:
            earlier = indicator(rename_in(guard, {loop.along: loop.earlier}))
            spec = flat(self.statement.spec, (), ())
            self._ask("where the states are compared", spec, earlier, ONE, guard, loop.follows)

    def _ask_begin(self, state: str, value: Expr, other: Expr) -> None:
        if value != other:
            spec = flat(self.statement.spec, self.rows, self.inputs)
            self._ask(f"{state} begins", spec, value, other)

    def _ask_step(
        self, loop: Loop, original: Loop, state: str, source: str, guard: Predicate
    ) -> None:
        """One step of both from the same states before it."""
        states = {*original.row.states, *loop.row.states}
        shared = {
            mine: (loop.row.head(mine), _at(original.before[theirs], loop.row.head(mine)))
            for mine, theirs in zip(loop.row.states, original.row.states, strict=True)
        }
        kept = [row for row in self.rows if row.name not in states]
        steps = [Equation(s.head, without_previous(s.body, shared)) for s in loop.row.steps]
        steps += _steps(original.row, original, ())
        made = {step.name for step in steps}
        rows = [*(row for row in kept if row.name not in made), *steps]
        inputs = [entry for entry in self.inputs if entry.tensor.name not in made]
        spec = flat(self.statement.spec, rows, inputs)
        head = loop.row.head(state)
        other = Entry(Tensor(source), head.places)
        self._ask(f"{state} makes a step", spec, head, other, guard)


def _at(entry: Entry, head: Entry) -> Entry:
    """The same array at another head's places."""
    return Entry(entry.tensor, head.places)


def _steps(row: Recurrence, loop: Loop, without: tuple[str, ...]) -> list[Equation]:
    """The steps as equations over the states before them, some left out."""
    values = loop.given_before
    return [
        Equation(step.head, without_previous(step.body, values))
        for step in row.steps
        if step.name not in without
    ]
