"""Heads: shared by the wrong ones, or mixed in vain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import rebuild
from attnverify.algebra.terms import (
    Entry,
    Expr,
    Index,
    Mul,
    Place,
    Total,
    as_expr,
    indicator,
    remainder,
)
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.spec import Spec
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import with_body, with_node


def with_places(spec: Spec, first: str, second: str) -> Spec:
    """The spec with the two factors of a product axis in the other order, wherever they stand."""

    def turned(place: Place) -> Place:
        if isinstance(place, tuple) and {i.axis.name for i in place} == {first, second}:
            return tuple(reversed(place))
        return place

    return _everywhere(spec, turned)


def _everywhere(spec: Spec, turned: Callable[[Place], Place]) -> Spec:
    def entry(node: Entry) -> Entry:
        return Entry(node.tensor, tuple(turned(place) for place in node.places))

    def change(node: Expr) -> Expr:
        return entry(node) if isinstance(node, Entry) else rebuild(node, change)

    def of(statement: Statement) -> Statement:
        if isinstance(statement, Recurrence):
            return dataclasses.replace(
                statement,
                steps=tuple(Equation(entry(s.head), change(s.body)) for s in statement.steps),
                initial=tuple((n, change(v)) for n, v in statement.initial),
            )
        return Equation(entry(statement.head), change(statement.body))

    return spec.replace(
        inputs=tuple(entry(e) for e in spec.inputs),
        equations=tuple(of(s) for s in spec.equations),
    )


def products(spec: Spec, *names: str) -> tuple[str, ...] | None:
    """The factors, in order, of the first product axis made of these axes."""
    for head in spec.heads.values():
        for place in head.places:
            if isinstance(place, tuple) and {i.axis.name for i in place} == {*names}:
                return tuple(i.axis.name for i in place)
    return None


@named("head map", "query heads are given to the wrong key heads", ("HED-01",))
def head_map(spec: Spec) -> Iterator[Change]:
    """Key heads tiled where each is repeated in place, or the other way round."""
    found = products(spec, "group", "repeat")
    if found is not None:
        told = (
            "repeats the key heads as a whole: query head h reads key head h mod n_g"
            if found == ("group", "repeat")
            else "repeats each key head in place: query head h reads key head h div n_r"
        )
        yield Change(with_places(spec, *found), "heads", told)


@named("head mixing", "heads are mixed in vain", ("HED-12",))
def head_mixing(spec: Spec) -> Iterator[Change]:
    """A mixture of heads replaced by the heads themselves, those that lack one taken in turn."""
    given = {entry.tensor.name for entry in spec.inputs}
    for row in spec.equations:
        if not isinstance(row, Equation):
            continue
        body = row.body
        if not isinstance(body, Total) or len(body.over) != 1 or not isinstance(body.body, Mul):
            continue
        (over,) = body.over
        for factor in body.body.factors:
            if not isinstance(factor, Entry) or factor.tensor.name not in given:
                continue
            others = [i for i in factor.indices if i != over]
            if len(factor.indices) != 2 or not others or not _plain(body.body, factor, over):
                continue
            same = Compare("==", as_expr(over), remainder(others[0], over.axis.size))
            unmixed = with_node(body, factor, indicator(same))
            told = f"does not mix with {factor.tensor.name}: {row.name} is what was to be mixed"
            yield Change(with_body(spec, row.name, unmixed), row.name, told)


def _plain(product: Mul, factor: Entry, over: Index) -> bool:
    """Whether all else in a mixture is one tensor over the queries, the keys and what is mixed."""
    rest = [f for f in product.factors if f is not factor]
    return (
        len(rest) == 1
        and isinstance(rest[0], Entry)
        and over in rest[0].indices
        and {"queries", "keys"} <= {i.axis.name for i in rest[0].indices}
    )


OPERATORS = (head_map, head_mixing)
