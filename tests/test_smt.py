"""Masks decided by z3, against every small size tried one by one."""

from __future__ import annotations

from itertools import product

import pytest
import z3

from attnverify.algebra import masks
from attnverify.algebra.masks import Counterexample
from attnverify.algebra.predicates import Predicate, as_predicate
from attnverify.algebra.rewrite import free_in, predicate_entries
from attnverify.exact.valuation import Valuation
from attnverify.library import load
from attnverify.notation import axes, booleans, eq, floor_div, integers, parameter
from attnverify.provers import smt
from attnverify.verdict import Status

queries, keys, batch = axes("queries keys batch")
i, j, l, b = queries["i"], keys["j"], keys["l"], batch["b"]
n, n_q = keys.size, queries.size
seen_by, other = booleans("seen_by other")
(length,) = integers("length")
window = parameter("window", integer=True, ge=1)
left = parameter("left", integer=True, ge=0)
share = parameter("share", gt=0, lt=1)
P = (window, left, share)

CAUSAL, STRICT = j <= i, j < i
WINDOW = (j <= i) & (j > i - window)

IMPLIED = [
    (STRICT, CAUSAL, True),
    (CAUSAL, STRICT, False),
    (WINDOW, CAUSAL, True),
    (CAUSAL, WINDOW, False),
    (WINDOW, j + window > i, True),
    (CAUSAL & seen_by[i, j], seen_by[i, j], True),
    (seen_by[i, j], CAUSAL & seen_by[i, j], False),
    (seen_by[i, j] | other[j], seen_by[i, j], False),
    (j < length[b], j < length[b] + 1, True),
    (j < length[b], j < n - 1, False),
    (j <= i + n - n_q, j <= i, False),
    (j >= i, j <= i, False),
    (eq(j, l), j <= l, True),
    (j + share > i, j >= i, True),
    (j >= i, j + share > i, True),
    (j > i, j + share > i + 1, True),
    (j >= i, j > i + share, False),
    (j * n_q <= i * n, j <= i * n, True),
]


@pytest.mark.parametrize(("given", "then", "holds"), IMPLIED)
def test_one_mask_implies_another(given: Predicate, then: Predicate, holds: bool) -> None:
    given, then = as_predicate(given), as_predicate(then)
    answer = masks.implies(given, then, P)
    assert answer.holds is holds, answer
    assert fails_somewhere(given, then) is not holds
    if answer.counterexample is not None:
        assert fails_at(answer.counterexample, given, then)


def fails_somewhere(given: Predicate, then: Predicate) -> bool:
    """Whether small sizes have a place where `given` holds and `then` does not."""
    for sizes in product((1, 2, 3), repeat=3):
        size = dict(zip(("queries", "keys", "batch"), sizes, strict=True))
        for width, bits in product((1, 2), range(4)):
            tables = tables_for(given, then, size, bits)
            valuation = Valuation(
                size, tables, {"window": width, "left": 0, "share": 0.5}, rational=True
            )
            places = dict.fromkeys([*free_in(given), *free_in(then)])
            for spot in product(*(range(size[index.axis.name]) for index in places)):
                at = dict(zip(places, spot, strict=True))
                if valuation.holds(given, at) and not valuation.holds(then, at):
                    return True
    return False


def tables_for(
    given: Predicate, then: Predicate, size: dict[str, int], bits: int
) -> dict[str, object]:
    """Boolean and integer inputs that differ with `bits`."""
    tables: dict[str, object] = {}
    for entry in [*predicate_entries(given), *predicate_entries(then)]:
        shape = [size[index.axis.name] for index in entry.indices]
        whole = entry.tensor.kind == "int"
        tables[entry.tensor.name] = filled(shape, bits if whole else bool(bits & 1))
        bits //= 1 if whole else 2
    return tables


def filled(shape: list[int], value: int | bool) -> object:
    """A nested list of one value."""
    return value if not shape else [filled(shape[1:], value) for _ in range(shape[0])]


def fails_at(found: Counterexample, given: Predicate, then: Predicate) -> bool:
    """Whether a counterexample is one, as the exact interpreter sees it."""
    size = dict(found.sizes)
    tables: dict[str, object] = {}
    for entry in [*predicate_entries(given), *predicate_entries(then)]:
        shape = [size[index.axis.name] for index in entry.indices]
        values = [v for name, v in found.inputs.items() if name.startswith(f"{entry.tensor.name}[")]
        tables[entry.tensor.name] = filled(shape, values[0])
    parameters = {"window": 1, "left": 0, "share": 0.5} | dict(found.parameters)
    valuation = Valuation(size, tables, parameters, rational=True)
    places = {index: found.positions[index.name] for index in [*free_in(given), *free_in(then)]}
    return valuation.holds(given, places) and not valuation.holds(then, places)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (CAUSAL, ~(j > i), True),
        (WINDOW, (j <= i) & (j >= i - window + 1), True),
        (WINDOW, (j <= i) & (j >= i - window), False),
        (seen_by[i, j] & other[j], ~(~other[j] | ~seen_by[i, j]), True),
        (seen_by[i, j], ~seen_by[i, j], False),
        (j < n, i >= 0, True),
        (CAUSAL, j <= i + n - n_q, False),
    ],
)
def test_two_masks_are_one(one: Predicate, two: Predicate, same: bool) -> None:
    verdict = smt.equivalent(as_predicate(one), as_predicate(two), P)
    assert verdict.status is (Status.PROVED if same else Status.REFUTED)
    assert (verdict.witness is None) is same
    assert bool(verdict.certificate) is same
    if same:
        assert answered(verdict.certificate[-1]) == z3.unsat


