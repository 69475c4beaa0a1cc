"""Name the bug: which wrong computation gives a refuted subject's own answers.

Every mutant of the spec is compiled and compared with what the subject answered: roughly on a few
draws, and what is left under its own derived bound on draws that the check has not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import Asked, agrees, asked, fresh, renamed
from attnverify.check.judge import Judge
from attnverify.compare import within
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.inputs import Case, Draw
from attnverify.rounding import Expected, arrays_for
from attnverify.transforms.mutate import Mutant, mutants
from attnverify.verdict import Status, Verdict

Array = NDArray[Any]
T = TypeVar("T")
# Of the processor, and by the clock where others keep it busy.
SECONDS, CLOCK = 7.0, 20.0
# A subject that compiles or crashes at each call is asked less often.
ASKING = 8.0
# A sieve lets through what is near; the derived bound decides.
NEAR = 0.02
SIEVES = 4
LISTED = 6
ENOUGH = 8
NONE = "no single known bug gives these outputs"
NONE_IN_TIME = "no known bug was found that gives these outputs before the search ran out of time"
TINY = 1e-30


@dataclass(frozen=True)
class Explanation:
    """One mutant that gives the subject's answers: how often, and how often the spec does not."""

    mutant: Mutant
    agreed: int
    differed: int

    def plain(self) -> dict[str, Any]:
        """As the evidence of a verdict holds it."""
        operator = self.mutant.operator
        cited = [f"{c.bug}: {c.title}, {c.source} ({c.year})" for c in operator.citations]
        return {
            "sentence": self.mutant.sentence,
            "operator": operator.name,
            "bugs": list(operator.bugs),
            "evidence": f"agrees on {self.agreed} of {self.agreed} draws, on "
            f"{self.differed} of which the spec does not",
            "citations": cited,
            "equations": [str(s) for s in _changed(self.mutant)],
        }


def _changed(mutant: Mutant) -> list[object]:
    return [s for s in mutant.spec.equations if getattr(s, "name", "") == mutant.place]


def explained(
    judge: Judge, draw: Draw, failing: Mapping[str, Case], verdicts: Sequence[Verdict], seed: int
) -> list[Verdict]:
    """The verdicts, the refuted forward ones with the mutants that give the subject's answers.

    What it found stands in the evidence as `explained`, and in `unexplained` why there is nothing.
    """
    cases = [case for name, case in failing.items() if name.startswith("forward")]
    if not cases:
        return [*verdicts]
    search = Diagnosis(judge, draw, cases, seed)
    found = search.explanations()
    told: dict[str, Any] = {"explained": [one.plain() for one in found]}
    if not found:
        told = {"unexplained": NONE_IN_TIME if search.cut else NONE}
    return [
        replace(v, evidence={**v.evidence, **told})
        if v.status is Status.REFUTED and v.name.startswith("forward")
        else v
        for v in verdicts
    ]


