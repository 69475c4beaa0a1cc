"""Attention in plain loops, in extended precision: what references for specs are written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.spec import Spec
from tests.drawn import arrays
from tests.specs.reference import computed

Array = NDArray[Any]
Arrays = Mapping[str, Array]
LONG = np.longdouble


def softmax(scores: Sequence[Any]) -> list[Any]:
    """The exp of each over the sum of exps; nothing where there is nothing."""
    grown = [np.exp(LONG(s) - LONG(max(scores))) for s in scores]
    return [g / sum(grown) for g in grown]


def weigh(seen: Sequence[Any], scores: Sequence[Any], values: Sequence[Array], c: int) -> Array:
    """The sum of values by the softmax of scores, where `seen` holds; 0 where it never does."""
    kept = [n for n, keep in enumerate(seen) if keep]
    out = np.zeros(c, LONG)
    for n, weight in zip(kept, softmax([scores[n] for n in kept]) if kept else [], strict=True):
        out = out + weight * values[n]
    return out


def attend(
    q: Array, k: Array, v: Array, score: Callable[[Array, Array], Any], seen: Any = None
) -> Array:
    """Rows of q against rows of k: the mean of v by softmax of `score`, where `seen(i, j)`."""
    return np.stack(
        [
            weigh(
                [seen is None or seen(i, j) for j in range(len(k))],
                [score(row, key) for key in k],
                list(v),
                v.shape[-1],
            )
            for i, row in enumerate(q)
        ]
    )


def scaled(q: Array, k: Array) -> Any:
    """The dot product over the root of the width."""
    return q @ k / np.sqrt(LONG(len(q)))


def heads(q: Array, k: Array, v: Array, seen: Any = None) -> Array:
    """Scaled attention for each batch entry and head."""
    return np.array(
        [
            [attend(q[b, h], k[b, h], v[b, h], scaled, seen) for h in range(q.shape[1])]
            for b in range(q.shape[0])
        ]
    )


def long(given: Arrays) -> dict[str, Array]:
    """Real arrays in extended precision, others as they are."""
    return {n: a.astype(LONG) if a.dtype.kind == "f" else a for n, a in given.items()}


def given(spec: Spec, sizes: Mapping[str, int], seed: int = 5) -> dict[str, Array]:
    """Arrays for a spec at sizes by axis name."""
    return arrays(spec, np.random.default_rng(seed), sizes)


def expect(spec: Spec, inputs: Arrays, due: Array, name: str = "O") -> None:
    """The compiled output is what the reference computed."""
    verdict = computed(spec, inputs).against(name, due)
    assert verdict.status.value == "HELD", verdict.detail
