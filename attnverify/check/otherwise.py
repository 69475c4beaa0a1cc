"""What no rewrite of a spec says: its own equations in other memory and other arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.check.arithmetic import Program, arithmetics
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Candidate
from attnverify.check.memory import rearranged


def otherwise(search: Diagnosis) -> Iterator[Candidate]:
    """The candidates for a search of outputs, the likelier ones first."""
    judge = search.judge
    yield from rearranged(judge, [one.case for one in search.asked])
    yield from arithmetics(
        Program(
            judge.spec.replace(outputs=judge.subject.plan.judged),
            judge.rounding.profile,
            dict,
            lambda case: case.arrays,
            search.own[1],
        )
    )
