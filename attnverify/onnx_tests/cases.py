"""Cases worth keeping: signed draws that tell wrong attentions from right ones, with their bounds.

ONNX compares with one relative and one absolute tolerance. Both are derived here from the bound of
every entry, and a case is kept for the faults that it shows under them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Apply, Entry, Softmax
from attnverify.compare import WIDTHS, Due, excess
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.dtypes import float_type
from attnverify.equations import Equation
from attnverify.inputs import Case, Draw, Support
from attnverify.inputs.entries import STYLES
from attnverify.inputs.sizes import scheduled
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.transforms.naming import name_softmaxes

Array = NDArray[Any]
Values = Mapping[str, Array]
# Sizes of these rounds of the schedule: unequal, and small enough to read.
LEVELS = (3, 4)
# Outputs beyond it are left to where nothing else shows as much: states grow with every step.
LARGE = 1e3
# So many draws are looked at for each case that is kept.
DRAWS = 8


@dataclass(frozen=True)
class Kept:
    """One case: its inputs and outputs in the spec's axis order, tolerances, the faults it shows.

    `tolerances` has the relative and the absolute one of each output, `bounds` what every entry may
    stray; `styles` says how the case was drawn.
    """

    case: Case
    outputs: Values
    bounds: Values
    tolerances: Mapping[str, tuple[float, float]]
    shows: tuple[str, ...]

    @property
    def tame(self) -> bool:
        """Whether no output is large."""
        wide = (np.asarray(array, np.float64) for array in self.outputs.values())
        return all(bool((np.abs(a[np.isfinite(a)]) < LARGE).all()) for a in wide)


class Cases:
    """Draws of one spec in one type, the most telling first."""

    def __init__(self, spec: Spec, dtype: str, support: Support, internal: str | None) -> None:
        self.spec, self.dtype = spec, float_type(dtype)
        masked = Draw(spec, dtype=dtype).masked
        # A row that sees no key is defined: it gives zeros.
        self.draw = Draw(spec, dtype=dtype, support=support, empty=masked)
        self.support = support
        self.rounding = Rounding(spec, dtype, internal=internal)
        self.right = compile_spec(spec)
        self.wrong = _wrong(spec)

    def kept(self, count: int, seed: int) -> list[Kept]:
        """The `count` draws that show most faults, in the order in which they were drawn."""
        found: list[Kept] = []
        whole = len(self.wrong)
        for one in self._drawn(count * DRAWS, seed):
            found.append(one)
            if sum(each.tame and len(each.shows) == whole for each in found) == count:
                break
        best = sorted(found, key=lambda one: (not one.tame, -len(one.shows)))[:count]
        return [one for one in found if any(one is each for each in best)]

    def _drawn(self, count: int, seed: int) -> Iterator[Kept]:
        rng = np.random.default_rng([seed, 23])
        styles = list(STYLES)
        for number in range(count):
            sizes = scheduled(self.spec, LEVELS[number % len(LEVELS)], rng, self.support)
            case = self.draw.case(
                self.draw.with_room(sizes),
                seed=int(rng.integers(2**31)),
                style=styles[number % len(styles)],
            )
            expected = self.rounding.expected(case.arrays, {}, case.seed, case.sizes)
            if not expected.reason:
                yield self._told(case, expected.dues)

    def _told(self, case: Case, dues: Mapping[str, Due]) -> Kept:
        """A case with what a comparison as ONNX makes it lets through and what it does not."""
        stored = {n: due.value.astype(self.dtype.numpy) for n, due in dues.items()}
        bounds = {n: _bound(due, stored[n]) for n, due in dues.items()}
        pairs = {n: tolerances(stored[n], bounds[n]) for n in stored}
        loosest = tuple(max(pair[side] for pair in pairs.values()) for side in (0, 1))
        allowed = {n: _allowed(array, loosest, dues[n].axes) for n, array in stored.items()}
        arrays = {n: _wide(a) for n, a in case.arrays.items()}
        shows = tuple(
            name
            for name, change in self.wrong.items()
            if _outside(change(arrays, case.sizes), allowed)
        )
        return Kept(case, stored, bounds, pairs, shows)


def tolerances(value: Array, bound: Array) -> tuple[float, float]:
    """The relative and the absolute tolerance that let every entry stray as far as its bound.

    The absolute one is the relative one of an entry of the output's root mean square, so that one
    number follows from the bounds. Entries that are not finite have none.

    >>> tolerances(np.array([3.0, 4.0]), np.array([1e-6, 2e-6]))[0] > 2e-7
    True
    """
    wide = np.asarray(value, np.float64)
    finite = np.isfinite(wide)
    size = np.abs(wide[finite])
    if not size.size or not bound[finite].any():
        return 0.0, 0.0
    scale = float(np.sqrt(np.mean(size**2))) or float(bound[finite].max())
    relative = float(np.max(bound[finite] / (size + scale)))
    return relative, relative * scale


def _bound(due: Due, stored: Array) -> Array:
    """How far from what is stored an entry may be: as rounding may move it, and as storing did."""
    with np.errstate(invalid="ignore"):
        moved = np.abs(np.asarray(stored, due.value.dtype) - due.value)
    moved = np.where(np.isfinite(due.value), moved, 0)
    return np.asarray(WIDTHS * due.sigma + moved, np.float64)


def _allowed(value: Array, pair: tuple[float, ...], axes: tuple[str, ...]) -> Due:
    """What a comparison by a relative and an absolute tolerance lets through."""
    wide = np.asarray(value, np.float64)
    allowed = pair[1] + pair[0] * np.abs(np.where(np.isfinite(wide), wide, 0))
    return Due(wide, allowed / WIDTHS, axes)


def _outside(found: Values, allowed: Mapping[str, Due]) -> bool:
    ratios = (excess(found[name], due) for name, due in allowed.items())
    return any(ratio is not None and bool((ratio > 1).any()) for ratio in ratios)


Change = Callable[[Values, Mapping[str, int]], Values]


def _wrong(spec: Spec) -> dict[str, Change]:
    """Wrong attentions by name: without the sign of an input, or of the scores."""
    right = compile_spec(spec)
    real = [entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real"]
    found = {f"|{name}|": _unsigned(right, name) for name in real}
    named = name_softmaxes(spec)
    for entry in _scores(named):
        for words, kind in (("|{}|", "absolute"), ("relu({})", "relu")):
            oracle = compile_spec(_wrapped(named, entry, kind))
            found[words.format(entry.tensor.name)] = _of(oracle)
    return found


def _scores(spec: Spec) -> list[Entry]:
    """The tensors of scores that a softmax reads and an equation gives."""
    given = {s.name for s in spec.equations if isinstance(s, Equation)}
    read = [body.score for body in spec.expressions() if isinstance(body, Softmax)]
    found = [s for s in read if isinstance(s, Entry) and s.tensor.name in given]
    return list({entry.tensor.name: entry for entry in found}.values())


def _wrapped(spec: Spec, entry: Entry, kind: str) -> Spec:
    """The spec with the scores under an elementwise function."""
    equations = tuple(
        Equation(s.head, Apply(kind, (s.body,)))
        if isinstance(s, Equation) and s.name == entry.tensor.name
        else s
        for s in spec.equations
    )
    return spec.replace(equations=equations)


def _of(oracle: Oracle) -> Change:
    return lambda arrays, sizes: oracle(**arrays, sizes=sizes)


def _unsigned(oracle: Oracle, name: str) -> Change:
    return lambda arrays, sizes: oracle(**{**arrays, name: np.abs(arrays[name])}, sizes=sizes)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind in "fV" else array
