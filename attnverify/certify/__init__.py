"""Certificates: what a proof's steps are, and a checker that applies them again.

The checker shares no code with the provers. It reads the statement itself; a certificate tells it
only what functions of polynomials are, which laws to subtract from left - right, and what z3 is
asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import pairwise

from attnverify.certify.check import Checked, check, paired
from attnverify.certify.errors import Rejected
from attnverify.certify.lines import read, split, text
from attnverify.certify.plans import OBLIGATION, blocks, is_plan
from attnverify.content import Claim, claim
from attnverify.statement import Statement

# How the part of a verdict's certificate begins that one statement has, and one that has no steps.
HEAD = "proof of "
UNCHECKED = "not checked apart: "


def certified(statement: Statement, lines: Sequence[str]) -> tuple[str, ...]:
    """The certificate that a prover's lines make: those that are needed, and z3's questions.

    Raises Rejected where a step does not apply.

    >>> from attnverify import load
    >>> from attnverify.algebra.terms import ONE, total
    >>> from attnverify.provers.normal import prove
    >>> spec = load("global")
    >>> A = spec.equation("A").head
    >>> rows = Statement("rows", "equal", spec, total(A, over=A.indices[-1]), ONE)
    >>> certificate = certified(rows, prove(rows).lines)
    >>> [line.partition(" ")[0] for line in certificate if line.startswith("(law")]
    ['(law']
    """
    if is_plan(lines):
        plan, proofs = blocks(lines)
        due = paired(statement, plan, proofs)
        rest = [line for one, proof in due for line in (OBLIGATION, *certified(one, proof))]
        return (*plan, *rest)
    return _followed(claim(statement, _taken(lines)), tuple(lines))


def forget() -> None:
    """Forget what was followed, as where the rules themselves are changed."""
    _followed.cache_clear()


@lru_cache(maxsize=2048)
def _followed(claimed: Claim, lines: tuple[str, ...]) -> tuple[str, ...]:
    """The certificate of a proof without a plan; what was followed once is known."""
    statement = claimed.statement
    try:
        return _lean(statement, lines)
    except Rejected:
        # What stands at an end may be a term of a sum: then it is better left where it stands.
        bare = [line for line in lines if not line.startswith("(end")]
        if len(bare) == len(lines):
            raise
        return _lean(statement, bare)


def _taken(lines: Sequence[str]) -> frozenset[str]:
    """The names that a proof takes as any arrays."""
    told = [split(read(line)) for line in lines if line.startswith("(opaque ")]
    return frozenset(text(name) for _, names in told for name in names)


def _lean(statement: Statement, lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that are needed of a proof without a plan, and z3's questions."""
    checked = partial(check, statement, asking=True, known={})
    given, found = tuple(lines), checked(lines)
    for line in found.perhaps:
        rest = tuple(other for other in found.needed if other != line)
        with suppress(Rejected):
            given, found = rest, checked(rest)
    while _steps(found.needed) != _steps(given):  # what only a line that goes needed goes too
        given, found = found.needed, checked(found.needed)
    return (*found.needed, *found.questions)


def _steps(lines: Sequence[str]) -> list[str]:
    """The lines that are more than declarations, which nothing but their use can change."""
    return [line for line in lines if not line.startswith(("(variables", "(opaque"))]


def told(statement: Statement, words: Sequence[str], lines: Sequence[str]) -> tuple[str, ...]:
    """A statement's part of a verdict's certificate: its text, the rules in words, the steps.

    Where the checker does not follow the steps it says why in their place.
    """
    try:
        steps = certified(statement, lines)
    except Rejected as reason:
        steps = (f"{UNCHECKED}{reason if lines else 'the proof keeps no steps'}",)
    return (f"{HEAD}{statement.text()}", *words, *steps)


def parts(certificate: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The parts that a verdict's certificate has, one for each statement that was proved."""
    starts = [n for n, line in enumerate(certificate) if line.startswith(HEAD)]
    for start, end in pairwise([*starts, len(certificate)]):
        yield tuple(certificate[start:end])


def steps_of(part: Sequence[str]) -> tuple[str, ...] | None:
    """The steps that a statement's part has, None where they were not checked."""
    if any(line.startswith(UNCHECKED) for line in part):
        return None
    return tuple(line for line in part[1:] if line.startswith("("))


__all__ = ["Checked", "Rejected", "certified", "check", "parts", "steps_of", "told"]
