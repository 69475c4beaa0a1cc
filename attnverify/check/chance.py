"""Answers that depend on chance: weights that are dropped where nobody asked for it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import asked, renamed
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Observed, habit
from attnverify.compare import Due, judge, same_bits
from attnverify.inputs import Case
from attnverify.inputs.sizes import supported
from attnverify.verdict import Status

Array = NDArray[Any]
DROPPED = habit("dropout in evaluation", "weights are dropped in evaluation", "DRP-01")
# Rows with one key: each is dropped or kept as a whole.
SIZES = {"batch": 3, "heads": 4, "queries": 24, "value_dim": 3, "key_dim": 4}
CALLS, FEWEST = 4, 12
DENOMINATOR = 1000
# What a share of rows may be off, in standard deviations of a coin that falls as often.
COINS = 5.0


def by_chance(search: Diagnosis) -> bool:
    """Whether equal calls give other bits."""
    for case in (one.case for one in search.asked[-3:]):
        first, second = ([*asked(search.judge, [case], backward=False)] for _ in range(2))
        for one, two in zip(first, second, strict=False):
            same = [same_bits(n, a, two.answers[n]) for n, a in one.answers.items()]
            if any(v.status is not Status.HELD for v in same):
                return True
    return False


def dropped(search: Diagnosis) -> list[Observed]:
    """That rows with a single key give 0 or all the same multiple of what is due."""
    if not by_chance(search):
        return []
    spec = search.judge.spec
    wanted = {axis.name: SIZES.get(axis.name, 1) for axis in spec.axes}
    case = search.draw.case(supported(spec, wanted, search.draw.support), seed=search.seed)
    found = [rows for _ in range(CALLS) if (rows := _rows(search, case)) is not None]
    if len(found) < CALLS:
        return []
    got = np.concatenate([rows for rows, _ in found])
    value, sigma = (np.concatenate([getattr(d, n) for _, d in found]) for n in ("value", "sigma"))
    lost = (got == 0).all(-1)
    kept, count = int((~lost).sum()), len(lost)
    if min(kept, count - kept) < FEWEST:
        return []
    factor = float(np.median(got[~lost] / value[~lost]))
    share = Fraction(1 - 1 / factor).limit_denominator(DENOMINATOR) if factor > 1 else Fraction(0)
    if not 0 < share < 1:
        return []
    grown = 1 / float(1 - share)
    due = Due(value[~lost] * grown, sigma[~lost] * grown, ("rows", "value_dim"))
    spread = float(count * share * (1 - share)) ** 0.5
    right = judge("kept", got[~lost], due).status is Status.HELD
    if not right or abs(count - kept - float(count * share)) > COINS * spread:
        return []
    evidence = (
        f"of {count} rows with a single key {count - kept} give 0 and the others what is due over "
        f"1 - {float(share):g}; equal calls differ"
    )
    return [Observed(DROPPED, "drops weights at random, which nobody asked for", evidence)]


def _rows(search: Diagnosis, case: Case) -> tuple[Array, Due] | None:
    """The rows of the one output, what was given and what is due."""
    expected = search.judge.expected(case)
    answers = [*asked(search.judge, [case], backward=False)]
    if expected.reason or not answers or len(answers[0].answers) != 1:
        return None
    ((name, got),) = answers[0].answers.items()
    due = renamed(search.judge, expected, backward=False)[name]
    width = got.shape[-1] if got.ndim else 1
    rows = [np.asarray(a, float).reshape(-1, width) for a in (got, due.value, due.sigma)]
    return rows[0], Due(rows[1], rows[2], ("rows", "value_dim"))
