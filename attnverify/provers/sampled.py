"""Try statements on drawn cases: HELD with their number, or REFUTED with the smallest case found.

Each draw is computed once for all statements about a variant. Both sides are compared in extended
precision under what they move by when every operation of the same program is disturbed by one unit
roundoff of float64, some two thousand times the true error. A failure counts only when the exact
interpreter confirms it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Tensor
from attnverify.compare import within
from attnverify.equations import Equation
from attnverify.exact import Kept, evaluate
from attnverify.provers.draws import Case, Drawer, Group, Plan, plan
from attnverify.provers.joint import Joint, drawer_of, given, joints, mapping, moved
from attnverify.provers.shrink import shrunk
from attnverify.spec import Spec
from attnverify.statement import Statement
from attnverify.transforms.prune import prune
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]

# The exact interpreter works with fifty digits: what is left of a true equality is far below this.
EXACT = 1e-30
# Draws of one statement that the exact interpreter may be asked about; each takes it a while.
CONFIRMED = 8


@dataclass(frozen=True)
class Trial:
    """A statement as a computation: both sides, and 1 where its hypotheses hold."""

    statement: Statement

    @cached_property
    def spec(self) -> Spec:
        """What left__, right__ and given__ need of the statement's spec, with them as outputs."""
        statement = self.statement
        sides = {
            "left__": statement.left,
            "right__": statement.right,
            "given__": given(statement),
        }
        rows = tuple(
            Equation(Entry(Tensor(name), statement.indices), value) for name, value in sides.items()
        )
        needed = prune([*statement.spec.equations, *rows], tuple(sides))
        return statement.spec.replace(equations=needed, outputs=tuple(sides))

    @cached_property
    def drawer(self) -> Drawer:
        """What draws the inputs."""
        return drawer_of(self.statement)

    def arrays(self, case: Case) -> dict[str, Array]:
        """The inputs of a case, the same that the joint computation has for it."""
        return self.drawer.arrays(case)


@lru_cache(maxsize=64)
def trial(statement: Statement) -> Trial:
    """The computation of a statement's two sides; what was asked for lately is known."""
    return Trial(statement)


def sampled(statement: Statement, examples: int = 20, seed: int = 0) -> Verdict:
    """HELD on `examples` drawn cases, or REFUTED with the smallest case found and its values."""
    (joint,) = joints([statement])
    (verdict,) = tried([joint], plan([joint.spec], examples, seed))
    return verdict


def tried(computed: Sequence[Joint], drawn: Plan) -> list[Verdict]:
    """The verdict on each of the statements that were joined, each with how many cases it saw.

    HELD counts the cases that met the hypotheses; UNDECIDED where none did.
    """
    found = {
        place: verdict
        for joint in computed
        for place, verdict in zip(joint.places, _tried(joint, drawn), strict=True)
    }
    return [found[place] for place in sorted(found)]


def _tried(joint: Joint, drawn: Plan) -> list[Verdict]:
    tallies = [_Tally(statement) for statement in joint.statements]
    for group in drawn:
        for tally, sides in zip(tallies, joint.sides(group), strict=True):
            tally.take(group.cases(joint.spec), *sides)
    return [tally.verdict() for tally in tallies]


@dataclass
class _Tally:
    """What the draws so far say of a statement."""

    statement: Statement
    met: int = 0
    failing: list[Case] = field(default_factory=list)
    unbounded: list[Case] = field(default_factory=list)

    def take(self, cases: list[Case], left: Array, right: Array, held: Array) -> None:
        """Count the draws that meet the hypotheses and hold; keep the others."""
        met, failing, unbounded = judged(self.statement, cases, left, right, held)
        self.met += len(met) - len(failing) - len(unbounded)
        self.failing += failing
        self.unbounded += unbounded

    def verdict(self) -> Verdict:
        """HELD, UNDECIDED, or REFUTED where the exact interpreter agrees that some draw fails."""
        statement, left_out = self.statement, ""
        # What fails beyond its bound is asked about first: a draw without one may say nothing.
        suspects = [*sorted(self.failing, key=_whole), *sorted(self.unbounded, key=_whole)]
        for case in suspects[:CONFIRMED]:
            seen = confirm(trial(statement), _within(statement, case))
            if seen.status is Status.REFUTED:
                return _smallest(statement, _within(statement, case), seen)
            self.met += 1
        if len(self.failing) > CONFIRMED:
            reason = (
                f"{len(self.failing)} cases fail beyond their bound; "
                f"{CONFIRMED} of them do not in exact arithmetic, the rest were not asked about"
            )
            return Verdict(statement.name, Status.UNDECIDED, reason)
        if len(suspects) > CONFIRMED:
            left_out = f"; {len(suspects) - CONFIRMED} further cases had no bound to judge by"
        if not self.met:
            reason = f"no drawn case meets the hypotheses at a place that is defined{left_out}"
            return Verdict(statement.name, Status.UNDECIDED, reason)
        words = f"{statement.words or statement.text()}{left_out}"
        return Verdict(statement.name, Status.HELD, words, cases=self.met)


