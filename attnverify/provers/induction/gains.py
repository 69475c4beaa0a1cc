"""A step of a recurrence as a gain times the state before it, and what it adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnverify.algebra.rewrite import free, rebuild, rename
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Mul,
    Previous,
    Total,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    total,
)
from attnverify.provers.induction.steps import Loop, previous_states

if TYPE_CHECKING:
    from attnverify.provers.induction.closed_form import Solving


@dataclass(frozen=True)
class Parsed:
    """What a step adds to a state, and the logarithm of its gain, None where that is 1."""

    added: Expr
    gain: Expr | None


def plain(expr: Expr) -> Expr:
    """The expression without sums of nothing."""
    made = rebuild(expr, plain, lambda where: where)
    return ZERO if isinstance(made, Total) and made.body == ZERO else made


def past(found: Parsed | None) -> set[str]:
    """The states whose past a closed form reads beside its own."""
    parts = () if found is None else (found.added, found.gain)
    return {state for part in parts if part is not None for state in previous_states(part)}


def parsed(solving: Solving, state: str) -> Parsed | None:
    """A step as gain times the state before it plus the rest."""
    body, head = solving.bodies[state], solving.heads[state]
    terms = body.terms if isinstance(body, Add) else (body,)
    mine = [term for term in terms if state in previous_states(term)]
    if len(mine) != 1:
        return None
    factors = list(mine[0].factors if isinstance(mine[0], Mul) else (mine[0],))
    if Previous(head) not in factors:
        return None
    factors.remove(Previous(head))
    if any(state in previous_states(factor) for factor in factors):
        return None
    logs: list[Expr] = []
    for factor in factors:
        found = logs_of(solving, factor)
        if found is None:
            return None
        logs += found
    added = add(*(term for term in terms if term is not mine[0]))
    return Parsed(added, add(*logs) if logs else None)


def logs_of(solving: Solving, factor: Expr) -> list[Expr] | None:
    """Logarithms of a product of exponentials; a mask counts as 1, as the proof must bear out."""
    match factor:
        case Apply("exp", (argument,)):
            return [argument]
        case Indicator():
            return []
        case Mul(factors):
            found = [logs_of(solving, part) for part in factors]
            if any(part is None for part in found):
                return None
            return [log for part in found if part is not None for log in part]
        case Entry(tensor):
            rows = [*solving.known, *(s for s in solving.loop.row.steps)]
            row = next((row for row in rows if row.name == tensor.name), None)
            if row is None or tensor.name in solving.loop.row.states:
                return None
            names = dict(zip(row.head.indices, factor.indices, strict=True))
            return logs_of(solving, rename(row.body, names))
    return None


def summed_logs(loop: Loop, running: Index, gain: Expr, log: Expr) -> Expr:
    """The sum of logarithms up to a step."""
    terms = gain.terms if isinstance(gain, Add) else (gain,)
    past = [term for term in terms if isinstance(term, Previous)]
    if len(terms) == 2 and len(past) == 1 and negative(past[0].entry) in terms:
        return negative(past[0].entry)
    parts = log.terms if isinstance(log, Add) else (log,)
    moving = add(*(part for part in parts if loop.along in free(part)))
    still = add(*(part for part in parts if loop.along not in free(part)))
    position = as_expr(loop.along)
    steps = add(loop.along.axis.size, negative(position)) if loop.row.reverse else position + ONE
    done = indicator(loop.done(running))
    summed = total(mul(done, rename(moving, {loop.along: running})), running)
    return add(mul(steps, still), ZERO if moving == ZERO else summed)
