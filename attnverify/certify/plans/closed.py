"""States in closed form: what is claimed to stand before and after each step is what stands there.

Of some states a plan tells G, what stands before each step, and H, what stands after it, in terms
of other arrays. By induction along the steps that is so, if

    G is the initial value at the first step,                               (begins)
    a step that reads G is H,                                               (makes a step)
    G at a step is H at the step before it.                                 (is carried on)

The other states, and what stands before their steps, are any arrays of which two facts are used:
what stands before a step is what stands after the one before it, and before the first step there
stands the initial value. A plan may add arrays of its own, each defined by an equation, and say of
two of them, E and P, that E is P of the step before, or also that E is 0 at the first step; that is
proved of their equations. Where it is used P is any array.

A step that is no state may be told as another expression, too: what it computes where it reads what
stands before each step in its closed form, whatever the values of its own name are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from attnverify.algebra.terms import ZERO, Entry, Expr, Index, Tensor
from attnverify.certify.errors import Rejected
from attnverify.certify.lines import Tree, text
from attnverify.certify.plans.steps import (
    Change,
    Loop,
    Table,
    at_position,
    flat,
    needed,
    placed,
    unfolded,
)
from attnverify.certify.plans.told import Told
from attnverify.equations import Equation, Recurrence
from attnverify.spec import Spec
from attnverify.statement import Statement


def closed(statement: Statement, told: Told) -> tuple[Statement, ...]:
    """What is due for each state that is solved, and the statement with closed forms in it."""
    work = _Closing(statement, told)
    for row in needed(statement):
        if isinstance(row, Equation):
            work.rows.append(row)
        else:
            work.recurrence(row)
    if statement.relabels and work.inputs:
        raise Rejected("what is any array has other values on the right of a relabelling")
    spec = flat(statement.spec, work.rows, work.inputs)
    return (*work.due, replace(statement, spec=spec))


@dataclass(frozen=True)
class _Form:
    """A solved state: what stands before and after its steps, under names of their own."""

    head: Entry
    before: Equation
    after: Equation


@dataclass
class _Closing:
    """The equations that stand in place of the rows so far, and what is due."""

    statement: Statement
    told: Told
    rows: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    due: list[Statement] = field(default_factory=list)
    found: dict[str, Equation] = field(default_factory=dict)

    def recurrence(self, row: Recurrence) -> None:
        """Put equations in a recurrence's place, once it is asked for what they rest on."""
        loop = Loop.of(row, self.told)
        added = [self.told.equation(r[1]) for r in self.told.all("let", row.steps[0].name)]
        forms = {head.tensor.name: form for head in loop.states if (form := self._form(head))}
        if forms:
            earlier = self.told.index(row.steps[0].name, loop.along)
            solving = _Solving(self, loop, earlier, added, forms)
            self.due += solving.claims()
            self._find(loop, solving)
        self._put(loop, added, forms)

    def _find(self, loop: Loop, solving: _Solving) -> None:
        """Steps that are told as what they compute."""
        for step in loop.row.steps:
            row = self.told.one("found", step.name)
            if row is not None and step.name in loop.row.states:
                raise Rejected(f"{step.name} is a state, which has a form or none")
            if row is not None:
                found = self.told.expression(row[1])
                self.due.append(solving.is_found(step, found))
                self.found[step.name] = Equation(step.head, found)

    def _form(self, head: Entry) -> _Form | None:
        row = self.told.one("solved", head.tensor.name, count=3)
        if row is None:
            return None
        bodies = [self.told.expression(tree) for tree in row[1:]]
        made = [
            Equation(Entry(self.told.new(f"{head.tensor.name}_{when}"), head.places), body)
            for when, body in zip(("given", "found"), bodies, strict=True)
        ]
        return _Form(head, made[0], made[1])

    def _put(self, loop: Loop, added: list[Equation], forms: dict[str, _Form]) -> None:
        """The steps as equations; states without a form, and what is told free, are any arrays."""
        self.rows += added
        for step in loop.row.steps:
            form = forms.get(step.name)
            free = self.told.one("free", step.name, count=1)
            if step.name in self.found and free is None:
                self.rows.append(self.found[step.name])
            elif form is not None and free is None:
                self.rows += [Equation(form.head, form.after.body)]
                self.rows += [Equation(loop.before[step.name], form.before.body)]
            elif form is None and step.name not in loop.row.states and free is None:
                self.rows.append(loop.step(step))
            elif step.name in loop.row.states and free is None:
                self.inputs += [step.head, loop.before[step.name]]
            elif step.name not in loop.row.states:
                self.inputs.append(step.head)
            else:
                raise Rejected("a state is told free that has a form, or needs none")


def _begins(tree: Tree) -> bool:
    """Whether a level is 0 at the first step; else that is not known."""
    if text(tree) not in ("zero", "any"):
        raise Rejected(f"a level begins with zero or any: {text(tree)}")
    return text(tree) == "zero"


