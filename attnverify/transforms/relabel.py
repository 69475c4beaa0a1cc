"""Relabel a spec: axes renamed or identified, inputs and names given by expressions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import sympy

from attnverify.algebra.predicates import (
    Holds,
    Predicate,
)
from attnverify.algebra.rewrite import (
    entries,
    predicate_entries,
    rebuild,
    rebuild_in,
    rename_in,
    substitute,
)
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Index,
    index_symbol,
    size_symbol,
    symbol_axis,
    symbol_index,
    symbols_of,
)
from attnverify.equations import Equation, Recurrence, Statement, equations_of, reads
from attnverify.errors import ParameterError, SpecError
from attnverify.spec import Spec
from attnverify.transforms.prune import prune

Node = TypeVar("Node")


def with_axes(spec: Spec, names: Mapping[str, str]) -> Spec:
    """The spec with axes renamed; two axes that get one name become one, as in self-attention.

    Raises SpecError where two indices of axes that become one have the same name.

    >>> from attnverify import load
    >>> print(with_axes(load("causal"), {"queries": "time", "keys": "time"}).equation("S").head)
    S[b,h,i,j]
    """
    _check_indices(spec, names)
    return spec.replace(
        inputs=tuple(_relabelled(entry, names) for entry in spec.inputs),
        equations=tuple(_relabelled(row, names) for row in spec.equations),
    )


def _check_indices(spec: Spec, names: Mapping[str, str]) -> None:
    """Refuse to make one index out of two."""
    known: dict[tuple[str, str], str] = {}
    for index in every_index(spec):
        axis = index.axis.name
        before = known.setdefault((index.name, names.get(axis, axis)), axis)
        if before != axis:
            raise SpecError(
                "axes that become one have an index of one name",
                spec=spec.name,
                index=index.name,
                found=f"{before}, {axis}",
            )


def every_index(node: object) -> Iterable[Index]:
    """Every index that stands in a spec, an equation or an expression."""
    if isinstance(node, Index):
        yield node
    elif isinstance(node, sympy.Expr):
        found = (symbol_index(s) for s in symbols_of(node))
        yield from (index for index in found if index is not None)
    elif isinstance(node, tuple):
        for part in node:
            yield from every_index(part)
    elif isinstance(node, Spec):
        yield from every_index((node.inputs, node.equations))
    elif dataclasses.is_dataclass(node) and not isinstance(node, Axis):
        for field in dataclasses.fields(node):
            yield from every_index(getattr(node, field.name))


def _relabelled(node: Node, names: Mapping[str, str]) -> Node:
    """The same data with the names of axes replaced, wherever they stand."""
    made: object = node
    if isinstance(node, Axis):
        parts = {
            field.name: _relabelled(getattr(node, field.name), names)
            for field in dataclasses.fields(node)
            if field.name != "name"
        }
        made = dataclasses.replace(node, name=names.get(node.name, node.name), **parts)
    elif isinstance(node, sympy.Expr):
        made = node.xreplace({s: _symbol(s, names) for s in node.free_symbols})
    elif isinstance(node, tuple):
        made = tuple(_relabelled(part, names) for part in node)
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        fields = (field.name for field in dataclasses.fields(node))
        made = dataclasses.replace(
            node, **{name: _relabelled(getattr(node, name), names) for name in fields}
        )
    return made  # type: ignore[return-value]  # each branch keeps the type


def _symbol(symbol: sympy.Symbol, names: Mapping[str, str]) -> sympy.Symbol:
    index, axis = symbol_index(symbol), symbol_axis(symbol)
    if index is not None:
        return index_symbol(_relabelled(index, names))
    return symbol if axis is None else size_symbol(names.get(axis, axis))


def cut(spec: Spec, *names: str, outputs: tuple[str, ...] | None = None) -> Spec:
    """The spec from some names on: they are inputs, whatever equations assign to them.

    Inputs that nothing reads any more are left out. Raises ParameterError for a name that
    the spec lacks.

    >>> from attnverify import load
    >>> print(cut(load("global"), "S"))
    global(S[b,h,i,j], V[b,h,j,c]) -> O
      A[b,h,i,j] = softmax_j(S[b,h,i,j])
      O[b,h,i,c] = sum_j A[b,h,i,j] V[b,h,j,c]
    """
    for name in names:
        if name not in spec.heads:
            raise ParameterError(
                "a spec is cut at a name that it has",
                spec=spec.name,
                found=name,
                due=", ".join(spec.heads),
            )
    wanted = spec.outputs if outputs is None else outputs
    kept = [row for row in spec.equations if not {e.name for e in equations_of(row)} & {*names}]
    rows = prune(kept, wanted)
    used = {read for row in rows for read in reads(row)}
    given = dict.fromkeys((*(spec.heads[name] for name in names), *spec.inputs))
    inputs = tuple(entry for entry in given if entry.tensor.name in used)
    return spec.replace(inputs=inputs, equations=rows, outputs=wanted)


def with_values(spec: Spec, values: Mapping[str, Expr | Predicate]) -> Spec:
    """The spec with inputs given by expressions over the indices that they are declared with.

    A boolean input is given by a predicate.  What the values read and the spec does not declare
    becomes an input. Raises ParameterError for a name that is not an input.

    >>> from attnverify import load
    >>> from attnverify.algebra.terms import as_expr
    >>> print(with_values(load("biased"), {"bias": as_expr(0)}).equation("S"))
    S[b,h,i,j] = (sum_k Q[b,h,i,k] K[b,h,j,k]) / sqrt(d_k)
    """
    declared = {entry.tensor.name: entry for entry in spec.inputs}
    for name in values:
        if name not in declared:
            raise ParameterError(
                "no input has this name", spec=spec.name, found=name, due=", ".join(declared)
            )
    exprs = {n: (declared[n], v) for n, v in values.items() if isinstance(v, Expr)}
    held = {n: (declared[n], v) for n, v in values.items() if isinstance(v, Predicate)}

    def given(expr: Expr) -> Expr:
        return substitute(_held(expr, held) if held else expr, exprs)

    kept = [entry for entry in spec.inputs if entry.tensor.name not in values]
    read = dict.fromkeys(e for value in values.values() for e in _read(value))
    new = [entry for entry in read if entry.tensor.name not in {e.tensor.name for e in kept}]
    return spec.replace(
        inputs=(*kept, *new), equations=tuple(_rewritten(row, given) for row in spec.equations)
    )


def with_nodes(spec: Spec, nodes: Mapping[Expr, Expr]) -> Spec:
    """The spec with some expressions replaced by others wherever they stand."""

    def replaced(expr: Expr) -> Expr:
        found = nodes.get(expr)
        return rebuild(expr, replaced) if found is None else found

    return spec.replace(equations=tuple(_rewritten(row, replaced) for row in spec.equations))


def _read(value: Expr | Predicate) -> Iterable[Entry]:
    return entries(value) if isinstance(value, Expr) else predicate_entries(value)


def _rewritten(row: Statement, change: Callable[[Expr], Expr]) -> Statement:
    if isinstance(row, Recurrence):
        steps = tuple(Equation(step.head, change(step.body)) for step in row.steps)
        initial = tuple((name, change(value)) for name, value in row.initial)
        return Recurrence(row.along, steps, initial, row.reverse)
    return Equation(row.head, change(row.body))


Held = Mapping[str, tuple[Entry, Predicate]]


def _held(expr: Expr, values: Held) -> Expr:
    """The expression with boolean entries replaced by predicates."""
    return rebuild(expr, lambda child: _held(child, values), lambda where: _held_in(where, values))


def _held_in(where: Predicate, values: Held) -> Predicate:
    def held(leaf: Holds) -> Predicate:
        if leaf.entry.tensor.name not in values:
            return leaf
        head, value = values[leaf.entry.tensor.name]
        return rename_in(value, dict(zip(head.indices, leaf.entry.indices, strict=True)))

    return rebuild_in(where, lambda side: _held(side, values), held)
