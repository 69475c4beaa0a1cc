"""Statements about recurrences: true ones are proved, false ones never, and faults are noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnverify import load
from attnverify.algebra.terms import Entry, Tensor
from attnverify.equations import Recurrence
from attnverify.notation import tanh
from attnverify.provers import induction
from attnverify.provers.induction import closed_form, copies, plans, prove, relabelling, steps
from attnverify.provers.induction.plan import Plan
from attnverify.statement import Statement, beside
from tests.provers.corpus import recurrences
from tests.provers.corpus.recurrences import FALSE, NOT_YET, TRUE
from tests.provers.judge import refutation
from tests.provers.laws import expect_beyond_reach, expect_never_proved, falsely_proved, mutant

a_true_one = pytest.mark.parametrize("statement", TRUE, ids=lambda s: s.name)
a_false_one = pytest.mark.parametrize("statement", FALSE, ids=lambda s: s.name)


@a_true_one
def test_what_is_true_is_proved(statement: Statement) -> None:
    outcome = prove(statement)
    assert outcome.proved, f"{outcome.reason}: {outcome.residue}"
    assert any("induction along" in words for words in outcome.certificate)
    assert refutation(statement, 5) is None


@a_true_one
def test_what_a_plan_asks_for_is_true_and_has_no_recurrence(statement: Statement) -> None:
    plan = next(plan for plan in plans(statement) if induction.proved_by(plan).proved)
    assert len(plan.obligations) > 1
    for obligation in plan.obligations:
        assert not any(steps.recurrences(obligation.spec.equations))
        assert refutation(obligation, 12) is None, obligation.text()


@a_false_one
def test_what_is_false_is_never_proved(statement: Statement) -> None:
    expect_never_proved(prove, statement)


@pytest.mark.parametrize("statement", NOT_YET, ids=lambda s: s.name)
def test_what_is_beyond_reach_says_what_was_left(statement: Statement) -> None:
    expect_beyond_reach(prove, statement)


@given(data=st.data())
@settings(max_examples=40)
def test_no_mutant_of_a_recurrence_is_proved_and_false(data: st.DataObject) -> None:
    statement = mutant(data, [*TRUE, *FALSE])
    if prove(statement).proved:
        assert refutation(statement, 8) is None, statement.text()


# ---- a plan with a fault planted in it proves something false, and the corpus notices


def without(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Let plans leave out the obligations whose name has a part."""
    whole = induction.proved_by

    def less(plan: Plan, *limits: object) -> object:
        kept = tuple(o for o in plan.obligations if part not in o.name)
        return whole(replace(plan, obligations=kept), *limits)  # type: ignore[arg-type]

    monkeypatch.setattr(induction, "proved_by", less)


PARTS = [
    ("begins", recurrences.NOT_CAUSAL, "a network that begins with its last input"),
    ("makes a step", recurrences.NOT_CAUSAL, "a network that reads all"),
    ("is found", recurrences.NOT_WRITES, "writes that meet the last"),
    ("where the states are compared", recurrences.NOT_CAUSAL, "a network after a change before it"),
]


@pytest.mark.parametrize(("part", "statements", "name"), PARTS)
def test_leaving_out_a_part_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, part: str, statements: list[Statement], name: str
) -> None:
    without(monkeypatch, part)
    assert name in falsely_proved(prove, statements)


def test_a_wrong_closed_form_is_not_taken_on_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    right = closed_form.Form.after
    monkeypatch.setattr(closed_form.Form, "after", lambda s, loop, u: right(s, loop, u) * 2)
    for statement in recurrences.CLOSED:
        assert not prove(statement).proved


def test_relabelling_the_axis_of_the_steps_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(statement: Statement) -> Plan | None:
        if not statement.relabels:
            return None
        work = relabelling._Work(statement, steps.Names.of(statement))
        for row in steps.needed_rows(statement):
            if isinstance(row, Recurrence):
                work.recurrence(row)
            else:
                work.rows.append(row)
        spec = steps.flat(statement.spec, work.rows, work.inputs)
        claim = replace(statement, spec=spec, relabels=work.relabels())
        return Plan(("careless",), (*work.obligations, claim))

    monkeypatch.setattr(induction, "moved", careless)
    assert "a network with its steps permuted" in falsely_proved(prove, recurrences.NOT_CAUSAL)


def test_a_copy_that_is_none_is_not_taken_for_one() -> None:
    (first, second) = (
        recurrences.ELMAN,
        recurrences.network(tanh(2 * recurrences.drive)),
    )
    joint, names = beside(first, second)
    head = joint.heads["H"]
    claim = Statement("two networks", "equal", joint, head, Entry(Tensor(names["H"]), head.places))
    assert copies.copied(claim) is not None
    assert not prove(claim).proved
    assert refutation(claim, 8) is not None


FORMS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {"causal": True}), ("retention", {"decay": "given"}),
    ("retention", {"decay": "multi_scale"}), ("gated_linear", {}), ("state_space_dual", {}),
    ("rwkv4", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "choices"), FORMS)
def test_parallel_and_recurrent_forms_are_equal(name: str, choices: dict[str, Any]) -> None:
    one = load(name, form="parallel", **choices)
    joint, names = beside(one, load(name, form="recurrent", **choices))
    out = joint.heads[one.outputs[0]]
    other = Entry(Tensor(names[one.outputs[0]]), out.places)
    outcome = prove(Statement("forms", "equal", joint, out, other))
    assert outcome.proved, f"{outcome.reason}: {outcome.residue}"
