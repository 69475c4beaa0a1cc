"""The pairs of positions that a spec's masks keep, for code that visits no others."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.rewrite import free, free_in, predicate_entries, rename_in, walk
from attnverify.algebra.terms import Expr, Index, Maximum, Softmax, Threshold, Total
from attnverify.errors import SpecError
from attnverify.flow.edges import CHANNELS
from attnverify.flow.pairs import count
from attnverify.invariants.reading import covers, support
from attnverify.spec import Spec


def visited_pairs(spec: Spec) -> dict[tuple[str, str], sympy.Expr]:
    """How many pairs of positions each mask of a spec keeps, by the two axes.

    Raises SpecError where that has no closed form, or where some sum over such pairs of positions
    is without the mask: it visits all of them.

    >>> from attnverify import load
    >>> visited_pairs(load("latent"))
    {('time', 'time'): n:time*(n:time + 1)/2}
    """
    found: dict[tuple[str, str], tuple[Predicate, sympy.Expr]] = {}
    for where, row, column in _masks(spec):
        axes = (row.axis.name, column.axis.name)
        known = found.get(axes) or found.get(axes[::-1])
        kept = count(where, row, column)
        if known is not None and sympy.expand(known[1] - kept) != 0:
            raise _mixed(spec, f"{known[0]}; {where}")
        found.setdefault(axes, (where, kept))
        for open_sum in _without(spec, where, row, column):
            raise _mixed(spec, f"{where}; all in {open_sum}")
    return {axes: kept for axes, (_, kept) in found.items()}


def _mixed(spec: Spec, found: str) -> SpecError:
    return SpecError(
        "sums over the same pairs of axes keep different pairs",
        spec=spec.name,
        found=found,
        hint="count the operations without visited=True",
    )


def _without(spec: Spec, where: Predicate, row: Index, column: Index) -> Iterator[Expr]:
    """Sums and softmaxes over pairs of a mask's axes that the mask does not thin out."""
    for node in (node for expr in spec.expressions() for node in walk(expr)):
        match node:
            case Total(body, over):
                inside = support(spec, body)
            case Softmax(body, index, inside, _):
                over = (index,)
            case Maximum(body, index, inside) | Threshold(body, index, inside, _):
                over = (index,)
            case _:
                continue
        for pair in _crossed(body, over, row, column):
            own = [rename_in(where, dict(zip((row, column), way, strict=True)))
                   for way in (pair, pair[::-1]) if way[0].axis == row.axis]  # fmt: skip
            if not any(inside == one or covers(inside, one) for one in own):
                yield node


def _crossed(
    body: Expr, over: tuple[Index, ...], row: Index, column: Index
) -> Iterator[tuple[Index, Index]]:
    """An index that is summed and one that stays, along the two axes of a mask."""
    axes = {row.axis, column.axis}
    for one in over:
        for other in free(body):
            crossed = {one.axis, other.axis} == axes and one != other
            if crossed and other not in over:
                yield one, other


def _masks(spec: Spec) -> Iterator[tuple[Predicate, Index, Index]]:
    """Each predicate about two positions, and them; SpecError where it asks for more."""
    for where in dict.fromkeys(spec.predicates()):
        free = tuple(free_in(where))
        seen = [index for index in free if index.axis.name not in CHANNELS]
        if len(seen) < 2 and not list(predicate_entries(where)):
            continue
        if len(free) != 2 or len(seen) != 2:
            raise SpecError(
                "the pairs that a mask keeps depend on more than two positions",
                spec=spec.name,
                mask=str(where),
                hint="count the operations without visited=True",
            )
        column, row = seen
        yield where, row, column
