"""The check of one expression: every index and name in it is bound, and every axis agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import sympy

from attnverify.algebra.predicates import Compare, Predicate, leaves
from attnverify.algebra.primitives import is_whole, primitive
from attnverify.algebra.rewrite import children, entries, free
from attnverify.algebra.terms import (
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    symbol_axis,
    symbol_index,
    symbols_of,
)
from attnverify.equations import place_axis
from attnverify.errors import SpecError, UnknownPrimitiveError


@dataclass(frozen=True)
class Scope:
    """What an expression may use: tensors, parameters, and inside a recurrence its states."""

    spec: str
    equation: str
    tensors: Mapping[str, Entry]
    parameters: frozenset[str]
    along: Index | None = None
    local: frozenset[str] = frozenset()
    states: Mapping[str, Entry] | None = None

    def error(self, message: str, **parts: str) -> SpecError:
        """The error that a rule raises, with the spec and the equation named."""
        return SpecError(message, spec=self.spec, equation=self.equation, **parts)


def check_free(scope: Scope, head: Entry, body: Expr) -> None:
    """Every free index of a right-hand side stands on the left."""
    for index in free(body):
        if index not in head.indices:
            raise scope.error(
                "an index is neither on the left nor summed",
                index=index.name,
                found=str(body),
                due="one of " + ", ".join(i.name for i in head.indices),
                hint=f"wrap the part in total(..., over={index.name})",
            )


def check_expression(scope: Scope, expr: Expr) -> None:
    """Every name in an expression is bound, and every axis agrees."""
    match expr:
        case Scalar(value):
            _check_scalar(scope, symbols_of(value))
            _check_whole_parts(scope, value)
            return
        case Entry():
            _check_entry(scope, expr)
            if expr.tensor.kind == "bool":
                raise scope.error(
                    "a boolean input is used as a number",
                    found=str(expr),
                    hint="write where(mask[...])",
                )
            return
        case Previous(entry):
            _check_previous(scope, entry)
            return
        case Apply(name, arguments):
            _check_primitive(scope, name, arguments)
        case Total(_, over):
            if len(set(over)) != len(over):
                raise scope.error("a sum names an index twice", found=str(expr))
            _check_binder(scope, over, expr)
        case Softmax() | Maximum() | Threshold():
            _check_row(scope, expr)
        case Indicator(where):
            _check_predicate(scope, where)
    for child in _children(scope, expr):
        check_expression(scope, child)


def _check_row(scope: Scope, expr: Softmax | Maximum | Threshold) -> None:
    if isinstance(expr, Softmax) and expr.at.axis != expr.over.axis:
        raise scope.error(
            "a softmax is read on another axis than it sums",
            index=expr.at.name,
            found=expr.at.axis.name,
            due=expr.over.axis.name,
        )
    if isinstance(expr, Threshold) and expr.exponent < 1:
        raise scope.error(
            "a threshold's exponent is at least 1", found=str(expr.exponent), due="1, 3/2, 2"
        )
    _check_binder(scope, (expr.over,), expr)
    _check_predicate(scope, expr.where)


def _check_binder(scope: Scope, over: tuple[Index, ...], expr: Expr) -> None:
    """A step that sums over the recurrence's own index would read steps that are not made yet."""
    if scope.along is None or scope.along not in over:
        return
    for entry in entries(expr):
        if entry.tensor.name in scope.local:
            raise scope.error(
                "a step reads other steps in a sum",
                index=scope.along.name,
                found=str(entry),
                due="values of this step, and previous(...)",
                hint=f"name the index of the sum otherwise than {scope.along.name}",
            )


def _children(scope: Scope, expr: Expr) -> Iterator[Expr]:
    try:
        yield from children(expr)
    except UnknownPrimitiveError as error:
        raise scope.error("an unknown node stands in the equation", found=repr(expr)) from error


