"""How steep self-attention can be: no constant bounds it, and on a ball it grows with n."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import within
from attnverify.flow.jacobian import Jacobian
from attnverify.flow.layers import layer
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.verdict import Status, Verdict, Witness
from attnverify.verdict.figure import Curve, Figure, Scale

Array = NDArray[Any]
U = 2.0**-53


def _layer(name: str) -> Spec:
    return layer(load(name))


def _slope(one: Jacobian, x: Array, a: float, at: int) -> float:
    """df_i/dx_i of a layer of width one with scores a x_i x_j."""
    ones = np.ones((1, 1, 1))
    arrays = {"X": x[None, :, None], "W_Q": a * ones, "W_K": ones, "W_V": ones, "W_O": ones}
    return float(one(arrays, targets=[at])[0, at, 0, 0])


def kim(draws: int = 60, seed: int = 0, *, inverse_n: float = 1.0) -> Verdict:
    """Kim's probe: at x_i = 0, df_i/dx_i = 1/N + a Var(x), which no constant bounds.

    f_i = sum_j softmax_j(a x_i x_j) x_j of real x_j (Kim et al. 2021, theorem 3.1; the closed form
    is derived by hand). The measured derivative has the closed form's digits, all eight asked for.
    `inverse_n` multiplies 1/N, to be wrong.

    >>> kim(5).status.value, kim(5, inverse_n=1.001).status.value
    ('HELD', 'REFUTED')
    """
    name = "Kim's probe: the derivative is 1/N + a Var(x) to 8 digits"
    rng, one = np.random.default_rng(seed), Jacobian(_layer("global"), ["X"])
    got, due, bounds, scales = [], [], [], []
    for draw in range(draws):
        n, scale, a = 2 + draw % 9, 10.0 ** (draw % 5), float(rng.uniform(0.2, 3))
        x = scale * rng.standard_normal(n)
        at = int(rng.integers(n))
        x[at] = 0.0
        got.append(_slope(one, x, a, at))
        due.append(inverse_n / n + a * float(np.var(x)))
        scales.append(scale)
        # Both sides are sums of n terms no larger than 1/N + a mean(x^2).
        bounds.append(min(1e-8 * abs(due[-1]), 40 * n * U * (1 / n + a * float(np.mean(x**2)))))
    verdict = within(name, np.array(got), np.array(due), np.array(bounds), ("draw",))
    errors = np.abs(np.array(got) - due) / np.abs(due)
    figure = Figure(
        "A derivative that no constant bounds",
        Scale("standard deviation of x", log=True),
        Scale("df_i / dx_i at x_i = 0", log=True),
        (_by_scale("1/N + a Var(x)", scales, due), _by_scale("derived gradient", scales, got)),
        f"{draws} draws of 2 to 10 positions, a from 0.2 to 3; median and quartiles",
    )
    told = f"largest relative difference {errors.max():.1e}; derivatives reach {max(got):.1e}"
    return Verdict(
        name, verdict.status, told if verdict.status is Status.HELD else verdict.detail,
        cases=draws, scope="width 1, scores a x_i x_j, x of scale 1 to 10000",
        witness=verdict.witness,
        evidence={"figure": figure.plain(), "largest difference": float(errors.max())},
    )  # fmt: skip


def _by_scale(name: str, scales: list[float], values: list[float]) -> Curve:
    levels = sorted(set(scales))
    rows = [[v for v, s in zip(values, scales, strict=True) if s == level] for level in levels]
    low, middle, high = np.array([np.quantile(row, [0.25, 0.5, 0.75]) for row in rows]).T
    return Curve.of(name, levels, middle, low, high)


def lipschitz(spec: str = "global", scales: tuple[float, ...] = (1.0, 10.0, 100.0)) -> Verdict:
    """Whether one constant seems to bound the Jacobian of a self-attention layer on Kim's probe.

    HELD where ten times larger inputs leave the largest derivative below twice what it was, REFUTED
    where it grows with them. Kim et al. 2021 prove the first of l2 attention with W_Q = W_K
    (theorem 3.2), and the second of dot products (theorem 3.1).

    >>> lipschitz("global").status.value, lipschitz("l2").status.value
    ('REFUTED', 'HELD')
    """
    one = Jacobian(_layer(spec), ["X"])
    x = np.array([0.0, 1.0, -1.0, 0.5, -0.5])
    found = [abs(_slope(one, scale * x, 1.0, 0)) for scale in scales]
    grows = found[-1] > 2 * max(found[0], 1.0)
    return Verdict(
        f"on Kim's probe one constant bounds the Jacobian of {spec} self-attention",
        Status.REFUTED if grows else Status.HELD,
        f"at inputs of scale {scales[0]:g} to {scales[-1]:g} the probe's derivative goes from "
        f"{found[0]:.3g} to {found[-1]:.3g}",
        cases=len(scales), scope="Kim's probe of 5 positions, width 1, W_Q = W_K = 1",
        witness=Witness({"time": 5}, {"X": scales[-1] * x}, got=found[-1]) if grows else None,
    )  # fmt: skip


def ball(lengths: tuple[int, ...] = (4, 8, 16, 32, 64), radius: float = 8.0) -> Verdict:
    """On a ball the Lipschitz constant of self-attention is at least of order sqrt(n).

    Castin et al. 2024 state growth like sqrt(n), a constant from secondary sources; here the lower
    half is measured: where all positions attend to one, the Jacobian by that one is a column of
    identities, whose norm is sqrt(n). HELD where norm / sqrt(n) stays within five percent of one
    value.

    >>> ball((4, 8, 16)).status.value
    'HELD'
    """
    one = Jacobian(_layer("global"), ["X"])
    norms = [_whole_norm(one, n, radius) for n in lengths]
    ratio = np.array(norms) / np.sqrt(lengths)
    steady = bool(ratio.max() / ratio.min() <= 1.05)
    figure = Figure(
        "Self-attention on a ball",
        Scale("positions n", log=True),
        Scale("norm of the whole Jacobian", log=True),
        (Curve.of("measured", lengths, norms), Curve.of("sqrt(n)", lengths, np.sqrt(lengths))),
        f"inputs of norm at most {radius:g}; one chosen input for each n, a lower bound",
    )
    return Verdict(
        "on a ball the Jacobian of self-attention reaches the order of sqrt(n)",
        Status.HELD if steady else Status.REFUTED,
        f"norm / sqrt(n) lies between {ratio.min():.3f} and {ratio.max():.3f}",
        cases=len(lengths), scope=f"width 1, W_Q = W_K = W_V = 1, |x| <= {radius:g}; measured",
        evidence={"figure": figure.plain()},
    )  # fmt: skip


def _whole_norm(one: Jacobian, length: int, radius: float) -> float:
    """The norm of the Jacobian where one position stands at the edge and draws all others."""
    x = np.full(length, radius / 2)
    x[0] = radius
    ones = np.ones((1, 1, 1))
    arrays = {"X": x[None, :, None], "W_Q": ones, "W_K": ones, "W_V": ones, "W_O": ones}
    blocks = one(arrays)
    whole = blocks.transpose(0, 2, 1, 3).reshape(length, length)
    return float(np.linalg.norm(whole, 2))
