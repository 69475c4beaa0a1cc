"""Name the bug: which wrong computation gives a refuted subject's own answers.

Every mutant of the spec is compiled and compared with what the subject answered: roughly on a few
draws, and what is left under its own derived bound on draws that the check has not seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import Asked, agrees, asked, fresh, renamed
from attnverify.check.explanation import Candidate, Explanation
from attnverify.check.judge import Judge
from attnverify.check.once import Once
from attnverify.compare import Due, nearer, within
from attnverify.compile import compile as compile_spec
from attnverify.inputs import Case, Draw
from attnverify.rounding import arrays_for
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, mutants
from attnverify.verdict import Status

Array = NDArray[Any]
T = TypeVar("T")
Computed: TypeAlias = "Callable[[Case], Mapping[str, Array]]"
Dues: TypeAlias = "Callable[[Case], Mapping[str, Due] | None]"
# Of the processor, and by the clock where others keep it busy.
SECONDS, CLOCK = 7.0, 30.0
# What evidence may take beyond that.
SURE = 2.0
# A subject that compiles or crashes at each call is asked less often.
ASKING, QUICK = 8.0, 0.1
# A sieve lets through what is near; the derived bound decides.
NEAR = 0.02
SIEVES, SMALL = 4, 2
LISTED = 6
ENOUGH = 8
TINY = 1e-30


@dataclass
class Diagnosis:
    """The search for one subject in one dtype, on its answers; `cut` where time ran out."""

    judge: Judge
    draw: Draw
    failing: Sequence[Case]
    seed: int
    seconds: float = SECONDS
    clock: float = CLOCK
    asked: list[Asked] = field(default_factory=list)
    cut: bool = False
    # Whether a call costs so little that more may be made to see what it keeps or drops.
    quick: bool = True

    def __post_init__(self) -> None:
        self._began = time.process_time(), time.monotonic()
        self.allowed = self.seconds

    def explanations(self) -> list[Explanation]:
        """The mutants that agree with the subject on every draw, the likelier ones first."""
        self.collect()
        return self.among(self.candidates())

    def among(self, candidates: Iterable[Mutant | Candidate]) -> list[Explanation]:
        """Those of some candidates that agree with the subject on every draw, in their order."""
        if len(self.asked) < ENOUGH or not self.sieves:
            return []
        near = [m for m in self.in_time(candidates) if self.passes(m)]
        # What is near is seldom anything else: it gets the time that it takes.
        self.seconds = max(self.seconds, self.allowed + (SURE if near else 0.0))
        found: list[Explanation] = []
        for mutant in self.in_time(near):
            # Of one habit there are many kinds, which the draws may not tell apart.
            if mutant.operator not in [f.mutant.operator for f in found if _habit(f.mutant)]:
                one = self.evidence_for(mutant)
                found += [one] if one is not None else []
        return found[:LISTED]

    def collect(self) -> None:
        """Ask the subject: the cases that failed, and fresh ones as long as there is time."""
        cases = chain(self.failing, fresh(self.draw, self.seed))
        began = time.monotonic()
        self.asked = list(self.answers_on(self.in_time(cases, min(ASKING, self.clock))))
        self.quick = time.monotonic() - began < QUICK * max(1, len(self.asked))

    def answers_on(self, cases: Iterable[Case]) -> Iterator[Asked]:
        """What the subject gives on cases."""
        return asked(self.judge, cases, backward=False)

    def candidates(self) -> Iterator[Mutant]:
        """What may be computed instead, the likelier ones first, each made once."""
        return iter(self._mutants)

    @cached_property
    def _mutants(self) -> Once[Mutant]:
        return Once(self.made())

    def made(self) -> Iterator[Mutant]:
        """Every mutant of the spec."""
        return mutants(self.judge.spec)

    @cached_property
    def _programs(self) -> dict[int, tuple[Spec, Computed]]:
        return {}

    def program(self, spec: Spec) -> Computed:
        """What a spec, the judge's own or a mutant's, gives on a case, by the answers' names.

        Compiled once: the searches for one bug, for two, and for what is kept all ask for it.
        """
        if id(spec) not in self._programs:
            self._programs[id(spec)] = spec, self.compiled(spec)
        return self._programs[id(spec)][1]

    def compiled(self, spec: Spec) -> Computed:
        """A spec as a function of cases."""
        oracle = compile_spec(spec.replace(outputs=self.judge.subject.plan.judged))

        def computed(case: Case) -> Mapping[str, Array]:
            arrays = arrays_for(oracle.dtype, case.arrays)
            return oracle(**arrays, **case.parameters, sizes=case.sizes)

        return computed

    def _due(self, spec: Spec) -> Dues:
        """What is due by a mutant's spec under its derived bounds, by the answers' names."""
        judge = Judge(
            spec,
            self.judge.subject,
            self.judge.dtype,
            internal=self.judge.internal,
            profile=self.judge.profile,
        )
        return partial(_due, judge)

    def dues_of(self, mutant: Mutant | Candidate) -> Dues:
        """What is due by a mutant under bounds, by the answers' names."""
        return mutant.dues if isinstance(mutant, Candidate) else self._due(mutant.spec)

    @property
    def own(self) -> tuple[Spec, Dues]:
        """The spec that the subject is judged by, and what it gives under its bounds."""
        return self.judge.spec, partial(_due, self.judge)

    def in_time(self, some: Iterable[T], clock: float | None = None) -> Iterator[T]:
        """Mutants, or cases to ask, as long as there is time."""
        for one in some:
            spent, passed = time.process_time() - self._began[0], time.monotonic() - self._began[1]
            if spent > self.seconds or passed > (self.clock if clock is None else clock):
                self.cut = True
                return
            yield one

    @cached_property
    def wrong(self) -> list[bool | None]:
        """Whether the spec agrees with the answer on each draw."""
        due = self.own[1]
        return [_by(due(one.case), one) for one in self.asked]

    @cached_property
    def sieves(self) -> Sequence[Asked]:
        """A few draws on which the subject is plainly not what the spec is, small ones first."""
        own = self.program(self.own[0])
        ready = sorted(self.asked, key=lambda one: _entries(one.case))
        plain = [one for one in ready if not self.alike(own(one.case), one)]
        if not plain:
            by_case = {id(one): right for one, right in zip(self.asked, self.wrong, strict=True)}
            plain = [one for one in ready if by_case[id(one)] is False]
        # Where narrow arithmetic overflows, wide arithmetic gives another answer to the same bug.
        plain = [one for one in plain if _finite(one)] or plain
        return plain[:: max(1, len(plain) // SIEVES)]

    def passes(self, mutant: Mutant | Candidate) -> bool:
        """Whether a mutant gives about the answers of the sieves."""
        if isinstance(mutant, Candidate) and mutant.fine:
            # Where one entry of few falls on the other side of a step, nothing is near.
            near = sum(self.nearer(mutant, one) for one in self.failed)
            return 2 * near > len(self.failed)
        computed = mutant.values if isinstance(mutant, Candidate) else self.program(mutant.spec)
        for one in (*self.small, *self.sieves):
            values = computed(one.case)
            if self.alike(values, one):
                continue
            if not self.alike(values, one, apart=True) or not self._has_empty_rows(
                mutant, one.case
            ):
                return False
        return True

    @cached_property
    def small(self) -> Sequence[Asked]:
        """The smallest draws on which places can be told apart: there it costs least to differ."""
        ready = [one for one in self.asked if _finite(one)]
        ready.sort(
            key=lambda one: (-sum(n > 1 for n in one.case.sizes.values()), _entries(one.case))
        )
        return ready[:SMALL]

    @cached_property
    def failed(self) -> Sequence[Asked]:
        """A few draws on which the subject is wrong, small ones first."""
        known = zip(self.asked, self.wrong, strict=True)
        found = sorted(
            (one for one, right in known if right is False), key=lambda o: _entries(o.case)
        )
        return found[:: max(1, len(found) // SIEVES)]

    def nearer(self, mutant: Candidate, one: Asked) -> bool:
        """Whether some answer lies much nearer to a candidate's than to the spec's."""
        values, own = mutant.values(one.case), self.program(self.own[0])(one.case)
        return any(
            nearer(name, got, values[name], own[name]).status is Status.HELD
            for name, got in one.answers.items()
        )

    def alike(self, values: Mapping[str, Array], one: Asked, *, apart: bool = False) -> bool:
        """Whether an oracle gives about an answer; `apart` from where it gives exactly 0."""
        return all(
            _about(got, values[name], self._room(one.case, name), apart=apart)
            for name, got in one.answers.items()
        )

    def _room(self, case: Case, name: str) -> float:
        """How far from what is due an answer may be besides a share of its largest entry."""
        del case, name
        return TINY

    def _has_empty_rows(self, mutant: Mutant | Candidate, case: Case) -> bool:
        """Whether rows that see keys in the spec see none in a mutant: then nothing is due."""
        if isinstance(mutant, Candidate):
            return False
        return not case.empty and Draw(mutant.spec, dtype=self.judge.dtype).rows_without_keys(case)

    def evidence_for(self, mutant: Mutant | Candidate) -> Explanation | None:
        """The evidence for a mutant; None where one draw speaks against it, or none for it."""
        due = self.dues_of(mutant)
        known = {id(case) for case in self.failing}
        counts = {True: [0, 0], False: [0, 0]}
        for one, right in zip(self.asked, self.wrong, strict=True):
            found = _by(due(one.case), one)
            if found is False and not self._has_empty_rows(mutant, one.case):
                return None
            counted = counts[id(one.case) not in known]
            counted[0] += found is True
            counted[1] += found is True and right is False
        (agreed, differed), (again, also) = counts[True], counts[False]
        enough = 2 * (agreed + again) >= len(self.asked) and agreed
        return Explanation(mutant, agreed, differed, also) if enough and differed + also else None


def _habit(mutant: Mutant | Candidate) -> bool:
    return isinstance(mutant, Candidate)


def _due(judge: Judge, case: Case) -> Mapping[str, Due] | None:
    """What a judge's spec gives, with bounds; None where none can be had."""
    expected = judge.expected(case)
    return None if expected.reason else renamed(judge, expected, backward=False)


def _by(dues: Mapping[str, Due] | None, one: Asked) -> bool | None:
    """Whether an answer is what is due; None where that cannot be told."""
    return None if dues is None else agrees(one.answers, dues)


def _finite(one: Asked) -> bool:
    return all(bool(np.isfinite(np.asarray(a, float)).all()) for a in one.answers.values())


def _about(got: Array, due: Array, more: float, *, apart: bool) -> bool:
    """Whether two arrays are alike, up to a share of the largest entry and what more is allowed."""
    value = np.asarray(due, float)
    finite = np.abs(value[np.isfinite(value)])
    room = NEAR * (float(finite.max()) if finite.size else 1.0)
    found = np.where(value == 0, 0, got) if apart else np.asarray(got, float)
    return within("sieve", found, value, room + more).status is Status.HELD


def _entries(case: Case) -> int:
    return sum(int(a.size) for a in case.arrays.values())
