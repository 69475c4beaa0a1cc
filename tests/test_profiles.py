"""Profiles: what an arithmetic rounds, what fits each of them, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.compile.lower import lower
from attnverify.dtypes import EIGHT_BITS, TENSOR_CORES, eight_bit_type, tensor_core_type
from attnverify.errors import ParameterError
from attnverify.rounding import PROFILES, Rounding
from attnverify.rounding.profiles import loose, profile, strict
from attnverify.rounding.storage import storage
from attnverify.verdict import Status

Array = npt.NDArray[Any]
EIGHT = {"fp8_e4m3": ml_dtypes.float8_e4m3fn, "fp8_e5m2": ml_dtypes.float8_e5m2}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_in_wide_types_strict_is_loose(dtype: str) -> None:
    wide, narrow = loose(dtype), strict(dtype)
    assert not narrow.selective
    assert (narrow.stage, narrow.accumulator, narrow.enlarged) == (
        wide.stage, wide.accumulator, wide.enlarged,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_narrow_types_strict_keeps_what_is_not_stored_in_float32(dtype: str) -> None:
    assert strict(dtype).selective
    assert strict(dtype).stage == loose("float32").stage
    assert strict(dtype).stored.roundoff == loose(dtype).stage


BAD = [
    ({"name": "tight", "dtype": "float32"}, "an unknown profile"),
    ({"name": "strict", "dtype": "float64", "internal": "float32"}, "two things"),
    ({"name": "fp8_e4m3", "dtype": "float64"}, "sums in float32"),
    ({"name": "tf32", "dtype": "bfloat16"}, "multiply float32"),
    ({"name": "strict", "dtype": "float8"}, "an unknown float type"),
]


@pytest.mark.parametrize(("settings", "words"), BAD)
def test_what_is_no_profile_is_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        profile(**settings)


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_types_of_8_bits_are_as_ml_dtypes_has_them(name: str) -> None:
    found = eight_bit_type(name)
    info: Any = ml_dtypes.finfo(found.numpy)  # type: ignore[no-untyped-call]  # theirs
    assert (found.roundoff, found.largest) == (float(info.eps) / 2, float(info.max))
    with pytest.raises(ParameterError, match="8 bits"):
        eight_bit_type("float16")
    with pytest.raises(ParameterError, match="tensor cores"):
        tensor_core_type("float16")


def test_a_fused_kernel_stores_weights_slopes_and_outputs_alone() -> None:
    rounding = Rounding(av.load("causal"), "bfloat16", backward=True)
    form = rounding.forms[0]
    found = storage(lower(form.spec), form.outputs)
    made = {name.split("_")[0] for name in found.operands}
    assert made == {"A", "dS"}
    assert {name.split("_")[0] for name in found.outputs} == {"O", "dQ", "dK", "dV"}
    assert {"Q", "K", "V", "dO"} <= found.given
    assert any(name.endswith("_scaled") for name in found.given)


def test_projections_are_operands_too() -> None:
    spec = av.load("multi_head")
    found = storage(lower(spec), spec.outputs)
    assert {name.split("_")[0] for name in found.operands} >= {"Q", "K", "V", "A"}


def eager(q: Array, k: Array, v: Array) -> Array:
    """Causal attention with every intermediate stored."""
    dtype = q.dtype
    s = (q.astype(np.float32) @ k.astype(np.float32).swapaxes(-1, -2)).astype(dtype)
    s = (s.astype(np.float32) / np.float32(q.shape[-1] ** 0.5)).astype(dtype).astype(np.float32)
    s = np.where(np.tri(*s.shape[-2:]) > 0, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    p = (e / e.sum(-1, keepdims=True)).astype(dtype)
    out: Array = (p.astype(np.float32) @ v.astype(np.float32)).astype(dtype)
    return out


def fused(q: Array, k: Array, v: Array) -> Array:
    """The same with the scores kept in float32, and weights that are not normalised."""
    dtype = q.dtype
    q, k, v = (x.astype(np.float32) for x in (q, k, v))
    s = q @ k.swapaxes(-1, -2) / np.float32(q.shape[-1] ** 0.5)
    s = np.where(np.tri(*s.shape[-2:]) > 0, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    out: Array = (e.astype(dtype).astype(np.float32) @ v) / e.sum(-1, keepdims=True)
    return out.astype(dtype)


def test_the_tightest_profile_that_fits_is_told_and_a_declared_one_is_judged_by() -> None:
    settings: dict[str, Any] = {"dtypes": ("bfloat16",)}
    fits = {fn.__name__: av.check(fn, "causal", **settings).verdicts[0] for fn in (eager, fused)}
    assert {name: v.evidence["profile"] for name, v in fits.items()} == {
        "eager": "loose", "fused": "strict",
    }  # fmt: skip
    assert av.check(fused, "causal", profile="strict", **settings).ok
    assert not av.check(eager, "causal", profile="strict", cases=24, explain=False, **settings).ok


def test_in_float32_no_tighter_profile_is_told_of() -> None:
    forward = av.check(fused, "causal", cases=6).verdicts[0]
    assert forward.status is Status.HELD
    assert "profile" not in forward.evidence


def in_eight_bits(name: str, leak: int = 0) -> Any:
    """A kernel that divides inputs by a scale, rounds them to 8 bits, and rounds its weights."""

    def kept(x: Array) -> Array:
        wide, kind = x.astype(np.float32), EIGHT[name]
        scale = np.abs(wide).max(initial=0.0) / float(np.float32(ml_dtypes.finfo(kind).max)) or 1.0  # type: ignore[no-untyped-call]  # theirs
        found: Array = (wide / scale).astype(kind).astype(np.float32) * np.float32(scale)
        return found

    def fn(q: Array, k: Array, v: Array) -> Array:
        dtype = q.dtype
        q, k, v = map(kept, (q, k, v))
        s = q @ k.swapaxes(-1, -2) / np.float32(q.shape[-1] ** 0.5)
        i, j = np.ogrid[: s.shape[-2], : s.shape[-1]]
        s = np.where(j <= i + leak, s, -np.inf)
        e = np.exp(s - s.max(-1, keepdims=True))
        out: Array = e.astype(EIGHT[name]).astype(np.float32) @ v / e.sum(-1, keepdims=True)
        return out.astype(dtype)

    return fn


@pytest.mark.parametrize("name", EIGHT)
def test_a_kernel_of_8_bits_fits_its_own_profile_and_no_other(name: str) -> None:
    settings: dict[str, Any] = {"dtypes": ("bfloat16",), "cases": 24}
    assert av.check(in_eight_bits(name), "causal", profile=name, **settings).ok
    wider = av.check(in_eight_bits(name), "causal", profile="loose", explain=False, **settings)
    assert wider.verdicts[0].status is Status.REFUTED
    leaks = av.check(in_eight_bits(name, leak=1), "causal", profile=name, explain=False, **settings)
    assert leaks.verdicts[0].status is Status.REFUTED


def cut(x: Array) -> Array:
    """What TF32 keeps of float32: ten bits behind the point, the others dropped."""
    found: Array = (x.view(np.int32) & -0x2000).view(np.float32)
    return found


def product(name: str, a: Array, b: Array) -> Array:
    """A product of float32 on tensor cores, fed once, or three times with what was left over."""
    big, over = np.ascontiguousarray(a), np.ascontiguousarray(b)
    once: Array = cut(big) @ cut(over)
    if name == "tf32":
        return once
    left, right = cut(big - cut(big)), cut(over - cut(over))
    thrice: Array = once + (cut(big) @ right + left @ cut(over))
    return thrice


def on_tensor_cores(name: str, gain: float = 1.0) -> Any:
    """A causal attention whose products are those of tensor cores."""

    def fn(q: Array, k: Array, v: Array) -> Array:
        s = product(name, q, k.swapaxes(-1, -2)) * np.float32(gain / q.shape[-1] ** 0.5)
        s = np.where(np.tri(*s.shape[-2:]) > 0, s, np.float32(-np.inf))
        e = np.exp(s - s.max(-1, keepdims=True))
        out: Array = product(name, e, v) / e.sum(-1, keepdims=True)
        return out

    return fn


@pytest.mark.parametrize("name", TENSOR_CORES)
def test_float32_on_tensor_cores_fits_its_own_profile(name: str) -> None:
    settings: dict[str, Any] = {"profile": name, "cases": 24}
    assert av.check(on_tensor_cores(name), "causal", **settings).ok
    off = av.check(on_tensor_cores(name, gain=1.01), "causal", explain=False, **settings)
    assert off.verdicts[0].status is Status.REFUTED


def test_tensor_cores_that_are_fed_once_fit_no_tighter_profile() -> None:
    for name in ("tf32x3", "loose"):
        report = av.check(on_tensor_cores("tf32"), "causal", profile=name, cases=12, explain=False)
        assert report.verdicts[0].status is Status.REFUTED


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_bounds_every_output(name: str) -> None:
    from attnverify.inputs import Draw

    spec = av.load("gru")
    dtype = "float32" if name in TENSOR_CORES else "bfloat16"
    rounding = Rounding(spec, dtype, profile=name, backward=True)
    case = Draw(spec, dtype=dtype).case({axis.name: 3 for axis in spec.axes}, seed=0)
    seeds = {rounding.cotangents[out]: array for out, array in case.cotangents.items()}
    expected = rounding.expected({**case.arrays, **seeds}, {}, matched=True)
    assert not expected.reason
    assert all((due.sigma > 0).all() for due in expected.dues.values())
