"""Derived bounds: right code in narrow arithmetic stays inside, wrong code does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from autograd import numpy as anp
from autograd.core import make_vjp

import attnverify as av
from attnverify.compare import judge
from attnverify.errors import ParameterError, ShapeError
from attnverify.inputs import Case, Draw
from attnverify.rounding import Expected, Rounding, loose
from attnverify.rounding.amplitudes import Amplitudes, exact_run
from attnverify.rounding.bounds import root_mean_square
from attnverify.rounding.forms import forms
from attnverify.rounding.noise import NoisyMachine
from attnverify.rounding.seen import Seen
from attnverify.verdict import Status

Array = npt.NDArray[Any]
SIZES = {"batch": 2, "heads": 2, "queries": 12, "keys": 17, "key_dim": 8, "value_dim": 8}


def drawn(spec: str, dtype: str, style: str = "normal", seed: int = 0) -> Case:
    return Draw(av.load(spec), dtype=dtype).case(SIZES, seed=seed, style=style)


def expected(spec: str, dtype: str, case: Case, **settings: Any) -> Expected:
    rounding = Rounding(av.load(spec), dtype, backward=True, **settings)
    seeds = {rounding.cotangents[out]: array for out, array in case.cotangents.items()}
    return rounding.expected({**case.arrays, **seeds}, case.parameters, case.seed)


def softmax(s: Array) -> Array:
    e = np.exp(s - s.max(-1, keepdims=True))
    result: Array = e / e.sum(-1, keepdims=True)
    return result


def attention(case: Case, *, scale: float = 1.0, fused: bool = False) -> dict[str, Array]:
    """Forward and backward by hand in the case's type; `fused` recomputes as such kernels do."""
    q, k, v, d_out = (*(case.arrays[n] for n in "QKV"), case.cotangents["O"])
    factor = np.asarray(scale / q.shape[-1] ** 0.5, q.dtype)
    s = q @ k.swapaxes(-1, -2) * factor
    a = softmax(s)
    out = a @ v
    if fused:
        top = s.max(-1, keepdims=True)
        a = np.exp(s - (top + np.log(np.exp(s - top).sum(-1, keepdims=True))))
    d_a = d_out @ v.swapaxes(-1, -2)
    row = (d_out * out if fused else a * d_a).sum(-1, keepdims=True)
    d_s = a * (d_a - row)
    slopes = (d_s @ k * factor, d_s.swapaxes(-1, -2) @ q * factor, a.swapaxes(-1, -2) @ d_out)
    return {"O": out, **dict(zip(("dQ", "dK", "dV"), slopes, strict=True))}


def refuted(found: dict[str, Array], due: Expected) -> set[str]:
    statuses = {name: judge(name, array, due.dues[name]).status for name, array in found.items()}
    return {name for name, status in statuses.items() if status is Status.REFUTED}


STYLES = ["normal", "peaked", "flat", "offset", "zeros", "spread", "towering", "sunken"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_code_is_inside_whichever_legal_form_it_has(
    style: str, fused: bool, dtype: str
) -> None:
    case = drawn("global", dtype, style)
    due = expected("global", dtype, case)
    assert not due.reason
    assert refuted(attention(case, fused=fused), due) == set()


# Some draws take these past float32: writes with keys longer than 1 grow, random features square,
# and weights over two axes of keys write out the exponentials of giant scores.
GROWING = {"delta_rule", "gated_delta", "performer", "blocked_2d", "neighbourhood_2d"}


# One disturbed run of these takes a second: states, tiles and grids, and whole networks.
LONG = {
    "gated_linear", "gated_delta", "delta_rule", "state_space_dual", "lstm", "seq2seq_attention",
    "axial_2d", "online_softmax", "split_kv", "ring",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in av.catalog()],
)
def test_the_oracle_itself_in_float32_is_inside_for_every_spec(name: str) -> None:
    spec = av.load(name)
    rounding = Rounding(spec, "float32", backward=True)
    narrow = av.compile(spec, dtype="float32")
    slopes = av.compile(av.gradient(spec), dtype="float32")
    for case in list(Draw(spec, dtype="float32").schedule(5, 18))[1::3]:
        seeds = {rounding.cotangents[out]: array for out, array in case.cotangents.items()}
        given = {**case.arrays, **seeds}
        due = rounding.expected(given, case.parameters, sizes=case.sizes)
        if name in GROWING and "lies outside the range of float32" in due.reason:
            continue
        found = narrow(**case.arrays, **case.parameters, sizes=case.sizes)
        found |= slopes(**case.arrays, **seeds, **case.parameters, sizes=case.sizes)
        assert refuted(found, due) == set()


