"""The few functions that an exported file may bring along, in words that a library completes."""

from __future__ import annotations

EXPECT = '''
def expect(name, array, *sizes):
    """Raise where an array has another shape than the equations say: nothing is broadcast."""
    if tuple(array.shape) != sizes:
        raise ValueError(f"{name} has shape {tuple(array.shape)}, due {sizes}")
'''

INVERSE = '''
def inverse(x):
    """1 / x, and 0 where x is 0: a row that sees no key sums to 0, and its weights are 0."""
    return LIB.where(x != 0, 1 / LIB.where(x != 0, x, 1), 0)
'''

FINITE = '''
def finite(top):
    """The largest score of a row, 0 where it sees no key or NaN: -inf less that is -inf."""
    return LIB.where(top > -math.inf, top, 0)
'''

TIMES = '''
def times(weight, x):
    """The product, and 0 where the weight is 0, whatever x holds in a masked slot."""
    return weight * LIB.where(weight == 0, 0, x)
'''

CONTRACT = '''
def contract(formula, weight, x):
    """einsum of which a term with weight 0 is 0, whatever x holds in a masked slot."""
    known = LIB.isfinite(x)
    spoiled = LIB.einsum(formula, LIB.where(weight != 0, 1.0, 0.0), LIB.where(known, 0.0, 1.0))
    result = LIB.einsum(formula, weight, LIB.where(known, x, 0))
    return LIB.where(spoiled > 0, math.nan, result)
'''

LOGISTIC = '''
def logistic(x):
    """1 / (1 + exp(-x)) without overflow."""
    small = LIB.exp(-LIB.abs(x))
    return LIB.where(x >= 0, 1, small) / (1 + small)
'''

SLOPE = '''
def alibi_slope(head, heads, real):
    """The slope of each head (Press et al. 2022, section 3): powers of 2 ** (-8 / m).

    m is the largest power of 2 among the heads; those beyond it take every other power of
    2 ** (-4 / m).
    """
    power = 1 << (heads.bit_length() - 1)
    place = ASREAL
    inside, beyond = -8 * (place + 1) / power, -4 * (2 * (place - power) + 1) / power
    return LIB.exp2(LIB.where(place < power, inside, beyond))
'''

BUCKET = '''
def t5_bucket(distance, buckets, max_distance, two_sided):
    """The bucket of each distance key minus query (Raffel et al. 2020, section 2.1).

    Half of the buckets on a side hold one distance each, the others grow by a constant factor.
    An edge is the smallest distance of its bucket, found in whole numbers.
    """
    count = buckets // 2 if two_sided else buckets
    near, far = count // 2, count - count // 2
    if not 1 <= near < max_distance:
        raise ValueError(f"{count} buckets on a side leave no room up to {max_distance}")
    edges = list(range(1, near + 1))
    for k in range(1, far):
        edge = edges[-1]
        while edge**far * near**k < max_distance**k * near**far:
            edge += 1
        edges.append(edge)
    size = LIB.abs(distance) if two_sided else LIB.maximum(-distance, 0 * distance)
    found = sum((size >= edge) * 1 for edge in edges)
    return found + count * (distance > 0) if two_sided else found
'''

THRESHOLD = '''
def threshold(scores, axis, power):
    """The tau at which sum max(scores - tau, 0) ** power = 1 along an axis; 0 in an empty row.

    It lies within 1 below the largest score, and is found by halving. Derivatives hold it constant:
    two Newton steps follow, which have them.
    """
    top = LARGEST
    empty = LIB.isneginf(top)
    high = LIB.where(empty, 0, top)
    low = high - 1
    for _ in range(60):
        middle = (low + high) / 2
        mass = LIB.sum(RELU ** power, axis, KEPT=True)
        low, high = LIB.where(mass >= 1, middle, low), LIB.where(mass >= 1, high, middle)
    return LIB.where(empty, 0, low).squeeze(axis)
'''


def completed(text: str, library: str, **words: str) -> str:
    """A helper's text for one library.

    >>> completed("LIB.exp(ONE)", "np", ONE="1")
    'np.exp(1)'
    """
    for word, put in {**words, "LIB": library}.items():
        text = text.replace(word, put)
    return text.strip()
