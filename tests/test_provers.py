"""What the normal form must prove and must never prove, each judged by exact evaluation too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnverify.algebra.normal import cancel, match, poly, roots
from attnverify.algebra.normal.core import Context
from attnverify.algebra.normal.formulas import TRUE as ALWAYS
from attnverify.algebra.normal.formulas import Zero
from attnverify.algebra.normal.setting import Limits
from attnverify.notation import sqrt
from attnverify.provers.normal import prove
from attnverify.statement import Statement
from tests.provers.corpus import (
    false_attention,
    false_sums,
    hard,
    hard_false,
    true_attention,
    true_specs,
    true_sums,
)
from tests.provers.corpus.common import claim, j, x
from tests.provers.judge import refutation
from tests.provers.laws import expect_beyond_reach, expect_never_proved, falsely_proved, mutant

TRUE = [*true_sums.TRUE, *true_attention.TRUE, *true_specs.TRUE, *hard.TRUE]
FALSE = [*false_sums.FALSE, *false_attention.FALSE, *hard_false.FALSE]
NOT_YET = [*true_attention.NOT_YET, *hard.NOT_YET]
MOST_QUERIES = 60  # of z3 for any statement of the corpus; a clock would depend on the machine

a_true_one = pytest.mark.parametrize("statement", TRUE, ids=lambda s: s.name)
a_false_one = pytest.mark.parametrize("statement", FALSE, ids=lambda s: s.name)


def test_the_corpus_is_large_and_names_are_not_repeated() -> None:
    assert len(TRUE) >= 100
    assert len(FALSE) >= 150
    for statements in (TRUE, FALSE):
        names = [statement.name for statement in statements]
        assert sorted(set(names)) == sorted(names)


@a_true_one
def test_what_is_true_is_proved(statement: Statement) -> None:
    outcome = prove(statement)
    assert outcome.proved, f"{outcome.reason}: {outcome.residue}"
    assert outcome.certificate
    assert outcome.queries <= MOST_QUERIES
    assert refutation(statement, 5) is None


@a_false_one
def test_what_is_false_is_never_proved(statement: Statement) -> None:
    expect_never_proved(prove, statement)


@pytest.mark.parametrize("statement", NOT_YET, ids=lambda s: s.name)
def test_what_is_beyond_reach_says_what_was_left(statement: Statement) -> None:
    expect_beyond_reach(prove, statement)


@given(data=st.data())
@settings(max_examples=120)
def test_no_mutant_of_a_statement_is_proved_and_false(data: st.DataObject) -> None:
    statement = mutant(data, [*TRUE, *FALSE])
    if prove(statement).proved:
        assert refutation(statement, 8) is None, statement.text()


# ---- a prover with a fault planted in it proves something false, and the corpus notices


def test_dividing_by_empty_rows_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "nonzero_formula", lambda *_: ALWAYS)
    assert "masked rows always sum to one" in falsely_proved(prove, false_attention.ROWS)


def test_roots_of_what_may_be_negative_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = claim("a root squared of any number", sqrt(x[j]) ** 2, x[j])
    assert not prove(statement).proved
    monkeypatch.setattr(roots, "never_negative", lambda *_: True)
    assert falsely_proved(prove, [statement]) == {statement.name}


def test_forgetting_axes_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Context.fresh
    monkeypatch.setattr(Context, "fresh", lambda self, _axis, name="": fresh(self, "same", name))
    assert "axes of different size" in falsely_proved(prove, false_sums.SUMS)


def test_a_ring_that_cancels_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poly, "raise_atom", _adds_exponents)
    assert "T inv(T) is one" in falsely_proved(prove, false_sums.POWERS)


def _adds_exponents(atoms: dict[object, object], atom: object, exponent: object) -> None:
    total = atoms.pop(atom, 0) + exponent  # type: ignore[operator]  # fractions
    if total:
        atoms[atom] = total


def test_deltas_across_axes_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poly, "equated", _any_two)
    assert "a key at the query's position always exists" in falsely_proved(prove, false_sums.DELTAS)


def _any_two(ctx: Context, number: int) -> tuple[int, int] | None:
    formula = ctx.literals[number]
    if isinstance(formula, Zero) and len(formula.form.terms) == 2 and formula.form.const == 0:
        one, other = (key for key, _ in formula.form.terms)
        return (one[2], other[2]) if one[0] == other[0] == "v" else None
    return None


def test_equal_looks_without_equal_masks_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "same_coefs", lambda *_: True)
    assert "mass under another mask" in falsely_proved(prove, false_attention.ROWS)


@pytest.mark.parametrize("limits", [Limits(steps_per_query=1), Limits(queries=0), Limits(steps=0)])
def test_what_z3_does_not_know_is_no_proof(limits: Limits) -> None:
    assert [s.name for s in FALSE if prove(s, limits).proved] == []
    assert any(not prove(s, limits).proved for s in TRUE)


def test_a_proof_that_takes_too_long_is_given_up() -> None:
    statement = next(s for s in TRUE if s.name == "rows and the sink sum to one")
    outcome = prove(statement, Limits(rewrites=0))
    assert not outcome.proved
    assert "steps" in outcome.reason


# ---- the same answer whatever Python hashes to

PROGRAM = """
import json
from attnverify.provers.normal import prove
from tests.test_provers import FALSE, TRUE
rows = [prove(s) for s in [*TRUE[::9], *FALSE[::9]]]
print(json.dumps([[r.proved, r.queries, r.certificate, r.residue, r.reason] for r in rows]))
"""


def test_results_do_not_change_with_the_hash_seed() -> None:
    answers = []
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1]
    assert any(row[0] for row in answers[0])
    assert not all(row[0] for row in answers[0])
