"""Fit the scale that a subject computes, where it is none that a known bug has.

With values that are the identity an output is the weights, and their logarithms are the scores up
to a constant of each row.  Least squares on these give the scale at several numbers of channels;
what it depends on is guessed from them, and judged like any mutant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Expr, Scalar, mul, power, size_symbol
from attnverify.check.asked import asked
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Explanation
from attnverify.compare import within
from attnverify.compile import compile as compile_spec
from attnverify.inputs import Case
from attnverify.inputs.sizes import supported
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, Operator
from attnverify.transforms.mutate.scores import scale_of, width
from attnverify.transforms.mutate.sites import Stage, scale_node, stages, with_new
from attnverify.transforms.naming import name_softmaxes
from attnverify.verdict import Status

Array = NDArray[Any]

KEYS, WIDTHS = 6, (4, 9, 16)
# A fit that leaves more than this share of the scores is of something else; what is guessed from
# it is then judged under the derived bound.
LEFT, ALIKE = 1e-3, 1e-4
DENOMINATORS = (1, 2, 3, 4, 6, 8, 10, 16, 24, 32, 50, 64, 100, 128, 256, 1000, 10**4, 10**6)
FITTED = Operator("scale fitted", "the scores have another scale", lambda _: iter(()))


def fitted(search: Diagnosis) -> list[Explanation]:
    """The scale that gives the subject's answers, in place of the spec's."""
    if not search.sieves:
        return []
    near = [m for m in search.in_time(_scaled(search)) if search.passes(m)]
    return [told for m in near if (told := search.evidence_for(m)) is not None][:1]


def _scaled(search: Diagnosis) -> Iterator[Mutant]:
    spec = name_softmaxes(search.judge.spec)
    found = stages(spec)
    if len(found) != 1 or width(found[0]) is None or scale_node(found[0]) != found[0].scores.body:
        return
    measured = {w: m for w in WIDTHS if (m := _measured(search, spec, found[0], w)) is not None}
    if len(measured) == len(WIDTHS):
        yield from _guessed(spec, found[0], measured)


def _measured(
    search: Diagnosis, spec: Spec, stage: Stage, channels: int
) -> tuple[float, float] | None:
    """The scale that the subject has at a number of channels, and that of the spec."""
    case = _identity(search, spec, stage, channels)
    if case is None:
        return None
    answers = [one.answers for one in asked(search.judge, [case], backward=False)]
    if not answers or len(answers[0]) != 1:
        return None
    (weights,) = (np.asarray(a, float) for a in answers[0].values())
    heavy = compile_spec(spec.replace(outputs=(stage.name, stage.weights[0].name)))
    values = heavy(**_wide(case), **case.parameters, sizes=case.sizes)
    scores, seen = values[stage.name], values[stage.weights[0].name] > 0
    if weights.shape != scores.shape or not (weights[seen] > 0).all():
        return None
    slope = _slope(np.log(np.where(seen, weights, 1.0)), scores, seen)
    own = float(scale_of(stage).subs(dict.fromkeys(scale_of(stage).free_symbols, channels)))
    return None if slope is None else (slope * own, own)


def _identity(search: Diagnosis, spec: Spec, stage: Stage, channels: int) -> Case | None:
    """A case whose values are the identity, so that its output is the weights."""
    wanted = {"queries": KEYS, "keys": KEYS, "value_dim": KEYS, "key_dim": channels}
    whole = {axis.name: wanted.get(axis.name, 1) for axis in spec.axes}
    sizes = supported(spec, whole, search.draw.support)
    if any(sizes.get(axis) != size for axis, size in wanted.items()):
        return None
    values = [e for e in spec.inputs if _holds_values(e, stage)]
    if len(values) != 1 or scale_of(stage).free_symbols != {size_symbol("key_dim")}:
        return None
    case = search.draw.case(sizes, seed=search.seed + channels)
    name = values[0].tensor.name
    given = case.arrays[name]
    eye = np.broadcast_to(np.eye(KEYS), given.shape).astype(given.dtype)
    return replace(case, arrays={**case.arrays, name: eye})


def _holds_values(entry: Entry, stage: Stage) -> bool:
    axes = [index.axis.name for index in entry.indices[-2:]]
    return entry.tensor.kind == "real" and axes == [stage.keys[0].axis.name, "value_dim"]


def _wide(case: Case) -> dict[str, Array]:
    return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in case.arrays.items()}


def _slope(logs: Array, scores: Array, seen: Array) -> float | None:
    """The least squares slope of logarithms by scores, both less their mean over each row."""
    x, y = (_centred(values, seen) for values in (scores, logs))
    square = float((x * x).sum())
    if square == 0:
        return None
    slope = float((x * y).sum()) / square
    room = LEFT * float(np.abs(y).max())
    kept = within("fit", slope * x, y, room).status is Status.HELD
    return slope if kept and slope > 0 else None


def _centred(values: Array, seen: Array) -> Array:
    count = np.maximum(seen.sum(-1, keepdims=True), 1)
    mean = np.where(seen, values, 0).sum(-1, keepdims=True) / count
    return np.where(seen, values - mean, 0)


def _guessed(
    spec: Spec, stage: Stage, measured: dict[int, tuple[float, float]]
) -> Iterator[Mutant]:
    """A constant scale, a power of the channels, or a multiple of the spec's."""
    node, d = scale_node(stage), width(stage)
    if node is None or d is None:
        return
    own = mul(power(Scalar(scale_of(stage)), -1), node)
    first = WIDTHS[0]
    guesses: list[tuple[list[float], Callable[[Fraction], Expr], str]] = [
        (
            [got for got, _ in measured.values()],
            lambda n: mul(n, own),
            "computes scale {}",
        ),
        (
            [-math.log(got) / math.log(w) for w, (got, _) in measured.items()],
            lambda n: mul(power(d, -n), own),
            "computes scale d_k^-({})",
        ),
        (
            [got / due for got, due in measured.values()],
            lambda n: mul(n, node),
            "computes the spec's scale times {}",
        ),
    ]
    for guess, built, told in guesses:
        number = _common(guess)
        if number is not None:
            due = f"the spec says {measured[first][1]:.4g} at {first} key channels"
            shown = str(number) if number.denominator < 10 else f"{float(number):.6g}"
            sentence = f"{told.format(shown)}; {due}"
            yield Mutant(
                with_new(spec, stage.name, node, built(number)), FITTED, stage.name, sentence
            )


def _common(values: list[float]) -> Fraction | None:
    """The simplest fraction near all values, where these are one number up to rounding."""
    mean = sum(values) / len(values)
    size = max(abs(mean), ALIKE)
    if max(values) - min(values) > ALIKE * size or mean == 0:
        return None
    for most in DENOMINATORS:
        found = Fraction(mean).limit_denominator(most)
        if found and abs(float(found) - mean) <= ALIKE * size / 10:
            return found
    return None