def judged(
    statement: Statement, cases: list[Case], left: Array, right: Array, held: Array
) -> tuple[list[Case], list[Case], list[Case]]:
    """The draws of which a statement speaks; those that seem to fail; those without a bound."""
    if statement.relabels:
        left = np.stack(
            [_follow(left[:, n], _order(statement, case, 1)) for n, case in enumerate(cases)], 1
        )
    claimed = _claimed(statement, left[0], right[0], held[0])
    gaps = np.where(claimed, _gap(statement, left, right), 0)
    rest = tuple(range(1, claimed.ndim))
    with np.errstate(invalid="ignore"):
        bound = np.max(np.abs(gaps[1:] - gaps[0]), axis=0).astype(float)
    # A disturbed run that leaves the range gives a bound that would let anything pass.
    open_ = np.asarray(~np.isfinite(bound).all(axis=rest))
    value = np.minimum(gaps[0], 0) if statement.kind in ("sign", "bound") else gaps[0]
    failing = np.zeros_like(open_)
    bounded = np.isfinite(bound)
    clear = np.where(bounded, value, 0), np.where(bounded, bound, 0)
    failing[_failing(statement.name, *clear)] = True
    met = np.asarray(claimed.any(axis=rest))

    def those(chosen: Array) -> list[Case]:
        return [case for case, one in zip(cases, chosen, strict=True) if one]

    return those(met), those(met & failing), those(met & open_ & ~failing)


def _whole(case: Case) -> int:
    """How large a case is, the sum of its sizes."""
    return sum(case.sizes.values())


def _failing(name: str, value: Array, bound: Array) -> list[int]:
    """The draws of which some entry is not zero within its bound."""
    if within(name, value, np.zeros_like(value), bound).status is Status.HELD:
        return []
    return [
        number
        for number, (one, room) in enumerate(zip(value, bound, strict=True))
        if within(name, one, np.zeros_like(one), room).status is not Status.HELD
    ]


def _claimed(statement: Statement, left: Array, right: Array, held: Array) -> Array:
    """The places that a statement speaks of: its hypotheses hold, and not both sides are NaN.

    Two sides that are both undefined are equal; one that is undefined equals no number, and has no
    sign and no bound.
    """
    given_there = np.asarray(held != 0, bool)
    if statement.kind != "equal":
        return given_there
    return np.asarray(given_there & ~(_undefined(left) & _undefined(right)))


def _undefined(value: Array) -> Array:
    """Where entries are NaN, of whatever type they are."""
    return np.asarray(value != value, bool)  # noqa: PLR0124  NaN alone differs from itself


def _gap(statement: Statement, left: Array, right: Array) -> Array:
    """What must be 0, or not negative; between equal sides nothing, infinite ones among them."""
    with np.errstate(invalid="ignore"):
        gap = np.asarray(right - left if statement.kind == "bound" else left - right)
    return np.where(np.asarray(left == right, bool), 0, gap)


def _smallest(statement: Statement, case: Case, verdict: Verdict) -> Verdict:
    """The verdict at the smallest case found."""
    (joint,) = joints([statement])
    computed = trial(statement)

    def fails(group: Group) -> tuple[Case, Verdict] | None:
        cases = group.cases(joint.spec)
        _, failing, unbounded = judged(statement, cases, *joint.sides(group)[0])
        for smaller in [*failing, *unbounded][:2]:
            seen = confirm(computed, smaller)
            if seen.status is Status.REFUTED:
                return smaller, seen
        return None

    return _told(statement, *shrunk(joint.spec, case, verdict, fails))


