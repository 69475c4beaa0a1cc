"""Recurrences: Pascanu's bound on how a gradient shrinks or grows with every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import at_most
from attnverify.compile.oracle import stack
from attnverify.library import load
from attnverify.transforms.gradient import gradient
from attnverify.verdict import Status, Verdict, Witness
from attnverify.verdict.figure import Curve, Figure, Scale

Array = NDArray[Any]
EPS = 2.0**-52
# The largest slope of each activation.
STEEPEST = {"tanh": 1.0, "logistic": 0.25, "relu": 1.0}
STEPS = 12
WIDTHS = (1, 2, 3, 5)


@dataclass(frozen=True)
class Recurrences:
    """Drawn networks of one width: matrices (draws, hidden, ...), blocks of d h_T / d x_s.

    `blocks` is (draws, steps, hidden, model), `distances` T - s for each step.
    """

    activation: str
    seed: int
    W: Array
    U: Array
    blocks: Array
    distances: Array


def recurrences(draws: int, seed: int = 0, steps: int = STEPS) -> Iterator[Recurrences]:
    """`draws` networks in all, spread over activations and widths, gains from 0.1 to 4.

    The blocks come from the derived gradient, for each network and hidden unit in one run.
    """
    groups = [(name, width) for name in STEEPEST for width in WIDTHS]
    derived = {name: stack(gradient(load("elman", activation=name), wrt="X")) for name in STEEPEST}
    for number, (name, width) in enumerate(groups):
        count = draws // len(groups) + (number < draws % len(groups))
        if count:
            rng = np.random.default_rng([seed, number])
            yield _network(derived[name], name, (count, width, steps), rng, seed)


def _network(
    run: Any, activation: str, extent: tuple[int, int, int], rng: np.random.Generator, seed: int
) -> Recurrences:
    count, hidden, steps = extent
    model = hidden + 1
    gain = 10 ** rng.uniform(-1, 0.6, (count, 1, 1))
    U = gain * rng.standard_normal((count, hidden, hidden)) / np.sqrt(hidden)
    W = rng.standard_normal((count, hidden, model)) / np.sqrt(model)
    x = rng.standard_normal((count, 1, steps, model)) * 10 ** rng.uniform(-1, 1, (count, 1, 1, 1))
    seeds = np.zeros((count, hidden, steps, hidden))
    seeds[:, :, -1] = np.eye(hidden)
    arrays = {
        "X": np.repeat(x, hidden, axis=1), "W": W, "U": U, "dH": seeds,
        "H0": np.zeros((count, hidden, hidden)), "bias": rng.standard_normal((count, hidden)) / 2,
    }  # fmt: skip
    sizes = {"batch": hidden, "time": steps, "model": model, "hidden": hidden}
    found = run(arrays, sizes, {})["dX"]
    return Recurrences(
        activation, seed, W, U, np.moveaxis(found, 1, 2), np.arange(steps)[::-1].copy()
    )


def norms(blocks: Array) -> Array:
    """Spectral norms of matrices in the last two dimensions."""
    return np.asarray(np.linalg.norm(blocks, 2, axis=(-2, -1)))


def spectral_radius(blocks: Array) -> Array:
    """Largest eigenvalues in size, which bound a power's norm only in the limit."""
    return np.asarray(np.abs(np.linalg.eigvals(blocks)).max(axis=-1))


def widened(matrix: Array) -> Array:
    """What rounding adds to the norm of a product with a matrix, as its own norm.

    A computed product of d terms errs by at most (d + 2) eps times the product of absolute values
    (Higham 2002, section 3.1), and absolute values have at most the Frobenius norm; the norm itself
    is known to d eps (LAPACK's bound for singular values).
    """
    width = max(matrix.shape[-2:])
    return np.asarray(2 * (width + 2) * EPS * np.linalg.norm(matrix, axis=(-2, -1)))


def pascanu(
    draws: int = 10_000,
    seed: int = 0,
    *,
    size_of: Callable[[Array], Array] = norms,
    steepest: dict[str, float] | None = None,
) -> Verdict:
    """Pascanu et al. 2013: ||d h_t / d x_s|| <= gamma ||W|| (gamma sigma_max(U))^(t - s).

    `size_of` measures U and `steepest` says gamma; others than these are there to be refuted.

    >>> pascanu(100).status.value
    'HELD'
    >>> pascanu(100, size_of=spectral_radius).status.value
    'REFUTED'
    """
    slopes = steepest or STEEPEST
    name = "Pascanu's bound: a step multiplies a gradient by at most gamma sigma_max(U)"
    scope = f"h_t = f(W x_t + U h_(t-1) + b), |f'| <= gamma; f of {', '.join(slopes)}"
    shares: list[Array] = []
    for group in recurrences(draws, seed):
        gamma = slopes[group.activation] * (1 + 4 * EPS)
        step = gamma * (size_of(group.U) + widened(group.U))
        reading = gamma * (norms(group.W) + widened(group.W))
        bound = reading[:, None] * step[:, None] ** group.distances
        verdict = at_most(name, norms(group.blocks), bound, ("draw", "s"))
        if verdict.status is Status.REFUTED:
            return replace(_at(verdict, group), scope=scope, cases=draws)
        with np.errstate(all="ignore"):
            shares.append(np.where(bound > 0, norms(group.blocks) / bound, 0))
    return Verdict(
        name, Status.HELD, cases=draws, scope=scope,
        detail=f"no d h_t / d x_s of {draws} drawn networks exceeds its bound at any of {STEPS} "
        "distances; rounding is allowed for as derived from the widths",
        evidence={"figure": _shares(np.concatenate(shares), draws).plain()},
    )  # fmt: skip


