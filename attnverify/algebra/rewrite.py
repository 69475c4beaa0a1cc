"""One traversal for every rewrite: free indices, substitution without capture, deltas in sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import sympy

from attnverify.algebra.below import children, free, free_in, unknown
from attnverify.algebra.predicates import (
    TRUE,
    All,
    AnyOf,
    Compare,
    Holds,
    Not,
    Predicate,
    conjunction,
    disjunction,
    negation,
)
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Mul,
    Place,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    add,
    as_expr,
    index_symbol,
    indicator,
    mul,
    power,
    symbol_index,
    total,
)

Renaming = Mapping[Index, Index]


def rebuild(
    node: Expr,
    change: Callable[[Expr], Expr],
    predicate: Callable[[Predicate], Predicate] = lambda p: p,
) -> Expr:
    """The node with each child and each predicate changed; bound names are left alone."""
    match node:
        case Scalar() | Entry():
            return node
        case Previous(entry):
            inner = change(entry)
            if not isinstance(inner, Entry):  # an expression has no value of a step before
                raise unknown(inner, "previous(...)")
            return Previous(inner)
        case Add(terms):
            return add(*map(change, terms))
        case Mul(factors):
            return mul(*map(change, factors))
        case Apply(name, arguments):
            return Apply(name, tuple(map(change, arguments)))
        case Power(base, exponent):
            return power(change(base), exponent)
        case Total(body, over):
            return total(change(body), over)
        case Softmax(score, over, where, at):
            return Softmax(change(score), over, predicate(where), at)
        case Maximum(score, _, where) | Threshold(score, _, where, _):
            return replace(node, score=change(score), where=predicate(where))
        case Indicator(where):
            return indicator(predicate(where))
    raise unknown(node, "rebuilding")


def rebuild_in(
    predicate: Predicate,
    change: Callable[[Expr], Expr],
    held: Callable[[Holds], Predicate] = lambda leaf: leaf,
) -> Predicate:
    """The predicate with each side of a comparison and each boolean entry changed."""
    match predicate:
        case Compare(op, left, right):
            return Compare(op, change(left), change(right))
        case Holds():
            return held(predicate)
        case All(parts):
            return conjunction(*(rebuild_in(part, change, held) for part in parts))
        case AnyOf(parts):
            return disjunction(*(rebuild_in(part, change, held) for part in parts))
        case Not(part):
            return negation(rebuild_in(part, change, held))
        case _:
            return predicate


def with_scalars(node: Expr, table: Mapping[sympy.Symbol, sympy.Expr]) -> Expr:
    """Replace symbols in the scalars of an expression: parameters, sizes and positions."""
    if isinstance(node, Scalar):
        return Scalar(node.value.xreplace(table))
    return rebuild(
        node,
        lambda child: with_scalars(child, table),
        lambda where: with_scalars_in(where, table),
    )


def with_scalars_in(predicate: Predicate, table: Mapping[sympy.Symbol, sympy.Expr]) -> Predicate:
    """Replace symbols in the scalars of a predicate."""
    return rebuild_in(predicate, lambda side: with_scalars(side, table))


def walk(node: Expr) -> Iterator[Expr]:
    """Every node, parents first, without the entries inside predicates."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(reversed(children(part)))


def predicates_of(node: Expr) -> Iterator[Predicate]:
    """Every predicate that occurs in an expression."""
    for part in walk(node):
        if isinstance(part, Indicator | Softmax | Maximum | Threshold):
            yield part.where


def entries(node: Expr) -> Iterator[Entry]:
    """Every array entry that an expression reads, also inside predicates."""
    for part in walk(node):
        if isinstance(part, Entry):
            yield part
        elif isinstance(part, Indicator | Softmax | Maximum | Threshold):
            yield from predicate_entries(part.where)


def predicate_entries(predicate: Predicate) -> Iterator[Entry]:
    """The array entries that a predicate reads."""
    match predicate:
        case Compare(_, left, right):
            yield from entries(left)
            yield from entries(right)
        case Holds(entry):
            yield entry
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from predicate_entries(part)
        case Not(part):
            yield from predicate_entries(part)
        case _:
            return


def fresh(index: Index, taken: Iterable[Index]) -> Index:
    """An index of the same axis whose name is not among those taken: the name with primes."""
    names = {other.name for other in taken}
    name = index.name
    while name in names:
        name += "'"
    return Index(name, index.axis)


def rename(node: Expr, mapping: Renaming) -> Expr:
    """Replace free indices at once; a bound index that would capture a new name is renamed."""
    mapping = {old: new for old, new in mapping.items() if old != new}
    if not mapping:
        return node
    match node:
        case Scalar(value):
            return Scalar(
                value.xreplace(
                    {index_symbol(old): index_symbol(new) for old, new in mapping.items()}
                )
            )
        case Entry(tensor, places):
            return Entry(tensor, tuple(_rename_place(place, mapping) for place in places))
        case Total(body, over):
            inner, bound = _under_binder(over, free(body), mapping)
            return Total(rename(body, inner), bound)
        case Softmax(score, summed, where, at):
            inner, (running,) = _under_binder((summed,), {**free(score), **free_in(where)}, mapping)
            return Softmax(
                rename(score, inner), running, rename_in(where, inner), mapping.get(at, at)
            )
        case Maximum(score, summed, where) | Threshold(score, summed, where, _):
            inner, (running,) = _under_binder((summed,), {**free(score), **free_in(where)}, mapping)
            return replace(
                node, score=rename(score, inner), over=running, where=rename_in(where, inner)
            )
        case _:
            return rebuild(
                node, lambda child: rename(child, mapping), lambda where: rename_in(where, mapping)
            )


def _rename_place(place: Place, mapping: Renaming) -> Place:
    if isinstance(place, tuple):
        return tuple(mapping.get(index, index) for index in place)
    return mapping.get(place, place)