def _within(statement: Statement, case: Case) -> Case:
    """The case with the sizes and parameters of the statement's own computation alone."""
    spec = trial(statement).spec
    sizes = {axis.name: case.sizes[axis.name] for axis in spec.axes}
    parameters = {p.name: case.parameters[p.name] for p in spec.parameters}
    return Case(sizes, parameters, case.style, case.seed)


def confirm(computed: Trial, case: Case, kept: Kept | None = None) -> Verdict:
    """One case by the exact interpreter: the verdict on a statement's two sides at fifty digits.

    Statements of one spec that are given the same `kept` share the tables of its equations.
    """
    statement, arrays = computed.statement, computed.arrays(case)
    order = _order(statement, case, 0)
    exactly = partial(
        evaluate, computed.spec, parameters=case.parameters, sizes=case.sizes, kept=kept
    )
    sides = exactly(arrays)
    if statement.relabels:
        sides |= exactly(_moved(statement, arrays, case), names=["right__"])
    numbers = {name: _floats(value) for name, value in sides.items()}
    size = np.maximum(np.abs(numbers["left__"]), np.abs(numbers["right__"])) + 1
    left, due = _follow(sides["left__"], order), sides["right__"]
    claimed = _claimed(statement, left, due, sides["given__"])
    gap = np.where(claimed, _gap(statement, left, due), 0)
    verdict = _exactly(statement, _floats(gap), EXACT * _follow(size, order))
    if verdict.status is not Status.REFUTED or verdict.witness is None:
        return verdict
    place = tuple((verdict.witness.index or {}).values())
    index = dict(zip((i.name for i in statement.indices), map(int, place), strict=True))
    witness = Witness(
        sizes=dict(case.sizes),
        arrays=arrays,
        index=index,
        got=float(_follow(numbers["left__"], order)[place]),
        due=float(numbers["right__"][place]),
        seed=case.seed,
    )
    return Verdict(statement.name, Status.REFUTED, str(case), witness=witness)


def _exactly(statement: Statement, gap: Array, bound: Array) -> Verdict:
    axes = tuple(index.name for index in statement.indices)
    value = np.minimum(gap, 0) if statement.kind in ("sign", "bound") else gap
    return within(statement.name, value, np.zeros_like(value), bound.astype(float), axes)


def _floats(value: Array) -> Array:
    return np.asarray(value, dtype=object).astype(float)


def _moved(statement: Statement, arrays: Mapping[str, Array], case: Case) -> dict[str, Array]:
    """The arrays relabelled for the right side."""
    found = dict(arrays)
    for relabel in statement.relabels:
        for entry in statement.spec.inputs:
            if entry.tensor.name in relabel.tensors:
                found[entry.tensor.name] = moved(found[entry.tensor.name], entry, relabel, case)
    return found


def _order(statement: Statement, case: Case, lead: int) -> list[tuple[int, Array]]:
    """How the left side's indices are relabelled: dimension, after `lead` others, and map."""
    names = [index.name for index in statement.indices]
    return [
        (lead + names.index(name), mapping(relabel, case))
        for relabel in statement.relabels
        for name in relabel.indices
    ]


def _follow(value: Array, order: list[tuple[int, Array]]) -> Array:
    for spot, to in order:
        value = np.take(value, to, axis=spot)
    return value


def _told(statement: Statement, case: Case, verdict: Verdict) -> Verdict:
    """The verdict with the smallest case in words."""
    witness = verdict.witness
    index = ", ".join(f"{k}={v}" for k, v in (witness.index or {}).items()) if witness else ""
    values = (
        f"left {witness.got:.6g}, right {witness.due:.6g}"
        if witness and isinstance(witness.got, float) and isinstance(witness.due, float)
        else ""
    )
    detail = f"{statement.words or statement.text()}: fails at {case}, [{index}]: {values}"
    return Verdict(statement.name, Status.REFUTED, detail, witness=witness)