def _at(verdict: Verdict, group: Recurrences) -> Verdict:
    """The verdict with the network that breaks the bound."""
    draw = (verdict.witness or Witness()).index or {}
    number, s = draw.get("draw", 0), draw.get("s", 0)
    width = group.U.shape[-1]
    told = f"{group.activation}, hidden {width}, t - s = {int(group.distances[s])}"
    witness = replace(
        verdict.witness or Witness(),
        sizes={"hidden": width, "time": len(group.distances)},
        arrays={"U": group.U[number], "W": group.W[number]},
        seed=group.seed,
        note=told,
    )
    return replace(verdict, witness=witness, detail=f"{verdict.detail} ({told})")


def _shares(shares: Array, draws: int) -> Figure:
    """How much of the bound is used, by distance."""
    by = shares[:, ::-1]
    low, middle, high = np.quantile(by, [0.25, 0.5, 0.75], axis=0)
    distance = np.arange(by.shape[1])
    return Figure(
        "How much of Pascanu's bound is used",
        Scale("distance t - s, in steps"),
        Scale("norm / bound, no unit", log=True),
        (
            Curve.of("median, quartiles", distance, middle, low, high),
            Curve.of("largest", distance, by.max(axis=0)),
        ),
        f"{draws} drawn networks; the bound is 1",
        {"bound": 1.0},
    )


def vanishing(draws: int = 1200, seed: int = 1) -> Verdict:
    """Pascanu et al. 2013: gamma sigma_max(U) < 1 suffices for gradients to vanish.

    >>> vanishing(60).status.value
    'HELD'
    """
    farthest, count = [], 0
    for group in recurrences(draws, seed):
        rate = STEEPEST[group.activation] * norms(group.U)
        below = rate < 1
        size = norms(group.blocks[below])
        nearest = STEEPEST[group.activation] * (norms(group.W) + widened(group.W))[below]
        limit = nearest * (rate[below] + widened(group.U)[below]) ** (len(group.distances) - 1)
        farthest.append(at_most("", size[:, 0], limit, ("draw",)))
        count += int(below.sum())
    broken = [verdict for verdict in farthest if verdict.status is Status.REFUTED]
    return Verdict(
        "a largest singular value below 1/gamma suffices for vanishing",
        Status.REFUTED if broken else Status.HELD,
        broken[0].detail if broken else "at the farthest distance each lies below its power",
        cases=count,
        scope="gamma sigma_max(U) < 1",
    )


def exploding(draws: int = 1200, seed: int = 2) -> Verdict:
    """The converse, which is false: gamma sigma_max(U) > 1 does not suffice for exploding.

    Pascanu et al. 2013 call it necessary; a saturated unit or a matrix that is not normal lets the
    gradient vanish all the same. REFUTED by the network with the smallest gradient.

    >>> exploding(60).status.value
    'REFUTED'
    """
    above, shrunk, worst = 0, 0, (np.inf, "")
    for group in recurrences(draws, seed):
        rate = STEEPEST[group.activation] * norms(group.U)
        chosen = rate > 1
        far, near = norms(group.blocks[chosen][:, 0]), norms(group.blocks[chosen][:, -1])
        above, shrunk = above + int(chosen.sum()), shrunk + int((far < near).sum())
        for at in np.flatnonzero(far < near):
            told = f"{group.activation}, gamma sigma_max = {rate[chosen][at]:.3g}"
            worst = min(worst, (float(far[at]), told))
    status = Status.REFUTED if shrunk else Status.HELD
    return Verdict(
        "a largest singular value above 1/gamma suffices for exploding",
        status,
        f"of {above} networks above 1/gamma, {shrunk} have a smaller "
        f"gradient {STEPS - 1} steps back than at the last one; smallest {worst[0]:.2e} "
        f"({worst[1]})",
        cases=above,
        scope="gamma sigma_max(U) > 1",
        witness=Witness(seed=seed, got=worst[0], note=worst[1]) if shrunk else None,
    )
