"""The derived gradient against differences of the exact interpreter: they share no line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from attnverify.algebra import derivative, primitives
from attnverify.algebra.derivative import Partial
from attnverify.algebra.predicates import TRUE
from attnverify.algebra.terms import (
    ONE,
    Add,
    Apply,
    Expr,
    Index,
    Mul,
    Power,
    Previous,
    Softmax,
    Total,
    add,
    apply,
    mul,
)
from attnverify.equations import Equation, Recurrence
from attnverify.errors import ParameterError
from attnverify.exact import difference, evaluate
from attnverify.library import load
from attnverify.notation import axes, booleans, let, tensors, total, where
from attnverify.spec import Spec
from attnverify.transforms import gradient as reverse
from attnverify.transforms.gradient import gradient
from tests.drawn import (
    TINY,
    Array,
    arrays,
    check_close,
    extent,
    inner,
    moves,
    parameters,
    real_inputs,
)
from tests.members import CAUSAL, GLOBAL, MEMBERS
from tests.trials import SIZES, TRIALS

SPECS: dict[str, Spec] = {**MEMBERS, **TRIALS}
DIGITS = 20


class Case:
    """A spec with drawn arrays, a direction for each real input and a cotangent for each output."""

    def __init__(self, spec: Spec, seed: int = 11) -> None:
        rng = np.random.default_rng(seed)
        self.spec, self.sizes = spec, extent(spec, {**TINY, **SIZES})
        self.parameters = {"decay": 0.3} if "decay" in str(spec.parameters) else parameters(spec)
        self.arrays = arrays(spec, rng, self.sizes)
        self.moves = moves(spec, rng, self.sizes)
        self.derived = gradient(spec)
        outputs = self.derived.inputs[len(spec.inputs) :]
        shapes = self.outputs()
        self.names = dict(zip(spec.outputs, (e.tensor.name for e in outputs), strict=True))
        self.cotangents = {self.names[o]: rng.normal(size=shapes[o].shape) for o in spec.outputs}

    def outputs(self) -> dict[str, Array]:
        """The outputs of the spec itself."""
        return evaluate(self.spec, self.arrays, self.parameters, sizes=self.sizes)

    def slope(self, directions: Mapping[str, Array]) -> Any:
        """The derivative of the sum of outputs times cotangents, by differences."""
        found = difference(self.spec, self.arrays, directions, self.parameters, sizes=self.sizes)
        return sum(inner(found[o], self.cotangents[name]) for o, name in self.names.items())

    def gradient(self) -> dict[str, Array]:
        """The derived gradient, by the name of the input."""
        given = {**self.arrays, **self.cotangents}
        found = evaluate(self.derived, given, self.parameters, sizes=self.sizes)
        heads = zip(real_inputs(self.spec), self.derived.outputs, strict=True)
        return {name: found[output] for name, output in heads}


def gap(spec: Spec) -> float:
    """How far the derived gradient is from differences, relative to their size."""
    case = Case(spec)
    found = case.gradient()
    worst = 0.0
    for name, move in case.moves.items():
        due = case.slope({name: move})
        worst = max(worst, float(abs(inner(found[name], move) - due) / (1 + abs(due))))
    return worst


@pytest.mark.parametrize("title", SPECS)
def test_the_gradient_along_each_input_is_the_difference(title: str) -> None:
    assert gap(SPECS[title]) < 10.0**-DIGITS


@pytest.mark.parametrize("title", SPECS)
def test_entries_of_the_gradient_are_differences(title: str) -> None:
    case = Case(SPECS[title], seed=12)
    found = case.gradient()
    rng = np.random.default_rng(13)
    for name, move in case.moves.items():
        place = tuple(rng.integers(0, length) for length in move.shape)
        unit = np.zeros(move.shape)
        unit[place] = 1
        check_close(found[name][place], case.slope({name: unit}), DIGITS)


@pytest.mark.parametrize("title", SPECS)
def test_the_gradient_of_the_gradient_is_a_symmetric_hessian(title: str) -> None:
    """H v is derived from the gradient; <H v, u> is the difference along u, and equals <H u, v>."""
    case = Case(SPECS[title], seed=14)
    real = real_inputs(case.spec)
    rng = np.random.default_rng(15)
    u, v = case.moves, {name: rng.normal(size=move.shape) for name, move in case.moves.items()}

    products = hessian_vector(case)
    every = {**case.arrays, **case.cotangents}
    slopes = difference(case.derived, every, u, case.parameters, sizes=case.sizes)
    outputs = dict(zip(real, case.derived.outputs, strict=True))
    due = sum(inner(slopes[outputs[name]], v[name]) for name in real)
    along_v, along_u = products(v), products(u)
    check_close(sum(inner(along_v[name], u[name]) for name in real), due, DIGITS)
    check_close(sum(inner(along_u[name], v[name]) for name in real), due, DIGITS)


def hessian_vector(case: Case) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """The derived product of the Hessian with a direction."""
    real = real_inputs(case.spec)
    twice = gradient(case.derived, wrt=real)
    weights = [e.tensor.name for e in twice.inputs[len(case.derived.inputs) :]]

    def product(direction: Mapping[str, Array]) -> dict[str, Array]:
        given = {name: direction[real[n]] for n, name in enumerate(weights)}
        every = {**case.arrays, **case.cotangents, **given}
        found = evaluate(twice, every, case.parameters, sizes=case.sizes)
        return dict(zip(real, (found[name] for name in twice.outputs), strict=True))

    return product


# ---- What it looks like


def test_the_softmax_gradient_reads_as_people_write_it() -> None:
    for name in ("global", "causal", "masked", "padding", "cross"):
        derived = gradient(load(name))
        assert str(derived.equation("dS")) == "dS[b,h,i,j] = A[b,h,i,j] (dA[b,h,i,j] - D[b,h,i])"
        assert str(derived.equation("D")) == "D[b,h,i] = sum_j dA[b,h,i,j] A[b,h,i,j]"
        assert str(derived.equation("dA")) == "dA[b,h,i,j] = sum_c dO[b,h,i,c] V[b,h,j,c]"
    assert (
        str(gradient(load("global")).equation("dV")) == "dV[b,h,j,c] = sum_i dO[b,h,i,c] A[b,h,i,j]"
    )


def test_a_gradient_has_the_inputs_and_outputs_promised() -> None:
    spec = load("biased")
    derived = gradient(spec, wrt=("V", "bias"))
    assert [e.tensor.name for e in derived.inputs] == ["Q", "K", "V", "bias", "dO"]
    assert derived.heads["dO"].places == spec.heads["O"].places
    assert derived.outputs == ("dV", "dbias")
    assert derived.heads["dbias"].places == spec.heads["bias"].places
    assert gradient(spec).outputs == ("dQ", "dK", "dV", "dbias")
    assert gradient(spec, wrt="Q").outputs == ("dQ",)
    assert gradient(load("masked")).outputs == ("dQ", "dK", "dV")
    assert gradient(load("local")).parameters == load("local").parameters


def test_what_no_output_needs_is_left_out() -> None:
    derived = gradient(load("global"), wrt="V")
    assert [e.name for e in derived.equations if isinstance(e, Equation)] == ["S", "A", "dV"]
    for title, spec in SPECS.items():
        assert gradient(spec).dead() == (), title


def test_a_recurrence_gives_one_in_the_other_direction() -> None:
    for name in ("linear_rnn", "downwards"):
        derived = gradient(SPECS[name])
        (source,) = (s for s in SPECS[name].equations if isinstance(s, Recurrence))
        there, back = (s for s in derived.equations if isinstance(s, Recurrence))
        assert (there.reverse, back.reverse) == (source.reverse, not source.reverse)
        assert set(back.states) == {"dH_before"}
    text = str(gradient(load("linear_rnn"), wrt="X"))
    assert "along t down, before the first step dH_before = 0" in text
    assert "dH_before[b,t,d] = sum_d' dH[b,t,d'] W[d',d]" in text


def test_an_input_that_no_output_reads_has_gradient_zero() -> None:
    time = axes("time")[0]["t"]
    x, y, z = tensors("x y z")
    lone = Spec("lone", [x[time], z[time]], [let(y[time], 2 * x[time])], [y])
    assert str(gradient(lone).equation("dz")) == "dz[t] = 0"
    assert gap(lone) < 10.0**-DIGITS


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "an unknown name": (lambda: gradient(load("global"), wrt="q"), "'q'"),
    "an output": (lambda: gradient(load("global"), wrt=["Q", "O"]), "'O'"),
    "a mask": (lambda: gradient(load("masked"), wrt="mask"), "'mask'"),
    "lengths": (lambda: gradient(load("padding"), wrt="lengths"), "'lengths'"),
    "nothing": (lambda: gradient(load("global"), wrt=[]), "needs an input"),
}


@pytest.mark.parametrize(("build", "words"), WRONG.values(), ids=WRONG)
def test_what_has_no_gradient_is_told_in_words(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ParameterError, match="a gradient") as caught:
        build()
    assert words in str(caught.value)
    assert caught.value.parts["due"].startswith("Q, K, V")


def test_a_spec_without_real_inputs_has_no_gradient() -> None:
    time = axes("time")[0]["t"]
    (mask,), (y,) = booleans("mask"), tensors("y")
    spec = Spec("count", [mask[time]], [let(y[()], total(where(mask[time]), time))], [y])
    with pytest.raises(ParameterError, match="needs an input"):
        gradient(spec)


# ---- Broken on purpose: each rule, one at a time, is caught by the differences

RIGHT, WRONG_BY = 10.0**-DIGITS, 1e-3
Partials = Callable[..., Iterator[Partial]]
Rule = Callable[[Partials, Expr, Expr, tuple[Index, ...]], Iterator[Partial]]


def doubled(
    right: Partials, expr: Expr, factor: Expr, bound: tuple[Index, ...]
) -> Iterator[Partial]:
    """Twice the derivative."""
    return right(expr, mul(2, factor), bound)


def forgotten(_: Partials, *__: object) -> Iterator[Partial]:
    """No derivative at all."""
    return iter(())


def changed(**fields: Callable[[Any], object]) -> Rule:
    """The derivative of the node with some of its fields changed."""

    def rule(
        right: Partials, expr: Any, factor: Expr, bound: tuple[Index, ...]
    ) -> Iterator[Partial]:
        return right(replace(expr, **{name: f(expr) for name, f in fields.items()}), factor, bound)

    return rule


BROKEN: dict[str, tuple[str, type[Expr], Rule]] = {
    "a power": ("roots", Power, doubled),
    "an exponent": ("roots", Power, changed(exponent=lambda e: e.exponent + 1)),
    "a term of a sum": ("roots", Add, changed(terms=lambda e: e.terms[:-1])),
    "a factor of a product": ("diagonals", Mul, changed(factors=lambda e: e.factors[:-1])),
    "a total": (GLOBAL, Total, doubled),
    "a forgotten total": ("diagonals", Total, forgotten),
    "a primitive": ("additive", Apply, doubled),
    "a previous value": ("linear_rnn", Previous, doubled),
    "a forgotten previous value": ("coupled", Previous, forgotten),
    "a softmax": ("softmax at the start", Softmax, doubled),
    "the mask of a softmax": ("softmax at the start", Softmax, changed(where=lambda _: TRUE)),
}


@pytest.mark.parametrize(("name", "kind", "rule"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_of_a_node_is_caught(
    name: str, kind: type[Expr], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = derivative.partials

    def wrong(expr: Expr, factor: Expr = ONE, bound: tuple[Index, ...] = ()) -> Iterator[Partial]:
        if isinstance(expr, kind):
            yield from rule(right, expr, factor, bound)
        else:
            yield from right(expr, factor, bound)

    assert gap(SPECS[name]) < RIGHT
    monkeypatch.setattr(derivative, "partials", wrong)
    monkeypatch.setattr(reverse, "partials", wrong)
    assert gap(SPECS[name]) > WRONG_BY


def without(_: object, *__: object) -> None:
    """Do nothing."""


SWEEP: dict[str, tuple[str, str, object]] = {
    "the row term of a softmax": (GLOBAL, "negative", lambda value: mul(0, value)),
    "the sign of the row term": (CAUSAL, "negative", lambda value: value),
    "the initial values of a recurrence": ("linear_rnn", "_Reverse._initial_values", without),
    "a second contribution": ("diagonals", "add", lambda *parts: add(*parts[:1])),
    "the names that depend on inputs": (
        "coupled",
        "dependents",
        lambda _, names: set(names) | {"O"},
    ),
}


@pytest.mark.parametrize(("name", "part", "wrong"), SWEEP.values(), ids=SWEEP)
def test_a_broken_part_of_the_sweep_is_caught(
    name: str, part: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gap(SPECS[name]) < RIGHT
    monkeypatch.setattr(f"attnverify.transforms.gradient.{part}", wrong)
    assert gap(SPECS[name]) > WRONG_BY


def elementwise(name: str) -> Spec:
    """A spec that sums one primitive over entries, away from its kinks."""
    time = axes("time")[0]["t"]
    x, y, z = tensors("x y z")
    arguments = (x[time], z[time])[: primitives.PRIMITIVES[name].arity]
    inside = tuple(1 + a**2 for a in arguments) if name == "log" else arguments
    body = total(apply(name, *inside) * (time + 1), time) + total(0 * z[time] + x[time], time)
    return Spec("one", [x[time], z[time]], [let(y[()], body)], [y])


SMOOTH = [
    name
    for name, row in primitives.PRIMITIVES.items()
    if row.derivative is not None and not row.whole and row.arity
]


@pytest.mark.parametrize("name", [name for name in SMOOTH if name != "stop_gradient"])
def test_a_broken_derivative_of_a_primitive_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gap(elementwise(name)) < RIGHT
    row = primitives.PRIMITIVES[name]
    right = row.derivative
    assert right is not None

    def wrong(arguments: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return tuple(Fraction(9, 10) * slope + Fraction(1, 7) for slope in right(arguments))

    monkeypatch.setitem(primitives.PRIMITIVES, name, replace(row, derivative=wrong))
    assert gap(elementwise(name)) > WRONG_BY


def test_what_is_held_constant_differs_from_differences_by_what_it_holds() -> None:
    """The one case in which the routes are meant to differ: its derivative is a convention."""
    assert gap(elementwise("stop_gradient")) > WRONG_BY
