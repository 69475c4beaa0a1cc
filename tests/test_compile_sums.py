"""Sums that a compiler easily reads wrongly: over absent axes, over a recurrence's own index."""

from __future__ import annotations

import numpy as np

from attnverify import compile, gradient, load  # noqa: A004  the fixed public name
from attnverify.compare import within
from attnverify.exact import evaluate
from attnverify.notation import Spec, axes, exp, let, logistic, tensors, total
from attnverify.provers.disturbed import UNIT
from attnverify.provers.draws import Case, draw
from attnverify.provers.routes import routes
from attnverify.verdict import Status

keys, time = axes("keys time")
j, t, s = keys["j"], time["t"], time["s"]
X, Z, U, Y, H = tensors("X Z U Y H")


def expect_exact(spec: Spec, case: Case) -> None:
    """Compiled and exact outputs agree."""
    arrays = draw(spec, case)
    due = evaluate(spec, arrays, dict(case.parameters), sizes=dict(case.sizes))
    for name, value in compile(spec)(**arrays, **case.parameters).items():
        right = np.asarray(due[name], dtype=np.longdouble).reshape(value.shape)
        bound = 512 * UNIT * (1 + np.abs(right).astype(float))
        verdict = within(name, value.astype(np.longdouble), right, bound)
        assert verdict.status is Status.HELD, verdict.detail


def test_a_sum_over_what_nothing_has_counts_its_positions() -> None:
    spec = Spec(
        "counted",
        inputs=[X[t], Z[j]],
        equations=[
            let(U[t], total(X[t], over=j)),
            let(Y[t], total(exp(X[t]), over=j) + total(Z[j], over=j)),
            let(H[t], total(X[t] * Z[j], over=[j, s])),
        ],
        outputs=[U, Y, H],
    )
    expect_exact(spec, Case({"keys": 3, "time": 2}, {}, "normal", 1))


def test_a_recurrence_of_one_step_begins_with_real_numbers() -> None:
    spec = gradient(load("linear", causal=True, form="recurrent"))
    sizes = {axis.name: 1 for axis in spec.axes}
    expect_exact(spec, Case(sizes, {}, "normal", 4))


def test_a_saturated_gate_is_differentiated_by_the_other_route_to_the_last_digit() -> None:
    spec = Spec("gate", inputs=[X[t]], equations=[let(Y[t], logistic(40 * X[t]))], outputs=[Y])
    for verdict in routes(spec, examples=8):
        assert verdict.status is Status.HELD, verdict.detail
