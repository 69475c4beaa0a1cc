"""One dtype: every drawn case put to the subject, and what single cases do not show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from attnverify.check.conventions import observed
from attnverify.check.empties import empties, without_places
from attnverify.check.explained import explained
from attnverify.check.free import drawn, free
from attnverify.check.habits import habits
from attnverify.check.judge import Judge
from attnverify.check.long import too_large
from attnverify.check.matched import STYLES, by_many
from attnverify.check.poison import poisoned
from attnverify.check.profile import may_be_tighter, with_profile
from attnverify.check.sampled import judged_rows
from attnverify.check.settings import Settings
from attnverify.check.shrink import shrink
from attnverify.check.tally import Tally, misused
from attnverify.inputs import Case, Draw
from attnverify.inputs.corners import WIDE
from attnverify.verdict import Status, Verdict

CASES = 24
NARROW = 2.0**20


def _drawn(draw: Draw, seed: int, count: int | None) -> Iterator[Case]:
    """As many cases of the schedule as are asked for; unasked, all of it and every corner."""
    if count is not None:
        return draw.schedule(seed, count)
    return chain(draw.schedule(seed, CASES), draw.corners(seed))


def judge_of(settings: Settings, dtype: str, profile: str = "") -> Judge:
    """The judge of one dtype, under the profile declared or another."""
    return Judge(
        settings.spec,
        settings.wrapped(dtype),
        dtype,
        internal=settings.inside(dtype),
        profile=profile or settings.profile,
        backward=settings.backward,
    )


def judged(settings: Settings, dtype: str, count: int | None) -> list[Verdict]:
    """The verdicts of one dtype over the drawn cases, or on rows of one long case."""
    judge = judge_of(settings, dtype)
    if settings.rows is not None or too_large(settings):
        return judged_rows(settings, judge)
    draw = Draw(
        settings.spec,
        dtype=dtype,
        support=settings.sizes,
        empty=settings.empty_rows is not None,
        types=judge.types,
    )
    tally = Tally(judge)
    for number, case in enumerate(_drawn(draw, settings.seed, count)):
        if number == 0:
            judge.look(case)
        tally.add(case, judge.ask(case, matched=case.style in STYLES))
        if tally.done:
            break
    if tally.misused:
        raise misused(settings.name, tally.misused)
    started = time.monotonic()
    # To look for a smaller case that hangs would cost the time limit at every step.
    small = shrink(judge, draw, tally.failing) if tally.failing and not tally.hung else {}
    if small:
        tally.look_at(draw.cornered(WIDE, settings.seed))
    spent = (time.monotonic() - started) / max(1, len(small))
    verdicts = [_named(v, settings, dtype, tally) for v in tally.verdicts(small, spent)]
    # What many draws show together is shown again by all of them alone.
    again = settings.again(dtype, count)
    verdicts = [replace(v, replay=again) if by_many(v) else v for v in verdicts]
    verdicts = _fitting(settings, tally, verdicts)
    if settings.explain and not tally.hung:
        verdicts = explained(judge, draw, {**tally.failing, **small}, verdicts, settings.seed)
    return [*verdicts, *_further(settings, judge, draw, tally), *tally.without_backward()]


def _fitting(settings: Settings, tally: Tally, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts with the tightest profile that fits, where a tighter one was not declared."""
    judge = tally.judge
    if tally.failing or tally.hung or judge.internal or not may_be_tighter(judge):
        return verdicts
    tighter = judge_of(settings, judge.dtype, "strict")
    tighter.no_backward = judge.no_backward
    return with_profile(verdicts, tighter, tally.steep)


def _further(settings: Settings, judge: Judge, draw: Draw, tally: Tally) -> list[Verdict]:
    """What cases put one at a time do not show; nothing more is asked of one that hangs."""
    if tally.hung or tally.failing or tally.broadest is None:
        return []
    if judge.rounding.profile.scaled:
        # One scale for a whole tensor: garbage in one place takes the digits of all others.
        return list(habits(judge, draw, tally.broadest))
    told = (observed(settings, judge, draw), poisoned(judge, drawn(draw), settings.poison))
    found = [verdict for verdict in told if verdict is not None]
    found += habits(judge, draw, tally.broadest)
    found += free(judge, draw)
    if settings.process is None:
        return found
    empty = empties(judge, without_places(draw, tally.broadest))
    return found if empty is None else [*found, empty]


def _named(verdict: Verdict, settings: Settings, dtype: str, tally: Tally) -> Verdict:
    """A failure in float64 that float32 inside explains is called by that name."""
    if verdict.status is not Status.REFUTED or dtype != "float64" or settings.internal is not None:
        return verdict
    # Narrow arithmetic shows as errors of about 2^29 roundings; a missing gradient or a NaN is
    # another matter.
    worst = float(verdict.evidence.get("worst", 0.0))
    if not NARROW < worst < float("inf"):
        return verdict
    case = tally.failing.get(verdict.name)
    narrow = Judge(settings.spec, settings.wrapped(dtype), dtype, internal="float32")
    narrow.no_backward = tally.judge.no_backward
    again = narrow.ask(case).verdicts.get(verdict.name) if case is not None else None
    if again is None or again.status is not Status.HELD:
        return verdict
    words = "the errors are those of float32 arithmetic inside float64"
    return replace(verdict, detail=f'{verdict.detail}; {words}: internal="float32" declares it')
