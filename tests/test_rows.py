"""Rows of a long output that are judged apart: which ones, against what, and what they catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnverify as av
from attnverify.check.long import too_large
from attnverify.check.rows import chosen, grouped
from attnverify.check.settings import Settings
from attnverify.compare import judge, nothing_but_zero
from attnverify.compile.parts import Parts, cut
from attnverify.errors import ParameterError
from attnverify.inputs import Draw
from attnverify.notation import additive_bias, attention, within
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.verdict import Report, Status

Array = Any
N, WINDOW, ROWS = 1200, 96, 24
SIZES = {"queries": N, "keys": N, "key_dim": 4, "value_dim": 4}


def weights(q: Array, k: Array, seen: Array) -> Array:
    scores = np.where(seen, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]).astype(q.dtype), -np.inf)
    shifted = np.exp(scores - scores.max(-1, keepdims=True))
    return (shifted / shifted.sum(-1, keepdims=True)).astype(q.dtype)


def window(n: int, width: int = WINDOW) -> Array:
    back = np.arange(n)[:, None] - np.arange(n)
    return (back >= 0) & (back < width)


def pulled(slope: Array, q: Array, k: Array, v: Array, seen: Array) -> list[Array]:
    a = weights(q, k, seen)
    moved = slope @ v.swapaxes(-1, -2)
    moved = a * (moved - (a * moved).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1]).astype(q.dtype)
    found = moved @ k, moved.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ slope
    return [x.astype(q.dtype) for x in found]


def forward(q: Array, k: Array, v: Array) -> Array:
    return weights(q, k, window(N)) @ v


def backward(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
    return pulled(slope, q, k, v, window(N))


def checked(fn: Any = forward, vjp: Any = backward, **settings: Any) -> Report:
    told = {"sizes": SIZES, "rows": ROWS, "window": WINDOW, **settings}
    return av.check(fn, "sliding_window", vjp=vjp, **told)


def refuted(report: Report) -> set[str]:
    return {v.name.split(" (")[0] for v in report.verdicts if v.status is Status.REFUTED}


def test_a_right_one_is_held_with_the_rows_said() -> None:
    report = checked()
    assert report.ok
    assert {v.status for v in report.verdicts if v.compares} == {Status.HELD}
    detail = report.verdicts[0].detail
    assert detail.startswith("24 of 1,200 rows (first and last, tile edges at")
    assert "around 96" in detail
    assert "scale 1 %" in detail


def at_row(row: int, fault: Callable[[Array], Array]) -> Callable[..., Array]:
    """A forward pass that is wrong in one row."""

    def wrong(q: Array, k: Array, v: Array) -> Array:
        out = forward(q, k, v)
        out[..., row, :] = fault(out[..., row, :])
        return out

    return wrong


@pytest.mark.parametrize("row", [0, N - 1, 127, 128, WINDOW, WINDOW - 1])
def test_a_row_that_kernels_get_wrong_is_looked_at(row: int) -> None:
    wrong = at_row(row, lambda out: out * np.float32(1.01))
    assert refuted(checked(wrong, backward=False, vjp=None)) == {"forward O"}


def one_more_key(q: Array, k: Array, v: Array) -> Array:
    """A window that is one key too wide from the row on where it is full."""
    return weights(q, k, window(N, WINDOW + 1)) @ v


def slope_without_last_tile(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
    """Gradients by keys that leave out what the last, partial, tile of queries gives."""
    kept = slope.copy()
    kept[..., N - N % 64 :, :] = 0
    dq, _, _ = backward(slope, q, k, v)
    return [dq, *backward(kept, q, k, v)[1:]]


def slope_that_leaks(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
    """A gradient by a key that no row with a cotangent sees."""
    dq, dk, dv = backward(slope, q, k, v)
    dv[..., N // 2 :, :] += np.float32(1e-30)
    return [dq, dk, dv]


def slope_of_other_rows(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
    """A gradient by queries whose cotangent is zero."""
    dq, dk, dv = backward(slope, q, k, v)
    dq[..., N // 2 :, :] = np.where(dq[..., N // 2 :, :] == 0, np.nan, dq[..., N // 2 :, :])
    return [dq, dk, dv]


@pytest.mark.parametrize(
    ("fn", "vjp", "due"),
    [
        (one_more_key, backward, {"forward O"}),
        (forward, slope_without_last_tile, {"backward dK", "backward dV"}),
        (forward, slope_that_leaks, {"backward dV"}),
        (forward, slope_of_other_rows, {"backward dQ"}),
        (forward, lambda *a: backward(*a)[:2], {f"backward d{n}" for n in "QKV"}),
        (lambda q, k, v: forward(q, k, v)[..., :-1, :], backward, {"forward O"}),
    ],
)
def test_what_is_wrong_is_refuted_and_nothing_else(fn: Any, vjp: Any, due: set[str]) -> None:
    report = checked(fn, vjp)
    assert refuted(report) & {"forward O", "backward dQ", "backward dK", "backward dV"} == due
    wrong = [v for v in report.verdicts if v.status is Status.REFUTED and "rows (" in v.detail]
    assert all("--rows 24" in v.replay for v in wrong)


def test_the_witness_is_placed_in_the_whole_output() -> None:
    wrong = at_row(N - 1, lambda out: out + 1)
    (verdict,) = (v for v in checked(wrong, vjp=None, backward=False).verdicts if v.compares)
    assert verdict.witness is not None
    assert verdict.witness.index is not None
    assert verdict.witness.index["queries"] == N - 1
    assert f"queries={N - 1}" in verdict.detail


PARTED = [
    "global",
    "causal",
    "sliding_window",
    "grouped_query",
    "alibi",
    "padding",
    "rope",
    "sinks",
]


@pytest.mark.parametrize("name", PARTED)
def test_rows_apart_are_due_what_they_are_due_in_the_whole(name: str) -> None:
    spec = av.load(name)
    parts = Parts(spec)
    case = Draw(spec).case({"queries": 150, "keys": 150, "key_dim": 2, "value_dim": 2,
                            "repeat": 2, "pair": 1, "side": 2}, seed=3)  # fmt: skip
    sight = parts.sight(case.arrays, case.sizes, case.parameters)
    chosen_rows = np.array([0, 5, 77, 149])
    seed = np.zeros_like(case.cotangents["O"])
    seed[..., chosen_rows, :] = case.cotangents["O"][..., chosen_rows, :]
    # Both in one precision: the gradient of the whole under a cotangent on the rows alone.
    slopes = av.compile(av.gradient(spec))(
        **case.arrays, dO=seed, **case.parameters, sizes=case.sizes
    )
    whole = slopes | av.compile(spec)(**case.arrays, **case.parameters, sizes=case.sizes)
    rounding = Rounding(parts.spec, "float64", backward=True)
    heads = {**spec.heads, **{f"d{e.tensor.name}": e for e in spec.inputs}}
    left = {name: array.copy() for name, array in slopes.items()}
    for group in grouped(sight, chosen_rows):
        kept = {"queries": group.rows, "keys": group.keys}
        arrays = parts.cut({**case.arrays, "dO": seed}, {**heads, "dO": heads["O"]}, kept)
        sizes = {**case.sizes, "queries": len(group.rows), "keys": len(group.keys)}
        given = {**case.parameters, **parts.parameters(case.sizes)}
        dues = rounding.expected(arrays | parts.positions(kept), given, 0, sizes).dues
        assert judge("O", cut(whole["O"], heads["O"], kept), dues["O"]).status is Status.HELD
        for found, rest in left.items():
            if {"queries", "keys"} & {*dues[found].axes}:
                part = cut(rest, heads[found], kept)
                assert judge(found, part, dues[found]).status is Status.HELD
                places = [kept.get(axis, slice(None)) for axis in dues[found].axes]
                rest[tuple(places)] = 0
            else:
                np.subtract(rest, dues[found].value, out=rest)
    # Nothing is left of any gradient but what rounding leaves of a sum.
    assert all(np.abs(rest).max(initial=0) < 1e-12 for rest in left.values())


@given(st.integers(1, 5000), st.integers(1, 80), st.integers(0, 99))
def test_as_many_rows_as_are_asked_for_are_chosen(total: int, count: int, seed: int) -> None:
    rows = chosen(total, count, np.random.default_rng(seed), [100]).rows
    assert list(rows) == sorted(set(rows.tolist()))
    assert len(rows) == min(total, count)
    assert rows[0] >= 0
    assert rows[-1] < total
    assert count < 2 or {0, total - 1} <= set(rows.tolist())


def test_groups_share_no_key_and_have_every_key_that_is_seen() -> None:
    spec = av.load("sliding_window", window=70)
    sizes = {a.name: 2000 if a.name in ("queries", "keys") else 1 for a in spec.axes}
    sight = Parts(spec).sight({}, sizes, {})
    groups = grouped(sight, np.array([3, 500, 560, 1500, 1999]))
    assert [g.rows.tolist() for g in groups] == [[3], [500, 560], [1500], [1999]]
    keys = np.concatenate([g.keys for g in groups])
    assert len(set(keys.tolist())) == len(keys)
    for group in groups:
        due = {j for i in group.rows.tolist() for j in range(max(0, i - 69), i + 1)}
        assert due <= set(group.keys.tolist())


def test_long_sizes_alone_have_their_rows_judged() -> None:
    spec = av.load("causal")
    long = {"queries": 4096, "keys": 4096}
    assert too_large(Settings(len, spec, sizes=long))
    assert too_large(Settings(len, spec, sizes={"queries": 4096, "keys": "queries"}))
    assert not too_large(Settings(len, spec, sizes={"queries": 4096}))
    assert not too_large(Settings(len, spec, sizes={"queries": [16, 4096], "keys": "queries"}))


@pytest.mark.parametrize(
    ("spec", "settings", "words"),
    [
        ("global", {"rows": 0, "sizes": SIZES}, "rows are counted"),
        ("global", {"rows": True, "sizes": SIZES}, "rows are counted"),
        ("global", {"rows": 4}, "no length is declared"),
        ("online_softmax", {"rows": 4, "sizes": {"keys": 99}}, "single rows cannot be judged"),
        ("global", {"rows": 4, "sizes": {"queries": 9, "keys": 9}, "profile": "fp8_e4m3"},
         "one scale"),
    ],
)  # fmt: skip
def test_what_has_no_rows_to_judge_says_why(
    spec: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        av.check(forward, spec, **settings)


def test_a_call_that_does_not_fit_is_no_verdict() -> None:
    with pytest.raises(av.errors.SubjectError, match="does not fit"):
        checked(lambda q: q)


@pytest.mark.parametrize("entry", [1e-38, -1.0, np.nan, np.inf])
def test_what_is_not_zero_is_told_from_zero(entry: float) -> None:
    array = np.zeros((3, 4), np.float32)
    assert nothing_but_zero("x", array, ("a", "b")).status is Status.HELD
    array[2, 1] = entry
    assert nothing_but_zero("x", array, ("a", "b")).status is Status.REFUTED


# ---- All rows together

TILE = 64


def dropped_tile(of: str, tile: int = 9) -> Callable[..., list[Array]]:
    """A backward pass that loses one tile of queries in one gradient, or in all of them."""

    def wrong(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
        rows = slice(tile * TILE, (tile + 1) * TILE)
        dq, dk, dv = backward(slope, q, k, v)
        kept = slope.copy()
        kept[..., rows, :] = 0
        _, less_k, less_v = backward(kept, q, k, v)
        dq[..., rows, :] = 0 if "Q" in of else dq[..., rows, :]
        return [dq, less_k if "K" in of else dk, less_v if "V" in of else dv]

    return wrong


def lost_cross_sum(of: str) -> Callable[..., list[Array]]:
    """One tile of queries writes what it gives to the tile of keys before it in nobody's sum."""

    def wrong(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
        rows, keys = slice(9 * TILE, 10 * TILE), slice(8 * TILE, 9 * TILE)
        a, scale = weights(q, k, window(N)), np.sqrt(q.shape[-1]).astype(q.dtype)
        moved = slope @ v.swapaxes(-1, -2)
        moved = a * (moved - (a * moved).sum(-1, keepdims=True)) / scale
        dq, dk, dv = backward(slope, q, k, v)
        part = np.zeros_like(moved)
        part[..., rows, keys] = moved[..., rows, keys]
        if of == "Q":
            dq -= part @ k
        elif of == "K":
            dk -= part.swapaxes(-1, -2) @ q
        else:
            part[..., rows, keys] = a[..., rows, keys]
            dv -= part.swapaxes(-1, -2) @ slope
        return [dq, dk, dv]

    return wrong


VALUES, KEYS_SUM, EULER = (
    "value gradients sum to output cotangents", "key gradients sum to zero", "<dQ, Q> = <dK, K>",
)  # fmt: skip
# Rows by chance are few, and none of them stands in the tile, nor sees its keys.
UNSEEN = {"rows": 8, "seed": 4}


@pytest.mark.parametrize(
    ("vjp", "due"),
    [
        (dropped_tile("Q"), {EULER}),
        (dropped_tile("K"), {EULER}),
        (dropped_tile("V"), {VALUES}),
        (dropped_tile("QKV"), {VALUES}),
        (lost_cross_sum("Q"), {EULER}),
        (lost_cross_sum("K"), {KEYS_SUM, EULER}),
        (lost_cross_sum("V"), {VALUES}),
    ],
)
def test_a_tile_that_no_row_shows_is_missed_by_a_sum_of_all(vjp: Any, due: set[str]) -> None:
    report = checked(vjp=vjp, **UNSEEN)
    assert refuted(report) == due
    assert not report.ok


def test_the_right_one_gives_every_sum_and_says_what_would_show() -> None:
    report = checked(**UNSEEN)
    assert report.ok
    found = {v.name.split(" (")[0]: v for v in report.verdicts}
    assert {VALUES, KEYS_SUM, EULER, "rows sum to one"} <= found.keys()
    assert "a lost tile of" in found[VALUES].detail
    assert 0 < found[EULER].evidence["tile"] <= TILE
    assert "1,200 of 1,200 rows" in found[VALUES].detail


def test_a_row_of_the_output_that_is_looked_at_by_nobody_still_sums_to_one() -> None:
    wrong = at_row(600, lambda out: out * np.float32(1.001))
    assert refuted(checked(wrong, vjp=None, backward=False, **UNSEEN)) == {"rows sum to one"}


def test_a_gradient_that_depends_on_other_rows_cotangents_is_not_linear() -> None:
    def wrong(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
        dq, dk, dv = backward(slope, q, k, v)
        full = (slope != 0).any(-1).mean() > 0.5
        return [dq * np.float32(1.001) if full else dq, dk, dv]

    report = checked(vjp=wrong)
    assert "backward dQ" in refuted(report)
    assert any("under cotangents on every row" in v.detail for v in report.verdicts)


def test_rows_that_see_no_key_take_no_part_in_sums() -> None:
    def bottom(queries: int, keys: int) -> Array:
        return np.arange(keys) <= np.arange(queries)[:, None] + keys - queries

    def fn(q: Array, k: Array, v: Array) -> Array:
        seen = bottom(q.shape[-2], k.shape[-2])
        out = weights(q, k, seen | ~seen.any(-1, keepdims=True)) @ v
        return np.where(seen.any(-1)[:, None], out, 0).astype(q.dtype)

    def vjp(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
        seen = bottom(q.shape[-2], k.shape[-2])
        kept = np.where(seen.any(-1)[:, None], slope, 0).astype(q.dtype)
        return pulled(kept, q, k, v, seen | ~seen.any(-1, keepdims=True))

    sizes = {"queries": 700, "keys": 600, "key_dim": 4, "value_dim": 4}
    report = av.check(fn, "causal", align="bottom_right", vjp=vjp, sizes=sizes, rows=9,
                      empty_rows="zeros")  # fmt: skip
    assert report.ok, [v.detail for v in report.verdicts if v.status is Status.REFUTED]
    assert any("600 of 700 rows together" in v.detail for v in report.verdicts)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_sums_are_added_up_in_a_wider_type_than_the_answers(dtype: str) -> None:
    report = checked(dtypes=(dtype,), seed=1)
    assert report.ok, [v.detail for v in report.verdicts if v.status is Status.REFUTED]
    found = {v.name.split(" (")[0]: v for v in report.verdicts}
    # All rows may stray the same way: what strays as it comes is far below.
    assert found[VALUES].evidence["worst"] < 1
    assert found[EULER].evidence["worst"] < 1


def test_sums_of_many_heads_that_share_keys() -> None:
    def fn(q: Array, k: Array, v: Array) -> Array:
        k, v = (np.repeat(x, 2, 1) for x in (k, v))
        return weights(q, k, np.ones((300, 300), bool)) @ v

    def vjp(slope: Array, q: Array, k: Array, v: Array) -> list[Array]:
        k, v = (np.repeat(x, 2, 1) for x in (k, v))
        dq, dk, dv = pulled(slope, q, k, v, np.ones((300, 300), bool))
        both = [x.reshape(1, 2, 2, 300, -1).sum(2) for x in (dk, dv)]
        return [dq, *both]

    sizes = {"group": 2, "repeat": 2, "queries": 300, "keys": 300, "key_dim": 4, "value_dim": 4}
    report = av.check(fn, "grouped_query", vjp=vjp, sizes=sizes, rows=8)
    assert report.ok, [v.detail for v in report.verdicts if v.status is Status.REFUTED]
    assert {VALUES, KEYS_SUM, EULER} <= {v.name.split(" (")[0] for v in report.verdicts}
    one_head = lambda *a: [g * ([[[[2]], [[1]]]] if n else 1) for n, g in enumerate(vjp(*a))]  # noqa: E731
    wrong = av.check(fn, "grouped_query", vjp=one_head, sizes=sizes, rows=8)
    assert not wrong.ok


def by_oracle(spec: Spec, leak: str = "", length: int = 300) -> dict[str, Any]:
    """A subject that is the spec's own program in float32; its slope by `leak` is not all."""
    outputs, slopes = (
        av.compile(spec, dtype="float32"),
        av.compile(av.gradient(spec), dtype="float32"),
    )
    names = [entry.tensor.name for entry in spec.inputs]
    real = [entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real"]

    def fn(*arrays: Array, **others: Array) -> Array:
        return outputs(**dict(zip(names[:3], arrays, strict=True)), **others)["O"]

    def vjp(seed: Array, *arrays: Array, **others: Array) -> list[Array]:
        found = slopes(**dict(zip(names[:3], arrays, strict=True)), **others, dO=seed)
        told = [found[f"d{n}"] for n in real]
        if leak:
            told[real.index(leak)][..., 0, -1] += np.float32(1e-6)
        return told

    sizes = {a.name: length if a.name in ("queries", "keys") else 4 for a in spec.axes
             if a.name in ("queries", "keys", "key_dim", "value_dim", "pair")}  # fmt: skip
    return {"fn": fn, "spec": spec, "vjp": vjp, "sizes": sizes, "rows": 16, "explain": False}


@pytest.mark.parametrize("name", ["rope", "sinks", "softcap", "padding", "biased", "prefix"])
def test_other_variants_give_no_false_alarm(name: str) -> None:
    report = av.check(**by_oracle(av.load(name)))
    assert report.ok, [v.detail for v in report.verdicts if v.status is not Status.HELD]


def test_a_slope_by_a_bias_at_a_key_that_its_row_does_not_see_is_refuted() -> None:
    def built(leak: str) -> Report:
        spec = attention("mine", mask=within(left=40, right=0), bias=additive_bias())
        return av.check(**by_oracle(spec, leak, N))

    assert built("").ok
    names = [entry.tensor.name for entry in attention("x", bias=additive_bias()).inputs]
    assert refuted(built(names[-1])) == {f"backward d{names[-1]}"}
