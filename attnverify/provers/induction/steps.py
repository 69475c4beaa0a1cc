"""A recurrence one step at a time: what stood before a step, and what it is at the step after.

The values of a state before each step are an array of their own, over the indices of the state: at
the first step they are its initial value, at any other what the state is one step earlier. Names
for both are new in the whole statement, so that nothing can be captured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import (
    entries,
    free,
    predicate_entries,
    rebuild,
    rebuild_in,
    rename,
)
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Entry,
    Expr,
    Index,
    Maximum,
    Parameter,
    Previous,
    Softmax,
    Tensor,
    Threshold,
    Total,
    add,
    as_expr,
)
from attnverify.equations import Equation, Recurrence, equations_of
from attnverify.equations import Statement as Row
from attnverify.spec import Spec
from attnverify.statement import Sees, Statement
from attnverify.transforms.naming import unused
from attnverify.transforms.prune import prune
from attnverify.transforms.relabel import every_index

Values = Mapping[str, tuple[Entry, Expr]]


@dataclass
class Names:
    """The names of a statement, from which new ones stay apart."""

    tensors: set[str]
    indices: set[str]

    @classmethod
    def of(cls, statement: Statement) -> Names:
        """Every name of a tensor, a parameter or an index in a statement."""
        spec = statement.spec
        parameters = {parameter.name for parameter in spec.parameters}
        found = (spec, statement.left, statement.right, statement.hypotheses)
        return cls(
            {*spec.heads, *parameters}, {i.name for part in found for i in every_index(part)}
        )

    def tensor(self, wanted: str) -> Tensor:
        """A new tensor."""
        name = unused(wanted, self.tensors)
        self.tensors.add(name)
        return Tensor(name)

    def index(self, like: Index, wanted: str) -> Index:
        """A new index of an axis."""
        name = unused(wanted, self.indices)
        self.indices.add(name)
        return Index(name, like.axis)


@dataclass(frozen=True)
class Loop:
    """A recurrence, the position one step earlier, and the states' values before each step."""

    row: Recurrence
    earlier: Index
    before: Mapping[str, Entry]

    @classmethod
    def of(cls, row: Recurrence, names: Names) -> Loop:
        """A recurrence with new names for what stands before its steps."""
        before = {
            state: Entry(names.tensor(f"{state}_before"), row.head(state).places)
            for state in row.states
        }
        return cls(row, names.index(row.along, f"{row.along.name}_before"), before)

    @property
    def along(self) -> Index:
        """The index that the steps run along."""
        return self.row.along

    @property
    def first(self) -> Predicate:
        """That a position is the first step's."""
        last = add(self.along.axis.size, -1)
        return Compare("==", as_expr(self.along), last if self.row.reverse else ZERO)

    @property
    def follows(self) -> Predicate:
        """That a position is one step after the earlier one."""
        one, other = as_expr(self.along), as_expr(self.earlier)
        if self.row.reverse:
            one, other = other, one
        return Compare("==", one, add(other, ONE))

    def passed(self, index: Index) -> Predicate:
        """That another position is that of an earlier step than `along`."""
        return Compare(">" if self.row.reverse else "<", as_expr(index), as_expr(self.along))

    def done(self, index: Index) -> Predicate:
        """That another position is that of an earlier step, or of this one."""
        return Compare(">=" if self.row.reverse else "<=", as_expr(index), as_expr(self.along))

    @property
    def given_before(self) -> Values:
        """The values before each step, as arrays of their own."""
        return {state: (self.row.head(state), entry) for state, entry in self.before.items()}

    def step(self, name: str) -> Equation:
        """The step that assigns a name."""
        return next(step for step in self.row.steps if step.name == name)

    def shifted(self, expr: Expr) -> Expr:
        """An expression at the earlier position."""
        return rename(expr, {self.along: self.earlier})


def without_previous(expr: Expr, values: Values) -> Expr:
    """The expression with each `previous(...)` replaced by a value over its head's indices."""
    if isinstance(expr, Previous):
        head, value = values[expr.entry.tensor.name]
        if not set(free(value)) <= set(head.indices):
            raise AssertionError(f"{value} has indices that {head} lacks")
        return rename(value, dict(zip(head.indices, expr.entry.indices, strict=True)))

    def inside(child: Expr) -> Expr:
        return without_previous(child, values)

    return rebuild(expr, inside, lambda where: rebuild_in(where, inside))


