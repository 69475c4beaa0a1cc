"""The program with one fault in it: a scale that is off, a key too many or too few, a lost row.

What a comparison would have caught is told by what such a fault does to the values due; the way in
which a wrong scale moves them is what small errors are projected on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.predicates import Holds
from attnverify.algebra.rewrite import rename_in
from attnverify.algebra.terms import Entry, Softmax, Tensor, Threshold, indicator, mul
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.equations import Equation, Recurrence, Statement, equations_of
from attnverify.inputs.entries import shape_of
from attnverify.inputs.sizes import CHANNELS, FEW
from attnverify.rounding.masked import Written, written_mask
from attnverify.rounding.parts import joint
from attnverify.rounding.unscored import unscored
from attnverify.spec import Spec
from attnverify.transforms.naming import name_softmaxes, unused

Array: TypeAlias = NDArray[Any]
Found: TypeAlias = "dict[str, Array] | None"

# The slope by differences to both sides errs by about the square of this.
STEP = 2.0**-12


@dataclass(frozen=True)
class Given:
    """One case: its arrays in float64, cotangents among them, its parameters and sizes."""

    arrays: Mapping[str, Array]
    parameters: Mapping[str, Any]
    sizes: Mapping[str, int]


class Altered:
    """A spec's outputs and, with `backward`, its gradients by every real input, with a fault.

    A fault that a spec or a case has no place for gives None.  Keys are those of its first softmax
    over keys; where it has none, a key is one position of its last input along a sequence.

    >>> from attnverify import load
    >>> Altered(load("global")).temper, Altered(load("linear")).temper
    ('the scores', 'Q')
    """

    def __init__(self, spec: Spec, *, backward: bool = False) -> None:
        named = name_softmaxes(spec)
        taken = set(named.heads)
        self.spec, self._names = spec, [unused(n, taken) for n in ("temper", "hidden", "shown")]
        scores = _scores(named)
        self._real = [e.tensor.name for e in spec.inputs if e.tensor.kind == "real"]
        self._unscored = unscored(named, scores)
        self.temper = "the scores" if scores else self._real[0] if self._real else ""
        self._tempered, self._weights = bool(scores), _weights(named)
        self._mask = None if self._weights else written_mask(named)
        changed = _with_faults(named, scores, self._weights, self._names)
        if self._mask is not None:
            changed = _with_leak(changed, self._mask, self._names[2])
        whole = joint(changed, self._real) if backward else changed
        self.outputs = whole.outputs
        self._seeds = whole.inputs[len(changed.inputs) :]
        self._oracle = compile_spec(whole)
        self._seen = None if self._weights is None else _seen(named, self._weights, taken)
        self._shown = None if self._mask is None else _shown(named, self._mask, taken)

    def right(self, given: Given) -> dict[str, Array]:
        """The values without a fault."""
        return self._run(given)

    def scaled(self, given: Given, factor: float) -> Found:
        """The values where the scale of the scores, or else of the first input, is off."""
        if self._tempered:
            return self._run(given, factor=factor)
        if not self.temper:
            return None
        scaled = {**given.arrays, self.temper: given.arrays[self.temper] * factor}
        found = self._run(replace(given, arrays=scaled))
        # The gradient by what is scaled is carried through the scale.
        own = self._gradients().get(self.temper)
        return {n: a * factor if n == own else a for n, a in found.items()}

    def slope(self, given: Given) -> Found:
        """The derivative of every value by the logarithm of that scale."""
        ahead, behind = self.scaled(given, 1 + STEP), self.scaled(given, 1 - STEP)
        if ahead is None or behind is None:
            return None
        return {n: (ahead[n] - behind[n]) / (2 * STEP) for n in ahead}

    def leaked(self, given: Given, rng: np.random.Generator) -> Found:
        """The values where one row that sees a key sees one more, which the mask hides."""
        if self._mask is not None and self._shown is not None:
            own = {e.tensor.name: given.arrays[e.tensor.name] for e in self.spec.inputs}
            (found,) = self._shown(**own, **given.parameters, sizes=given.sizes).values()
            open_ = np.asarray(found) != 0
            one = _any(~open_ & open_.any(self._mask.keys, keepdims=True), rng)
            return None if one is None else self._run(given, shown=one)
        seen = self._places(given)
        if seen is None:
            return None
        place = _any(~seen & seen.any(-1, keepdims=True), rng)
        return None if place is None else self._run(given, shown=place)

    def dropped(self, given: Given, rng: np.random.Generator) -> Found:
        """The values where one row misses one of several keys that it sees.

        Of outputs that no score reaches, as a cache for the next step: where all inputs miss one.
        """
        if self._weights is None:
            return self._position_lost(given, rng)
        found: dict[str, Array] = {}
        seen = self._places(given)
        if seen is not None:
            place = _any(seen & (seen.sum(-1, keepdims=True) > 1), rng)
            found = {} if place is None else self._run(given, hidden=place)
        if self._unscored:
            lost = self._run(replace(given, arrays=self._all_lost(given, rng)))
            found |= {name: lost[name] for name in self._unscored}
        return found or None

    def _all_lost(self, given: Given, rng: np.random.Generator) -> dict[str, Array]:
        """The arrays, one position of every real input along a sequence read as zero."""
        changed = dict(given.arrays)
        for entry in self.spec.inputs:
            name = entry.tensor.name
            if name in self._real and _rows(entry) and changed[name].size:
                changed[name] = changed[name].copy()
                changed[name][_one(entry, changed[name].shape, rng)] = 0
        return changed

    def without_row(self, given: Given, rng: np.random.Generator) -> Found:
        """The gradients that one row of the outputs gives nothing to; None without gradients."""
        seeds = {e.tensor.name: given.arrays[e.tensor.name].copy() for e in self._seeds}
        told = [e for e in self._seeds if _rows(e) and seeds[e.tensor.name].size]
        if not told:
            return None
        for entry in told:
            cotangent = seeds[entry.tensor.name]
            cotangent[_one(entry, cotangent.shape, rng)] = 0
        found = self._run(replace(given, arrays={**given.arrays, **seeds}))
        return {n: found[n] for n in self.outputs[len(self.spec.outputs) :]}

    def _position_lost(self, given: Given, rng: np.random.Generator) -> Found:
        """The values where one position of the last input along a sequence is read as zero."""
        long = [e for e in self.spec.inputs if e.tensor.name in self._real and _rows(e)]
        if not long or not given.arrays[long[-1].tensor.name].size:
            return None
        name = long[-1].tensor.name
        lost = given.arrays[name].copy()
        place = _one(long[-1], lost.shape, rng)
        lost[place] = 0
        found = self._run(replace(given, arrays={**given.arrays, name: lost}))
        own = self._gradients().get(name)
        if own is not None:
            found[own] = found[own].copy()
            found[own][place] = 0
        return found

    def _gradients(self) -> dict[str, str]:
        """The output that holds the gradient by each real input."""
        return dict(zip(self._real, self.outputs[len(self.spec.outputs) :], strict=False))

    def _places(self, given: Given) -> Array | None:
        """Where rows of the weights see keys, the keys last; None where there are no places."""
        if self._seen is None or self._weights is None:
            return None
        own = {e.tensor.name: given.arrays[e.tensor.name] for e in self.spec.inputs}
        (found,) = self._seen(**own, **given.parameters, sizes=given.sizes).values()
        seen = np.moveaxis(np.asarray(found) != 0, self._along, -1)
        return seen if seen.size else None

    @property
    def _along(self) -> int:
        """Which dimension of the weights runs along the keys."""
        head, body = self._weights or (None, None)
        return head.places.index(body.at) if head is not None and body is not None else -1

    def _run(
        self,
        given: Given,
        factor: float = 1.0,
        hidden: Array | None = None,
        shown: Array | None = None,
    ) -> dict[str, Array]:
        further: dict[str, Array] = {}
        if self._tempered:
            further[self._names[0]] = np.asarray(factor)
        if self._weights is not None:
            shape = shape_of(self._weights[0], given.sizes)
            for name, place in zip(self._names[1:], (hidden, shown), strict=True):
                none = np.zeros(shape, bool)
                further[name] = none if place is None else np.moveaxis(place, -1, self._along)
        elif self._mask is not None:
            shape = shape_of(self._mask.head, given.sizes)
            further[self._names[2]] = np.zeros(shape, bool) if shown is None else shown
        given_arrays = {**given.arrays, **further}
        return self._oracle(**given_arrays, **given.parameters, sizes=given.sizes)


def _scores(spec: Spec) -> set[str]:
    """The equations that give the scores of softmaxes and thresholds."""
    assigned = {e.name for s in spec.equations for e in equations_of(s)}
    return assigned & {
        body.score.tensor.name
        for body in spec.expressions()
        if isinstance(body, Softmax | Threshold) and isinstance(body.score, Entry)
    }


def _weights(spec: Spec) -> tuple[Entry, Softmax] | None:
    """The head and the body of the first softmax that an equation assigns whole."""
    for statement in spec.equations:
        body = statement.body if isinstance(statement, Equation) else None
        if (
            isinstance(statement, Equation)
            and isinstance(body, Softmax)
            and body.at in statement.head.places
        ):
            return statement.head, body
    return None


def _with_faults(
    spec: Spec, scores: set[str], weights: tuple[Entry, Softmax] | None, names: list[str]
) -> Spec:
    """The spec with a factor on its scores, and with places of its weights to hide and to show."""
    factor, hidden, shown = names
    temper = Entry(Tensor(factor), ())
    inputs = [temper] if scores else []

    def change(equation: Equation) -> Equation:
        if equation.name in scores:
            return Equation(equation.head, mul(temper, equation.body))
        if weights is None or equation.head != weights[0]:
            return equation
        head, body = weights
        at = tuple(body.over if place == body.at else place for place in head.places)
        inputs.extend(Entry(Tensor(name, "bool"), head.places) for name in (hidden, shown))
        off, on = (Holds(Entry(Tensor(name, "bool"), at)) for name in (hidden, shown))
        return Equation(head, replace(body, where=(body.where & ~off) | on))

    def changed(statement: Statement) -> Statement:
        if isinstance(statement, Recurrence):
            return replace(statement, steps=tuple(map(change, statement.steps)))
        return change(statement)

    equations = tuple(map(changed, spec.equations))
    return spec.replace(inputs=(*spec.inputs, *inputs), equations=equations)


def _with_leak(spec: Spec, mask: Written, name: str) -> Spec:
    """The spec with places that a written mask shows beside its own."""
    place = Entry(Tensor(name, "bool"), mask.head.places)

    def changed(statement: Statement) -> Statement:
        if isinstance(statement, Recurrence):
            return statement
        return Equation(statement.head, mask.with_shown(statement.body, name))

    equations = tuple(map(changed, spec.equations))
    return spec.replace(inputs=(*spec.inputs, place), equations=equations)


def _shown(spec: Spec, mask: Written, taken: set[str]) -> Oracle:
    """The compiled mask that is written as an indicator."""
    place = Entry(Tensor(unused("seen", taken)), mask.head.places)
    equations = (*spec.equations, Equation(place, indicator(mask.where)))
    return compile_spec(spec.replace(equations=equations, outputs=(place.tensor.name,)))


def _seen(spec: Spec, weights: tuple[Entry, Softmax], taken: set[str]) -> Oracle:
    """The compiled mask of the weights, 1 where a row sees a key."""
    head, body = weights
    place = Entry(Tensor(unused("seen", taken)), head.places)
    shown = Equation(place, indicator(rename_in(body.where, {body.over: body.at})))
    outputs = (place.tensor.name,)
    return compile_spec(spec.replace(equations=(*spec.equations, shown), outputs=outputs))


def _rows(entry: Entry) -> bool:
    """Whether an array has an axis along a sequence: neither one of few nor of channels."""
    return any(index.axis.name not in (*FEW, *CHANNELS) for index in entry.indices)


def _one(entry: Entry, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Any, ...]:
    """One row of an array: a position on each axis but those of channels."""
    kept = [
        all(i.axis.name in CHANNELS for i in (place if isinstance(place, tuple) else (place,)))
        for place in entry.places
    ]
    return tuple(
        slice(None) if whole else int(rng.integers(size))
        for whole, size in zip(kept, shape, strict=True)
    )


def _any(places: Array, rng: np.random.Generator) -> Array | None:
    """One of the places that are true, drawn; None where there is none."""
    flat = np.flatnonzero(places)
    if not flat.size:
        return None
    one = np.zeros(places.shape, bool)
    one.flat[int(rng.choice(flat))] = True
    return one
