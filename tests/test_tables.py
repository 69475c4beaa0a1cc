"""ALiBi's slopes and T5's buckets: two implementations, and plain ones as libraries have them."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

from attnverify import compile, gradient  # noqa: A004  the fixed public name
from attnverify.algebra.terms import ZERO
from attnverify.compile import tables
from attnverify.errors import ParameterError, SpecError, UnknownPrimitiveError
from attnverify.exact import evaluate
from attnverify.exact import tables as exact_tables
from attnverify.notation import (
    Spec,
    alibi_slope,
    axes,
    eq,
    integers,
    let,
    parameter,
    t5_bucket,
    tensors,
    total,
    where,
)
from attnverify.provers.normal import prove_equal
from attnverify.provers.routes import routes
from attnverify.rounding import Rounding
from attnverify.serial import from_json, to_json
from attnverify.verdict import Status

heads, group, repeat, queries, keys, buckets = axes("heads group repeat queries keys buckets")
h, g, r, i, j, p = heads["h"], group["g"], repeat["r"], queries["i"], keys["j"], buckets["p"]
S, T, O = tensors("S T O")
count = parameter("count", integer=True, ge=4)

ALIBI = Spec("slopes", [S[h, i, j]], [let(O[h, i, j], S[h, i, j] + alibi_slope(h) * (j - i))], [O])
GROUPED = Spec(
    "grouped slopes",
    [S[(g, r), i, j]],
    [let(O[(g, r), i, j], S[(g, r), i, j] * alibi_slope((g, r)))],
    [O],
)
T5 = Spec(
    "buckets",
    [S[i, j], T[p]],
    [let(O[i, j], S[i, j] + total(T[p] * where(eq(p, t5_bucket(j - i, count, 9))), p))],
    [O],
    parameters=[count],
)


def interpolated(n: int) -> list[float]:
    """The slopes as the paper's code makes them, in Python's floats."""

    def powers(count: int) -> list[float]:
        start = 2.0 ** (-(2.0 ** -(math.log2(count) - 3)))
        return [start * start**k for k in range(count)]

    if math.log2(n).is_integer():
        return powers(n)
    nearest = 2 ** math.floor(math.log2(n))
    return powers(nearest) + interpolated(2 * nearest)[0::2][: n - nearest]


@pytest.mark.parametrize("n", [*range(1, 34), 40, 56, 71, 96, 112, 128])
def test_slopes_of_any_number_of_heads_are_the_papers(n: int) -> None:
    due = interpolated(n)
    compiled = tables.alibi_slope(np.arange(n), n, np.dtype("longdouble"))
    exact = [exact_tables.alibi_slope(mpmath.mp, k, n) for k in range(n)]
    for k in range(n):
        assert abs(float(compiled[k]) - due[k]) < 1e-14 * due[k]
        assert abs(float(exact[k]) - due[k]) < 1e-14 * due[k]


def float32_buckets(distance: Any, count: int, longest: int, *, two_sided: bool) -> Any:
    """The buckets as the libraries compute them: a logarithm in float32, cut to a whole number."""
    half = count // 2 if two_sided else count
    size = np.abs(distance) if two_sided else np.maximum(-distance, 0)
    near = half // 2
    with np.errstate(divide="ignore"):
        ratio = np.log((size / near).astype(np.float32)) / np.float32(math.log(longest / near))
    far = np.maximum(ratio * np.float32(half - near), 0).astype(np.int64)
    found = np.where(size < near, size, np.minimum(near + far, half - 1))
    return found + np.where(distance > 0, half, 0) if two_sided else found


NO_PLACE: Any = 2
DISTANCES = np.arange(-3000, 3001)
SETTINGS = [(32, 128), (32, 256), (64, 128), (8, 20), (4, 5), (16, 512), (320, 800), (7, 100)]


@pytest.mark.parametrize(("count", "longest"), SETTINGS)
@pytest.mark.parametrize("two_sided", [True, False])
def test_buckets_agree_on_every_distance(count: int, longest: int, *, two_sided: bool) -> None:
    settings = (count, longest, two_sided)
    compiled = tables.t5_bucket(DISTANCES, *settings)
    exact = [exact_tables.t5_bucket(d, *settings) for d in DISTANCES.tolist()]
    assert compiled.tolist() == exact
    assert (
        compiled.tolist()
        == float32_buckets(DISTANCES, count, longest, two_sided=two_sided).tolist()
    )


def test_buckets_at_edges_that_are_whole_are_the_upper_ones() -> None:
    # 8 * 16^(k/8) is whole at even k: 16, 32, 64 begin buckets 10, 12, 14.
    for edge, bucket in ((8, 8), (16, 10), (32, 12), (64, 14), (128, 15)):
        found = [exact_tables.t5_bucket(-d, 32, 128, True) for d in (edge - 1, edge)]
        assert found == [min(bucket - 1, 15) if edge < 128 else 15, bucket]


@pytest.mark.parametrize("spec", [ALIBI, GROUPED, T5], ids=lambda spec: spec.name)
def test_compiled_and_exact_agree(spec: Spec) -> None:
    rng = np.random.default_rng(1)
    sizes = {"heads": 6, "group": 3, "repeat": 4, "queries": 5, "keys": 13, "buckets": 8}
    arrays = {
        e.tensor.name: rng.standard_normal(
            [
                math.prod(sizes[x.axis.name] for x in (q if isinstance(q, tuple) else (q,)))
                for q in e.places
            ]
        )
        for e in spec.inputs
    }
    settings = {"count": 8} if spec is T5 else {}
    given = {"group": 3, "repeat": 4} if spec is GROUPED else {}
    if spec is GROUPED:
        arrays["K"] = rng.standard_normal(3)
        spec = spec.replace(inputs=(*spec.inputs, tensors("K")[0][g]))
    due = evaluate(spec, arrays, settings, sizes=given)["O"].astype(float)
    found = compile(spec)(**arrays, **settings)["O"]
    assert np.abs(found - due).max() < 1e-13
    for dtype in ("float32", "longdouble"):
        assert compile(spec, dtype=dtype)(**arrays, **settings)["O"].dtype == dtype
    assert from_json(to_json(spec)) == spec


@pytest.mark.parametrize("spec", [ALIBI, T5], ids=lambda spec: spec.name)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_agree_by_three_routes(spec: Spec, order: int) -> None:
    assert {v.status for v in routes(spec, examples=4, order=order)} == {Status.HELD}


def test_a_wrong_slope_is_seen_by_the_other_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"S": np.zeros((6, 2, 3))}
    due = evaluate(ALIBI, arrays)["O"].astype(float)
    assert np.abs(compile(ALIBI)(**arrays)["O"] - due).max() < 1e-14
    # Six heads from one geometric series, as if six were a power of two.
    monkeypatch.setattr(tables, "alibi_slope", lambda h, n, _: 2.0 ** (-8 * (h + 1) / n))
    assert np.abs(compile(ALIBI)(**arrays)["O"] - due).max() > 1e-3


def test_slopes_are_rounded_and_buckets_are_not() -> None:
    arrays = {"S": np.zeros((6, 3, 4))}
    sigma = Rounding(ALIBI, "float32").expected(arrays, {}).dues["O"].sigma
    off = sigma[:, ~np.eye(3, 4, dtype=bool)]
    assert (off > 0).all()
    assert off.max() < 1e-6
    bucket = Spec("b", [S[i, j]], [let(O[i, j], 0 * S[i, j] + t5_bucket(j - i))], [O])
    sigma = Rounding(bucket, "float32").expected({"S": np.zeros((3, 4))}, {}).dues["O"].sigma
    assert sigma.max() < 1e-5


def test_proofs_know_equal_places_alone() -> None:
    slope = alibi_slope(h)
    assert prove_equal(ALIBI, slope * 2 - slope, slope).proved
    assert not prove_equal(ALIBI, slope, slope**2).proved
    bucket = t5_bucket(j - i)
    assert prove_equal(ALIBI, bucket, t5_bucket(-(i - j))).proved
    assert not prove_equal(ALIBI, bucket, t5_bucket(i - j)).proved
    assert not prove_equal(ALIBI, bucket, t5_bucket(j - i, 16)).proved
    assert not prove_equal(ALIBI, bucket, ZERO).proved


def test_an_integer_input_may_be_a_distance() -> None:
    (place,) = integers("place")
    spec = Spec("placed", [place[i]], [let(O[i, j], t5_bucket(j - place[i]) + 0)], [O])
    spec = spec.replace(inputs=(*spec.inputs, S[j]))
    arrays = {"place": np.array([0, 90]), "S": np.zeros(3)}
    due = evaluate(spec, arrays)["O"].astype(float)
    assert compile(spec)(**arrays)["O"].tolist() == due.tolist()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: alibi_slope(NO_PLACE), "takes a place"),
        (lambda: t5_bucket(j - i, 3), "near and far"),
        (lambda: t5_bucket(j - i, 32, 8), "near and far"),
        (lambda: t5_bucket(j - i, 1, two_sided=False), "near and far"),
        (lambda: Spec("s", [S[j]], [let(O[j], t5_bucket(S[j]))], [O]), "takes whole numbers"),
        (lambda: Spec("s", [S[j]], [let(O[j], t5_bucket(j, 8.5))], [O]), "takes whole numbers"),
    ],
)
def test_wrong_arguments_are_told_in_words(make: Any, words: str) -> None:
    with pytest.raises((SpecError, UnknownPrimitiveError), match=words):
        make()


@pytest.mark.parametrize("rule", [tables.t5_bucket, exact_tables.t5_bucket])
def test_parameters_without_room_are_told(rule: Any) -> None:
    with pytest.raises(ParameterError, match="near"):
        rule(3, 3, 128, 1)
    with pytest.raises(ParameterError, match="near"):
        rule(3, 32, 8, 1)


def test_a_table_prints() -> None:
    assert str(alibi_slope((g, r))) == "alibi_slope(g*n_r + r, n_g*n_r)"
    assert r"\operatorname{alibi\_slope}\left(h, n_{h}\right)" in ALIBI.latex()[0]
    assert "alibi" not in str(gradient(ALIBI))
