"""Masks: aligned, offset, widened, dropped, negated, or applied where they do not belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sympy

from attnverify.algebra.predicates import TRUE, Compare, Holds, Predicate, conjunction, disjunction
from attnverify.algebra.rewrite import predicate_entries, rebuild_in, with_scalars_in
from attnverify.algebra.terms import (
    Scalar,
    as_expr,
    index_symbol,
    size_symbol,
)
from attnverify.spec import Spec
from attnverify.transforms.mutate.bounds import (
    changed,
    corner,
    counted,
    each_part,
    of_data,
    orders,
    parts,
    sense,
    symbols,
    widened,
)
from attnverify.transforms.mutate.gathered import gathered
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import At, Masking, Stage, masks, stages

Placed = Callable[[At], Predicate]


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

        ends = any(size_symbol(stage.keys[0].axis.name) in symbols(m) for m in masks(stage))
        told = "top-left" if ends else "bottom-right"
        yield changed(stage, each_part(moved), f"computes the mask aligned {told}")


def _from_the_end(where: Predicate, at: At) -> bool:
    return size_symbol(at.keys[0].axis.name) in symbols(where)


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

        yield changed(stage, each_part(without), f"does not apply the condition {lost}")


@named(
    "mask dropped",
    "no mask is applied",
    ("MSK-02", "MSK-04", "MSK-12", "KVC-02", "KVC-07", "KVC-10"),
)
def dropped(spec: Spec) -> Iterator[Change]:
    """Every key is seen."""
    for stage in stages(spec):
        if masks(stage):
            yield changed(stage, lambda _, __: TRUE, "applies no mask: every key is seen")


@named("causal added", "a causal mask is applied that nobody asked for", ("MSK-13",))
def causal_added(spec: Spec) -> Iterator[Change]:
    """Each query sees the keys up to its own position, besides what the mask says."""
    for stage in stages(spec):
        for told, change in _causal(stage):
            if not any(orders(stage, m) for m in masks(stage)):
                yield changed(
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
                yield changed(
                    stage,
                    _in_place(change),
                    f"applies a causal mask{told} in place of the mask given",
                )


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
            yield changed(stage, negated, "hides where the boolean mask says keep, and conversely")
        if masks(stage):
            yield changed(stage, lambda m, _: m if m == TRUE else ~m, "hides what the mask keeps")


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
        if len(stage.rows) == 1 and any(orders(stage, m) for m in masks(stage)):
            one = Compare("==", stage.rows[0].axis.size, as_expr(1))
            yield changed(
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

            yield changed(stage, each_part(moved), f"sees {told} the length given")


@named("page beyond", "a page behind the last full one is seen", ("KVC-05",))
def page_beyond(spec: Spec) -> Iterator[Change]:
    """Where a length ends with a page, the keys of the next page seen too."""
    for stage in stages(spec):
        if len(stage.keys) != 2:
            continue

        def moved(where: Predicate, at: At) -> Predicate:
            lengths = {e for e in predicate_entries(where) if e.tensor.kind == "int"}
            page, slot = at.keys
            begun = Scalar(index_symbol(page) * size_symbol(slot.axis.name))
            full = [Compare("==", length, begun) for length in lengths]
            return disjunction(where, *full) if len(full) == 1 else where

        yield changed(stage, moved, "sees a page too many where the last page is full")


@named("query side data", "the queries' own data is read at the place of the keys", ("MSK-23",))
def query_side(spec: Spec) -> Iterator[Change]:
    """An input of the keys in a mask replaced by the queries' one of the same kind."""
    for stage in stages(spec):
        if len(stage.rows) != 1 or len(stage.keys) != 1 or corner(stage) is None:
            continue
        yield from gathered(stage)


OPERATORS = (
    alignment,
    dropped,
    bound_dropped,
    documents_dropped,
    causal_added,
    causal_instead,
    polarity,
    single_query,
    key_lengths,
    page_beyond,
    query_side,
)
