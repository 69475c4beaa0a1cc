"""What a comparison would have caught: known faults, put into what is due, judged as an answer is.

A comparison that passes says little where a wrong answer would have passed as well.  So each fault
is computed exactly, on cases as they come, and compared with what is due under the bounds that the
subject was judged by, made wider by what rounding may hide of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attnverify.check.matched import Matched
from attnverify.compare import WIDTHS, Due, judge, same_bits
from attnverify.inputs import Case
from attnverify.rounding import Expected
from attnverify.rounding.altered import Altered, Given
from attnverify.verdict import Status, Verdict

Array: TypeAlias = NDArray[Any]
Values: TypeAlias = Mapping[str, Array]
Fault: TypeAlias = "Callable[[Altered, Given, np.random.Generator], Values | None]"

# A fault this many standard deviations past the bound is hidden by rounding once in forty times.
SURE = 2.0
# A fault that so many cases in a row did not show is looked for no further.
TRIES = 8

SCALES = {"scale 1 %": 0.01, "scale 0.3 %": 0.003}


def _by(factor: float) -> Fault:
    return lambda altered, given, _rng: altered.scaled(given, 1 + factor)


FAULTS: dict[str, Fault] = {
    **{name: _by(amount) for name, amount in SCALES.items()},
    "leaked key": lambda altered, given, rng: altered.leaked(given, rng),
    "dropped key": lambda altered, given, rng: altered.dropped(given, rng),
    "missing row": lambda altered, given, rng: altered.without_row(given, rng),
}


@dataclass
class Power:
    """Which faults the comparisons would have caught so far.

    `outputs` has the value that each comparison compares; `moved` and `caught` say, for each
    comparison, which faults changed what is due, and which by more than rounding hides.
    """

    altered: Altered
    outputs: Mapping[str, str]
    moved: dict[str, set[str]] = field(default_factory=dict)
    caught: dict[str, set[str]] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)

    def add(self, case: Case, given: Given, expected: Expected) -> None:
        """Put each fault that is not caught by every comparison yet into one case."""
        rng = np.random.default_rng([case.seed, 5])
        right: Values | None = None
        for fault, change in FAULTS.items():
            left = [n for n in self.outputs if fault not in self.caught.get(n, ())]
            if not left or self.tried.get(fault, 0) >= TRIES:
                continue
            found = change(self.altered, given, rng)
            if found is None:
                continue
            right = self.altered.right(given) if right is None else right
            moved = [self._moves(fault, n, found, right, expected) for n in left]
            self.tried[fault] = self.tried.get(fault, 0) + any(moved)

    def _moves(
        self, fault: str, name: str, found: Values, right: Values, expected: Expected
    ) -> bool:
        """Whether a fault changes what a comparison is due; if by enough, it is caught."""
        out = self.outputs[name]
        if out not in found or same_bits(out, found[out], right[out]).status is Status.HELD:
            return False
        self.moved.setdefault(name, set()).add(fault)
        if _outside(found[out], right[out], expected.dues[out]):
            self.caught.setdefault(name, set()).add(fault)
        return True

    def told(self, name: str, matched: Matched) -> dict[str, str]:
        """For each fault: `caught`, `missed`, or `does not apply` where it changes nothing here."""
        caught = set(self.caught.get(name, ()))
        caught |= {n for n, a in SCALES.items() if matched.sees(name, a, SURE)}
        moved = self.moved.get(name, set()) | caught
        return {
            fault: "caught" if fault in caught else "missed" if fault in moved else "does not apply"
            for fault in FAULTS
        }

    def judged(self, verdict: Verdict, matched: Matched, *, alone: bool = False) -> Verdict:
        """A verdict that HELD with its power told; UNDECIDED where it has none.

        A kept case that is judged `alone` once showed a fault, and is asked for no other.
        """
        told = self.told(verdict.name, matched)
        evidence = {**verdict.evidence, "power": told}
        caught = [fault for fault, word in told.items() if word == "caught"]
        missed = [fault for fault, word in told.items() if word == "missed"]
        if caught or alone:
            words = f"would have caught: {', '.join(caught) or 'nothing else'}"
            words += f"; not: {', '.join(missed)}" if missed else ""
            return replace(verdict, detail=f"{verdict.detail}; {words}", evidence=evidence)
        reason = f"not even {', '.join(missed)}" if missed else "nothing that was altered shows"
        return replace(
            verdict,
            status=Status.UNDECIDED,
            detail=f"nothing was told apart: these cases would have caught no fault, {reason}",
            evidence=evidence,
        )


def _outside(found: Array, right: Array, due: Due) -> bool:
    """Whether an altered value would be refuted although rounding may hide part of it."""
    with np.errstate(invalid="ignore"):
        change = np.where((found == right) | np.isnan(right), 0, found - right)
    wider = Due(due.value, due.sigma * ((WIDTHS + SURE) / WIDTHS), due.axes)
    return judge("altered", due.value + change, wider).status is Status.REFUTED
