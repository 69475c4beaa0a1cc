"""Two bugs at once are named together; one bug, none, and what lies near them are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Explanation
from attnverify.check.pairs import paired
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.inputs import Draw
from tests.mutants.pairs import TABLE, Two
from tests.mutants.plain import attend, hidden, places, scores, softmax


def searched(subject: Any, spec: str, **settings: Any) -> Diagnosis:
    """The search for one subject, with all the time that a busy machine takes."""
    loaded = av.load(spec, **settings)
    judge = judge_of(Settings(subject, loaded), "float32")
    return Diagnosis(judge, Draw(loaded, dtype="float32"), [], 0, seconds=12, clock=300)


def found(subject: Any, spec: str, **settings: Any) -> tuple[list[Explanation], list[Explanation]]:
    """What single mutants explain, and what pairs do where none does."""
    search = searched(subject, spec, **settings)
    single = search.explanations()
    return single, [] if single else paired(search)


def names(told: Explanation) -> set[str]:
    return {*told.mutant.operator.name.split(" and ")}


def inverted(q: Any, k: Any, v: Any, mask: Any, share: float = 1.0) -> Any:
    """Both an inverted mask and scores that are not scaled, or almost not."""
    return softmax(hidden(scores(q, k, q.shape[-1] ** (-0.5 + share / 2)), ~mask)) @ v


def test_two_bugs_at_once_are_named_together() -> None:
    single, pairs = found(inverted, "masked")
    assert single == []
    assert names(pairs[0]) == {"polarity", "scale dropped"}
    assert "polarity" in pairs[0].mutant.operator.name
    assert pairs[0].agreed >= pairs[0].differed > 20
    assert "not" in pairs[0].mutant.sentence


@pytest.mark.slow
def test_nearly_two_bugs_are_not_named() -> None:
    def nearly(q: Any, k: Any, v: Any, mask: Any) -> Any:
        return inverted(q, k, v, mask, 0.999).astype(v.dtype)

    assert found(nearly, "masked") == ([], [])


def test_nearly_bottom_right_is_not_named() -> None:
    """A thousandth of the top-left answer is left in."""

    def nearly(q: Any, k: Any, v: Any) -> Any:
        i, j = places(scores(q, k))
        wrong = attend(q, k, v, j <= i + k.shape[-2] - q.shape[-2])
        return (wrong + np.float32(0.001) * (attend(q, k, v, j <= i) - wrong)).astype(v.dtype)

    assert searched(nearly, "causal").explanations() == []


@pytest.mark.slow
def test_a_right_subject_has_no_bug_and_no_pair() -> None:
    def right(q: Any, k: Any, v: Any) -> Any:
        i, j = places(scores(q, k))
        return attend(q, k, v, j <= i)

    assert found(right, "causal") == ([], [])


@pytest.mark.mutants
@pytest.mark.parametrize("two", TABLE, ids=lambda two: f"{two.first} and {two.second}")
def test_both_bugs_of_a_subject_by_hand_are_named_first(two: Two) -> None:
    single, pairs = found(two.subject, two.spec, **two.settings)
    assert single == []
    assert names(pairs[0]) == {two.first, two.second}