@dataclass
class _Solving:
    """One recurrence with its solved states."""

    work: _Closing
    loop: Loop
    earlier: Index
    added: list[Equation]
    forms: dict[str, _Form]

    def __post_init__(self) -> None:
        told, row = self.work.told, self.loop.row
        rows = told.all("level", row.steps[0].name, count=4)
        self.levels = {text(name): (text(after), _begins(b)) for _, name, after, b in rows}
        if len(self.levels) < len(rows):
            raise Rejected("a level is told twice")
        self.heads = {equation.name: equation.head for equation in self.added}
        for name, (after, _) in self.levels.items():
            if name not in self.heads or after not in self.heads or name == after:
                raise Rejected("a level is of two arrays that the plan adds")
            if self.heads[name].places != self.heads[after].places:
                raise Rejected(f"{name} and {after} are at other places")
        self.initial = {
            state: Equation(self._begun(row.head(state)), value)
            for state, value in row.states.items()
        }
        known = [*self.heads.values(), *(step.head for step in row.steps)]
        if any(self.earlier in head.indices for head in known):
            raise Rejected(f"{self.earlier.name} is an index already")

    def _begun(self, head: Entry) -> Entry:
        rest = tuple(place for place in head.places if place != self.loop.along)
        return Entry(self.work.told.new(f"{head.tensor.name}_begun"), rest)

    # ---- what is known of arrays at the first step, and at the next one

    def _first(self) -> Table:
        """Before the first step there stand the initial values."""

        def begun(state: str, place: int) -> Change:
            value = self.initial[state].head.tensor
            return lambda entry: Entry(value, entry.places[:place] + entry.places[place + 1 :])

        table: dict[str, tuple[int, Change]] = {}
        for state, entry in self.loop.before.items():
            place = entry.places.index(self.loop.along)
            table[entry.tensor.name] = place, begun(state, place)
        for name, (_, begins) in self.levels.items():
            if begins:
                table[name] = self._place(name), lambda _: ZERO
        return table

    def _next(self) -> Table:
        """Before a step there stands what stands after the one before it."""

        def at_earlier(name: str, place: int) -> Change:
            return lambda entry: placed(Entry(Tensor(name), entry.places), place, self.earlier)

        table: dict[str, tuple[int, Change]] = {}
        for state, entry in self.loop.before.items():
            place = entry.places.index(self.loop.along)
            table[entry.tensor.name] = place, at_earlier(state, place)
        for name, (after, _) in self.levels.items():
            table[name] = self._place(name), at_earlier(after, self._place(name))
        return table

    def _place(self, name: str) -> int:
        return self.heads[name].places.index(self.loop.along)

    # ---- what is due

    def claims(self) -> Iterator[Statement]:
        """What the forms and the levels rest on."""
        for form in self.forms.values():
            yield from self._of_form(form)
        whole, follows = self._spec(()), (self.loop.follows(self.earlier),)
        for name, (after, begins) in self.levels.items():
            body = next(row.body for row in self.added if row.name == name)
            there = Entry(self.heads[after].tensor, self.heads[name].places)
            there = placed(there, self._place(name), self.earlier)
            left = self._at(body, self._next())
            yield Statement(f"{name} is carried on", "equal", whole, left, there, follows)
            if begins:
                left, first = self._at(body, self._first()), (self.loop.first(),)
                yield Statement(f"{name} begins", "equal", whole, left, ZERO, first)

    def _of_form(self, form: _Form) -> Iterator[Statement]:
        name, found = form.head.tensor.name, form.after.head
        spec = self._spec([after for after, _ in self.levels.values()])
        first = self._at(form.before.body, self._first())
        begun = self.initial[name].head
        yield Statement(f"{name} begins", "equal", spec, first, begun, (self.loop.first(),))
        before = {**self.loop.before, **{s: f.before.head for s, f in self.forms.items()}}
        (step,) = (step for step in self.loop.row.steps if step.name == name)
        made = unfolded(step.body, before)
        yield Statement(f"{name} makes a step", "equal", spec, found, made)
        carried = self._at(form.before.body, self._next())
        there = placed(found, found.places.index(self.loop.along), self.earlier)
        follows = (self.loop.follows(self.earlier),)
        yield Statement(f"{name} is carried on", "equal", spec, carried, there, follows)

    def is_found(self, step: Equation, found: Expr) -> Statement:
        """That a step is an expression, where its own name is any array."""
        before = {**self.loop.before, **{s: f.before.head for s, f in self.forms.items()}}
        spec = self._spec([after for after, _ in self.levels.values()], step)
        left = unfolded(step.body, before)
        return Statement(f"{step.name} is found", "equal", spec, left, found)

    def _at(self, expr: Expr, table: Table) -> Expr:
        return at_position(expr, self.loop.along, table, apart=self.earlier)

    def _spec(self, free: Sequence[str], any_array: Equation | None = None) -> Spec:
        """The steps but for the states, which are any arrays as those told free are."""
        row = self.loop.row
        rows = [*self.work.rows, *self.initial.values()]
        kept = [step for step in row.steps if step.name not in row.states and step != any_array]
        rows += [self.loop.step(step) for step in kept]
        rows += [equation for equation in self.added if equation.name not in free]
        rows += [made for form in self.forms.values() for made in (form.before, form.after)]
        inputs = [*self.work.inputs, *self.loop.states, *self.loop.before.values()]
        inputs += [self.heads[name] for name in dict.fromkeys(free)]
        inputs += [] if any_array is None else [any_array.head]
        return flat(self.work.statement.spec, rows, inputs)
