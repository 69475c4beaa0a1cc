"""ALiBi's slopes and T5's buckets, entry by entry from their definitions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from attnverify.errors import ParameterError


def alibi_slope(mp: Any, head: Any, heads: Any) -> Any:
    """2 to the power -8 (h+1)/m below the largest power of two m of heads, -4 (2(h-m)+1)/m from it.

    Source: Press et al. 2022, section 3 and their code.
    """
    place, most = int(head), 1
    while 2 * most <= int(heads):
        most *= 2
    step = Fraction(8 * (place + 1), most)
    if place >= most:
        step = Fraction(4 * (2 * (place - most) + 1), most)
    return 1 / mp.root(mp.mpf(2) ** step.numerator, step.denominator)


def t5_bucket(distance: Any, buckets: Any, max_distance: Any, two_sided: Any) -> int:
    """The bucket of a distance, its logarithm in real arithmetic.

    Bucket e + k of the far ones, e the number of near ones and f that of far ones, begins where
    n >= e (m/e)^(k/f), which is n^f e^k >= m^k e^f in whole numbers.
    Source: Raffel et al. 2020, section 2.1.
    """
    shift, count, longest = int(distance), int(buckets), int(max_distance)
    if two_sided:
        count //= 2
        lead, size = (count if shift > 0 else 0), abs(shift)
    else:
        lead, size = 0, max(-shift, 0)
    near = count // 2
    if near == 0 or longest <= near:
        raise ParameterError(
            "T5's buckets need near and far ones",
            found=f"buckets {buckets}, max_distance {max_distance}",
            due="two buckets or more on each side, max_distance beyond the near ones",
        )
    if size < near:
        return lead + size
    far, k = count - near, 0
    while k + 1 < far and size**far * near ** (k + 1) >= longest ** (k + 1) * near**far:
        k += 1
    return lead + near + k
