"""Each built primitive has the derivative that calculus gives it; each planned one raises."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy

from attnverify.algebra.derivative import derivative
from attnverify.algebra.primitives import PRIMITIVES, Primitive, call, primitive, slopes
from attnverify.algebra.terms import ZERO, Entry, Tensor, apply
from attnverify.errors import AttnverifyError, SpecError, UnknownPrimitiveError
from attnverify.exact import Valuation
from attnverify.exact.arithmetic import IRRATIONAL, RATIONAL, HighPrecision, Rational, rule
from tests.drawn import check_close

BUILT = [name for name, row in PRIMITIVES.items() if row.derivative is not None]
# Tables of whole numbers and what is undefined are no functions of a real number.
OPAQUE = {"alibi_slope", "t5_bucket", "undefined"}
SMOOTH = [name for name in BUILT if name not in OPAQUE]
A, B = Entry(Tensor("a"), ()), Entry(Tensor("b"), ())
x, y = sympy.symbols("x y", real=True)

# What each is, in SymPy's words; SymPy then differentiates it.
MEANING: dict[str, sympy.Expr] = {
    "exp": sympy.exp(x),
    "log": sympy.log(x),
    "tanh": sympy.tanh(x),
    "sin": sympy.sin(x),
    "cos": sympy.cos(x),
    "logistic": 1 / (1 + sympy.exp(-x)),
    "erf": sympy.erf(x),
    "relu": sympy.Piecewise((x, x > 0), (0, True)),
    "step": sympy.Piecewise((1, x > 0), (0, True)),
    "absolute": sympy.Abs(x),
    "sign": sympy.sign(x),
    "larger": sympy.Piecewise((x, x > y), (y, True)),
    "smaller": sympy.Piecewise((x, x < y), (y, True)),
    "stop_gradient": x,
}
POINTS = [Fraction(1, 3), Fraction(7, 2)]
NEGATIVE = [Fraction(-1, 3), Fraction(-7, 2)]


def points(name: str) -> list[tuple[Fraction, ...]]:
    """Arguments at which a primitive is smooth."""
    first = POINTS if name == "log" else POINTS + NEGATIVE
    if PRIMITIVES[name].arity == 1:
        return [(a,) for a in first]
    return [(a, b) for a in first for b in (Fraction(1, 5), Fraction(-2))]


def at(values: tuple[Fraction, ...]) -> Valuation:
    """A valuation of the arguments."""
    return Valuation({}, dict(zip("ab", values, strict=False)), precision=40)


def meaning(expr: sympy.Expr, values: tuple[Fraction, ...]) -> Any:
    """SymPy's value of an expression at arguments."""
    numbers = [sympy.Rational(v.numerator, v.denominator) for v in values]
    table = dict(zip((x, y), numbers, strict=False))
    with mpmath.workdps(40):
        return mpmath.mpf(sympy.N(expr.subs(table).doit(), 40))


def test_the_list_is_told_whole() -> None:
    assert set(SMOOTH) == set(MEANING)
    assert set(BUILT) == set(IRRATIONAL) | set(RATIONAL)
    for name, row in PRIMITIVES.items():
        assert row.name == name
        assert all([row.meaning, row.derivative_text, row.compile_text, row.exact_text]), name


@pytest.mark.parametrize("name", SMOOTH)
def test_the_exact_rule_is_what_the_primitive_means(name: str) -> None:
    row = PRIMITIVES[name]
    for values in points(name):
        found = at(values).value(apply(name, *(A, B)[: row.arity]))
        check_close(found, meaning(MEANING[name], values), digits=25)


@pytest.mark.parametrize("name", [name for name in SMOOTH if name != "stop_gradient"])
def test_the_derivative_is_sympys(name: str) -> None:
    row = PRIMITIVES[name]
    arguments = (A, B)[: row.arity]
    for by, symbol in zip(arguments, (x, y), strict=False):
        found = derivative(apply(name, *arguments), by)
        due = sympy.diff(MEANING[name], symbol)
        for values in points(name):
            check_close(at(values).value(found), meaning(due, values), digits=25)


NUMERIC: dict[str, Callable[..., Any]] = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "erf": mpmath.erf,
    "logistic": lambda t: 1 / (1 + mpmath.exp(-t)),
}


@pytest.mark.parametrize("name", NUMERIC)
def test_the_derivative_is_mpmaths(name: str) -> None:
    for (value,) in points(name):
        with mpmath.workdps(40):
            due = mpmath.diff(NUMERIC[name], mpmath.mpf(value.numerator) / value.denominator)
        check_close(at((value,)).value(derivative(apply(name, A), A)), due, digits=12)


def test_what_is_held_constant_has_no_derivative() -> None:
    assert derivative(apply("stop_gradient", A), A) == ZERO
    assert at((Fraction(3),)).value(apply("stop_gradient", A)) == 3


@pytest.mark.parametrize("name", sorted(OPAQUE))
def test_a_table_and_what_is_undefined_have_derivative_zero(name: str) -> None:
    arity = PRIMITIVES[name].arity
    assert slopes(name, (A,) * arity) == (ZERO,) * arity
    assert derivative(apply(name, *[A] * arity) * A, A) == apply(name, *[A] * arity)


KINKS = {
    "relu": ((0,), (0,)),
    "absolute": ((0,), (0,)),
    "larger": ((2, 2), (1, 0)),
    "smaller": ((2, 2), (1, 0)),
}


@pytest.mark.parametrize(("name", "kink"), KINKS.items())
def test_at_a_kink_the_derivative_is_the_one_written(
    name: str, kink: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    place, due = kink
    valuation = at(tuple(map(Fraction, place)))
    found = slopes(name, (A, B)[: len(place)])
    assert tuple(valuation.value(slope) for slope in found) == due


def test_a_planned_primitive_raises_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Primitive("cosh", "hyperbolic cosine", None, "sinh x", "cosh", "mpmath.cosh")
    monkeypatch.setitem(PRIMITIVES, "cosh", row)
    for ask in (primitive, lambda n: call(n, A), lambda n: slopes(n, (A,))):
        with pytest.raises(UnknownPrimitiveError, match=r"'cosh'.*not built") as caught:
            ask("cosh")
        assert row.meaning in str(caught.value)
    with pytest.raises(UnknownPrimitiveError, match="cosh"):
        Valuation({}, {"a": 1}).value(apply("cosh", A))


def test_a_name_that_is_not_on_the_list_raises() -> None:
    with pytest.raises(UnknownPrimitiveError, match="'softplus' is not on the list") as caught:
        call("softplus", A)
    assert "tanh" in caught.value.parts["due"]


@pytest.mark.parametrize(("name", "count"), [("exp", 0), ("exp", 2), ("larger", 1), ("larger", 3)])
def test_the_number_of_arguments_is_checked(name: str, count: int) -> None:
    with pytest.raises(SpecError, match=f"'{name}' takes"):
        call(name, *[A] * count)


@pytest.mark.parametrize("name", IRRATIONAL)
def test_fractions_do_not_suffice_for_every_primitive(name: str) -> None:
    with pytest.raises(AttnverifyError, match="not rational"):
        rule(name, Rational())


@pytest.mark.parametrize(("value", "due"), [(-800, 0), (800, 1), (0, Fraction(1, 2))])
def test_the_logistic_keeps_its_digits_far_out(value: int, due: Fraction) -> None:
    arithmetic = HighPrecision(50)
    found = rule("logistic", arithmetic)(value)
    check_close(found, arithmetic.number(due), digits=45)
    if value < 0:
        check_close(found * mpmath.exp(800), 1, digits=14)
