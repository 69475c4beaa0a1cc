"""Name every softmax and threshold: each stands alone in an equation, its score an entry.

Reverse and forward mode then state the softmax rule once, in terms of the weights that were already
computed, which is how people write it: dS = A (dA - row term).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from attnverify.algebra.rewrite import free, rebuild, rename, rename_in
from attnverify.algebra.terms import Entry, Expr, Index, Softmax, Tensor, Threshold
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.spec import Spec


def unused(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or `wanted` with the first number from 2 that makes it new.

    >>> unused("dQ", ["dQ"])
    'dQ2'
    """
    names = set(taken)
    name, number = wanted, 2
    while name in names:
        name, number = f"{wanted}{number}", number + 1
    return name


def cotangent_name(name: str, taken: Iterable[str]) -> str:
    """The name of a derivative by `name`: `d` before it, or `d2`, `d3` where that is taken.

    >>> cotangent_name("Q", ["dQ"])
    'd2Q'
    """
    names = set(taken)
    result, order = f"d{name}", 2
    while result in names:
        result, order = f"d{order}{name}", order + 1
    return result


def name_softmaxes(spec: Spec) -> Spec:
    """The same spec with each softmax and threshold an equation of its own, its score an entry."""
    names = _Names(set(spec.heads))
    statements: list[Statement] = []
    for statement in spec.equations:
        if isinstance(statement, Recurrence):
            steps: list[Equation] = []
            for step in statement.steps:
                steps += names.split(step, statement.along)
            statements.append(
                Recurrence(statement.along, tuple(steps), statement.initial, statement.reverse)
            )
        else:
            statements += names.split(statement)
    return spec if len(names.made) == 0 else spec.replace(equations=tuple(statements))


class _Names:
    """The names in use, and the new equations made for parts of one equation."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.made: list[str] = []

    def fresh(self, wanted: str) -> Tensor:
        name = unused(wanted, self.taken)
        self.taken.add(name)
        self.made.append(name)
        return Tensor(name)

    def split(self, equation: Equation, along: Index | None = None) -> list[Equation]:
        """The equations that name the softmaxes inside one equation, then the equation itself.

        In a recurrence every new step has the recurrence's index `along` on its left side.
        """
        before: list[Equation] = []
        body = equation.body
        if isinstance(body, Softmax | Threshold):
            return self._root(equation, body, along)
        body = self._lift(body, before, along)
        return [*before, Equation(equation.head, body)]

    def _lift(self, body: Expr, before: list[Equation], along: Index | None) -> Expr:
        if isinstance(body, Softmax | Threshold):
            wanted = "A" if isinstance(body, Softmax) else "T"
            head = Entry(self.fresh(wanted), _places(body, along))
            before += self.split(Equation(head, body), along)
            return head
        return rebuild(body, lambda child: self._lift(child, before, along))

    def _root(
        self, equation: Equation, body: Softmax | Threshold, along: Index | None
    ) -> list[Equation]:
        body = read_at_bound(body) if isinstance(body, Softmax) else body
        if isinstance(body.score, Entry):
            return [Equation(equation.head, body)]
        before: list[Equation] = []
        score = self._lift(body.score, before, along)
        needed = _places(score, along)
        order = dict.fromkeys((*equation.head.indices, *needed))
        head = Entry(self.fresh("S"), tuple(index for index in order if index in needed))
        return [
            *before,
            Equation(head, score),
            Equation(equation.head, replace(body, score=head)),
        ]


def _places(body: Expr, along: Index | None) -> tuple[Index, ...]:
    """The indices that a new equation for `body` has on its left side."""
    return tuple({**free(body), **({} if along is None else {along: None})})


def read_at_bound(body: Softmax) -> Softmax:
    """The softmax with its bound index named as the one it is read at, if that captures nothing."""
    at: Index = body.at
    if at == body.over or at in free(Softmax(body.score, body.over, body.where, body.over)):
        return body
    to = {body.over: at}
    return Softmax(rename(body.score, to), at, rename_in(body.where, to), at)
