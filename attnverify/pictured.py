"""The weights of a spec's attention on one drawn case: a map that a page draws."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index, Tensor, indicator
from attnverify.compile import compile  # noqa: A004  the fixed public name
from attnverify.equations import Equation
from attnverify.errors import AttnverifyError
from attnverify.inputs import Case, Draw
from attnverify.inputs.sizes import CHANNELS, FEW
from attnverify.invariants import roles
from attnverify.invariants.sites import Attention
from attnverify.provers.draws import Value, plain_values
from attnverify.spec import Spec
from attnverify.transforms.naming import unused

Array = NDArray[Any]
# Sizes of a length, the largest first that gives a map of at most so many cells a side.
LENGTHS, MOST = (12, 4, 3, 2), 32
CHANNEL = 4
SEED = 0
# Entries of the largest array on the way, so that grids of grids are drawn small.
ENTRIES = 100_000
# Digits of a weight: a shade shows two, and the last bits differ between machines.
DIGITS = 4


def weights_map(spec: Spec) -> dict[str, Any] | None:
    """The weights of each query row at each key in one head, None where a row sees no such key.

    Returns None for a spec without attention weights over a pair of places.

    >>> from attnverify import load
    >>> weights_map(load("causal"))["cells"][0][:3]
    [1.0, None, None]
    """
    site = roles(spec).attention
    if site is None or not site.rows or not site.keys:
        return None
    for length in LENGTHS:
        try:
            found = _drawn(site, length)
        except AttnverifyError:
            # Sizes that a spec's declarations do not allow; a picture is worth no failure.
            continue
        if found is not None:
            return found
    return None


def _drawn(site: Attention, length: int) -> dict[str, Any] | None:
    spec, names = weighed(site)
    sizes = {
        axis.name: 1 if axis.name in FEW else CHANNEL if axis.name in CHANNELS else length
        for axis in spec.axes
    }
    draw = Draw(spec)
    whole = spec.fitted(sizes)
    if draw.with_room(whole, ENTRIES) != whole:
        return None
    case = draw.case(whole, seed=SEED, parameters=plain_parameters(spec))
    found = compile(spec)(**case.arrays, **case.parameters, sizes=case.sizes)
    weights, seen = (grid(site, found[name], case) for name in names)
    if max(weights.shape) > MOST or not np.isfinite(weights[seen != 0]).all():
        return None
    told = np.round(weights, DIGITS).astype(object)
    told[seen == 0] = None
    return {
        "name": site.weights.name,
        "cells": told.tolist(),
        "axes": [_named(site.rows), _named(site.keys)],
        "sizes": list(weights.shape),
        "case": " ".join(f"{name}={value}" for name, value in sorted(case.parameters.items())),
    }


def plain_parameters(spec: Spec) -> dict[str, Value]:
    """The third of each parameter's plainest values: a window of 2 or 3 is seen among 12 keys."""
    found = {p.name: plain_values(p) for p in spec.parameters}
    return {name: values[min(2, len(values) - 1)] for name, values in found.items() if values}


def weighed(site: Attention) -> tuple[Spec, tuple[str, str]]:
    """The spec with its weights and their mask as outputs, and the names of the two."""
    head = site.weights.head
    mask = unused("mask", [*site.spec.heads, *(e.tensor.name for e in site.spec.inputs)])
    row = Equation(Entry(Tensor(mask), head.places), indicator(site.where))
    names = (site.weights.name, mask)
    return site.spec.replace(equations=(*site.spec.equations, row), outputs=names), names


def grid(site: Attention, found: Array, case: Case, head: int = 0) -> Array:
    """An array of the weights' shape as rows of the query's places by the key's, in one head.

    Heads are counted over all axes besides those two, the last one first.
    """
    indices = site.weights.head.indices
    whole = found.reshape([case.sizes[index.axis.name] for index in indices])
    sides = [*site.rows, *site.keys]
    apart = np.moveaxis(whole, [indices.index(side) for side in sides], range(-len(sides), 0))
    rows, keys = (prod(case.sizes[i.axis.name] for i in part) for part in (site.rows, site.keys))
    heads: Array = apart.reshape(-1, rows, keys)
    one: Array = heads[min(head, len(heads) - 1)]
    return one


def _named(sides: tuple[Index, ...]) -> str:
    return " by ".join(side.axis.name for side in sides)
