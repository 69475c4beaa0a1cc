"""Masks as bounds: which comparisons hold the key from above, which from below, and their moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sympy

from attnverify.algebra.predicates import All, Compare, Predicate, conjunction
from attnverify.algebra.rewrite import entries, free_in, predicate_entries
from attnverify.algebra.terms import Scalar, add, index_symbol, size_symbol
from attnverify.transforms.mutate.operator import Change
from attnverify.transforms.mutate.sites import At, Masking, Stage, masks, with_masks

UPPER, LOWER = "upper", "lower"
LESS = ("<", "<=")


def conjuncts(where: Predicate) -> tuple[Predicate, ...]:
    """What must hold together."""
    return where.parts if isinstance(where, All) else (where,)


def difference(where: Predicate) -> sympy.Expr | None:
    """Left minus right of a comparison of numbers that depend on no array."""
    if not isinstance(where, Compare) or where.op in ("==", "!="):
        return None
    if isinstance(where.left, Scalar) and isinstance(where.right, Scalar):
        return sympy.expand(where.left.value - where.right.value)
    return None


def sense(where: Predicate, at: At) -> str:
    """Whether a comparison of key and query position holds the key from above or from below."""
    found = difference(where)
    if found is None or len(at.keys) != 1 or len(at.rows) != 1 or not isinstance(where, Compare):
        return ""
    key, row = index_symbol(at.keys[0]), index_symbol(at.rows[0])
    if row not in found.free_symbols or found.coeff(key) not in (1, -1):
        return ""
    return UPPER if (found.coeff(key) == 1) == (where.op in LESS) else LOWER


def counted(where: Predicate, at: At) -> bool:
    """Whether a comparison holds the key below a number that is an input: a length."""
    if not isinstance(where, Compare) or where.op in ("==", "!=") or difference(where) is not None:
        return False
    sides = (where.left, where.right)
    keyed = [s for s in sides if isinstance(s, Scalar) and _has(s, at)]
    read = [s for s in sides if any(e.tensor.kind == "int" for e in entries(s))]
    return len(keyed) == 1 and len(read) == 1 and not {*at.rows} & {*free_in(where)}


def _has(side: Scalar, at: At) -> bool:
    return len(at.keys) == 1 and index_symbol(at.keys[0]) in side.value.free_symbols


def widened(where: Compare, by: int) -> Predicate:
    """The comparison with room for `by` more keys; fewer where it is negative."""
    more = by if where.op in LESS else -by
    return Compare(where.op, where.left, add(where.right, more))


def of_data(where: Predicate) -> bool:
    """Whether a mask reads an input."""
    return any(True for _ in predicate_entries(where))


def corner(stage: Stage) -> sympy.Expr | None:
    """How much further the last key lies than the last query; None along one sequence."""
    if len(stage.rows) != 1 or len(stage.keys) != 1:
        return None
    row, key = stage.rows[0].axis, stage.keys[0].axis
    return None if row == key else size_symbol(key.name) - size_symbol(row.name)


def each_part(change: Masking) -> Masking:
    """A change of each conjunct of a mask, as a change of the mask."""

    def changed(where: Predicate, at: At) -> Predicate:
        return conjunction(*(change(part, at) for part in conjuncts(where)))

    return changed


def parts(stages: Iterable[Stage]) -> Iterator[tuple[Stage, Predicate]]:
    """Every conjunct of every mask that has several, each once, with its stage."""
    for stage in stages:
        seen: dict[Predicate, None] = {}
        for where in masks(stage):
            if len(conjuncts(where)) > 1:
                seen.update(dict.fromkeys(conjuncts(where)))
        yield from ((stage, part) for part in seen)


def changed(stage: Stage, change: Masking, sentence: str) -> Change:
    """The spec with the mask of a stage changed, and what it then computes."""
    return Change(with_masks(stage, change), stage.name, sentence)


def symbols(where: Predicate) -> set[sympy.Symbol]:
    """The sizes, parameters and positions that the comparisons of a mask read."""
    found: set[sympy.Symbol] = set()
    for part in conjuncts(where):
        if isinstance(part, Compare):
            for side in (part.left, part.right):
                found |= side.value.free_symbols if isinstance(side, Scalar) else set()
    return found


def orders(stage: Stage, where: Predicate) -> bool:
    """Whether a mask of a stage holds the key from above by the query's position."""
    at = At(stage.scores.head, stage.rows, stage.keys)
    return any(sense(part, at) == UPPER for part in conjuncts(where))
