"""Reverse mode: from a Spec and a cotangent of each output to a Spec of the inputs' gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx

from attnverify.algebra.derivative import Partial, collect, partials, threshold_partials
from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import rebuild
from attnverify.algebra.terms import (
    ZERO,
    Entry,
    Expr,
    Index,
    Place,
    Previous,
    Softmax,
    Tensor,
    Threshold,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    total,
)
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.errors import ParameterError
from attnverify.spec import Spec
from attnverify.transforms.naming import cotangent_name, name_softmaxes, unused
from attnverify.transforms.prune import prune


def gradient(spec: Spec, wrt: Sequence[str] | str | None = None) -> Spec:
    """The vector-Jacobian product of a spec as a spec.

    Inputs are those of `spec` and a cotangent `dO` of each output `O`, with that output's axes.
    Outputs are `dQ` for each name in `wrt` (every real input if None), with that input's axes.
    Raises ParameterError for a name that is not a real input.

    >>> from attnverify import load
    >>> print(gradient(load("global"), wrt=["Q"]).equation("dS"))
    dS[b,h,i,j] = A[b,h,i,j] (dA[b,h,i,j] - D[b,h,i])
    """
    names = wanted_inputs(spec, wrt)
    return _Reverse(name_softmaxes(spec), names).spec()


def wanted_inputs(spec: Spec, wrt: Sequence[str] | str | None) -> tuple[str, ...]:
    """The names to differentiate by, checked against the real inputs of the spec."""
    real = [entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real"]
    names = tuple(real) if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for name in names:
        if name not in real:
            raise ParameterError(
                "a gradient is taken by real inputs",
                spec=spec.name,
                found=repr(name),
                due=", ".join(real),
            )
    if not names:
        raise ParameterError(
            "a gradient needs an input to differentiate by", spec=spec.name, due=", ".join(real)
        )
    return names


def dependents(spec: Spec, names: Iterable[str]) -> set[str]:
    """The names whose values depend on any of `names`, themselves included."""
    graph = spec.graph()
    return set(names).union(*(nx.descendants(graph, name) for name in names))


class _Reverse:
    """The reverse sweep: each cotangent's parts are collected until its tensor is reached."""

    def __init__(self, spec: Spec, wrt: tuple[str, ...]) -> None:
        self.source, self.wrt = spec, wrt
        self.taken = set(spec.heads)
        self.relevant = dependents(spec, wrt)
        self.contributions: dict[str, list[Expr]] = {}
        self.forward: list[Statement] = []
        self.backward: list[Statement] = []
        self.cotangents = [self._cotangent_of(name) for name in spec.outputs]

    def _fresh(self, name: str) -> Tensor:
        self.taken.add(name)
        return Tensor(name)

    def _derivative_head(self, name: str) -> Entry:
        return Entry(self._fresh(cotangent_name(name, self.taken)), self.source.heads[name].places)

    def _cotangent_of(self, output: str) -> Entry:
        head = self._derivative_head(output)
        self._contribute(output, head)
        return head

    def _contribute(self, name: str, value: Expr) -> None:
        if value != ZERO:
            self.contributions.setdefault(name, []).append(value)

    def spec(self) -> Spec:
        """Run the sweep and put the result together."""
        for statement in reversed(self.source.equations):
            if isinstance(statement, Recurrence):
                self._recurrence(statement)
            else:
                self.forward.append(statement)
                self._equation(statement)
        outputs = [self._input_gradient(name) for name in self.wrt]
        statements = [*reversed(self.forward), *self.backward]
        return Spec(
            f"{self.source.name}_gradient",
            inputs=(*self.source.inputs, *self.cotangents),
            equations=prune(statements, tuple(outputs)),
            outputs=tuple(outputs),
            parameters=self.source.parameters,
            description=f"Gradient of {self.source.name} by {', '.join(self.wrt)}.",
        )

    def _input_gradient(self, name: str) -> str:
        head = self._derivative_head(name)
        self.backward.append(Equation(head, add(*self.contributions.get(name, []))))
        return head.tensor.name

    def _seed(self, name: str) -> Entry | None:
        """An assigned name's cotangent as an entry, by an equation unless it is one already."""
        parts = self.contributions.pop(name, [])
        if name not in self.relevant or not parts:
            return None
        value = add(*parts)
        if isinstance(value, Entry) and value.places == self.source.heads[name].places:
            return value
        head = self._derivative_head(name)
        self.backward.append(Equation(head, value))
        return head

    def _equation(self, equation: Equation) -> None:
        seed = self._seed(equation.name)
        if seed is None:
            return
        for part in self._parts(equation, seed, self.backward):
            name = part.read.tensor.name
            if name in self.relevant:
                place = self.source.heads[name].indices
                self._contribute(name, collect(part, place, equation.head.indices))

    def _parts(
        self, equation: Equation, seed: Entry, rows: list[Statement] | list[Equation]
    ) -> Iterable[Partial]:
        """Partials of an equation times its cotangent; softmax has its weights and a row term."""
        body = equation.body
        if isinstance(body, Threshold):
            return threshold_partials(body, equation.head, seed)
        if (
            not isinstance(body, Softmax)
            or not isinstance(body.score, Entry)
            or body.at != body.over
        ):
            return partials(body, seed)
        places: tuple[Place, ...] = tuple(p for p in equation.head.places if p != body.at)
        wanted = "D" if "D" not in self.taken else f"D_{equation.name}"
        row = Entry(self._fresh(unused(wanted, self.taken)), places)
        rows.append(Equation(row, total(mul(seed, equation.head), over=body.at)))
        return partials(body.score, mul(equation.head, add(seed, negative(row))))

    def _recurrence(self, rec: Recurrence) -> None:
        """Steps in reverse carry the cotangent of each state's value one step earlier."""
        live = [step for step in rec.steps if step.name in self.relevant]
        if not any(self.contributions.get(step.name) for step in live):
            self.forward.append(rec)
            return
        before = {name: self._earlier(rec.head(name)) for name in rec.states}
        carried = {
            s.name: Entry(self._fresh(unused(f"d{s.name}_before", self.taken)), s.head.places)
            for s in live
            if s.name in rec.states
        }
        inner: dict[str, list[Expr]] = {
            step.name: self.contributions.pop(step.name, []) for step in live
        }
        for name, head in carried.items():
            inner[name].append(Previous(head))
        steps = self._backward_steps(rec, live, inner, before, carried)
        initial = tuple((head.tensor.name, ZERO) for head in carried.values())
        extra = tuple(Equation(before[name], Previous(rec.head(name))) for name in rec.states)
        self.forward.append(Recurrence(rec.along, rec.steps + extra, rec.initial, rec.reverse))
        self.backward.append(Recurrence(rec.along, tuple(steps), initial, not rec.reverse))
        self._initial_values(rec, carried)

    def _earlier(self, head: Entry) -> Entry:
        return Entry(self._fresh(unused(f"{head.tensor.name}_before", self.taken)), head.places)

    def _backward_steps(
        self,
        rec: Recurrence,
        live: list[Equation],
        inner: dict[str, list[Expr]],
        before: dict[str, Entry],
        carried: dict[str, Entry],
    ) -> list[Equation]:
        steps: list[Equation] = []
        sums: dict[str, list[Expr]] = {name: [] for name in carried}
        for step in reversed(live):
            if not inner[step.name]:
                continue
            head = self._derivative_head(step.name)
            steps.append(Equation(head, add(*inner[step.name])))
            for part in self._parts(step, head, steps):
                self._place(part, step, rec.along, inner=inner, before=before, sums=sums)
        steps += [Equation(head, add(*sums[name])) for name, head in carried.items()]
        return steps

    def _place(
        self,
        part: Partial,
        step: Equation,
        along: Index,
        *,
        inner: dict[str, list[Expr]],
        before: dict[str, Entry],
        sums: dict[str, list[Expr]],
    ) -> None:
        """Put a step's partial where it belongs: this step, the carried cotangent, or outside."""
        name = part.read.tensor.name
        earlier = isinstance(part.entry, Previous)
        part = Partial(part.entry, _read_earlier(part.factor, before), part.bound)
        place = self.source.heads[name].indices if name in self.source.heads else ()
        within = tuple(index for index in step.head.indices if index != along)
        if earlier:
            if name in sums:
                sums[name].append(collect(part, place, within))
        elif name in inner:
            inner[name].append(collect(part, place, within))
        elif name in self.relevant:
            self._contribute(name, collect(part, place, step.head.indices))

    def _initial_values(self, rec: Recurrence, carried: dict[str, Entry]) -> None:
        """The cotangent of a state's initial value is what is carried past the first step."""
        edge = rec.along.axis.size - 1 if rec.reverse else as_expr(0)
        first = indicator(Compare("==", as_expr(rec.along), edge))
        for name, head in carried.items():
            value = rec.states[name]
            if not any(p.read.tensor.name in self.relevant for p in partials(value)):
                continue
            places = tuple(place for place in head.places if place != rec.along)
            seed = Entry(self._fresh(unused(f"d{name}_first", self.taken)), places)
            self.backward.append(Equation(seed, total(mul(first, head), over=rec.along)))
            for part in partials(value, seed):
                read = part.read.tensor.name
                if read in self.relevant:
                    self._contribute(
                        read, collect(part, self.source.heads[read].indices, seed.indices)
                    )


def _read_earlier(expr: Expr, before: dict[str, Entry]) -> Expr:
    """The expression with previous values read from the arrays that keep them."""
    if isinstance(expr, Previous) and expr.entry.tensor.name in before:
        return Entry(before[expr.entry.tensor.name].tensor, expr.entry.places)
    return rebuild(expr, lambda child: _read_earlier(child, before))
