"""Specs with one thing changed, as statements about weights and outputs need them."""

from __future__ import annotations

from attnverify.algebra.predicates import TRUE
from attnverify.algebra.rewrite import entries, rename
from attnverify.algebra.terms import (
    ONE,
    Entry,
    Expr,
    Index,
    Place,
    Tensor,
    indicator,
    inverse,
    mul,
    total,
)
from attnverify.invariants.roles import Roles
from attnverify.invariants.sites import Attention
from attnverify.spec import Spec
from attnverify.statement import beside, with_input


def changed(spec: Spec, entry: Entry, value: Expr, read: Entry) -> tuple[Entry, Spec]:
    """`read` after an input is replaced by a value, and the spec that holds both computations."""
    known = {e.tensor.name for e in spec.inputs}
    extra = {e: None for e in entries(value) if e.tensor.name not in known}
    other = with_input(spec, entry.tensor.name, value, extra=extra)
    joint, names = beside(spec, other)
    return Entry(Tensor(names[read.tensor.name]), read.places), joint


def constant(spec: Spec, entry: Entry, keys: tuple[Index, ...]) -> Entry:
    """A new input that does not run along the keys."""
    # Of a place that is partly the key's, what is left stands alone.
    kept = [tuple(i for i in _parts(place) if i not in keys) for place in entry.places]
    places: tuple[Place, ...] = tuple(p if len(p) > 1 else p[0] for p in kept if p)
    name = next(n for n in ("c", "shift", "shift_2", "shift_3") if n not in spec.heads)
    return Entry(Tensor(name), places)


def at_output(roles: Roles, shift: Entry) -> Entry:
    """The shift read at the output's indices of the same axes."""
    shared = {index.axis.name: index for index in roles.output.indices}
    places: list[Place] = []
    for place in shift.places:
        moved = tuple(shared.get(part.axis.name, part) for part in _parts(place))
        places.append(moved if isinstance(place, tuple) else moved[0])
    return Entry(shift.tensor, tuple(places))


def sees(site: Attention) -> Expr:
    """1 where the row sees a key, 0 elsewhere: a count of keys times its total inverse."""
    if site.where == TRUE:
        return ONE
    count = total(indicator(site.where), site.keys)
    return mul(count, inverse(count))


def filled(roles: Roles) -> Expr:
    """1 where the output's row is a mean of values: where it sees a key, or everywhere.

    Everywhere if a row without keys takes the mean of all values.
    """
    return ONE if roles.empty_rows_filled else rename(sees(roles.main), roles.at_output)


def _parts(place: Place) -> tuple[Index, ...]:
    return place if isinstance(place, tuple) else (place,)
