"""Statements tried jointly on draws: shared work, honest counts, failures that are small."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from attnverify import load
from attnverify.algebra.terms import ONE, ZERO, Parameter, inverse, mul, total
from attnverify.attention import attention, causal
from attnverify.compare import within
from attnverify.compile.run import run
from attnverify.exact import evaluate
from attnverify.invariants import applicable, roles
from attnverify.notation import Spec, axes, eq, integers, let, log, tensors, where
from attnverify.provers import sampled as module
from attnverify.provers.disturbed import DTYPE, UNIT
from attnverify.provers.draws import Case, plan
from attnverify.provers.joint import joints
from attnverify.provers.sampled import Trial, confirm, sampled, tried
from attnverify.statement import Relabel, Statement
from attnverify.verdict import Status
from attnverify.verify import share, verify
from tests.members import CAUSAL, CAUSAL_FROM_THE_LAST, MEMBERS

keys, queries, rows = axes("keys queries rows")
i, j, r = queries["i"], keys["j"], rows["r"]
X, Y, Z = tensors("X Y Z")
COUNTED = Spec("counted", [X[j]], [let(Y[j], X[j] ** 2)], [Y])


def statements(title: str) -> list[Statement]:
    """All statements that a member of the catalogue is asked."""
    spec = MEMBERS[title]
    asked = [invariant for invariant, reason in applicable(spec) if not reason]
    return [statement for invariant in asked for statement in invariant.statements(roles(spec))]


JOINED = [CAUSAL_FROM_THE_LAST, "multi_head (bias=True)", "linear_rnn"]


@pytest.mark.parametrize("title", JOINED)
def test_joint_sides_are_those_of_each_statement_alone(title: str) -> None:
    asked = statements(title)
    (joint,) = joints(asked)
    assert joint.statements == tuple(asked)
    group = plan([joint.spec], 24, 5, room=lambda sizes: sum(sizes.values()) < 14)[-1]
    for statement, sides in zip(asked, joint.sides(group), strict=True):
        (alone,) = joints([statement])
        for got, due in zip(sides, alone.sides(group)[0], strict=True):
            bound = float(64 * UNIT * (1 + np.max(np.abs(due[0]), initial=0)))
            assert within(statement.name, got[0], due[0], bound).status is Status.HELD


@pytest.mark.parametrize("title", JOINED)
def test_joint_sides_are_those_of_the_exact_interpreter(title: str) -> None:
    for statement in statements(title):
        if statement.relabels:
            continue
        (joint,) = joints([statement])
        group = plan([joint.spec], 24, 2, room=lambda sizes: sum(sizes.values()) < 11)[-1]
        left, right, _ = joint.sides(group)[0]
        for number_, case in enumerate(group.cases(joint.spec)):
            computed = Trial(statement)
            due = evaluate(computed.spec, computed.arrays(case), case.parameters, sizes=case.sizes)
            for got, name in ((left, "left__"), (right, "right__")):
                exact = np.asarray(due[name].astype(float))
                bound = float(512 * UNIT * (1 + np.max(np.abs(exact), initial=0)))
                found = got[0, number_].astype(float)
                assert within(name, found, exact, bound).status is Status.HELD


def test_statements_share_what_they_have_in_common() -> None:
    asked = statements(CAUSAL)
    (joint,) = joints(asked)
    alone = sum(len(joints([statement])[0].recipe.ops) for statement in asked)
    assert 3 * len(joint.recipe.ops) < alone


def test_a_parameter_with_two_domains_parts_the_computation() -> None:
    low, high = Parameter("c", ge=Fraction(0)), Parameter("c", le=Fraction(-1))
    claims = [
        Statement(name, "sign", COUNTED.replace(parameters=(p,)), mul(factor, p * 1) + 0 * Y[j])
        for name, p, factor in (("low", low, 1), ("high", high, -1), ("wrong", low, -1))
    ]
    found = joints(claims)
    assert [joint.places for joint in found] == [(0, 2), (1,)]
    drawn = plan([joint.spec for joint in found], 20)
    assert [v.name for v in tried(found, drawn)] == ["low", "high", "wrong"]
    assert [v.status is Status.REFUTED for v in tried(found, drawn)] == [False, False, True]


def test_a_failure_is_not_hidden_by_smaller_draws_without_a_bound() -> None:
    few = where(keys.size < 4)
    names = tensors(" ".join(f"Y{n}" for n in range(11)))
    # Repeated squares leave the range of extended precision at few keys, not at more.
    squares = [let(b[j], a[j] * a[j]) for a, b in pairwise(names)]
    spec = Spec("far", [X[j]], [let(names[0][j], few * 10**15 + X[j] ** 2), *squares], [names[-1]])
    whole = names[-1][j] * inverse(names[-1][j])
    claim = Statement("late", "zero", spec, few * (whole - 1) + (1 - few))
    verdict = sampled(claim, 200)
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None
    assert verdict.witness.sizes == {"keys": 4}


def test_integers_that_two_statements_read_differently_are_two_inputs() -> None:
    (n,) = integers("n")
    spec = Spec("one", [X[j], n[r]], [let(Y[r], total(X[j], j) * n[r])], [Y])
    claims = [
        Statement("length", "sign", spec, total(where(j < n[r]), j)),
        Statement("place", "sign", spec, total(where(eq(n[r], i)), i)),
    ]
    (joint,) = joints(claims)
    assert [name for name in joint.sources if name.startswith("n")] == ["n", "n2"]
    assert all(v.status is Status.HELD for v in tried([joint], plan([joint.spec], 20)))


@pytest.mark.parametrize(("claim", "sizes"), [
    # Wrong from four keys on, from two queries on, for one parameter: shrinking ends there.
    (Statement("keys", "zero", COUNTED, total(where(keys.size >= 4), j) * (1 + Y[j])), {"keys": 4}),
    (Statement("both", "zero", Spec("two", [X[i, j]], [let(Y[i], total(X[i, j], j))], [Y]),
               where((queries.size >= 2) & (keys.size >= 3)) * (Y[i] ** 2 + 1)),
     {"queries": 2, "keys": 3}),
])  # fmt: skip
def test_a_failure_is_shown_at_the_least_sizes_at_which_it_fails(
    claim: Statement, sizes: dict[str, int]
) -> None:
    verdict = sampled(claim, 60)
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None
    assert verdict.witness.sizes == sizes
    again = confirm(Trial(claim), Case(sizes, {}, "small integers", verdict.witness.seed or 0))
    assert again.status is Status.REFUTED


def test_one_draw_in_a_batch_that_fails_is_found() -> None:
    rare = total(where(X[j] > 14), j)  # a peaked draw has such an entry now and then
    verdict = sampled(Statement("rare", "zero", COUNTED, rare), 400)
    assert verdict.status is Status.REFUTED
    assert "peaked" in verdict.detail


def test_equal_seeds_give_equal_verdicts() -> None:
    asked = statements(CAUSAL)
    found = joints(asked)
    drawn = [plan([joint.spec for joint in found], 24, seed) for seed in (1, 1)]
    assert tried(found, drawn[0]) == tried(found, drawn[1])


def test_a_failure_counts_only_where_the_exact_interpreter_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_failing", lambda _name, value, _bound: list(range(len(value))))
    spec = attention("plain")
    A = spec.equation("A").head
    claim = Statement("rows", "equal", spec, total(A, over=A.indices[-1]), ONE)
    few = sampled(claim, 6)
    assert few.status is Status.HELD
    assert 0 < (few.cases or 0) <= module.CONFIRMED
    # More than it is asked about: what is left may fail.
    many = sampled(claim, 20)
    assert many.status is Status.UNDECIDED
    assert "24 cases fail beyond their bound" in many.detail


def test_cases_that_meet_no_hypothesis_are_not_counted() -> None:
    spec = attention("plain")
    claim = Statement("many", "equal", spec, ONE, ONE, hypotheses=(spec.axes[2].size >= 3,))
    verdict = sampled(claim, 100)
    assert verdict.status is Status.HELD
    assert verdict.cases is not None
    assert 20 <= verdict.cases < 100


def test_equal_infinities_are_equal_and_others_are_not() -> None:
    spec = Spec("logs", [X[j]], [let(Y[j], log(where(X[j] > 0)))], [Y])
    same = Statement("same", "equal", spec, Y[j] + 1, Y[j] * 1 + 1)
    assert sampled(same).status is Status.HELD
    assert sampled(Statement("zero", "zero", spec, Y[j])).status is Status.REFUTED


def test_a_permutation_of_one_draw_is_followed_in_a_batch() -> None:
    spec = load("global")
    out = spec.heads["O"]
    row = next(index for index in out.indices if index.axis.name == "queries")
    follows = Relabel("queries", ("Q",), (row.name,))
    claim = Statement("follows", "equal", spec, out, out, relabels=(follows,))
    assert sampled(claim).status is Status.HELD
    still = Relabel("queries", ("Q",))
    verdict = sampled(Statement("stays", "equal", spec, out, out, relabels=(still,)))
    assert verdict.status is Status.REFUTED


def test_masked_rows_are_refuted_by_the_causal_mask() -> None:
    spec = attention("x", mask=causal())
    verdict = sampled(Statement("zero", "zero", spec, spec.heads["O"], ZERO))
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None
    assert set(verdict.witness.sizes.values()) == {1}


def test_a_run_of_one_recipe_is_what_the_joint_computes() -> None:
    (joint,) = joints([Statement("one", "equal", COUNTED, Y[j], X[j] * X[j])])
    group = plan([joint.spec], 8)[-1]
    arrays = {
        name: np.stack([source.array(case) for case in group.cases(joint.spec)])
        for name, source in joint.sources.items()
    }
    sizes = {**group.sizes, joint.recipe.axes[-1]: len(group.draws)}
    found = run(joint.recipe, arrays, sizes, {}, DTYPE)
    left, _, _ = joint.sides(group)[0]
    assert np.array_equal(found["left__0"], left[0])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("causal", marks=pytest.mark.slow),
        "linear",
        pytest.param("padding", marks=pytest.mark.slow),
    ],
)
def test_every_spec_has_two_hundred_draws_that_feed_every_numerical_cell(name: str) -> None:
    report = verify(name)
    fewest = 0
    for section in report.sections:
        seen = [
            v.cases
            for v in section.verdicts
            if v.status is Status.HELD and "differences" not in v.name
        ]
        assert None not in seen
        fewest += min(count for count in seen if count is not None)
    assert fewest >= 200
    assert len(report.sections) * share(len(report.sections)) >= 200
