"""Statements about positions: what a permutation does, and what does not depend on what."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import walk
from attnverify.algebra.scalars import counted as numbered
from attnverify.algebra.scalars import scalars
from attnverify.algebra.terms import (
    Entry,
    Parameter,
    Tensor,
    Total,
    add,
    as_expr,
    indicator,
    mul,
)
from attnverify.invariants.roles import SEQUENCES, Roles
from attnverify.statement import Relabel, Statement, beside, with_input


def permutation(roles: Roles) -> list[Statement]:
    """Permuting an input sequence permutes the output along it; without that axis nothing moves."""
    found = []
    for axis in moving(roles):
        kept = any(index.axis.name == axis for index in roles.output.indices)
        words = (
            f"a permutation of the {axis} {'permutes' if kept else 'leaves'} "
            f"{roles.output.tensor.name}"
        )
        found.append(_relabelled(roles, "permutation equivariance", axis, words, bijection=True))
    return found


def moving(roles: Roles) -> tuple[str, ...]:
    """The axes of positions that inputs run along and that can be permuted."""
    names = (axis.name for axis in roles.spec.axes if axis.name in SEQUENCES)
    return tuple(axis for axis in names if roles.along(axis) and roles.movable(axis))


def batch_independence(roles: Roles) -> list[Statement]:
    """O at one batch entry depends on the inputs there alone, and in the same way at each.

    For any map f of the axis, O computed from X[f(b)] is O[f(b)].  With f constant this says that
    nothing but X[f(b)] is read.
    """
    return [_independent(roles, "batch independence", "batch")]


def head_independence(roles: Roles) -> list[Statement]:
    """O at one head depends on the inputs there alone, and in the same way at each."""
    return [_independent(roles, "head independence", "heads")]


def _independent(roles: Roles, name: str, axis: str) -> Statement:
    out = roles.output.tensor.name
    words = f"{out} of any choice of {axis}, computed alone, is that choice of {out}"
    return _relabelled(roles, name, axis, words, bijection=False)


def _relabelled(roles: Roles, name: str, axis: str, words: str, *, bijection: bool) -> Statement:
    moved = tuple(entry.tensor.name for entry in roles.along(axis))
    followed = tuple(index.name for index in roles.output.indices if index.axis.name == axis)
    relabel = Relabel(axis, moved, followed, bijection=bijection)
    out = roles.output
    return Statement(name, "equal", roles.spec, out, out, relabels=(relabel,), words=words)


def separate(roles: Roles, axis: str) -> bool:
    """Whether inputs and the output run along an axis that stands alone."""
    kept = any(index.axis.name == axis for index in roles.output.indices)
    return kept and bool(roles.along(axis)) and roles.movable(axis)


def mixed(roles: Roles, axis: str) -> bool:
    """Whether some sum runs over an axis, or some inputs have two indices of it."""
    sums = any(
        index.axis.name == axis
        for expr in roles.spec.expressions()
        for node in walk(expr)
        if isinstance(node, Total)
        for index in node.over
    )
    twice = (sum(i.axis.name == axis for i in e.indices) > 1 for e in roles.spec.inputs)
    return sums or any(twice)


def counted(roles: Roles, axis: str) -> bool:
    """Whether an index's own number on an axis enters, as the number of a head does in slopes."""
    found = (index for expr in roles.spec.expressions() for index in numbered(scalars(expr)))
    return any(index.axis.name == axis for index in found)


def later_changes(roles: Roles, entry: Entry) -> Statement:
    """An output up to a position is the same whatever is added to an input after it."""
    step = Parameter("step", integer=True, ge=Fraction(0))
    change = Entry(Tensor("change"), entry.places)
    time = next(i for i in entry.indices if i.axis.name == "time")
    spec = roles.spec.replace(parameters=(*roles.spec.parameters, step))
    later = indicator(Compare(">", as_expr(time), as_expr(step)))
    joint, names = beside(
        spec, with_input(spec, entry.tensor.name, add(entry, mul(later, change)), extra=[change])
    )
    out = roles.output
    row = next(i for i in out.indices if i.axis.name == "time")
    until = indicator(Compare("<=", as_expr(row), as_expr(step)))
    other = Entry(Tensor(names[out.tensor.name]), out.places)
    words = f"{out.tensor.name} up to a step does not depend on {entry.tensor.name} after it"
    return Statement("causality", "equal", joint, mul(until, other), mul(until, out), words=words)
