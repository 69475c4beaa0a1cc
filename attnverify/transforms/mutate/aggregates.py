"""Outputs: what rows without keys give, what padded rows give, entries read elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.algebra.predicates import All, Compare, Predicate, conjunction
from attnverify.algebra.rewrite import (
    free,
    fresh,
    predicate_entries,
    rebuild,
    rename,
    rename_in,
    walk,
    with_scalars_in,
)
from attnverify.algebra.terms import (
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Mul,
    Power,
    Scalar,
    Total,
    add,
    as_expr,
    index_symbol,
    indicator,
    inverse,
    mul,
    remainder,
    total,
)
from attnverify.equations import Equation
from attnverify.spec import Spec
from attnverify.transforms.mutate.bounds import conjuncts, counted
from attnverify.transforms.mutate.gathered import read_at
from attnverify.transforms.mutate.normalisers import softmaxes
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import At, Stage, masks, stages, with_body, with_new

TILES = (4, 8, 16, 32, 64, 128)


def _outputs(stage: Stage) -> Iterator[tuple[Equation, Total, Entry]]:
    """Outputs that are a sum of weights and values, with the sum and the weights in it."""
    spec = stage.spec
    heavy = {row.name for row in stage.weights}
    later = {
        s.name
        for s in spec.equations
        if isinstance(s, Equation)
        and any(isinstance(n, Entry) and n.tensor.name in heavy for n in walk(s.body))
        and not isinstance(s.body, Total)
    }
    for row in spec.equations:
        if not isinstance(row, Equation) or row.name not in spec.outputs:
            continue
        for node in walk(row.body):
            if isinstance(node, Total) and isinstance(node.body, Mul):
                found = [
                    f
                    for f in node.body.factors
                    if isinstance(f, Entry) and f.tensor.name in heavy | later
                ]
                if found:
                    yield row, node, found[0]
                    break


def _row_mask(stage: Stage, row: Equation, node: Total, weights: Entry) -> Predicate | None:
    """The mask of the stage at the indices of a sum of weights and values."""
    source = next((s for s in softmaxes(stage) if s[0].name == weights.tensor.name), None)
    found = masks(stage)
    if not found or source is None:
        return found[0] if len(found) == 1 else None
    head, body, _ = source
    to = dict(zip(head.head.indices, weights.indices, strict=True))
    return rename_in(rename_in(body.where, {body.over: body.at}), to)


def none_seen(where: Predicate, over: tuple[Index, ...]) -> Predicate:
    """The predicate that a row sees no key."""
    return Compare("==", total(indicator(where), over), as_expr(0))


@named(
    "rows without keys",
    "a row without keys gives something else",
    ("EDG-01", "EDG-02", "MSK-19"),
)
def rows_without_keys(spec: Spec) -> Iterator[Change]:
    """NaN or the mean of the values, where zeros are due."""
    for stage in stages(spec):
        for row, node, weights in _outputs(stage):
            where = _row_mask(stage, row, node, weights)
            if where is None:
                continue
            none = none_seen(where, node.over)
            values = mul(*(f for f in node.body.factors if f != weights))  # type: ignore[attr-defined]  # a product by _outputs
            count = mul(*(i.axis.size for i in node.over))
            mean = mul(indicator(none), total(values, node.over), inverse(count))
            lost = mul(indicator(none), Apply("undefined", ()))
            kept = mul(indicator(~none), node)
            for told, value in (
                ("gives NaN in a row without keys", add(kept, lost)),
                ("gives the mean of all values in a row without keys", add(kept, mean)),
                ("gives zeros in a row without keys", kept),
            ):
                bare = with_body(spec, row.name, value)
                yield Change(bare, row.name, told)


@named(
    "masks added",
    "two masks are added, so that a row without keys sees what one of them hides",
    ("NUM-05",),
)
def masks_added(spec: Spec) -> Iterator[Change]:
    """A row without keys gives the mean over the keys that exactly one condition hides."""
    for stage in stages(spec):
        for row, node, weights in _outputs(stage):
            where = _row_mask(stage, row, node, weights)
            if not isinstance(where, All) or len(where.parts) != 2:
                continue
            one, two = (indicator(~part) for part in where.parts)
            once = add(one, two, mul(-2, one, two))
            values = mul(*(f for f in node.body.factors if f != weights))  # type: ignore[attr-defined]  # a product by _outputs
            mean = mul(total(mul(once, values), node.over), inverse(total(once, node.over)))
            value = add(node, mul(indicator(none_seen(where, node.over)), mean))
            told = "adds two masks: a row without keys sees the keys that one of them alone hides"
            yield Change(with_body(spec, row.name, value), row.name, told)


@named(
    "tile without keys",
    "a tile of keys that a row sees nothing of gives NaN",
    ("TIL-08", "TIL-15", "NUM-11"),
)
def tile_without_keys(spec: Spec) -> Iterator[Change]:
    """NaN where a row sees nothing of some whole tile, or of two neighbouring ones."""
    for stage in stages(spec):
        for row, node, weights in _outputs(stage):
            where = _row_mask(stage, row, node, weights)
            if where is None or len(node.over) != 1:
                continue
            for tile in TILES:
                for wide, told in ((1, "a tile"), (2, "two neighbouring tiles")):
                    empty = _empty_tile(where, node.over[0], tile, wide)
                    value = add(mul(~empty, node), mul(indicator(empty), Apply("undefined", ())))
                    sentence = f"gives NaN in a row that sees nothing of {told} of {tile} keys"
                    yield Change(with_body(spec, row.name, value), row.name, sentence)


def _empty_tile(where: Predicate, over: Index, tile: int, wide: int) -> Predicate:
    """Some tile, or some pair of tiles, holds no key that the row sees."""
    start = Index(f"{over.name}_start", over.axis)
    whole = tile * wide
    begins = Compare("==", remainder(start, whole), as_expr(0))
    inside = conjunction(
        Compare("<=", as_expr(start), as_expr(over)), Compare("<", as_expr(over), start + whole)
    )
    seen = total(indicator(conjunction(where, inside)), over)
    starts = [begins, Compare("==", seen, as_expr(0))]
    if wide > 1:
        starts.append(Compare("<", start + tile, over.axis.size))
    return Compare(">", total(indicator(conjunction(*starts)), start), as_expr(0))


@named("padded rows", "rows of padded queries are zeroed", ("API-11",))
def padded_rows(spec: Spec) -> Iterator[Change]:
    """A row beyond its sequence's length gives zeros."""
    for stage in stages(spec):
        if len(stage.rows) != 1 or len(stage.keys) != 1:
            continue
        at = At(stage.scores.head, stage.rows, stage.keys)
        lengths = [p for m in masks(stage) for p in conjuncts(m) if counted(p, at)]
        for row, _, _ in _outputs(stage):
            for part in dict.fromkeys(lengths):
                key, query = index_symbol(stage.keys[0]), index_symbol(stage.rows[0])
                real = indicator(with_scalars_in(part, {key: query}))
                told = "zeroes the rows of padded queries"
                yield Change(with_body(spec, row.name, mul(real, row.body)), row.name, told)


