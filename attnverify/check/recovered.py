"""The weights that a subject computes: with values that are the identity, an output is these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry
from attnverify.check.asked import asked
from attnverify.check.diagnose import Diagnosis
from attnverify.compare import within
from attnverify.compile import compile as compile_spec
from attnverify.inputs import Case
from attnverify.inputs.sizes import supported
from attnverify.spec import Spec
from attnverify.transforms.mutate.sites import Stage, stages
from attnverify.transforms.naming import name_softmaxes
from attnverify.verdict import Status

Array = NDArray[Any]
# A fit that leaves more than this share of the scores is of something else; what is guessed from
# it is then judged under the derived bound.
LEFT = 1e-3


@dataclass(frozen=True)
class Recovered:
    """Weights of a subject, and where the spec's are not zero; rows and keys are the last axes."""

    spec: Spec
    stage: Stage
    case: Case
    weights: Array
    seen: Array

    def scores(self, spec: Spec | None = None) -> Array:
        """The scores that a spec has of the case: its own, or another of the same name."""
        oracle = compile_spec((spec or self.spec).replace(outputs=(self.stage.name,)))
        arrays = _wide(self.case)
        found = oracle(**arrays, **self.case.parameters, sizes=self.case.sizes)
        return np.asarray(found[self.stage.name])

    @property
    def logarithms(self) -> Array | None:
        """The subject's scores up to a constant of each row; None where keys are not seen alike."""
        if not (self.weights[self.seen] > 0).all():
            return None
        return np.log(np.where(self.seen, self.weights, 1.0))

    def centred(self, values: Array) -> Array:
        """Values less their mean over the keys that each row sees."""
        count = np.maximum(self.seen.sum(-1, keepdims=True), 1)
        mean = np.where(self.seen, values, 0).sum(-1, keepdims=True) / count
        return np.where(self.seen, values - mean, 0)

    def slope(self, scores: Array, rest: Array | float = 0.0) -> float | None:
        """What the subject's scores without a rest are as a multiple of others; None of neither."""
        logarithms = self.logarithms
        if logarithms is None:
            return None
        x, y = self.centred(scores), self.centred(logarithms - rest)
        square = float((x * x).sum())
        found = float((x * y).sum()) / square if square else 0.0
        room = LEFT * float(np.abs(y).max(initial=0.0))
        kept = square and within("fit", found * x, y, room).status is Status.HELD
        return found if kept else None


def staged(search: Diagnosis) -> tuple[Spec, Stage] | None:
    """The spec with its softmax named, and its stage; None where it has not just one."""
    spec = name_softmaxes(search.judge.spec)
    found = stages(spec)
    one = len(found) == 1 and len(found[0].rows) == 1 and len(found[0].keys) == 1
    return (spec, found[0]) if one and found[0].weights else None


def recovered(
    search: Diagnosis,
    sizes: Mapping[str, int],
    seed: int,
    parameters: Mapping[str, Any] | None = None,
    grown: float = 1.0,
) -> Recovered | None:
    """The weights of a subject on a case of some sizes; None where they cannot be had.

    The first input is `grown` times as large as it is drawn.
    """
    found = staged(search)
    if found is None or len(search.judge.subject.plan.judged) != 1:
        return None
    spec, stage = found
    case = _identity(search, stage, sizes, seed, parameters or {})
    if case is not None:
        first = spec.inputs[0].tensor.name
        large = (case.arrays[first] * grown).astype(case.arrays[first].dtype)
        case = replace(case, arrays={**case.arrays, first: large})
    answers = [*asked(search.judge, [case], backward=False)] if case is not None else []
    if case is None or not answers:
        return None
    (weights,) = (np.asarray(a, float) for a in answers[0].answers.values())
    heavy = compile_spec(spec.replace(outputs=(stage.weights[0].name,)))
    (own,) = heavy(**_wide(case), **case.parameters, sizes=case.sizes).values()
    if own.shape != weights.shape:
        return None
    return Recovered(spec, stage, case, weights, own > 0)


def _identity(
    search: Diagnosis,
    stage: Stage,
    wanted: Mapping[str, int],
    seed: int,
    parameters: Mapping[str, Any],
) -> Case | None:
    """A case whose values are the identity, so that its output is the weights."""
    spec, key = stage.spec, stage.keys[0].axis.name
    length = wanted.get(key, 1)
    whole = {axis.name: wanted.get(axis.name, 1) for axis in spec.axes} | {"value_dim": length}
    sizes = supported(spec, whole, search.draw.support)
    values = [e for e in spec.inputs if _holds_values(e, stage)]
    due = {**wanted, "value_dim": length}
    if len(values) != 1 or any(sizes.get(axis) != size for axis, size in due.items()):
        return None
    case = search.draw.case(sizes, seed=seed, parameters=parameters)
    name = values[0].tensor.name
    given = case.arrays[name]
    eye = np.broadcast_to(np.eye(length), given.shape).astype(given.dtype)
    return replace(case, arrays={**case.arrays, name: eye})


def _holds_values(entry: Entry, stage: Stage) -> bool:
    axes = [index.axis.name for index in entry.indices[-2:]]
    return entry.tensor.kind == "real" and axes == [stage.keys[0].axis.name, "value_dim"]


def _wide(case: Case) -> dict[str, Array]:
    return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in case.arrays.items()}


def several(
    search: Diagnosis,
    sizes: Mapping[str, tuple[int, ...]],
    parameters: Mapping[str, tuple[Any, ...]],
    grown: float = 1.0,
) -> Iterator[Recovered | None]:
    """Weights on several cases, which take the sizes and the parameters in step."""
    count = max(len(values) for values in (*sizes.values(), *parameters.values()))
    for n in range(count):
        own = {axis: values[n % len(values)] for axis, values in sizes.items()}
        told = {name: values[n % len(values)] for name, values in parameters.items()}
        yield recovered(search, own, search.seed + n, told, grown)
