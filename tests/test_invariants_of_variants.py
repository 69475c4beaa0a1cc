"""Which statements hold, fail and do not apply for attentions of other kinds than a softmax."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from attnverify import load
from attnverify.algebra.predicates import TRUE
from attnverify.algebra.terms import total
from attnverify.invariants import applicable
from attnverify.invariants.forms import degree
from attnverify.invariants.reach import in_time, only_through
from attnverify.invariants.reading import support
from attnverify.invariants.roles import roles
from attnverify.notation import (
    Spec,
    axes,
    exp,
    let,
    log,
    logistic,
    previous,
    recur,
    relu,
    softmax,
    tanh,
    tensors,
    where,
)
from attnverify.spec import Spec as Plain
from attnverify.verdict import Status, Verdict
from attnverify.verify import verify
from tests.members import MEMBERS, TITLES
from tests.variants import VARIANTS

EXAMPLES = 24
# What fails wherever a row's weights do not sum to one, and wherever a shift of scores moves them.
UNNORMALISED = {
    "rows sum to one",
    "convex hull",
    "value shift",
    "value gradients sum to output cotangents",
}
SHIFTED = {
    "key shift",
    "score shift",
    "score gradients sum to zero",
    "key gradients sum to zero",
}
FAILS: Mapping[str, set[str]] = {
    "sigmoid": UNNORMALISED | SHIFTED,
    "relu": UNNORMALISED | SHIFTED | {"weights are at most one"},
    "masked_sigmoid": UNNORMALISED | SHIFTED | {"permutation equivariance"},
    "sinks": UNNORMALISED | SHIFTED,
    "local_p": UNNORMALISED | {"permutation equivariance"},
    "differential": UNNORMALISED | {"weights are not negative", "permutation equivariance"},
    "talking": UNNORMALISED | {"weights are not negative"},
    "with_lse": {"permutation equivariance"},
    "capped": set(),
    "decoder": {"permutation equivariance"},
    "convolution": {"permutation equivariance"},
}
HOLDS: Mapping[str, set[str]] = {
    "sigmoid": {"weights are not negative", "weights are at most one", "<dQ, Q> = <dK, K>"},
    "relu": {"row term", "head independence"},
    "masked_sigmoid": {
        "masked weights are zero",
        "masked keys have no influence",
        "causality",
        "linearity in the values",
    },
    "plus_one": {"rows and sink sum to one"},
    "sinks": {"rows and sink sum to one", "log-sum-exp shift", "weights are at most one"},
    "named_sinks": {"rows and sink sum to one"},
    "joined_sink": {"rows and sink sum to one"},
    "with_lse": {"log-sum-exp shift", "rows sum to one", "causality", "weights are at most one"},
    "local_p": {"score shift", "key shift", "score gradients sum to zero", "row term"},
    "differential": {"score shift", "masked keys have no influence", "causality"},
    "talking": {"score shift", "key gradients sum to zero", "batch independence"},
    "capped": {"<dQ, Q> = <dK, K>", "rows sum to one"},
    "decoder": {"rows sum to one", "masked weights are zero", "causality", "score shift"},
    "grid": {
        "rows sum to one",
        "masked keys have no influence",
        "convex hull",
        "key gradients sum to zero",
        "value gradients sum to output cotangents",
    },
    "convolution": {"causality", "batch independence"},
}
LACKS: Mapping[str, dict[str, str]] = {
    "sigmoid": {"rows and sink sum to one": "share in the normaliser", "causality": "own index"},
    "sinks": {"masked weights are zero": "no mask"},
    "talking": {"head independence": "mixed"},
    "capped": {"key shift": "not affine", "log-sum-exp shift": "no equation L"},
    "decoder": {
        "masked keys have no influence": "no key or value input",
        "convex hull": "not the sum of weights times an input",
        "key gradients sum to zero": "by other ways",
    },
    "residual": {
        "masked keys have no influence": "by other ways",
        "causality": "own index",
        "<dQ, Q> = <dK, K>": "by other ways",
    },
    "grid": {"permutation equivariance": "product axis"},
    "convolution": {"rows sum to one": "no softmax weights"},
}


def cases(table: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    return [(variant, name) for variant, names in table.items() for name in sorted(names)]


@cache
def verdicts(variant: str) -> Mapping[str, Verdict]:
    """The verdicts on every row that applies."""
    report = verify(VARIANTS[variant], examples=EXAMPLES)
    return {verdict.name: verdict for verdict in report.verdicts}


@pytest.mark.parametrize(("variant", "name"), cases(FAILS))
def test_what_fails_of_a_variant_is_refuted_with_a_witness(variant: str, name: str) -> None:
    verdict = verdicts(variant)[name]
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None


@pytest.mark.parametrize(("variant", "name"), cases(HOLDS))
def test_what_holds_of_a_variant_holds(variant: str, name: str) -> None:
    assert verdicts(variant)[name].status in (Status.PROVED, Status.HELD)


@pytest.mark.parametrize("variant", LACKS)
def test_what_makes_no_sense_for_a_variant_is_left_out_with_the_reason(variant: str) -> None:
    reasons = {one.name: reason for one, reason in applicable(VARIANTS[variant])}
    for name, words in LACKS[variant].items():
        assert words in reasons[name], name


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_that_applies_makes_statements(variant: str) -> None:
    for invariant, reason in applicable(VARIANTS[variant]):
        assert reason or invariant.statements(roles(VARIANTS[variant])), invariant.name


@pytest.mark.parametrize("title", TITLES)
def test_what_the_catalogue_announces_applies(title: str) -> None:
    reasons = {one.name: reason for one, reason in applicable(MEMBERS[title])}
    assert {
        name: reasons.get(name, "no such row") for name in MEMBERS[title].announces
    } == dict.fromkeys(MEMBERS[title].announces, "")


def test_an_announced_failure_of_a_variant_is_expected() -> None:
    announced = dict.fromkeys(FAILS["local_p"], "the Gaussian is not normalised")
    spec = VARIANTS["local_p"].replace(announces=announced)
    report = verify(spec, examples=EXAMPLES)
    told = {v.name for v in report.verdicts if v.status is Status.REFUTED and v.expected}
    assert told == FAILS["local_p"]
    assert report.ok


def test_what_is_announced_is_asked_against_expectation() -> None:
    announced = {"<dQ, Q> = <dK, K>": "keys also reach the output beside the scores"}
    spec = VARIANTS["residual"].replace(announces=announced)
    report = verify(spec, examples=EXAMPLES)
    verdict = next(one for one in report.verdicts if one.name in announced)
    assert (verdict.status, verdict.expected) == (Status.REFUTED, True)


@pytest.mark.parametrize("empty_rows", ["nan", "uniform"])
def test_rows_without_keys_may_be_filled(empty_rows: str) -> None:
    spec = load("masked", empty_rows=empty_rows)
    found = {verdict.name: verdict for verdict in verify(spec, examples=EXAMPLES).verdicts}
    held = ("value shift", "value gradients sum to output cotangents", "row term", "convex hull")
    for name in held:
        assert found[name].status in (Status.PROVED, Status.HELD), name
    # The mean of all values lets hidden values into rows that see no key.
    assert ("masked keys have no influence" in found) is (empty_rows == "nan")


q, n, d, t_axis = axes("queries keys key_dim time")
i, j, l, k, t, s = q["i"], n["j"], n["l"], d["k"], t_axis["t"], t_axis["s"]
X, Y, W, A, O, H = tensors("X Y W A O H")
EARLIER = where(s <= t)


def of_time(body: object, *more: object) -> Plain:
    """O[t] from X along time."""
    return Spec("timed", [X[t], W[t, s]], [*more, let(O[t], body)], [O])  # type: ignore[list-item]  # statements


ORDER = [
    (of_time(total(EARLIER * X[s], s)), True),
    (of_time(total(where(s < t) * W[t, s] * X[s], s)), True),
    (of_time(total(X[s], s)), False),
    (of_time(total(where(s <= t + 1) * X[s], s)), False),
    (of_time(total(softmax(W[t, s], over=s, where=s <= t) * X[s], s)), True),
    (of_time(total(softmax(W[t, s], over=s) * X[s], s)), False),
    (of_time(H[t], recur(t, [let(H[t], previous(H[t]) + X[t])], {H: 0})), True),
    (of_time(H[t], recur(t, [let(H[t], previous(H[t]) + X[t])], {H: 0}, reverse=True)), False),
    (of_time(X[t] * Y[()], let(Y[()], total(X[s], s))), False),
    (of_time(total(where(X[s] > 0) * EARLIER, s)), False),
]


@pytest.mark.parametrize(("spec", "due"), ORDER, ids=[str(spec) for spec, _ in ORDER])
def test_order_in_time_by_form(spec: Plain, due: bool) -> None:
    assert in_time(spec) is due


SUPPORTS = [
    (where(j <= i) * exp(W[i, j]), "j <= i"),
    (relu(where(j <= i) * W[i, j]), "j <= i"),
    (exp(where(j <= i) * W[i, j]), TRUE),
    (log(where(j <= i) * W[i, j]), TRUE),
    (logistic(where(j <= i)), TRUE),
    (1 / (where(j <= i) * W[i, j]), "j <= i"),
    (where(j <= i) * W[i, j] - where(j <= i), "j <= i"),
    (where(j <= i) * W[i, j] + W[i, j], TRUE),
    (total(where((l <= j) & (j <= i)) * W[i, l], l), "j <= i"),
    (softmax(W[i, j], over=j, where=j <= i), "j <= i"),
]


@pytest.mark.parametrize(("expr", "due"), SUPPORTS, ids=[str(expr) for expr, _ in SUPPORTS])
def test_where_an_expression_can_differ_from_zero(expr: object, due: object) -> None:
    spec = Spec("any", [W[i, j]], [let(O[i, j], expr)], [O])
    assert str(support(spec, spec.equation("O").body)) == str(due)


DEGREES = [
    (X[k] * Y[k], 0),
    (X[k] * X[k] * Y[k], 1),
    (X[k] / Y[k], 2),
    (tanh(total(X[k] * Y[k], k)), 0),
    (tanh(X[k]), None),
    (relu(X[k]), 1),
    (X[k] + Y[k], None),
    (X[k] * Y[k] + 1, 0),
    (X[k] * total(X[k] * X[k], k) ** -0.5, 0),
    (softmax(X[k], over=k), None),
    (where(X[k] > 0) * X[k], None),
]


@pytest.mark.parametrize(("expr", "due"), DEGREES, ids=[str(expr) for expr, _ in DEGREES])
def test_degrees_by_form(expr: object, due: int | None) -> None:
    assert degree(expr, {"X": 1, "Y": -1}) == due  # type: ignore[arg-type]  # Index arithmetic


def test_paths_are_followed_through_names() -> None:
    spec = VARIANTS["residual"]
    assert only_through(spec, ["Q"], ["S"])
    assert not only_through(spec, ["K"], ["S"])
    assert only_through(spec, ["V"], ["O"])