def _check_scalar(scope: Scope, symbols: tuple[sympy.Symbol, ...]) -> None:
    for symbol in symbols:
        known = symbol_axis(symbol) or symbol_index(symbol)
        if known is None and str(symbol) not in scope.parameters:
            raise scope.error(
                "an unbound name",
                found=str(symbol),
                due=f"a parameter of the spec: {', '.join(sorted(scope.parameters)) or 'none'}",
                hint="list it in parameters=[...]",
            )


def _check_whole_parts(scope: Scope, value: sympy.Expr) -> None:
    """A whole part is taken of whole numbers divided by whole numbers of at least 1."""
    for part in sorted(value.atoms(sympy.floor), key=str):
        above, below = part.args[0].as_numer_denom()
        if not (above.is_integer and below.is_integer and below.is_positive):
            raise scope.error(
                "a whole part is taken of whole numbers divided by whole numbers of at least 1",
                found=str(Scalar(part)),
                hint="write floor_div(a, b) of positions, sizes and integer parameters",
            )


def _check_entry(scope: Scope, entry: Entry) -> None:
    name = entry.tensor.name
    declared = scope.tensors.get(name)
    if declared is None:
        hint = "declare it as an input, or assign it earlier"
        if name in scope.local:
            hint = f"write previous({entry}) for the step before"
        raise scope.error(
            "an unbound name",
            found=str(entry),
            due=", ".join(scope.tensors) or "no tensor is declared",
            hint=hint,
        )
    if declared.tensor.kind != entry.tensor.kind:
        raise scope.error(
            "a tensor changes its kind", found=entry.tensor.kind, due=declared.tensor.kind
        )
    if len(declared.places) != len(entry.places):
        raise scope.error(
            "an entry has the wrong number of indices", found=str(entry), due=str(declared)
        )
    for place, due in zip(entry.places, declared.places, strict=True):
        if place_axis(place) != place_axis(due):
            raise scope.error(
                "an index runs along another axis than the tensor has there",
                index=".".join(i.name for i in place) if isinstance(place, tuple) else place.name,
                found=f"{place_axis(place).name} in {entry}",
                due=f"{place_axis(due).name} as in {declared}",
            )
    if name in scope.local and scope.along is not None:
        _check_same_step(scope, entry, declared)


def _check_same_step(scope: Scope, entry: Entry, declared: Entry) -> None:
    spot = declared.places.index(scope.along) if scope.along in declared.places else -1
    if spot >= 0 and entry.places[spot] != scope.along:
        raise scope.error(
            "a step reads another step",
            found=str(entry),
            index=str(entry.places[spot]),
            due=str(scope.along),
            hint="use previous(...) for the step before",
        )


def _check_previous(scope: Scope, entry: Entry) -> None:
    if scope.states is None or entry.tensor.name not in scope.states:
        raise scope.error(
            "previous(...) of something that is not a state of this recurrence",
            found=str(entry),
            due=", ".join(scope.states or {}) or "a recurrence",
        )
    head = scope.states[entry.tensor.name]
    _check_entry(replace(scope, tensors={entry.tensor.name: head}), entry)


def _check_primitive(scope: Scope, name: str, arguments: tuple[Expr, ...]) -> None:
    try:
        row = primitive(name)
    except UnknownPrimitiveError as error:
        told = {"spec": scope.spec, "equation": scope.equation, **error.parts}
        raise UnknownPrimitiveError(error.message, **told) from None
    if len(arguments) != row.arity:
        raise scope.error(f"'{name}' takes {row.arity} argument(s)", found=str(len(arguments)))
    for argument in arguments if row.whole else ():
        if not is_whole(argument):
            raise scope.error(
                f"'{name}' takes whole numbers",
                found=str(argument),
                due="positions, sizes, integer inputs and parameters declared with integer=True",
            )


def _check_predicate(scope: Scope, where: Predicate) -> None:
    for leaf in leaves(where):
        if isinstance(leaf, Compare):
            check_expression(scope, leaf.left)
            check_expression(scope, leaf.right)
        else:
            _check_entry(scope, leaf.entry)
            if leaf.entry.tensor.kind != "bool":
                raise scope.error(
                    "only a boolean input is a predicate",
                    found=str(leaf.entry),
                    hint="compare it with a number",
                )
