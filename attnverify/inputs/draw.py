"""Draw cases for a spec: sizes, parameters, arrays and cotangents, reproducible from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.predicates import TRUE
from attnverify.algebra.rewrite import free_in, walk
from attnverify.algebra.terms import Entry, Index, Indicator, Softmax, Tensor, Threshold, total
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.compile.lower import lower
from attnverify.compile.recipe import label_axis
from attnverify.dtypes import FloatType, float_type
from attnverify.equations import Equation, Recurrence
from attnverify.inputs.corners import CORNERS, Corner
from attnverify.inputs.entries import (
    COTANGENT_STYLES,
    STYLES,
    Site,
    real_entries,
    shape_of,
    structure_entries,
)
from attnverify.inputs.sizes import (
    CHANNELS,
    FEW,
    ROUNDS,
    Support,
    parameter_value,
    scheduled,
    supported,
)
from attnverify.spec import Spec

Array = NDArray[Any]

# Bounds come from dozens of runs at once, so intermediate arrays are kept below this many entries.
ENTRIES = 2**17
# A corner adds to what the schedule costs, and a loop pays for its steps one by one.
CORNER_ENTRIES = 2**16
CORNER_STEPS = 66
# Shares of a mask that are kept, tried in turn until every row sees a key.
KEPT = (0.6, 0.6, 0.9, 1.1)


@dataclass(frozen=True)
class Case:
    """One drawn case: arrays in the spec's axis order, cotangents by output, how it came about."""

    sizes: Mapping[str, int]
    parameters: Mapping[str, Any]
    # A case is named by how it came about; its numbers would fill pages.
    arrays: Mapping[str, Array] = field(repr=False)
    cotangents: Mapping[str, Array] = field(repr=False)
    style: str = "normal"
    seed: int = 0
    empty: bool = False

    def converted(self, dtype: str) -> Case:
        """The same case with its real arrays rounded to another type."""
        to = float_type(dtype).numpy
        return replace(
            self,
            arrays={n: a.astype(to) if a.dtype.kind in "fV" else a for n, a in self.arrays.items()},
            cotangents={n: a.astype(to) for n, a in self.cotangents.items()},
        )


