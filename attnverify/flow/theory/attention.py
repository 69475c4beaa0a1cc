"""Attention: its two gradient paths, the softmax between them, and why scores are scaled."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Index, Tensor, add, as_expr, mul, negative, total
from attnverify.attention import attention
from attnverify.compare import at_most, within
from attnverify.compile import compile as compile_spec
from attnverify.compile.oracle import stack
from attnverify.flow.theory.settled import settled
from attnverify.library import load
from attnverify.notation import sqrt
from attnverify.spec import Spec
from attnverify.statement import Statement
from attnverify.transforms.gradient import gradient
from attnverify.transforms.relabel import cut, with_values
from attnverify.verdict import Status, Verdict
from attnverify.verdict.figure import Curve, Figure, Scale

Array = NDArray[Any]
U = 2.0**-53


def _gradient(spec: str) -> tuple[Spec, dict[str, Index]]:
    """The derived gradient of attention by Q, K and V, and its indices by letter."""
    derived = gradient(load(spec), wrt=["Q", "K", "V"])
    letters = {i.name: i for name in ("Q", "K", "V") for i in derived.heads[name].indices}
    return derived, letters


def direct_path(spec: str = "global") -> Verdict:
    """The gradient by a value is dV_j = sum_i P_ij dO_i: the block dO_i/dV_j is P_ij I.

    Its length is one whatever i - j. Source: FlashAttention's backward pass (Dao et al. 2022,
    appendix B.2). PROVED for all sizes.

    >>> direct_path().status.value
    'PROVED'
    """
    derived, at = _gradient(spec)
    b, h, i, j, c = (at[letter] for letter in "bhijc")
    A, dO = Tensor("A"), Tensor("dO")
    right = total(mul(A[b, h, i, j], dO[b, h, i, c]), over=i)
    claim = Statement("direct path", "equal", derived, derived.heads["dV"], right)
    return settled(claim, "the direct value path is P_ij I", scope=f"{spec}: output i by value j")


def score_path(spec: str = "global", by: str = "K") -> Verdict:
    """The gradient through the scores: dO_i/dk_j = alpha P_ij (v_j - o_i) q_i^T, and for queries.

    It vanishes where v_j is the output already, or where P_ij is 0. The formula is derived by hand
    from dS = P (dP - D) (Dao et al. 2022, appendix B.2). PROVED for all sizes.

    >>> score_path(by="Q").status.value
    'PROVED'
    """
    derived, at = _gradient(spec)
    b, h, i, j, k, c = (at[letter] for letter in "bhijkc")
    l = Index("l", j.axis)
    A, V, dO = Tensor("A"), Tensor("V"), Tensor("dO")
    O = total(mul(A[b, h, i, l], V[b, h, l, c]), over=l)
    other, over = (Tensor("Q")[b, h, i, k], i) if by == "K" else (Tensor("K")[b, h, j, k], j)
    moved = mul(dO[b, h, i, c], A[b, h, i, j], add(V[b, h, j, c], negative(O)), other)
    right = total(moved, over=[over, c]) / sqrt(k.axis.size)
    claim = Statement(f"score path {by}", "equal", derived, derived.heads[f"d{by}"], right)
    name = f"the score path by {'keys' if by == 'K' else 'queries'} is alpha P_ij (v_j - o_i)"
    return settled(claim, name, scope=spec)


def uniform() -> Verdict:
    """Equal scores give every key the weight 1/n: the direct path is diluted as 1/n.

    >>> uniform().status.value
    'PROVED'
    """
    even = with_values(load("global", outputs="A"), {"Q": as_expr(0)})
    keys = even.heads["A"].indices[-1].axis
    claim = Statement("uniform", "equal", even, even.heads["A"], 1 / as_expr(keys.size))
    return settled(claim, "with equal scores every weight is 1/n", scope="Q = 0")


def weights(scores: Array) -> Array:
    """Softmax over the last axis of scores (rows, keys), by the compiled spec."""
    whole = scores[None, None]
    return np.asarray(compile_spec(_softmax())(S=whole)["A"][0, 0])


def _softmax() -> Spec:
    return cut(load("global"), "S", outputs=("A",))


def softmax_jacobians(scores: Array) -> Array:
    """diag(p) - p p^T of each row of scores (rows, keys), from the derived gradient.

    >>> softmax_jacobians(np.zeros((1, 2))).tolist()
    [[[0.25, -0.25], [-0.25, 0.25]]]
    """
    rows, keys = scores.shape
    run = stack(gradient(_softmax()), over=("dA",))
    seeds = np.broadcast_to(np.eye(keys)[:, None, None, None], (keys, 1, 1, rows, keys))
    sizes = {"batch": 1, "heads": 1, "queries": rows, "keys": keys}
    found = run({"S": scores[None, None], "dA": np.ascontiguousarray(seeds)}, sizes, {})["dS"]
    return np.asarray(found[:, 0, 0].transpose(1, 0, 2))


def rounding(scores: Array) -> Array:
    """How far the norm of a computed softmax Jacobian may lie from the true one, by row.

    A weight errs by (n + 2 + 2 (x_max - x_min)) u relatively (Blanchard, Higham, Higham 2021,
    theorem 4.3), an entry p_i (delta - p_j) by three times that and a few roundings, and the
    Frobenius norm of diag(p) - p p^T is at most 1.
    """
    spread = scores.max(axis=-1) - scores.min(axis=-1)
    return np.asarray(3 * (2 * scores.shape[-1] + 4 + 2 * spread) * U)


def softmax_bound(draws: int = 2000, seed: int = 0, *, limit: float = 0.5) -> Verdict:
    """||diag(p) - p p^T||_2 <= 1/2, attained at p = (1/2, 1/2).

    Its rows sum in absolute value to 2 p_i (1 - p_i) <= 1/2, which bounds the 2-norm of a symmetric
    matrix. `limit` is there to be wrong.

    >>> softmax_bound(50).status.value, softmax_bound(50, limit=0.4).status.value
    ('HELD', 'REFUTED')
    """
    name = "the softmax Jacobian has norm at most 1/2"
    rng, count, closest = np.random.default_rng(seed), 0, 0.0
    for keys in (2, 3, 5, 9, 17, 33):
        rows = max(1, draws // 6)
        scores = rng.standard_normal((rows, keys)) * 10 ** rng.uniform(-2, 2, (rows, 1))
        scores[0] = np.where(np.arange(keys) < 2, 0.0, -1000.0)  # the row (1/2, 1/2, 0, ...)
        found = np.linalg.norm(softmax_jacobians(scores), 2, axis=(-2, -1))
        verdict = at_most(name, found, limit + rounding(scores), ("row",))
        count += rows
        if verdict.status is Status.REFUTED:
            return replace(verdict, cases=count, scope=f"{keys} keys")
        closest = max(closest, float(found.max()))
    return Verdict(
        name, Status.HELD, f"the largest of {count} norms is {closest:.15g}, at (1/2, 1/2)",
        cases=count, scope="2 to 33 keys, scores of scale 0.01 to 100",
        evidence={"largest": closest},
    )  # fmt: skip


def saturation(draws: int = 200, seed: int = 0, *, slack: float = 1.0) -> Verdict:
    """Large logits: the softmax Jacobian has norm at most 2 (n - 1) exp(-gap).

    The gap is that between the two largest scores: 1 - p_max <= (n - 1) exp(-gap), and every row
    sum 2 p_i (1 - p_i) is at most 2 (1 - p_max). Scaling scores scales the gap, so the gradient by
    the scores vanishes exponentially. `slack` multiplies the bound, to be wrong below 1.

    >>> saturation(40).status.value, saturation(40, slack=0.1).status.value
    ('HELD', 'REFUTED')
    """
    rng, keys = np.random.default_rng(seed), 16
    base = rng.standard_normal((draws, keys))
    scales = 2.0 ** np.arange(-2, 8)
    found, limits = [], []
    for scale in scales:
        scores = scale * base
        top = np.sort(scores, axis=-1)
        gap = top[:, -1] - top[:, -2]
        found.append(np.linalg.norm(softmax_jacobians(scores), 2, axis=(-2, -1)))
        limits.append(slack * np.minimum(0.5, 2 * (keys - 1) * np.exp(-gap)) + rounding(scores))
    got = np.array(found)
    verdict = at_most("saturation", got, np.array(limits), ("scale", "row"))
    low, middle, high = np.quantile(got, [0.25, 0.5, 0.75], axis=1)
    curve = Curve.of("median, quartiles", scales, middle, low, high)
    figure = Figure(
        "Large logits saturate softmax",
        Scale("standard deviation of the scores", log=True),
        Scale("norm of the Jacobian, no unit", log=True),
        (curve,),
        f"{draws} draws of {keys} scores",
        {"1/2": 0.5},
    )
    told = f"the median norm goes from {middle.max():.3g} at most to {middle[-1]:.2g} at scale 128"
    return replace(
        verdict,
        detail=verdict.detail or told,
        name="large logits saturate: the softmax Jacobian is at most 2 (n - 1) exp(-gap)",
        cases=int(got.size), scope=f"{keys} keys, scores of scale 1/4 to 128",
        evidence={**verdict.evidence, "figure": figure.plain()},
    )  # fmt: skip


def dilution(draws: int = 40, seed: int = 0, *, scale: float = 1.0) -> Verdict:
    """A weight is 1/n in the mean over n keys, and the norm of the direct path with it.

    HELD where the largest weight, too, falls with n; REFUTED for peaked scores, one of whose keys
    keeps its weight however many there are.

    >>> dilution(5).status.value, dilution(5, scale=12.0).status.value
    ('HELD', 'REFUTED')
    """
    lengths = 2 ** np.arange(3, 11)
    rng = np.random.default_rng(seed)
    rows = [weights(scale * rng.standard_normal((draws, n))) for n in lengths]
    mean = np.array([row.mean() for row in rows])
    middle = np.array([np.median(row) for row in rows])
    top = np.array([np.median(row.max(axis=-1)) for row in rows])
    exact = within("mean", mean, 1 / lengths, (2 * lengths + 4) * U)
    # The largest of n weights that are all diluted shrinks at least by half over 128 times as many.
    falls = top[-1] < top[0] / 2
    figure = Figure(
        f"Weights by number of keys, scores of scale {scale:g}",
        Scale("keys n", log=True),
        Scale("weight, no unit", log=True),
        (
            Curve.of("mean, which is 1/n", lengths, mean),
            Curve.of("median", lengths, middle),
            Curve.of("largest, median over rows", lengths, top),
        ),
        f"{draws} rows for each n",
    )
    held = falls and exact.status is Status.HELD
    told = (
        f"the mean is 1/n to rounding; the largest weight goes from {top[0]:.3g} to {top[-1]:.3g}"
    )
    return Verdict(
        f"every weight is diluted as keys are added, scores of scale {scale:g}",
        Status.HELD if held else Status.REFUTED,
        told if exact.status is Status.HELD else exact.detail,
        cases=draws * len(lengths), scope=f"8 to 1024 keys, independent scores of scale {scale:g}",
        evidence={"figure": figure.plain()},
    )  # fmt: skip


def variance(draws: int = 20_000, seed: int = 0, *, power: float = 1.0) -> Verdict:
    """Var(q . k) = d for independent zero-mean entries of variance one: why scores are / sqrt(d).

    Exact over all pairs of sign vectors for d up to 5, and within six standard errors for normal
    draws: the variance of a sample variance is sigma^4 (2 + 6/d) / draws, since q . k has excess
    kurtosis 6/d. Source: Vaswani et al. 2017, footnote 4. `power` is that of d, to be wrong.

    >>> variance(500).status.value, variance(500, power=0.5).status.value
    ('HELD', 'REFUTED')
    """
    rng, widths, measured = np.random.default_rng(seed), (1, 4, 16, 64, 256), []
    verdicts = [_exact(d, power) for d in range(1, 6)]
    for d in widths:
        found = float(np.var(_products(rng.standard_normal((2, draws, d)))))
        error = 6 * d**power * np.sqrt((2 + 6 / d) / draws)
        verdicts.append(within(f"d = {d}", np.array(found), np.array(float(d**power)), error))
        measured.append(found)
    wrong = [v for v in verdicts if v.status is not Status.HELD]
    spread = np.sqrt(measured)
    figure = Figure(
        "The spread of scores with and without 1/sqrt(d)",
        Scale("key dimension d", log=True),
        Scale("spread of a score, no unit", log=True),
        (
            Curve.of("q . k", widths, spread),
            Curve.of("q . k / sqrt(d)", widths, spread / np.sqrt(widths)),
        ),
        f"{draws} draws for each d",
    )
    return Verdict(
        "the variance of q . k is d",
        wrong[0].status if wrong else Status.HELD,
        f"{wrong[0].name}: {wrong[0].detail}" if wrong else "exactly so over all pairs of signs",
        cases=draws * len(widths), scope="independent entries, mean 0, variance 1",
        evidence={"figure": figure.plain()},
    )  # fmt: skip


def _products(pair: Array) -> Array:
    """Products q . k of each pair of (2, draws, d), by the spec without a scale."""
    q, k = pair[:, :, None, None, :]
    plain = attention("unscaled", scale=1)
    found = compile_spec(plain.replace(outputs=("S",)))(Q=q, K=k, V=k)
    return np.asarray(found["S"][:, 0, 0, 0])


def _exact(d: int, power: float) -> Verdict:
    """The mean square over all pairs of sign vectors, which are sums of whole numbers."""
    pairs = np.array(list(product((-1.0, 1.0), repeat=2 * d))).reshape(-1, 2, d)
    found = np.mean(_products(pairs.transpose(1, 0, 2)) ** 2)
    return within(f"signs, d = {d}", np.array(found), np.array(float(d) ** power), 0.0)


def scaled(draws: int = 400, seed: int = 0) -> Verdict:
    """Without 1/sqrt(d) the softmax saturates as d grows; with it, its Jacobian keeps its size.

    HELD where the median norm with the scale stays within a factor of two from d = 1 to 256, and
    without it falls at least tenfold.

    >>> scaled(40).status.value
    'HELD'
    """
    rng, widths, keys = np.random.default_rng(seed), (1, 4, 16, 64, 256), 16
    with_scale: list[float] = []
    without: list[float] = []
    for d in widths:
        q, k = rng.standard_normal((draws, 1, d)), rng.standard_normal((draws, keys, d))
        scores = np.einsum("rqd,rkd->rk", q, k)
        for found, s in ((without, scores), (with_scale, scores / np.sqrt(d))):
            found.append(float(np.median(np.linalg.norm(softmax_jacobians(s), 2, axis=(-2, -1)))))
    held = max(with_scale) <= 2 * min(with_scale) and without[-1] <= without[0] / 10
    figure = Figure(
        "What the scale keeps",
        Scale("key dimension d", log=True),
        Scale("norm of the Jacobian, no unit", log=True),
        (Curve.of("with 1/sqrt(d)", widths, with_scale), Curve.of("without", widths, without)),
        f"median of {draws} rows of {keys} keys",
    )
    return Verdict(
        "1/sqrt(d) keeps the softmax from saturating as d grows",
        Status.HELD if held else Status.REFUTED,
        f"the median norm goes from {with_scale[0]:.3g} to {with_scale[-1]:.3g} with the scale, "
        f"from {without[0]:.3g} to {without[-1]:.3g} without",
        cases=draws * len(widths), scope="normal q and k, 16 keys, d from 1 to 256",
        evidence={"figure": figure.plain()},
    )  # fmt: skip
