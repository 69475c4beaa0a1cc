"""The row term: dropped, bent, of other rows, or a sum over something else."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from attnverify.algebra.rewrite import walk
from attnverify.algebra.terms import (
    ZERO,
    Add,
    Entry,
    Expr,
    Index,
    Mul,
    Tensor,
    add,
    apply,
    as_expr,
    indicator,
    inverse,
    mul,
    negative,
    remainder,
    total,
)
from attnverify.equations import Equation
from attnverify.transforms.mutate.backward.derived import Derived, Exchange, RowTerm, backward_bug
from attnverify.transforms.mutate.gathered import read_at
from attnverify.transforms.mutate.operator import Change
from attnverify.transforms.naming import unused

TILES = (16, 32, 64, 128, 8, 4)
SHARES = (
    (Fraction(1, 2), "halves the row term of the softmax's gradient"),
    (Fraction(2), "takes the row term of the softmax's gradient twice"),
    (Fraction(-1), "adds the row term of the softmax's gradient, which is to be subtracted"),
)


def _with_row(found: Derived, term: RowTerm, body: Expr, sentence: str) -> Change:
    return Change(found.with_bodies({term.row.name: body}), term.row.name, sentence)


@backward_bug("row term dropped", "the softmax's gradient has no row term")
def dropped(found: Derived) -> Iterator[Change]:
    """D = 0: dS = A dA."""
    for term in found.row_terms:
        told = "drops the row term of the softmax's gradient: dS = A dA"
        yield Change(found.exchanged({term.row.name: lambda _: ZERO}), term.row.name, told)


@backward_bug("row term of another size", "the row term is halved, doubled or of the wrong sign")
def sized(found: Derived) -> Iterator[Change]:
    """D times a half, two or minus one."""
    for term in found.row_terms:
        for share, told in SHARES:
            yield _with_row(found, term, mul(share, term.row.body), told)


def _to(new: Expr) -> Exchange:
    return lambda _: new


def _readers(found: Derived, term: RowTerm) -> list[Equation]:
    """What reads the row term at each place of the weights."""
    return [
        row
        for row in found.reading(term.row.name)
        if {*term.weights.head.indices} <= {*row.head.indices}
    ]


@backward_bug("Jacobian's diagonal", "the softmax's gradient is the diagonal of its Jacobian")
def diagonal(found: Derived) -> Iterator[Change]:
    """D without its sum, so that dS = A (1 - A) dA."""
    for term in found.row_terms:
        own = mul(term.seed, term.weights.head)
        rows = _readers(found, term)
        told = "takes the diagonal of the softmax's Jacobian alone: dS = A (1 - A) dA"
        if rows:
            spec = found.exchanged({term.row.name: _to(own)}, rows=rows)
            yield Change(spec, term.row.name, told)


@backward_bug("row term of other sums", "the row term is a sum over something else")
def summed(found: Derived) -> Iterator[Change]:
    """D without weights, as a mean, or along the columns."""
    for term in found.row_terms:
        count = mul(*(i.axis.size for i in term.over))
        told = "sums the cotangent of the weights alone in the row term, without the weights"
        yield _with_row(found, term, total(term.seed, term.over), told)
        told = "takes the mean over the keys for the row term, not the sum"
        yield _with_row(found, term, mul(inverse(count), term.row.body), told)
        yield from _by_columns(found, term)


def _by_columns(found: Derived, term: RowTerm) -> Iterator[Change]:
    index, rows = term.row_index, _readers(found, term)
    if index is None or not rows:
        return
    name = unused(f"{term.row.name}_columns", found.spec.heads)
    head = Entry(Tensor(name), tuple(p for p in term.weights.head.places if p != index))
    wrong = Equation(head, total(mul(term.seed, term.weights.head), index))
    spec = found.exchanged({term.row.name: _to(head)}, wrong, rows=rows)
    yield Change(spec, term.row.name, "takes the row term along the queries: a term for each key")


@backward_bug("log-softmax's gradient", "the gradient is that of a log-softmax, or has no weights")
def of_the_logarithm(found: Derived) -> Iterator[Change]:
    """DS = dA - A sum dA, or dS = dA - D."""
    for term in found.row_terms:
        for row, node in _differences(found, term):
            a, d_a = term.weights.head, term.seed
            alone = add(d_a, negative(mul(a, total(d_a, term.over))))
            bare = add(d_a, negative(term.row.head))
            for told, new in (
                ("computes the gradient of a log-softmax: dS = dA - A sum dA", alone),
                ("does not multiply with the weights: dS = dA - D", bare),
            ):
                changed = found.with_bodies({row.name: _put(row.body, node, new)})
                yield Change(changed, row.name, told)


def _differences(found: Derived, term: RowTerm) -> Iterator[tuple[Equation, Mul]]:
    """Where A (dA - D) stands."""
    inner = {term.row.head, negative(term.row.head)}
    for row in found.reading(term.row.name):
        for node in walk(row.body):
            if not isinstance(node, Mul) or term.weights.head not in node.factors:
                continue
            sums = [f for f in node.factors if isinstance(f, Add)]
            if len(node.factors) == 2 and sums and inner & {*sums[0].terms}:
                yield row, node


def _put(expr: Expr, node: Expr, new: Expr) -> Expr:
    if expr == node:
        return new
    if isinstance(expr, Add):
        return add(*(_put(t, node, new) for t in expr.terms))
    return expr


def _moved(index: Index) -> Iterator[tuple[Expr, str]]:
    """Positions that a row's statistics are read at by mistake, in words."""
    for tile in TILES:
        yield remainder(as_expr(index), tile), f"at their position modulo {tile}"
    yield as_expr(0), "at the first row"
    yield as_expr(index) - 1, "one row earlier"
    yield as_expr(index) + 1, "one row later"


