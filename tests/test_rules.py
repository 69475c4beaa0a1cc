"""The rules for functions, ends, thresholds and pairs: what they prove, and never prove."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnverify.algebra.normal import finish, narrow, thresholds
from attnverify.algebra.normal.core import Context
from attnverify.algebra.normal.formulas import TRUE as ALWAYS
from attnverify.provers.induction import prove, unfold
from attnverify.provers.sampled import confirm, trial
from attnverify.statement import Statement
from attnverify.verdict import Status, Verdict
from tests.provers import judge
from tests.provers.corpus import rules
from tests.provers.corpus.rules import FALSE, TRUE
from tests.provers.laws import falsely_proved, mutant

PAIRED = {"keys", "tile", "offset"}


def refutation(statement: Statement, draws: int) -> Verdict | None:
    """The first of some draws at which a statement is false; half have as many keys as pairs."""
    computed = trial(statement)
    for number, case in enumerate(judge.cases(statement, draws)):
        sizes = dict(case.sizes)
        if set(sizes) >= PAIRED and number % 2:
            sizes["keys"] = sizes["tile"] * sizes["offset"]
        verdict = confirm(computed, replace(case, sizes=sizes))
        if verdict.status is Status.REFUTED:
            return verdict
    return None


@pytest.mark.parametrize("statement", TRUE, ids=lambda s: s.name)
def test_what_is_true_is_proved(statement: Statement) -> None:
    outcome = prove(statement)
    assert outcome.proved, f"{outcome.reason}: {outcome.residue}"
    assert refutation(statement, 8) is None


@pytest.mark.parametrize("statement", FALSE, ids=lambda s: s.name)
def test_what_is_false_is_never_proved(statement: Statement) -> None:
    assert not prove(statement).proved
    assert refutation(statement, 60) is not None, "the corpus calls this false, and it is not"


@given(data=st.data())
@settings(max_examples=50)
def test_no_mutant_is_proved_and_false(data: st.DataObject) -> None:
    statement = mutant(data, [*TRUE, *FALSE])
    if prove(statement).proved:
        assert refutation(statement, 8) is None, statement.text()


# ---- a rule with a fault planted in it proves something false, and the corpus notices


def test_masks_that_are_not_there_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "_conj", lambda *_: ())
    assert "a weaker mask" in falsely_proved(prove, rules.NOT_INSIDE)


def test_any_threshold_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "_values", lambda *_: True)
    assert "the threshold of other scores" in falsely_proved(prove, rules.NOT_ROWS)


def test_denominators_that_may_be_zero_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "nonzero_formula", lambda *_: ALWAYS)
    assert "a difference of inverses, of what may be zero" in falsely_proved(prove, rules.NOT_SUMS)


def test_one_end_for_both_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Context.end

    def first(self: Context, axis: str, *, last: bool) -> int:
        return end(self, axis, last=last and False)

    monkeypatch.setattr(Context, "end", first)
    assert "the last key and the first" in falsely_proved(prove, rules.NOT_ENDS)


def test_pairs_without_their_size_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = unfold.Fold("single", ())
    monkeypatch.setattr(unfold, "_fold", lambda _: fold)
    assert "a sum over two" in falsely_proved(prove, rules.NOT_PAIRS)
