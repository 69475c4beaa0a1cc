"""The form that divides last: weighted sums of what is not yet normalised, over their row's sum.

Who scales a finished output (by one over its sum, by a sink's share) scales its cotangent on the
way back and stores that, so that it errs before it is multiplied with values; weights that are
normalised first have no such rounding.
"""

from __future__ import annotations

from attnverify.algebra.rewrite import free, rename
from attnverify.algebra.terms import Entry, Expr, Mul, Power, Tensor, Total, mul, total
from attnverify.equations import Equation, Statement
from attnverify.rounding.parts import Form, joint
from attnverify.spec import Spec
from attnverify.transforms.naming import unused


def divided(spec: Spec) -> Spec | None:
    """The spec with each sum against quotients taken as a quotient of sums; None without one."""
    quotients = {
        s.name: (s, parts)
        for s in spec.equations
        if isinstance(s, Equation) and (parts := _quotient(s.body)) is not None
    }
    taken = set(spec.heads)
    equations: list[Statement] = []
    for statement in spec.equations:
        parted = _parted(statement, quotients) if isinstance(statement, Equation) else None
        if parted is None or not isinstance(statement, Equation):
            equations.append(statement)
            continue
        whole, divisors = parted
        head = Entry(Tensor(unused(f"{statement.name}_whole", taken)), statement.head.places)
        taken.add(head.tensor.name)
        equations += [Equation(head, whole), Equation(statement.head, mul(head, *divisors))]
    changed = len(equations) > len(spec.equations)
    return spec.replace(equations=tuple(equations)) if changed else None


def _quotient(body: Expr) -> tuple[list[Expr], list[Expr]] | None:
    """The factors of a product that are no inverses of entries, and those that are."""
    factors = list(body.factors) if isinstance(body, Mul) else []
    under = [f for f in factors if _divides(f)]
    return ([f for f in factors if not _divides(f)], under) if under else None


def _divides(factor: Expr) -> bool:
    return isinstance(factor, Power) and factor.exponent < 0 and isinstance(factor.base, Entry)


def _parted(
    statement: Equation, quotients: dict[str, tuple[Equation, tuple[list[Expr], list[Expr]]]]
) -> tuple[Expr, list[Expr]] | None:
    """The sum without one factor's divisors, and these, where the sum does not run over them."""
    body = statement.body
    if not isinstance(body, Total) or not isinstance(body.body, Mul):
        return None
    factors = list(body.body.factors)
    for place, factor in enumerate(factors):
        if not isinstance(factor, Entry) or factor.tensor.name not in quotients:
            continue
        source, (over, under) = quotients[factor.tensor.name]
        to = dict(zip(source.head.indices, factor.indices, strict=True))
        divisors = [rename(part, to) for part in under]
        if any(set(free(part)) & set(body.over) for part in divisors):
            continue
        rest = [*factors[:place], *factors[place + 1 :]]
        grown = mul(*(rename(part, to) for part in over), *rest)
        return total(grown, body.over), divisors
    return None


def by_last_division(spec: Spec) -> Form | None:
    """The form of its outputs and gradients; None where nothing is divided so."""
    changed = divided(spec)
    if changed is None:
        return None
    whole = joint(changed)
    return Form(whole, whole.outputs)
