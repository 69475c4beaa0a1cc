"""Scale, cap and normaliser, read off the weights of a few designed rows."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt, tanh
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.dtypes import float_type
from attnverify.identify.box import CHANNELS, HEADS, Box, raised
from attnverify.identify.finding import Finding
from attnverify.subjects import SubjectFault

Array = NDArray[np.float64]

# Equal sizes throughout: what is compiled for one probe serves the next.
KEYS, MANY = 5, 40
WIDTHS = (CHANNELS, 4 * CHANNELS)
LAWS: dict[str, Callable[[int], float]] = {
    "1/sqrt(d)": lambda d: 1 / sqrt(d),
    "1": lambda _: 1.0,
    "1/d": lambda d: 1 / d,
}
# A product so near zero that no usual cap shows in its score, and rounding does not yet.
NEAR = 2.0**-4
# Scores far enough from zero for a cap to show, where a type holds their exponential.
FAR = (4.0, 9.0, 30.0)
MOST_CAP = 1000.0


def last_row(
    box: Box, score: float, keys: int = KEYS, channels: int = CHANNELS, at: int = -1
) -> Array:
    """The weights of a row whose product with the key `at` is `score`, and 0 with all others.

    The last row of as many queries as keys: every usual mask lets it see the last keys.
    """
    q, k = (np.zeros((1, HEADS, keys, channels)) for _ in range(2))
    q[..., 0] = 1
    k[:, :, at, 0] = score
    row: Array = box.weights(q, k)[0, 0, -1]
    return row


def slope(box: Box, channels: int, step: float = NEAR) -> float:
    """How much the logarithm of a weight grows for a product q.k of `step`, less what 0 gives.

    The key at the query's own position has it, where no rotation turns one against the other.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        grown, plain = (np.log(last_row(box, x, channels=channels)[-2:]) for x in (step, 0.0))
        return float(np.diff(grown)[0] - np.diff(plain)[0]) / step


def scale(box: Box) -> Finding:
    """The factor of q.k and how it depends on the number of channels."""
    measured: dict[int, float] = {}
    refused = ""
    for channels in WIDTHS:
        try:
            measured[channels] = slope(box, channels)
        except SubjectFault as fault:
            refused = raised(fault)
    if not measured or not all(np.isfinite(x) for x in measured.values()):
        return Finding("scale", "", refused or "weights vanish, so that no score is read off")
    told = ", ".join(f"{x:.6g} at d = {d}" for d, x in measured.items())
    for law, of in LAWS.items():
        if all(box.fits(x / of(d), 1.0) for d, x in measured.items()):
            says: dict[str, Any] = {} if law == "1/sqrt(d)" else {"scale": law}
            return Finding("scale", law, f"log weights grow by {told}", len(measured), says)
    values = list(measured.values())
    if not all(values):
        return Finding("scale", "", f"log weights grow by {told}: no score is read off")
    if all(box.fits(x / values[0], 1.0) for x in values):
        says = {"scale": float(f"{values[0]:.6g}")}
        return Finding(
            "scale", f"{values[0]:.6g}", f"it is that at every d ({told})", len(values), says
        )
    return Finding("scale", "", f"log weights grow by {told}, which is no law that is known here")


def cap(box: Box, factor: float) -> Finding:
    """Whether scores are capped: far from zero the logarithm of weights grows less."""
    name = "cap"
    if not np.isfinite(factor) or factor == 0:
        return Finding(name, "", "weights do not follow the scores")
    reach = -log(float_type(box.dtype).smallest_normal) / 2
    if box.dtype == "float16":
        reach = FAR[1]
    read: dict[float, float] = {}
    for score in (s for s in FAR if s <= reach):
        found = slope(box, CHANNELS, score / factor) * score / factor
        if np.isfinite(found):
            read[score] = found
    if not read:
        return Finding(name, "", "weights vanish far from zero")
    told = ", ".join(f"{s:g} counts as {x:.6g}" for s, x in read.items())
    if all(box.fits(x / s, 1.0) for s, x in read.items()):
        return Finding(name, "none", f"scores count in full: {told}", len(read))
    worst = max(read)
    value = _cap_of(worst, read[worst])
    if value and all(box.fits(x / (value * tanh(s / value)), 1.0) for s, x in read.items()):
        value = float(f"{value:.5g}")
        return Finding(name, f"{value:g} tanh(s / {value:g})", told, len(read), {"cap": value})
    return Finding(name, "", f"{told}, which is no c tanh(s / c)", len(read))


def _cap_of(score: float, counted: float) -> float:
    """The c with c tanh(score / c) = counted, by bisection; 0 where there is none.

    >>> round(_cap_of(30.0, 20 * tanh(1.5)), 6)
    20.0
    """
    low, high = counted * (1 + 1e-12), MOST_CAP
    if not 0 < counted < score or high * tanh(score / high) < counted:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * tanh(score / middle) < counted else (low, middle)
    return (low + high) / 2


def normaliser(box: Box) -> Finding:
    """What rows of weights sum to, and whether a weight depends on the other keys."""
    name = "normaliser"
    sums = {n: float(last_row(box, 0.0, n).sum()) for n in (KEYS, MANY)}
    told = ", ".join(f"{x:.6g} over {n} keys" for n, x in sums.items())
    if all(box.fits(x, 1.0) for x in sums.values()):
        return _normalised(box, f"weights of equal scores sum to {told}")
    if all(box.fits(x, n / (n + 1)) for n, x in sums.items()):
        said = f"weights of equal scores sum to {told}: n / (n + 1)"
        return Finding(name, "softmax plus one", said, len(sums), {"normaliser": "plus_one"})
    few, many = (n / x - n if x > 0 else 0.0 for n, x in sums.items())
    if few > 0 and box.fits(many / few, 1.0):
        said = f"they sum to {told}: n / (n + exp({log(few):.4g}))"
        return Finding(name, "softmax with a sink", said, len(sums), {"sink": log(few)})
    return _alone(box, told)


def _normalised(box: Box, told: str) -> Finding:
    """Rows that sum to one: by exponentials, or otherwise."""
    name = "normaliser"
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (np.log(last_row(box, x)[-2:]) for x in (NEAR, 2 * NEAR))
    if not np.isfinite([*one, *two]).all():
        return Finding(name, "", f"{told}, but some are zero: no softmax", 5)
    if one[1] == one[0]:
        return Finding(name, "", f"{told}, but they do not depend on the scores", 5)
    ratio = float((two[1] - two[0]) / (one[1] - one[0]))
    if box.fits(ratio, 2.0):
        return Finding(name, "softmax", f"{told}, and log weights grow with the score", 5)
    return Finding(name, "", f"{told}, but twice the score counts as {ratio:.4g} times it", 5)


def _alone(box: Box, told: str) -> Finding:
    """Weights that do not sum to one: each by itself?"""
    name = "normaliser"
    alone, other = (float(last_row(box, x, at=-2)[-1]) for x in (0.0, 3.0))
    if not box.fits(alone, other):
        return Finding(name, "", f"weights of equal scores sum to {told}")
    if box.fits(alone, 0.5):
        said = f"a weight is 1/2 at score 0 whatever the others are, sums are {told}"
        return Finding(name, "sigmoid", said, 5, {"normaliser": "sigmoid"})
    return Finding(name, "", f"each weight stands alone, {alone:.4g} at score 0; sums are {told}")
