"""Sums: over the heads of a group, over what an input is broadcast along, over tiles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import rebuild
from attnverify.algebra.terms import (
    Entry,
    Expr,
    Index,
    Total,
    as_expr,
    floor_div,
    indicator,
    inverse,
    mul,
    remainder,
    total,
)
from attnverify.equations import Equation
from attnverify.spec import Spec
from attnverify.transforms.mutate.backward.derived import Derived, backward_bug
from attnverify.transforms.mutate.gathered import read_at
from attnverify.transforms.mutate.operator import Change

TILES = (8, 16, 32, 64, 128, 4)
HEADS = ("group", "repeat", "heads")


def _restricted(expr: Expr, over: Index, where: Predicate) -> Expr:
    """The expression with each sum over an index taken where a predicate holds."""
    if isinstance(expr, Total) and over in expr.over:
        return Total(mul(indicator(where), expr.body), expr.over)
    return rebuild(expr, lambda child: _restricted(child, over, where))


def _summed(row: Equation) -> list[Index]:
    """What the sums of a gradient run over besides channels, each index once."""
    found: dict[Index, None] = {}

    def seen(expr: Expr) -> Expr:
        if isinstance(expr, Total):
            found.update(dict.fromkeys(expr.over))
        return rebuild(expr, seen)

    seen(row.body)
    return [*found]


def _shared(found: Derived, axes: tuple[str, ...] | None) -> Iterator[tuple[str, Index]]:
    """The inputs whose gradient is summed over an axis of heads, or over any that is none's own."""
    for name, row in found.slopes.items():
        for index in _summed(row):
            if axes is not None and index.axis.name in axes:
                yield name, index
            if axes is None and index.axis.name in (*HEADS, "batch", "queries"):
                own = {i.axis.name for i in row.head.indices}
                if index.axis.name not in own:
                    yield name, index


def _one_of(index: Index) -> Iterator[tuple[Predicate, str]]:
    place, last = as_expr(index), index.axis.size - 1
    yield Compare("==", place, last), "the last"
    yield Compare("==", place, as_expr(0)), "the first"


def _together(found: Derived, pairs: list[tuple[str, Index]]) -> Iterator[tuple[str, list[str]]]:
    """Inputs whose gradients lose the same sum: all that have it, then each alone."""
    axes = dict.fromkeys(index.axis.name for _, index in pairs)
    for axis in axes:
        names = [name for name, index in pairs if index.axis.name == axis]
        yield axis, names
        if len(names) > 1:
            yield from ((axis, [name]) for name in names)


def _unsummed(found: Derived, axis: str, names: list[str]) -> Iterator[tuple[Spec, str]]:
    """The gradients by some inputs without their sum over an axis."""
    rows = {name: found.slopes[name] for name in names}
    indices = {n: next(i for i in _summed(r) if i.axis.name == axis) for n, r in rows.items()}
    for which in (0, 1):
        bodies, told = {}, ""
        for name, row in rows.items():
            where, told = [*_one_of(indices[name])][which]
            bodies[name] = _restricted(row.body, indices[name], where)
        yield found.with_slopes(bodies), f"keeps {told} alone"
    count = next(iter(indices.values())).axis.size
    yield found.scaled(names, inverse(count)), "takes the mean"


@backward_bug("one head of a group", "gradients are not summed over query heads", ("GRD-03",))
def one_head(found: Derived) -> Iterator[Change]:
    """dK, dV or both of one query head of each group, or their mean."""
    pairs = [*_shared(found, ("repeat",))]
    for axis, names in _together(found, pairs):
        for spec, told in _unsummed(found, axis, names):
            listed = " and ".join(f"d{name}" for name in names)
            yield Change(
                spec,
                found.slopes[names[0]].name,
                f"does not sum {listed} over the query heads of a group: {told}",
            )


