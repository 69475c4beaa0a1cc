"""The scalars of an expression: where numbers, sizes, parameters and positions enter."""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.algebra.predicates import Compare, Predicate, leaves
from attnverify.algebra.rewrite import predicates_of, walk
from attnverify.algebra.terms import Expr, Index, Scalar, symbol_index


def scalars(expr: Expr) -> Iterator[Scalar]:
    """Every scalar of an expression, also inside predicates."""
    yield from (node for node in walk(expr) if isinstance(node, Scalar))
    for predicate in predicates_of(expr):
        yield from scalars_in(predicate)


def scalars_in(predicate: Predicate) -> Iterator[Scalar]:
    """Every scalar of a predicate."""
    for leaf in leaves(predicate):
        if isinstance(leaf, Compare):
            yield from scalars(leaf.left)
            yield from scalars(leaf.right)


def counted(found: Iterator[Scalar]) -> set[Index]:
    """The indices whose own number enters scalars, and not only what stands at their place.

    >>> from attnverify.notation import axes, tensors, where
    >>> (heads,), (S,) = axes("heads"), tensors("S")
    >>> h = heads["h"]
    >>> counted(scalars(S[h])), len(counted(scalars(where(h < 2, S[h]))))
    (set(), 1)
    """
    symbols = {symbol for scalar in found for symbol in scalar.value.free_symbols}
    indices = map(symbol_index, symbols)
    return {index for index in indices if index is not None}
