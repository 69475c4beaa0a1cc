"""A predicate read at other positions: each index moved by a number of positions."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.rewrite import predicate_entries, with_scalars_in
from attnverify.algebra.terms import Index, Scalar, as_expr, index_symbol
from attnverify.errors import SpecError


def moved(where: Predicate, by: Mapping[Index, object]) -> Predicate:
    """The predicate with each index replaced by itself plus a scalar.

    Raises SpecError where an input is read along a moved index: an array has no entry out of range.
    """
    steps = {index: as_expr(step) for index, step in by.items()}
    table: dict[sympy.Symbol, sympy.Expr] = {}
    for index, step in steps.items():
        if not isinstance(step, Scalar):
            raise SpecError("a mask is shifted by a number, a size or a parameter", found=str(step))
        if step.value != 0:
            table[index_symbol(index)] = index_symbol(index) + step.value
    fixed = {index for index, step in steps.items() if step != as_expr(0)}
    for entry in predicate_entries(where):
        if fixed & set(entry.indices):
            raise SpecError(
                "a mask that reads an input along these positions cannot be shifted",
                found=str(entry),
                hint="shift the input itself",
            )
    return with_scalars_in(where, table)
