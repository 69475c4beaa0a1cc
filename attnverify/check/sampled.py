"""One dtype on one long case: rows by themselves, then what all rows give together."""

from __future__ import annotations

import time
from dataclasses import replace

from attnverify.check.answers import Answers
from attnverify.check.dense import Dense, row_sums
from attnverify.check.judge import Judge
from attnverify.check.rowwise import Bounds, Rows, begun, bounded
from attnverify.check.settings import Settings
from attnverify.check.tally import without_backward
from attnverify.errors import ParameterError
from attnverify.subjects import SubjectFault, WrongForm
from attnverify.verdict import Status, Verdict, Witness


def judged_rows(settings: Settings, judge: Judge) -> list[Verdict]:
    """The verdicts on one long case, of which some rows are judged.

    Raises ParameterError where single rows of the spec cannot be judged, SubjectError where the
    call does not fit the subject.
    """
    began = time.monotonic()
    if judge.rounding.profile.scaled:
        raise ParameterError(
            "single rows cannot be judged where a whole tensor has one scale",
            spec=settings.spec.name,
            found=judge.profile,
        )
    rows = begun(settings, judge, settings.rows)
    own = time.monotonic()
    judge.look(rows.case)
    rows.own += time.monotonic() - own
    found = _judged(settings, rows)
    seconds = (time.monotonic() - began - rows.own) / max(1, len(found))
    again = settings.again(judge.dtype)
    told = [
        replace(v, seconds=seconds, replay=again if v.status is Status.REFUTED else v.replay)
        for v in found
    ]
    return [*told, *without_backward(judge)]


def _judged(settings: Settings, rows: Rows) -> list[Verdict]:
    dense, bounds = Dense(rows), list[Bounds]()
    rounding = rows.rounding(backward=rows.backward)
    for one in bounded(rows, rounding):
        dense.look(one, rounding)
        bounds.append(replace(one, runs={}))  # runs take more memory than all else of a group
    answers = Answers(rows, bounds)
    found = answers.forward()
    if rows.backward:
        found |= answers.backward(rows.long.at(rows.rows.rows, settings.spec))
    failed = any(v.status is Status.REFUTED for v in found.values())
    found = answers.powered(found)
    return [*found.values()] if failed else _together(rows, dense, answers, found)


def _together(
    rows: Rows, dense: Dense, answers: Answers, found: dict[str, Verdict]
) -> list[Verdict]:
    """The verdicts with those on all rows, where no single one has failed."""
    further: list[Verdict] = []
    try:
        sums = row_sums(rows)
        further += [] if sums is None else [sums]
        if rows.backward:
            _, slopes = rows.asked(rows.case, backward=True)
            for title, verdict in answers.everywhere(slopes).items():
                if verdict.status is Status.REFUTED:
                    words = f"under cotangents on every row, {verdict.detail}"
                    found[title] = replace(verdict, detail=words)
            further += dense.verdicts(slopes)
    except (SubjectFault, WrongForm) as fault:
        note = f"in a further call: {fault}"
        title = next(iter(found))
        found[title] = Verdict(title, Status.REFUTED, note, witness=Witness(note=note))
    return [*found.values(), *further]