def dropped_key(case: Case) -> dict[str, Array]:
    found = attention(case)
    a = softmax(
        case.arrays["Q"] @ case.arrays["K"][..., :-1, :].swapaxes(-1, -2) / np.float32(8**0.5)
    )
    return {**found, "O": a @ case.arrays["V"][..., :-1, :]}


def missing_row(case: Case) -> dict[str, Array]:
    """DK without what one of the twelve query rows gives."""
    found = attention(case)
    less = Case(case.sizes, {}, case.arrays, {"O": case.cotangents["O"].copy()})
    less.cotangents["O"][..., 5, :] = 0
    return {**found, "dK": attention(less)["dK"]}


def without_row_term(case: Case) -> dict[str, Array]:
    found = attention(case)
    q, k, v, d_out = (*(case.arrays[n] for n in "QKV"), case.cotangents["O"])
    a = softmax(q @ k.swapaxes(-1, -2) / np.float32(8**0.5))
    return {**found, "dQ": (a * (d_out @ v.swapaxes(-1, -2))) @ k / np.float32(8**0.5)}


MUTANTS: list[tuple[str, Callable[[Case], dict[str, Array]], set[str]]] = [
    ("scale off by 0.1 %", lambda case: attention(case, scale=1.001), {"O", "dQ", "dK", "dV"}),
    ("last key dropped", dropped_key, {"O"}),
    ("row missing in dK", missing_row, {"dK"}),
    ("no row term", without_row_term, {"dQ"}),
    ("wrong sign", lambda case: {**attention(case), "dV": -attention(case)["dV"]}, {"dV"}),
]


@pytest.mark.parametrize(("name", "mutant", "wrong"), MUTANTS, ids=[name for name, _, _ in MUTANTS])
def test_mutants_are_outside(
    name: str, mutant: Callable[[Case], dict[str, Array]], wrong: set[str]
) -> None:
    case = drawn("global", "float32")
    assert refuted(mutant(case), expected("global", "float32", case)) == wrong


def test_float32_inside_float64_is_outside_unless_declared() -> None:
    case = drawn("global", "float64")
    inside = {n: a.astype(np.float64) for n, a in attention(case.converted("float32")).items()}
    assert refuted(inside, expected("global", "float64", case)) == {"O", "dQ", "dK", "dV"}
    declared = expected("global", "float64", case, internal="float32")
    assert refuted(inside, declared) == set()


def test_masked_entries_have_no_room_at_all() -> None:
    case = drawn("causal", "float32")
    due = expected("causal", "float32", case)
    future = due.dues["dK"].sigma[..., 12:, :]
    assert (future == 0).all()
    assert (due.dues["dK"].sigma[..., :12, :] > 0).all()


def test_an_infinite_entry_has_no_room_and_leaves_its_row_its_own() -> None:
    spec = av.load("masked").replace(outputs=("L",))
    case = Draw(spec, dtype="float32").case(SIZES, seed=0)
    case.arrays["mask"][0, 0, 3] = False
    due = Rounding(spec, "float32").expected(case.arrays, {}).dues["L"]
    assert due.value[0, 0, 3] == -np.inf
    assert np.isfinite(due.sigma).all()
    assert (np.delete(due.sigma[0, 0], 3) > 0).all()
    wrong = np.where(due.value == -np.inf, np.finfo("float32").min, due.value)
    assert judge("L", wrong, due).status is Status.REFUTED
    assert judge("L", due.value, due).status is Status.HELD


def test_the_bound_does_not_vanish_with_the_reference() -> None:
    """With one key dQ is zero, and right libraries return noise there."""
    case = Draw(av.load("global"), dtype="float32").case({"key_dim": 4, "value_dim": 4}, seed=0)
    due = expected("global", "float32", case)
    assert abs(due.dues["dQ"].value).max() < 1e-15
    assert (due.dues["dQ"].sigma > 1e-9).all()


def test_bounds_follow_the_unit_roundoff() -> None:
    sizes = {}
    for dtype in ("float64", "float32", "float16", "bfloat16"):
        case = drawn("global", dtype)
        due = expected("global", dtype, case)
        sizes[dtype] = float(np.median(due.dues["O"].sigma)) / loose(dtype).stage
    assert max(sizes.values()) < 6 * min(sizes.values())


