"""The three gradient routes agree on the catalogue, and each broken rule is caught by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from attnverify.algebra import derivative, primitives
from attnverify.algebra.terms import ONE, Expr, Power, Previous, Scalar, Total, mul
from attnverify.attention import attention, causal
from attnverify.notation import (
    Spec,
    axes,
    cos,
    erf,
    exp,
    let,
    log,
    logistic,
    previous,
    recur,
    sin,
    tanh,
    tensors,
    total,
)
from attnverify.provers.routes import routes
from attnverify.transforms import gradient as reverse
from attnverify.verdict import Status, Verdict
from tests.members import MEMBERS, TITLES

k, q = axes("keys queries")
j, i = k["j"], q["i"]
x, y, w = tensors("x y w")


def elementwise(function: Callable[[Any], Expr]) -> Spec:
    """A spec that applies one primitive to a sum."""
    return Spec("one", [x[i, j], w[j]], [let(y[i], total(function(w[j] * x[i, j]), over=j))], [y])


# the suite on the catalogue asks both orders of every member too
@pytest.mark.slow
@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("order", [1, 2])
def test_routes_agree_on_the_catalogue(title: str, order: int) -> None:
    for verdict in routes(MEMBERS[title], examples=4, order=order):
        assert verdict.status is Status.HELD, verdict.detail


@pytest.mark.parametrize("function", [exp, tanh, sin, cos, logistic, erf, lambda v: log(1 + v**2)])
def test_routes_agree_on_each_smooth_primitive(function: Callable[[Any], Expr]) -> None:
    for verdict in routes(elementwise(function), examples=6):
        assert verdict.status is Status.HELD, verdict.detail


def caught(spec: Spec) -> set[str]:
    """The routes that refute a spec's derived gradient."""
    return {
        v.name.partition(": ")[2] for v in routes(spec, examples=6) if v.status is Status.REFUTED
    }


PRIMITIVES = {
    "exp": exp,
    "tanh": tanh,
    "sin": sin,
    "cos": cos,
    "logistic": logistic,
    "erf": erf,
    "log": lambda v: log(1 + v**2),
}


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_broken_derivative_of_a_primitive_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = primitives.PRIMITIVES[name]
    assert row.derivative is not None
    right = row.derivative
    broken = replace(
        row, derivative=lambda a: tuple(mul(Scalar(ONE.value * 99 / 100), s) for s in right(a))
    )
    monkeypatch.setitem(primitives.PRIMITIVES, name, broken)
    assert {"derived = autograd", "derived = exact differences"} <= caught(
        elementwise(PRIMITIVES[name])
    )


Partials = Callable[..., Iterator[derivative.Partial]]


def _power(original: Partials) -> Partials:
    def broken(expr: Expr, factor: Expr = ONE, bound: Any = ()) -> Iterator[derivative.Partial]:
        if isinstance(expr, Power):
            yield from broken(expr.base, mul(factor, Scalar(ONE.value * int(expr.exponent))), bound)
        else:
            yield from original(expr, factor, bound)

    return broken


def _total(original: Partials) -> Partials:
    def broken(expr: Expr, factor: Expr = ONE, bound: Any = ()) -> Iterator[derivative.Partial]:
        if isinstance(expr, Total):
            factor = mul(2, factor)
        yield from original(expr, factor, bound)

    return broken


@pytest.mark.parametrize("break_rule", [_power, _total])
def test_a_broken_rule_of_a_node_is_caught(
    break_rule: Callable[[Partials], Partials], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = break_rule(derivative.partials)
    monkeypatch.setattr(derivative, "partials", broken)
    monkeypatch.setattr(reverse, "partials", broken)
    spec = elementwise(lambda v: (1 + v**2) ** 3)
    assert {"derived = autograd", "derived = exact differences"} <= caught(spec)


def test_a_softmax_gradient_without_its_row_term_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse, "negative", lambda value: mul(0, value))
    assert {"derived = autograd", "derived = exact differences"} <= caught(attention("plain"))


def test_a_recurrence_that_forgets_its_carry_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    place = reverse._Reverse._place

    def broken(sweep: Any, part: derivative.Partial, *rest: Any, **lists: Any) -> None:
        if not isinstance(part.entry, Previous):
            place(sweep, part, *rest, **lists)

    monkeypatch.setattr(reverse._Reverse, "_place", broken)
    assert {"derived = autograd", "derived = exact differences"} <= caught(
        MEMBERS["linear (causal=True, form=recurrent)"]
    )


def test_a_zero_by_form_is_not_refuted_by_the_rounding_of_another_route() -> None:
    """At the first step dG is 0 by form; autograd takes it as the difference of two equal parts."""
    (time,) = axes("time")
    t = time["t"]
    x, g, h = tensors("x g h")
    step = let(h[t], exp(g[t]) * previous(h[t]) + x[t])
    decayed = Spec("decayed", [x[t], g[t]], [recur(t, [step], {h: 0})], [h])
    assert [v.status for v in routes(decayed, examples=8)] == [Status.HELD] * 3


def test_a_refuted_route_tells_the_case_and_the_entry() -> None:
    verdicts: list[Verdict] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reverse, "negative", lambda value: mul(0, value))
        verdicts = routes(attention("causal", mask=causal()), examples=6)
    worst = next(v for v in verdicts if v.status is Status.REFUTED)
    assert "fails at batch=1" in worst.detail
    assert worst.witness is not None
    assert set(worst.witness.arrays) == {"Q", "K", "V", "dO"}