def _reading_at(index: Index, position: Expr) -> Exchange:
    return lambda entry: read_at(entry, index, position)


@backward_bug("row term of other rows", "the row term is read at another row", ("GRD-07",))
def of_other_rows(found: Derived) -> Iterator[Change]:
    """D at a position modulo a limit, at the first row, or one row aside."""
    for term in found.row_terms:
        index = term.row_index
        if index is None:
            continue
        for position, told in _moved(index):
            spec = found.exchanged({term.row.name: _reading_at(index, position)})
            yield Change(spec, term.row.name, f"reads the row term {told}")


@backward_bug(
    "statistics of other rows",
    "the log-sum-exp, alone or with the row term, is read at another row",
    ("GRD-08",),
)
def statistics(found: Derived) -> Iterator[Change]:
    """A = exp(S - L) with L, and D, at a position modulo a tile, or one row aside."""
    for term in found.row_terms:
        index = term.row_index
        if index is None:
            continue
        name = unused(f"{term.weights.name}_log_sum", found.spec.heads)
        kept = Entry(Tensor(name), term.rows)
        own = Equation(kept, found.log_sum(term))
        for position, told in _moved(index):
            moved = read_at(kept, index, position)
            body = mul(indicator(term.seen), apply("exp", add(term.score, negative(moved))))
            both = {term.row.name: _reading_at(index, position)}
            for words, further in (
                ("the log-sum-exp and the row term", both),
                ("the log-sum-exp", {}),
            ):
                spec = found.reweighted(term, body, own, kept=True, further=further)
                yield Change(spec, term.weights.name, f"reads {words} {told}")


@backward_bug("row term without what is kept", "the row term is taken of other weights")
def of_other_weights(found: Derived) -> Iterator[Change]:
    """D of the output before dropout, or of weights that are not masked."""
    for term in found.row_terms:
        source = _equation(found, term.seed.tensor.name)
        if source is None or not isinstance(source.body, Mul):
            continue
        slopes = [f for f in source.body.factors if isinstance(f, Entry)]
        for slope in slopes:
            wrong = total(mul(slope, term.weights.head), term.over)
            told = "takes the row term of the weights before dropout"
            yield _with_row(found, term, wrong, told)


def _equation(found: Derived, name: str) -> Equation | None:
    rows = (s for s in found.spec.equations if isinstance(s, Equation))
    return next((row for row in rows if row.name == name), None)


OPERATORS = (
    dropped,
    sized,
    of_other_rows,
    statistics,
    diagonal,
    of_the_logarithm,
    summed,
    of_other_weights,
)
