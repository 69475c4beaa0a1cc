"""Stacks: how far windows reach, and how attention without skips loses rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile import compile as compile_spec
from attnverify.flow.initial import drawn, sizes_of
from attnverify.flow.jacobian import Jacobian
from attnverify.flow.layers import deep, layer
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.verdict import Status, Verdict, Witness
from attnverify.verdict.figure import Curve, Figure, Scale, Table

Array = NDArray[Any]


def window_reach(
    windows: tuple[int, ...] = (2, 3, 4),
    layers: tuple[int, ...] = (1, 2, 3, 4),
    *,
    length: int = 16,
    beyond: int = 0,
) -> Verdict:
    """L causal windows of w keys, stacked, reach L (w - 1) positions back and not one more.

    Read off the Jacobian of the stack: the blocks beyond are exactly 0, the farthest one is not.
    Source: Beltagy et al. 2020, section 3.1; Jiang et al. 2023, section 2, count L w. `beyond` is
    added to the claim, to be wrong.

    >>> window_reach((2,), (1, 2), length=6).status.value
    'HELD'
    >>> window_reach((2,), (1, 2), length=6, beyond=1).status.value
    'REFUTED'
    """
    name = "a stack of L windows of w keys reaches L (w - 1) positions back"
    rows, wrong = [], []
    for w in windows:
        for depth in layers:
            found, due = reach(w, depth, length), min(length - 1, depth * (w - 1) + beyond)
            rows.append((str(w), str(depth), str(found), str(due)))
            if found != due:
                wrong.append((w, depth, found, due))
    table = Table(("window w", "layers L", "measured reach", "L (w - 1)"), tuple(rows))
    scope = f"sliding_window layers, {length} positions, causal"
    evidence = {"table": table.plain()}
    if not wrong:
        told = "beyond its reach every block of the Jacobian is exactly 0"
        return Verdict(name, Status.HELD, told, cases=len(rows), scope=scope, evidence=evidence)
    w, depth, found, due = wrong[0]
    witness = Witness({"window": w, "layers": depth}, got=found, due=due)
    told = f"{depth} windows of {w} reach {found} positions back, not {due}"
    return Verdict(
        name, Status.REFUTED, told, cases=len(rows), scope=scope, witness=witness, evidence=evidence
    )


def reach(window: int, layers: int, length: int, seed: int = 0) -> int:
    """The largest distance at which the last output of a stack of windows has a gradient."""
    stacked = deep(layer(load("sliding_window", window=window)), layers)
    sizes = sizes_of(stacked, length, 4, {"batch": 1})
    arrays = drawn(stacked, sizes, np.random.default_rng(seed))
    (blocks,) = Jacobian(stacked, ["X"])(arrays, sizes=sizes, targets=[-1])
    seen = np.flatnonzero(np.abs(blocks).max(axis=(-2, -1)) > 0)
    return int(length - 1 - seen.min())


def residual(x: Array) -> float:
    """How far rows are from being equal: the norm of X - 1 x^T, x the mean row.

    The norm is sqrt(||.||_1 ||.||_inf), as Dong et al. 2021, section 2 (they take the best x).

    >>> residual(np.ones((3, 2)))
    0.0
    """
    off = x - x.mean(axis=0)
    return float(np.sqrt(np.linalg.norm(off, 1) * np.linalg.norm(off, np.inf)))


def collapse_slopes(
    spec: Spec, draws: int, seed: int = 0, *, common: bool = False
) -> tuple[Array, Array, Array]:
    """Scales eps, residuals (draws, scales) of a layer's output, and the slope of each draw.

    The input is eps R, or with `common` 1 x^T + eps R, with R and x normal.
    """
    scales = 10.0 ** np.arange(-3, -0.9, 0.25)
    oracle = compile_spec(spec)
    sizes = sizes_of(spec, 10, 6, {"batch": 1})
    found = np.zeros((draws, len(scales)))
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        arrays = drawn(spec, sizes, rng)
        noise, shared = arrays["X"], rng.standard_normal((1, 1, sizes["model"])) * common
        for n, eps in enumerate(scales):
            out = oracle(**{**arrays, "X": shared + eps * noise})["Y"]
            found[draw, n] = residual(out[0])
    slopes = np.polyfit(np.log(scales), np.log(found).T, 1)[0]
    return scales, found, slopes


def rank_collapse(draws: int = 30, seed: int = 0, *, due: float = 3.0) -> Verdict:
    """The residual of one layer of pure attention is of third order in that of its input.

    Dong et al. 2021, theorem 2.2, have res(out) <= C res(in)^3; their constant is taken from
    secondary sources and not asserted here. The exponent is measured: the slope of log residual
    against log eps is 3.0 +- 0.1 in every draw, for inputs eps R and 1 x^T + eps R.

    >>> rank_collapse(3).status.value, rank_collapse(3, due=1.0).status.value
    ('HELD', 'REFUTED')
    """
    pure, skips = layer(load("global")), layer(load("global"), residual=True)
    scales, small, slopes = collapse_slopes(pure, draws, seed)
    _, shared, others = collapse_slopes(pure, draws, seed + 1, common=True)
    _, kept, passing = collapse_slopes(skips, draws, seed)
    every = np.concatenate([slopes, others])
    held = bool((np.abs(every - due) <= 0.1).all())
    figure = Figure(
        "Attention without skips loses rank",
        Scale("eps, the input's residual over that at 1", log=True),
        Scale("residual of the output", log=True),
        tuple(
            Curve.of(name, scales, *np.quantile(rows, [0.5, 0.25, 0.75], axis=0))
            for name, rows in (
                ("attention of eps R", small),
                ("attention of 1 x^T + eps R", shared),
                ("attention of eps R with a skip", kept),
            )
        ),
        f"{draws} draws of 10 positions, width 6; median and quartiles",
    )
    return Verdict(
        "rank collapse: a layer's residual goes with the third power of its input's",
        Status.HELD if held else Status.REFUTED,
        f"slopes from {every.min():.3f} to {every.max():.3f}, due {due:.1f} +- 0.1; with a skip "
        f"from {passing.min():.3f} to {passing.max():.3f}",
        cases=2 * draws, scope="eps from 0.001 to 0.1; the exponent is measured, no constant",
        evidence={
            "figure": figure.plain(), "slope, smallest": float(every.min()),
            "slope, largest": float(every.max()),
        },
    )  # fmt: skip


def collapse_by_depth(draws: int = 20, seed: int = 0, depth: int = 6) -> Verdict:
    """Stacked, pure attention loses its residual and skips stop it (Dong et al. 2021, figure 2).

    HELD where in every draw the share of the residual in the output falls by a factor of ten at
    least without skips and by less than ten with them.

    >>> collapse_by_depth(2).status.value
    'HELD'
    """
    kinds = {"attention": False, "attention with skips": True}
    shares = {name: _shares(residual, draws, seed, depth) for name, residual in kinds.items()}
    pure, kept = (shares[name] for name in kinds)
    held = bool((pure[:, -1] < pure[:, 0] / 10).all() and (kept[:, -1] > kept[:, 0] / 10).all())
    figure = Figure(
        "Residual by depth",
        Scale("layers"),
        Scale("residual over norm of the whole, no unit", log=True),
        tuple(
            Curve.of(name, range(depth + 1), *np.quantile(rows, [0.5, 0.25, 0.75], axis=0))
            for name, rows in shares.items()
        ),
        f"{draws} draws of 10 positions, width 6; median and quartiles",
    )
    return Verdict(
        "skips stop rank collapse",
        Status.HELD if held else Status.REFUTED,
        f"after {depth} layers the median residual is {np.median(pure[:, -1]):.1e} of the output "
        f"without skips, {np.median(kept[:, -1]):.2g} with them",
        cases=draws, scope=f"{depth} layers, weights of gain 1, no MLP and no norm",
        evidence={"figure": figure.plain()},
    )  # fmt: skip


def _shares(residual_layers: bool, draws: int, seed: int, depth: int) -> Array:  # noqa: FBT001  one of two kinds
    """The residual's share of the output after each layer, (draws, depth + 1)."""
    spec = deep(layer(load("global"), residual=residual_layers), depth)
    names = [f"Y_layer{n}" for n in range(1, depth + 1)]
    oracle = compile_spec(spec.replace(outputs=names))
    sizes = sizes_of(spec, 10, 6, {"batch": 1})
    found = []
    for draw in range(draws):
        arrays = drawn(spec, sizes, np.random.default_rng([seed, draw]))
        outs = oracle(**arrays)
        layers = [arrays["X"][0], *(outs[name][0] for name in names)]
        found.append([residual(x) / float(np.linalg.norm(x)) for x in layers])
    return np.array(found)
