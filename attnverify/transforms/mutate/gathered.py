"""Reading at another position: what a defective address computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import fresh, predicate_entries, rebuild_in
from attnverify.algebra.terms import (
    Entry,
    Expr,
    Index,
    Place,
    Tensor,
    as_expr,
    indicator,
    total,
)
from attnverify.equations import Equation, Statement, equations_of
from attnverify.spec import Spec
from attnverify.transforms.mutate.operator import Change
from attnverify.transforms.mutate.sites import Masking, Stage, masks, with_masks
from attnverify.transforms.naming import unused


def read_at(entry: Entry, index: Index, position: object) -> Expr:
    """An entry read at another position along one of its indices; 0 where there is none."""
    other = fresh(index, entry.indices)
    moved = Entry(entry.tensor, tuple(_renamed(place, {index: other}) for place in entry.places))
    return total(indicator(Compare("==", as_expr(other), as_expr(position))) * moved, over=other)


def _renamed(place: Place, to: Mapping[Index, Index]) -> Place:
    if isinstance(place, tuple):
        return tuple(to.get(index, index) for index in place)
    return to.get(place, place)


def before(spec: Spec, name: str, *rows: Equation) -> Spec:
    """The spec with equations put before the one that assigns a name."""
    found: list[Statement] = []
    for statement in spec.equations:
        if name in {e.name for e in equations_of(statement)}:
            found += rows
        found.append(statement)
    return spec.replace(equations=tuple(found))


def gathered(stage: Stage) -> Iterator[Change]:
    """Masks that read the queries' input where they should read the keys' own."""
    (row,), (key,) = stage.rows, stage.keys
    read = list(dict.fromkeys(e for m in masks(stage) for e in predicate_entries(m)))
    ours = [e for e in read if key in e.indices and row not in e.indices]
    theirs = [e for e in read if row in e.indices and key not in e.indices]
    for entry in ours:
        for other in theirs:
            if other.tensor.kind != entry.tensor.kind or len(other.places) != len(entry.places):
                continue
            name = unused(f"{other.tensor.name}_keys", stage.spec.heads)
            head = Entry(Tensor(name), entry.places)
            wider = before(stage.spec, stage.name, Equation(head, read_at(other, row, key)))
            at = replace(stage, spec=wider)
            spec = with_masks(at, _swapping(entry, head))
            told = f"reads {other.tensor.name} where the keys' own {entry.tensor.name} is due"
            yield Change(spec, stage.name, told)


def _swapping(entry: Entry, new: Entry) -> Masking:
    return lambda where, _: rebuild_in(where, lambda side: new if side == entry else side)
