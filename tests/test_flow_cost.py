"""Cost polynomials against operations counted while the compiled source runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from attnverify.algebra.predicates import Predicate, as_predicate
from attnverify.algebra.rewrite import with_scalars_in
from attnverify.algebra.terms import size_symbol
from attnverify.compile import compile  # noqa: A004  the fixed public name
from attnverify.errors import AttnverifyError, ParameterError, SpecError
from attnverify.flow import tally
from attnverify.flow.cost import Cost, cost
from attnverify.flow.pairs import count, count_at, distances
from attnverify.inputs.draw import Draw
from attnverify.library import load
from attnverify.notation import axes, eq, integers, ne, parameter
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient
from tests.counted import counted
from tests.members import MEMBERS, TITLES

# Unequal sizes, so that no two axes are taken for each other.
ROUNDS = ((2, 3, 4, 5), (3, 1, 5, 2), (5, 4, 2, 3))


def sized(spec: Spec, sizes: tuple[int, ...]) -> dict[str, int]:
    few = {"batch": 2, "heads": 3}
    named = {
        axis.name: few.get(axis.name, sizes[n % len(sizes)]) for n, axis in enumerate(spec.axes)
    }
    return spec.fitted(named)


def run_and_count(spec: Spec, sizes: tuple[int, ...]) -> tuple[Counter[str], Mapping[str, int]]:
    """What one run did, and what the cost says that it does; entries with the operations."""
    values = {p.name: 20 if p.name == "max_distance" else 2 for p in spec.parameters if p.integer}
    case = Draw(spec).case(sized(spec, sizes), seed=3, parameters=values)
    found = cost(spec).at(case.sizes, rows=1, chunk=1, **values)
    due = {name.replace("-", "_"): n for name, n in found.items() if "entries" not in name}
    due["entries"] = found["entries, naive"]
    return counted(spec, case.arrays, case.sizes, case.parameters), due


def differences(spec: Spec, sizes: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Counts that differ: what was counted, and what was due."""
    got, due = run_and_count(spec, sizes)
    names = {*got, *due}
    return {n: (got[n], due.get(n, 0)) for n in names if got[n] != due.get(n, 0)}


@pytest.mark.parametrize("title", TITLES)
def test_the_cost_is_what_the_compiled_source_does(title: str) -> None:
    spec = MEMBERS[title]
    assert differences(spec, ROUNDS[0]) == {}
    assert differences(gradient(spec), ROUNDS[0]) == {}


SPECS = ["global", "causal", "sliding_window", "multi_head", "elman", "lstm", "gru", "convolution",
         "encoder_block", "seq2seq_attention", "linear", "sparsemax", "alibi", "rope"]  # fmt: skip


@pytest.mark.parametrize("sizes", ROUNDS[1:])
@pytest.mark.parametrize("name", SPECS)
def test_the_cost_at_other_sizes(name: str, sizes: tuple[int, ...]) -> None:
    spec = load(name)
    assert differences(spec, sizes) == {}
    assert differences(gradient(spec), sizes) == {}


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [({"add": "multiplications"}, "additions"), ({"inverse": "additions"}, "divisions")],
)
def test_a_wrong_rule_is_seen(
    kinds: dict[str, str], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "KINDS", {**tally.KINDS, **kinds})
    assert wrong in differences(load("seq2seq_attention"), ROUNDS[0])


def test_a_wrong_contraction_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(self: Any, labels: Any) -> sympy.Expr:
        return sympy.prod(size_symbol(x.partition("@")[2]) for x in set(labels) if "k@" not in x)

    monkeypatch.setattr(tally.Space, "of", flat)
    assert "multiply_adds" in differences(load("global"), ROUNDS[0])


def test_counts_that_are_known_by_heart() -> None:
    b, h, q, k, d, e = (
        size_symbol(name) for name in ("batch", "heads", "queries", "keys", "key_dim", "value_dim")
    )
    found = cost("global")
    assert found.multiply_adds == b * h * q * k * d + b * h * q * k * e
    assert found.exponentials == b * h * q * k
    assert found.entries_streamed is not None
    assert sympy.Poly(found.entries_streamed, q).degree() == 1
    assert sympy.Poly(found.entries_naive, q, k).total_degree() == 2
    assert cost("elman").entries_streamed is None
    backward = cost(gradient(load("global")))
    # The products of the forward for the scores, and those of dA, dQ, dK, dV and the row sums D.
    assert sympy.expand(backward.multiply_adds - b * h * q * k * (3 * d + 2 * e + 1)) == 0
    assert "d_k*n_b*n_h*n_k*n_q" in str(found)


def test_entries_of_the_spec_are_its_arrays() -> None:
    spec = load("multi_head", bias=True)
    case = Draw(spec).case(sized(spec, ROUNDS[0]), seed=1)
    outputs = compile(spec)(**case.arrays)
    found = cost(spec).at(case.sizes, rows=1, chunk=1)
    assert found["entries of inputs"] == sum(array.size for array in case.arrays.values())
    assert found["entries of outputs"] == sum(array.size for array in outputs.values())


# Visited pairs

