"""Positions: rotations in other pairs, with other angles or offsets; slopes and relative biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sympy

from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import entries, rebuild, rebuild_in, walk, with_scalars
from attnverify.algebra.terms import (
    Apply,
    Expr,
    add,
    apply,
    as_expr,
    index_symbol,
    indicator,
    mul,
    power,
    size_symbol,
)
from attnverify.equations import Equation
from attnverify.spec import Spec
from attnverify.transforms.mutate.bounds import corner
from attnverify.transforms.mutate.heads import products, with_places
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import Stage, added, stages, with_body, with_new, with_node

ANGLES = ("cos", "sin")
# Numbers of heads below this have the slopes of their largest power of two written out.
POWERS = 12


def rotations(spec: Spec) -> tuple[Equation, ...]:
    """The equations that rotate queries or keys by an angle of their position."""
    return tuple(
        row
        for row in spec.equations
        if isinstance(row, Equation)
        and {"cos", "sin"} <= {n.primitive for n in walk(row.body) if isinstance(n, Apply)}
    )


def with_angles(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with the argument of each cosine and sine changed."""
    if isinstance(expr, Apply) and expr.primitive in ANGLES:
        return Apply(expr.primitive, tuple(change(a) for a in expr.arguments))
    return rebuild(expr, lambda child: with_angles(child, change))


def _turned(spec: Spec, rows: tuple[Equation, ...], change: Callable[[Expr], Expr]) -> Spec:
    for row in rows:
        spec = with_body(spec, row.name, with_angles(spec.equation(row.name).body, change))
    return spec


def _by_scalars(table: dict[sympy.Symbol, sympy.Expr]) -> Callable[[Expr], Expr]:
    return lambda angle: with_scalars(angle, table)


def _by_node(node: Expr, new: Expr) -> Callable[[Expr], Expr]:
    return lambda angle: with_node(angle, node, new)


@named("pairing", "channels are paired the other way for the rotation", ("POS-02",))
def pairing(spec: Spec) -> Iterator[Change]:
    """Neighbouring channels in place of halves, or halves in place of neighbours."""
    found = products(spec, "pair", "side")
    if found is not None and rotations(spec):
        halves = found == ("side", "pair")
        told = "neighbouring channels" if halves else "channel p with channel p + d/2"
        yield Change(with_places(spec, *found), rotations(spec)[0].name, f"rotates in pairs {told}")


@named("angles of the other pairing", "angles are laid out for other pairs", ("POS-01",))
def angles_of_the_other_pairing(spec: Spec) -> Iterator[Change]:
    """Both channels of a pair are rotated by different angles."""
    found = products(spec, "pair", "side")
    rows = rotations(spec)
    if found is None or not rows:
        return
    table = _other_layout(rows[0], found)
    if table:
        told = "lays the angles out for the other pairing of channels than it rotates"
        found_spec = _turned(spec, rows, lambda angle: with_scalars(angle, table))
        yield Change(found_spec, rows[0].name, told)


def _other_layout(row: Equation, order: tuple[str, ...]) -> dict[sympy.Symbol, sympy.Expr]:
    """The pair whose angle stands at a channel in the other layout."""
    by_axis = {i.axis.name: i for i in row.head.indices}
    if not {"pair", "side"} <= by_axis.keys():
        return {}
    pair, side = (index_symbol(by_axis[name]) for name in ("pair", "side"))
    pairs = size_symbol("pair")
    if order == ("side", "pair"):
        return {pair: sympy.floor((side * pairs + pair) / 2)}
    flat = 2 * pair + side
    return {pair: flat - pairs * sympy.floor(flat / pairs)}


@named("rotation offset", "positions are not offset by the cache, or are", ("POS-08",))
def rotation_offset(spec: Spec) -> Iterator[Change]:
    """Query positions counted from the first query, or from the end of the keys."""
    rows = rotations(spec)
    for stage in stages(spec)[:1]:
        shift = corner(stage)
        if shift is None:
            continue
        queries = stage.rows[0].axis
        ours = tuple(r for r in rows if queries in {i.axis for i in r.head.indices})
        row = next((i for r in ours for i in r.head.indices if i.axis == queries), None)
        if row is None:
            continue
        for told, by in (
            ("rotates queries by positions counted from 0, whatever came before", -shift),
            ("rotates queries by positions counted from the end of the keys", shift),
            ("rotates queries by positions one too far", sympy.Integer(1)),
            ("rotates queries by positions one short", sympy.Integer(-1)),
        ):
            table = {index_symbol(row): index_symbol(row) + by}
            yield Change(_turned(spec, ours, _by_scalars(table)), ours[0].name, told)


@named("offset sign", "an offset of positions has the wrong sign, or is not used", ("POS-27",))
def offset_sign(spec: Spec) -> Iterator[Change]:
    """An input of offsets subtracted, or left out."""
    rows = rotations(spec)
    read = {
        e.tensor.name: e
        for row in rows
        for node in walk(row.body)
        if isinstance(node, Apply) and node.primitive in ANGLES
        for e in entries(node)
        if e.tensor.kind == "int"
    }
    for entry in read.values():
        for told, factor in (("subtracts", -1), ("does not use", 0)):
            sentence = f"{told} the positions' {entry.tensor.name}"
            changed = _turned(spec, rows, _by_node(entry, mul(factor, entry)))
            yield Change(changed, rows[0].name, sentence)


