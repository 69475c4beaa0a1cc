"""The same entries in other places of memory, and subjects that misread each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.subjects.views import VIEWS, WORDS, plainly
from attnverify.verdict import Status, Verdict

Array = npt.NDArray[Any]

ARRAYS = {
    "floats": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "sixteen bits": np.arange(24).reshape(4, 6).astype(ml_dtypes.bfloat16),
    "lengths": np.array([3, 0, 5]),
    "mask": np.array([[True, False], [False, True]]),
    "nothing": np.zeros((2, 0, 4)),
    "one number": np.array(2.0),
    "alike": np.ones((3, 2)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_a_view_has_the_bits_that_went_in(view: str, array: Array) -> None:
    found = VIEWS[view](array)
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()
    assert not np.shares_memory(found, array)


def test_each_view_is_another_way_to_lie() -> None:
    array = np.ones((2, 3, 4))
    assert VIEWS["reordered"](array).strides == (32, 64, 8)
    assert VIEWS["padded"](array).strides[-2] > array.strides[-2]
    assert VIEWS["padded"](array).base is not None
    assert min(VIEWS["backwards"](array).strides) < 0
    assert VIEWS["repeated"](array).strides[0] == 0
    assert not VIEWS["frozen"](array).flags.writeable
    assert set(WORDS) == set(VIEWS)


@pytest.mark.parametrize("view", ["padded", "backwards", "repeated"])
def test_what_stands_beside_is_none_to_be_read(view: str) -> None:
    """Whoever reads memory as if it were contiguous meets NaN, and within what is held."""
    array = np.ones((2, 3, 4), np.float32)
    found = VIEWS[view](array)
    whole: Any = found
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    beside = {"padded": 3 * 2 * 3, "backwards": 2 * 24, "repeated": 12}[view]
    assert int(np.isnan(whole).sum()) == beside
    assert whole.size - beside == (12 if view == "repeated" else 24)


def test_what_is_not_alike_is_not_repeated() -> None:
    array = ARRAYS["floats"]
    assert VIEWS["repeated"](array).strides == plainly(array).strides


def right(q: Array, k: Array, v: Array) -> Array:
    s = q @ k.swapaxes(-1, -2) / np.sqrt(np.asarray(q.shape[-1], q.dtype))
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True) @ v)


def wrong_where(flag: Callable[[Array], bool]) -> Callable[..., Array]:
    """A subject that is wrong where its keys lie in a certain way."""
    return lambda q, k, v: right(q, k, v) + np.asarray(flag(k), q.dtype)


MISREADS: Mapping[str, Callable[..., Array]] = {
    "strided ones": wrong_where(lambda k: sorted(k.strides)[::-1] != [*k.strides]),
    "ones that lie inside a larger array": wrong_where(
        lambda k: k.base is not None and k.strides[-2] == (k.shape[-1] + 3) * k.itemsize
    ),
    "ones with negative strides": wrong_where(lambda k: min(k.strides) < 0),
    "ones that are broadcast views": wrong_where(lambda k: k.strides[0] == 0),
    "ones that cannot be written to": wrong_where(
        lambda k: not k.flags.writeable and k.strides[0] != 0
    ),
}


def strided(fn: Callable[..., Any], **settings: Any) -> list[Verdict]:
    report = av.check(fn, "global", cases=18, explain=False, **settings)
    return [v for v in report.verdicts if v.name == "strided inputs (float32)"]


@pytest.mark.parametrize(("words", "fn"), MISREADS.items(), ids=MISREADS)
def test_who_misreads_a_view_is_refuted_and_told_which(
    words: str, fn: Callable[..., Any], tmp_path: Any
) -> None:
    (verdict,) = strided(fn, store=tmp_path)
    assert verdict.status is Status.REFUTED
    assert f"right on contiguous inputs, wrong on {words}" in verdict.detail
    assert verdict.witness is not None
    again = av.check(fn, "global", replay=verdict.witness.path, store=tmp_path, explain=False)
    assert any(v.name == verdict.name and v.status is Status.REFUTED for v in again.verdicts)


def test_who_reads_every_view_right_is_told_nothing() -> None:
    assert strided(right) == []


def writes_into_its_queries(q: Array, k: Array, v: Array) -> Array:
    q *= 1  # harmless, and refused by an array that cannot be written to
    return right(q, k, v)


def test_a_view_that_is_refused_aloud_is_told() -> None:
    (verdict,) = strided(writes_into_its_queries)
    assert verdict.status is Status.UNDECIDED
    assert "ones that cannot be written to are refused" in verdict.detail


class Unsteady:
    """Right within the bounds, with other bits in every second call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, q: Array, k: Array, v: Array) -> Array:
        self.calls += 1
        return np.asarray(right(q, k, v) * np.float32(1 + 2**-23 * (self.calls % 2)))


def by_batch(q: Array, k: Array, v: Array) -> Array:
    """Other bits in a batch than alone, as where a product is split by its size."""
    return np.asarray(right(q, k, v) * np.float32(1 + 2**-23 * (len(q) > 1)))


@pytest.mark.parametrize(
    ("fn", "name", "words"),
    [
        (Unsteady(), "repeated call", "not deterministic: O of the same call twice"),
        (by_batch, "batch invariance", "have other bits in a batch of 8 than alone"),
    ],
)
def test_other_bits_within_the_bounds_are_reported_and_no_fault(
    fn: Callable[..., Any], name: str, words: str
) -> None:
    report = av.check(fn, "global", cases=12)
    assert report.ok
    (verdict,) = [v for v in report.verdicts if v.name == f"{name} (float32)"]
    assert verdict.status is Status.UNDECIDED
    assert words in verdict.detail
