"""Jacobians by distance: closed forms, tangents, differences, and what a wrong rule would show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attnverify import compile as compile_spec
from attnverify import gradient, load, tangent
from attnverify.compare import within
from attnverify.compile.lower import lower
from attnverify.compile.run import run
from attnverify.compile.stack import stacked
from attnverify.errors import ParameterError
from attnverify.flow import jacobian
from attnverify.flow.initial import Start, drawn, fan_in, sizes_of
from attnverify.flow.jacobian import Jacobian, profile
from attnverify.flow.layers import deep, layer
from attnverify.provers.disturbed import DTYPE, UNIT
from attnverify.provers.draws import draw
from attnverify.spec import Spec
from attnverify.verdict import Status
from tests.members import MEMBERS
from tests.test_stack import some
from tests.trials import TRIALS

Array = NDArray[Any]
U = 2.0**-53


def case(
    spec: Spec, length: int = 5, width: int = 3, **start: Any
) -> tuple[dict[str, Array], dict[str, int]]:
    sizes = sizes_of(spec, length, width, {"batch": 1})
    return drawn(spec, sizes, np.random.default_rng(1), Start(**start)), sizes


def check(name: str, got: Array, due: Array, bound: Array | float) -> None:
    verdict = within(name, got, due, bound)
    assert verdict.status is Status.HELD, verdict.detail


# ---- Closed forms


def test_a_linear_network_has_powers_of_its_matrix() -> None:
    spec = load("linear_rnn")
    arrays, sizes = case(spec, length=7, width=4)
    blocks = Jacobian(spec)(arrays, sizes=sizes)
    for t in range(7):
        for s in range(7):
            W, C, V = (arrays[n] for n in ("W", "C", "U"))
            steps = t - s
            due = C @ np.linalg.matrix_power(W, max(steps, 0)) @ V * (steps >= 0)
            sized = np.abs(C) @ np.linalg.matrix_power(np.abs(W), max(steps, 0)) @ np.abs(V)
            # Each side sums at most 4 products per matrix.
            check(f"{t}, {s}", blocks[t, s], due, 2 * 5 * (abs(steps) + 3) * U * sized)


def attention_parts() -> tuple[dict[str, Array], Array, Array, float]:
    spec = load("global", outputs="O A")
    sizes = sizes_of(spec, 6, 3, {"batch": 1, "heads": 1, "value_dim": 2})
    arrays = drawn(spec, sizes, np.random.default_rng(3))
    found = compile_spec(spec)(**arrays)
    return arrays, found["O"][0, 0], found["A"][0, 0], 1 / np.sqrt(3)


# What a softmax row may lose (Blanchard, Higham, Higham 2021, theorem 4.3) and the sums around it.
ROWS = 100 * U


def test_the_direct_path_of_attention_is_the_weight_times_the_identity() -> None:
    arrays, _, A, _ = attention_parts()
    blocks = Jacobian(load("global"), wrt=["V"])(arrays)
    check("dO/dV", blocks, A[:, :, None, None] * np.eye(2), ROWS)


def test_the_score_path_of_attention_is_as_derived_by_hand() -> None:
    arrays, O, A, scale = attention_parts()
    Q, K, V = (arrays[name][0, 0] for name in "QKV")
    by_keys = Jacobian(load("global"), wrt=["K"])(arrays)
    moved = V[None] - O[:, None]  # v_j - o_i
    check("dO/dK", by_keys, scale * np.einsum("ij,ijc,ik->ijck", A, moved, Q), 10 * ROWS)
    by_queries = Jacobian(load("global"), wrt=["Q"])(arrays)
    slopes = scale * np.einsum("ij,ijc,jk->ick", A, moved, K)
    due = np.einsum("is,ick->isck", np.eye(6), slopes)
    check("dO/dQ", by_queries, due, 10 * ROWS)


# ---- Other ways to the same numbers

SPECS: list[tuple[str, Mapping[str, Any]]] = [
    ("elman", {"activation": "tanh"}),
    ("gru", {}),
    ("lstm", {}),
    ("seq2seq", {}),
    ("seq2seq_attention", {}),
    ("encoder_block", {"norm": "post"}),
    ("encoder_block", {"norm": "pre"}),
    ("grouped_query", {}),
    ("alibi", {}),
]


def loaded(name: str, choices: Mapping[str, Any]) -> Spec:
    return load(name, **{**choices, **({"eps": 1e-5} if name == "encoder_block" else {})})


def differences(spec: Spec, arrays: Mapping[str, Array], name: str, at: tuple[int, ...]) -> Array:
    """Two central differences of the compiled spec by one entry, at a step and at half of it."""
    oracle, out = compile_spec(spec, dtype="longdouble"), spec.outputs[0]
    found = []
    for step in (2.0**-8, 2.0**-9):
        moved = []
        for sign in (1, -1):
            changed = {n: a.astype(np.longdouble) for n, a in arrays.items()}
            changed[name][at] += sign * step
            moved.append(oracle(**changed)[out])
        found.append((moved[0] - moved[1]) / (2 * step))
    return np.array(found)


@pytest.mark.parametrize(("name", "choices"), SPECS, ids=[f"{n} {c}" for n, c in SPECS])
def test_blocks_are_what_differences_say(name: str, choices: Mapping[str, Any]) -> None:
    spec = loaded(name, choices)
    arrays, sizes = case(spec)
    one = Jacobian(spec)
    blocks = one(arrays, sizes=sizes)
    (tensor, *_) = (entry.tensor.name for entry in one.inputs)
    for position in (0, 3):
        at = [0] * arrays[tensor].ndim
        at[-2] = position
        whole, half = differences(spec, arrays, tensor, tuple(at))
        axis = [p.axis.name for p in one.output.places if not isinstance(p, tuple)]
        place = axis.index(one.target) + (len(one.output.places) - len(axis))
        # Halving the step takes three quarters of the error away: what is left is less than that.
        due, bound = (
            np.moveaxis(x, place, 0).reshape(sizes[one.target], -1)
            for x in (half, np.abs(whole - half))
        )
        assert float(np.abs(due).max()) > 0
        got = blocks[:, position, :, 0]
        check(f"{tensor}{at}", got.astype(np.longdouble), due, bound + 2.0**-40)


@pytest.mark.parametrize(("name", "choices"), SPECS, ids=[f"{n} {c}" for n, c in SPECS])
def test_blocks_are_what_the_tangent_says(name: str, choices: Mapping[str, Any]) -> None:
    spec = loaded(name, choices)
    arrays, sizes = case(spec)
    one = Jacobian(spec)
    blocks = one(arrays, sizes=sizes)
    names = [entry.tensor.name for entry in one.inputs]
    forward = compile_spec(tangent(spec, wrt=names))
    rng = np.random.default_rng(2)
    along = {f"t{n}": rng.standard_normal(arrays[n].shape) for n in names}
    pushed = forward(**arrays, **along, sizes=sizes)[f"t{spec.outputs[0]}"]
    columns = [
        np.moveaxis(along[f"t{e.tensor.name}"], _at(e, one.source), 0).reshape(
            sizes[one.source], -1
        )
        for e in one.inputs
    ]
    got = np.einsum("tsoi,si->to", blocks, np.concatenate(columns, axis=-1))
    due = np.moveaxis(pushed, _at(one.output, one.target), 0).reshape(sizes[one.target], -1)
    sized = np.einsum("tsoi,si->to", np.abs(blocks), np.abs(np.concatenate(columns, axis=-1)))
    check("tangent", got, due, 1000 * U * (1 + sized))


def _at(entry: Any, axis: str) -> int:
    places = [getattr(getattr(p, "axis", None), "name", "") for p in entry.places]
    return places.index(axis)


def test_a_wrong_gradient_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = load("elman", activation="relu")
    monkeypatch.setattr(jacobian, "gradient", lambda _spec, wrt: gradient(wrong, wrt))
    with pytest.raises(AssertionError, match="entries fail"):
        test_blocks_are_what_differences_say("elman", {"activation": "tanh"})


# ---- Draws of cotangents alone


@pytest.mark.parametrize(
    "title",
    ["global (dropout=False, lse_base=e)", "seq2seq_attention", "lstm (forget=True)", *TRIALS],
)
def test_only_cotangents_may_have_draws(title: str) -> None:
    spec = {**MEMBERS, **TRIALS}[title]
    derived = gradient(spec)
    given = {entry.tensor.name for entry in spec.inputs}
    seeds = [e.tensor.name for e in derived.inputs if e.tensor.name not in given]
    cases = some(derived)
    each = [draw(derived, one) for one in cases]
    shared = {name: array for name, array in each[0].items() if name not in seeds}
    recipe = stacked(lower(derived), over=seeds)
    sizes = {**cases[0].sizes, recipe.axes[-1]: len(cases)}
    together = {name: np.stack([arrays[name] for arrays in each]) for name in seeds}
    found = run(recipe, {**shared, **together}, sizes, cases[0].parameters, DTYPE)
    for number, arrays in enumerate(each):
        alone = run(lower(derived), {**arrays, **shared}, sizes, cases[0].parameters, DTYPE)
        for name, due in alone.items():
            size = 1 + np.max(np.abs(due), initial=0, where=np.isfinite(due))
            check(f"{name} {number}", found[name][number], due, float(UNIT / 64 * size))


# ---- Stacks, inputs, settings


def test_a_stack_is_the_product_of_its_layers() -> None:
    one = layer(load("causal"))
    two = deep(one, 2)
    arrays, sizes = case(two)
    below = {e.tensor.name: e for e in one.inputs}
    first = {n: arrays[n if n == "X" else f"{n}_layer1"] for n in below}
    second = {n: arrays[f"{n}_layer2"] for n in below if n != "X"}
    between = compile_spec(one)(**first)["Y"]
    lower_blocks = Jacobian(one)(first, sizes=sizes)
    upper_blocks = Jacobian(one)({**second, "X": between}, sizes=sizes)
    due = np.einsum("tuom,usmi->tsoi", upper_blocks, lower_blocks)
    sized = np.einsum("tuom,usmi->tsoi", np.abs(upper_blocks), np.abs(lower_blocks))
    check("chain rule", Jacobian(two)(arrays, sizes=sizes), due, 1000 * U * (1 + sized))


def test_masks_and_windows_leave_exact_zeros() -> None:
    spec = deep(layer(load("sliding_window", window=3)), 2)
    arrays, sizes = case(spec, length=9)
    blocks = Jacobian(spec)(arrays, sizes=sizes)
    seen = np.abs(blocks).max(axis=(-2, -1)) > 0
    t, s = np.indices((9, 9))
    assert (seen == ((t - s >= 0) & (t - s <= 4))).all()


def test_residual_layers_pass_their_input_on() -> None:
    spec = layer(load("causal"), residual=True)
    arrays, sizes = case(spec, gain=0.0)
    blocks = Jacobian(spec)(arrays, sizes=sizes)
    check("identity", blocks, np.einsum("ts,oi->tsoi", np.eye(5), np.eye(3)), 0.0)


def test_a_decoders_sequence_follows_its_sources() -> None:
    found = profile(load("seq2seq"), length=4, width=3, draws=2)
    assert found.distances.tolist() == [4, 3, 2, 1]
    assert profile(load("global"), length=4, draws=1).distances.tolist() == [3, 2, 1, 0]


def test_profiles_are_reproducible_and_grow_with_the_gain() -> None:
    settings: dict[str, Any] = {"length": 12, "width": 6, "draws": 5}
    spec = load("linear_rnn")
    one, two = (profile(spec, seed=3, **settings).spectral for _ in range(2))
    assert (one == two).all()
    found = profile(spec, seed=3, start=Start(gain=2.0), **settings)
    # One matrix reads, one writes, and one stands at each step: doubling all of them is exact.
    check("gain", found.spectral, one * 2.0 ** (found.distances + 2), 20 * U * found.spectral)
    even = profile(spec, start=Start(kind="orthogonal"), **settings)
    check("an orthogonal matrix keeps norms", even.spectral, np.ones((5, 12)), 1000 * U)


def test_the_frobenius_norm_lies_between_one_and_the_root_of_the_rank_times_the_spectral() -> None:
    found = profile(load("gru"), length=6, width=4, draws=4)
    ratio = found.frobenius / found.spectral
    assert (ratio >= 1 - 10 * U).all()
    assert (ratio <= 2 + 10 * U).all()


def test_weights_have_the_variance_of_their_fan_in() -> None:
    spec = load("elman")
    sizes = sizes_of(spec, 4, 64, {"batch": 1})
    arrays = drawn(spec, sizes, np.random.default_rng(0), Start(gain=2.0))
    assert fan_in(spec, spec.inputs[2], sizes) == 64
    # Six standard errors of the variance of 4096 normal numbers.
    check(
        "variance",
        np.array(np.var(arrays["U"])),
        np.array(4 / 64),
        6 * (4 / 64) * np.sqrt(2 / 4096),
    )
    assert not arrays["H0"].any()
    assert not arrays["bias"].any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: profile(load("neighbourhood_2d"), length=4), "from one position of a sequence"),
        (lambda: profile(load("sliding_window"), length=4), "parameter is left open"),
        (lambda: profile(load("causal"), parameters={"window": 2}), "unknown parameter"),
        (lambda: profile(load("causal"), length=0), "at least 1"),
        (lambda: profile(load("causal"), target=99), "no such position"),
        (lambda: profile(load("causal"), sizes={"time": 3}), "the spec lacks"),
        (lambda: profile(load("causal"), start=Start(values={"W": 1.0})), "the spec lacks"),
        (lambda: Jacobian(load("causal"), wrt=["W"]), "by real inputs"),
        (lambda: Start(kind="other"), "unknown initialisation"),  # type: ignore[arg-type]
        (lambda: deep(load("retention"), 2), "read one sequence"),
        (lambda: deep(load("elman"), 0), "at least one layer"),
        (lambda: layer(load("elman")), "over Q, K and V"),
        (lambda: layer(load("neighbourhood_2d")), "along one sequence"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(call: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        call()