@named("dropout scale", "weights are not scaled for what dropout keeps")
def keep_not_scaled(spec: Spec) -> Iterator[Change]:
    """The factor of dropout missing."""
    for row in spec.equations:
        body = row.body if isinstance(row, Equation) else None
        if not isinstance(row, Equation) or not isinstance(body, Mul):
            continue
        if not any(isinstance(f, Indicator) for f in body.factors):
            continue
        for factor in body.factors:
            if isinstance(factor, Power | Scalar) and not free(factor):
                told = "does not scale the weights that dropout keeps"
                bare = mul(*(f for f in body.factors if f is not factor))
                yield Change(with_body(spec, row.name, bare), row.name, told)


@named("one drop mask", "all heads and batch entries share one dropout mask", ("DRP-06",))
def one_drop_mask(spec: Spec) -> Iterator[Change]:
    """What dropout keeps is read at the first batch entry and head alone."""
    drops = {e.tensor.name for e in spec.inputs if e.tensor.kind == "bool"}
    for row in spec.equations:
        body = row.body if isinstance(row, Equation) else None
        if not drops or not isinstance(row, Equation) or not isinstance(body, Mul):
            continue
        for factor in body.factors:
            if isinstance(factor, Indicator) and _reads(factor, drops):
                shared = [i for i in row.head.indices if i.axis.name in ("batch", "heads")]
                value: Expr = factor
                for index in shared:
                    value = _at_first(value, index)
                found = mul(value, *(f for f in body.factors if f is not factor))
                told = "uses the dropout mask of the first head for all of them"
                yield Change(with_body(spec, row.name, found), row.name, told)


def _reads(factor: Indicator, names: set[str]) -> bool:
    return any(e.tensor.name in names for e in predicate_entries(factor.where))


def _at_first(value: Expr, index: Index) -> Expr:
    other = fresh(index, free(value))
    first = indicator(Compare("==", as_expr(other), as_expr(0)))
    return total(mul(first, rename(value, {index: other})), other)


@named("keys wrap", "positions beyond a limit read those before it", ("LAY-04",))
def keys_wrap(spec: Spec) -> Iterator[Change]:
    """Keys and values at position j read at j modulo a limit."""
    for stage in stages(spec):
        if len(stage.keys) != 1:
            continue
        for limit in TILES:
            found = wrapped(spec, stage.keys[0].axis.name, limit)
            told = f"reads keys and values beyond {limit} at their position modulo {limit}"
            yield Change(found, stage.name, told)


def wrapped(spec: Spec, axis: str, limit: int) -> Spec:
    """The spec with every real input along an axis read at its position modulo a limit."""
    given = {
        e.tensor.name
        for e in spec.inputs
        if e.tensor.kind == "real" and any(i.axis.name == axis for i in e.indices)
    }

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Entry) and expr.tensor.name in given:
            (index,) = (i for i in expr.indices if i.axis.name == axis)
            return read_at(expr, index, remainder(index, limit))
        return rebuild(expr, change)

    return spec.replace(
        equations=tuple(
            Equation(s.head, change(s.body)) if isinstance(s, Equation) else s
            for s in spec.equations
        )
    )


@named("sign of values lost", "values below zero are read as their opposite")
def sign_of_values_lost(spec: Spec) -> Iterator[Change]:
    """|V| in place of the values: what inputs above zero alone never show."""
    for stage in stages(spec):
        for row, node, weights in _outputs(stage):
            body = node.body
            if isinstance(body, Mul):
                factors = [f if f == weights else Apply("absolute", (f,)) for f in body.factors]
                new = total(mul(*factors), node.over)
                spec_of = with_new(stage.spec, row.name, node, new)
                yield Change(spec_of, row.name, "takes values without their sign")


OPERATORS = (
    rows_without_keys,
    masks_added,
    padded_rows,
    keep_not_scaled,
    one_drop_mask,
    keys_wrap,
    tile_without_keys,
    sign_of_values_lost,
)
