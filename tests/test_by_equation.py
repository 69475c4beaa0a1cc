"""Claims proved one equation after the other: deep specs, their mutants, and planted faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise

import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from attnverify import load
from attnverify.algebra.terms import Entry
from attnverify.certify import Rejected, certified, check
from attnverify.equations import Equation
from attnverify.invariants import roles
from attnverify.invariants.symmetry import batch_independence, later_changes, permutation
from attnverify.provers import normal
from attnverify.provers.induction import by_equation, proved_by, steps_of, up_to
from attnverify.provers.induction import prove as induction
from attnverify.provers.outcome import Outcome
from attnverify.statement import Statement
from tests.corrupt import corruptions
from tests.provers.corpus.deep import FALSE, TRUE, i, j, t
from tests.provers.judge import refutation
from tests.provers.laws import expect_never_proved, falsely_proved, mutant

LEAKS = [statement for statement in FALSE if not statement.relabels]
MIXES = [statement for statement in FALSE if statement.relabels]


def prove(statement: Statement) -> Outcome:
    """By equations alone: what else there is might prove it too."""
    if statement.relabels:
        plan = by_equation.carried(statement)
        return Outcome(proved=False, reason="no plan") if plan is None else proved_by(plan)
    found = up_to.agreeing(statement, normal.prove)
    return found or Outcome(proved=False, reason="no two computations")


@pytest.mark.parametrize("statement", TRUE, ids=lambda s: s.name)
def test_what_is_true_is_proved_by_equations(statement: Statement) -> None:
    outcome = prove(statement)
    assert outcome.proved, outcome.reason
    assert any("each equation by itself" in words for words in outcome.certificate)
    assert refutation(statement, 2) is None


@pytest.mark.parametrize("statement", FALSE, ids=lambda s: s.name)
def test_a_mutant_in_one_deep_equation_is_not_proved_and_is_refuted(statement: Statement) -> None:
    expect_never_proved(prove, statement)


@given(data=st.data())
@settings(max_examples=8)
def test_no_mutant_is_proved_and_false(data: st.DataObject) -> None:
    statement = mutant(data, [*TRUE, *FALSE])
    if prove(statement).proved:
        assert refutation(statement, 6) is None, statement.text()


@pytest.mark.parametrize(
    ("name", "values", "invariant"),
    [
        ("decoder_block", {"norm": "post"}, "causality"),
        ("decoder_block", {"norm": "pre"}, "batch independence"),
        ("induced_set", {"form": "block"}, "permutation equivariance"),
        ("latent", {"form": "absorbed"}, "causality"),
    ],
)
def test_blocks_of_the_catalogue_are_proved(
    name: str, values: dict[str, str], invariant: str
) -> None:
    parts = roles(load(name, **values))
    claims = {
        "causality": lambda: [later_changes(parts, parts.spec.inputs[0])],
        "batch independence": lambda: batch_independence(parts),
        "permutation equivariance": lambda: permutation(parts),
    }[invariant]()
    assert all(induction(statement).proved for statement in claims)


# ---- a fault planted in the rule proves something false, and the mutants notice


def test_replacing_what_a_sum_binds_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_to, "_binds", lambda _: ())
    monkeypatch.setattr(up_to, "_conditions", lambda *_: set())
    assert "a mean over time in one equation" in _with_same_names(monkeypatch)


def _with_same_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    settled = up_to._settled
    monkeypatch.setattr(
        up_to, "_settled", lambda expr, agree, at: settled(expr, agree, {*at, i, j, t})
    )
    return falsely_proved(prove, LEAKS)


def test_believing_that_weights_are_zero_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_to._Work, "_vanishes", lambda *_: True)
    assert "a table of positions leaks" in falsely_proved(prove, LEAKS)


def test_forgetting_an_equation_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    carries = by_equation._carries

    def forgetting(claim: Statement, row: Equation, heads: Mapping[str, Entry]) -> Statement:
        return carries(claim, claim.spec.equation("S") if row.name == "G" else row, heads)

    monkeypatch.setattr(by_equation, "_carries", forgetting)
    assert "a sum over the batch in one equation" in falsely_proved(prove, MIXES)


# ---- its certificate


@cache
def certificate(statement: Statement) -> tuple[str, ...]:
    return certified(statement, steps_of(prove(statement), statement))


def test_every_equation_is_checked_again_and_no_bent_line_is_taken() -> None:
    (statement,) = batch_independence(roles(load("global")))
    lines, context = certificate(statement), z3.Context()
    assert lines[0] == "(induction equations)"
    assert lines.count("(obligation)") == 3
    check(statement, lines, context=context)
    taken = [words for words, other in _bent(lines) if _follows(statement, other, context)]
    assert taken == []


def _bent(lines: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each equation's lines bent in each way; equations left out, doubled, and in another order."""
    starts = [n for n, line in enumerate(lines) if line == "(obligation)"]
    blocks = [lines[a:b] for a, b in pairwise([*starts, len(lines)])]
    for n, (first, *rest) in enumerate(blocks):
        before, after = lines[: starts[n]], lines[starts[n] + len(blocks[n]) :]
        for words, other in corruptions(rest):
            yield words, (*before, first, *other, *after)
        yield f"no equation {n}", (*before, *after)
        yield f"equation {n} twice", (*before, *blocks[n], *blocks[n], *after)
        yield f"no head of {n}", (*before, *rest, *after)
    for words, kept in (("no plan", lines[1:]), ("two plans", (lines[0], *lines))):
        yield words, kept
    turned = [line for block in reversed(blocks) for line in block]
    yield "in another order", (lines[0], *turned)


def _follows(statement: Statement, lines: tuple[str, ...], context: z3.Context) -> bool:
    try:
        check(statement, lines, context=context)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("statement", [*FALSE, TRUE[2]], ids=lambda s: s.name)
def test_a_certificate_is_none_for_another_claim(statement: Statement) -> None:
    with pytest.raises(Rejected):
        check(statement, certificate(TRUE[0]))
