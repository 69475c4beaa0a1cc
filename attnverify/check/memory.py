"""The spec's own answer to arrays that are read in another order than they lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import renamed
from attnverify.check.explanation import Candidate, habit
from attnverify.check.judge import Judge
from attnverify.compare import Due
from attnverify.inputs import Case
from attnverify.subjects.layout import letters

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Before = Callable[[Case], Case]
After = Callable[[Case, Array], Array]

SPLIT = habit("heads split in place", "heads are split off without a transposition", "HED-04")
MERGED = habit("heads merged in place", "heads are merged without a transposition", "HED-05")
CONFUSED = habit("heads and positions confused", "an array is read in another layout", "LAY-07")
PACKED = habit("packing confused", "packed q, k and v are taken apart in another order", "HED-09")
OUTPUT = habit("dropout of the output", "dropout falls on the output, not on the weights", "DRP-07")
HEADS, LENGTH = "h", "n"
THREE = 3


@dataclass(frozen=True)
class Rearranged(Candidate):
    """The spec's answer to other arrays, rearranged itself."""

    judge: Judge | None = None
    before: Before | None = None
    after: After | None = None

    def _parts(self, case: Case) -> tuple[Judge, Case, After]:
        if self.judge is None:
            raise AssertionError(self.sentence)  # nothing else makes one
        changed = case if self.before is None else self.before(case)
        return self.judge, changed, self.after or (lambda _case, array: array)

    def values(self, case: Case) -> Mapping[str, Array]:
        """What it gives on a case."""
        judge, changed, after = self._parts(case)
        return {n: after(case, a) for n, a in judge.exactly(changed).items()}

    def dues(self, case: Case) -> Mapping[str, Due] | None:
        """The bound of each entry moves with it."""
        judge, changed, after = self._parts(case)
        expected = judge.expected(changed)
        if expected.reason:
            return None
        return {
            name: replace(due, value=after(case, due.value), sigma=after(case, due.sigma))
            for name, due in renamed(judge, expected, backward=False).items()
        }


def rearranged(judge: Judge, cases: Sequence[Case]) -> Iterator[Candidate]:
    """The ways to read or to write memory wrongly that fit a layout, the likelier ones first."""
    yield from chain(_laid(judge), _packed(judge, cases), _dropped(judge))


def _laid(judge: Judge) -> Iterator[Candidate]:
    """Arrays of heads and positions in one order that are taken to lie in the other."""
    both = [name for name in judge.subject.plan.real if _axes(judge, name) is not None]
    whole = all(_merged(judge, name) for name in both)
    sets = [both, both[1:], *([name] for name in both)]
    for names in {tuple(s): s for s in sets if s}.values():
        told = f"takes the memory of {' and '.join(names)} to be {_order(judge, names[0])}"
        yield Rearranged(
            SPLIT if whole else CONFUSED,
            told,
            judge=judge,
            before=_reading(judge, names),
        )
    out = judge.subject.plan.judged[0]
    if _axes(judge, out) is not None:
        told = f"leaves the memory of {out} {_order(judge, out)}"
        operator = MERGED if _merged(judge, out) else CONFUSED
        yield Rearranged(operator, told, judge=judge, after=_writing(judge, out))


def _axes(judge: Judge, name: str) -> tuple[int, int, bool] | None:
    """Where heads and positions stand in the spec, and whether they lie in memory in that order."""
    have = letters(judge.spec.heads[name])
    if {HEADS, LENGTH} - {*have}:
        return None
    layout = judge.subject.plan.layout
    lies = [word for group in layout.groups(name) for word in group]
    heads, length = have.index(HEADS), have.index(LENGTH)
    return heads, length, (heads < length) == (lies.index(HEADS) < lies.index(LENGTH))


def _merged(judge: Judge, name: str) -> bool:
    groups = judge.subject.plan.layout.groups(name)
    return any(HEADS in group and len(group) > 1 for group in groups)


def _order(judge: Judge, name: str) -> str:
    lies = [word for group in judge.subject.plan.layout.groups(name) for word in group]
    first = lies.index(HEADS) < lies.index(LENGTH)
    orders = ("head by head", "position by position")
    return "ordered {}, not {}".format(*(orders[::-1] if first else orders))


def _reading(judge: Judge, names: Sequence[str]) -> Before:
    def before(case: Case) -> Case:
        changed = {n: _turned(case.arrays[n], _axes(judge, n), inward=True) for n in names}
        return replace(case, arrays={**case.arrays, **changed})

    return before


def _writing(judge: Judge, name: str) -> After:
    return lambda _case, array: _turned(array, _axes(judge, name), inward=False)


def _turned(array: Array, axes: tuple[int, int, bool] | None, *, inward: bool) -> Array:
    """An array whose memory is read, or written, with heads and positions in the other order."""
    if axes is None:
        return array
    heads, length, plain = axes
    if plain is inward:
        shape = [*array.shape]
        shape[heads], shape[length] = shape[length], shape[heads]
        return np.ascontiguousarray(array).reshape(shape).swapaxes(heads, length)
    return np.ascontiguousarray(array.swapaxes(heads, length)).reshape(array.shape)


def _packed(judge: Judge, cases: Sequence[Case]) -> Iterator[Candidate]:
    """Three arrays of one shape that are packed in one order and taken apart in the other."""
    names = judge.subject.plan.real[:THREE]
    fit = [letters(judge.spec.heads[n]) == ("b", "h", "n", "d") for n in names]
    if len(names) < THREE or not all(fit):
        return
    if any(len({case.arrays[n].shape for n in names}) > 1 for case in cases):
        return
    for by_head, told in (
        (True, "takes q, k and v that are packed head by head for thirds of the features"),
        (False, "takes q, k and v that are packed in thirds of the features for heads of each"),
    ):
        yield Rearranged(PACKED, told, judge=judge, before=_taken_apart(names, by_head=by_head))


def _taken_apart(names: Sequence[str], *, by_head: bool) -> Before:
    def before(case: Case) -> Case:
        stacked = np.stack([case.arrays[n].swapaxes(1, 2) for n in names], 3 if by_head else 2)
        batch, length, *_, width = stacked.shape
        heads = case.arrays[names[0]].shape[1]
        shape = (THREE, heads) if by_head else (heads, THREE)
        read = np.moveaxis(stacked.reshape(batch, length, *shape, width), 2 if by_head else 3, 0)
        parts = {n: part.swapaxes(1, 2) for n, part in zip(names, read, strict=True)}
        return replace(case, arrays={**case.arrays, **parts})

    return before


def _dropped(judge: Judge) -> Iterator[Candidate]:
    """Dropout that falls on the output."""
    drops = [e.tensor.name for e in judge.spec.inputs if e.tensor.kind == "bool"]
    shares = [p.name for p in judge.spec.parameters]
    if "drop" not in drops or "p" not in shares or len(judge.subject.plan.judged) > 1:
        return

    def before(case: Case) -> Case:
        kept = np.ones_like(case.arrays["drop"])
        return replace(case, arrays={**case.arrays, "drop": kept}, parameters={"p": 0.0})

    def in_order(case: Case, array: Array) -> Array:
        kept = np.resize(case.arrays["drop"], array.shape)
        return np.asarray(array * kept / (1 - case.parameters["p"]))

    told = "drops the output in place of the weights, by their mask in memory order"
    yield Rearranged(OUTPUT, told, judge=judge, before=before, after=in_order)
