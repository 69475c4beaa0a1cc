"""Names taken as any arrays in a proof: they spare work, and never prove what is false."""

from __future__ import annotations

import pytest

from attnverify.algebra.terms import ONE, mul, total
from attnverify.invariants import applicable, roles
from attnverify.notation import where
from attnverify.provers.normal import DEFAULT_LIMITS, attempt, opaque_names, prove
from attnverify.statement import Statement
from tests.members import MEMBERS
from tests.provers.judge import refutation
from tests.provers.mutate import statement_mutants

CAUSAL = "causal (align=bottom_right, offset=0, empty_rows=zeros)"


def asked(title: str) -> list[Statement]:
    """All statements that a member of the catalogue is asked."""
    rows = [invariant for invariant, reason in applicable(MEMBERS[title]) if not reason]
    return [one for invariant in rows for one in invariant.statements(roles(MEMBERS[title]))]


def proved_at(statement: Statement) -> list[bool]:
    """Whether each attempt proves it, from the one that defines the fewest names."""
    return [attempt(statement, o, DEFAULT_LIMITS).proved for o in opaque_names(statement)]


@pytest.mark.parametrize(("title", "least"), [(CAUSAL, 5), ("multi_head (bias=True)", 2)])
def test_as_much_is_proved_as_with_every_name_defined(title: str, least: int) -> None:
    statements = asked(title)
    found = [prove(statement) for statement in statements]
    for statement, outcome in zip(statements, found, strict=True):
        whole = attempt(statement, frozenset(), DEFAULT_LIMITS)
        assert outcome.proved or not whole.proved
    assert sum("S taken as any arrays" in str(outcome.certificate) for outcome in found) >= least


@pytest.mark.parametrize("title", [CAUSAL, "cross", "padding (empty_rows=zeros)"])
def test_no_mutant_of_a_statement_is_proved_and_false(title: str) -> None:
    tried = proved = 0
    for statement in asked(title):
        for mutant in list(statement_mutants(statement))[:6]:
            tried += 1
            if any(proved_at(mutant)[:-1]):
                proved += 1
                assert refutation(mutant, 8) is None, mutant.text()
    assert tried > 10
    assert proved < tried


SPEC = MEMBERS[CAUSAL]
A, S, O = (SPEC.heads[name] for name in "ASO")
(i, j), (query, key) = A.indices[-2:], (index.axis.size for index in A.indices[-2:])
FALSE = {
    "every row sums to one": Statement("", "equal", SPEC, total(A, j), ONE),
    "rows sum to two where they see a key": Statement(
        "", "equal", SPEC, total(A, j), mul(2, ONE), hypotheses=(key >= query,)
    ),
    "the mask is top-left": Statement("", "zero", SPEC, mul(A, where(j > i))),
    "weights are scores": Statement("", "equal", SPEC, A, S),
    "weighted scores are not negative": Statement("", "sign", SPEC, mul(A, S)),
    "outputs are not negative": Statement("", "sign", SPEC, O),
}


@pytest.mark.parametrize("name", FALSE)
def test_what_is_false_is_never_proved(name: str) -> None:
    assert not any(proved_at(FALSE[name]))
    assert refutation(FALSE[name], 60) is not None


def test_what_holds_for_the_spec_alone_is_proved_by_its_definitions() -> None:
    dots = SPEC.equation("S")
    claim = Statement("scores", "equal", SPEC, mul(A, dots.head), mul(A, dots.body))
    assert proved_at(claim)[-1]
    assert prove(claim).proved


def test_under_a_relabelling_every_name_is_defined() -> None:
    """Taken as one array on both sides, the scores would make a causal mask symmetric."""
    moved = next(one for one in asked(CAUSAL) if one.name == "permutation equivariance")
    assert opaque_names(moved) == [frozenset()]
    assert not prove(moved).proved


def test_a_state_of_a_recurrence_is_any_array() -> None:
    spec = MEMBERS["linear_rnn"]
    read = Statement("read-out", "equal", spec, spec.heads["O"], spec.equation("O").body)
    assert prove(read).proved
    step = Statement("step", "equal", spec, spec.heads["O"], mul(2, spec.heads["O"]))
    assert "H is a state of a recurrence" in prove(step).reason
