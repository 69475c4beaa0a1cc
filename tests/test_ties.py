"""Rows whose largest score is shared by many keys: little flows through maxima, and it is shared.

What the slopes of a row sum to is rounding.  Autodiff sends it through the maximum to the keys that
hold it; a bound that sends all of it to each of them holds gradients that lost their row term.
"""

from __future__ import annotations

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.core import make_vjp

import attnverify as av
from attnverify.inputs import Case, Draw
from attnverify.rounding.seen import running_shares
from tests.test_rounding import Array, attention, expected, online, refuted

SIZES = {"batch": 1, "heads": 1, "queries": 4, "key_dim": 4, "value_dim": 4}


def tied(dtype: str, keys: int, distinct: int = 1) -> Case:
    """A case with few distinct keys, each of them many times over."""
    case = Draw(av.load("global"), dtype=dtype).case({**SIZES, "keys": keys}, seed=1)
    case.arrays["K"][...] = case.arrays["K"][..., np.arange(keys) % distinct, :]
    return case


def through_exponentials(case: Case, *, row_term: bool) -> dict[str, Array]:
    """Gradients in float64 with, or without, what the normaliser gives to each score."""
    wide = case.converted("float64")
    found = attention(wide)
    if not row_term:
        q, k, v, d_out = (*(wide.arrays[n] for n in "QKV"), wide.cotangents["O"])
        s = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
        e = np.exp(s - s.max(-1, keepdims=True))
        d_s = e / e.sum(-1, keepdims=True) * (d_out @ v.swapaxes(-1, -2)) / q.shape[-1] ** 0.5
        found |= {"dQ": d_s @ k, "dK": d_s.swapaxes(-1, -2) @ q}
    return found


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("distinct", [1, 3])
def test_a_lost_row_term_is_refuted_whatever_the_ties(dtype: str, distinct: int) -> None:
    """So `jax.nn.softmax` loses it in float16, where the normaliser reaches 256."""
    case = tied(dtype, 300, distinct)
    due = expected("global", dtype, case)
    assert refuted(through_exponentials(case, row_term=False), due) == {"dQ", "dK"}
    assert refuted(through_exponentials(case, row_term=True), due) == set()


def written_out(case: Case) -> dict[str, Array]:
    """A softmax by hand in autograd.numpy, whose maximum divides by the number of ties."""
    q, k, v = (case.arrays[name] for name in "QKV")

    def run(arrays: Array) -> Array:
        s = anp.matmul(arrays[0], anp.swapaxes(arrays[1], -1, -2)) / q.shape[-1] ** 0.5
        e = anp.exp(s - anp.max(s, axis=-1, keepdims=True))
        weights: Array = e / anp.sum(e, axis=-1, keepdims=True)
        out: Array = anp.matmul(weights, arrays[2])
        return out

    pull, out = make_vjp(run, [q, k, v])
    return {"O": out, **dict(zip(("dQ", "dK", "dV"), pull(case.cotangents["O"]), strict=True))}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("keys", "distinct"), [(2, 1), (40, 1), (40, 3), (40, 20)])
def test_right_code_with_ties_is_inside(dtype: str, keys: int, distinct: int) -> None:
    case = tied(dtype, keys, distinct)
    due = expected("global", dtype, case)
    for tile in (1, 4):
        assert refuted(online(case, tile), due) == set()
    assert refuted(written_out(case), due) == set()


def test_a_bound_does_not_grow_with_the_number_of_ties() -> None:
    """All that flows is what the row sums to; with n equal keys it is not n times as much."""
    ten, many = (np.median(expected("global", "float32", tied("float32", n)).dues["dQ"].sigma)
                 for n in (10, 300))  # fmt: skip
    assert many < 3 * ten


SHARES = [
    ("one leads, and others from the end", [3.0, 1, 1, 1], [1, 0.55, 0.37, 0.68]),
    ("each leads the last", [0.0, 1, 2, 3], [0.18, 0.37, 0.55, 1]),
    ("all are equal", [0.0, 0, 0, 0], [1, 0.55, 0.55, 1]),
]


@pytest.mark.parametrize(("name", "scores", "shares"), SHARES)
def test_shares_of_a_running_maximum(name: str, scores: list[float], shares: list[float]) -> None:
    found = running_shares(np.array([scores]), np.full((1, 4), 0.25), 1)[0]
    np.testing.assert_allclose(found, shares, atol=0.006, err_msg=name)


def test_rows_that_see_nothing_have_no_shares() -> None:
    assert not running_shares(np.full((1, 3), -np.inf), np.zeros((1, 3)), 1).any()
