"""Statements about recurrences, proved by induction along the axis that their steps run along.

A plan gives statements without recurrences that together imply the one that is asked; the normal
form decides each of them for all sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from attnverify.algebra.normal.setting import Limits
from attnverify.certify import Rejected
from attnverify.certify.plans import OBLIGATION, is_plan, obligations
from attnverify.errors import SpecError
from attnverify.provers import normal
from attnverify.provers.induction.closed_form import closed
from attnverify.provers.induction.copies import copied
from attnverify.provers.induction.plan import Plan
from attnverify.provers.induction.relabelling import moved
from attnverify.provers.induction.steps import needed_rows, recurrences
from attnverify.provers.induction.unfold import unfolded
from attnverify.provers.normal import DEFAULT_LIMITS
from attnverify.provers.outcome import Outcome
from attnverify.statement import Statement

Lines: TypeAlias = tuple[str, ...]


def prove(statement: Statement, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """A proof of a statement in real arithmetic for all sizes of at least 1, or why there is none.

    Where its spec has recurrences that its sides need, they are taken as any arrays first, and then
    by induction.
    """
    outcome = normal.prove(statement, limits)
    if outcome.proved:
        return outcome
    for plan in plans(statement):
        found = proved_by(plan, limits)
        if found.proved:
            return found
        outcome = found
    return outcome


def plans(statement: Statement) -> Iterator[Plan]:
    """The ways in which a statement about recurrences follows from statements without them."""
    if not any(recurrences(needed_rows(statement))):
        yield from _over_pairs(Plan((), (statement,)))
        return
    for make in (moved, copied, closed):
        try:
            plan = make(statement)
        except (LookupError, SpecError):  # its equations would read each other in a circle
            continue
        if plan is not None:
            yield plan
            yield from _over_pairs(plan)


def _over_pairs(plan: Plan) -> Iterator[Plan]:
    """The plan with the claim itself over pairs of positions, where hypotheses say of which."""
    claim = unfolded(plan.obligations[-1])
    if claim is not None:
        words = "positions of an axis are pairs of positions, as its size is their product"
        yield Plan((*plan.words, words), (*plan.obligations[:-1], claim))


def proved_by(plan: Plan, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """The proof of all that a plan asks for, or the first of it that is not proved."""
    words = dict.fromkeys(plan.words)
    queries = 0
    for obligation in plan.obligations:
        found = normal.prove(obligation, limits)
        queries += found.queries
        if not found.proved:
            reason = f"{'; '.join(plan.words)}: {obligation.name}: {found.reason}"
            return Outcome(proved=False, residue=found.residue, reason=reason, queries=queries)
        words.update(dict.fromkeys(found.certificate))
    return Outcome(proved=True, certificate=tuple(words), lines=plan.told, queries=queries)


def steps(outcome: Outcome, statement: Statement, limits: Limits = DEFAULT_LIMITS) -> Lines:
    """The steps of a proof: of a plan's, a proof of each statement that the checker asks for.

    The checker finds these by itself, so they are proved anew: that it asks for the same as the
    plan here is nobody's word. Where one is not proved, it has no steps.
    """
    if not is_plan(outcome.lines):
        return outcome.lines
    lines = list(outcome.lines)
    try:
        due = obligations(statement, outcome.lines)
    except Rejected:
        return outcome.lines
    for one in due:
        lines += (OBLIGATION, *normal.prove(one, limits).lines)
    return tuple(lines)
