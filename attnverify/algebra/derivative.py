"""The derivative of any expression by its array entries: one rule per node, deltas eliminated.

Everything here rests on `partials`: each place where an expression reads a real entry, with the
factor that its change is multiplied by and the indices that are summed. The derivative by an entry,
the vector-Jacobian product and the tangent are three ways to sum those parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

from attnverify.algebra.predicates import Compare, conjunction
from attnverify.algebra.primitives import slopes
from attnverify.algebra.rewrite import (
    deltas,
    entries,
    free,
    free_in,
    fresh,
    rename,
    rename_in,
    sum_over,
    unknown,
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
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    add,
    apply,
    as_expr,
    indicator,
    inverse,
    mul,
    negative,
    power,
    total,
)
from attnverify.errors import UnknownPrimitiveError


@dataclass(frozen=True)
class Partial:
    """`d expr = sum over bound of factor * d entry`, for one place where `expr` reads `entry`."""

    entry: Entry | Previous
    factor: Expr
    bound: tuple[Index, ...]

    @property
    def read(self) -> Entry:
        """The entry that is read, now or one step earlier."""
        return self.entry.entry if isinstance(self.entry, Previous) else self.entry


def partials(expr: Expr, factor: Expr = ONE, bound: tuple[Index, ...] = ()) -> Iterator[Partial]:
    """Every place where an expression reads a real entry.

    Bound names are made distinct from the free names of `factor`, so that no sum captures.
    """
    match expr:
        case Scalar() | Indicator():
            return
        case Entry() | Previous():
            if not isinstance(expr, Entry) or expr.tensor.kind == "real":
                yield Partial(expr, factor, bound)
        case Add(terms):
            yield from chain.from_iterable(partials(term, factor, bound) for term in terms)
        case Mul(factors):
            for n, part in enumerate(factors):
                yield from partials(part, mul(factor, *factors[:n], *factors[n + 1 :]), bound)
        case Power(base, exponent):
            yield from partials(
                base, mul(factor, as_expr(exponent), power(base, exponent - 1)), bound
            )
        case Apply(name, arguments):
            for argument, slope in zip(arguments, slopes(name, arguments), strict=True):
                yield from () if slope == ZERO else partials(argument, mul(factor, slope), bound)
        case Total():
            yield from _total_partials(expr, factor, bound)
        case Softmax() | Threshold() | Maximum():
            yield from _row_partials(expr, factor, bound)
        case _:
            raise unknown(expr, "the derivative")


def _total_partials(expr: Total, factor: Expr, bound: tuple[Index, ...]) -> Iterator[Partial]:
    """D (sum_j f_j) = sum_j' D f_j', with j' a name that stands nowhere else."""
    taken = {**free(factor), **dict.fromkeys(bound), **free(expr)}
    mapping: dict[Index, Index] = {}
    for index in expr.over:
        mapping[index] = fresh(index, [*taken, *mapping.values()])
    yield from partials(rename(expr.body, mapping), factor, bound + tuple(mapping.values()))


def _row_partials(
    expr: Softmax | Threshold | Maximum, factor: Expr, bound: tuple[Index, ...]
) -> Iterator[Partial]:
    """The partials of a function of a row of scores."""
    if isinstance(expr, Softmax):
        yield from _softmax_partials(expr, factor, bound)
    elif isinstance(expr, Threshold):
        yield from threshold_partials(expr, expr, factor, bound)
    elif any(entry.tensor.kind == "real" for entry in entries(expr.score)):
        raise UnknownPrimitiveError(
            "the largest value over an axis has no derivative rule",
            found=str(expr),
            hint="hold it constant: stop_gradient(...), as maximum(...) does",
        )


def _softmax_partials(expr: Softmax, factor: Expr, bound: tuple[Index, ...]) -> Iterator[Partial]:
    """D A_j = sum_l A_j ([l = j] - A_l) d s_l, with A_l zero where `where` does not hold."""
    taken = {
        **free(factor),
        **dict.fromkeys(bound),
        **free(expr),
        **free(expr.score),
        **free_in(expr.where),
    }
    other = fresh(expr.over, taken)
    inside = {expr.over: other}
    score, where = rename(expr.score, inside), rename_in(expr.where, inside)
    there = Softmax(expr.score, expr.over, expr.where, other)
    same = indicator(Compare("==", as_expr(other), as_expr(expr.at)))
    spread = add(same, mul(-1, there))
    # Entries of the score that the row does not see are not differentiated at all.
    yield from partials(score, mul(factor, expr, spread, indicator(where)), (*bound, other))


def threshold_partials(
    expr: Threshold, tau: Expr, factor: Expr = ONE, bound: tuple[Index, ...] = ()
) -> Iterator[Partial]:
    """D tau = sum_l w_l d s_l / sum_l w_l, w_l = [where] [s_l > tau] (s_l - tau)^(p - 1).

    The implicit function theorem on sum_l [where] max(s_l - tau, 0)^p = 1. `tau` is the threshold
    itself, or an entry that holds it. A score that equals tau bears no weight: for p = 1, where
    tau has a kink there, this is the derivative from the side on which the score stays outside.
    Source: Martins & Astudillo 2016, section 2.5; Peters et al. 2019, section 3.
    """
    taken = {
        **free(factor),
        **dict.fromkeys(bound),
        **free(tau),
        **free(expr.score),
        **free_in(expr.where),
    }
    other = fresh(expr.over, taken)
    inside = {expr.over: other}
    score, where = rename(expr.score, inside), rename_in(expr.where, inside)
    weight, whole = (
        mul(indicator(conjunction(seen, Compare(">", s, tau))), _raised(s, tau, expr.exponent - 1))
        for s, seen in ((score, where), (expr.score, expr.where))
    )
    share = mul(factor, weight, inverse(total(whole, expr.over)))
    yield from partials(score, share, (*bound, other))


def _raised(score: Expr, tau: Expr, exponent: Fraction) -> Expr:
    """max(score - tau, 0) to a power that is not negative."""
    return power(apply("relu", add(score, negative(tau))), exponent)


def collect(partial: Partial, place: tuple[Index, ...], over: tuple[Index, ...] = ()) -> Expr:
    """The part of a derivative that one partial gives at the entry whose indices are `place`.

    It is summed over `over` and over the partial's own bound indices; these are first renamed apart
    from `place`, so that a sum can never capture the place that the derivative is read at.
    """
    summed = (*over, *partial.bound)
    mapping: dict[Index, Index] = {}
    for index in summed:
        if any(index.name == other.name for other in place):
            mapping[index] = fresh(
                index, [*place, *summed, *mapping.values(), *free(partial.factor)]
            )
    read = [mapping.get(index, index) for index in partial.read.indices]
    where = deltas(zip(read, place, strict=True))
    return sum_over(
        [rename(partial.factor, mapping)], [mapping.get(index, index) for index in summed], where
    )


def derivative(expr: Expr, by: Entry) -> Expr:
    """`d expr / d by`, where the indices of `by` are free, with every delta eliminated.

    >>> from attnverify.notation import axes, tensors, total
    >>> (keys,) = axes("keys")
    >>> j, l = keys["j"], keys["l"]
    >>> (x,) = tensors("x")
    >>> print(derivative(total(x[j] ** 2, over=j), x[l]))
    2 x[l]
    """
    return add(
        *(
            collect(partial, by.indices)
            for partial in partials(expr)
            if isinstance(partial.entry, Entry) and partial.entry.tensor == by.tensor
        )
    )