@backward_bug(
    "broadcast axis not summed", "a gradient is not summed over what is broadcast", ("GRD-15",)
)
def broadcast(found: Derived) -> Iterator[Change]:
    """The gradient by a bias or a sink of one head, batch entry or row, or of one in each."""
    pairs = [p for p in _shared(found, None) if p[1].axis.name != "repeat"]
    for name in dict.fromkeys(name for name, _ in pairs):
        row = found.slopes[name]
        indices = [index for other, index in pairs if other == name]
        if len(indices) > 1:
            for which, word in ((1, "first"), (0, "last")):
                body = row.body
                for index in indices:
                    body = _restricted(body, index, [*_one_of(index)][which][0])
                axes = " and ".join(i.axis.name for i in indices)
                told = f"does not sum d{name} over {axes}: keeps the {word} alone"
                yield Change(found.with_slopes({name: body}), row.name, told)
        for index in indices:
            axis = index.axis.name
            for spec, told in _unsummed(found, axis, [name]):
                words = f"does not sum d{name} over the {axis}: {told}"
                yield Change(spec, row.name, words)


@backward_bug("one tile of a sum", "a gradient is of one tile, not the sum over tiles")
def one_tile(found: Derived) -> Iterator[Change]:
    """DQ of the last tile of keys, or dK and dV of the last tile of queries."""
    for axis in ("keys", "queries"):
        names = [n for n, row in found.slopes.items() if _along(row, axis) is not None]
        for some in [names, *([n] for n in names)] if len(names) > 1 else [names]:
            if not some:
                continue
            for tile in TILES:
                for told, kind in (
                    (f"is that of the last tile of {tile} {axis} alone", "last"),
                    (f"is that of the first {tile} {axis} alone", "first"),
                    (f"misses the {axis} left over after whole tiles of {tile}", "whole"),
                ):
                    bodies = {
                        n: _restricted(found.slopes[n].body, index, _tile(index, tile, kind))
                        for n in some
                        if (index := _along(found.slopes[n], axis)) is not None
                    }
                    listed = " and ".join(f"d{n}" for n in some)
                    spec = found.with_slopes(bodies)
                    yield Change(spec, found.slopes[some[0]].name, f"{listed} {told}")


def _along(row: Equation, axis: str) -> Index | None:
    return next((i for i in _summed(row) if i.axis.name == axis), None)


def _tile(index: Index, tile: int, kind: str) -> Predicate:
    place, count = as_expr(index), index.axis.size
    if kind == "first":
        return Compare("<", place, as_expr(tile))
    if kind == "last":
        return Compare(">=", place, floor_div(count - 1, tile) * tile)
    return Compare("<", place, floor_div(count, tile) * tile)


@backward_bug("one chunk at every step", "one chunk is read at every step", ("GRD-17",))
def one_chunk(found: Derived) -> Iterator[Change]:
    """Keys and values, or queries and their cotangents, at a position modulo a chunk."""
    for axis, words in (("keys", "keys and values"), ("queries", "queries and cotangents")):
        for chunk in TILES:
            told = f"reads the first {chunk} {words} in place of every further chunk"
            yield Change(_wrapped(found.spec, axis, chunk), found.spec.outputs[0], told)


def _wrapped(spec: Spec, axis: str, chunk: int) -> Spec:
    own = {
        e.tensor.name
        for e in spec.inputs
        if e.tensor.kind == "real" and [i.axis.name for i in e.indices].count(axis) == 1
    }

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Entry) and expr.tensor.name in own:
            (index,) = (i for i in expr.indices if i.axis.name == axis)
            return read_at(expr, index, remainder(index, chunk))
        return rebuild(expr, change)

    return spec.replace(
        equations=tuple(
            Equation(s.head, change(s.body)) if isinstance(s, Equation) else s
            for s in spec.equations
        )
    )


