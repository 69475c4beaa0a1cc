"""Specs, statements and expressions as trees of lists.

A node is a list whose first item is its kind; an index is [name, axis]; a place on a product axis
is a list of indices; a scalar is a tree of numbers, sizes, positions and parameters under sums,
products, powers and whole parts.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

from attnverify.algebra.predicates import All, AnyOf, Compare, Holds, Not, Predicate, Truth
from attnverify.algebra.terms import (
    Add,
    Apply,
    Axis,
    Entry,
    Expr,
    Indicator,
    Maximum,
    Mul,
    Parameter,
    Place,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    symbol_axis,
    symbol_index,
)
from attnverify.equations import Equation, Statement
from attnverify.errors import SpecError
from attnverify.spec import Spec

SCHEMA = 1
Tree = Any  # what JSON can hold: lists, strings, integers, booleans


def spec_tree(spec: Spec) -> dict[str, Tree]:
    """A spec as a table of trees."""
    declared = {axis.name: _declaration(axis) for axis in spec.axes if axis.follows}
    return {
        "schema": SCHEMA,
        "name": spec.name,
        **({"axes": declared} if declared else {}),
        "inputs": [
            [e.tensor.name, e.tensor.kind, [_place(p) for p in e.places]] for e in spec.inputs
        ],
        "equations": [_statement(statement) for statement in spec.equations],
        "outputs": list(spec.outputs),
        "parameters": [_parameter(parameter) for parameter in spec.parameters],
        "description": spec.description,
        "announces": dict(spec.announces),
        "choices": {name: _plain(spec, value) for name, value in spec.choices.items()},
    }


def _declaration(axis: Axis) -> Tree:
    """The size that an axis is declared with: a number, or the names of its two parts."""
    return [part.name for part in axis.addends] if axis.fixed is None else axis.fixed


def _plain(spec: Spec, value: object) -> Tree:
    """A choice's value; a fraction is told from a list by its key."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Fraction):
        return {"fraction": [value.numerator, value.denominator]}
    raise SpecError("a choice's value has no JSON form", spec=spec.name, found=repr(value))


def _parameter(parameter: Parameter) -> Tree:
    bounds = [parameter.ge, parameter.gt, parameter.le, parameter.lt, parameter.default]
    pairs = [None if b is None else [b.numerator, b.denominator] for b in bounds]
    step = [] if parameter.multiple_of is None else [parameter.multiple_of]
    return [parameter.name, parameter.integer, *pairs, parameter.doc, *step]


def _statement(statement: Statement) -> Tree:
    if isinstance(statement, Equation):
        return ["equation", expression_tree(statement.head), expression_tree(statement.body)]
    initial = [[name, expression_tree(value)] for name, value in statement.initial]
    steps = [_statement(step) for step in statement.steps]
    return ["recurrence", _place(statement.along), statement.reverse, initial, steps]


def _place(place: Place) -> Tree:
    if isinstance(place, tuple):
        return [_place(index) for index in place]
    return [place.name, place.axis.name]


def expression_tree(expr: Expr) -> Tree:
    """An expression as a tree of lists."""
    match expr:
        case Scalar(value):
            return ["scalar", _scalar(value)]
        case Entry(tensor, places):
            return ["entry", tensor.name, [_place(place) for place in places]]
        case Previous(entry):
            return ["previous", expression_tree(entry)]
        case Add(terms):
            return ["add", *map(expression_tree, terms)]
        case Mul(factors):
            return ["mul", *map(expression_tree, factors)]
        case Power(base, exponent):
            return ["power", expression_tree(base), [exponent.numerator, exponent.denominator]]
        case Apply(name, arguments):
            return ["apply", name, *map(expression_tree, arguments)]
        case Total(body, over):
            return ["total", expression_tree(body), [_place(index) for index in over]]
        case Softmax(score, over, where, at):
            tree = [expression_tree(score), _place(over), predicate_tree(where), _place(at)]
            return ["softmax", *tree]
        case Maximum() | Threshold():
            return _row_tree(expr)
        case Indicator(where):
            return ["indicator", predicate_tree(where)]
    raise SpecError("a node has no JSON form", found=f"{type(expr).__name__}: {expr!r}")


def _row_tree(expr: Maximum | Threshold) -> Tree:
    tree = [expression_tree(expr.score), _place(expr.over), predicate_tree(expr.where)]
    if isinstance(expr, Maximum):
        return ["maximum", *tree]
    return ["threshold", *tree, [expr.exponent.numerator, expr.exponent.denominator]]


def predicate_tree(where: Predicate) -> Tree:
    """A predicate as a tree of lists."""
    match where:
        case Truth(value):
            return ["truth", value]
        case Compare(op, left, right):
            return ["compare", op, expression_tree(left), expression_tree(right)]
        case Holds(entry):
            return ["holds", expression_tree(entry)]
        case All(parts):
            return ["all", *map(predicate_tree, parts)]
        case AnyOf(parts):
            return ["any", *map(predicate_tree, parts)]
        case Not(part):
            return ["not", predicate_tree(part)]
    raise SpecError("a predicate has no JSON form", found=f"{type(where).__name__}: {where!r}")


def _scalar(value: sympy.Expr) -> Tree:
    match value:
        case sympy.Rational():
            return ["number", int(value.p), int(value.q)]
        case sympy.Symbol():
            axis, index = symbol_axis(value), symbol_index(value)
            if axis is not None:
                return ["size", axis]
            return ["parameter", value.name] if index is None else ["position", *_place(index)]
        case sympy.Add():
            return ["add", *map(_scalar, value.args)]
        case sympy.Mul():
            return ["mul", *map(_scalar, value.args)]
        case sympy.floor():
            return ["floor", _scalar(value.args[0])]
        case sympy.Pow():
            return ["power", _scalar(value.base), _scalar(value.exp)]
    if value is sympy.pi:
        return ["pi"]
    raise SpecError("a scalar has no JSON form", found=f"{type(value).__name__}: {value}")
