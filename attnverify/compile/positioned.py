"""A spec whose rows and keys say where they stand, so that a part of them can be computed alone.

Positions along an axis become an integer input and its size a parameter: masks, position terms and
alignments then mean the same whether all rows are there or a few.
"""

from __future__ import annotations

import sympy

from attnverify.algebra.rewrite import rebuild, rebuild_in
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Index,
    Parameter,
    Scalar,
    Tensor,
    add,
    mul,
    size_symbol,
    symbol_index,
)
from attnverify.equations import Equation, Recurrence
from attnverify.errors import SpecError
from attnverify.spec import Spec


def place_name(axis: str) -> str:
    """The input that holds the positions along an axis."""
    return f"position_{axis}"


def count_name(axis: str) -> str:
    """The parameter that holds the whole size of an axis."""
    return f"whole_{axis}"


def positioned(spec: Spec, axes: tuple[str, ...]) -> Spec:
    """The spec on a part of these axes: `position_A` are the places kept, `whole_A` the full size.

    Raises SpecError where a recurrence runs, an axis is part of a product, or a position stands in
    something that is not a sum of multiples of positions.

    >>> from attnverify import load
    >>> print(positioned(load("causal"), ("queries", "keys")).equation("A"))
    A[b,h,i,j] = softmax_j(S[b,h,i,j] | position_keys[j] <= position_queries[i])
    """
    given = {axis.name for entry in spec.inputs for axis in _plain(entry)}
    found = [axis for axis in spec.axes if axis.name in axes]
    for axis in found:
        if axis.name not in given or axis.follows:
            raise _refused(spec, f"axis {axis.name} is not one that an input runs along alone")
    table = {size_symbol(a.name): Parameter(count_name(a.name), integer=True) for a in found}
    symbols = {size: parameter.symbol for size, parameter in table.items()}
    change = _Change(spec, axes, symbols)
    equations = tuple(change.statement(statement) for statement in spec.equations)
    places = [Tensor(place_name(a.name), "int")[a["at"]] for a in found]
    return spec.replace(
        inputs=(*spec.inputs, *places),
        equations=equations,
        parameters=(*spec.parameters, *table.values()),
    )


class _Change:
    """Replaces positions and sizes in every scalar."""

    def __init__(
        self, spec: Spec, axes: tuple[str, ...], sizes: dict[sympy.Symbol, sympy.Symbol]
    ) -> None:
        self.spec, self.axes, self.sizes = spec, axes, sizes

    def statement(self, statement: Equation | Recurrence) -> Equation:
        if isinstance(statement, Recurrence):
            raise _refused(self.spec, "a recurrence goes through all positions")
        return Equation(statement.head, self.expr(statement.body))

    def expr(self, node: Expr) -> Expr:
        if isinstance(node, Scalar):
            return self.scalar(node)
        return rebuild(node, self.expr, lambda where: rebuild_in(where, self.expr))

    def scalar(self, node: Scalar) -> Expr:
        value = node.value.xreplace(self.sizes)
        indices = {s: i for s in value.free_symbols if (i := symbol_index(s)) is not None}
        moved = {s: i for s, i in indices.items() if i.axis.name in self.axes}
        terms: list[Expr] = []
        for symbol, index in sorted(moved.items(), key=lambda item: str(item[0])):
            slope = sympy.expand(value).coeff(symbol)
            if set(moved) & slope.free_symbols:
                raise _refused(self.spec, f"{value} multiplies positions")
            terms.append(mul(Scalar(slope), Tensor(place_name(index.axis.name), "int")[index]))
            value = sympy.expand(value - slope * symbol)
        if set(moved) & value.free_symbols:
            raise _refused(self.spec, f"{node.value} is not a sum of multiples of positions")
        return add(*terms, Scalar(value)) if terms else Scalar(value)


def _plain(entry: Entry) -> list[Axis]:
    return [place.axis for place in entry.places if isinstance(place, Index)]


def _refused(spec: Spec, why: str) -> SpecError:
    return SpecError("the spec cannot be computed in parts", spec=spec.name, found=why)
