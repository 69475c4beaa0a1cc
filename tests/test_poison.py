"""NaN in masked places and rows without keys: conventions are observed, leaks are refuted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.errors import ParameterError
from attnverify.verdict import Status, Verdict

Array = npt.NDArray[Any]


def scores(q: Array, k: Array) -> Array:
    return np.asarray(q @ k.swapaxes(-1, -2) / np.sqrt(np.asarray(q.shape[-1], q.dtype)))


def softmax(s: Array) -> Array:
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def weights(q: Array, k: Array) -> Array:
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    return softmax(np.where(j <= i, s, -np.inf))


def by_products(q: Array, k: Array, v: Array) -> Array:
    return np.asarray(weights(q, k) @ v)


def by_selection(q: Array, k: Array, v: Array) -> Array:
    a = weights(q, k)[..., None]
    return np.asarray(np.where(a > 0, a * v[..., None, :, :], 0).sum(-2))


def by_adding(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    a = softmax(s + np.where(j <= i, 0, np.asarray(-np.inf, q.dtype)))
    return np.asarray(a @ np.nan_to_num(v, posinf=0))


def spread_over_the_batch(q: Array, k: Array, v: Array) -> Array:
    out = by_products(q, k, v)
    return np.asarray(out + 0 * out.sum(0, keepdims=True))


def spread_over_queries(q: Array, k: Array, v: Array) -> Array:
    out = by_products(q, k, v)
    return np.asarray(out + 0 * q.sum((-1, -2), keepdims=True))


def values_spread_over_the_batch(q: Array, k: Array, v: Array) -> Array:
    return np.asarray(by_products(q, k, v) + 0 * v.sum())


def cleaned(q: Array, k: Array, v: Array) -> Array:
    """NaN of a masked value becomes a wrong number of every row."""
    out = by_products(q, k, v)
    return np.where(np.isfinite(out), out, np.asarray(7, out.dtype))


def poisoned(fn: Callable[..., Any], **settings: Any) -> Verdict:
    report = av.check(fn, "causal", cases=12, explain=False, **settings)
    (found,) = [v for v in report.verdicts if v.name == "poison (float32)"]
    return found


@pytest.mark.parametrize(
    ("fn", "declared", "status", "words"),
    [
        (by_products, None, "UNDECIDED", "propagates NaN in masked values; infinity in masked val"),
        (by_products, "propagates", "HELD", "'propagates' is declared"),
        (by_products, "isolates", "REFUTED", "NaN in masked values: O of rows that do not see it"),
        (by_selection, None, "UNDECIDED", "the subject isolates them"),
        (by_selection, "isolates", "HELD", "the subject isolates them"),
        (by_selection, "propagates", "HELD", "the subject isolates them"),
        (by_adding, None, "UNDECIDED", "propagates NaN in masked keys; infinity in masked keys"),
        (by_adding, "isolates", "REFUTED", "NaN in masked keys"),
        (spread_over_the_batch, None, "REFUTED", "of rows that do not see it"),
        (spread_over_the_batch, "propagates", "REFUTED", "of rows that do not see it"),
        (spread_over_queries, "propagates", "REFUTED", "NaN in one query"),
        (values_spread_over_the_batch, "propagates", "REFUTED", "in masked values: O of rows"),
        (cleaned, None, "REFUTED", "got 7"),
    ],
)
def test_poison_is_observed_judged_where_declared_and_never_leaks(
    fn: Callable[..., Any], declared: str | None, status: str, words: str
) -> None:
    found = poisoned(fn, poison=declared)
    assert found.status is Status(status)
    assert words in found.detail


def by_selection_vjp(d_out: Array, q: Array, k: Array, v: Array) -> list[Array]:
    """The backward pass multiplies masked values by zero after all."""
    a = weights(q, k)
    d_a = d_out @ v.swapaxes(-1, -2)
    d_s = a * (d_a - (a * d_a).sum(-1, keepdims=True))
    factor = np.sqrt(np.asarray(q.shape[-1], q.dtype))
    return [d_s @ k / factor, d_s.swapaxes(-1, -2) @ q / factor, a.swapaxes(-1, -2) @ d_out]


def test_a_backward_pass_that_lets_poison_through_is_refuted_where_it_is_declared() -> None:
    found = poisoned(by_selection, poison="isolates", vjp=by_selection_vjp)
    assert found.status is Status.REFUTED
    assert "of a cotangent that is zero in rows that see it" in found.detail


def test_what_is_declared_of_masks_is_undecided_where_nothing_is_masked() -> None:
    report = av.check(lambda q, k, v: softmax(scores(q, k)) @ v, "global", poison="isolates")
    (found,) = [v for v in report.verdicts if v.name == "poison (float32)"]
    assert found.status is Status.UNDECIDED
    assert "no row was found that does not see" in found.detail


def test_a_convention_that_there_is_not_is_refused() -> None:
    with pytest.raises(ParameterError, match="isolates"):
        av.check(by_products, "causal", poison="sometimes")


# ---- Rows without keys


def masked(q: Array, k: Array, v: Array, mask: Array, *, empty: float, leak: str = "") -> Array:
    s = np.where(mask, scores(q, k), np.asarray(-1e30, q.dtype))
    rows = mask.any(-1, keepdims=True)
    out = np.where(rows, softmax(s) @ v, np.asarray(empty, q.dtype))
    if leak == "forward":
        out = (
            out
            + np.where(np.all(rows, axis=-2, keepdims=True), 0, np.asarray(1e-2, q.dtype)) * rows
        )
    return np.asarray(out)


def masked_vjp(
    d_out: Array, q: Array, k: Array, v: Array, mask: Array, *, empty: float, leak: str = ""
) -> list[Array]:
    rows = mask.any(-1, keepdims=True)
    a = softmax(np.where(mask, scores(q, k), np.asarray(-1e30, q.dtype)))
    a = np.where(rows, a, 0 if not np.isnan(empty) else np.asarray(np.nan, q.dtype))
    if leak == "backward":
        a = np.where(rows, a, np.asarray(1 / a.shape[-1], q.dtype))
    d_a = d_out @ v.swapaxes(-1, -2)
    d_s = a * (d_a - (a * d_a).sum(-1, keepdims=True)) * mask
    factor = np.sqrt(np.asarray(q.shape[-1], q.dtype))
    d_q, d_k = d_s @ k / factor, d_s.swapaxes(-1, -2) @ q / factor
    if leak == "queries":
        d_q = d_q + 0 * d_q.sum(-2, keepdims=True)
    return [d_q, d_k, a.swapaxes(-1, -2) @ d_out]


@pytest.mark.parametrize(
    ("empty", "leak", "status", "words"),
    [
        (0.0, "", "UNDECIDED", "zeros there"),
        (np.nan, "", "UNDECIDED", "NaN there"),
        (1.0, "", "UNDECIDED", "other finite values"),
        (0.0, "forward", "REFUTED", "O of rows that see keys"),
        (np.nan, "forward", "REFUTED", "O of rows that see keys"),
        (0.0, "backward", "REFUTED", "dV with dO in those rows"),
        (np.nan, "queries", "REFUTED", "dQ with dO zero in those rows"),
    ],
)
def test_rows_without_keys_keep_to_themselves_whatever_the_convention(
    empty: float, leak: str, status: str, words: str
) -> None:
    kwargs = {"empty": empty, "leak": leak}
    report = av.check(masked, "masked", kwargs=kwargs, vjp=masked_vjp, cases=18, explain=False)
    (found,) = [v for v in report.verdicts if v.name == "rows without keys (float32)"]
    assert found.status is Status(status)
    assert words in found.detail
    assert report.ok is (status == "UNDECIDED")
