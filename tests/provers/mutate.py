"""Every single-step mutant of a statement: signs, indices, factors, masks, sums, bound names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from attnverify.algebra.predicates import (
    FALSE,
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
from attnverify.algebra.rewrite import (
    children,
    entries,
    free,
    predicate_entries,
    predicates_of,
    walk,
)
from attnverify.algebra.terms import (
    ONE,
    ZERO,
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
    Total,
    add,
    indicator,
    mul,
    power,
    total,
)
from attnverify.equations import Equation, Recurrence
from attnverify.equations import Statement as Row
from attnverify.errors import AttnverifyError
from attnverify.statement import Statement


def mutants(expr: Expr, pool: tuple[Index, ...]) -> Iterator[Expr]:
    """Expressions one step away; `pool` holds the indices that may stand in for others."""
    yield from _local(expr, pool)
    parts = children(expr)
    for place, part in enumerate(parts):
        for changed in mutants(part, pool):
            with suppress(AttnverifyError):  # a division by a plain 0 is refused when it is written
                yield _with(expr, place, changed)


def _with(expr: Expr, place: int, changed: Expr) -> Expr:
    """The node with one child replaced."""
    parts = [*children(expr)]
    parts[place] = changed
    match expr:
        case Add():
            return add(*parts)
        case Mul():
            return mul(*parts)
        case Apply(name, _):
            return Apply(name, tuple(parts))
        case Power(_, exponent):
            return power(parts[0], exponent)
        case Total(_, over):
            return total(parts[0], over)
        case Softmax(_, over, where, at):
            return Softmax(parts[0], over, where, at)
        case Maximum(_, over, where):
            return Maximum(parts[0], over, where)
        case Previous():
            return Previous(parts[0]) if isinstance(parts[0], Entry) else parts[0]
    return expr


def _local(expr: Expr, pool: tuple[Index, ...]) -> Iterator[Expr]:
    match expr:
        case Entry(tensor, places):
            yield from (Entry(tensor, changed) for changed in _places(places, pool))
        case Scalar(value):
            yield from (Scalar(value + shift) for shift in (1, -1) if value.is_number)
            yield from (Scalar(2 * value), Scalar(-value))
        case Add() | Mul() | Power() | Apply():
            yield from _arithmetic(expr)
        case Previous(entry):
            yield entry
        case Indicator(where):
            yield from (indicator(changed) for changed in _predicates(where, pool))
        case Total(body, over):
            yield from _sums(body, over, pool)
        case Softmax(score, over, where, at):
            yield from (Softmax(score, over, changed, at) for changed in _predicates(where, pool))
            yield Apply("exp", (score,))
            others = [other for other in pool if other.axis == over.axis]
            yield from (Softmax(score, other, where, at) for other in others)
            yield from (Softmax(score, over, where, other) for other in others)


def _arithmetic(expr: Add | Mul | Power | Apply) -> Iterator[Expr]:
    match expr:
        case Add(terms):
            for spot in range(len(terms)):
                yield add(*terms[:spot], *terms[spot + 1 :])
                yield add(*terms[:spot], mul(-1, terms[spot]), *terms[spot + 1 :])
        case Mul(factors):
            for spot in range(len(factors)):
                yield mul(*factors[:spot], *factors[spot + 1 :])
                yield mul(*factors, factors[spot])
        case Power(base, exponent):
            yield from (base, power(base, exponent + 1))
            if base != ZERO:
                yield power(base, -exponent)
        case Apply(name, arguments):
            yield from arguments
            yield Apply(name, tuple(reversed(arguments)))
            yield Apply("tanh" if name == "exp" else "exp", arguments[:1])


def _places(places: tuple[Place, ...], pool: tuple[Index, ...]) -> Iterator[tuple[Place, ...]]:
    """The places with one index replaced by another of its axis."""
    for spot, place in enumerate(places):
        parts = place if isinstance(place, tuple) else (place,)
        for inner, part in enumerate(parts):
            for other in pool:
                if other.axis == part.axis and other != part:
                    changed = (*parts[:inner], other, *parts[inner + 1 :])
                    whole: Place = changed if isinstance(place, tuple) else other
                    yield (*places[:spot], whole, *places[spot + 1 :])


def _sums(body: Expr, over: tuple[Index, ...], pool: tuple[Index, ...]) -> Iterator[Expr]:
    """Sums without an index, over another, or under a name that the body uses otherwise."""
    for spot in range(len(over)):
        yield total(body, (*over[:spot], *over[spot + 1 :]))
        for other in pool:
            if other not in over:
                yield total(body, (*over[:spot], other, *over[spot + 1 :]))
                yield total(body, (*over, other))
    if len(over) == 1 and isinstance(body, Total):
        yield total(total(body.body, over), body.over)
    if isinstance(body, Mul):
        yield mul(*(total(factor, over) for factor in body.factors))
    yield body


def _predicates(where: Predicate, pool: tuple[Index, ...]) -> Iterator[Predicate]:
    yield negation(where)
    yield from (p for p in (TRUE, FALSE) if p != where)
    match where:
        case Compare(op, left, right):
            yield from (
                Compare(other, left, right) for other in ("<", "<=", ">", ">=", "==") if other != op
            )
            yield Compare(op, right, left)
            yield Compare(op, add(left, 1), right)
        case Holds(entry):
            yield from (Holds(Entry(entry.tensor, p)) for p in _places(entry.places, pool))
        case All(parts) | AnyOf(parts):
            join, other = (
                (conjunction, disjunction) if isinstance(where, All) else (disjunction, conjunction)
            )
            yield other(*parts)
            for spot in range(len(parts)):
                yield join(*parts[:spot], *parts[spot + 1 :])
        case Not(part):
            yield part
        case _:
            return


def statement_mutants(statement: Statement) -> Iterator[Statement]:
    """Statements one step away from a statement; those that are not well formed are left out."""
    pool = index_pool(statement)
    for side in ("left", "right"):
        if side == "right" and statement.kind in ("sign", "zero"):
            continue
        for changed in mutants(getattr(statement, side), pool):
            yield from _made(statement, **{side: changed})
    for spot, row in enumerate(statement.spec.equations):
        for changed_row in _rows(row, pool):
            rows = list(statement.spec.equations)
            rows[spot] = changed_row
            yield from _made(statement, spec_equations=tuple(rows))
    for spot in range(len(statement.hypotheses)):
        kept = statement.hypotheses[:spot] + statement.hypotheses[spot + 1 :]
        yield from _made(statement, hypotheses=kept)
    for spot, relabel in enumerate(statement.relabels):
        others = [replace(relabel, bijection=not relabel.bijection)]
        others += [
            replace(relabel, tensors=relabel.tensors[:k] + relabel.tensors[k + 1 :])
            for k in range(len(relabel.tensors))
        ]
        others += [
            replace(relabel, indices=()),
            replace(relabel, indices=tuple(i.name for i in statement.indices)),
        ]
        for other in others:
            relabels = (*statement.relabels[:spot], other, *statement.relabels[spot + 1 :])
            yield from _made(statement, relabels=relabels)


def _rows(row: Row, pool: tuple[Index, ...]) -> Iterator[Row]:
    """Rows one step away: another body, or of a recurrence another way, start or step."""
    if isinstance(row, Equation):
        yield from (Equation(row.head, changed) for changed in mutants(row.body, pool))
        return
    pool = tuple(dict.fromkeys((*pool, row.along, *(i for s in row.steps for i in s.head.indices))))
    yield Recurrence(row.along, row.steps, row.initial, not row.reverse)
    yield Recurrence(row.along, row.steps[::-1], row.initial, row.reverse)
    for spot, step in enumerate(row.steps):
        for changed in mutants(step.body, pool):
            steps = (*row.steps[:spot], Equation(step.head, changed), *row.steps[spot + 1 :])
            yield Recurrence(row.along, steps, row.initial, row.reverse)
    for spot, (name, value) in enumerate(row.initial):
        for changed in (ONE, add(value, 1), *mutants(value, pool)):
            initial = (*row.initial[:spot], (name, changed), *row.initial[spot + 1 :])
            yield Recurrence(row.along, row.steps, initial, row.reverse)


def _made(statement: Statement, **changes: object) -> Iterator[Statement]:
    try:
        rows = changes.pop("spec_equations", None)
        if rows is not None:
            changes["spec"] = statement.spec.replace(equations=rows)
        yield replace(statement, **changes)  # type: ignore[arg-type]  # fields of Statement
    except (AttnverifyError, ZeroDivisionError):
        return


def index_pool(statement: Statement) -> tuple[Index, ...]:
    """Every index that a statement names, its bound ones included."""
    found: dict[Index, None] = dict.fromkeys(statement.indices)
    for side in (statement.left, statement.right):
        for node in walk(side):
            found.update(dict.fromkeys(free(node)))
            if isinstance(node, Total):
                found.update(dict.fromkeys(node.over))
        for entry in [
            *entries(side),
            *(e for p in predicates_of(side) for e in predicate_entries(p)),
        ]:
            found.update(dict.fromkeys(entry.indices))
    return tuple(found)