@dataclass
class Diagnosis:
    """The search for one subject in one dtype, on its answers; `cut` where time ran out."""

    judge: Judge
    draw: Draw
    failing: Sequence[Case]
    seed: int
    seconds: float = SECONDS
    asked: list[Asked] = field(default_factory=list)
    cut: bool = False

    def __post_init__(self) -> None:
        self._began = time.process_time(), time.monotonic()

    def explanations(self) -> list[Explanation]:
        """The mutants that agree with the subject on every draw, the likelier ones first."""
        cases = chain(self.failing, fresh(self.draw, self.seed))
        self.asked = list(asked(self.judge, self._in_time(cases, ASKING), backward=False))
        if len(self.asked) < ENOUGH or not self.sieves:
            return []
        near = [m for m in self._in_time(mutants(self.judge.spec)) if self._near(m)]
        return [found for m in self._in_time(near) if (found := self._explained(m))][:LISTED]

    def _in_time(self, some: Iterable[T], clock: float = CLOCK) -> Iterator[T]:
        """Mutants, or cases to ask, as long as there is time."""
        for one in some:
            spent, passed = time.process_time() - self._began[0], time.monotonic() - self._began[1]
            if spent > self.seconds or passed > clock:
                self.cut = True
                return
            yield one

    @cached_property
    def wrong(self) -> list[bool | None]:
        """Whether the spec agrees with the answer on each draw."""
        return [self._by(self.judge, one) for one in self.asked]

    @cached_property
    def sieves(self) -> Sequence[tuple[Asked, Mapping[str, Array]]]:
        """A few draws on which the subject is plainly not what the spec is, small ones first.

        Each with its arrays as oracles take them.
        """
        oracle = compile_spec(self.judge.spec.replace(outputs=self.judge.subject.plan.judged))
        ordered = sorted(self.asked, key=lambda one: _entries(one.case))
        ready = [(one, arrays_for(oracle.dtype, one.case.arrays)) for one in ordered]
        plain = [(one, a) for one, a in ready if not _near(oracle, one, a)]
        step = max(1, len(plain) // SIEVES)
        if not plain:
            by_case = {id(one): right for one, right in zip(self.asked, self.wrong, strict=True)}
            plain = [(one, a) for one, a in ready if by_case[id(one)] is False]
        return plain[::step]

    def _near(self, mutant: Mutant) -> bool:
        """Whether a mutant gives about the answers of the sieves."""
        oracle = compile_spec(mutant.spec.replace(outputs=self.judge.subject.plan.judged))
        for one, arrays in self.sieves:
            if _near(oracle, one, arrays):
                continue
            if not _near(oracle, one, arrays, apart=True) or not self._has_empty_rows(
                mutant, one.case
            ):
                return False
        return True

    def _has_empty_rows(self, mutant: Mutant, case: Case) -> bool:
        """Whether rows that see keys in the spec see none in a mutant: then nothing is due."""
        return not case.empty and Draw(mutant.spec, dtype=self.judge.dtype).rows_without_keys(case)

    def _explained(self, mutant: Mutant) -> Explanation | None:
        """The evidence for a mutant; None where one draw speaks against it, or none for it."""
        judge = Judge(
            mutant.spec,
            self.judge.subject,
            self.judge.dtype,
            internal=self.judge.internal,
            profile=self.judge.profile,
        )
        agreed = differed = 0
        for one, right in zip(self.asked, self.wrong, strict=True):
            found = self._by(judge, one)
            if found is False and not self._has_empty_rows(mutant, one.case):
                return None
            agreed += found is True
            differed += found is True and right is False
        return (
            Explanation(mutant, agreed, differed)
            if differed and 2 * agreed >= len(self.asked)
            else None
        )

    def _by(self, judge: Judge, one: Asked) -> bool | None:
        """Whether an answer is what a judge's spec gives; None where that cannot be told."""
        expected: Expected = judge.expected(one.case)
        if expected.reason:
            return None
        return agrees(one.answers, renamed(judge, expected, backward=False))


def _near(oracle: Oracle, one: Asked, arrays: Mapping[str, Array], *, apart: bool = False) -> bool:
    """Whether an oracle gives about an answer; `apart` from where it gives exactly 0."""
    due = oracle(**arrays, **one.case.parameters, sizes=one.case.sizes)
    return all(_about(got, due[name], apart=apart) for name, got in one.answers.items())


def _about(got: Array, due: Array, *, apart: bool) -> bool:
    """Whether two arrays are alike, up to a share of the largest entry."""
    value = np.asarray(due, float)
    finite = np.abs(value[np.isfinite(value)])
    room = NEAR * (float(finite.max()) if finite.size else 1.0)
    found = np.where(value == 0, 0, got) if apart else np.asarray(got, float)
    return within("sieve", found, value, room + TINY).status is Status.HELD


def _entries(case: Case) -> int:
    return sum(int(a.size) for a in case.arrays.values())
