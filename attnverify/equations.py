"""Equation and Recurrence: what a spec is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from attnverify.algebra.rewrite import entries
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Index,
    Place,
    Previous,
    Tensor,
    as_expr,
    mul,
)
from attnverify.errors import SpecError


@dataclass(frozen=True)
class Equation:
    """`head = body` at every place of the head's indices."""

    head: Entry
    body: Expr

    @property
    def name(self) -> str:
        """The name that the equation assigns."""
        return self.head.tensor.name

    def __str__(self) -> str:
        return f"{self.head} = {self.body}"


@dataclass(frozen=True)
class Recurrence:
    """Coupled equations along one index; `previous` reads a state of the step before.

    `initial` gives the states: their values before the first step. With `reverse` the steps run
    from the last position to the first. Every value of every step can be read by later equations.
    """

    along: Index
    steps: tuple[Equation, ...]
    initial: tuple[tuple[str, Expr], ...]
    reverse: bool = False

    @property
    def states(self) -> dict[str, Expr]:
        """The initial value of each state, by name."""
        return dict(self.initial)

    def head(self, name: str) -> Entry:
        """The head of the step that assigns `name`."""
        return next(step.head for step in self.steps if step.name == name)

    def __str__(self) -> str:
        way = "down" if self.reverse else "up"
        lines = [f"along {self.along.name} {way}, before the first step " + self._initial_text()]
        return "\n".join([*lines, *(f"  {step}" for step in self.steps)])

    def _initial_text(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.initial)


Statement: TypeAlias = Equation | Recurrence


def equations_of(statement: Statement) -> tuple[Equation, ...]:
    """The equations of a statement, in order."""
    return statement.steps if isinstance(statement, Recurrence) else (statement,)


def reads(statement: Statement) -> dict[str, None]:
    """The names that a statement reads from outside itself."""
    own = {equation.name for equation in equations_of(statement)}
    found = {
        entry.tensor.name: None
        for equation in equations_of(statement)
        for entry in entries(equation.body)
    }
    if isinstance(statement, Recurrence):
        found.update(
            {entry.tensor.name: None for _, value in statement.initial for entry in entries(value)}
        )
    return {name: None for name in found if name not in own}


def place_axis(place: Place) -> Axis:
    """The axis that a place runs along: a product axis for a tuple of indices."""
    if isinstance(place, tuple):
        return Axis(
            "*".join(index.axis.name for index in place), tuple(index.axis for index in place)
        )
    return place.axis


def let(head: Entry, body: object) -> Equation:
    """The equation `head = body`.

    >>> from attnverify.notation import axes, tensors
    >>> (keys,) = axes("keys")
    >>> x, y = tensors("x y")
    >>> print(let(y[keys["j"]], 2 * x[keys["j"]]))
    y[j] = 2 x[j]
    """
    if not isinstance(head, Entry):
        raise SpecError(
            "an equation assigns an entry",
            found=repr(head),
            due="a tensor with its indices, such as S[b, h, i, j]",
        )
    return Equation(head, as_expr(body))


def recur(
    along: Index,
    steps: Sequence[Equation],
    initial: Mapping[Tensor, object],
    *,
    reverse: bool = False,
) -> Recurrence:
    """Coupled equations along one index, with the states' values before the first step."""
    return Recurrence(
        along, tuple(steps), tuple((t.name, as_expr(v)) for t, v in initial.items()), reverse
    )


def previous(entry: Entry) -> Previous:
    """In a recurrence: a state's value one step earlier."""
    if not isinstance(entry, Entry):
        raise SpecError("previous(...) takes an entry of a state", found=repr(entry))
    return Previous(entry)


def running_product(
    head: Entry, body: object, along: Index, *, reverse: bool = False
) -> Recurrence:
    """The recurrence that gives `head` the product of `body` up to its position along an index.

    With `reverse` it is the product from there to the end. A recurrence has the derivative of a
    product also where a factor is 0, which sums of logarithms have not.

    >>> from attnverify.notation import axes, tensors
    >>> (time,), (P, x) = axes("time"), tensors("P x")
    >>> t = time["t"]
    >>> print(running_product(P[t], x[t], along=t))
    along t up, before the first step P = 1
      P[t] = previous(P[t]) x[t]
    """
    step = let(head, mul(previous(head), body))
    if along not in head.places:
        raise SpecError(
            "running_product(...) runs along an index of its left side",
            equation=step.name,
            found=repr(along),
            due=str(head),
        )
    return recur(along, [step], {head.tensor: 1}, reverse=reverse)
