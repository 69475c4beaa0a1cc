"""Tables of whole numbers that compiled specs read: ALiBi's slopes and T5's buckets."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from attnverify.errors import ParameterError


def alibi_slope(head: Any, heads: int, real: Any) -> Any:
    """The slope of each head in `head`, of `heads` in all, in the floating type `real`.

    The largest power of two m of heads takes the powers of 2^(-8/m); heads beyond it take every
    other power of 2^(-4/m) (Press et al. 2022, section 3 and their code).
    """
    power = 1 << max(0, int(heads).bit_length() - 1)
    place = np.asarray(head, real)
    inside = -8 * (place + 1) / power
    beyond = -4 * (2 * (place - power) + 1) / power
    return np.exp2(np.where(place < power, inside, beyond))


def t5_bucket(distance: Any, buckets: Any, max_distance: Any, two_sided: Any) -> Any:
    """The bucket of each distance key minus query (Raffel et al. 2020, section 2.1).

    Raises ParameterError where a half of the buckets is empty or `max_distance` lies in it.
    """
    shift = np.asarray(distance)
    count = int(buckets) // 2 if two_sided else int(buckets)
    size = np.abs(shift) if two_sided else np.maximum(-shift, 0)
    found = np.searchsorted(_edges(count, int(max_distance)), size, side="right")
    return found + np.where(shift > 0, count, 0) if two_sided else found


@cache
def _edges(count: int, longest: int) -> list[int]:
    """The smallest distance in each bucket but the first.

    Edges are those of real arithmetic, decided in whole numbers: a floating logarithm is only where
    the search begins.
    """
    exact = count // 2
    if exact < 1 or longest <= exact:
        raise ParameterError(
            "buckets of distances need room for near and far ones",
            found=f"{count} buckets on a side, max_distance {longest}",
            due="two or more on a side, and a max_distance beyond half of them",
        )
    far = count - exact
    edges = list(range(1, exact + 1))
    for k in range(1, far):
        edge = max(exact, round(exact * (longest / exact) ** (k / far)) - 2)
        while edge**far * exact**k < longest**k * exact**far:
            edge += 1
        edges.append(edge)
    return edges
