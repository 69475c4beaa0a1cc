"""Give parameters their values: the result is a Spec with fewer parameters."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from attnverify.algebra.parameters import checked
from attnverify.algebra.rewrite import with_scalars
from attnverify.algebra.terms import number
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.errors import ParameterError
from attnverify.spec import Spec


def specialise(spec: Spec, values: Mapping[str, object]) -> Spec:
    """The spec with the named parameters replaced by numbers.

    Raises ParameterError for an unknown name, a wrong type or a value outside the domain.

    >>> from attnverify import load
    >>> print(specialise(load("sliding_window"), {"window": 3}).equation("A"))
    A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i and j >= i - 2)
    """
    declared = {parameter.name: parameter for parameter in spec.parameters}
    table: dict[sympy.Symbol, sympy.Expr] = {}
    for name, value in values.items():
        if name not in declared:
            raise ParameterError(
                "an unknown parameter",
                spec=spec.name,
                found=name,
                due=", ".join(declared) or "none",
            )
        table[declared[name].symbol] = number(checked(declared[name], value, spec.name))
    if not table:
        return spec
    return spec.replace(
        equations=tuple(_statement(statement, table) for statement in spec.equations),
        parameters=tuple(p for p in spec.parameters if p.name not in values),
        choices={**spec.choices, **values},
    )


def _statement(statement: Statement, table: Mapping[sympy.Symbol, sympy.Expr]) -> Statement:
    if isinstance(statement, Recurrence):
        steps = tuple(
            Equation(step.head, with_scalars(step.body, table)) for step in statement.steps
        )
        initial = tuple((name, with_scalars(value, table)) for name, value in statement.initial)
        return Recurrence(statement.along, steps, initial, statement.reverse)
    return Equation(statement.head, with_scalars(statement.body, table))
