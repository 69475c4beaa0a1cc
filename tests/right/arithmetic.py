"""What correct code computes in: sums in a wide type, stages stored in the type of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Form = Callable[..., Array]


@dataclass(frozen=True)
class Arithmetic:
    """`stored`: every stage is rounded to the inputs' type, as eager code does; else only outputs.

    Products are summed in float32 where the inputs have 16 bits, in their own type elsewhere.
    """

    kept: Any
    stored: bool

    @property
    def wide(self) -> Any:
        """The type that is computed in."""
        return np.float32 if np.dtype(self.kept).itemsize == 2 else np.dtype(self.kept).type

    def up(self, x: Array) -> Array:
        """An input in the type that is computed in; what is no number stays as it is."""
        return x.astype(self.wide) if isinstance(x, np.ndarray) and x.dtype.kind in "fV" else x

    def __call__(self, x: Array) -> Array:
        """A stage: stored and read again."""
        return x.astype(self.kept).astype(self.wide) if self.stored else x


def subject(form: Form, *, stored: bool) -> Form:
    """A function of arrays from a form, which takes its arithmetic first."""

    def called(first: Array, *others: Array, **named: Any) -> Any:
        arithmetic = Arithmetic(first.dtype, stored)
        up = arithmetic.up
        result = form(
            arithmetic, up(first), *map(up, others), **{n: up(x) for n, x in named.items()}
        )
        if isinstance(result, tuple):
            return tuple(part.astype(first.dtype) for part in result)
        return result.astype(first.dtype)

    return called


def turned(x: Array) -> Array:
    """The last two axes exchanged."""
    return x.swapaxes(-1, -2)


def scores(r: Arithmetic, q: Array, k: Array) -> Array:
    """Products first, the scale after them."""
    return r(r(q @ turned(k)) / r.wide(q.shape[-1] ** 0.5))


def hidden(s: Array, keep: Array | None) -> Array:
    """Scores with minus infinity where a key is not seen."""
    return s if keep is None else np.where(keep, s, s.dtype.type(-np.inf))


def top(s: Array) -> Array:
    """The largest score of each row; 0 where none is seen."""
    found = s.max(-1, keepdims=True)
    return np.where(np.isfinite(found), found, found.dtype.type(0))


def softmax(r: Arithmetic, s: Array) -> Array:
    """Shifted by the largest score."""
    e = r(np.exp(r(s - top(s))))
    return r(e / e.sum(-1, keepdims=True))


def log_sum(s: Array) -> Array:
    """The log-sum-exp of each row."""
    high = top(s)
    return high + np.log(np.exp(s - high).sum(-1, keepdims=True))


def tiles(length: int, size: int) -> list[slice]:
    """The tiles of a length; none of nothing."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
