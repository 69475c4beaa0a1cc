"""Statements about many equations or about recurrences, proved by induction.

Along the equations of a spec, or along the axis that the steps of a recurrence run along. A plan
gives statements without recurrences that together imply the one that is asked; the normal form
decides each of them for all sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

from attnverify.algebra.normal.setting import Limits
from attnverify.certify import Rejected
from attnverify.certify.plans import OBLIGATION, is_plan, obligations
from attnverify.errors import SpecError
from attnverify.provers import normal
from attnverify.provers.induction.by_equation import carried
from attnverify.provers.induction.closed_form import closed, found
from attnverify.provers.induction.copies import copied
from attnverify.provers.induction.plan import Plan
from attnverify.provers.induction.relabelling import moved
from attnverify.provers.induction.steps import needed_rows, recurrences
from attnverify.provers.induction.unfold import unfolded
from attnverify.provers.induction.up_to import agreeing
from attnverify.provers.normal import DEFAULT_LIMITS
from attnverify.provers.outcome import Outcome
from attnverify.statement import Statement

# With so many equations on the way, one expression of all of them is too large.
MANY = 16
Lines: TypeAlias = tuple[str, ...]


def prove(statement: Statement, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """A proof of a statement in real arithmetic for all sizes of at least 1, or why there is none.

    Where every equation can be taken by itself that is tried first, and where there are too many
    for one expression. Where its spec has recurrences that its sides need, they are taken as any
    arrays first, and then by induction.
    """
    carrying = carried(statement)
    if carrying is not None and (found := proved_by(carrying, limits)).proved:
        return found
    together = partial(agreeing, statement, partial(normal.prove, limits=limits))
    first = together() if len(needed_rows(statement)) >= MANY else None
    if first is not None and first.proved:
        return first
    outcome = normal.prove(statement, limits)
    if outcome.proved:
        return outcome
    for plan in plans(statement):
        found = proved_by(plan, limits)
        if found.proved:
            return found
        outcome = found
    if first is None and (last := together()) is not None and last.proved:
        return last
    return outcome


def plans(statement: Statement) -> Iterator[Plan]:
    """The ways in which a statement about recurrences follows from statements without them."""
    if not any(recurrences(needed_rows(statement))):
        yield from _over_pairs(Plan((), (statement,)))
        return
    for make in (moved, copied, closed, found):
        try:
            plan = make(statement)
        except (LookupError, SpecError):  # its equations would read each other in a circle
            continue
        if plan is not None:
            yield plan
            yield from _over_pairs(plan)


def _over_pairs(plan: Plan) -> Iterator[Plan]:
    """The plan with the claim itself over pairs of positions, where hypotheses say of which."""
    found = unfolded(plan.obligations[-1])
    if found is not None:
        claim, lines = found
        words = "positions of an axis are pairs of positions, as its size is their product"
        told = (*(plan.told or ("(induction pairs)",)), *lines)
        yield Plan((*plan.words, words), (*plan.obligations[:-1], claim), told)


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


def steps_of(outcome: Outcome, statement: Statement, limits: Limits = DEFAULT_LIMITS) -> Lines:
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
