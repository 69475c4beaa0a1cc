"""Sizes of zero that a caller asks for: a verdict, or a refusal in words, from every part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.errors import ShapeError
from attnverify.inputs.entries import CORNER_STYLES, STYLES, Site
from attnverify.verdict import Status

Array = np.ndarray[Any, Any]
SHAPES = [(), (0,), (2, 0), (0, 3), (2, 0, 3), (2, 3, 0), (0, 0)]
AXES = ("batch", "heads", "queries", "keys", "value_dim")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("style", sorted(STYLES | CORNER_STYLES))
def test_every_style_fills_an_array_without_entries(style: str, shape: tuple[int, ...]) -> None:
    for number in range(3):
        site = Site(np.random.default_rng(0), shape, number)
        assert np.shape((STYLES | CORNER_STYLES)[style](site)) == shape


def right(Q: Array, K: Array, V: Array) -> Array:
    scores = Q @ K.swapaxes(-1, -2) / Q.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
    result: Array = weights / weights.sum(-1, keepdims=True) @ V
    return result


def one_row_at_least(Q: Array, K: Array, V: Array) -> Array:
    return right(Q, K, V) if Q.shape[-2] else np.zeros((*Q.shape[:-2], 1, V.shape[-1]))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["global", "causal", "padding"])
def test_a_right_function_is_not_refuted_on_an_empty_axis(name: str, axis: str) -> None:
    oracle = av.compile(av.load(name))

    def fn(Q: Array, K: Array, V: Array, **more: Any) -> Any:
        return oracle(Q=Q, K=K, V=V, **more)

    report = av.check(fn, name, sizes={axis: 0}, cases=10, dtypes=("float64",))
    assert not [v.name for v in report.verdicts if v.status is Status.REFUTED]


NOTHING = [("online_softmax", "offset"), ("seq2seq_attention", "keys"), ("alibi", "heads")]


@pytest.mark.parametrize(("name", "axis"), NOTHING)
def test_what_takes_maxima_or_slopes_of_nothing_is_judged(name: str, axis: str) -> None:
    spec = av.load(name)
    oracle = av.compile(spec)
    names = [entry.tensor.name for entry in spec.inputs]

    def fn(*first: Array, **more: Any) -> Any:
        return oracle(**dict(zip(names, first, strict=False)), **more)

    report = av.check(fn, spec, sizes={axis: 0}, cases=2, dtypes=("float64",), explain=False)
    assert report.comparisons


WRONG: list[tuple[Callable[..., Array], str]] = [(one_row_at_least, "queries=0")]


@pytest.mark.parametrize(("fn", "words"), WRONG)
def test_a_wrong_answer_to_an_empty_axis_is_refuted(fn: Callable[..., Array], words: str) -> None:
    report = av.check(fn, "global", sizes={"queries": 0}, cases=10)
    refuted = [v for v in report.verdicts if v.status is Status.REFUTED]
    assert refuted
    assert words in refuted[0].detail


def test_a_factor_without_a_value_is_refused_in_words() -> None:
    with pytest.raises(ShapeError, match=r"no value at these sizes") as found:
        av.check(right, "global", sizes={"key_dim": 0}, cases=2)
    assert "1/sqrt(d_k) at key_dim=0" in str(found.value)
