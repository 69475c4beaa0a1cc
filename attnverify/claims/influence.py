"""Weights as explanations: beside gradients, and beside other weights with the same output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space
from scipy.stats import kendalltau

from attnverify.claims.claim import Claim, met
from attnverify.compare import within
from attnverify.compile import compile as compile_spec
from attnverify.flow.initial import drawn, sizes_of
from attnverify.flow.jacobian import Jacobian
from attnverify.flow.layers import deep, layer
from attnverify.flow.theory.attention import direct_path
from attnverify.library import load
from attnverify.verdict import Status, Verdict, Witness
from attnverify.verdict.figure import Curve, Figure, Scale

Array = NDArray[Any]
U = 2.0**-53
LENGTH = 16


def agreement(layers: int, draws: int, seed: int = 0) -> Array:
    """Kendall's tau of weights and gradients, one for each draw.

    The weights are those of the first layer for the last output, averaged over heads; the gradients
    the norms of d output / d input of the whole stack (Jain and Wallace 2019, section 4.1).
    """
    spec = deep(layer(load("global"), residual=True), layers)
    oracle, one = compile_spec(spec.replace(outputs=("A_layer1",))), Jacobian(spec, ["X"])
    sizes = sizes_of(spec, LENGTH, 8, {"batch": 1})
    found = []
    for draw in range(draws):
        arrays = drawn(spec, sizes, np.random.default_rng([seed, draw]))
        weights = oracle(**arrays)["A_layer1"][0, :, -1].mean(axis=0)
        (blocks,) = one(arrays, sizes=sizes, targets=[-1])
        norms = np.linalg.norm(blocks, axis=(-2, -1))
        found.append(kendalltau(weights[:-1], norms[:-1]).statistic)
    return np.array(found)


def ranks_alike(draws: int = 30) -> Verdict:
    """Whether weights rank the inputs of a layer as their gradients do, in every draw."""
    depths = (1, 2, 4)
    rows = [agreement(n, draws) for n in depths]
    figure = Figure(
        "Do weights rank inputs as gradients do?",
        Scale("layers", log=True),
        Scale("Kendall's tau, no unit"),
        (Curve.of("tau", depths, *np.quantile(rows, [0.5, 0.25, 0.75], axis=1)),),
        f"{draws} draws of {LENGTH} positions, width 8, with skips; median and quartiles",
        {"the same order": 1.0},
    )
    return met(
        bool((rows[0] == 1).all()), "ranks",
        "the median of Kendall's tau is "
        + ", ".join(f"{np.median(r):.2f} at {n} layers" for n, r in zip(depths, rows, strict=True)),
        cases=draws * len(depths), scope=f"self-attention of X at its start, {LENGTH} positions",
        evidence={"figure": figure.plain()},
    )  # fmt: skip


def others(keys: int, width: int, draw: int) -> tuple[Array, Array, Array] | None:
    """Weights P of one row, other weights P' with P' V = P V, and V; None where there are none.

    P' - P lies in the null space of [V, 1]^T, and goes half of the way to where a weight is 0.
    """
    rng = np.random.default_rng([keys, width, draw])
    spec = load("global", outputs="O A")
    sizes = sizes_of(spec, keys, width, {"batch": 1, "heads": 1, "queries": 1})
    arrays = drawn(spec, sizes, rng)
    P, V = compile_spec(spec)(**arrays)["A"][0, 0, 0], arrays["V"][0, 0]
    free = null_space(np.concatenate([V, np.ones((keys, 1))], axis=1).T)
    if not free.shape[1]:
        return None
    way = free @ rng.standard_normal(free.shape[1])
    falling = way < 0
    return P, P + 0.5 * (P[falling] / -way[falling]).min() * way, V


def determined(keys: int = 12, width: int = 4, draws: int = 40) -> Verdict:
    """Whether the output leaves no choice of weights: it does where rank([V, 1]) = n.

    Jain and Wallace 2019, section 4.2; the construction is by hand. REFUTED with two rows of
    weights that give one output, compared under what rounding may do to sums of n products.

    >>> determined(4, 4, draws=3).status.value, determined(12, 4, draws=3).status.value
    ('HELD', 'REFUTED')
    """
    apart = []
    for draw in range(draws):
        found = others(keys, width, draw)
        if found is None:
            continue
        P, Q, V = found
        sized = np.abs(Q - P) @ np.abs(V) + P @ np.abs(V)
        same = within("output", Q @ V, P @ V, 8 * keys * U * sized + 8 * keys * U)
        whole = within("sum", np.array(Q.sum()), np.array(1.0), 8 * keys * U)
        if same.status is Status.HELD and whole.status is Status.HELD and (Q >= 0).all():
            apart.append((float(np.abs(Q - P).sum()), draw))
    unique = not apart
    detail = "[V, 1] has rank n in every draw: no other weights give the output"
    if apart:
        detail = (
            f"in {len(apart)} of {draws} draws other weights, none negative, of sum one and up to "
            f"{max(apart)[0]:.2f} away in sum, give the same output"
        )
    return met(
        unique, "determined", detail, cases=draws, scope=f"{keys} keys, values of {width} entries",
        witness=None if unique else _witness(keys, width, max(apart)[1]),
    )  # fmt: skip


def _witness(keys: int, width: int, draw: int) -> Witness | None:
    found = others(keys, width, draw)
    if found is None:
        return None
    P, Q, V = found
    arrays = {"P": P, "P_other": Q, "V": V}
    return Witness({"keys": keys, "value_dim": width}, arrays, note="P and P_other, one output")


CLAIMS: tuple[Claim, ...] = (
    Claim("in one layer the weight is the gradient by the value", direct_path),
    Claim(
        "weights show which inputs are influential",
        ranks_alike,
        fails="an input acts through scores, skips and projections as well as through its weight",
    ),
    Claim(
        "an output could only have come of its weights",
        determined,
        fails="weights may move in the null space of [V, 1]",
    ),
    Claim(
        "weights are determined by the output where rank([V, 1]) is n",
        lambda: determined(5, 4),
    ),
)