@named("rotation sign", "queries or keys are rotated the other way")
def rotation_sign(spec: Spec) -> Iterator[Change]:
    """The angle of one side negated."""
    for row in rotations(spec):
        told = f"rotates {row.name} the other way"
        yield Change(_turned(spec, (row,), lambda a: mul(-1, a)), row.name, told)


@named("rotation dropped", "queries or keys are not rotated")
def rotation_dropped(spec: Spec) -> Iterator[Change]:
    """The angle of one side, or of both, is 0."""
    rows = rotations(spec)
    for some in (*((row,) for row in rows), rows):
        if some:
            told = f"does not rotate {' or '.join(row.name for row in some)}"
            yield Change(_turned(spec, some, lambda _: as_expr(0)), some[0].name, told)


@named("bias offset", "a relative bias is not shifted with the keys, or is", ("POS-16",))
def bias_offset(spec: Spec) -> Iterator[Change]:
    """Relative positions of the bias counted from the other end."""
    for stage in stages(spec):
        shift = corner(stage)
        if shift is None:
            continue
        row = index_symbol(stage.rows[0])
        for bias in added(stage):
            if not _relative(stage, bias):
                continue
            for told, by in (("without the keys before", -shift), ("from the end", shift)):
                new = with_scalars(bias, {row: row + by})
                sentence = f"counts the positions of the bias {told} the queries"
                changed = with_new(spec, stage.name, bias, new)
                yield Change(changed, stage.name, sentence)


def _relative(stage: Stage, bias: Expr) -> bool:
    """Whether a bias depends on the position of the query as a number."""
    row = index_symbol(stage.rows[0])
    return with_scalars(bias, {row: row + 1}) != bias


@named("slope exponent", "the exponent of ALiBi's slopes begins at 0", ("POS-13",))
def slope_exponent(spec: Spec) -> Iterator[Change]:
    """Slopes 2^(-8 h/n) where 2^(-8 (h+1)/n) are due."""
    for stage in stages(spec):
        for node in dict.fromkeys(walk(stage.scores.body)):
            if isinstance(node, Apply) and node.primitive == "alibi_slope":
                head, count = node.arguments
                whole = _power_of_two(count)
                below = indicator(Compare("<", head, whole))
                steps = mul(add(4, mul(4, below)), power(whole, -1), apply("log", as_expr(2)))
                new = mul(node, apply("exp", steps))
                changed = with_new(spec, stage.name, node, new)
                told = "counts heads from 0 in the exponent of the slopes"
                yield Change(changed, stage.name, told)


def _power_of_two(count: Expr) -> Expr:
    """The largest power of two that is at most a number."""
    steps = (
        mul(2**n, indicator(Compare(">=", count, as_expr(2 ** (n + 1))))) for n in range(POWERS)
    )
    return add(1, *steps)


@named(
    "buckets of the other side", "buckets are halved for the wrong kind of attention", ("POS-17",)
)
def buckets(spec: Spec) -> Iterator[Change]:
    """One-sided buckets where two-sided ones are due, or the other way round; signs swapped."""
    for stage in stages(spec):
        for node in dict.fromkeys(_applied(stage.scores.body, "t5_bucket")):
            distance, *rest, sided = node.arguments
            for told, new in (
                (
                    "counts buckets for the other of one and two sides",
                    Apply("t5_bucket", (distance, *rest, add(1, mul(-1, sided)))),
                ),
                (
                    "takes query minus key for the distance of a bucket",
                    Apply("t5_bucket", (mul(-1, distance), *rest, sided)),
                ),
            ):
                changed = with_body(spec, stage.name, _replaced(stage.scores.body, node, new))
                yield Change(changed, stage.name, told)


def _applied(expr: Expr, primitive: str) -> Iterator[Apply]:
    """Every call of a function, also inside predicates."""
    found: list[Apply] = []

    def look(node: Expr) -> Expr:
        if isinstance(node, Apply) and node.primitive == primitive:
            found.append(node)
        return rebuild(node, look, lambda where: _sides(where, look))

    look(expr)
    yield from found


def _sides(where: Predicate, look: Callable[[Expr], Expr]) -> Predicate:
    return rebuild_in(where, look)


def _replaced(expr: Expr, node: Expr, new: Expr) -> Expr:
    """The expression with a node replaced, also inside predicates."""
    if expr == node:
        return new

    def change(child: Expr) -> Expr:
        return _replaced(child, node, new)

    return rebuild(expr, change, lambda where: _sides(where, change))


OPERATORS = (
    pairing,
    angles_of_the_other_pairing,
    rotation_offset,
    offset_sign,
    rotation_sign,
    rotation_dropped,
    bias_offset,
    slope_exponent,
    buckets,
)