def _under_binder(
    over: tuple[Index, ...], inside: Iterable[Index], mapping: Renaming
) -> tuple[dict[Index, Index], tuple[Index, ...]]:
    """The renaming to use under a binder, and the binder's names, new where they would capture."""
    inside = dict.fromkeys(inside)
    inner = {old: new for old, new in mapping.items() if old in inside and old not in over}
    taken = {**dict.fromkeys(inner.values()), **inside}
    bound: list[Index] = []
    for index in over:
        others = [t for t in taken if t != index or t in inner.values()]
        new = fresh(index, [*others, *bound])
        if new != index:
            inner[index] = new
        bound.append(new)
    return inner, tuple(bound)


def rename_in(predicate: Predicate, mapping: Renaming) -> Predicate:
    """Replace free indices in a predicate."""

    def held(leaf: Holds) -> Predicate:
        places = tuple(_rename_place(place, mapping) for place in leaf.entry.places)
        return Holds(Entry(leaf.entry.tensor, places))

    return rebuild_in(predicate, lambda side: rename(side, mapping), held)


def substitute(node: Expr, definitions: Mapping[str, tuple[Entry, Expr]]) -> Expr:
    """Replace each entry of a defined tensor by its definition, read at the entry's indices."""
    if isinstance(node, Entry) and node.tensor.name in definitions:
        head, body = definitions[node.tensor.name]
        return rename(body, dict(zip(head.indices, node.indices, strict=True)))
    if isinstance(node, Total | Softmax | Maximum | Threshold):
        node = _avoid(node, definitions)
    return rebuild(
        node,
        lambda child: substitute(child, definitions),
        lambda where: _substitute_in(where, definitions),
    )


Binder = Total | Softmax | Maximum | Threshold


def _avoid(node: Binder, definitions: Mapping[str, tuple[Entry, Expr]]) -> Expr:
    """Rename the binder's names apart from what a definition leaves free beside its head."""
    open_names: dict[Index, None] = {}
    for entry in entries(node):
        if entry.tensor.name in definitions:
            head, body = definitions[entry.tensor.name]
            open_names.update({index: None for index in free(body) if index not in head.indices})
    over: tuple[Index, ...] = node.over if isinstance(node, Total) else (node.over,)
    inside = _free_below(node)
    mapping: dict[Index, Index] = {}
    for index in over:
        if any(index.name == other.name for other in open_names):
            mapping[index] = fresh(index, [*open_names, *inside, *over, *mapping.values()])
    if isinstance(node, Total):
        return Total(rename(node.body, mapping), tuple(mapping.get(i, i) for i in node.over))
    score, where = rename(node.score, mapping), rename_in(node.where, mapping)
    return replace(node, score=score, over=mapping.get(node.over, node.over), where=where)


def _free_below(node: Binder) -> dict[Index, None]:
    """The indices that are free just below a binder, its own among them."""
    if isinstance(node, Total):
        return free(node.body)
    return {**free(node.score), **free_in(node.where)}


def _substitute_in(
    predicate: Predicate, definitions: Mapping[str, tuple[Entry, Expr]]
) -> Predicate:
    def held(leaf: Holds) -> Predicate:
        if leaf.entry.tensor.name in definitions:
            raise unknown(definitions[leaf.entry.tensor.name][1], "a boolean entry")
        return leaf

    return rebuild_in(predicate, lambda side: substitute(side, definitions), held)


def sum_over(factors: Iterable[object], over: Iterable[Index], where: Predicate = TRUE) -> Expr:
    """Sum a product over indices; each delta [a == b] in `where` is eliminated by a bound index.

    Sound because each sum runs over the full range of its axis: a bound index that must equal
    another index of the same axis takes exactly that one value.
    """
    body = mul(*factors)
    bound = list(dict.fromkeys(over))
    kept: list[Predicate] = []
    queue = list(where.parts) if isinstance(where, All) else [where] if where != TRUE else []
    while queue:
        pair = _delta(queue.pop(0))
        if pair is None:
            raise unknown(where, "delta elimination")
        one, other = pair
        if one == other:
            continue
        if one not in bound:
            one, other = other, one
        if one not in bound:
            kept.append(Compare("==", as_expr(one), as_expr(other)))
            continue
        bound.remove(one)
        body = rename(body, {one: other})
        queue = [rename_in(part, {one: other}) for part in queue]
    inside = free(body)
    unused = [index for index in bound if index not in inside]
    used = tuple(index for index in bound if index in inside)
    sizes = [index.axis.size for index in unused]
    guard = conjunction(*kept)
    summed = total(body, used) if used else body
    return mul(*sizes, indicator(guard), summed) if guard != TRUE or sizes else summed


def _delta(part: Predicate) -> tuple[Index, Index] | None:
    """The two indices of a delta between indices of one axis."""
    match part:
        case Compare("==", Scalar(left), Scalar(right)) if left.is_Symbol and right.is_Symbol:
            one, other = symbol_index(left), symbol_index(right)
            if one is not None and other is not None and one.axis == other.axis:
                return one, other
    return None


def deltas(pairs: Iterable[tuple[Index, Index]]) -> Predicate:
    """The conjunction of [a == b] over pairs of indices."""
    return conjunction(*(Compare("==", as_expr(a), as_expr(b)) for a, b in pairs))


__all__ = [
    "Renaming",
    "children",
    "deltas",
    "entries",
    "free",
    "free_in",
    "fresh",
    "predicate_entries",
    "predicates_of",
    "rebuild",
    "rebuild_in",
    "rename",
    "rename_in",
    "substitute",
    "sum_over",
    "unknown",
    "walk",
    "with_scalars",
    "with_scalars_in",
]
