"""Masks: aligned, offset, widened, dropped, negated, or applied where they do not belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sympy

from attnverify.algebra.predicates import TRUE, Compare, Holds, Predicate, conjunction, disjunction
from attnverify.algebra.rewrite import rebuild_in, with_scalars_in
from attnverify.algebra.terms import (
    Index,
    Scalar,
    as_expr,
    floor_div,
    index_symbol,
    size_symbol,
)
from attnverify.spec import Spec
from attnverify.transforms.mutate.bounds import (
    LOWER,
    UPPER,
    conjuncts,
    corner,
    counted,
    each_part,
    of_data,
    parts,
    sense,
    widened,
)
from attnverify.transforms.mutate.gathered import gathered
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import At, Masking, Stage, masks, stages, with_masks

Placed = Callable[[At], Predicate]
TILES = (8, 16, 32, 64, 128)


def _changed(stage: Stage, change: Masking, sentence: str) -> Change:
    return Change(with_masks(stage, change), stage.name, sentence)


@named(
    "alignment",
    "the mask is aligned at the other corner of queries and keys",
    ("MSK-01", "KVC-01"),
)
def alignment(spec: Spec) -> Iterator[Change]:
    """Positions in the mask counted from the last query, or from the first."""
    for stage in stages(spec):
        shift = corner(stage)
        if shift is None:
            continue

        def moved(where: Predicate, at: At, shift: sympy.Expr = shift) -> Predicate:
            row = index_symbol(at.rows[0])
            if not sense(where, at):
                return where
            by = -shift if _from_the_end(where, at) else shift
            return with_scalars_in(where, {row: row + by})

        ends = any(size_symbol(stage.keys[0].axis.name) in _symbols(m) for m in masks(stage))
        told = "top-left" if ends else "bottom-right"
        yield _changed(stage, each_part(moved), f"computes the mask aligned {told}")


def _symbols(where: Predicate) -> set[sympy.Symbol]:
    found: set[sympy.Symbol] = set()
    for part in conjuncts(where):
        if isinstance(part, Compare):
            for side in (part.left, part.right):
                found |= side.value.free_symbols if isinstance(side, Scalar) else set()
    return found


def _from_the_end(where: Predicate, at: At) -> bool:
    return size_symbol(at.keys[0].axis.name) in _symbols(where)


def _moved_bounds(spec: Spec, kind: str, steps: dict[int, str]) -> Iterator[Change]:
    """The bounds of one sense moved by some keys."""
    for stage in stages(spec):
        for by, sentence in steps.items():

            def moved(where: Predicate, at: At, by: int = by) -> Predicate:
                right = sense(where, at) == kind
                return widened(where, by) if right and isinstance(where, Compare) else where

            yield _changed(stage, each_part(moved), sentence)


@named("offset", "the last key that a query sees is one too far, or one too near")
def offset(spec: Spec) -> Iterator[Change]:
    """The upper bound of the key moved by one or two."""
    yield from _moved_bounds(
        spec,
        UPPER,
        {
            -1: "hides the last key that each query should see",
            1: "lets each query see one key too many ahead",
            2: "lets each query see two keys too many ahead",
        },
    )


@named("window", "the window is one key too wide, or too narrow", ("MSK-06", "MSK-08"))
def window(spec: Spec) -> Iterator[Change]:
    """The lower bound of the key moved by one or two."""
    yield from _moved_bounds(
        spec,
        LOWER,
        {
            1: "has a window one key wider than its size says",
            -1: "has a window one key narrower than its size says",
            -2: "has a window two keys narrower than its size says",
            2: "has a window two keys wider than its size says",
        },
    )


@named("window sign", "a window of the wrong sign counts as no window at all", ("MSK-11",))
def window_sign(spec: Spec) -> Iterator[Change]:
    """The lower bound is lost wherever a window is given as positive."""
    for stage in stages(spec):
        for parameter in spec.parameters:
            given = Compare(">", Scalar(parameter.symbol), as_expr(0))

            def unbounded(
                where: Predicate,
                at: At,
                symbol: sympy.Symbol = parameter.symbol,
                given: Predicate = given,
            ) -> Predicate:
                if sense(where, at) != LOWER or symbol not in _symbols(where):
                    return where
                return disjunction(where, given)

            sentence = f"takes a negated {parameter.name} for no bound: earlier keys are all seen"
            yield _changed(stage, each_part(unbounded), sentence)


@named(
    "bound dropped",
    "one bound of the mask is not applied",
    ("MSK-02", "MSK-04", "MSK-12"),
)
def bound_dropped(spec: Spec) -> Iterator[Change]:
    """One of several conditions on positions left out."""
    yield from _without_part(spec, data=False)


@named(
    "documents dropped",
    "a condition of the mask on data is not applied",
    ("KVC-07", "KVC-10", "KVC-12"),
)
def documents_dropped(spec: Spec) -> Iterator[Change]:
    """One of several conditions on documents, lengths or boolean masks left out."""
    yield from _without_part(spec, data=True)


def _without_part(spec: Spec, *, data: bool) -> Iterator[Change]:
    for stage, lost in parts(stages(spec)):
        if of_data(lost) is not data:
            continue

        def without(where: Predicate, _: At, lost: Predicate = lost) -> Predicate:
            return TRUE if where == lost else where

        yield _changed(stage, each_part(without), f"does not apply the condition {lost}")


@named(
    "mask dropped",
    "no mask is applied",
    ("MSK-02", "MSK-04", "MSK-12", "KVC-02", "KVC-07", "KVC-10"),
)
def dropped(spec: Spec) -> Iterator[Change]:
    """Every key is seen."""
    for stage in stages(spec):
        if masks(stage):
            yield _changed(stage, lambda _, __: TRUE, "applies no mask: every key is seen")


@named("causal added", "a causal mask is applied that nobody asked for", ("MSK-13",))
def causal_added(spec: Spec) -> Iterator[Change]:
    """Each query sees the keys up to its own position, besides what the mask says."""
    for stage in stages(spec):
        for told, change in _causal(stage):
            if not any(_orders(stage, m) for m in masks(stage)):
                yield _changed(
                    stage,
                    _besides(change),
                    f"applies a causal mask{told} that the spec does not have",
                )


@named("causal instead", "the causal hint discards the mask that is given", ("API-07",))
def causal_instead(spec: Spec) -> Iterator[Change]:
    """A causal mask in place of one that reads an input."""
    for stage in stages(spec):
        for told, change in _causal(stage):
            if any(of_data(m) for m in masks(stage)):
                yield _changed(
                    stage,
                    _in_place(change),
                    f"applies a causal mask{told} in place of the mask given",
                )


def _orders(stage: Stage, where: Predicate) -> bool:
    at = At(stage.scores.head, stage.rows, stage.keys)
    return any(sense(part, at) == UPPER for part in conjuncts(where))


def _besides(more: Placed) -> Masking:
    return lambda where, at: conjunction(where, more(at))


def _in_place(other: Placed) -> Masking:
    return lambda where, at: other(at) if of_data(where) else where


def _unless(escape: Predicate) -> Masking:
    return lambda where, _: disjunction(where, escape)


def _causal(stage: Stage) -> Iterator[tuple[str, Placed]]:
    """A causal mask at each alignment, in words and as a function of where it stands."""
    if len(stage.rows) != 1 or len(stage.keys) != 1:
        return
    shift = corner(stage)
    for told, by in (("", sympy.Integer(0)), (" aligned bottom-right", shift)):
        if by is not None:
            yield told, _up_to(by)


def _up_to(by: sympy.Expr) -> Placed:
    """The keys up to a query's position and so much further."""
    return lambda at: Compare("<=", as_expr(at.keys[0]), Scalar(index_symbol(at.rows[0]) + by))


