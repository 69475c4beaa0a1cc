"""What an expression is by its form: linear in tensors, or of a degree in them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attnverify.algebra.derivative import partials
from attnverify.algebra.rewrite import entries, free, predicate_entries, predicates_of
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Total,
    mul,
)


def linear_in(expr: Expr, names: set[str]) -> bool:
    """Whether an expression is linear in the named tensors by its form.

    >>> from attnverify import load
    >>> spec = load("global")
    >>> linear_in(spec.equation("O").body, {"V"})
    True
    """
    if not any(e.tensor.name in names for e in entries(expr)):
        return expr == Scalar(0)
    match expr:
        case Entry() | Previous():
            return True
        case Add(terms):
            return all(linear_in(term, names) for term in terms)
        case Total(body, _):
            return linear_in(body, names)
        case Mul(factors):
            holding = [f for f in factors if any(e.tensor.name in names for e in entries(f))]
            return len(holding) == 1 and linear_in(holding[0], names)
    return False


def affine_in(expr: Expr, name: str, apart: set[Index]) -> bool:
    """Whether an expression is affine in a tensor, with coefficients free of some indices.

    >>> from attnverify import load
    >>> spec = load("global")
    >>> score = spec.equation("S")
    >>> affine_in(score.body, "K", {score.head.indices[-1]})
    True
    """
    if any(e.tensor.name == name for w in predicates_of(expr) for e in predicate_entries(w)):
        return False
    for part in partials(expr):
        if part.read.tensor.name == name:
            inside = {e.tensor.name for e in entries(part.factor)}
            if name in inside or apart & {*free(part.factor)}:
                return False
    return True


def without_predicates(term: Expr) -> Expr:
    """A term without the predicates that pick its rows."""
    if not isinstance(term, Mul):
        return term
    return mul(*(factor for factor in term.factors if not isinstance(factor, Indicator)))


def degree(expr: Expr, degrees: Mapping[str, int]) -> Fraction | None:
    """By what power of t an expression changes when each tensor is multiplied by t ** its degree.

    None where it does not change by a power, or where the form does not say.

    >>> from attnverify import load
    >>> from attnverify.statement import inline
    >>> spec = load("global")
    >>> degree(inline(spec, spec.equation("S").head), {"Q": 1, "K": -1})
    Fraction(0, 1)
    """
    match expr:
        case Scalar() | Indicator():
            # Predicates that read scaled tensors are of no known degree.
            return Fraction(0) if not _reads(expr, degrees) else None
        case Entry(tensor, _):
            return Fraction(degrees.get(tensor.name, 0))
        case Mul(factors):
            found = [degree(factor, degrees) for factor in factors]
            return None if None in found else sum((f for f in found if f is not None), Fraction(0))
        case Add(terms):
            return _common([degree(term, degrees) for term in terms])
        case Total(body, _):
            return degree(body, degrees)
        case Power(base, exponent):
            inside = degree(base, degrees)
            return None if inside is None else inside * exponent
        case Apply("relu" | "stop_gradient", (argument,)):
            return degree(argument, degrees)
        case Apply(_, arguments):
            return _unchanged([degree(argument, degrees) for argument in arguments])
        case Softmax(score, _, _, _):
            return _unchanged([degree(score, degrees)])
    return None if _reads(expr, degrees) else Fraction(0)


def _reads(expr: Expr, degrees: Mapping[str, int]) -> bool:
    return any(entry.tensor.name in degrees for entry in entries(expr))


def _common(found: list[Fraction | None]) -> Fraction | None:
    return found[0] if all(one == found[0] for one in found) else None


def _unchanged(found: list[Fraction | None]) -> Fraction | None:
    return Fraction(0) if all(one == 0 for one in found) else None
