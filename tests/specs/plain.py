"""Attention in plain loops, written from the papers: what composed specs are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Row = Sequence[float]


@dataclass(frozen=True)
class Place:
    """Where a score stands, and the arrays and numbers of the case."""

    b: int
    h: int
    i: int
    j: int
    given: dict[str, Any]

    @property
    def n_q(self) -> int:
        return int(self.given["Q"].shape[-2])

    @property
    def n_k(self) -> int:
        return int(self.given["K"].shape[-2])

    @property
    def heads(self) -> int:
        return int(self.given["Q"].shape[1])

    @property
    def q(self) -> Array:
        return np.asarray(self.given["Q"][self.b, self.h, self.i])

    def k(self, head: int) -> Array:
        keys = self.given["K"]
        return np.asarray(keys[self.b, self.j] if keys.ndim == 3 else keys[self.b, head, self.j])


def softmax(scores: Row, _: Place) -> Row:
    top = max(scores)
    grown = [math.exp(s - top) for s in scores]
    return [g / sum(grown) for g in grown]


def scaled(at: Place) -> float:
    return float(at.q @ at.k(at.h)) / math.sqrt(at.q.size)


@dataclass(frozen=True)
class Plain:
    """One variant: which keys a query sees, their scores, the weights of a row, the shared head."""

    keep: Callable[[Place], bool] = lambda _: True
    score: Callable[[Place], float] = scaled
    weights: Callable[[Row, Place], Row] = softmax
    head: Callable[[int, Place], int] = lambda h, _: h
    empty: Callable[[Array], Any] = lambda values: np.zeros(values.shape[-1])
    choose: Callable[[Sequence[int], Row], Sequence[int]] = lambda seen, _: seen
    told: dict[str, Any] = field(default_factory=dict)

    def run(self, given: dict[str, Any]) -> Array:
        """The output, row by row."""
        batch, heads, n_q, _ = given["Q"].shape
        out = np.zeros((batch, heads, n_q, given["V"].shape[-1]))
        for b, h, i in np.ndindex(batch, heads, n_q):
            out[b, h, i] = self.row(b, h, i, given)
        return out

    def row(self, b: int, h: int, i: int, given: dict[str, Any]) -> Any:
        values = given["V"]
        first = Place(b, h, i, 0, given)
        values = values[b] if values.ndim == 3 else values[b, self.head(h, first)]
        places = [Place(b, h, i, j, given) for j in range(values.shape[0])]
        seen = [at.j for at in places if self.keep(at)]
        scores = [self.score(places[j]) for j in seen]
        kept = self.choose(seen, scores)
        if not kept:
            return self.empty(values)
        weights = self.weights([scores[seen.index(j)] for j in kept], first)
        return sum(w * values[j] for w, j in zip(weights, kept, strict=True))
