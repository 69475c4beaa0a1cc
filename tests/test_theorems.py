"""Theorems on gradients, bounds and streams: proved, and refuted where they are known to fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnverify.algebra.terms import ZERO, mul
from attnverify.errors import ParameterError
from attnverify.provers.induction import prove
from attnverify.provers.sampled import sampled
from attnverify.theorems import SECTIONS, Theorem, judge, verify_theorems
from attnverify.verdict import Status

THEOREMS = [one for theorems in SECTIONS.values() for one in theorems]
TRUE = [one for one in THEOREMS if not one.fails]
FAILING = [one for one in THEOREMS if one.fails]


@pytest.mark.parametrize("theorem", TRUE, ids=lambda one: one.name)
def test_a_theorem_is_proved(theorem: Theorem) -> None:
    for statement in theorem.statements():
        outcome = prove(statement)
        assert outcome.proved, f"{statement.name}: {outcome.reason}: {outcome.residue}"


@pytest.mark.parametrize("theorem", FAILING, ids=lambda one: one.name)
def test_what_is_known_to_fail_is_refuted_as_expected(theorem: Theorem) -> None:
    verdict = judge(theorem, 8)
    assert verdict.status is Status.REFUTED
    assert verdict.expected
    assert verdict.witness is not None
    assert theorem.fails in verdict.detail


@pytest.mark.parametrize("theorem", TRUE[:12], ids=lambda one: one.name)
def test_twice_a_side_is_not_proved_and_is_refuted(theorem: Theorem) -> None:
    statement = theorem.statements()[-1]
    if statement.kind != "equal" or statement.right == ZERO:
        pytest.skip("twice what is not negative is not negative, and twice nothing is nothing")
    wrong = replace(statement, right=mul(2, statement.right))
    assert not prove(wrong).proved
    assert sampled(wrong, 8).status is Status.REFUTED


def test_a_theorem_that_the_table_calls_false_but_is_true_is_refuted() -> None:
    right = next(one for one in TRUE if one.name == "softmax Jacobian")
    verdict = judge(replace(right, fails="of a slip"), 4)
    assert verdict.status is Status.REFUTED
    assert not verdict.expected


def test_verdicts_tell_what_the_theorem_says_and_where_it_is_from() -> None:
    report = verify_theorems(["softmax Jacobian", "gradient of attention"], examples=4)
    assert report.ok
    verdicts = [verdict for section in report.sections for verdict in section.verdicts]
    assert [verdict.status for verdict in verdicts] == [Status.PROVED, Status.PROVED]
    assert all("(" in verdict.detail and verdict.certificate for verdict in verdicts)


def test_a_name_that_no_theorem_has_is_refused() -> None:
    with pytest.raises(ParameterError, match="no theorem has this name"):
        verify_theorems(["the theorem of nobody"])


def test_names_are_not_repeated() -> None:
    names = [one.name for one in THEOREMS]
    assert sorted(set(names)) == sorted(names)
