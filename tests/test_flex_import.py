"""Modifications of FlexAttention in plain Python and NumPy are traced."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.algebra.masks import equivalent
from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import Softmax
from attnverify.errors import ParameterError
from attnverify.flex import tables
from attnverify.invariants import INVARIANTS
from attnverify.notation import axes, eq, parameter
from attnverify.spec import Spec
from attnverify.verdict import Status
from attnverify.verify import ask

queries, keys = axes("queries keys")
i, j = queries["i"], keys["j"]
SLOPES = np.array([0.5, 0.25])
WINDOW = 3


def causal(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    """Keys up to the query."""
    return q_idx >= kv_idx


def windowed(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return (q_idx >= kv_idx) & (q_idx - kv_idx < WINDOW)


def sloped(score: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return score + SLOPES[h] * (kv_idx - q_idx)


class Window:
    def __init__(self, left: int) -> None:
        self.left, self.inner = left, causal

    def __call__(self, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return self.inner(b, h, q_idx, kv_idx) & (q_idx - kv_idx < self.left)

    def method(self, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return self(b, h, q_idx, kv_idx)


def either(*masks: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *at: functools.reduce(lambda x, y: x | y, (mask(*at) for mask in masks))


def named(_b: Any, _h: Any, q_idx: Any, kv_idx: Any, *, left: int) -> Any:
    return (kv_idx <= q_idx) & (q_idx - kv_idx < left)


def seen(spec: Spec) -> Predicate:
    weights = spec.equation("A").body
    assert isinstance(weights, Softmax)
    return weights.where


NEAR = (i - j <= 2) & (j - i <= 2)
LAST = (j <= i) & (i - j <= 2)
# What is traced, and the predicate that it is.
MASKS: dict[str, tuple[Callable[..., Any], Predicate]] = {
    "causal": (causal, j <= i),
    "a global": (windowed, LAST),
    "a callable object": (Window(3), LAST),
    "its method": (Window(3).method, LAST),
    "a partial": (functools.partial(named, left=3), LAST),
    "functions in a tuple": (either(causal, windowed), j <= i),
    "abs": (lambda _b, _h, q, kv: abs(q - kv) <= 2, NEAR),
    "a method of tensors": (lambda _b, _h, q, kv: (q - kv).abs() < 3, NEAR),
    "a function of NumPy": (lambda _b, _h, q, kv: np.maximum(q - kv, kv - q) <= 2, NEAR),
    "a choice": (
        lambda _b, _h, q, kv: np.where(q < 2, kv < 5, kv <= q),
        ((i < 2) & (j < 5)) | ((i >= 2) & (j <= i)),
    ),
    "one of two": (
        lambda _b, _h, q, kv: (q >= kv) ^ (kv < 2),
        ((j <= i) & (j >= 2)) | ((j > i) & (j < 2)),
    ),
    "not": (lambda _b, _h, q, kv: ~(kv > q), j <= i),
    "equal truth values": (
        lambda _b, _h, q, kv: (q < 3) == (kv < 3),
        ((i < 3) & (j < 3)) | ((i >= 3) & (j >= 3)),
    ),
    "bits": (lambda _b, _h, q, kv: (q >> 1 << 1) + (q & 1) >= kv, j <= i),
    "bits of a number beside it": (lambda _b, _h, q, kv: (q | 3) - (~q & 3) >= kv, j <= i),
    "held within": (
        lambda _b, _h, q, kv: q.clamp(1, 3) == kv,
        ((i < 1) & eq(j, 1)) | ((i >= 1) & (i <= 3) & eq(j, i)) | ((i > 3) & eq(j, 3)),
    ),
    "what is known": (lambda _b, _h, q, kv: (q >= 0) & (kv <= q), j <= i),
    "ones": (lambda b, _h, q, kv: b.new_ones((), dtype=bool) & (kv <= q), j <= i),
    "numbers that are not 0": (lambda _b, _h, q, kv: np.logical_not((kv - q) * (kv > q)), j <= i),
}


@pytest.mark.parametrize(("mask_mod", "due"), MASKS.values(), ids=MASKS)
def test_a_mask_is_the_predicate_that_it_says(mask_mod: Any, due: Predicate) -> None:
    assert equivalent(seen(av.from_flex(mask_mod=mask_mod)), due).holds is True


SCORES: dict[str, tuple[Callable[..., Any], str]] = {
    "nothing": (lambda s, _b, _h, _q, _k: s, "DOT"),
    "a distance": (lambda s, _b, _h, q, kv: s + (kv - q), "DOT - (i - j)"),
    "a cap": (
        lambda s, _b, _h, _q, _k: 20 * np.tanh(s / 20),
        "20 tanh((sum_k Q[b,h,i,k] K[b,h,j,k]) / (20*sqrt(d_k)))",
    ),
    "a table": (sloped, "DOT - (i - j) SLOPES[h]"),
    "a power of two": (
        lambda s, _b, h, _q, _k: s + 2.0 ** -(h + 1),
        "DOT + exp(-(h + 1) log(2))",
    ),
    "the logistic": (
        lambda s, _b, _h, _q, _k: s + 1 / (1 + np.exp(s)),
        "R[b,h,i,j] + 1 / (exp(R[b,h,i,j]) + 1)",
    ),
    "a constant": (lambda s, _b, _h, _q, _k: s + np.float64(0.5), "DOT + 1/2"),
}


@pytest.mark.parametrize(("score_mod", "due"), SCORES.values(), ids=SCORES)
def test_a_score_is_the_expression_that_it_says(score_mod: Any, due: str) -> None:
    found = str(av.from_flex(score_mod=score_mod).equation("S").body)
    dot = str(av.from_flex(mask_mod=causal).equation("S").body)
    assert found.replace(f"({dot})", "DOT").replace(dot, "DOT") == due


def test_minus_infinity_hides_a_key() -> None:
    spec = av.from_flex(score_mod=lambda s, _b, _h, q, kv: np.where(q >= kv, s, -math.inf) + 1)
    assert str(seen(spec)) == "i >= j"
    both = av.from_flex(
        score_mod=lambda s, _b, _h, q, kv: np.where(q >= kv, s, -math.inf), mask_mod=windowed
    )
    assert equivalent(seen(both), LAST).holds is True


def test_a_spec_is_named_and_described_by_the_function() -> None:
    spec = av.from_flex(mask_mod=causal)
    assert (spec.name, spec.description) == ("causal", "Keys up to the query.")
    assert av.from_flex(mask_mod=Window(2)).name == "flex"


def test_head_numbers_are_those_of_queries_where_heads_are_grouped() -> None:
    spec = av.from_flex(mask_mod=lambda _b, h, q, kv: (h < 3) | (q >= kv), enable_gqa=True)
    assert str(seen(spec)) == "g*n_r + r < 3 or i >= j"
    assert "Q[b,g.r,i,k]" in spec.text()


def test_the_scale_is_another_where_it_is_given() -> None:
    assert "/ sqrt" not in str(av.from_flex(mask_mod=causal, scale=0.25).equation("S"))


# ---- Numbers left open


def test_a_closed_over_number_is_left_open() -> None:
    window = parameter("WINDOW", integer=True, ge=1)
    spec = av.from_flex(mask_mod=windowed, parameters=[window])
    assert spec.parameters == (window,)
    assert equivalent(seen(spec), (j <= i) & (i - j < window), [window]).holds is True


@pytest.mark.parametrize("mod", [Window(4), functools.partial(named, left=4)])
def test_attributes_and_keywords_are_left_open(mod: Any) -> None:
    left = parameter("left", integer=True, ge=1)
    found = seen(av.from_flex(mask_mod=mod, parameters=[left]))
    assert equivalent(found, (j <= i) & (i - j < left), [left]).holds is True
    assert isinstance(getattr(mod, "left", 4), int)  # the original is as it was


def test_a_parameter_that_names_nothing_is_an_error() -> None:
    with pytest.raises(ParameterError, match="closed over"):
        av.from_flex(mask_mod=causal, parameters=[parameter("window", integer=True)])


def test_a_number_outside_the_domain_is_an_error() -> None:
    with pytest.raises(ParameterError, match="domain"):
        av.from_flex(mask_mod=windowed, parameters=[parameter("WINDOW", integer=True, ge=5)])


# ---- Tables


def test_tables_are_inputs_and_their_values_are_kept() -> None:
    spec = av.from_flex(score_mod=sloped, mask_mod=causal)
    assert [str(entry) for entry in spec.inputs][3:] == ["SLOPES[h]"]
    np.testing.assert_array_equal(tables(score_mod=sloped)["SLOPES"], SLOPES)
    assert type(SLOPES) is np.ndarray  # the original is as it was


def test_what_is_read_at_query_and_key_makes_one_sequence() -> None:
    document = np.array([0, 0, 1, 1])
    spec = av.from_flex(mask_mod=lambda _b, _h, q, kv: document[q] == document[kv])
    assert str(seen(spec)) == "document[i] = document[j]"
    assert {axis.name for axis in spec.axes} >= {"time"}


def test_axes_that_are_read_elsewhere_have_the_size_of_the_table() -> None:
    table = np.arange(14.0).reshape(2, 7)
    spec = av.from_flex(score_mod=lambda s, _b, h, q, kv: s + table[h, (kv - q).clip(-3, 3) + 3])
    assert {axis.name: axis.fixed for axis in spec.axes}["table_1"] == 7


def test_a_position_below_zero_counts_from_the_end() -> None:
    table = np.array([10.0, 20.0, 40.0])

    def mod(score: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return score + table[q_idx - kv_idx]

    oracle = av.compile(av.from_flex(score_mod=mod).replace(outputs=("S",)))
    q, k, v = (np.zeros((1, 1, 3, 1)) for _ in range(3))
    found = oracle(Q=q, K=k, V=v, **tables(score_mod=mod))["S"][0, 0]
    at = np.arange(3)
    np.testing.assert_array_equal(found, table[at[:, None] - at[None, :]])


def test_rows_of_tables_are_read_one_position_at_a_time() -> None:
    table, deep = np.arange(12.0).reshape(3, 4), {"rows": [np.arange(5.0)]}

    def mod(score: Any, b: Any, _h: Any, _q: Any, kv_idx: Any) -> Any:
        return score + table[b][kv_idx] + deep["rows"][0][kv_idx]

    spec = av.from_flex(score_mod=mod)
    assert [str(entry) for entry in spec.inputs][3:] == ["table[b,j]", "rows[j]"]


def test_a_name_that_cannot_be_one_is_another() -> None:
    named, sizes, K = {"per-head": np.ones(2)}, np.ones(2), np.ones(2)

    def mod(score: Any, _b: Any, h: Any, _q: Any, _k: Any) -> Any:
        return score + named["per-head"][h] + sizes[h] + K[h]

    assert list(tables(score_mod=mod)) == ["table", "sizes_1", "K_1"]


def test_what_is_known_of_positions_is_left_out() -> None:
    spec = av.from_flex(mask_mod=lambda _b, _h, q, kv: (q >= 0) & (kv >= -1) & (kv <= q))
    assert str(seen(spec)) == "j <= i"


# ---- What a spec is for


def test_a_traced_spec_verifies() -> None:
    report = av.verify(av.from_flex(score_mod=sloped, mask_mod=windowed), examples=2)
    assert report.ok
    proved = {v.name for v in report.verdicts if v.status is Status.PROVED}
    assert proved >= {"causality", "rows sum to one", "masked keys have no influence"}


def test_what_is_counted_is_announced() -> None:
    def heads(_b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (h < 1) | (q_idx >= kv_idx)

    spec = av.from_flex(mask_mod=heads)
    assert "permutation equivariance" in spec.announces
    # The number of a head stands in the mask alone, where it counts as in a formula.
    report = av.verify(spec, examples=1)
    assert "head independence" not in {v.name for v in report.verdicts}


def test_batch_entries_that_are_counted_are_announced() -> None:
    spec = av.from_flex(mask_mod=lambda b, _h, q, kv: (b < 1) | (q >= kv))
    invariant = next(each for each in INVARIANTS if each.name == "batch independence")
    verdict = ask(invariant, spec, 8, 0)
    assert (verdict.status, verdict.expected) == (Status.REFUTED, True)


def test_a_traced_spec_has_a_gradient() -> None:
    derived = av.gradient(av.from_flex(score_mod=sloped), wrt=("Q", "SLOPES"))
    assert derived.outputs == ("dQ", "dSLOPES")


def attend(q: Any, k: Any, v: Any, *, SLOPES: Any, seen: Any) -> Any:
    at_q, at_k = np.arange(q.shape[2])[:, None], np.arange(k.shape[2])
    score = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    score = score + SLOPES[:, None, None] * (at_k - at_q)
    score = np.where(seen(at_q, at_k), score, -np.inf)
    weights = np.exp(score - score.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def test_a_checker_follows() -> None:
    spec = av.from_flex(score_mod=sloped, mask_mod=causal)
    right = functools.partial(attend, seen=lambda q, k: k <= q)
    wrong = functools.partial(attend, seen=lambda q, k: k <= q + 1)
    for fn, status in ((right, Status.HELD), (wrong, Status.REFUTED)):
        report = av.check(fn, spec, dtypes=("float64",), cases=6, explain=False)
        assert report.verdicts[0].status is status
