"""The closed, written list of primitives: what each is, its derivative, and its words in code.

A name that is not on the list is an error; a name that is on the list but not built raises by name.
The compiler and the exact interpreter each keep their own rule per name, so that neither trusts the
other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy

from attnverify.algebra.terms import (
    ZERO,
    Add,
    Apply,
    Entry,
    Expr,
    Mul,
    Scalar,
    apply,
    as_expr,
    inverse,
    mul,
    power,
)
from attnverify.errors import SpecError, UnknownPrimitiveError

Derivative = Callable[[tuple[Expr, ...]], tuple[Expr, ...]]


@dataclass(frozen=True)
class Primitive:
    """One row of the list: derivative by argument, and the compile and exact rules in words.

    `derivative` is None for a primitive that is listed for later variants but not built; `whole`
    says that arguments are whole numbers, such as positions, sizes and integer parameters.
    """

    name: str
    meaning: str
    derivative: Derivative | None
    derivative_text: str
    compile_text: str
    exact_text: str
    arity: int = 1
    whole: bool = False


def _erf_slope(x: Expr) -> Expr:
    """2 / sqrt(pi) exp(-x^2)."""
    return mul(Scalar(2 / sympy.sqrt(sympy.pi)), apply("exp", mul(-1, power(x, 2))))


_LIST = [
    Primitive("exp", "e^x", lambda a: (apply("exp", a[0]),), "exp x", "(mantissa, log-scale) pair", "mpmath.exp"),
    Primitive("log", "natural logarithm, log 0 = 0 in proofs and -inf in numbers", lambda a: (inverse(a[0]),), "1/x",
              "of a pair: log mantissa + scale", "mpmath.log"),
    Primitive("tanh", "hyperbolic tangent", lambda a: (1 - power(apply("tanh", a[0]), 2),), "1 - tanh^2 x", "tanh", "mpmath.tanh"),
    Primitive("sin", "sine", lambda a: (apply("cos", a[0]),), "cos x", "sin", "mpmath.sin"),
    Primitive("cos", "cosine", lambda a: (mul(-1, apply("sin", a[0])),), "-sin x", "cos", "mpmath.cos"),
    Primitive("logistic", "1/(1 + e^-x)",
              lambda a: (mul(apply("logistic", a[0]), apply("logistic", mul(-1, a[0]))),), "s(x) s(-x)",
              "two-sided, no overflow", "1/(1 + exp(-x))"),
    Primitive("erf", "error function", lambda a: (_erf_slope(a[0]),), "2/sqrt(pi) exp(-x^2)", "scipy.special.erf", "mpmath.erf"),
    Primitive("relu", "max(x, 0)", lambda a: (apply("step", a[0]),), "[x > 0]", "maximum(x, 0)", "max(x, 0)"),
    Primitive("step", "[x > 0]", lambda _: (ZERO,), "0", "x > 0", "x > 0"),
    Primitive("absolute", "|x|", lambda a: (apply("sign", a[0]),), "sign x", "abs", "abs"),
    Primitive("sign", "-1, 0 or 1", lambda _: (ZERO,), "0", "sign", "sign"),
    Primitive("larger", "max(x, y); the derivative goes to x on a tie",
              lambda a: (1 - apply("step", a[1] - a[0]), apply("step", a[1] - a[0])), "1 - [y > x], [y > x]", "maximum", "max", 2),
    Primitive("smaller", "min(x, y); the derivative goes to x on a tie",
              lambda a: (1 - apply("step", a[0] - a[1]), apply("step", a[0] - a[1])), "1 - [x > y], [x > y]", "minimum", "min", 2),
    Primitive("stop_gradient", "x, held constant by derivatives", lambda _: (ZERO,), "0", "x", "x"),
    Primitive("alibi_slope", "slope of a head among n (Press et al. 2022): head, n", lambda _: (ZERO, ZERO), "0: data",
              "exp2 of an array of positions", "a root of 2", 2, whole=True),
    Primitive("t5_bucket", "bucket of a distance (Raffel et al. 2020): distance, buckets, max_distance, 1 if two-sided",
              lambda _: (ZERO,) * 4, "0: data", "search among the edges", "powers of whole numbers compared", 4, whole=True),
    Primitive("undefined", "a value that is not defined: NaN in numbers, one unknown number in proofs", lambda _: (), "0: a constant",
              "NaN, selected and never multiplied", "NaN", 0),
]  # fmt: skip

PRIMITIVES: dict[str, Primitive] = {primitive.name: primitive for primitive in _LIST}


def primitive(name: str) -> Primitive:
    """The row of a primitive that is on the list and built.

    >>> primitive("tanh").derivative_text
    '1 - tanh^2 x'
    """
    row = PRIMITIVES.get(name)
    if row is None:
        raise UnknownPrimitiveError(
            f"'{name}' is not on the list of primitives",
            found=name,
            due=", ".join(n for n, p in PRIMITIVES.items() if p.derivative),
        )
    if row.derivative is None:
        raise UnknownPrimitiveError(
            f"'{name}' is on the list of primitives but not built yet", found=name, due=row.meaning
        )
    return row


def is_whole(expr: Expr) -> bool:
    """Whether an expression is a whole number by its form: positions, sizes, integer inputs.

    >>> from attnverify.algebra.terms import Axis
    >>> is_whole(as_expr(Axis("keys")["j"]) - 1), is_whole(as_expr(0.5))
    (True, False)
    """
    match expr:
        case Scalar(value):
            return bool(value.is_integer)
        case Entry(tensor, _):
            return tensor.kind == "int"
        case Add(parts) | Mul(parts):
            return all(map(is_whole, parts))
        case Apply("t5_bucket", _):
            return True
    return False


def call(name: str, *arguments: object) -> Expr:
    """A listed primitive applied to arguments, its name and arity checked."""
    row = primitive(name)
    if len(arguments) != row.arity:
        raise SpecError(f"'{name}' takes {row.arity} argument(s)", found=str(len(arguments)))
    return apply(name, *(as_expr(argument) for argument in arguments))


def slopes(name: str, arguments: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The partial derivatives of a primitive by each of its arguments."""
    derivative = primitive(name).derivative
    if derivative is None:  # primitive() has raised already; this narrows the type
        raise UnknownPrimitiveError(f"'{name}' has no derivative rule")
    return derivative(arguments)
