"""Recurrences with a closed form: a state is replaced by what it is at each step.

A state x_t = a_t x_{t-1} + b_t whose gain a_t is a product of exponentials is, before step t,

    G(t) = exp(E_t) x_0 + sum over u < t of exp(E_t - P_u) b_u

and after it, H(t), the same with u <= t and P_t for E_t, where P_t is the sum of log a up to t and
E_t = P_t - log a_t. Where the logarithms are differences N_{t-1} - N_t of another state, as a
running maximum gives them, P_t is -N_t. That these are right is no matter of trust. By induction
along t they are what stands before and after each step, if

    G(t) is the initial value at the first step,                                   (base)
    H(t) is step t computed with G(t) before it,                                   (step)
    G(t) is H(t') wherever t follows t'                                            (carry)

which are statements without recurrences. In step and carry P is any array, in the latter with
E_t = P_{t'}, and in the base E_t = 0, which statements of their own say. States that have no such
form are any arrays, and so are their values before each step, of which only two facts are used:
before step t there stands the value of step t', and at the first step the initial one.

What a step assigns besides, and reads of its own past through a state, is any array, too, unless
with closed forms for what stands before the step it is what it is where nothing stands there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.rewrite import free, rename
from attnverify.algebra.terms import (
    ZERO,
    Entry,
    Expr,
    Index,
    add,
    apply,
    indicator,
    mul,
    negative,
    total,
)
from attnverify.equations import Equation, Recurrence
from attnverify.provers.induction.gains import Parsed, parsed, past, plain, summed_logs
from attnverify.provers.induction.plan import Plan, named_before, told
from attnverify.provers.induction.steps import (
    Loop,
    Names,
    at_step,
    flat,
    needed_rows,
    present,
    previous_states,
    recurrences,
    without_previous,
)
from attnverify.spec import Spec
from attnverify.statement import Statement


@dataclass(frozen=True)
class Form:
    """The closed form of a state: initial value, what a step adds, the gain's logarithm.

    `mass` is P over its indices, the recurrence's among them; `gain` and `mass` are None where the
    gain is 1.
    """

    head: Entry
    begun: Expr
    added: Expr
    gain: Expr | None = None
    mass: Entry | None = None

    def before(self, loop: Loop, other: Index, level: Expr | None) -> Expr:
        """G at the recurrence's index, with `level` for E; its sum binds `other`."""
        return self._summed(loop, other, loop.passed(other), level)

    def after(self, loop: Loop, other: Index) -> Expr:
        """H, the state itself: the sum has this step's term, and the level is P."""
        return self._summed(loop, other, loop.done(other), self.mass)

    def _summed(self, loop: Loop, other: Index, where: Predicate, level: Expr | None) -> Expr:
        weight, start = indicator(where), self.begun
        if self.mass is not None and level is not None:
            past = rename(self.mass, {loop.along: other})
            weight = mul(weight, apply("exp", add(level, negative(past))))
            start = mul(apply("exp", level), start)
        summed = total(mul(weight, rename(self.added, {loop.along: other})), other)
        return add(start, summed) if start != ZERO else summed

    @property
    def level(self) -> Expr | None:
        """E at the recurrence's index."""
        if self.mass is None or self.gain is None:
            return None
        return add(self.mass, negative(self.gain))


def found(statement: Statement) -> Plan | None:
    """The same with steps in closed form that read no past after all, None where there are none."""
    plan = closed(statement, settling=True)
    settled = plan is not None and any(line.startswith("(found") for line in plan.told)
    return plan if settled else None


def closed(statement: Statement, *, settling: bool = False) -> Plan | None:
    """The statement about a spec whose recurrences are replaced by closed forms, if one has some.

    States without a closed form are any arrays then, so that under a relabelling, where they would
    have other values on the right side, there is no plan unless every state has one.
    """
    names = Names.of(statement)
    work = _Work(statement.spec, names, settling)
    for row in needed_rows(statement):
        if isinstance(row, Recurrence):
            work.recurrence(row)
        else:
            work.rows.append(row)
    if not any(recurrences(needed_rows(statement))) or (statement.relabels and work.inputs):
        return None
    spec = flat(statement.spec, work.rows, work.inputs)
    claim = Statement(
        statement.name, statement.kind, spec, statement.left, statement.right,
        statement.hypotheses, statement.relabels, statement.words,
    )  # fmt: skip
    words = work.words or ["states are any arrays, and what stands before each step"]
    return Plan(tuple(words), (*work.obligations, claim), ("(induction closed)", *work.told))


