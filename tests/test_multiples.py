"""Parameters that are multiples of a whole number: declared, checked, drawn, printed, proved."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnverify import compile, load  # noqa: A004  the fixed public name
from attnverify.algebra import masks
from attnverify.algebra.parameters import checked, domain, whole_values
from attnverify.algebra.terms import ONE, Parameter
from attnverify.errors import ParameterError, SpecError
from attnverify.exact import evaluate
from attnverify.inputs.sizes import parameter_value
from attnverify.notation import Spec, axes, eq, let, parameter, remainder, tensors, where
from attnverify.provers.draws import values
from attnverify.serial import from_json, to_json
from attnverify.statement import Statement
from attnverify.verify import exact_cases

(keys,) = axes("keys")
j = keys["j"]
x, y = tensors("x y")


def integer(**bounds: Any) -> Parameter:
    """An integer parameter."""
    return parameter("n", integer=True, **bounds)


def of(n: Parameter) -> Spec:
    """A spec with this parameter."""
    return Spec("one", [x[j]], [let(y[j], x[j] * n * where(j < n))], [y], parameters=[n])


DOMAINS = [
    integer(ge=0, multiple_of=2),
    integer(gt=0, multiple_of=2),
    integer(ge=1, multiple_of=64),
    integer(multiple_of=3),
    integer(le=-1, multiple_of=64),
    integer(ge=3, le=9, multiple_of=4),
    integer(gt=0, lt=6, multiple_of=5),
    integer(ge=1),
    integer(lt=0),
    integer(gt=2, lt=4),
    integer(),
]


@pytest.mark.parametrize("n", DOMAINS, ids=domain)
def test_what_is_drawn_lies_in_the_domain(n: Parameter) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 65) * 4:
        checked(n, parameter_value(n, {"keys": size}, rng), "")
    for case in exact_cases(Statement("one", "equal", of(n), ONE, ONE)):
        checked(n, case.parameters["n"], "")

    @given(values(n, 5))
    def drawn(value: float) -> None:
        checked(n, value, "")

    drawn()


@given(st.sampled_from(DOMAINS), st.integers(-70, 70))
def test_the_values_of_a_domain_are_those_that_pass(n: Parameter, value: int) -> None:
    if value in whole_values(n, -70, 70):
        checked(n, value, "")
    else:
        with pytest.raises(ParameterError):
            checked(n, value, "")


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: integer(multiple_of=0), "multiple of a whole number"),
    (lambda: parameter("n", multiple_of=2), "multiple of a whole number"),
    (lambda: parameter("n", integer=True, multiple_of=True), "multiple of a whole number"),
    (lambda: integer(ge=3, le=5, multiple_of=8), "no value"),
    (lambda: integer(gt=3, lt=4), "no value"),
    (lambda: integer(default=3, multiple_of=2), "outside its domain"),
    (lambda: compile(of(DOMAINS[0]))(x=np.ones(2), n=3), "a multiple of 2"),
    (lambda: evaluate(of(DOMAINS[0]), {"x": np.ones(2)}, {"n": 3}), "a multiple of 2"),
    (lambda: load(of(DOMAINS[0]), n=3), "a multiple of 2"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_what_is_no_multiple_is_refused(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        wrong()


def test_it_is_printed_and_kept() -> None:
    spec = of(DOMAINS[0])
    assert "where n is a multiple of 2" in str(spec)
    assert domain(DOMAINS[0]) == "an integer >= 0, a multiple of 2"
    assert from_json(to_json(spec)).parameters == (DOMAINS[0],)
    assert from_json(to_json(spec)) != of(integer(ge=0))
    assert compile(load(spec, n=2))(x=np.ones(3))["y"].tolist() == [2, 2, 0]


@pytest.mark.parametrize("step", [0, -2, "2", True, 1.5])
def test_json_with_another_multiple_is_refused(step: object) -> None:
    tree = json.loads(to_json(of(DOMAINS[0])))
    tree["parameters"][0][-1] = step
    with pytest.raises(SpecError):
        from_json(json.dumps(tree))


@pytest.mark.parametrize(("n", "holds"), [(DOMAINS[0], True), (integer(ge=0), False)])
def test_proofs_know_it(n: Parameter, holds: bool) -> None:
    answer = masks.implies(eq(j, n), eq(remainder(j, 2), 0), [n])
    assert answer.holds is holds
