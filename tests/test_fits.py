"""Numbers that are nobody's known bug are fitted and said; what has no one number is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.fits import fitted
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.inputs import Draw
from tests.mutants.plain import attend, hidden, places, scores, softmax
from tests.mutants.positions import slopes

Scale = Callable[[int], float]


def told(scale: Scale) -> list[str]:
    """What a fit says of causal attention with a scale."""

    def subject(q: Any, k: Any, v: Any) -> Any:
        i, j = places(scores(q, k))
        return attend(q * (scale(q.shape[-1]) * q.shape[-1] ** 0.5), k, v, j <= i)

    return fits(subject, "causal")


def fits(subject: Any, name: str) -> list[str]:
    """What a fit says of a subject."""
    spec = av.load(name)
    judge = judge_of(Settings(subject, spec), "float32")
    search = Diagnosis(judge, Draw(spec, dtype="float32"), [], 0, seconds=60, clock=300)
    search.collect()
    return [str(found.plain()["sentence"]) for found in fitted(search)]


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


def between(least: Callable[[int], int], most: int, *, ends: bool = False, hole: int = 0) -> Any:
    """Attention to keys from i + least(window) to i + most, but for one in the middle."""

    def subject(q: Any, k: Any, v: Any, window: int = 0) -> Any:
        i, j = places(scores(q, k))
        i = i + (k.shape[-2] - q.shape[-2] if ends else 0)
        seen = (j <= i + most) & (j >= i + least(window))
        return attend(q, k, v, seen & (j != i - hole) if hole else seen)

    return subject


def sloped(times: Callable[[Any], Any]) -> Any:
    """ALiBi with its slopes changed, head by head."""

    def subject(q: Any, k: Any, v: Any) -> Any:
        s = scores(q, k)
        i, j = places(s)
        heads = np.arange(q.shape[1])[:, None, None]
        biased = s + times(heads) * slopes(q.shape[1]) * (j - i)
        return (softmax(hidden(biased, j <= i)) @ v).astype(v.dtype)

    return subject


def capped(at: Callable[[Any, int], float]) -> Any:
    """Scores that are capped at a number of the spec's cap and of the channels."""

    def subject(q: Any, k: Any, v: Any, cap: Any = None) -> Any:
        top = at(cap, q.shape[-1])
        return (softmax(top * np.tanh(scores(q, k) / top)) @ v).astype(v.dtype)

    return subject


def mapped(reads: Callable[[Any, int], Any]) -> Any:
    """Grouped heads whose query heads, of so many to a key head, read key heads of a map."""

    def subject(q: Any, k: Any, v: Any) -> Any:
        groups = k.shape[1]
        chosen = reads(np.arange(q.shape[1]) // (q.shape[1] // groups), groups)
        return attend(q, k[:, chosen], v[:, chosen])

    return subject


REVERSED = "2 2 1 1 0 0 of 3; 3 3 3 2 2 2 1 1 1 0 0 0 of 4"
SPEC_WINDOW = "the spec says j <= i and j >= i - window + 1"


@pytest.mark.parametrize(
    ("subject", "spec", "sentence"),
    [
        (
            between(lambda w: 3 - w, 0),
            "sliding_window",
            f"sees a window of window - 2 keys where j >= i - window + 3 and j <= i; {SPEC_WINDOW}",
        ),
        pytest.param(
            between(lambda _: -6, 0),
            "sliding_window",
            f"sees a window of 7 keys where j >= i - 6 and j <= i; {SPEC_WINDOW}",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            between(lambda _: -999, 2, ends=True),
            "causal",
            "sees keys where j <= i + n_k - n_q + 2; the spec says j <= i",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            sloped(lambda _: 1.5),
            "alibi",
            "has 3/2 times the bias that the spec adds to the scores",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            capped(lambda _, __: 30.0),
            "softcap",
            "caps the scores at 30, where the spec says cap",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            capped(lambda cap, _: 2 * cap),
            "softcap",
            "caps the scores at 2 times the cap, where the spec says cap",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            capped(lambda _, __: 50.0),
            "global",
            "caps the scores at 50, where the spec does not",
            marks=pytest.mark.slow,
        ),
        (
            mapped(lambda h, n: n - 1 - h),
            "grouped_query",
            f"reads key heads {REVERSED} by its query heads in turn",
        ),
    ],
)
def test_a_number_is_fitted_and_said(subject: Any, spec: str, sentence: str) -> None:
    assert fits(subject, spec) == [sentence]


@pytest.mark.parametrize(
    ("subject", "spec"),
    [
        # A window with a hole has two bounds and is not what they say.
        (between(lambda w: 1 - w, 0, hole=2), "sliding_window"),
        pytest.param(
            between(lambda w: 1 - w, 0), "sliding_window", marks=pytest.mark.slow, id="right window"
        ),
        pytest.param(
            sloped(lambda head: 1 + 0.1 * head), "alibi", marks=pytest.mark.slow, id="many slopes"
        ),
        pytest.param(
            capped(lambda _, d: 20.0 + d), "global", marks=pytest.mark.slow, id="cap by channels"
        ),
        pytest.param(
            mapped(lambda h, _: h), "grouped_query", marks=pytest.mark.slow, id="right heads"
        ),
    ],
)
def test_no_number_is_said_where_there_is_none(subject: Any, spec: str) -> None:
    assert fits(subject, spec) == []