class Draw:
    """Draws cases for one spec.

    `support` says which sizes a subject takes; `empty` allows rows that see no key; `types` has the
    inputs of another float type.

    >>> from attnverify import load
    >>> case = Draw(load("causal")).case({"queries": 2, "keys": 3}, seed=1)
    >>> case.arrays["K"].shape
    (1, 1, 3, 1)
    """

    def __init__(
        self,
        spec: Spec,
        *,
        dtype: str = "float64",
        support: Support | None = None,
        empty: bool = False,
        types: Mapping[str, FloatType] | None = None,
    ) -> None:
        self.spec, self.dtype, self.empty = spec, float_type(dtype).name, empty
        self.types = types or {}
        self.support: Support = support or {}
        self._rows = _row_counter(spec)
        self._recipe = lower(spec)

    def case(
        self,
        sizes: Mapping[str, int],
        *,
        seed: int,
        style: str = "normal",
        parameters: Mapping[str, Any] | None = None,
        masks: str = "scattered",
    ) -> Case:
        """One case of these sizes; axes that are not named have size one.

        `masks` is the form of boolean inputs: "scattered", "left" or "right" where leading or
        trailing places are hidden, "one" where a row keeps a single place.
        """
        whole = self.spec.fitted({a.name: int(sizes.get(a.name, 1)) for a in self.spec.axes})
        rng = np.random.default_rng([seed, *whole.values()])
        chosen = {p.name: parameter_value(p, whole, rng) for p in self.spec.parameters}
        chosen.update(parameters or {})
        arrays = real_entries(self.spec, whole, style, self.dtype, rng, types=self.types)
        cotangents = self._cotangents(whole, style, rng)
        for keep in KEPT:
            # Where the form itself leaves a row empty, the last attempt hides nothing.
            form = masks if keep < 1 else "scattered"
            drawn = structure_entries(self.spec, whole, rng, keep, empty=self.empty, form=form)
            found = Case(whole, chosen, {**arrays, **drawn}, cotangents, style, seed)
            if self.empty or not self.rows_without_keys(found):
                break
        return replace(
            found, arrays=self._ordered(found.arrays), empty=self.rows_without_keys(found)
        )

    def schedule(self, seed: int = 0, count: int = 24) -> Iterator[Case]:
        """`count` cases, small to large, styles in turn; without `empty`, each row sees a key."""
        rng = np.random.default_rng([seed, 77])
        styles = list(STYLES)
        for number in range(count):
            level = number * len(ROUNDS) // count
            for attempt in range(6):
                sizes = scheduled(self.spec, level, rng, self.support)
                if attempt > 2:
                    sizes = self._square(sizes)
                sizes = self.with_room(sizes)
                found = self.case(
                    sizes, seed=int(rng.integers(2**31)), style=styles[number % len(styles)]
                )
                if self.empty or not found.empty:
                    yield found
                    break

    def corners(self, seed: int = 0) -> Iterator[Case]:
        """One case for each corner; without `empty`, each row sees a key.

        A spec with a recurrence has none of the long ones.
        """
        loops = any(isinstance(statement, Recurrence) for statement in self.spec.equations)
        for number, corner in enumerate(CORNERS):
            if loops and max(corner.lengths) > CORNER_STEPS:
                continue
            found = self.cornered(corner, seed + number)
            if self.empty or not found.empty:
                yield found

    def cornered(self, corner: Corner, seed: int) -> Case:
        """The case of a corner, its lengths made equal where a row would see no key."""
        wanted = supported(self.spec, corner.sizes(self.spec), self.support)
        for sizes in (wanted, self._square(wanted)):
            found = self.case(
                self.with_room(dict(sizes), CORNER_ENTRIES),
                seed=seed,
                style=corner.style,
                masks=corner.masks,
            )
            if self.empty or not found.empty:
                break
        return found

    def _entries(self, sizes: Mapping[str, int]) -> int:
        """The entries of the largest array that computing the spec takes."""
        return max(prod(sizes[label_axis(x)] for x in op.labels) for op in self._recipe.ops)

    def with_room(self, sizes: dict[str, int], most: int = ENTRIES) -> dict[str, int]:
        """The same sizes, brought down as long as arrays would be too large."""
        found = sizes
        while self._entries(found) > most:
            lower = found
            for axis in _lowered(found):
                lower = supported(self.spec, {**found, axis: found[axis] // 2}, self.support)
                if self._entries(lower) < self._entries(found):
                    break
            else:
                return found
            found = lower
        return found

    @property
    def masked(self) -> bool:
        """Whether some softmax has a mask, so that a row may see no key."""
        return self._rows is not None

    def rows_without_keys(self, case: Case) -> bool:
        """Whether some row of a softmax sees no key."""
        return any(bool((count == 0).any()) for count in self._key_counts(case).values())

    def empty_rows(self, case: Case, output: str) -> Array | None:
        """Which entries of an output lie in a row without keys; None where its rows are others."""
        head = self.spec.heads[output]
        shape = [case.sizes[index.axis.name] for index in head.indices]
        result = np.zeros(shape, bool)
        for rows, counts in self._key_counts(case).items():
            if not set(rows) <= set(head.indices):
                return None
            order = [index for index in head.indices if index in rows]
            moved = np.transpose(counts, [rows.index(index) for index in order])
            sizes = [case.sizes[index.axis.name] if index in rows else 1 for index in head.indices]
            result |= moved.reshape(sizes) == 0
        return result.reshape(shape_of(head, case.sizes))

    def _key_counts(self, case: Case) -> dict[tuple[Index, ...], Array]:
        """How many keys each row of a masked softmax sees, by the indices of the rows."""
        if self._rows is None:
            return {}
        counter, names = self._rows
        arrays = {
            n: a.astype(np.float64) if a.dtype.kind in "fV" else a for n, a in case.arrays.items()
        }
        counts = counter(**arrays, **case.parameters, sizes=case.sizes)
        return {rows: counts[name] for name, rows in names.items()}

    def _square(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The same sizes with all lengths equal: a structural mask leaves no row empty then."""
        lengths = [s for axis, s in sizes.items() if axis not in (*FEW, *CHANNELS)]
        least = min(lengths, default=1)
        squared = {
            axis: size if axis in (*FEW, *CHANNELS) else least for axis, size in sizes.items()
        }
        return supported(self.spec, squared, self.support)

    def _cotangents(
        self, sizes: Mapping[str, int], style: str, rng: np.random.Generator
    ) -> dict[str, Array]:
        """A cotangent per output: with a mean, with zeros, or plainly signed, as the style goes."""
        plain = style if style in COTANGENT_STYLES else "normal"
        to = float_type(self.dtype).numpy
        heads = {name: self.spec.heads[name] for name in self.spec.outputs}
        return {
            name: STYLES[plain](Site(rng, shape_of(head, sizes))).astype(to)
            for name, head in heads.items()
        }

    def _ordered(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {entry.tensor.name: arrays[entry.tensor.name] for entry in self.spec.inputs}


def _lowered(sizes: Mapping[str, int]) -> list[str]:
    """The axes to bring down, the first one first: few, channels above 4, all but the longest."""
    few = [axis for axis in FEW if sizes.get(axis, 1) > 1]
    channels = [axis for axis in CHANNELS if sizes.get(axis, 1) > 4]
    others = [axis for axis in sizes if axis not in (*FEW, *CHANNELS) and sizes[axis] > 1]
    longest = sorted(others, key=lambda axis: -sizes[axis])
    return [*few, *sorted(channels, key=lambda axis: -sizes[axis]), *longest[1:], *longest[:1]]


def _row_counter(spec: Spec) -> tuple[Oracle, dict[str, tuple[Index, ...]]] | None:
    """A compiled spec that counts the keys each row of a masked softmax sees; None without."""
    found = counting(spec)
    return None if found is None else (compile_spec(found[0]), found[1])


def counting(spec: Spec) -> tuple[Spec, dict[str, tuple[Index, ...]]] | None:
    """A spec that counts the keys each row of a masked softmax sees, with the rows of each count.

    None where no softmax is masked.

    >>> from attnverify import load
    >>> print(counting(load("causal"))[0].equations[-1])
    keys_seen_0[i] = sum_j [j <= i]
    """
    names: dict[str, tuple[Index, ...]] = {}
    equations = list(spec.equations)
    for statement in spec.equations:
        for softmax in _masked(statement) if isinstance(statement, Equation) else ():
            rows = tuple(index for index in free_in(softmax.where) if index != softmax.over)
            name = f"keys_seen_{len(names)}"
            equations.append(
                Equation(Entry(Tensor(name), rows), total(Indicator(softmax.where), softmax.over))
            )
            names[name] = rows
    if not names:
        return None
    counted = spec.replace(equations=tuple(equations), outputs=tuple(names))
    return counted, names


def _masked(statement: Equation) -> list[Softmax | Threshold]:
    """The normalisers of an equation that see only some places."""
    nodes = walk(statement.body)
    return [n for n in nodes if isinstance(n, Softmax | Threshold) and n.where != TRUE]
