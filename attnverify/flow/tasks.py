"""Two tasks of memory at a distance: copying a symbol, and recalling what went with a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SYMBOLS, PAIRS, NOISE = 8, 3, 0.1
# A token has a key, a value, and a mark that says "remember this" or "now tell".
TOKEN = 2 * SYMBOLS + 1


@dataclass(frozen=True)
class Batch:
    """Tokens `source` (batch, length, TOKEN), one `query` (batch, 1, TOKEN), the due symbols."""

    source: Array
    query: Array
    answer: Array


def copying(distance: int, batch: int, rng: np.random.Generator) -> Batch:
    """The first symbol is marked; `distance` steps and other symbols later it is asked for.

    As the copying task of Hochreiter and Schmidhuber 1997, section 5.4, in one symbol.

    >>> copying(3, 2, np.random.default_rng(0)).source.shape
    (2, 3, 17)
    """
    shown = rng.integers(SYMBOLS, size=(batch, distance))
    source = np.zeros((batch, distance, TOKEN))
    np.put_along_axis(source, SYMBOLS + shown[..., None], 1.0, axis=-1)
    source[:, 0, -1] = 1.0
    return Batch(source, _asking(batch), shown[:, 0])


def recall(distance: int, batch: int, rng: np.random.Generator) -> Batch:
    """Some pairs of key and value, noise, then one of the keys: its value is asked for.

    Associative recall (Graves et al. 2014, section 4.3), the last pair `distance` steps back.

    >>> recall(3, 2, np.random.default_rng(0)).source.shape
    (2, 5, 17)
    """
    rows = np.arange(batch)
    keys = rng.permuted(np.tile(np.arange(SYMBOLS), (batch, 1)), axis=1)[:, :PAIRS]
    values = rng.integers(SYMBOLS, size=(batch, PAIRS))
    source = NOISE * rng.standard_normal((batch, PAIRS + distance - 1, TOKEN))
    source[:, :PAIRS] = 0.0
    np.put_along_axis(source[:, :PAIRS], keys[..., None], 1.0, axis=-1)
    np.put_along_axis(source[:, :PAIRS], SYMBOLS + values[..., None], 1.0, axis=-1)
    asked = rng.integers(PAIRS, size=batch)
    query = _asking(batch)
    query[rows, 0, keys[rows, asked]] = 1.0
    return Batch(source, query, values[rows, asked])


def _asking(batch: int) -> Array:
    query = np.zeros((batch, 1, TOKEN))
    query[..., -1] = 1.0
    return query


TASKS: Mapping[str, Callable[[int, int, np.random.Generator], Batch]] = {
    "copying": copying,
    "associative recall": recall,
}
