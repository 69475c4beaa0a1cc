"""Tiles of keys: windows by whole tiles, tiles skipped, keys at the end that are not read."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from attnverify.algebra.predicates import Compare, Predicate, conjunction, disjunction
from attnverify.algebra.rewrite import with_scalars_in
from attnverify.algebra.terms import (
    Index,
    Scalar,
    as_expr,
    floor_div,
    index_symbol,
)
from attnverify.spec import Spec
from attnverify.transforms.mutate.bounds import (
    LOWER,
    changed,
    each_part,
    orders,
    sense,
)
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import At, Stage, masks, stages

TILES = (8, 16, 32, 64, 128)


@named("tile of the window", "the window is applied to whole tiles of keys", ("TIL-03",))
def window_by_tiles(spec: Spec) -> Iterator[Change]:
    """The lower bound of the key rounded down to a tile."""
    for stage in stages(spec):
        for tile in TILES:

            def rounded(where: Predicate, at: At, tile: int = tile) -> Predicate:
                bound = _lower(where, at)
                if bound is None:
                    return where
                whole = floor_div(Scalar(bound), tile)
                return Compare(">=", as_expr(at.keys[0]), whole * tile)

            sentence = f"applies the window to whole tiles of {tile} keys"
            yield changed(stage, each_part(rounded), sentence)


def _lower(where: Predicate, at: At) -> sympy.Expr | None:
    """The first key that a lower bound admits."""
    if sense(where, at) != LOWER or not isinstance(where, Compare):
        return None
    left, right = where.left, where.right
    if not isinstance(left, Scalar) or not isinstance(right, Scalar):
        return None
    key = index_symbol(at.keys[0])
    found = sympy.expand(left.value - right.value)
    strict = 1 if where.op in ("<", ">") else 0
    return sympy.expand(strict - (found - found.coeff(key) * key) / found.coeff(key))


@named(
    "tile skipped", "a tile of keys is skipped as soon as one of its rows is masked", ("TIL-05",)
)
def tile_skipped(spec: Spec) -> Iterator[Change]:
    """Tiles that cross the diagonal left out, but for the first."""
    for stage in stages(spec):
        if not any(orders(stage, m) for m in masks(stage)):
            continue
        for tile in TILES:

            def kept(where: Predicate, at: At, tile: int = tile) -> Predicate:
                key, row = as_expr(at.keys[0]), as_expr(at.rows[0])
                last = floor_div(key, tile) * tile + (tile - 1)
                inside = Compare("<=", last, floor_div(row, tile) * tile)
                return conjunction(where, disjunction(inside, Compare("<", key, as_expr(tile))))

            yield changed(
                stage, kept, f"skips tiles of {tile} keys that are masked for their first row only"
            )


@named("keys lost", "keys at the end are not read", ("TIL-07",))
def keys_lost(spec: Spec) -> Iterator[Change]:
    """The last key, what is left over of a tile, or keys beyond a limit left out."""
    for stage in stages(spec):
        if len(stage.keys) != 1:
            continue
        for limit, sentence in _limits(stage):

            def kept(
                where: Predicate, at: At, limit: Predicate = limit, own: Index = stage.keys[0]
            ) -> Predicate:
                key = {index_symbol(own): index_symbol(at.keys[0])}
                return conjunction(where, with_scalars_in(limit, key))

            yield changed(stage, kept, sentence)


def _limits(stage: Stage) -> Iterator[tuple[Predicate, str]]:
    """What of the keys is read, and that in words."""
    key, count = as_expr(stage.keys[0]), stage.keys[0].axis.size
    one = Compare("==", count, as_expr(1))
    yield disjunction(Compare("<", key, count - 1), one), "does not read the last key"
    for tile in TILES:
        whole = floor_div(count, tile) * tile
        short = Compare("<", count, as_expr(tile))
        yield (
            disjunction(Compare("<", key, whole), short),
            f"does not read the keys left over after whole tiles of {tile}",
        )
        first = Compare("<", key, as_expr(tile))
        yield first, f"reads the first {tile} keys alone"
        width = _width(stage)
        if width is not None:
            reach = Compare("<", key, floor_div(width, 2) * tile)
            told = f"merges only half as many parts of {tile} keys as there are value channels"
            yield disjunction(reach, first), told


def _width(stage: Stage) -> Scalar | None:
    found = [a for a in stage.spec.axes if a.name == "value_dim"]
    return found[0].size if found else None


OPERATORS = (window_by_tiles, tile_skipped, keys_lost)
