"""Bugs of arithmetic, memory and state are named; what lies near them, or is legal, never is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.explained import all_explanations
from attnverify.check.otherwise import otherwise
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.inputs import Draw
from tests.mutants.plain import attend, log_sum, pulled, scores, weights

Array = Any
Bend = Callable[[Array], Array]


def plain(x: Array) -> Array:
    return x


def half(x: Array) -> Array:
    return x.astype(np.float16).astype(x.dtype)


def of_twelve_bits(x: Array) -> Array:
    """Rounded to a type that nobody has."""
    size = 2.0 ** (np.floor(np.log2(np.where(x == 0, 1, np.abs(x)))) - 12)
    return (np.round(x / size) * size).astype(x.dtype)


def forward(product: Bend = plain, grown: Bend = plain, heavy: Bend = plain) -> Any:
    """Attention with scores, exponentials or weights bent."""

    def subject(q: Array, k: Array, v: Array) -> Array:
        s = product(scores(q, k))
        e = grown(np.exp(s - s.max(-1, keepdims=True)))
        return heavy(e / e.sum(-1, keepdims=True)) @ v

    return subject


def without_shift(q: Array, k: Array, v: Array) -> Array:
    e = np.exp(scores(q, k))
    return e / e.sum(-1, keepdims=True) @ v


def by_half_log_sum(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k)
    return np.exp(s - half(log_sum(s))[..., None]) @ v


def noisy(q: Array, k: Array, v: Array) -> Array:
    """Chance that drops nothing."""
    found = attend(q, k, v)
    return (found * (1 + 1e-3 * np.random.default_rng().normal(size=found.shape))).astype(v.dtype)


def remembering() -> Any:
    """A cache by the whole content of its inputs, which is legal."""
    kept: dict[bytes, Array] = {}

    def subject(q: Array, k: Array, v: Array) -> Array:
        key = b"".join(x.tobytes() for x in (q, k, v)) + str(q.shape + v.shape).encode()
        if key not in kept:
            kept[key] = attend(q, k, v)
        return kept[key].copy()

    return subject


def backward(delta: Bend = plain, slopes: Bend = plain, for_values: Bend = plain) -> Any:
    """A backward pass with the row term, the slopes of scores, or the weights for dV bent."""

    def pull(g: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
        a, d_a = weights(q, k), g @ v.swapaxes(-1, -2)
        d_s = slopes(a * (d_a - delta((a * d_a).sum(-1, keepdims=True))))
        return pulled(d_s, for_values(a), g, q, k)

    return pull


def searched(subject: Any, vjp: Any = None) -> Diagnosis:
    spec = av.load("global")
    judge = judge_of(Settings(subject, spec, vjp=vjp), "float32")
    draw = Draw(spec, dtype="float32")
    judge.look(next(draw.schedule(0, 1)))
    kind = Diagnosis if vjp is None else BackwardDiagnosis
    return kind(judge, draw, [], 0, seconds=60, clock=300)


def told(subject: Any, vjp: Any = None) -> list[str]:
    """What the whole search says."""
    return [str(one.plain()["sentence"]) for one in all_explanations(searched(subject, vjp))]


@pytest.mark.parametrize(
    ("subject", "sentence"),
    [
        (forward(product=half), "rounds S to float16"),
        pytest.param(
            forward(grown=half), "rounds the exponentials of A to float16", marks=pytest.mark.slow
        ),
        pytest.param(forward(heavy=half), "rounds A to float16", marks=pytest.mark.slow),
        pytest.param(by_half_log_sum, "rounds the log-sum-exp to float16", marks=pytest.mark.slow),
        pytest.param(
            without_shift,
            "takes exponentials of the scores without a shift, and divides by 0",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_narrow_or_unguarded_arithmetic_is_said(subject: Any, sentence: str) -> None:
    assert told(subject)[0] == sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vjp", "sentence"),
    [
        (backward(delta=half), "rounds D to float16"),
        (backward(slopes=half), "rounds dS to float16"),
        (backward(for_values=half), "rounds A to float16 where dV needs it"),
    ],
)
def test_a_narrow_arithmetic_of_a_backward_pass_is_said(vjp: Any, sentence: str) -> None:
    assert told(attend, vjp)[0] == sentence


def test_no_narrow_type_is_said_of_one_that_nobody_has() -> None:
    search = searched(forward(product=of_twelve_bits))
    search.collect()
    assert search.failed
    assert search.among(otherwise(search)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "subject",
    [
        forward(product=of_twelve_bits),
        forward(heavy=of_twelve_bits),
        noisy,
        remembering(),
        forward(),
    ],
)
def test_no_habit_is_said_of_what_has_none(subject: Any) -> None:
    assert told(subject) == []


@pytest.mark.slow
def test_no_narrow_type_is_said_of_such_a_backward_pass() -> None:
    assert told(attend, backward(slopes=of_twelve_bits)) == []