@named("polarity", "a boolean mask is read the other way round", ("API-01",))
def polarity(spec: Spec) -> Iterator[Change]:
    """True hides where True should keep."""
    for stage in stages(spec):

        def negated(where: Predicate, _: At) -> Predicate:
            return rebuild_in(where, lambda side: side, lambda leaf: ~leaf)

        if any(_boolean(m) for m in masks(stage)):
            yield _changed(stage, negated, "hides where the boolean mask says keep, and conversely")
        if masks(stage):
            yield _changed(stage, lambda m, _: m if m == TRUE else ~m, "hides what the mask keeps")


def _boolean(where: Predicate) -> bool:
    found: list[Holds] = []

    def seen(leaf: Holds) -> Predicate:
        found.append(leaf)
        return leaf

    rebuild_in(where, lambda side: side, seen)
    return bool(found)


@named("single query", "a single query is taken for decoding and sees every key", ("EDG-04",))
def single_query(spec: Spec) -> Iterator[Change]:
    """The mask is skipped where there is one query."""
    for stage in stages(spec):
        if len(stage.rows) == 1 and any(_orders(stage, m) for m in masks(stage)):
            one = Compare("==", stage.rows[0].axis.size, as_expr(1))
            yield _changed(
                stage,
                _unless(one),
                "applies no mask to a single query",
            )


@named("key lengths", "a sequence has one key too many, or one too few")
def key_lengths(spec: Spec) -> Iterator[Change]:
    """Lengths that are inputs taken one off."""
    for stage in stages(spec):
        for by, told in ((1, "one key beyond"), (-1, "one key less than")):

            def moved(where: Predicate, at: At, by: int = by) -> Predicate:
                right = isinstance(where, Compare) and counted(where, at)
                return widened(where, by) if right else where  # type: ignore[arg-type]  # it is a Compare

            yield _changed(stage, each_part(moved), f"sees {told} the length given")


@named("query side data", "the queries' own data is read at the place of the keys", ("MSK-23",))
def query_side(spec: Spec) -> Iterator[Change]:
    """An input of the keys in a mask replaced by the queries' one of the same kind."""
    for stage in stages(spec):
        if len(stage.rows) != 1 or len(stage.keys) != 1 or corner(stage) is None:
            continue
        yield from gathered(stage)


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
            yield _changed(stage, each_part(rounded), sentence)


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
        if not any(_orders(stage, m) for m in masks(stage)):
            continue
        for tile in TILES:

            def kept(where: Predicate, at: At, tile: int = tile) -> Predicate:
                key, row = as_expr(at.keys[0]), as_expr(at.rows[0])
                last = floor_div(key, tile) * tile + (tile - 1)
                inside = Compare("<=", last, floor_div(row, tile) * tile)
                return conjunction(where, disjunction(inside, Compare("<", key, as_expr(tile))))

            yield _changed(
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

            yield _changed(stage, kept, sentence)


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


OPERATORS = (
    alignment,
    window,
    offset,
    window_sign,
    dropped,
    bound_dropped,
    documents_dropped,
    causal_added,
    causal_instead,
    polarity,
    single_query,
    key_lengths,
    query_side,
    window_by_tiles,
    tile_skipped,
    keys_lost,
)