def test_a_seed_says_it_all() -> None:
    case = drawn("global", "float32")
    first, again = (expected("global", "float32", case).dues["O"].sigma for _ in range(2))
    np.testing.assert_array_equal(first, again)


UNFIT = [
    ("bfloat16", 20.0, "lose their meaning in bfloat16"),
    ("float16", 200.0, "outside the range of float16"),
]


@pytest.mark.parametrize(("dtype", "factor", "words"), UNFIT)
def test_what_the_bound_cannot_cover_is_said(dtype: str, factor: float, words: str) -> None:
    case = drawn("global", dtype)
    arrays = {n: (a * a.dtype.type(factor if n != "V" else 1)) for n, a in case.arrays.items()}
    found = Rounding(av.load("global"), dtype).expected(arrays, {})
    assert not found.dues
    assert words in found.reason or "lose their meaning" in found.reason


def test_tiny_values_keep_a_bound() -> None:
    """Squares of weights near 1e-275 would vanish if they were ever formed."""
    case = drawn("global", "float64", "towering")
    due = expected("global", "float64", case)
    small = (abs(due.dues["dV"].value) > 0) & (abs(due.dues["dV"].value) < 1e-170)
    assert small.any()
    assert (due.dues["dV"].sigma[small] > 0).all()


def test_root_mean_square_does_not_underflow() -> None:
    np.testing.assert_allclose(root_mean_square(np.array([3e-200, 4e-200]), 0), 5e-200 / 2**0.5)
    assert root_mean_square(np.zeros((3, 2)), 0).tolist() == [0.0, 0.0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    q = np.zeros((1, 1, 2, 3))
    with pytest.raises(ShapeError, match="key_dim"):
        Rounding(av.load("global"), "float32").expected({"Q": q, "K": q[..., :2], "V": q}, {})


def test_a_wider_type_inside_is_refused() -> None:
    with pytest.raises(ParameterError, match="float64 inside float32"):
        loose("float32", "float64")


FORMS = [
    ("global", 4),
    ("causal", 4),
    ("grouped_query", 4),
    ("multi_head", 4),
    ("additive", 4),
    ("linear", 4),
    ("linear_rnn", 1),
    ("gru", 2),
]


@pytest.mark.parametrize(("name", "count"), FORMS)
def test_every_form_is_the_same_function(name: str, count: int) -> None:
    """Undisturbed, all forms of a program give the same values: each rewrite is an identity."""
    spec = av.load(name)
    rounding = Rounding(spec, "float32", backward=True)
    assert len(rounding.forms) == count
    case = Draw(spec).case({axis.name: 3 for axis in spec.axes}, seed=1)
    arrays = {**case.arrays, **{rounding.cotangents[o]: a for o, a in case.cotangents.items()}}
    values: list[dict[str, Array]] = []
    seen = Seen(dict(rounding.forms[0].scores), {}, {}, case.sizes)
    for form, recipe in zip(rounding.forms, rounding.recipes, strict=True):
        amplitudes = Amplitudes(recipe, rounding.profile, case.sizes, form.row_terms)
        given = {**arrays, **seen.peaks(form)}
        values.append(exact_run(recipe, given, case.sizes, case.parameters, amplitudes))
        seen = Seen(seen.scores, values[0], {}, case.sizes)
    for other in values[1:]:
        for output in rounding.outputs:
            np.testing.assert_allclose(other[output], values[0][output], rtol=1e-11, atol=1e-13)


def test_a_slope_from_the_kept_value_of_a_logistic_may_lose_its_digits() -> None:
    """At s(40) torch's slope s (1 - s) is 0 in float32, and e^-40 in ours: both are right."""
    spec = av.load("gru", reset="after")
    case = Draw(spec).case({axis.name: 1 for axis in spec.axes}, seed=2)
    given = {**case.arrays, "b_z": np.full(1, 40.0), "dH": np.ones((1, 1, 1))}
    for dtype in ("float32", "float64"):
        due = Rounding(spec, dtype, backward=True).expected(given, {}).dues["db_z"]
        assert 0 < abs(float(due.value[0])) < 6 * due.sigma[0]
    open_gate = Rounding(spec, "float32", backward=True).expected({**given, "b_z": np.zeros(1)}, {})
    due = open_gate.dues["db_z"]
    assert due.sigma[0] < 1e-6 * abs(due.value[0])


def test_fused_forms_take_the_row_term_from_the_outputs() -> None:
    fused = forms(av.load("global"), backward=True)[1].spec
    assert str(fused.equation("D")) == "D[b,h,i] = sum_c dO[b,h,i,c] A_out[b,h,i,c]"
    assert "A_again" in str(fused.equation("dV"))
    assert "A_again" not in str(fused.equation("O"))


def online(case: Case, tile: int) -> dict[str, Array]:
    """Attention by a running maximum over tiles of keys, in autograd.numpy."""
    q, k, v = (case.arrays[name] for name in "QKV")

    def run(arrays: Any) -> Any:
        queries, keys, values = arrays
        top = anp.full((*q.shape[:-1], 1), -np.inf, q.dtype)
        total, out = anp.zeros_like(top), anp.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)
        for start in range(0, k.shape[-2], tile):
            part = slice(start, start + tile)
            s = anp.matmul(queries, anp.swapaxes(keys[..., part, :], -1, -2)) / q.shape[-1] ** 0.5
            following = anp.maximum(top, anp.max(s, axis=-1, keepdims=True))
            p, kept = anp.exp(s - following), anp.exp(top - following)
            total = total * kept + anp.sum(p, axis=-1, keepdims=True)
            out = out * kept + anp.matmul(p, values[..., part, :])
            top = following
        return out / total

    pull, out = make_vjp(run, [q, k, v])
    return {"O": out, **dict(zip(("dQ", "dK", "dV"), pull(case.cotangents["O"]), strict=True))}


