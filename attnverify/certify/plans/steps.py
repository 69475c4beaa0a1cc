"""A recurrence one step at a time, as the checker reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import entries, predicate_entries, rebuild, rebuild_in
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Entry,
    Expr,
    Index,
    Maximum,
    Previous,
    Softmax,
    Tensor,
    Threshold,
    Total,
    as_expr,
)
from attnverify.certify.errors import Rejected
from attnverify.certify.plans.told import Told
from attnverify.equations import Equation, Recurrence, equations_of, reads
from attnverify.equations import Statement as Row
from attnverify.spec import Spec
from attnverify.statement import Sees, Statement

Change = Callable[[Entry], Expr]
Table = Mapping[str, tuple[int, Change]]


@dataclass(frozen=True)
class Loop:
    """A recurrence, and the arrays of its states' values before each step."""

    row: Recurrence
    before: Mapping[str, Entry]

    @classmethod
    def of(cls, row: Recurrence, told: Told) -> Loop:
        """A recurrence whose steps read one another at one step alone."""
        _check_steps(row)
        return cls(row, {state: told.before(row.head(state)) for state in row.states})

    @property
    def along(self) -> Index:
        """The index that the steps run along."""
        return self.row.along

    @property
    def states(self) -> list[Entry]:
        """The states, as the steps assign them."""
        return [self.row.head(state) for state in self.row.states]

    def first(self) -> Predicate:
        """That a position is the first step's."""
        at = as_expr(self.along)
        return Compare("==", at, self.along.axis.size - 1 if self.row.reverse else ZERO)

    def follows(self, earlier: Index) -> Predicate:
        """That a position is the next step's after an earlier one."""
        here, there = as_expr(self.along), as_expr(earlier)
        return Compare("==", there if self.row.reverse else here,
                       (here if self.row.reverse else there) + 1)  # fmt: skip

    def step(self, step: Equation, before: Mapping[str, Entry] | None = None) -> Equation:
        """A step that reads the arrays before it."""
        return Equation(step.head, unfolded(step.body, before or self.before))


def unfolded(expr: Expr, before: Mapping[str, Entry]) -> Expr:
    """The expression with the arrays before each step in place of `previous(...)`."""
    if isinstance(expr, Previous):
        return Entry(before[expr.entry.tensor.name].tensor, expr.entry.places)

    def inside(child: Expr) -> Expr:
        return unfolded(child, before)

    return rebuild(expr, inside, lambda where: rebuild_in(where, inside))


def binds(node: Expr) -> tuple[Index, ...]:
    """The indices that a node binds."""
    if isinstance(node, Total):
        return node.over
    return (node.over,) if isinstance(node, Softmax | Maximum | Threshold) else ()


def at_position(expr: Expr, along: Index, table: Table, *, apart: Index) -> Expr:
    """The expression with some arrays replaced where they are read at the free index `along`.

    For each array the table has the place of `along`, and what an entry becomes; that may read the
    index `apart`, which nothing in the expression may bind.
    """
    if along in binds(expr):
        return expr
    if apart in binds(expr):
        raise Rejected(f"{apart.name} is bound where it is to be read")
    if isinstance(expr, Entry):
        place, change = table.get(expr.tensor.name, (-1, None))
        return change(expr) if change is not None and expr.places[place] == along else expr

    def inside(child: Expr) -> Expr:
        return at_position(child, along, table, apart=apart)

    return rebuild(expr, inside, lambda where: rebuild_in(where, inside))


def placed(entry: Entry, place: int, index: Index) -> Entry:
    """The entry with another index at one of its places."""
    places = (*entry.places[:place], index, *entry.places[place + 1 :])
    return Entry(entry.tensor, places)


def _check_steps(row: Recurrence) -> None:
    """Within a recurrence its own names are read at this step and the step before, no others."""
    spots = {step.name: step.head.indices.index(row.along) for step in row.steps}

    def look(node: Expr, *, hidden: bool) -> Expr:
        if isinstance(node, Entry) and node.tensor.name in spots:
            if hidden or node.indices[spots[node.tensor.name]] != row.along:
                raise Rejected(f"{node} is read at another step")
            return node
        inner = hidden or row.along in binds(node)

        def inside(child: Expr) -> Expr:
            return look(child, hidden=inner)

        return rebuild(node, inside, lambda where: rebuild_in(where, inside))

    for step in row.steps:
        look(step.body, hidden=False)


# ---- statements without recurrences


def needed(statement: Statement) -> list[Row]:
    """What a statement's spec assigns on the way to what the statement reads."""
    wanted = {e.tensor.name for side in (statement.left, statement.right) for e in entries(side)}
    for given in statement.hypotheses:
        where = given.where if isinstance(given, Sees) else given
        wanted |= {entry.tensor.name for entry in predicate_entries(where)}
    kept: list[Row] = []
    for row in reversed(statement.spec.equations):
        if wanted & {equation.name for equation in equations_of(row)}:
            kept.insert(0, row)
            wanted |= set(reads(row))
    return kept


def flat(source: Spec, rows: Iterable[Equation], inputs: Sequence[Entry]) -> Spec:
    """A spec of equations alone, each after what it reads; Rejected where they read in a circle."""
    rows = list(rows)
    if len({row.name for row in rows}) < len(rows):
        raise Rejected("a name is assigned twice")
    given = tuple(dict.fromkeys((*source.inputs, *inputs)))
    known = {entry.tensor.name for entry in given}
    waiting = {row.name: row for row in rows}
    ordered: list[Equation] = []
    while waiting:
        ready = [r for r in waiting.values() if not waiting.keys() & _names(r)]
        if not ready:
            raise Rejected("equations read each other in a circle")
        ordered += ready
        waiting = {name: row for name, row in waiting.items() if row not in ready}
    if known & {row.name for row in ordered}:
        raise Rejected("a name is both an input and assigned")
    ordered = ordered or [Equation(Entry(Tensor(_unit(known)), ()), ONE)]
    return Spec(source.name, given, ordered, (ordered[-1].name,), parameters=source.parameters)


def _names(row: Equation) -> set[str]:
    return {entry.tensor.name for entry in entries(row.body)}


def _unit(known: set[str]) -> str:
    """A name for the equation that a spec has where there is nothing to compute."""
    return max(known, key=len, default="") + "unit"
