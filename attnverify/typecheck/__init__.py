"""A check with no cleverness: every name bound once, every index bound, every axis agreed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attnverify.algebra.terms import Axis, Entry, Index, Parameter
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.errors import SpecError
from attnverify.typecheck.expressions import Scope, check_expression, check_free


class Declared(Protocol):
    """What a spec declares, as far as the check needs it."""

    @property
    def name(self) -> str:
        """The spec's name."""

    @property
    def inputs(self) -> tuple[Entry, ...]:
        """The entries that declare the inputs."""

    @property
    def equations(self) -> tuple[Statement, ...]:
        """Equations and recurrences in order."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every simple axis; SpecError where one is declared with two sizes."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The numbers left open."""


def typecheck(spec: Declared) -> None:
    """Check a spec; a SpecError names the spec, the equation, the index and what was due."""
    tensors: dict[str, Entry] = {}
    for entry in spec.inputs:
        if not isinstance(entry, Entry):
            raise SpecError(
                "an input is declared as an entry",
                spec=spec.name,
                found=repr(entry),
                due="Q[b, h, i, k]",
            )
        _declare(spec.name, entry, tensors)
    parameters = _parameter_names(spec, tensors)
    for statement in spec.equations:
        if isinstance(statement, Equation):
            _check_equation(Scope(spec.name, statement.name, tensors, parameters), statement)
            _declare(spec.name, statement.head, tensors)
        elif isinstance(statement, Recurrence):
            _check_recurrence(spec.name, statement, tensors, parameters)
        else:
            raise SpecError(
                "a spec holds equations",
                spec=spec.name,
                found=repr(statement),
                due="let(head, body)",
            )
    _check_outputs(spec, tensors)
    _check_axes(spec)


def _check_axes(spec: Declared) -> None:
    """No axis is declared with two sizes, and what an axis is made of is axes with names."""
    for axis in spec.axes:
        if not axis.name.isidentifier():
            raise SpecError(
                "a name is not an identifier",
                spec=spec.name,
                found=repr(axis.name),
                due="letters, digits and _",
            )


def _check_outputs(spec: Declared, tensors: Mapping[str, Entry]) -> None:
    for name in spec.outputs:
        if name not in tensors:
            raise SpecError(
                "an output is not assigned", spec=spec.name, found=str(name), due=", ".join(tensors)
            )
    if len(set(spec.outputs)) != len(spec.outputs):
        raise SpecError("an output is named twice", spec=spec.name, found=", ".join(spec.outputs))
    if not spec.outputs:
        raise SpecError("a spec needs an output", spec=spec.name)


def _parameter_names(spec: Declared, tensors: Mapping[str, Entry]) -> frozenset[str]:
    names: set[str] = set()
    for item in spec.parameters:
        if not isinstance(item, Parameter):
            raise SpecError(
                "a parameter was expected",
                spec=spec.name,
                found=repr(item),
                due='parameter("window", integer=True)',
            )
        if item.name in names or item.name in tensors:
            raise SpecError("a name is declared twice", spec=spec.name, found=item.name)
        names.add(item.name)
    return frozenset(names)


def _check_names(spec: str, head: Entry) -> None:
    """Names go into generated source, so each is an identifier (an index may have primes)."""
    names = [head.tensor.name]
    for index in head.indices:
        names += [index.name.rstrip("'"), index.axis.name]
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise SpecError(
                "a name is not an identifier",
                spec=spec,
                equation=str(head.tensor.name),
                found=repr(name),
                due="letters, digits and _",
            )


def _declare(spec: str, head: Entry, tensors: dict[str, Entry]) -> None:
    _check_names(spec, head)
    name = head.tensor.name
    if name in tensors:
        raise SpecError(
            "a name is assigned twice", spec=spec, equation=name, hint="each name is assigned once"
        )
    seen: set[Index] = set()
    for index in head.indices:
        if index in seen:
            raise SpecError(
                "an index is used twice on the left",
                spec=spec,
                equation=name,
                index=index.name,
                hint="write the diagonal as total(... * where(eq(i, j)))",
            )
        seen.add(index)
    tensors[name] = head


def _check_equation(scope: Scope, equation: Equation) -> None:
    if equation.head.tensor.kind != "real":
        raise scope.error(
            "an equation assigns real numbers", found=equation.head.tensor.kind, due="real"
        )
    check_free(scope, equation.head, equation.body)
    check_expression(scope, equation.body)


def _check_recurrence(
    spec: str, statement: Recurrence, tensors: dict[str, Entry], parameters: frozenset[str]
) -> None:
    names = [step.name for step in statement.steps]
    if not names or not statement.initial:
        raise SpecError("a recurrence needs a step and a state", spec=spec, found=", ".join(names))
    for state in statement.states:
        if state not in names:
            raise SpecError("a state has no step", spec=spec, found=state, due=", ".join(names))
    states = {name: statement.head(name) for name in statement.states}
    local: dict[str, Entry] = {}
    for step in statement.steps:
        if statement.along not in step.head.places:
            raise SpecError(
                "a step's left side lacks the recurrence's index",
                spec=spec,
                equation=step.name,
                index=statement.along.name,
            )
        scope = Scope(
            spec,
            step.name,
            {**tensors, **local},
            parameters,
            statement.along,
            frozenset(names),
            states,
        )
        _check_equation(scope, step)
        _declare(spec, step.head, local)
        if step.name in tensors:
            raise SpecError("a name is assigned twice", spec=spec, equation=step.name)
    for name, value in statement.initial:
        scope = Scope(spec, f"{name} (initial)", tensors, parameters)
        head = states[name]
        rest = Entry(head.tensor, tuple(place for place in head.places if place != statement.along))
        check_free(scope, rest, value)
        check_expression(scope, value)
    tensors.update(local)
