"""Checks without a reference: right subjects pass each, and each has a subject that fails it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.check.free import FREE, applying, drawn, free
from attnverify.check.judge import Judge
from attnverify.inputs import Draw, Support
from attnverify.spec import Spec
from attnverify.subjects import subject
from attnverify.verdict import Status, Verdict

Array = npt.NDArray[Any]


def softmax(s: Array) -> Array:
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def scores(q: Array, k: Array) -> Array:
    return np.asarray(q @ k.swapaxes(-1, -2) / np.sqrt(np.asarray(q.shape[-1], q.dtype)))


def slopes(d_out: Array, q: Array, k: Array, v: Array, a: Array) -> list[Array]:
    d_a = d_out @ v.swapaxes(-1, -2)
    d_s = a * (d_a - (a * d_a).sum(-1, keepdims=True))
    factor = np.sqrt(np.asarray(q.shape[-1], q.dtype))
    return [d_s @ k / factor, d_s.swapaxes(-1, -2) @ q / factor, a.swapaxes(-1, -2) @ d_out]


def of_all(change: Callable[..., Array]) -> Callable[..., Array]:
    """Attention over all keys whose weights are changed."""
    return lambda q, k, v: change(softmax(scores(q, k))) @ v


def triangle(s: Array) -> Array:
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    return np.asarray(j <= i)


def causal(q: Array, k: Array, v: Array, hidden: float = -np.inf) -> Array:
    s = scores(q, k)
    return np.asarray(softmax(np.where(triangle(s), s, np.asarray(hidden, q.dtype))) @ v)


def by_products(q: Array, k: Array, v: Array) -> Array:
    """Masks by adding, so that large keys come through."""
    s = scores(q, k)
    return np.asarray(softmax(s + np.where(triangle(s), 0, np.asarray(-1e9, q.dtype))) @ v)


def mixes_batches(q: Array, k: Array, v: Array) -> Array:
    out = softmax(scores(q, k)) @ v
    return np.asarray(out + np.roll(out, 1, 0) * (len(q) > 1))


def mixes_heads(q: Array, k: Array, v: Array) -> Array:
    return np.asarray(softmax(scores(q, k).mean(1, keepdims=True)) @ v)


def favours_the_first(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k)
    return np.asarray(softmax(s + (np.arange(s.shape[-1]) == 0).astype(q.dtype)) @ v)


def of_positive_values(q: Array, k: Array, v: Array) -> Array:
    return np.asarray(softmax(scores(q, k)) @ np.where(v > 0, v, 0))


def with_states(q: Array, k: Array, v: Array, *, base: float = np.e) -> tuple[Array, Array]:
    s = scores(q, k)
    top = s.max(-1, keepdims=True)
    mass = np.exp(s - top).sum(-1, keepdims=True)
    log = ((top + np.log(mass)) / np.asarray(np.log(base), q.dtype))[..., 0]
    return np.asarray(np.exp(s - top) / mass @ v), np.asarray(log)


def cached(q: Array, k: Array, v: Array, *, K_past: Array, V_past: Array, late: int = 0) -> Array:
    """Decoding with a cache; `late` positions of the cache are forgotten where it is long."""
    k, v = (np.concatenate(x, -2) for x in ((K_past, k), (V_past, v)))
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    seen = (j <= i + s.shape[-1] - s.shape[-2]) & (j >= late * (K_past.shape[-2] > 4))
    return np.asarray(softmax(np.where(seen, s, -np.inf)) @ v)


def right_vjp(d_out: Array, q: Array, k: Array, v: Array) -> list[Array]:
    return slopes(d_out, q, k, v, softmax(scores(q, k)))


def without_row_term(d_out: Array, q: Array, k: Array, v: Array) -> list[Array]:
    a = softmax(scores(q, k))
    d_s = a * (d_out @ v.swapaxes(-1, -2))
    return [d_s @ k, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ d_out]


def doubled_values(d_out: Array, q: Array, k: Array, v: Array) -> list[Array]:
    d_q, d_k, d_v = right_vjp(d_out, q, k, v)
    return [d_q, d_k, d_v * 2]


def scaled_queries(d_out: Array, q: Array, k: Array, v: Array) -> list[Array]:
    d_q, d_k, d_v = right_vjp(d_out, q, k, v)
    return [d_q * np.asarray(1.01, q.dtype), d_k, d_v]


def of_the_largest(d_out: Array, q: Array, k: Array, v: Array) -> list[Array]:
    """Leaves small cotangents out."""
    return right_vjp(np.where(np.abs(d_out) < np.abs(d_out).mean(), 0, d_out), q, k, v)


def judged(
    fn: Callable[..., Any],
    spec: str | Spec,
    vjp: Callable[..., Any] | None = None,
    dtype: str = "float32",
    sizes: Support | None = None,
) -> dict[str, Verdict]:
    """The verdicts of every check that a subject can be asked, by name."""
    loaded = av.load(spec)
    wrapped = subject(fn, loaded, dtype=dtype, vjp=vjp)
    judge, draw = Judge(loaded, wrapped, dtype), Draw(loaded, dtype=dtype, support=sizes)
    judge.look(next(drawn(draw)))
    return {v.name.partition(" (")[0]: v for v in free(judge, draw)}


STATES = av.load("global", outputs="O L")
WRONG: list[tuple[str, Callable[..., Any], str | Spec, Callable[..., Any] | None]] = [
    ("rows sum to one", of_all(lambda a: a * a.dtype.type(1.001)), "global", None),
    ("weights read off through V = I", of_all(lambda a: a - a.dtype.type(1e-3)), "global", None),
    ("weights read off through V = I", lambda q, k, v: causal(q, k, v, -8.0), "causal", None),
    ("masked keys have no influence", by_products, "causal", None),
    ("causality", by_products, "causal", None),
    ("permutation equivariance", favours_the_first, "global", None),
    ("batch independence", mixes_batches, "global", None),
    ("head independence", mixes_heads, "global", None),
    ("linearity in the values", of_positive_values, "global", None),
    ("value shift", of_positive_values, "global", None),
    ("key gradients sum to zero", of_all(lambda a: a), "global", without_row_term),
    ("value gradients sum to output cotangents", of_all(lambda a: a), "global", doubled_values),
    ("<dQ, Q> = <dK, K>", of_all(lambda a: a), "global", scaled_queries),
    ("gradients add up over cotangents", of_all(lambda a: a), "global", of_the_largest),
    ("partial states merge", lambda q, k, v: with_states(q, k, v, base=2.0), STATES, None),
    ("decode = prefill", lambda *a, **kw: cached(*a, **kw, late=1), "kv_cache", None),
]


@pytest.mark.parametrize(
    ("name", "fn", "spec", "vjp"), WRONG, ids=[f"{n}-{name[0]}" for n, name in enumerate(WRONG)]
)
def test_each_check_has_a_subject_that_it_refutes(
    name: str, fn: Callable[..., Any], spec: str | Spec, vjp: Callable[..., Any] | None
) -> None:
    verdict = judged(fn, spec, vjp)[name]
    assert verdict.status is Status.REFUTED
    assert "entries fail" in verdict.detail
    assert verdict.witness is not None
    assert verdict.witness.arrays


def test_every_check_is_refuted_somewhere() -> None:
    assert {name for name, *_ in WRONG} == {check.name for check in FREE}


RIGHT: list[tuple[Callable[..., Any], str | Spec, Callable[..., Any] | None, int]] = [
    (of_all(lambda a: a), "global", right_vjp, 11),
    (causal, "causal", None, 8),
    (with_states, STATES, None, 8),
    (cached, "kv_cache", None, 3),
]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(("fn", "spec", "vjp", "count"), RIGHT, ids=["all", "causal", "L", "cache"])
def test_right_subjects_hold(
    fn: Callable[..., Any],
    spec: str | Spec,
    vjp: Callable[..., Any] | None,
    count: int,
    dtype: str,
) -> None:
    found = judged(fn, spec, vjp, dtype)
    assert {v.detail for v in found.values() if v.status is not Status.HELD} == set()
    assert len(found) == count


# Arrays do not tell into how many tiles an axis falls.
TILES = {"online_softmax": {"tile": 2}, "ring": {"rank": 2}, "split_kv": {"part": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("name", av.catalog())
def test_the_compiled_spec_itself_holds(name: str) -> None:
    spec, tiles = av.load(name), TILES.get(name, {})
    compiled = av.compile(spec, backend="autograd", dtype="float32")

    def fn(*ahead: Array, **others: Any) -> Any:
        given = dict(zip((e.tensor.name for e in spec.inputs), ahead, strict=False))
        return compiled(**given, **others, sizes=tiles)[spec.outputs[0]]

    judge = Judge(spec, subject(fn, spec, dtype="float32"), "float32")
    draw = Draw(spec, dtype="float32", support=tiles)
    cases = list(drawn(draw))
    judge.look(cases[0])
    found = list(free(judge, draw, cases))
    assert [v.detail for v in found if v.status is Status.REFUTED] == []


ONE = {"batch": 1, "heads": 1, "queries": 1, "keys": 1}


@pytest.mark.parametrize(
    ("fn", "spec", "sizes", "left_out"),
    [
        (causal, "causal", ONE, {"masked keys have no influence", "causality"}),
        (of_all(lambda a: a), "global", ONE, {"permutation equivariance"}),
        (mixes_batches, "global", ONE, {"batch independence", "head independence"}),
        (causal, "causal", {"queries": 1, "keys": 4}, {"permutation equivariance"}),
        (with_states, STATES, {"keys": 1}, {"partial states merge"}),
    ],
)
def test_what_the_sizes_cannot_show_is_not_called_held(
    fn: Callable[..., Any], spec: str | Spec, sizes: Support, left_out: set[str]
) -> None:
    assert not left_out & judged(fn, spec, sizes=sizes).keys()


def test_garbage_is_put_where_some_row_does_not_see_it() -> None:
    """One query at the first key sees no other: wherever garbage may stand, it is found."""
    found = judged(by_products, "causal", sizes={"queries": 2, "keys": 2})
    assert found["masked keys have no influence"].status is Status.REFUTED
    assert found["causality"].status is Status.REFUTED


def test_what_the_spec_itself_breaks_unannounced_is_no_fault_of_the_subject() -> None:
    spec = av.load("causal").replace(announces={})
    found = judged(causal, spec)
    assert "permutation equivariance" not in found
    assert {v.status for v in found.values()} == {Status.HELD}


def test_what_a_spec_announces_to_fail_is_not_asked() -> None:
    spec = av.load("causal")
    judge = Judge(spec, subject(causal, spec, dtype="float32"), "float32")
    names = {check.name for check in applying(judge)}
    assert "permutation equivariance" not in names
    assert "causality" in names


def test_a_check_of_a_wrong_subject_is_replayed_on_its_witness(tmp_path: Any) -> None:
    report = av.check(by_products, "causal", store=tmp_path, cases=12, explain=False)
    (bad,) = {v.name: v for v in report.verdicts if v.name.startswith("masked keys")}.values()
    assert bad.status is Status.REFUTED
    assert not report.ok
    assert bad.witness is not None
    again = av.check(by_products, "causal", replay=bad.witness.path, store=tmp_path, explain=False)
    assert any(v.name == bad.name and v.status is Status.REFUTED for v in again.verdicts)