@pytest.mark.parametrize("style", STYLES)
def test_elu_plus_one_is_inside(style: str) -> None:
    """Far below zero the sum loses what exp alone keeps, and libraries write the sum."""
    case = drawn("linear", "float32", style)
    f, g = (
        np.where(case.arrays[n] > 0, case.arrays[n], np.expm1(case.arrays[n])) + np.float32(1)
        for n in "QK"
    )
    w = f @ g.swapaxes(-1, -2)
    out = w @ case.arrays["V"] / w.sum(-1, keepdims=True)
    verdict = judge(
        "O", out, Rounding(av.load("linear"), "float32").expected(case.arrays, {}).dues["O"]
    )
    assert verdict.status is Status.HELD


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tile", [1, 4])
def test_autodiff_through_running_maxima_is_inside(tile: int, dtype: str) -> None:
    case = Draw(av.load("global"), dtype=dtype).case({**SIZES, "queries": 1, "key_dim": 1}, seed=3)
    assert refuted(online(case, tile), expected("global", dtype, case)) == set()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_alone_have_bounds_without_the_softmax_that_nobody_asks_for(dtype: str) -> None:
    spec = av.load("global").replace(outputs=("S",))
    case = Draw(spec, dtype=dtype).case({"queries": 2, "keys": 5, "key_dim": 3}, seed=0)
    found = Rounding(spec, dtype).expected(case.arrays, {}).dues["S"]
    scores = case.arrays["Q"] @ case.arrays["K"].swapaxes(-1, -2) / np.sqrt(3)
    assert judge("S", scores.astype(dtype), found).status is Status.HELD
    assert judge("S", (1.001 * scores).astype(dtype), found).status is Status.REFUTED


def test_noise_is_shared_by_a_row_and_new_in_each_run() -> None:
    """What disturbs a row's normaliser scales the whole row of weights alike."""
    spec = av.load("global").replace(outputs=("A",))
    rounding = Rounding(spec, "float32")
    case = Draw(spec).case({"queries": 2, "keys": 5, "key_dim": 3}, seed=0)
    form, recipe = rounding.forms[0], rounding.recipes[0]
    amplitudes = Amplitudes(recipe, rounding.profile, case.sizes, form.row_terms)
    exact = exact_run(recipe, case.arrays, case.sizes, {}, amplitudes)["A"]
    for number, op in enumerate(recipe.ops):
        row_wise = op.kind == "map" and op.detail == "inverse"
        amplitudes.steps[number] = amplitudes.steps[number] if row_wise else None
    machine = NoisyMachine(case.arrays, case.sizes, {}, amplitudes)
    runs = machine.runs(recipe, 6, np.random.default_rng(0), {})["A"] / exact - 1
    assert np.ptp(runs, axis=-1).max() < 1e-3 * abs(runs).max()
    assert len(np.unique(runs[..., 0].round(15))) == runs[..., 0].size