@dataclass
class _Work:
    """What stands so far in place of a spec's rows, and what is left to prove."""

    spec: Spec
    names: Names
    settling: bool = False
    rows: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)
    obligations: list[Statement] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def recurrence(self, row: Recurrence) -> None:
        """Put equations in a recurrence's place."""
        solving = Solving(Loop.of(row, self.names), self.names, tuple(self.rows))
        solving.solve()
        settled = solving.settled() if self.settling else {}
        self.told += solving.told(settled)
        self.inputs += solving.inputs
        before = tuple(self.rows)
        self.rows += solving.rows
        if not solving.forms:
            return
        for state in solving.forms:
            self.obligations += solving.claims(self.spec, before, self.inputs, state)
        whole = flat(self.spec, (*before, *solving.rows), self.inputs)
        self.obligations += [
            Statement(f"{name} is found", "equal", whole, left, alone.body)
            for name, (alone, left) in settled.items()
        ]
        self.inputs = [entry for entry in self.inputs if entry.tensor.name not in settled]
        self.rows += [alone for alone, _ in settled.values()]
        solved = ", ".join((*solving.forms, *settled))
        self.words.append(f"induction along {row.along.name}: a closed form of {solved}")


@dataclass
class Solving:
    """One recurrence: the states that have closed forms, and the equations in its place."""

    loop: Loop
    names: Names
    known: tuple[Equation, ...]
    forms: dict[str, Form] = field(default_factory=dict)
    masses: dict[Expr, tuple[Entry, Expr]] = field(default_factory=dict)
    rows: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)

    def solve(self) -> None:
        """Find the closed forms, and write every step with them."""
        row = self.loop.row
        self.bodies = {step.name: step.body for step in row.steps}
        self.heads = {step.name: step.head for step in row.steps}
        self.other = self.names.index(self.loop.along, "u")
        self.running = self.names.index(self.loop.along, "l")
        steps = {state: parsed(self, state) for state in row.states}
        solved = [state for state, found in steps.items() if found is not None]
        # What reads the past of another state that is solved would need that one first.
        solved = [state for state in solved if not past(steps[state]) & set(solved)]
        opaque = self._opaque(steps, solved)
        while again := [state for state in solved if state in opaque]:
            solved = [state for state in solved if state not in again]
            opaque = self._opaque(steps, solved)
        values = dict(self.loop.given_before)
        for state in solved:
            found = steps[state]
            if found is not None:
                self._form(state, found, values)
        self._rows(values, opaque)

    def _opaque(self, parsed: Mapping[str, Parsed | None], solved: Sequence[str]) -> set[str]:
        """What closed forms read of a step that needs the closed forms themselves."""
        read: set[str] = set()
        for state in solved:
            found = parsed[state]
            if found is not None:
                parts = (found.added, *(() if found.gain is None else (found.gain,)))
                read |= {name for part in parts for name in present(part)}
        return {name for name in read & set(self.bodies) if self._reaches(name) & set(solved)}

    def _reaches(self, name: str) -> set[str]:
        """The states whose earlier values a step's value is computed from, and itself if one."""
        body = self.bodies[name]
        found = previous_states(body) | ({name} & set(self.loop.row.states))
        for inner in present(body) & set(self.bodies):
            found |= self._reaches(inner)
        return found

    def _form(self, state: str, found: Parsed, values: dict[str, tuple[Entry, Expr]]) -> None:
        """The form of one state; what it reads of other states' past is put in already."""
        head, gain, mass = self.heads[state], found.gain, None
        if gain is not None:
            mass, gain = self._mass(gain)
        begun = self.loop.row.states[state]
        added = without_previous(found.added, self.loop.given_before)
        form = Form(head, begun, added, gain, mass)
        self.forms[state] = form
        values[state] = head, form.before(self.loop, self.other, form.level)

    def _mass(self, gain: Expr) -> tuple[Entry, Expr]:
        """P and the gain's logarithm over the arrays that stand before each step."""
        if gain not in self.masses:
            log = without_previous(gain, self.loop.given_before)
            summed = summed_logs(self.loop, self.running, gain, log)
            places = tuple(dict.fromkeys((*free(log), self.loop.along)))
            mass = Entry(self.names.tensor("P"), places)
            self.masses[gain] = mass, log
            self.rows.append(Equation(mass, summed))
        return self.masses[gain]

    def _rows(self, values: Mapping[str, tuple[Entry, Expr]], opaque: set[str]) -> None:
        """The steps as equations; states without a form and what is opaque are inputs."""
        self.values = values
        for step in self.loop.row.steps:
            if step.name in self.forms:
                body = self.forms[step.name].after(self.loop, self.other)
                self.rows.append(Equation(step.head, body))
            elif step.name in opaque or step.name in self.loop.row.states:
                self.inputs.append(step.head)
            else:
                self.rows.append(Equation(step.head, without_previous(step.body, values)))
        unsolved = [state for state in self.loop.row.states if state not in self.forms]
        self.inputs += [self.loop.before[state] for state in unsolved]

    def settled(self) -> dict[str, tuple[Equation, Expr]]:
        """The steps that may read no past, as they are without, and as they read closed forms."""
        nothing = {state: (head, ZERO) for state, head in self.loop.before.items()}
        result = {}
        for step in self.loop.row.steps:
            mine = step.name not in self.loop.row.states and step.head in self.inputs
            if mine and previous_states(step.body) <= set(self.forms):
                row = Equation(step.head, plain(without_previous(step.body, nothing)))
                result[step.name] = row, without_previous(step.body, self.values)
        return result

    def told(self, settled: Mapping[str, tuple[Equation, Expr]]) -> Iterator[str]:
        """The lines that tell what the closed forms are, E an array of its own."""
        loop, name = self.loop, self.loop.row.steps[0].name
        yield from named_before(loop.before)
        levels: dict[Expr, Entry] = {}
        for form in self.forms.values():
            if form.mass is not None and form.mass not in levels:
                level = levels[form.mass] = Entry(self.names.tensor("E"), form.mass.places)
                (summed,) = (row.body for row in self.rows if row.head == form.mass)
                yield told("let", name, (form.mass, summed))
                yield told("let", name, (level, form.level))
                starts = any(f.mass == form.mass and f.begun != ZERO for f in self.forms.values())
                begins = "zero" if starts else "any"
                names = (level.tensor.name, form.mass.tensor.name)
                yield told("level", name, *names, begins)
        if self.forms:
            yield told("earlier", name, loop.earlier.name)
        for state, form in self.forms.items():
            at = None if form.mass is None else levels[form.mass]
            sides = form.before(loop, self.other, at), form.after(loop, self.other)
            yield told("solved", state, *sides)
        for entry in self.inputs:
            name = entry.tensor.name
            if name in settled:
                yield told("found", name, settled[name][0].body)
            elif name in self.bodies and name not in loop.row.states:
                yield told("free", name)

    # ---- what is left to prove

    def claims(
        self, spec: Spec, before: Sequence[Equation], inputs: Sequence[Entry], state: str
    ) -> list[Statement]:
        """Base, step and carry of one state's form, and what the carry says of P."""
        loop, form = self.loop, self.forms[state]
        whole = flat(spec, (*before, *self.rows), inputs)
        masses = [mass for mass, _ in self.masses.values()]
        names = {mass.tensor.name for mass in masses}
        rest = [row for row in self.rows if row.name not in names]
        cut = flat(spec, (*before, *rest), [*inputs, *masses])
        start = form.level
        if start is not None and form.begun != ZERO:
            start = ZERO
        begun = at_step(form.before(loop, self.other, start), loop.along, self._begun())
        step = without_previous(self.bodies[state], self.values)
        level = None if form.mass is None else loop.shifted(form.mass)
        carried = at_step(form.before(loop, self.other, level), loop.along, self._shifted())
        follows = (loop.follows,)
        found = [
            Statement(f"{state} begins", "equal", whole, begun, form.begun, (loop.first,)),
            Statement(f"{state} makes a step", "equal", cut, form.head, step),
            Statement(
                f"{state} is carried on", "equal", cut, carried, loop.shifted(form.head), follows
            ),
        ]
        if form.level is not None and level is not None:
            left = at_step(form.level, loop.along, self._shifted())
            name = f"the gains of {state} are carried on"
            found.append(Statement(name, "equal", whole, left, level, follows))
        if form.level is not None and form.begun != ZERO:
            left = at_step(form.level, loop.along, self._begun())
            name = f"there is no gain of {state} before the first step"
            found.append(Statement(name, "equal", whole, left, ZERO, (loop.first,)))
        return found

    def _begun(self) -> dict[str, tuple[Entry, Expr]]:
        """At the first step there stand the initial values."""
        states = self.loop.row.states
        return {e.tensor.name: (e, states[state]) for state, e in self.loop.before.items()}

    def _shifted(self) -> dict[str, tuple[Entry, Expr]]:
        """After an earlier step there stand its values."""
        return {
            e.tensor.name: (e, self.loop.shifted(self.heads[state]))
            for state, e in self.loop.before.items()
        }
