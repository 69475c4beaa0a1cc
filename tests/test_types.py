"""Inputs of another float type than the rest: 8 bits with scales, and float32 beside 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import attnverify as av
from attnverify.errors import ParameterError
from attnverify.inputs import Draw
from attnverify.notation import Spec, axes, let, softmax, sqrt, tensors, total
from attnverify.subjects import typed

Array = NDArray[Any]
FP8 = "float8_e4m3fn"
EIGHT = dict.fromkeys("QKV", FP8) | dict.fromkeys(("sq", "sk", "sv"), "float32")


def scaled() -> Spec:
    """Attention on arrays of 8 bits: Q and K with a scale per head, V with one per key."""
    batch, heads, queries, keys, key_dim, value_dim = axes(
        "batch heads queries keys key_dim value_dim"
    )
    b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
    k, c = key_dim["k"], value_dim["c"]
    q, key, v, sq, sk, sv, s, a, o = tensors("Q K V sq sk sv S A O")
    product = total(q[b, h, i, k] * key[b, h, j, k], over=k)
    inputs = [q[b, h, i, k], key[b, h, j, k], v[b, h, j, c], sq[b, h], sk[b, h], sv[b, h, j]]
    return Spec(
        "scaled",
        inputs=inputs,
        equations=[
            let(s[b, h, i, j], product * sq[b, h] * sk[b, h] / sqrt(key_dim.size)),
            let(a[b, h, i, j], softmax(s[b, h, i, j], over=j)),
            let(o[b, h, i, c], total(a[b, h, i, j] * sv[b, h, j] * v[b, h, j, c], over=j)),
        ],
        outputs=[o],
    )


SPEC = scaled()


def kernel(  # noqa: PLR0917  what a kernel of 8 bits takes
    q: Array, k: Array, v: Array, sq: Array, sk: Array, sv: Array
) -> Array:
    """What a fused kernel does: weights stored in 8 bits, all else float32."""
    wide = [x.astype("f4") for x in (q, k, v)]
    s = wide[0] @ wide[1].swapaxes(-1, -2) * (sq * sk)[..., None, None]
    s /= np.float32(q.shape[-1] ** 0.5)
    e = np.exp(s - s.max(-1, keepdims=True))
    stored = (e * sv[..., None, :]).astype(ml_dtypes.float8_e4m3fn).astype("f4")
    out: Array = (stored @ wide[2] / e.sum(-1, keepdims=True)).astype(ml_dtypes.bfloat16)
    return out


def judged(fn: Callable[..., Any], **more: Any) -> av.Verdict:
    """The verdict on a kernel's output; nothing is asked of its gradients."""
    how: dict[str, Any] = {
        "dtypes": ("bfloat16",),
        "types": EIGHT,
        "profile": "fp8_e4m3",
        "explain": False,
    }
    forward, backward = av.check(fn, SPEC, **how | more).verdicts[:2]
    assert backward.status.value == "UNDECIDED"
    assert backward.detail == "no gradient goes through what has 8 bits: Q, K, V"
    return forward


def test_a_kernel_that_takes_arrays_of_8_bits_with_scales_is_right() -> None:
    assert judged(kernel).status.value == "HELD"


def unscaled(q: Array, k: Array, v: Array, **scales: Array) -> Array:
    return kernel(q, k, v, **scales | {"sk": np.ones_like(scales["sk"])})


def first_head(q: Array, k: Array, v: Array, **scales: Array) -> Array:
    return kernel(q, k, v, **scales | {"sq": scales["sq"][:, :1] + 0 * scales["sq"]})


def one_scale(q: Array, k: Array, v: Array, **scales: Array) -> Array:
    return kernel(q, k, v, **scales | {"sv": scales["sv"][..., :1] + 0 * scales["sv"]})


def rescaled(q: Array, k: Array, v: Array, **scales: Array) -> Array:
    """Leaves the scale of V out of the last key alone."""
    sv = scales["sv"].copy()
    sv[..., -1] = 1
    return kernel(q, k, v, **scales | {"sv": sv})


@pytest.mark.parametrize("wrong", [unscaled, first_head, one_scale, rescaled])
def test_a_scale_that_is_not_its_own_is_refuted(wrong: Callable[..., Any]) -> None:
    assert judged(wrong, cases=12).status.value == "REFUTED"


