"""Forms that lose digits where others do not: elu(x) + 1 below zero, slopes from kept values."""

from __future__ import annotations

from dataclasses import replace

from attnverify.algebra.rewrite import rebuild
from attnverify.algebra.terms import (
    ZERO,
    Add,
    Apply,
    Entry,
    Expr,
    Mul,
    Tensor,
    add,
    mul,
    negative,
)
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.spec import Spec
from attnverify.transforms.naming import unused


def by_elu(spec: Spec) -> Spec | None:
    """The spec with relu(x) + exp(min(x, 0)) computed as elu(x) + 1; None where it is nowhere."""
    taken = set(spec.heads)
    equations: list[Statement] = []
    for statement in spec.equations:
        if isinstance(statement, Equation) and _is_feature_map(statement.body):
            name = unused(f"{statement.name}_elu", taken)
            taken.add(name)
            head = Entry(Tensor(name), statement.head.places)
            equations += [
                Equation(head, add(statement.body, -1)),
                Equation(statement.head, head + 1),
            ]
        else:
            equations.append(statement)
    changed = len(equations) > len(spec.equations)
    return spec.replace(equations=tuple(equations)) if changed else None


def _is_feature_map(body: Expr) -> bool:
    """Whether an expression is relu(x) + exp(smaller(x, 0))."""
    match body:
        case Add((Apply("relu", (one,)), Apply("exp", (Apply("smaller", (other, zero)),)))):
            return one == other and zero == ZERO
    return False


def by_values(spec: Spec) -> Spec | None:
    """The spec with slopes s(x) s(-x) of logistics computed as s (1 - s); None without one.

    So do the backward passes that keep s: where s is close to 1 its slope has few digits left.
    """
    equations = tuple(_each_body(statement) for statement in spec.equations)
    return spec.replace(equations=equations) if equations != spec.equations else None


def _each_body(statement: Statement) -> Statement:
    if isinstance(statement, Recurrence):
        steps = tuple(Equation(s.head, _from_value(s.body)) for s in statement.steps)
        return replace(statement, steps=steps)
    return Equation(statement.head, _from_value(statement.body))


def _from_value(expr: Expr) -> Expr:
    """The expression with each s(-x) beside an s(x) replaced by 1 - s(x)."""
    expr = rebuild(expr, _from_value)
    if not isinstance(expr, Mul):
        return expr
    factors = list(expr.factors)
    kept = {
        f.arguments[0]: f for f in factors if isinstance(f, Apply) and f.primitive == "logistic"
    }
    for spot, factor in reversed(list(enumerate(factors))):  # slopes name s(x) before s(-x)
        if not isinstance(factor, Apply) or factor.primitive != "logistic":
            continue
        value = kept.get(negative(factor.arguments[0]))
        if value is not None and value in factors:
            factors[spot] = add(1, negative(value))
    return mul(*factors)