def at_step(expr: Expr, along: Index, values: Values) -> Expr:
    """The expression with entries that stand at the free position `along` replaced by values.

    An entry at another position, or below a sum over `along` itself, stays. What a value reads
    beside its head's indices must be named as nothing in the expression is.
    """
    if isinstance(expr, Entry) and expr.tensor.name in values:
        head, value = values[expr.tensor.name]
        spot = head.indices.index(along)
        if expr.indices[spot] != along:
            return expr
        return rename(value, dict(zip(head.indices, expr.indices, strict=True)))
    if isinstance(expr, Total) and along in expr.over:
        return expr
    if isinstance(expr, Softmax | Maximum | Threshold) and expr.over == along:
        return expr

    def inside(child: Expr) -> Expr:
        return at_step(child, along, values)

    return rebuild(expr, inside, lambda where: rebuild_in(where, inside))


def previous_states(expr: Expr) -> set[str]:
    """The states whose values one step earlier an expression reads, also inside predicates."""
    found: set[str] = set()

    def look(node: Expr) -> Expr:
        if isinstance(node, Previous):
            found.add(node.entry.tensor.name)
            return node
        return rebuild(node, look, lambda where: rebuild_in(where, look))

    look(expr)
    return found


def present(expr: Expr) -> set[str]:
    """The names that an expression reads at this step, not one step earlier."""
    found: set[str] = set()

    def look(node: Expr) -> Expr:
        if isinstance(node, Previous):
            return node
        if isinstance(node, Entry):
            found.add(node.tensor.name)
        return rebuild(node, look, lambda where: rebuild_in(where, look))

    look(expr)
    return found


def sorted_rows(rows: Iterable[Equation], inputs: Iterable[Entry]) -> tuple[Equation, ...]:
    """Equations in an order in which each reads what stands before it.

    Raises LookupError where there is none.
    """
    waiting = list(rows)
    made = {row.name for row in waiting}
    known = {entry.tensor.name for entry in inputs} - made
    found: list[Equation] = []
    while waiting:
        ready = next((r for r in waiting if _read(r) & made <= known), None)
        if ready is None:
            raise LookupError("the equations read each other in a circle")
        waiting.remove(ready)
        known.add(ready.name)
        found.append(ready)
    return tuple(found)


def _read(row: Equation) -> set[str]:
    return {entry.tensor.name for entry in entries(row.body)}


def names_read(statement: Statement) -> tuple[str, ...]:
    """The tensors that a statement's sides and hypotheses read."""
    found = [*entries(statement.left), *entries(statement.right)]
    for hypothesis in statement.hypotheses:
        where = hypothesis.where if isinstance(hypothesis, Sees) else hypothesis
        found += predicate_entries(where)
    return tuple(dict.fromkeys(entry.tensor.name for entry in found))


def needed_rows(statement: Statement) -> tuple[Row, ...]:
    """What a statement's spec assigns on the way to what its sides read."""
    return prune(list(statement.spec.equations), names_read(statement))


def recurrences(rows: Iterable[Row]) -> Iterator[Recurrence]:
    """The recurrences among rows."""
    return (row for row in rows if isinstance(row, Recurrence))


def flat(
    spec: Spec,
    rows: Iterable[Equation],
    inputs: Iterable[Entry],
    parameters: Iterable[Parameter] = (),
) -> Spec:
    """A spec of equations alone, in an order that reads nothing before it is there."""
    given = tuple(dict.fromkeys((*spec.inputs, *inputs)))
    ordered = sorted_rows(rows, given)
    if not ordered:
        ordered = (Equation(Entry(Tensor(unused("unit", spec.heads)), ()), ONE),)
    return Spec(
        spec.name,
        given,
        ordered,
        (ordered[-1].name,),
        parameters=tuple(dict.fromkeys((*spec.parameters, *parameters))),
    )


def equations_only(rows: Iterable[Row]) -> tuple[Equation, ...]:
    """The rows, none of which may be a recurrence."""
    found = tuple(rows)
    if any(isinstance(row, Recurrence) for row in found):
        raise LookupError("a recurrence is left")
    return tuple(equation for row in found for equation in equations_of(row))
