"""A scale that is nobody's known bug is fitted and said; what has no one scale is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.fits import fitted
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.inputs import Draw
from tests.mutants.plain import attend, places, scores

Scale = Callable[[int], float]


def told(scale: Scale) -> list[str]:
    """What a fit says of causal attention with a scale."""

    def subject(q: Any, k: Any, v: Any) -> Any:
        i, j = places(scores(q, k))
        return attend(q * (scale(q.shape[-1]) * q.shape[-1] ** 0.5), k, v, j <= i)

    spec = av.load("causal")
    judge = judge_of(Settings(subject, spec), "float32")
    search = Diagnosis(judge, Draw(spec, dtype="float32"), [], 0, seconds=60, clock=300)
    search.collect()
    return [found.mutant.sentence for found in fitted(search)]


@pytest.mark.parametrize(
    ("scale", "sentence"),
    [
        (lambda _: 0.125, "computes scale 1/8; the spec says 0.5 at 4 key channels"),
        pytest.param(
            lambda d: d ** (-1 / 3),
            "computes scale d_k^-(1/3); the spec says 0.5 at 4 key channels",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda d: 1.1 * d**-0.5,
            "computes the spec's scale times 1.1; the spec says 0.5 at 4 key channels",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_scale_is_fitted_and_said(scale: Scale, sentence: str) -> None:
    assert told(scale) == [sentence]


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(lambda d: d**-0.5, marks=pytest.mark.slow),
        lambda d: 0.3 + 0.2 / d,
        # Near one number at every width, and not the same: the fit guesses, the bound decides.
        lambda d: 0.125 * (1 + 1e-5 * d),
    ],
)
def test_no_scale_is_said_where_it_is_right_or_not_one(scale: Scale) -> None:
    assert told(scale) == []
