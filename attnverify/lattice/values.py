"""Values that edges give to inputs, and hypotheses that several edges share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import entries, walk
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Add,
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Place,
    Tensor,
    as_expr,
    indicator,
    mul,
    position,
    total,
)
from attnverify.lattice.edge import Scene, Sizes, Value
from attnverify.library import load
from attnverify.spec import Spec


def constant(number: int) -> Value:
    """The same number everywhere."""
    return lambda _: number


def identity(one: int, other: int) -> Value:
    """1 where two of an input's indices stand at the same position, 0 elsewhere."""
    return lambda head: indicator(
        Compare("==", as_expr(head.indices[one]), as_expr(head.indices[other]))
    )


def size_of(axis: str) -> Value:
    """The number of positions on an axis."""
    return lambda _: Axis(axis).size


def read(name: str, *keep: int) -> Value:
    """Another tensor, read at some of the input's own indices."""
    return lambda head: Tensor(name)[tuple(head.indices[n] for n in keep)]


def flattened(name: str, at: int, *parts: Index, shift: Expr = ZERO) -> Value:
    """A tensor whose axis number `at` is a product of `parts`, read at a position of that axis.

    The position is that of the input's index there plus `shift`.
    """

    def value(head: Entry) -> Expr:
        here = head.indices[at]
        places: tuple[Place, ...] = (*head.indices[:at], parts, *head.indices[at + 1 :])
        same = Compare("==", position(parts), as_expr(here) + shift)
        return total(mul(indicator(same), Tensor(name)[places]), parts)

    return value


def at_repeat(name: str, *, outer: bool) -> Value:
    """Queries of the one repeat of a group; the group comes first on the axis where `outer`."""
    r = Axis("repeat")["r"]

    def value(head: Entry) -> Expr:
        b, g, *rest = head.indices
        return total(Tensor(name)[(b, (g, r) if outer else (r, g), *rest)], r)

    return value


def turned_by_nothing(spec: Spec) -> Mapping[Expr, Expr]:
    """Cosines replaced by 1 and sines by 0: rotations by angle 0."""
    found = {node for expr in spec.expressions() for node in walk(expr) if isinstance(node, Apply)}
    to = {"cos": ONE, "sin": ZERO}
    return {node: to[node.primitive] for node in found if node.primitive in to}


def exponential_of(name: str) -> Callable[[Spec], Mapping[Expr, Expr]]:
    """The exponential of an input replaced by 0, which no finite input reaches."""

    def nodes(spec: Spec) -> Mapping[Expr, Expr]:
        found = {node for expr in spec.expressions() for node in walk(expr)}
        return {
            node: ZERO
            for node in found
            if isinstance(node, Apply)
            and node.primitive == "exp"
            and [entry.tensor.name for entry in entries(node)] == [name]
        }

    return nodes


def summand(spec: str, name: str, reading: str) -> Value:
    """The summand of an equation that reads one input, whatever indices it is asked at."""

    def value(_: Entry) -> Expr:
        body = load(spec).equation(name).body
        terms = body.terms if isinstance(body, Add) else (body,)
        return next(t for t in terms if reading in {e.tensor.name for e in entries(t)})

    return value


Given = Callable[[Scene], tuple[Predicate, ...]]


def only_one(axis: str) -> tuple[Given, Mapping[str, Callable[[Sizes], int]]]:
    """The hypothesis that an axis has one position, and the sizes that meet it."""
    return (
        lambda at: (Compare("==", at.size(axis), ONE),),
        {axis: lambda _: 1},
    )


def as_long_as(axis: str, *parts: str) -> tuple[Given, Mapping[str, Callable[[Sizes], int]]]:
    """The hypothesis that an axis is as long as the product of others, and such sizes."""
    return (
        lambda at: (Compare("==", at.size(axis), mul(*(at.size(part) for part in parts))),),
        {axis: lambda sizes: prod(sizes[part] for part in parts)},
    )
