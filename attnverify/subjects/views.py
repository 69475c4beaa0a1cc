"""Ways for one array to lie in memory: the same entries under other strides, offsets and flags.

A subject that reads memory as if it were contiguous reads strange entries there, never beyond what
is held for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Entries that stand beside a row inside a larger array.
BESIDE = (1, 2)


def plainly(array: Array) -> Array:
    """A copy with an order of its own, contiguous."""
    return np.array(array, order="C")


def reordered(array: Array) -> Array:
    """A copy whose axes, all but the last, lie in memory in reverse order.

    >>> reordered(np.zeros((2, 3, 4))).flags.c_contiguous
    False
    """
    axes = (*range(array.ndim - 1)[::-1], *range(array.ndim)[-1:])
    return np.transpose(np.array(np.transpose(array, axes), order="C"), np.argsort(axes))


def padded(array: Array) -> Array:
    """A copy inside a larger array, off its start, whose other entries are none to be read.

    >>> padded(np.zeros((2, 3))).strides
    (48, 8)
    """
    if not array.ndim:
        return plainly(array)
    ahead, behind = BESIDE
    whole = np.full((*array.shape[:-1], ahead + array.shape[-1] + behind), _strange(array.dtype))
    inside = whole[..., ahead : ahead + array.shape[-1]]
    inside[...] = array
    return inside


def _strange(dtype: np.dtype[Any]) -> Array:
    """What shows wherever it is read: NaN, the largest whole number, True."""
    if dtype.kind in "iu":
        return np.asarray(np.iinfo(dtype).max, dtype)
    return np.asarray(dtype.kind == "b" or np.nan).astype(dtype)


def backwards(array: Array) -> Array:
    """A copy that lies in memory from its last entry to its first.

    >>> backwards(np.zeros(3)).strides
    (-8,)
    """
    size = array.size
    whole = np.full(3 * size, _strange(array.dtype))
    middle = whole[size : 2 * size].reshape(array.shape)
    middle[...] = np.flip(array)
    return np.flip(middle)


def repeated(array: Array) -> Array:
    """The first place along the first axis shown at each, where all are equal to it.

    >>> repeated(np.ones((2, 3))).strides
    (0, 8)
    """
    same = array.ndim and array.shape[0] and array.tobytes() == array[:1].tobytes() * len(array)
    if not same:
        return plainly(array)
    whole = np.full(array.shape, _strange(array.dtype))
    whole[:1] = array[:1]
    return np.broadcast_to(whole[:1], array.shape)


def frozen(array: Array) -> Array:
    """A copy that cannot be written to."""
    found = plainly(array)
    found.flags.writeable = False
    return found


VIEWS: Mapping[str, Callable[[Array], Array]] = {
    "reordered": reordered,
    "padded": padded,
    "backwards": backwards,
    "repeated": repeated,
    "frozen": frozen,
}
# What each is called of inputs.
WORDS: Mapping[str, str] = {
    "reordered": "strided ones",
    "padded": "ones that lie inside a larger array",
    "backwards": "ones with negative strides",
    "repeated": "ones that are broadcast views",
    "frozen": "ones that cannot be written to",
}
