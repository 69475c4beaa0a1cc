"""Sequences laid end to end: what goes out comes back, and a leak between neighbours is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnverify as av
from attnverify.errors import ParameterError
from attnverify.notation import attention, key_lengths, query_lengths
from attnverify.subjects.packing import PackedLayout
from attnverify.verdict import Report, Status

Array = npt.NDArray[Any]
SPEC = attention("packed", mask=query_lengths() & key_lengths())
PACKED = {"queries": "query_lengths", "keys": "lengths"}
NAMES = {"query_lengths": "cu_q", "lengths": "cu_k"}
SIZES = {"batch": 3, "heads": 2, "queries": 4, "keys": 5, "key_dim": 2, "value_dim": 3}
LENGTHS = {"query_lengths": np.array([4, 0, 3]), "lengths": np.array([5, 1, 2])}

Lengths = st.lists(st.integers(0, 4), min_size=1, max_size=4)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "queries", "keys"),
    [("(b n) h d", (7, 2, 2), (8, 2, 2)), ("h (b n) d", (2, 7, 2), (2, 8, 2))],
)
def test_only_tokens_go_out(pattern: str, queries: tuple[int, ...], keys: tuple[int, ...]) -> None:
    layout = PackedLayout(SPEC, pattern, PACKED).at(LENGTHS)
    Q = np.arange(48.0).reshape(3, 2, 4, 2)
    laid = layout.outward("Q", Q)
    assert laid.shape == layout.shape("Q", SIZES) == queries
    assert layout.shape("K", SIZES) == keys
    offsets = layout.outward("lengths", LENGTHS["lengths"])
    assert offsets.dtype == np.int32
    assert offsets.tolist() == [0, 5, 6, 8]
    assert layout.shape("lengths", SIZES) == offsets.shape
    back = layout.inward("Q", laid, SIZES)
    np.testing.assert_array_equal(back[0], Q[0])
    np.testing.assert_array_equal(back[1], 0)
    np.testing.assert_array_equal(back[2, :, :3], Q[2, :, :3])
    np.testing.assert_array_equal(back[2, :, 3], 0)


@given(Lengths, st.sampled_from(["(b n) h d", "(b n) (h d)", "h d (b n)"]))
def test_what_comes_back_goes_out_as_it_was(lengths: list[int], pattern: str) -> None:
    counts = {"query_lengths": np.array(lengths), "lengths": np.array(lengths)}
    layout = PackedLayout(SPEC, pattern, PACKED).at(counts)
    sizes = {**SIZES, "batch": len(lengths)}
    shape = layout.shape("Q", sizes)
    array = 1 + np.arange(float(np.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(layout.outward("Q", layout.inward("Q", array, sizes)), array)


REFUSED: list[tuple[Any, dict[str, str], str]] = [
    ("(b n) h d", {"time": "lengths"}, "along an axis of the spec"),
    ("(b n) h d", {"keys": "K"}, "query_lengths, lengths"),
    ("b n h d", PACKED, "no array of the layout is packed"),
    ({"Q": "(b n) h d", "L": "(b n) h"}, PACKED, "statistics have no packed form"),
]


@pytest.mark.parametrize(("pattern", "packed", "words"), REFUSED)
def test_what_cannot_be_packed_is_refused(pattern: Any, packed: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        PackedLayout(SPEC, pattern, packed)


def one(q: Array, k: Array, v: Array) -> Array:
    """Attention of one sequence (time, heads, channels); without keys it is zero."""
    if not len(k):
        return np.zeros((len(q), *v.shape[1:]), v.dtype)
    s = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(q.shape[-1]).astype(q.dtype)
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(np.einsum("hij,jhd->ihd", e / e.sum(-1, keepdims=True), v))


def varlen(q: Array, k: Array, v: Array, *, cu_q: Array, cu_k: Array, leak: int = 0) -> Array:
    """Sequence after sequence; `leak` lets each see that many keys of the next."""
    out = np.zeros((len(q), *v.shape[1:]), v.dtype)
    for b in range(len(cu_q) - 1):
        rows, keys = slice(cu_q[b], cu_q[b + 1]), slice(cu_k[b], cu_k[b + 1] + leak)
        out[rows] = one(q[rows], k[keys], v[keys])
    return out


def judged(fn: Any, **settings: Any) -> Report:
    told: dict[str, Any] = {"layout": "(b n) h d", "packed": PACKED, "inputs": NAMES}
    return av.check(fn, SPEC, empty_rows="zeros", **{**told, "explain": False, **settings})


def test_variable_lengths_are_right() -> None:
    report = judged(varlen).raise_if_refuted()
    forward = report.verdicts[0]
    assert forward.status is Status.HELD
    assert (forward.cases or 0) >= 24


WRONG: dict[str, tuple[Any, str]] = {
    "a key of the next sequence": (
        lambda q, k, v, **cu: varlen(q, k, v, leak=1, **cu),
        "entries fail",
    ),
    "one sequence of all": (lambda q, k, v, **_: one(q, k, v), "entries fail"),
    "a padded answer": (
        lambda q, k, v, **cu: np.pad(varlen(q, k, v, **cu), ((0, 1), (0, 0), (0, 0))),
        "((b n) h d)",
    ),
}


@pytest.mark.parametrize(("fn", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refuted(fn: Any, words: str) -> None:
    forward = judged(fn).verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail
    assert """--packed '{"queries": "query_lengths", "keys": "lengths"}'""" in forward.replay


def test_padding_is_declared_to_count_as_zeros() -> None:
    with pytest.raises(ParameterError, match='due: empty_rows="zeros"'):
        av.check(varlen, SPEC, layout="(b n) h d", packed=PACKED)
