"""Comparisons without functions: absolute values, maxima and choices are put into the predicate.

`abs(i - j) <= 2` becomes `i - j <= 2 and -i + j <= 2`, which z3 decides for all sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import sympy

from attnverify.algebra.predicates import (
    FALSE,
    TRUE,
    Compare,
    Predicate,
    conjunction,
    disjunction,
    negation,
)
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Add,
    Apply,
    Expr,
    Indicator,
    Mul,
    Scalar,
    add,
    indicator,
    mul,
    negative,
)

# More cases than these make a predicate that nobody reads.
MOST = 64
Case = tuple[Predicate, Expr]
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def compared(op: str, left: Expr, right: Expr) -> Predicate:
    """The predicate `left op right`, without the functions that a predicate can say itself.

    >>> from attnverify.notation import absolute, axes
    >>> queries, keys = axes("queries keys")
    >>> print(compared("<=", absolute(queries["i"] - keys["j"]), ONE))
    i - j <= 1 and -i + j <= 1
    """
    if op in ("==", "!="):
        return _by_case(op, left, right)
    for sign, one, other in ((op, left, right), (FLIPPED[op], right, left)):
        found = _extreme(one)
        if found is not None:
            largest, parts = found
            # The largest is below a bound where all are, and above it where one is.
            join = conjunction if largest == (sign in ("<", "<=")) else disjunction
            return join(*(compared(sign, part, other) for part in parts))
    return _by_case(op, left, right)


def _extreme(expr: Expr) -> tuple[bool, tuple[Expr, ...]] | None:
    """What an expression is the largest of (True), or the smallest (False); None if it is neither.

    What is added to an extreme is added to each of its parts, and a factor multiplies each.
    """
    match expr:
        case Apply("absolute", (x,)):
            return True, (x, negative(x))
        case Apply("relu", (x,)):
            return True, (x, ZERO)
        case Apply("larger" | "smaller" as name, parts):
            return name == "larger", parts
        case Mul((Scalar(value), rest)) if value.is_number and (found := _extreme(rest)):
            return found[0] == bool(value > 0), tuple(mul(expr.factors[0], p) for p in found[1])
        case Add(terms):
            return _extreme_term(terms)
    return None


def _extreme_term(terms: tuple[Expr, ...]) -> tuple[bool, tuple[Expr, ...]] | None:
    """The same of a sum, by the first of its terms that is an extreme."""
    for number, term in enumerate(terms):
        found = _extreme(term)
        if found is not None:
            others = (*terms[:number], *terms[number + 1 :])
            return found[0], tuple(add(part, *others) for part in found[1])
    return None


def _by_case(op: str, left: Expr, right: Expr) -> Predicate:
    pairs = list(product(cases(left), cases(right)))
    if len(pairs) > MOST:
        return Compare(op, left, right)
    return disjunction(*(conjunction(p, q, _decided(op, x, y)) for (p, x), (q, y) in pairs))


def _decided(op: str, left: Expr, right: Expr) -> Predicate:
    """A comparison, decided where the sign of a difference of positions is known."""
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        difference = sympy.expand(left.value - right.value)
        for known, true, false in _signs(difference):
            if known and op in (*true, *false):
                return TRUE if op in true else FALSE
    return Compare(op, left, right)


def _signs(value: sympy.Expr) -> tuple[tuple[bool | None, tuple[str, ...], tuple[str, ...]], ...]:
    """What is known of a value's sign, and which comparisons with 0 are true and false for it."""
    return (
        (value.is_positive, (">", ">=", "!="), ("<", "<=", "==")),
        (value.is_negative, ("<", "<=", "!="), (">", ">=", "==")),
        (value.is_zero, ("==", "<=", ">="), ("<", ">", "!=")),
        (value.is_nonnegative, (">=",), ("<",)),
        (value.is_nonpositive, ("<=",), (">",)),
    )


def cases(expr: Expr) -> list[Case]:
    """What an expression is, by predicates of which exactly one holds at each place."""
    match expr:
        case Indicator(where):
            return [(where, ONE), (negation(where), ZERO)]
        case Apply("absolute", (x,)):
            return _larger(x, negative(x))
        case Apply("relu", (x,)):
            return _larger(x, ZERO)
        case Apply("larger", (x, y)):
            return _larger(x, y)
        case Apply("smaller", (x, y)):
            return [(p, negative(e)) for p, e in _larger(negative(x), negative(y))]
        case Add(terms):
            return _joined(terms, add)
        case Mul(factors):
            return _joined(factors, mul)
    return [(TRUE, expr)]


def _larger(one: Expr, other: Expr) -> list[Case]:
    found = []
    for (p, x), (q, y) in product(cases(one), cases(other)):
        above = _decided(">=", add(x, negative(y)), ZERO)
        found += [(conjunction(p, q, above), x), (conjunction(p, q, negation(above)), y)]
    return [case for case in found if case[0] != FALSE]


def _joined(parts: tuple[Expr, ...], join: Callable[..., Expr]) -> list[Case]:
    """The cases of a sum or product: one case of each of its parts at a time."""
    options = [cases(part) for part in parts]
    count = 1
    for option in options:
        count *= len(option)
    if count > MOST:
        return [(TRUE, join(*parts))]
    found = [
        (conjunction(*(p for p, _ in row)), join(*(e for _, e in row))) for row in product(*options)
    ]
    return [case for case in found if case[0] != FALSE]


def by_case(change: Callable[[Expr], Expr], expr: Expr) -> Expr:
    """A function of an expression that is known of each of its cases alone."""
    return add(*(mul(indicator(where), change(value)) for where, value in cases(expr)))