def answered(question: str) -> z3.CheckSatResult:
    """What z3 answers to a kept question, as any solver can be asked it again."""
    solver = z3.Solver(ctx=z3.Context())
    solver.from_string(question)
    return solver.check()


STRIDE = parameter("stride", integer=True, ge=1)
TAPS = [
    # What a stride reaches, and whole parts by a block of any size.
    (eq(j + STRIDE * l, i + STRIDE * (n - 1)), j >= i, True),
    (eq(j + STRIDE * l, i + STRIDE * n), j >= i, True),
    (eq(j + STRIDE * l, i + STRIDE * n), j <= i + STRIDE, False),
    (eq(floor_div(j, STRIDE), floor_div(l, STRIDE)) & (j <= l), l < j + STRIDE, True),
    (eq(floor_div(j, STRIDE), floor_div(l, STRIDE)), l <= j, None),
    (l < j + STRIDE, eq(floor_div(j, STRIDE), floor_div(l, STRIDE)), None),
]


@pytest.mark.parametrize(("given", "then", "holds"), TAPS)
def test_products_are_decided_or_not_known(
    given: Predicate, then: Predicate, holds: bool | None
) -> None:
    answer = masks.implies(as_predicate(given), as_predicate(then), [STRIDE])
    assert answer.holds is holds
    assert bool(answer.question) is (holds is True)


def test_hypotheses_are_used_and_must_be_possible() -> None:
    aligned = j <= i + n - n_q
    assert masks.equivalent(CAUSAL, aligned, hypotheses=[eq(n, n_q)]).holds is True
    assert masks.implies(CAUSAL, aligned, hypotheses=[n >= n_q]).holds is True
    assert masks.implies(aligned, CAUSAL, hypotheses=[n >= n_q]).holds is False
    impossible = masks.implies(CAUSAL, STRICT, hypotheses=[n < 1])
    assert impossible.holds is None
    assert "hypotheses" in impossible.reason


def test_counterexamples_are_the_smallest() -> None:
    found = masks.implies(j <= i + 2, CAUSAL).counterexample
    assert found is not None
    assert dict(found.sizes) == {"keys": 2, "queries": 1}
    assert dict(found.positions) == {"j": 1, "i": 0}
    wide = masks.implies(j < 3, j < 2).counterexample
    assert wide is not None
    assert dict(wide.sizes) == {"keys": 3}
    narrow = masks.implies(CAUSAL, WINDOW, [window]).counterexample
    assert narrow is not None
    assert narrow.parameters == {"window": 1}
    assert "window = 1" in str(narrow)


@pytest.mark.parametrize(
    ("where", "holds", "when"),
    [
        (CAUSAL, True, "true"),
        (STRICT, False, "1 <= i"),
        (WINDOW, False, "i + 2 <= n_k + window"),
        (j <= i + n - n_q, False, "n_q <= n_k + i"),
        (seen_by[i, j], False, "some j has seen_by[i,j]"),
        (j < length[b], False, "1 <= length[b]"),
        ((j < length[b]) | (j >= 0), True, "true"),
        (STRICT | (eq(i, 0) & CAUSAL), True, None),
        ((j > i) | (j < i), False, "i + 2 <= n_k or 1 <= i"),
    ],
)
def test_every_row_sees_a_key(where: Predicate, holds: bool, when: str | None) -> None:
    verdict = smt.every_row_sees(as_predicate(where), j, P)
    assert verdict.status is (Status.PROVED if holds else Status.REFUTED)
    if when is not None:
        assert masks.sees_when(where, j, P) == when
    if not holds:
        assert f"exactly when {when}" in verdict.detail


@pytest.mark.parametrize(
    ("where", "empty"),
    [
        (STRICT & (j > i), True),
        (STRICT & (j >= i), True),
        (CAUSAL & (j >= i), False),
        (CAUSAL & (i < 4) & (j >= 4), True),
        (CAUSAL & (i < 4) & (j >= 3), False),
        (WINDOW & (i >= 64) & (j < 32) & (window <= 32), True),
        (WINDOW & (i >= 64) & (j < 32) & (window <= 34), False),
    ],
)
def test_a_tile_that_is_never_seen(where: Predicate, empty: bool) -> None:
    verdict = smt.never(where, P)
    assert verdict.status is (Status.PROVED if empty else Status.REFUTED)


def test_what_is_not_linear_is_undecided() -> None:
    k, m, p = (keys[name] for name in "kmp")
    cubes = (k + 1) * (k + 1) * (k + 1) + (m + 1) * (m + 1) * (m + 1)
    verdict = smt.never(eq(cubes, (p + 1) * (p + 1) * (p + 1)))
    assert verdict.status is Status.UNDECIDED
    assert "linear" in verdict.detail


def test_implied_has_a_name_and_a_scope() -> None:
    verdict = smt.implied(STRICT, CAUSAL)
    assert verdict.name == "j < i implies j <= i"
    assert verdict.scope == "all sizes of at least 1"


@pytest.mark.parametrize(
    ("name", "choices", "causal"),
    [
        ("causal", {}, True),
        ("sliding_window", {}, True),
        ("causal", {"align": "bottom_right"}, False),
        ("local", {}, False),
        ("global", {}, False),
        ("masked", {}, False),
    ],
)
def test_which_specs_are_causal(name: str, choices: dict[str, str], causal: bool) -> None:
    spec = load(name, **choices)
    body = spec.equation("A").body
    assert smt.implies_causal(spec, body) is causal  # type: ignore[arg-type]  # a softmax in all of these
