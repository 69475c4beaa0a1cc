"""What runs along axes: axes of a declared size, and values read at positions of them."""

from __future__ import annotations

from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import free
from attnverify.algebra.terms import (
    Add,
    Axis,
    Entry,
    Expr,
    Index,
    Mul,
    Place,
    Scalar,
    add,
    as_expr,
    indicator,
    mul,
    total,
)
from attnverify.errors import SpecError


def axis(name: str, size: int | None = None) -> Axis:
    """One axis; with `size`, an axis of so many positions.

    >>> axis("side", size=2)["s"]
    Index(name='s', axis=Axis(name='side', factors=(), fixed=2, addends=()))
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise SpecError(
            "an axis has a whole number of positions", found=repr(size), due="at least 1"
        )
    return Axis(name, fixed=size)


def concatenated(name: str, first: Axis, second: Axis) -> Axis:
    """An axis made of two, one after the other: its size is the sum of theirs.

    >>> concatenated("keys", Axis("past"), Axis("new")).declaration
    'past + new'
    """
    names = {name, first.name, second.name}
    if len(names) < 3 or first.factors or second.factors:
        raise SpecError(
            "a concatenated axis is made of two other axes",
            found=f"{name} = {first.name} + {second.name}",
            due="three names, none of a product axis",
        )
    return Axis(name, addends=(first, second))


def concatenate(at: Index, first: Expr, second: Expr) -> Expr:
    """The value at a position of a concatenated axis: of `first`, then of `second`.

    `first` and `second` each have one index of the axis that comes first, or second.

    >>> from attnverify.notation import axes, tensors
    >>> past, new = axes("past new")
    >>> l, p, q = concatenated("keys", past, new)["l"], past["p"], new["q"]
    >>> old, fresh = tensors("old fresh")
    >>> print(concatenate(l, old[p], fresh[q]))
    (sum_p [l = p] old[p]) + sum_q [l = n_past + q] fresh[q]
    """
    if not isinstance(at, Index) or not at.axis.addends:
        raise SpecError(
            "concatenate(...) reads an index of a concatenated axis",
            found=repr(at),
            due='an index of concatenated("keys", past, new)',
        )
    before, after = at.axis.addends
    p, q = _index_of(before, as_expr(first)), _index_of(after, as_expr(second))
    return add(
        total(mul(indicator(_at(at, p)), first), over=p),
        total(mul(indicator(_at(at, add(before.size, q))), second), over=q),
    )


def _index_of(axis: Axis, expr: Expr) -> Index:
    """The one index of an axis that an expression leaves free."""
    found = [index for index in free(expr) if index.axis == axis]
    if len(found) != 1:
        raise SpecError(
            "concatenate(...) takes parts that have one index of their axis each",
            found=str(expr),
            due=f"one index of {axis.name}",
        )
    return found[0]


def gather(entry: object, at: Place, position: object) -> Expr:
    """The value of `entry` where `at` stands at `position`, 0 where the position leaves its axis.

    `at` is an index of `entry`, or the tuple of a product place; `position` is made of integer
    inputs, positions, sizes, integer parameters and numbers. Raises SpecError for anything else.

    >>> from attnverify.notation import axes, integers, tensors
    >>> pages, rows = axes("pages rows")
    >>> (K,), (table,) = tensors("K"), integers("table")
    >>> n, p = pages["n"], rows["p"]
    >>> print(gather(K[n], at=n, position=table[p]))
    sum_n [n = table[p]] K[n]
    """
    where, body = as_expr(position), as_expr(entry)
    over = at if isinstance(at, tuple) else (at,)
    if not all(isinstance(index, Index) and index in free(body) for index in over):
        raise SpecError(
            "gather(..., at=) takes an index of the entry", found=repr(at), due=str(body)
        )
    if not _whole(where) or any(index in free(where) for index in over):
        raise SpecError(
            "gather(..., position=) takes a whole number that does not move with the index",
            found=str(where),
            due="integer inputs, other positions, sizes, integer parameters, numbers",
        )
    return total(mul(indicator(_at(at, where)), body), over=over)


def _whole(expr: Expr) -> bool:
    """Whether an expression is a whole number by its form."""
    match expr:
        case Scalar(value):
            return bool(value.is_integer)
        case Entry(tensor, _):
            return tensor.kind == "int"
        case Add(parts) | Mul(parts):
            return all(map(_whole, parts))
    return False


def running_total(body: object, along: Index, upto: Index, *, strict: bool = False) -> Expr:
    """The sum of `body` over the positions of `along` up to that of `upto`.

    With `strict` the position of `upto` itself is left out.

    >>> from attnverify.notation import axes, tensors
    >>> (time,), (x,) = axes("time"), tensors("x")
    >>> print(running_total(x[time["u"]], along=time["u"], upto=time["t"]))
    sum_u [u <= t] x[u]
    """
    for index in (along, upto):
        if not isinstance(index, Index):
            raise SpecError("running_total(...) runs along an index", found=repr(index))
    if along == upto or along.axis != upto.axis:
        raise SpecError(
            "running_total(...) runs up to another index of the same axis",
            found=f"{along.name} of {along.axis.name}, {upto.name} of {upto.axis.name}",
        )
    until = Compare("<" if strict else "<=", as_expr(along), as_expr(upto))
    return total(mul(indicator(until), body), over=along)


def _at(place: Place, position: object) -> Predicate:
    """The predicate that an index, or a product place, stands at a position."""
    return Compare("==", as_expr(place), as_expr(position))
