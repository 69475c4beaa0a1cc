"""Audits of tests that people write for PyTorch, JAX and ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.audit import suggested
from attnverify.errors import ParameterError
from attnverify.transforms.mutate import mutants
from attnverify.verdict import Status

pytestmark = pytest.mark.frameworks

Fn = Callable[..., Any]


def gradcheck(fn: Fn) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    given = [torch.randn(1, 1, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(fn, given)


def check_grads(fn: Fn) -> None:
    jax = pytest.importorskip("jax")
    from jax.test_util import check_grads as check

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.PRNGKey(0), 3)
        given = [jax.random.normal(key, (1, 1, 2, 2), dtype="float64") for key in keys]
        check(fn, given, order=1, modes=["rev"])


@pytest.mark.parametrize(("test", "framework"), [(gradcheck, "torch"), (check_grads, "jax")])
def test_checks_of_gradients_notice_no_bug_of_the_forward_pass(test: Fn, framework: str) -> None:
    report = av.audit(test, "global", framework=framework)
    assert {v.status for v in report.verdicts} == {Status.REFUTED}
    assert report.sections[0].figures["score"] == 0


def test_a_check_of_gradients_notices_a_wrong_gradient() -> None:
    """It can fail: what stands in is differentiated by it, not passed over."""
    pytest.importorskip("torch")

    def half(fn: Fn) -> None:
        gradcheck(lambda q, k, v: fn(q, k.detach(), v) + 0 * k)

    with pytest.raises(ParameterError, match="fails on what is right"):
        av.audit(half, "global", framework="torch")


def test_the_node_cases_of_onnx_leave_every_sign_bug_alive() -> None:
    """Whichever generated cases are plain attention: no entry of theirs is below zero."""
    pytest.importorskip("onnx")
    from tests.frameworks.onnx_cases import NODES, operator, stored

    plain = []
    for name, case in NODES.items():
        (node,) = case.model.graph.node
        if operator(name) == "Attention" and not node.attribute and len(node.output) == 1:
            inputs, outputs = (list(arrays.values()) for arrays in stored(name))
            q, k, *rest = inputs
            if len(rest) == 1 and q.ndim == 4 and q.shape[1] == k.shape[1]:
                plain.append((inputs, outputs[0]))
    plain = [(given, due) for given, due in plain if due.dtype == np.float32]
    assert plain

    def cases(fn: Fn) -> None:
        for given, due in plain:
            np.testing.assert_allclose(fn(*given), due, rtol=1e-3, atol=1e-7)

    report = av.audit(cases, "global")
    alive = {v.name for v in report.verdicts if v.status is Status.REFUTED}
    bugs = [m for m in mutants(av.load("global")) if m.operator.name.startswith("sign of ")]
    assert len(bugs) >= 3
    assert {mutant.sentence for mutant in bugs} <= alive
    missing = suggested(report, "global")

    def with_more(fn: Fn) -> None:
        cases(fn)
        missing(fn)

    both = av.audit(with_more, "global")
    assert both.sections[0].figures["score"] == 1
