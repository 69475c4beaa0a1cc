"""A predicate read at other positions: each index moved by a number of positions."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from attnverify.algebra.predicates import (
    All,
    AnyOf,
    Compare,
    Not,
    Predicate,
    conjunction,
    disjunction,
    leaves,
    negation,
)
from attnverify.algebra.rewrite import entries, rebuild
from attnverify.algebra.terms import Entry, Expr, Index, Scalar, as_expr, index_symbol
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
    for entry in _read(where):
        if fixed & set(entry.indices):
            raise SpecError(
                "a mask that reads an input along these positions cannot be shifted",
                found=str(entry),
                hint="shift the input itself",
            )
    return _predicate(where, table)


def _read(where: Predicate) -> list[Entry]:
    found: list[Entry] = []
    for leaf in leaves(where):
        if isinstance(leaf, Compare):
            found += [*entries(leaf.left), *entries(leaf.right)]
        else:
            found.append(leaf.entry)
    return found


def _expr(expr: Expr, table: Mapping[sympy.Symbol, sympy.Expr]) -> Expr:
    if isinstance(expr, Scalar):
        return Scalar(expr.value.xreplace(table))
    return rebuild(expr, lambda child: _expr(child, table), lambda where: _predicate(where, table))


def _predicate(where: Predicate, table: Mapping[sympy.Symbol, sympy.Expr]) -> Predicate:
    match where:
        case Compare(op, left, right):
            return Compare(op, _expr(left, table), _expr(right, table))
        case All(parts):
            return conjunction(*(_predicate(part, table) for part in parts))
        case AnyOf(parts):
            return disjunction(*(_predicate(part, table) for part in parts))
        case Not(part):
            return negation(_predicate(part, table))
        case _:
            return where
