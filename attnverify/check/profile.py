"""Which profile a subject fits: one that was not declared is not judged by, but it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attnverify.check.judge import Judge
from attnverify.inputs import Case
from attnverify.rounding.profiles import strict
from attnverify.verdict import Status, Verdict

# Scores of some size tell what they are rounded to.
STEEP = ("peaked", "towering")
CASES = 4


def may_be_tighter(judge: Judge) -> bool:
    """Whether `strict` asks for more than what a subject was judged by."""
    return judge.profile == "loose" and strict(judge.dtype).selective


def with_profile(
    verdicts: Sequence[Verdict], tighter: Judge, cases: Sequence[Case]
) -> list[Verdict]:
    """The verdicts that HELD, each with the tightest profile that its answers fit."""
    few = [case for case in cases if case.style in STEEP][-CASES:]
    loose: set[str] = set()
    judged: set[str] = set()
    for case in few:
        for name, verdict in tighter.ask(case).verdicts.items():
            judged.add(name)
            loose |= {name} if verdict.status is not Status.HELD else set()
    return [_told(v, loose=v.name in loose) if v.name in judged else v for v in verdicts]


def _told(verdict: Verdict, *, loose: bool) -> Verdict:
    if verdict.status is not Status.HELD:
        return verdict
    fits = "loose" if loose else "strict"
    detail = verdict.detail if loose else f"{verdict.detail}; fits strict too"
    return replace(verdict, detail=detail, evidence={**verdict.evidence, "profile": fits})
