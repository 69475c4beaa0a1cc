"""Chosen rows of one long case, the keys that they see, and what is due there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.judge import Judge
from attnverify.check.long import Drawn, drawn, parts_of
from attnverify.check.rows import FEWEST, Chosen, Group, chosen, grouped
from attnverify.check.rows import ROWS as USUAL
from attnverify.check.settings import Settings
from attnverify.compile.parts import Parts, Sight
from attnverify.compile.streamed import KEYS, ROWS
from attnverify.inputs import Case
from attnverify.inputs.sizes import CHANNELS
from attnverify.invariants import roles
from attnverify.rounding import Expected, Rounding
from attnverify.subjects import WrongForm

Array = NDArray[Any]
# Rows times keys that bounds are derived for, unless rows are asked for.
ENTRIES = 2**20


@dataclass
class Bounds:
    """What is due in one group of rows: by output, at its rows, its keys, or in all."""

    group: Group
    expected: Expected
    runs: dict[str, list[Array]] = field(default_factory=dict, repr=False)


@dataclass
class Rows:
    """A subject on one long case, of which some rows are judged."""

    judge: Judge
    parts: Parts
    long: Drawn
    sight: Sight
    rows: Chosen
    groups: list[Group]
    name: str = ""
    own: float = 0.0

    @property
    def case(self) -> Case:
        """The case with dense cotangents."""
        return self.long.case

    @property
    def backward(self) -> bool:
        """Whether gradients are judged."""
        return not self.judge.no_backward and bool(self.judge.subject.plan.real)

    @property
    def values(self) -> str:
        """The input that weights are summed with to give the output; empty where there is none."""
        direct = roles(self.judge.spec).direct_values
        return "" if direct is None else direct.tensor.name

    def restored(self, name: str, array: Array | None) -> Array:
        """An answer in the spec's axis order; WrongForm for another form, or none."""
        if array is None:
            raise WrongForm("no array came back")
        return self.judge.restored_as(name, array, self.case)

    def rounding(self, *, backward: bool) -> Rounding:
        """Bounds of the spec on a part of its rows."""
        judge = self.judge
        return Rounding(
            self.parts.spec,
            judge.dtype,
            internal=judge.internal,
            profile=judge.profile,
            backward=backward,
            types=judge.types,
        )

    def asked(self, case: Case, *, backward: bool) -> tuple[dict[str, Array], dict[str, Any]]:
        """The subject's outputs and gradients; the time that it takes is its own."""
        began = time.monotonic()
        subject = self.judge.subject
        try:
            if not backward:
                return subject.forward(case.arrays, case.parameters), {}
            return subject.backward(case.arrays, case.cotangents, case.parameters)
        finally:
            self.own += time.monotonic() - began

    def part(
        self, group: Group, case: Case, rounding: Rounding
    ) -> tuple[dict[str, Array], dict[str, Any], dict[str, int]]:
        """The arrays, parameters and sizes of a group."""
        spec, kept = self.judge.spec, {ROWS: group.rows, KEYS: group.keys}
        arrays = self.parts.cut(case.arrays, spec.heads, kept)
        arrays |= self.parts.positions(kept)
        if rounding.cotangents and self.backward:
            seeds = self.parts.cut(case.cotangents, spec.heads, kept)
            arrays |= {rounding.cotangents[n]: seed for n, seed in seeds.items()}
        axes = {axis.name for axis in spec.axes}
        sizes = {**case.sizes, ROWS: len(group.rows)}
        sizes |= {KEYS: len(group.keys)} if KEYS in axes else {}
        return arrays, {**case.parameters, **self.parts.parameters(case.sizes)}, sizes


def begun(settings: Settings, judge: Judge, count: int | None) -> Rows:
    """The case, the rows that are judged and the keys that they see."""
    spec = settings.spec
    parts = parts_of(spec)
    long = drawn(settings, judge.dtype, judge.types)
    case = long.case
    sight = parts.sight(case.arrays, case.sizes, case.parameters)
    told = [*settings.values.values(), *case.parameters.values()]
    marks = [int(v) for v in told if isinstance(v, int) and not isinstance(v, bool)]
    wanted = USUAL if count is None else count
    while True:
        rng = np.random.default_rng([settings.seed, 9])
        rows = chosen(case.sizes[ROWS], wanted, rng, marks)
        groups = grouped(sight, rows.rows)
        if count is not None or wanted <= FEWEST or _entries(case, groups) <= ENTRIES:
            return Rows(judge, parts, long, sight, rows, groups, settings.name)
        wanted //= 2


def _entries(case: Case, groups: list[Group]) -> int:
    """Rows times keys of all groups, heads and batch entries."""
    few = [size for axis, size in case.sizes.items() if axis not in (ROWS, KEYS, *CHANNELS)]
    return int(np.prod(few)) * sum(len(g.rows) * len(g.keys) for g in groups)


def bounded(rows: Rows, rounding: Rounding) -> Iterator[Bounds]:
    """What is due in each group, with how far disturbed runs stray."""
    for group in rows.groups:
        arrays, parameters, sizes = rows.part(group, rows.case, rounding)
        given = (arrays, parameters, rows.case.seed, sizes)
        expected, runs = rounding.expected_with_runs(*given)
        yield Bounds(group, expected, runs)
