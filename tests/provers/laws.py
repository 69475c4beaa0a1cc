"""What every prover is held to: a corpus, its mutants, and faults planted in the prover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hypothesis import strategies as st

from attnverify import certify
from attnverify.errors import AttnverifyError
from attnverify.provers import normal
from attnverify.provers.outcome import Outcome
from attnverify.statement import Statement
from tests.provers.judge import refutation
from tests.provers.mutate import statement_mutants

Prove = Callable[[Statement], Outcome]


def expect_never_proved(prove: Prove, statement: Statement) -> None:
    """A statement that is false is not proved, and says why."""
    outcome = prove(statement)
    assert not outcome.proved
    assert outcome.reason
    assert refutation(statement, 60) is not None, "the corpus calls this false, and it is not"


def expect_beyond_reach(prove: Prove, statement: Statement) -> None:
    """A statement that is true and not proved says what was left."""
    outcome = prove(statement)
    assert not outcome.proved, "this is in reach now: move it to what must be proved"
    assert outcome.residue
    assert refutation(statement, 20) is None


def mutant(data: st.DataObject, statements: Sequence[Statement]) -> Statement:
    """A statement of the corpus with one or two changes, as far as there are any."""
    statement = data.draw(st.sampled_from(statements))
    for _ in range(data.draw(st.integers(1, 2))):
        found = list(statement_mutants(statement))
        statement = found[data.draw(st.integers(0, len(found) - 1))] if found else statement
    return statement


def falsely_proved(prove: Prove, statements: Iterable[Statement]) -> set[str]:
    """The names of false statements that are proved, whatever else a planted fault breaks."""
    found = set()
    # What was proved by the rules as they are says nothing of rules with a fault in them.
    forget()
    for statement in statements:
        try:
            proved = prove(statement).proved
        except (AssertionError, ArithmeticError, AttnverifyError, LookupError, ValueError):
            continue
        if proved:
            found.add(statement.name)
    return found


def forget() -> None:
    """Forget every proof and every certificate that was followed."""
    normal.forget()
    certify.forget()
