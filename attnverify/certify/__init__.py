"""Certificates: what a proof's steps are, and a checker that applies them again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from attnverify.certify.check import Checked, check
from attnverify.certify.errors import Rejected
from attnverify.statement import Statement


def certified(statement: Statement, lines: Sequence[str]) -> tuple[str, ...]:
    """The certificate that a prover's lines make: those that are needed, and z3's questions.

    Raises Rejected where a step does not apply.
    """
    found = check(statement, lines, asking=True)
    for line in found.perhaps:
        with suppress(Rejected):
            rest = [other for other in found.needed if other != line]
            found = check(statement, rest, asking=True)
    whole = (*found.needed, *found.questions)
    if found.needed != tuple(lines):  # what is left out is not missed
        check(statement, whole)
    return whole


__all__ = ["Checked", "Rejected", "certified", "check"]
