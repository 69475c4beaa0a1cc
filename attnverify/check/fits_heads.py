"""Fit which key head each query head reads: a map that no rewrite of a spec says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import agrees, asked, renamed
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Observed, habit
from attnverify.check.judge import Judge
from attnverify.compare import Due
from attnverify.inputs import Case
from attnverify.inputs.sizes import supported

Array = NDArray[Any]
MAP = habit("head map fitted", "query heads read key heads of a map of their own")
# Heads whose map is looked for, and lengths that tell them apart; more cases than one tell it.
GROUPS, REPEATS, CASES = (3, 4), (2, 3), 5


@dataclass(frozen=True)
class _Heads:
    """What each query head gives of each key head, on one case."""

    judge: Judge
    case: Case
    group: str
    heads: int

    @cached_property
    def by_head(self) -> tuple[dict[str, Due], ...]:
        """What is due of all query heads, were every one of them to read one key head."""
        return tuple(self._of(n) for n in range(self.case.sizes[self.group]))

    def _of(self, head: int) -> dict[str, Due]:
        arrays = dict(self.case.arrays)
        for entry in self.judge.spec.inputs:
            places = [n for n, i in enumerate(entry.indices) if i.axis.name == self.group]
            if len(places) == 1 and len(entry.places) == len(entry.indices):
                one = np.take(arrays[entry.tensor.name], [head], places[0])
                arrays[entry.tensor.name] = np.repeat(one, self.case.sizes[self.group], places[0])
        expected = self.judge.expected(replace(self.case, arrays=arrays))
        return {} if expected.reason else renamed(self.judge, expected, backward=False)

    def due(self, reads: Mapping[int, int]) -> dict[str, Due]:
        """What is due by a map of query heads to key heads."""
        found = {}
        for name, one in self.by_head[0].items():
            axis = self.judge.spec.heads[name].places
            place = next(n for n, p in enumerate(axis) if isinstance(p, tuple))
            parts = [self.by_head[reads[h]][name] for h in range(self.heads)]
            rows = [_one(part, place, h) for h, part in enumerate(parts)]
            value, sigma = (np.concatenate([r[n] for r in rows], place) for n in (0, 1))
            found[name] = Due(value, sigma, one.axes)
        return found


def _one(due: Due, place: int, head: int) -> tuple[Array, Array]:
    return np.take(due.value, [head], place), np.take(due.sigma, [head], place)


def heads_fitted(search: Diagnosis) -> list[Observed]:
    """The map of heads that gives a subject's answers at two numbers of heads."""
    spec = search.judge.spec
    if not {"group", "repeat"} <= {axis.name for axis in spec.axes}:
        return []
    found = [_mapped(search, g, r) for g, r in zip(GROUPS, REPEATS, strict=True)]
    told = [one for one in found if one is not None]
    if len(told) < len(found) or not any(differ for *_, differ in told):
        return []
    maps = "; ".join(f"{' '.join(map(str, reads))} of {g}" for g, reads, _ in told)
    differed = sum(differ for *_, differ in told)
    count = len(told) * CASES
    evidence = f"agrees on {count} of {count} fresh inputs, differs from the spec on {differed}"
    return [Observed(MAP, f"reads key heads {maps} by its query heads in turn", evidence)]


def _mapped(search: Diagnosis, groups: int, repeats: int) -> tuple[int, list[int], int] | None:
    """The one map that explains all cases of some heads, and how many the spec does not."""
    cases = [*_cases(search, groups, repeats)]
    answers = [*asked(search.judge, cases, backward=False)]
    if len(answers) < CASES:
        return None
    tables = [_Heads(search.judge, a.case, "group", groups * repeats) for a in answers]
    if not all(all(table.by_head) for table in tables):
        return None
    reads = {h: _read(tables[0], answers[0].answers, h) for h in range(groups * repeats)}
    chosen = {h: g for h, g in reads.items() if g is not None}
    if len(chosen) < len(reads):
        return None
    if not all(agrees(a.answers, t.due(chosen)) for a, t in zip(answers, tables, strict=True)):
        return None
    own = search.own[1]
    wrong = [agrees(a.answers, due) for a in answers if (due := own(a.case)) is not None]
    return groups, [chosen[h] for h in range(len(chosen))], wrong.count(False)


def _cases(search: Diagnosis, groups: int, repeats: int) -> Iterator[Case]:
    spec = search.judge.spec
    sizes = {a.name: 4 for a in spec.axes} | {"group": groups, "repeat": repeats, "batch": 1}
    fit = supported(spec, sizes, search.draw.support)
    if (fit["group"], fit["repeat"]) == (groups, repeats):
        for n in range(CASES):
            yield search.draw.case(fit, seed=search.seed + n)


def _read(table: _Heads, answers: Mapping[str, Array], head: int) -> int | None:
    """The only key head that explains one query head; None where there is no one such."""
    fit = []
    for group, dues in enumerate(table.by_head):
        right = []
        for name, got in answers.items():
            places = table.judge.spec.heads[name].places
            place = next((n for n, p in enumerate(places) if isinstance(p, tuple)), None)
            if place is None:
                return None
            value, sigma = _one(dues[name], place, head)
            row = {name: np.take(got, [head], place)}
            right.append(agrees(row, {name: Due(value, sigma, dues[name].axes)}))
        fit += [group] if all(right) else []
    return fit[0] if len(fit) == 1 else None
