"""Gather the verdicts of many cases into one per comparison."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from attnverify.check.judge import Answers, Judge
from attnverify.check.matched import Matched
from attnverify.check.power import Power
from attnverify.check.profile import STEEP
from attnverify.errors import SubjectError
from attnverify.inputs import Case
from attnverify.rounding import Expected
from attnverify.rounding.filters import common
from attnverify.verdict import Status, Verdict

MISUSES = 3
PATIENCE = 3


@dataclass
class Tally:
    """What came of each comparison so far; the first failing case of each is kept."""

    judge: Judge
    # A kept case says whether its own fault is still there, and nothing of others.
    replayed: bool = False
    held: dict[str, list[Verdict]] = field(default_factory=dict)
    failing: dict[str, Case] = field(default_factory=dict)
    refuted: dict[str, list[Verdict]] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    misuses: list[str] = field(default_factory=list)
    hung: int = 0
    answered: int = 0
    sizes: dict[str, list[int]] = field(default_factory=dict)
    broadest: Case | None = None
    wide: dict[str, Verdict] = field(default_factory=dict)
    steep: list[Case] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @cached_property
    def power(self) -> Power:
        """What the cases so far would have caught."""
        return Power(self.judge.rounding.altered, self.judge.dues)

    @cached_property
    def matched(self) -> Matched:
        """What the answers so far have in common."""
        rounding = self.judge.rounding
        return Matched(common(rounding.profile), rounding.altered.temper)

    def add(self, case: Case, answers: Answers) -> None:
        """Count one case in."""
        if answers.skipped:
            self.skipped[answers.skipped] += 1
            return
        self.answered += 1
        self.misuses += [answers.misuse] if answers.misuse else []
        self.hung += answers.hung
        for axis, size in case.sizes.items():
            self.sizes.setdefault(axis, []).append(size)
        if self.broadest is None or _breadth(case) > _breadth(self.broadest):
            self.broadest = case
        self.steep += [case] if case.style in STEEP else []
        for name, verdict in answers.verdicts.items():
            if verdict.status is Status.REFUTED:
                self.failing.setdefault(name, case)
                self.refuted.setdefault(name, []).append(verdict)
            elif verdict.status is Status.HELD:
                self.held.setdefault(name, []).append(verdict)
            else:
                self.undecided[name] = verdict.detail
        if answers.expected is not None:
            self._weigh(case, answers.verdicts, answers.expected)

    def _weigh(self, case: Case, verdicts: Mapping[str, Verdict], expected: Expected) -> None:
        """Keep what a case says together with others, and what it would have caught."""
        self.power.add(case, self.judge.given(case), expected)
        for name, out in self.judge.dues.items():
            if name in verdicts:
                self.matched.add(name, verdicts[name], expected.dues[out])

    @property
    def misused(self) -> str:
        """What the call raised, where it never once fitted the function."""
        return self.misuses[0] if self.misuses and len(self.misuses) == self.answered else ""

    @property
    def done(self) -> bool:
        """Whether more cases would tell nothing new: no call fits, or every comparison failed.

        A call that hangs costs its whole time limit, so one is enough where no other came through.
        """
        if self.hung and self.hung in (self.answered, PATIENCE):
            return True
        if len(self.misuses) >= MISUSES and self.misused:
            return True
        failures = [len(self.refuted.get(name, ())) for name in self.judge.names]
        return bool(failures) and min(failures) >= PATIENCE

    def look_at(self, case: Case) -> None:
        """Ask one more case, which is not counted, to see where failures lie."""
        for name, verdict in self.judge.ask(case).verdicts.items():
            if name in self.refuted and verdict.status is Status.REFUTED:
                self.wide[name] = verdict

    def verdicts(self, small: Mapping[str, Case], spent: float) -> list[Verdict]:
        """One verdict per comparison; a refuted one is that of its smallest case."""
        share = (time.monotonic() - self.began) / max(1, len(self.judge.names))
        return [
            self._verdict(name, small.get(name), share + (spent if name in small else 0.0))
            for name in self.judge.names
        ]

    def _verdict(self, name: str, small: Case | None, seconds: float) -> Verdict:
        if name in self.refuted:
            return replace(self._smallest(name, small), seconds=seconds)
        held = self.held.get(name, [])
        if not held:
            reason = self.undecided.get(name) or next(iter(self.skipped), "no case could be drawn")
            return Verdict(
                name, Status.UNDECIDED, f"no case could be judged: {reason}", seconds=seconds
            )
        worst = max(float(v.evidence.get("worst", 0.0)) for v in held)
        rms = max(float(v.evidence.get("rms", 0.0)) for v in held)
        entries = sum(int(v.evidence.get("entries", 0)) for v in held)
        verdict = Verdict(
            name,
            Status.HELD,
            f"largest error {worst:.2f} sigma of 6, root mean square {rms:.2f}{self._left_out()}",
            seconds=seconds,
            cases=len(held),
            scope=self._scope(),
            evidence={"worst": worst, "rms": rms, "entries": entries},
        )
        joined = self.matched.joined(verdict)
        if joined.status is not Status.HELD:
            return joined
        return self.power.judged(joined, self.matched, alone=self.replayed)

    def _smallest(self, name: str, small: Case | None) -> Verdict:
        """The refuted verdict on the smallest case, with how often and on which shape."""
        case = small if small is not None else self.failing[name]
        verdict = self.judge.ask(case).verdicts.get(name) if small is not None else None
        if verdict is None or verdict.status is not Status.REFUTED:
            verdict, case = self.refuted[name][0], self.failing[name]
        shape = " ".join(f"{axis}={size}" for axis, size in case.sizes.items())
        settings = "".join(f" {key}={value}" for key, value in case.parameters.items())
        often = f"{len(self.refuted[name])} of {self.answered} cases fail"
        shown, told = _whereabouts(self._all_refuted(name))
        return replace(
            verdict,
            detail=f"smallest shape {shape}{settings}: {verdict.detail} ({often}{told})",
            cases=self.answered,
            evidence={**verdict.evidence, **shown, "first": _drawn(self.failing[name])},
        )

    def _all_refuted(self, name: str) -> list[Verdict]:
        return [*self.refuted[name], *([self.wide[name]] if name in self.wide else [])]

    def _scope(self) -> str:
        parts = (f"{axis} {min(s)}..{max(s)}" for axis, s in self.sizes.items())
        return "drawn sizes " + ", ".join(parts)

    def _left_out(self) -> str:
        return "".join(
            f"; {count} cases not judged: {reason}" for reason, count in self.skipped.items()
        )

    def without_backward(self) -> list[Verdict]:
        """That gradients were not judged is said, never passed over."""
        return without_backward(self.judge)


def without_backward(judge: Judge) -> list[Verdict]:
    """That gradients were not judged is said, never passed over."""
    if not judge.no_backward:
        return []
    return [Verdict(f"gradients ({judge.dtype})", Status.UNDECIDED, judge.no_backward)]


def misused(subject: str, found: str) -> SubjectError:
    """The error of a call that does not fit."""
    return SubjectError(
        "the call does not fit the subject",
        subject=subject,
        found=found,
        hint="map the inputs' names with inputs=, or change kwargs=",
    )


def _whereabouts(refuted: list[Verdict]) -> tuple[dict[str, Any], str]:
    """Where the case with the most entries fails, as evidence and in words.

    On the smallest case there is hardly a place that could be told from another.
    """
    mapped = [verdict for verdict in refuted if verdict.evidence.get("map")]
    if not mapped:
        return {}, ""
    widest = max(mapped, key=lambda verdict: int(verdict.evidence.get("entries", 0)))
    shape = widest.witness.shape if widest.witness is not None else ""
    shown = {"where": widest.evidence["where"], "map": {**widest.evidence["map"], "case": shape}}
    return shown, f"; at {shape}: {shown['where'][0]}" if shown["where"] else ""


def _breadth(case: Case) -> tuple[int, bool]:
    """How many axes are longer than one, and whether the values are plain."""
    return sum(size > 1 for size in case.sizes.values()), case.style == "normal"


def _drawn(case: Case) -> dict[str, Any]:
    """How a case was drawn: its style of entries, its sizes and its parameters."""
    return {"style": case.style, "sizes": dict(case.sizes), "parameters": dict(case.parameters)}
