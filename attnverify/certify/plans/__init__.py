"""Plans of proofs by induction: the statements without recurrences that a statement follows from.

A certificate tells the plan in its first lines, and then proves one statement after the other:

    (induction relabelled | copied | closed | equations | pairs)
    (before X B), (earlier X t), ...    names that the plan speaks of, and what it claims of them
    (obligation)                        before the lines of each statement

Which statements these are the checker works out by itself, from the recurrences and from what is
told. What stands before a step is an array of its own, B: at the first step it is the state's
initial value, at any other the state one step earlier. Nothing else is known of it but what a plan
claims and proves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attnverify.certify.errors import Rejected
from attnverify.certify.lines import read, split, text
from attnverify.certify.plans.by_equation import equations
from attnverify.certify.plans.closed import closed
from attnverify.certify.plans.copied import copied
from attnverify.certify.plans.pairs import over_pairs
from attnverify.certify.plans.relabelled import relabelled
from attnverify.certify.plans.told import Told
from attnverify.errors import AttnverifyError
from attnverify.statement import Statement

PLAN, OBLIGATION = "(induction", "(obligation)"
KINDS: dict[str, Callable[[Statement, Told], tuple[Statement, ...]]] = {
    "relabelled": relabelled, "copied": copied, "closed": closed, "equations": equations,
    "pairs": lambda statement, _: (statement,),
}  # fmt: skip


def is_plan(lines: Sequence[str]) -> bool:
    """Whether lines tell a plan."""
    return bool(lines) and lines[0].startswith(PLAN)


def blocks(lines: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The lines of a plan, and those of each of its obligations."""
    starts = [n for n, line in enumerate(lines) if line == OBLIGATION]
    ends = [*starts, len(lines)][1:]
    found = [tuple(lines[a + 1 : b]) for a, b in zip(starts, ends, strict=True)]
    return tuple(lines[: starts[0] if starts else len(lines)]), found


def obligations(statement: Statement, lines: Sequence[str]) -> tuple[Statement, ...]:
    """The statements that together imply one about recurrences, by a plan's lines.

    Raises Rejected where the plan is not one for the statement.
    """
    head, parts = split(read(lines[0]), 2)
    kind = text(parts[0])
    if head != "induction" or len(parts) > 1 or kind not in KINDS:
        raise Rejected(f"no such plan: {lines[0]}")
    told = Told(statement, [split(read(line)) for line in lines[1:]])
    try:
        found = KINDS[kind](statement, told)
        for _, parts in [row for row in told.rows if row[0] == "pairs"]:
            found = (*found[:-1], over_pairs(found[-1], parts))
            told.rows.remove(("pairs", parts))
    except AttnverifyError as fault:
        raise Rejected(f"the plan makes no statement: {fault}") from fault
    if told.left:
        raise Rejected(f"the plan has no use for: {told.left}")
    return found


__all__ = ["OBLIGATION", "blocks", "is_plan", "obligations"]
