"""Bounds of weights and outputs, and the Jacobian of softmax."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.derivative import derivative
from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import rename
from attnverify.algebra.terms import (
    ONE,
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Tensor,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    power,
    total,
)
from attnverify.equations import Equation
from attnverify.library import load
from attnverify.notation import softmax
from attnverify.spec import Spec
from attnverify.statement import Statement, with_input
from attnverify.theorems.theorem import Theorem

KEYS = Axis("keys")
J, L, M = KEYS["j"], KEYS["l"], KEYS["m"]
S, A, V, W = Tensor("S"), Tensor("A"), Tensor("v"), Tensor("w")
HALF = Fraction(1, 2)


def _row(*inputs: Entry) -> Spec:
    """The weights of one row of scores."""
    rows = [Equation(A[J], softmax(S[J], over=J))]
    return Spec("row", [S[J], *inputs], rows, ["A"])


def _equal(name: str, left: Expr, right: Expr, *inputs: Entry) -> Statement:
    return Statement(name, "equal", _row(*inputs), left, right)


def _jacobian(j: Index, l: Index) -> Expr:
    """dA_j / dS_l, derived from the softmax itself."""
    body = softmax(S[J], over=J)
    return rename(derivative(rename(body, {J: M}), S[L]), {M: j, L: l})


def _same(one: Index, other: Index) -> Expr:
    return indicator(Compare("==", as_expr(one), as_expr(other)))


def jacobian() -> tuple[Statement, ...]:
    """diag(p) - p p^T: symmetric, and it annihilates constants."""
    form = mul(A[J], add(_same(J, L), negative(A[L])))
    return (
        _equal("J = diag(p) - p p^T", _jacobian(J, L), form),
        _equal("J is symmetric", _jacobian(J, L), _jacobian(L, J)),
        _equal("J annihilates constants", total(_jacobian(J, L), L), mul(0, ONE)),
    )


def semidefinite() -> tuple[Statement, ...]:
    """v^T J v is the variance of v under p: half the mean of (v_j - v_l)^2 over pairs."""
    form = total(mul(V[J], _jacobian(J, L), V[L]), (J, L))
    gap = add(V[J], negative(V[L]))
    pairs = mul(HALF, total(mul(A[J], A[L], power(gap, 2)), (J, L)))
    squares = mul(HALF, total(mul(A[J], A[L], power(W[J, L], 2)), (J, L)))
    return (
        _equal("v^T J v is a variance", form, pairs, V[J]),
        Statement("sums of weighed squares", "sign", _row(W[J, L]), squares),
    )


def at_most_half() -> tuple[Statement, ...]:
    """Magnitudes of a row of J sum to 2 p (1 - p) = 1/2 - 2 (p - 1/2)^2, so at most 1/2.

    J is symmetric, so its 2-norm is at most that sum too (Golub and Van Loan, section 2.3).
    """
    apart = add(*(indicator(Compare(op, as_expr(J), as_expr(L))) for op in "<>"))
    summed = add(_jacobian(J, J), negative(total(mul(apart, _jacobian(J, L)), L)))
    off = add(A[J], Fraction(-1, 2))
    due = add(HALF, mul(-2, power(off, 2)))
    return (
        Statement("J_jj >= 0", "sign", _row(), total(mul(apart, A[J], A[L]), L)),
        _equal("J_jj is what its row lacks", _jacobian(J, J), total(mul(apart, A[J], A[L]), L)),
        Statement("J_jl <= 0", "sign", _row(), mul(apart, A[J], A[L])),
        _equal("elsewhere J_jl = - p_j p_l", mul(apart, _jacobian(J, L)),
               negative(mul(apart, A[J], A[L]))),
        _equal("magnitudes of a row of J", summed, due),
        Statement("less a square", "bound", _row(W[J]), add(HALF, mul(-2, power(W[J], 2))),
                  as_expr(HALF)),
    )  # fmt: skip


def output() -> tuple[Statement, ...]:
    """|V_j| <= u gives |O| <= u: u - O and u + O are means of what is not negative."""
    spec = load("global")
    entry = next(e for e in spec.inputs if e.tensor.name == "V")
    kept = tuple(i for i in entry.indices if i.axis.name != "keys")
    bound = Entry(Tensor("u"), kept)
    gap = Apply("relu", (Entry(Tensor("gap"), entry.places),))
    found = []
    for sign in (1, -1):
        value = mul(sign, add(bound, negative(gap)))
        extra = [bound, Entry(Tensor("gap"), entry.places)]
        moved = with_input(spec, "V", value, extra=extra)
        out = moved.heads["O"]
        here = {i.axis.name: i for i in out.indices}
        top = Entry(bound.tensor, tuple(here.get(i.axis.name, i) for i in kept))
        found.append(Statement("|O| <= max |V|", "sign", moved, add(top, mul(-sign, out))))
    return tuple(found)


def capped() -> tuple[Statement, ...]:
    """|c tanh(s/c) - s| <= |s|^3 / (3 c^2)."""
    from attnverify.notation import parameter, tanh  # noqa: PLC0415

    cap = parameter("cap", gt=0)
    spec = Spec(
        "cap", [S[J]], [Equation(A[J], mul(as_expr(cap), tanh(S[J] / cap)))], ["A"],
        parameters=[cap],
    )  # fmt: skip
    left = Apply("absolute", (add(A[J], negative(S[J])),))
    right = mul(Fraction(1, 3), power(Apply("absolute", (S[J],)), 3), power(as_expr(cap), -2))
    return (Statement("softcap", "bound", spec, left, right),)


def weights() -> tuple[Statement, ...]:
    """0 <= A <= 1."""
    return (
        Statement("A >= 0", "sign", _row(), A[J]),
        Statement("A <= 1", "bound", _row(), A[J], ONE),
    )


BOUNDS = (
    Theorem("weights of a softmax", "0 <= A <= 1", "definition", weights),
    Theorem(
        "softmax Jacobian", "J = diag(p) - p p^T is symmetric, and J 1 = 0",
        "Gao and Pavel 2017", jacobian,
    ),
    Theorem(
        "softmax Jacobian is positive semidefinite", "v^T J v >= 0",
        "Gao and Pavel 2017", semidefinite,
    ),
    Theorem(
        "softmax Jacobian is at most a half", "rows of |J| sum to at most 1/2",
        "derived", at_most_half,
    ),
    Theorem("outputs are bounded by values", "|O| <= max |V|", "convexity", output),
    Theorem(
        "a cap moves scores little", "|c tanh(s/c) - s| <= |s|^3 / (3 c^2)", "derived", capped
    ),
)  # fmt: skip