def causal(*arrays: Array) -> Array:
    """Causal attention on arrays of 8 bits, float32 inside."""
    q, k, v = (x.astype("f4") for x in arrays)
    s = q @ k.swapaxes(-1, -2) / np.float32(q.shape[-1] ** 0.5)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    s = np.where(j <= i, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray((e @ v / e.sum(-1, keepdims=True)).astype(ml_dtypes.bfloat16))


def test_garbage_in_masked_places_stays_inside_the_range_of_8_bits() -> None:
    # 1e30 in float8_e4m3fn is NaN, which a right subject propagates
    types = dict.fromkeys("QKV", FP8)
    how: dict[str, Any] = {"dtypes": ("bfloat16",), "types": types, "profile": "strict"}
    report = av.check(causal, "causal", **how)
    found = {v.name.partition(" (")[0]: v.status.value for v in report.verdicts}
    assert "REFUTED" not in found.values()
    assert found["masked keys have no influence"] == found["causality"] == "HELD"


def test_an_isolated_kernel_takes_the_same_types() -> None:
    assert judged(kernel, isolate=True, cases=16).status.value == "HELD"


def biased(dtype: type) -> Callable[..., Any]:
    """Attention with a bias of float32 whose gradient comes back in `dtype`."""

    def pull(d_o: Array, q: Array, k: Array, v: Array, bias: Array) -> tuple[Array, ...]:
        q, k, v, d_o = (x.astype("f4") for x in (q, k, v, d_o))
        a = _weights(q, k, bias)
        d_a = d_o @ v.swapaxes(-1, -2)
        d_s = a * (d_a - (d_a * a).sum(-1, keepdims=True))
        root = np.float32(q.shape[-1] ** 0.5)
        slopes = d_s @ k / root, d_s.swapaxes(-1, -2) @ q / root, a.swapaxes(-1, -2) @ d_o
        return (*(g.astype(ml_dtypes.bfloat16) for g in slopes), d_s.astype(dtype))

    return pull


def _weights(q: Array, k: Array, bias: Array) -> Array:
    s = q @ k.swapaxes(-1, -2) / np.float32(q.shape[-1] ** 0.5) + bias
    e = np.exp(s - s.max(-1, keepdims=True))
    a: Array = e / e.sum(-1, keepdims=True)
    return a


def with_bias(q: Array, k: Array, v: Array, bias: Array) -> Array:
    assert bias.dtype == np.float32
    a = _weights(q.astype("f4"), k.astype("f4"), bias)
    return np.asarray((a @ v.astype("f4")).astype(q.dtype))


@pytest.mark.parametrize(
    ("dtype", "status"), [(np.float32, "HELD"), (ml_dtypes.bfloat16, "REFUTED")]
)
def test_the_gradient_of_a_wider_input_has_its_type(dtype: type, status: str) -> None:
    how: dict[str, Any] = {"dtypes": ("bfloat16",), "types": {"bias": "float32"}, "explain": False}
    report = av.check(with_bias, "biased", vjp=biased(dtype), cases=12, **how)
    found = {v.name: v for v in report.verdicts}
    assert found["forward O (bfloat16)"].status.value == "HELD"
    slope = found["backward dbias (bfloat16)"]
    assert slope.status.value == status
    assert status == "HELD" or "dtype bfloat16, due float32" in slope.detail


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"A": FP8}, "only a real input has a float type"),
        ({"Q": "float16"}, "does not hold all of bfloat16"),
        ({"Q": "float4"}, "an unknown float type"),
    ],
)
def test_a_type_that_no_input_can_have_is_refused(types: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        typed(SPEC, types, "bfloat16")


@pytest.mark.parametrize("style", ["normal", "towering", "giant", "deep"])
def test_what_8_bits_do_not_hold_is_never_drawn(style: str) -> None:
    draw = Draw(SPEC, dtype="bfloat16", types=typed(SPEC, EIGHT, "bfloat16"))
    case = draw.case({"queries": 3, "keys": 5, "key_dim": 4}, seed=1, style=style)
    assert {n: a.dtype.name for n, a in case.arrays.items()} == EIGHT
    assert all(np.isfinite(a.astype(float)).all() for a in case.arrays.values())


def test_gradients_that_are_not_asked_for_are_not_judged() -> None:
    report = av.check(with_bias, "biased", cases=4, backward=False)
    found = {v.name: (v.status.value, v.detail) for v in report.verdicts}
    assert found["forward O (float32)"][0] == "HELD"
    words = "backward is not judged: it was not asked for"
    assert found["gradients (float32)"] == ("UNDECIDED", words)
    assert not any(name.startswith("backward d") for name in found)