BANDS: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("causal", {}, {}),
    ("causal", {"align": "bottom_right"}, {}),
    ("sliding_window", {}, {"window": 2}),
    ("sliding_window", {"align": "bottom_right"}, {"window": 3}),
    ("local", {}, {"left": 1, "right": 2}),
    ("local", {"align": "bottom_right"}, {"left": 2, "right": 0}),
    ("prefix", {}, {"prefix": 2}),
    ("strided", {"part": "first"}, {"stride": 2}),
    ("window_global", {}, {"window": 2, "globals": 1}),
]


@pytest.mark.parametrize(("name", "choices", "values"), BANDS)
def test_visited_pairs_are_the_weights_that_are_not_zero(
    name: str, choices: dict[str, Any], values: dict[str, int]
) -> None:
    spec = load(name, **choices)
    shown = load(name, outputs="A", **choices)
    for sizes in ROUNDS:
        case = Draw(spec).case(sized(spec, sizes), seed=3, parameters=values)
        weights = compile(shown)(**case.arrays, **case.parameters)["A"]
        found = cost(spec, visited=True).at(case.sizes, rows=1, chunk=1, **values)
        assert found["exp"] == np.count_nonzero(weights)
        dense = cost(spec).at(case.sizes, rows=1, chunk=1, **values)
        assert found["multiply-adds"] <= dense["multiply-adds"]


def test_visited_without_a_mask_is_all() -> None:
    assert cost("global", visited=True).multiply_adds == cost("global").multiply_adds


@pytest.mark.parametrize("name", ["blocked", "padding", "dilated", "convolution", "documents"])
def test_masks_without_a_closed_form_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"no closed form|more than two positions"):
        cost(name, visited=True)


MIXED: list[tuple[str, dict[str, Any]]] = [
    ("softcap", {"ordered": True, "cap_before_mask": False}),  # hidden keys have weights too
    ("delta_rule", {"form": "parallel"}),
    ("rwkv4", {"form": "parallel"}),
]


@pytest.mark.parametrize(("name", "choices"), MIXED)
def test_a_mask_that_some_sums_are_without_is_refused(name: str, choices: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="keep different pairs"):
        cost(name, visited=True, **choices)


queries, keys, batch = axes("queries keys batch")
i, j = queries["i"], keys["j"]
(length,) = integers("length")
window = parameter("window", integer=True, ge=0)
bounds = st.integers(-6, 6)


@st.composite
def masks(draw: st.DrawFn) -> Predicate:
    """Bounds on positions and distances, joined by and, or."""
    kinds = [
        lambda c: j - i <= c,
        lambda c: j - i > c,
        lambda c: 2 * j < 2 * i + c,
        lambda c: 3 * i - 3 * j <= c,
        lambda c: j < c,
        lambda c: i >= c,
        lambda c: eq(j, i + c),
        lambda c: ne(j, i + c),
        lambda c: eq(2 * i, 2 * j + c),
        lambda c: j <= i + keys.size - queries.size + c,
    ]
    parts = [draw(st.sampled_from(kinds))(draw(bounds)) for _ in range(draw(st.integers(1, 4)))]
    found = as_predicate(parts[0])
    for part in parts[1:]:
        found = found & part if draw(st.booleans()) else found | part
    return found


@given(masks(), st.integers(1, 7), st.integers(1, 7))
def test_a_count_in_closed_form_is_the_count(where: Predicate, n: int, m: int) -> None:
    sizes = {"queries": n, "keys": m}
    table = {size_symbol(axis): size for axis, size in sizes.items()}
    assert count(where, i, j).subs(table) == count_at(where, sizes, i, j)


@pytest.mark.parametrize("value", [0, 1, 3, 9])
def test_a_count_in_a_parameter(value: int) -> None:
    where = (j <= i) & (j > i - window)
    chosen = with_scalars_in(where, {window.symbol: sympy.Integer(value)})
    for n, m in ((1, 1), (4, 6), (7, 3)):
        sizes = {"queries": n, "keys": m}
        table = {size_symbol(a): s for a, s in sizes.items()} | {window.symbol: value}
        assert count(where, i, j).subs(table) == count_at(chosen, sizes, i, j)


@pytest.mark.parametrize(
    "where",
    [2 * i <= j, i + j <= 3, i * j <= 3, j < length[batch["b"]], j < i + queries["l"]],
)
def test_what_is_no_band_is_refused(where: Predicate) -> None:
    with pytest.raises(SpecError, match="no closed form"):
        count(where, i, j)
    assert distances(where, i, j) is None


@pytest.mark.parametrize(
    "where", [(j <= i) | (j > i + 1), (j <= i) & (j > 0), ne(j, i) & (j <= i), (j <= i) & (i > 1)]
)
def test_what_is_not_one_band_of_distances(where: Predicate) -> None:
    assert distances(where, i, j) is None


@pytest.mark.parametrize(
    ("error", "ask"),
    [
        (ParameterError, lambda found: found.at({"batch": 1})),
        (ParameterError, lambda found: found.at({}, rows=1)),
        (SpecError, lambda _: count_at(j < length[batch["b"]], {"keys": 2}, i, j)),
        (AttnverifyError, lambda _: count_at(j < i, {"keys": 2}, i, j)),
        (AttnverifyError, lambda _: cost("no such spec")),
    ],
)
def test_what_is_asked_wrongly(error: type[AttnverifyError], ask: Any) -> None:
    found: Cost = cost("causal")
    with pytest.raises(error):
        ask(found)
