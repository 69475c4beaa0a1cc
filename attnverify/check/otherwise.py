"""What no rewrite of a spec says: its own equations in other memory and other arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.check.arithmetic import Program, arithmetics
from attnverify.check.diagnose import Diagnosis
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.explanation import Candidate
from attnverify.check.memory import rearranged


def otherwise(search: Diagnosis) -> Iterator[Candidate]:
    """The candidates for a search of outputs, the likelier ones first."""
    judge = search.judge
    yield from rearranged(judge, [one.case for one in search.asked])
    spec = judge.spec.replace(outputs=judge.subject.plan.judged)
    profile, right = judge.rounding.profile, search.own[1]
    yield from arithmetics(Program(spec, profile, dict, lambda case: case.arrays, right))


def otherwise_backward(search: BackwardDiagnosis) -> Iterator[Candidate]:
    """The candidates for a search of gradients."""
    spec, right = search.own
    profile = search.judge.rounding.profile
    yield from arithmetics(Program(spec, profile, search.named, search.given, right))
