"""Matched filters: directions that the errors of an output may share, and how far rounding goes.

A scale that is off by 0.3 % moves every entry less than its rounding does in 16 bits, but all of
them in one direction.  Errors are projected on that direction by least squares, each entry weighed
by its sigma; the disturbed runs, projected alike, say how far rounding alone goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import Filter
from attnverify.rounding.profiles import Profile

Array = NDArray[Any]

# The error of a function or a constant, in roundoffs of its type.
FUNCTION = 4.0
TEMPERATURE, GAIN = "temperature", "gain"


def filters(
    value: Array, sigma: Array, deviations: Sequence[Array], slope: Array | None
) -> dict[str, Filter]:
    """The filters of one output: along its derivative by the scale's logarithm, and along itself.

    `deviations` has the disturbed runs of each form, the runs as first axis.
    """
    directions = {GAIN: value} if slope is None else {TEMPERATURE: slope, GAIN: value}
    found = {name: _matched(way, sigma, deviations) for name, way in directions.items()}
    return {name: made for name, made in found.items() if made is not None}


def _matched(direction: Array, sigma: Array, deviations: Sequence[Array]) -> Filter | None:
    """The filter along one direction; None where nothing moves, or cannot be told to."""
    way, size = np.asarray(direction, float), np.asarray(sigma, float)
    counted = (size > 0) & np.isfinite(size) & np.isfinite(way)
    unit = float(np.max(size, initial=0.0, where=counted)) or 1.0
    relative = np.where(counted, size, unit) / unit
    scaled = np.where(counted, way, 0) / relative
    norm = float(np.sum(scaled**2))
    if not 0 < norm < np.inf:
        return None
    weights = scaled / relative / norm
    null = np.array([_projected(form, weights) for form in deviations])
    return Filter(weights, null) if np.isfinite(null).all() else None


def _projected(runs: Array, weights: Array) -> Array:
    """How far each run goes along a direction."""
    there = np.where(weights != 0, runs, 0)
    return np.asarray(np.sum(there * weights, axis=tuple(range(1, np.ndim(there)))))


def common(profile: Profile) -> float:
    """What any right answer may have in all its draws: errors alike where arguments are alike.

    Exp has the same error wherever it has the same argument, and a constant folded into the scores
    is rounded once for all of them: both in the type that sums are carried in.  Rounding to nearest
    leans to a side by a third of its unit squared, where values lie evenly between two neighbours;
    weights, slopes and outputs are rounded one after the other.
    """
    largest = max(profile.stage, profile.stored.roundoff, profile.operand.roundoff)
    return FUNCTION * profile.accumulator + largest**2


__all__ = ["GAIN", "TEMPERATURE", "common", "filters"]
