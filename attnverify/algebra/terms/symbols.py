"""The SymPy symbols that stand for positions of indices, and back."""

from __future__ import annotations

from functools import lru_cache

import sympy

from attnverify.algebra.terms.nodes import Axis, Index


def index_symbol(index: Index) -> sympy.Symbol:
    """The symbol of an index's position, from 0 to the size less one."""
    return sympy.Symbol(f"{index.name}@{index.axis.name}", integer=True, nonnegative=True)


def symbol_index(symbol: sympy.Symbol) -> Index | None:
    """The index whose position a symbol stands for, if it is one."""
    name, at, axis = symbol.name.partition("@")
    return Index(name, Axis(axis)) if at else None


def symbol_axis(symbol: sympy.Symbol) -> str | None:
    """The axis whose size a symbol stands for, if it is one."""
    return symbol.name[2:] if symbol.name.startswith("n:") else None


@lru_cache(maxsize=8192)
def symbols_of(value: sympy.Expr) -> tuple[sympy.Symbol, ...]:
    """The symbols of a scalar, sorted by name."""
    return tuple(sorted(value.free_symbols, key=lambda symbol: str(symbol.name)))
