"""Comparisons, choices and truth values, and the bits of whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnverify.algebra.predicates import TRUE, conjunction, disjunction, negation
from attnverify.algebra.terms import Expr, Scalar, add, indicator, mul
from attnverify.errors import TraceError
from attnverify.flex.cases import compared
from attnverify.flex.traced import Number, Truth, called, rule
from attnverify.flex.values import finite, is_truth, number, plain, truth


def _comparison(op: str) -> Callable[[Any, Any], Truth]:
    def compare(left: Any, right: Any) -> Truth:
        if is_truth(left) and is_truth(right) and op in ("==", "!="):
            return _xor(left, right if op == "!=" else _not(right))
        return Truth(compared(op, finite(left), finite(right)))

    return compare


for _names, _op in {
    ("lt", "less"): "<",
    ("le", "less_equal"): "<=",
    ("gt", "greater"): ">",
    ("ge", "greater_equal"): ">=",
    ("eq", "equal"): "==",
    ("ne", "not_equal"): "!=",
}.items():
    rule(*_names)(_comparison(_op))


@rule("where")
def _where(condition: Any, value: Any, otherwise: Any) -> Number | Truth:
    where = truth(condition)
    rest = negation(where)
    if is_truth(value) and is_truth(otherwise):
        return Truth(
            disjunction(conjunction(where, truth(value)), conjunction(rest, truth(otherwise)))
        )
    x, y = number(value), number(otherwise)
    hidden = disjunction(conjunction(where, x.hidden), conjunction(rest, y.hidden))
    if x.expr == y.expr or TRUE in (y.hidden, where):
        return Number(x.expr, hidden)
    if TRUE in (x.hidden, rest):
        return Number(y.expr, hidden)
    return Number(add(mul(indicator(where), x.expr), mul(indicator(rest), y.expr)), hidden)


@rule("masked_fill")
def _masked_fill(value: Any, mask: Any, other: Any) -> Number | Truth:
    return _where(mask, other, value)


@rule("logical_not")
def _not(value: Any) -> Truth:
    return Truth(negation(truth(value, counted=True)))


@rule("logical_and")
def _and(left: Any, right: Any) -> Truth:
    return Truth(conjunction(truth(left, counted=True), truth(right, counted=True)))


@rule("logical_or")
def _or(left: Any, right: Any) -> Truth:
    return Truth(disjunction(truth(left, counted=True), truth(right, counted=True)))


@rule("logical_xor")
def _xor(left: Any, right: Any) -> Truth:
    p, q = truth(left, counted=True), truth(right, counted=True)
    return Truth(disjunction(conjunction(p, negation(q)), conjunction(negation(p), q)))


# ---- Bits of whole numbers: a part of them is a whole part and a rest


def _shared_bits(x: Expr, y: Expr) -> Expr:
    """The bits that a whole number shares with a known one of at least 0."""
    known = y if _known(y) else x
    other = Number(x if known is y else y)
    if not _known(known):
        raise TraceError(
            "combines the bits of two whole numbers that both differ from place to place",
            hint="compare them first: & | ^ ~ join truth values",
        )
    bits = int(known.value) if isinstance(known, Scalar) else 0
    places = [place for place in range(bits.bit_length()) if bits >> place & 1]
    shifted = [(place, called("floor_divide", other, 2**place)) for place in places]
    return add(*(mul(2**place, called("remainder", x, 2).expr) for place, x in shifted))


def _known(x: Expr) -> bool:
    return isinstance(x, Scalar) and bool(x.value.is_Integer) and bool(x.value.is_nonnegative)


# x | y = x + y - (x & y), x ^ y = x + y - 2 (x & y)
_BITS = {"and": (_and, 0, 1), "or": (_or, 1, -1), "xor": (_xor, 1, -2)}


def _bits(name: str) -> Callable[[Any, Any], Number | Truth]:
    logical, whole, shared = _BITS[name]

    def bitwise(left: Any, right: Any) -> Number | Truth:
        if is_truth(left) and is_truth(right):
            return logical(left, right)
        x, y = finite(left), finite(right)
        return Number(add(mul(whole, add(x, y)), mul(shared, _shared_bits(x, y))))

    return bitwise


for _name in _BITS:
    rule(f"bitwise_{_name}", _name, f"i{_name}")(_bits(_name))


@rule("bitwise_not", "invert")
def _bitwise_not(value: Any) -> Any:
    return _not(value) if is_truth(value) else called("sub", called("neg", value), 1)


@rule("bitwise_left_shift", "left_shift", "lshift")
def _left_shift(value: Any, places: Any) -> Any:
    return called("mul", value, _shift(places))


@rule("bitwise_right_shift", "right_shift", "rshift")
def _right_shift(value: Any, places: Any) -> Any:
    return called("floor_divide", value, _shift(places))


def _shift(places: Any) -> int:
    count = plain(places)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise TraceError("shifts bits by what is no whole number of Python's")
    return int(2**count)
