"""What recurrences of this kind ask of the compiler, which no spec asked before."""

from __future__ import annotations

import numpy as np
import pytest

from attnverify import compile, gradient, load  # noqa: A004  the fixed public name
from attnverify.compile.oracle import stack
from attnverify.notation import Spec, axes, let, previous, recur, tanh, tensors, total
from attnverify.provers.routes import routes
from attnverify.verdict import Status
from tests.drawn import arrays, shape


@pytest.mark.parametrize("name", ["seq2seq", "seq2seq_attention", "gated_delta"])
def test_many_draws_at_once_give_what_each_gives_alone(name: str) -> None:
    """A loop may read a later axis of what another loop kept, step by step."""
    spec = gradient(load(name))
    rng = np.random.default_rng(4)
    draws = [arrays(spec, rng) for _ in range(3)]
    sizes = dict.fromkeys((axis.name for axis in spec.axes), 0)
    for entry in spec.inputs:
        sizes |= dict(zip((i.axis.name for i in entry.indices), shape(entry), strict=True))
    together = stack(spec)({n: np.stack([d[n] for d in draws]) for n in draws[0]}, sizes, {})
    alone = compile(spec)
    for number, draw in enumerate(draws):
        for output, value in alone(**draw).items():
            np.testing.assert_allclose(together[output][number], value, rtol=1e-9, atol=1e-12)


def test_a_state_may_begin_without_the_axes_it_gains() -> None:
    """Autograd's own broadcast takes no new leading dimension."""
    batch, time, hidden = axes("batch time hidden")
    b, t, d, g = batch["b"], time["t"], hidden["d"], hidden["g"]
    X, H0, U, H = tensors("X H0 U H")
    step = let(H[b, t, d], tanh(X[b, t, d] + total(U[d, g] * previous(H[b, t, g]), over=g)))
    spec = Spec("begun", [X[b, t, d], H0[d], U[d, g]], [recur(t, [step], {H: H0[d]})], [H])
    assert [v.status for v in routes(spec, examples=8)] == [Status.HELD] * 3
