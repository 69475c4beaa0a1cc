"""Linear attention and its kin against loops from their papers, form against form, and edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attnverify import compile, load  # noqa: A004  the fixed public name
from attnverify.spec import Spec
from tests.specs.reference import (
    SHAPES,
    Array,
    computed,
    drawn,
    expect_equal,
    with_cotangents,
)

Arrays = dict[str, Array]
ALL = range(len(SHAPES))


def heads(one: Callable[..., Array]) -> Callable[[Arrays], Array]:
    """A reference for one head as a reference for all: inputs by name, head after head."""

    def run(a: Arrays) -> Array:
        b, h = a["Q"].shape[:2]
        each = {n: x for n, x in a.items() if n != "W"}
        rest = {"W": a["W"]} if "W" in a else {}
        out = [
            [one(**{n: x[i, j] for n, x in each.items()}, **rest) for j in range(h)]
            for i in range(b)
        ]
        return np.array(out)

    return run


def kernel(phi: Callable[[Array], Array], causal: bool) -> Callable[..., Array]:
    def one(Q: Array, K: Array, V: Array) -> Array:
        out = []
        for i, q in enumerate(Q):
            seen = range(i + 1) if causal else range(len(K))
            w = np.array([phi(q) @ phi(K[j]) for j in seen])
            out.append(w @ V[: len(w)] / w.sum())
        return np.stack(out)

    return one


def elu_plus_one(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0))) + 1


def favor(causal: bool) -> Callable[..., Array]:
    def one(Q: Array, K: Array, V: Array, W: Array) -> Array:
        d = Q.shape[-1]

        def phi(x: Array) -> Array:
            x = x / d**0.25
            return np.array([np.exp(w @ x - x @ x / 2) / np.sqrt(len(W)) for w in W])

        found: Array = kernel(phi, causal)(Q, K, V)
        return found

    return one


def state(
    Q: Array,
    K: Array,
    V: Array,
    g: Array | None = None,
    beta: Array | None = None,
) -> Array:
    """S = Diag(e^g) S, then S += k v^T, or beta k (v - S^T k)^T; the output is S^T q."""
    S = np.zeros((K.shape[-1], V.shape[-1]), np.longdouble)
    out = []
    for t in range(len(Q)):
        if g is not None:
            S = np.exp(g[t])[..., None] * S
        S = S + np.outer(K[t], V[t] if beta is None else beta[t] * (V[t] - S.T @ K[t]))
        out.append(S.T @ Q[t])
    return np.array(out)


def retained(gamma: float | None) -> Callable[[Arrays], Array]:
    def run(a: Arrays) -> Array:
        out = np.zeros((*a["Q"].shape[:3], a["V"].shape[-1]), np.longdouble)
        for b, h, i in np.ndindex(*out.shape[:3]):
            kept = gamma if gamma is not None else 1 - 2.0 ** (-5 - h)
            for j in range(i + 1):
                dot = a["Q"][b, h, i] @ a["K"][b, h, j]
                out[b, h, i] += np.longdouble(kept) ** (i - j) * dot * a["V"][b, h, j]
        return out

    return run


def wkv(a: Arrays) -> Array:
    K, V, w, u = a["K"], a["V"], a["w"], a["u"]
    out = np.zeros(K.shape, np.longdouble)
    for b, t, c in np.ndindex(*K.shape):
        num, den = np.exp(u[c] + K[b, t, c]) * V[b, t, c], np.exp(u[c] + K[b, t, c])
        for i in range(t):
            e = np.exp(-(t - 1 - i) * w[c] + K[b, i, c])
            num, den = num + e * V[b, i, c], den + e
        out[b, t, c] = num / den
    return out


PARALLEL, RECURRENT = {"form": "parallel"}, {"form": "recurrent"}
CASES: list[tuple[str, dict[str, Any], Callable[[Arrays], Array]]] = [
    ("linear", {"causal": False}, heads(kernel(elu_plus_one, causal=False))),
    ("linear", {"causal": True, **PARALLEL}, heads(kernel(elu_plus_one, causal=True))),
    ("linear", {"causal": True, **RECURRENT}, heads(kernel(elu_plus_one, causal=True))),
    ("performer", {"causal": False}, heads(favor(causal=False))),
    ("performer", {"causal": True}, heads(favor(causal=True))),
    ("retention", {**PARALLEL}, retained(None)),
    ("retention", {**RECURRENT}, retained(None)),
    ("retention", {**PARALLEL, "decay": "given", "gamma": 0.5}, retained(0.5)),
    ("retention", {**RECURRENT, "decay": "given", "gamma": 0.75}, retained(0.75)),
    *(
        (name, form, heads(state))
        for name in ("gated_linear", "state_space_dual", "delta_rule", "gated_delta")
        for form in (PARALLEL, RECURRENT)
    ),
    ("rwkv4", PARALLEL, wkv),
    ("rwkv4", RECURRENT, wkv),
]
IDS = [" ".join([name, *map(str, choices.values())]) for name, choices, _ in CASES]


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize(("name", "choices", "reference"), CASES, ids=IDS)
def test_specs_are_their_papers_loops(
    name: str, choices: dict[str, Any], reference: Callable[[Arrays], Array], number: int
) -> None:
    spec = load(name, **choices)
    arrays = drawn(spec, number)
    verdict = computed(spec, arrays).against("O", reference(arrays))
    assert verdict.status.value == "HELD", verdict.detail


FORMS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {"causal": True}),
    ("retention", {}),
    ("retention", {"decay": "given", "gamma": 0.875}),
    ("gated_linear", {}),
    ("state_space_dual", {}),
    ("delta_rule", {}),
    ("gated_delta", {}),
    ("rwkv4", {}),
]


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize(("name", "choices"), FORMS, ids=[f"{n} {c}" for n, c in FORMS])
def test_forms_are_equal_forward_and_in_every_gradient(
    name: str, choices: dict[str, Any], number: int
) -> None:
    one, other = (load(name, form=form, **choices) for form in ("parallel", "recurrent"))
    arrays = drawn(one, number)
    expect_equal(computed(one, arrays), computed(other, arrays))
    derived, given = with_cotangents(one, arrays)
    expect_equal(computed(derived, given), computed(with_cotangents(other, arrays)[0], given))


@pytest.mark.parametrize(("chunks", "size"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_chunks_of_any_size_are_equal_forward_and_in_every_gradient(chunks: int, size: int) -> None:
    whole, parts = load("retention", form="recurrent"), load("retention", form="chunkwise")
    rng = np.random.default_rng(chunks)
    arrays = {n: rng.normal(size=(2, 3, chunks * size, 4)) for n in "QKV"}
    derived, given = with_cotangents(whole, arrays)

    def split(a: Array) -> Array:
        return a.reshape(2, 3, chunks, size, 4)

    for one, other, on in (
        (whole, parts, arrays),
        (derived, with_cotangents(parts, {n: split(a) for n, a in arrays.items()})[0], given),
    ):
        due, found = computed(one, on), computed(other, {n: split(a) for n, a in on.items()})
        for name in one.outputs:
            verdict = found.against(name, split(due.values[name]), split(due.moves[name]))
            assert verdict.status.value == "HELD", verdict.detail


# ---- Edges: what a variant becomes


def plain(number: int, spec: Spec) -> tuple[Arrays, Array]:
    """Arrays, and causal linear attention with phi = identity and no normaliser."""
    arrays = drawn(spec, number)
    return arrays, heads(lambda Q, K, V, **_: state(Q, K, V))(arrays)


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
@pytest.mark.parametrize("number", ALL)
def test_retention_without_decay_is_causal_linear_attention(form: str, number: int) -> None:
    spec = load("retention", form=form, decay="given", gamma=1)
    arrays, due = plain(number, spec)
    verdict = computed(spec, arrays).against("O", due)
    assert verdict.status.value == "HELD", verdict.detail


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
@pytest.mark.parametrize("number", ALL)
def test_gated_linear_attention_at_a_constant_gate_is_retention(form: str, number: int) -> None:
    gated = load("gated_linear", form=form)
    retention = load("retention", form=form, decay="given", gamma=0.75)
    arrays = drawn(gated, number)
    arrays["g"] = np.full(arrays["g"].shape, np.log(np.longdouble(0.75)))
    kept = {n: a for n, a in arrays.items() if n != "g"}
    expect_equal(computed(gated, arrays), computed(retention, kept))


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
@pytest.mark.parametrize("number", ALL)
def test_state_space_duality_is_gated_linear_attention_with_one_gate_for_all_channels(
    form: str, number: int
) -> None:
    dual, gated = (load(name, form=form) for name in ("state_space_dual", "gated_linear"))
    arrays = drawn(dual, number)
    repeated = np.broadcast_to(arrays["g"][..., None], arrays["Q"].shape)
    expect_equal(computed(dual, arrays), computed(gated, {**arrays, "g": repeated}))


def orthonormal(spec: Spec, steps: int = 4) -> Arrays:
    """Arrays whose keys are orthonormal along time, and full writing strength."""
    rng = np.random.default_rng(steps)
    arrays = {n: rng.normal(size=(2, 3, steps, steps + 1)) for n in ("Q", "V")}
    turned = np.linalg.qr(rng.normal(size=(2, 3, steps + 1, steps)).astype(float))[0]
    arrays |= {"K": np.swapaxes(turned, -1, -2), "beta": np.ones((2, 3, steps))}
    if any(e.tensor.name == "g" for e in spec.inputs):
        arrays["g"] = -np.abs(rng.normal(size=(2, 3, steps)))
    return arrays


# QR leaves keys orthonormal within some units of float64, which every product of two keys carries.
SLACK = 64 * 2.0**-53


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
def test_the_delta_rule_with_orthogonal_keys_is_causal_linear_attention(form: str) -> None:
    """Their length does not matter: what an orthogonal key recalls is 0."""
    spec = load("delta_rule", form=form)
    arrays = orthonormal(spec)
    for length in (1, 2):
        longer = {**arrays, "K": length * arrays["K"]}
        due = heads(lambda Q, K, V, **_: state(Q, K, V))(longer)
        verdict = computed(spec, longer).against("O", due, SLACK)
        assert verdict.status.value == "HELD", verdict.detail
    arrays["K"][:, :, 1] += arrays["K"][:, :, 0]
    due = heads(lambda Q, K, V, **_: state(Q, K, V))(arrays)
    assert computed(spec, arrays).against("O", due, SLACK).status.value == "REFUTED"


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
def test_the_gated_delta_rule_with_orthonormal_keys_is_state_space_duality(form: str) -> None:
    spec = load("gated_delta", form=form)
    arrays = orthonormal(spec)
    kept = {n: a for n, a in arrays.items() if n != "beta"}
    due = computed(load("state_space_dual", form=form), kept)
    verdict = computed(spec, arrays).against("O", due.only, SLACK)
    assert verdict.status.value == "HELD", verdict.detail


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
@pytest.mark.parametrize("number", ALL)
def test_the_gated_delta_rule_without_decay_is_the_delta_rule(form: str, number: int) -> None:
    gated, rule = load("gated_delta", form=form), load("delta_rule", form=form)
    arrays = drawn(gated, number)
    arrays["g"] = np.zeros_like(arrays["g"])
    kept = {n: a for n, a in arrays.items() if n != "g"}
    expect_equal(computed(gated, arrays), computed(rule, kept))


def test_the_performer_nears_softmax_attention_with_the_fourth_power_of_its_inputs() -> None:
    """At d = 1 the vectors w = -1, 1 have three moments of the normal law, and no more."""
    spec, softmax = load("performer", causal=False), load("global")
    rng = np.random.default_rng(8)
    arrays = {n: rng.normal(size=(1, 1, 5, 1)) for n in "QKV"}
    gaps = []
    for scale in (1 / 16, 1 / 32):
        small = {**arrays, "Q": scale * arrays["Q"], "K": scale * arrays["K"]}
        near = computed(spec, {**small, "W": np.array([[-1.0], [1.0]])}).only
        gaps.append(float(np.max(np.abs(near - computed(softmax, small).only))))
    order = np.log2(gaps[0] / gaps[1])
    assert round(order, 1) == 4.0


@pytest.mark.parametrize("name", ["gated_linear", "state_space_dual", "gated_delta"])
def test_decays_far_below_the_range_of_numbers_are_carried(name: str) -> None:
    """A product of a hundred gates of e^-40 is 0 in numbers; quotients of such products are not."""
    parallel, recurrent = (load(name, form=form) for form in ("parallel", "recurrent"))
    rng = np.random.default_rng(5)
    arrays = {
        e.tensor.name: rng.normal(size=(1, 1, 100, 2)[: len(e.places)]) for e in parallel.inputs
    }
    arrays["g"] = np.where(rng.random(arrays["g"].shape) < 0.5, -40.0, -0.01)
    if name == "gated_delta":
        arrays["K"] /= np.linalg.norm(arrays["K"], axis=-1, keepdims=True)
        arrays["beta"] = 1 / (1 + np.exp(-arrays["beta"]))
    assert np.isfinite(compile(parallel)(**arrays)["O"]).all()
    expect_equal(computed(parallel, arrays), computed(recurrent, arrays))