@backward_bug(
    "last channels dropped", "the last channels of a gradient are not written", ("GRD-06",)
)
def last_channels(found: Derived) -> Iterator[Change]:
    """Zeros in channels beyond the last whole tile, where there is a whole one."""
    for name, row in found.slopes.items():
        channel = row.head.indices[-1] if row.head.indices else None
        if channel is None or not channel.axis.name.endswith("_dim"):
            continue
        for tile in (32, 64, 16, 8, 128, 4):
            count = channel.axis.size
            written = Compare("<", as_expr(channel), floor_div(count, tile) * tile)
            short = Compare("<", count, as_expr(tile))
            spec = found.with_slopes({name: mul(indicator(written | short), row.body)})
            told = f"does not write the channels of d{name} left over after whole tiles of {tile}"
            yield Change(spec, row.name, told)


@backward_bug("transposed", "the gradient of the scores is transposed")
def transposed(found: Derived) -> Iterator[Change]:
    """dS[j, i] where dS[i, j] is due: what shapes allow where both lengths are equal."""
    for term in found.row_terms:
        index, key = term.row_index, term.softmax.at
        slope = f"d{term.score.tensor.name}"
        if index is None or slope not in found.spec.heads:
            continue
        for name, row in found.slopes.items():
            if row in found.reading(slope):
                spec = found.exchanged({slope: partial(_swapped, one=index, other=key)}, rows=[row])
                yield Change(spec, row.name, f"reads dS transposed for d{name}")


def _swapped(entry: Entry, one: Index, other: Index) -> Expr:
    """An entry read with two of its positions exchanged."""
    first = next((i for i in entry.indices if i.axis == one.axis), None)
    second = next((i for i in entry.indices if i.axis == other.axis and i != first), None)
    if first is None or second is None:
        return entry
    a, b = (Index(f"{i.name}_other", i.axis) for i in (first, second))
    to = {first: a, second: b}
    moved = Entry(
        entry.tensor,
        tuple(
            tuple(to.get(i, i) for i in p) if isinstance(p, tuple) else to.get(p, p)
            for p in entry.places
        ),
    )
    swap = Compare("==", as_expr(a), as_expr(second)) & Compare("==", as_expr(b), as_expr(first))
    return total(mul(indicator(swap), moved), (a, b))


@backward_bug("gradients swapped", "the gradients by two inputs are exchanged")
def swapped(found: Derived) -> Iterator[Change]:
    """DQ and dK in each other's place, or dK and dV: what shapes allow where sizes are equal."""
    names = list(found.slopes)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            spec = _exchanged(found, one, other)
            if spec is not None:
                told = f"gives d{other} for d{one}, and d{one} for d{other}"
                yield Change(spec, found.slopes[one].name, told)


def _exchanged(found: Derived, one: str, other: str) -> Spec | None:
    rows = (found.slopes[one], found.slopes[other])
    if any(len(r.head.places) != len(rows[0].head.places) for r in rows):
        return None
    if not all(isinstance(p, Index) for r in rows for p in r.head.places):
        return None
    kept = [Equation(_named(r.head, f"{r.name}_right"), r.body) for r in rows]
    taken = [
        Equation(rows[0].head, _as_at(kept[1].head, rows[0].head)),
        Equation(rows[1].head, _as_at(kept[0].head, rows[1].head)),
    ]
    others = [s for s in found.spec.equations if s not in rows]
    return found.spec.replace(equations=(*others, *kept, *taken))


def _named(head: Entry, name: str) -> Entry:
    return Entry(type(head.tensor)(name), head.places)


def _as_at(source: Entry, place: Entry) -> Expr:
    """A source read at the positions of another entry, 0 where it has none."""
    value: Expr = source
    own = {}
    where: list[Predicate] = []
    for old, new in zip(source.indices, place.indices, strict=True):
        if old.axis == new.axis:
            own[old] = new
            continue
        free = Index(f"{old.name}_from", old.axis)
        own[old] = free
        where.append(Compare("==", as_expr(free), as_expr(new)))
    value = Entry(source.tensor, tuple(own[i] for i in source.indices))
    over = [i for o, i in own.items() if i not in place.indices]
    kept = mul(*(indicator(w) for w in where), value)
    return total(kept, over) if over else kept


OPERATORS = (one_head, broadcast, one_tile, one_chunk, last_channels)
LATER = (transposed, swapped)
