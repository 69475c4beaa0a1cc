"""Weights that the backward pass computes again: unmasked, not normalised, of the wrong base."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import sympy

from attnverify.algebra.predicates import TRUE, Predicate, conjunction
from attnverify.algebra.rewrite import walk
from attnverify.algebra.terms import (
    ZERO,
    Apply,
    Entry,
    Index,
    Maximum,
    Power,
    Scalar,
    Softmax,
    Tensor,
    add,
    apply,
    as_expr,
    indicator,
    mul,
    negative,
    power,
)
from attnverify.equations import Equation
from attnverify.transforms.mutate.aggregates import none_seen
from attnverify.transforms.mutate.backward.derived import (
    Derived,
    RowTerm,
    backward_bug,
    masked,
)
from attnverify.transforms.mutate.operator import Change
from attnverify.transforms.mutate.scores import (
    bias_dropped,
    cap_dropped,
    scale_added,
    scale_dropped,
)
from attnverify.transforms.naming import unused

SCORES = (scale_dropped, scale_added, bias_dropped, cap_dropped)


def _again(found: Derived, term: RowTerm, body: object, sentence: str) -> Iterator[Change]:
    """Weights computed again, with the row term of them and with that of the forward pass."""
    value = as_expr(body)
    for kept in (False, True):
        spec = found.reweighted(term, value, kept=kept)
        yield Change(spec, term.weights.name, sentence)


@backward_bug(
    "rows without keys backward",
    "a row without keys has NaN for weights in the backward pass",
    ("GRD-11",),
)
def rows_without_keys(found: Derived) -> Iterator[Change]:
    """0 / 0 kept for the backward pass, where the forward pass puts zeros."""
    for term in found.row_terms:
        if masked(term):
            none = none_seen(term.seen, (term.softmax.at,))
            nan = mul(indicator(none), Apply("undefined", ()))
            told = "keeps NaN for the weights of a row without keys in the backward pass"
            yield from _again(found, term, add(term.weights.head, nan), told)


@backward_bug("unmasked backward", "the backward pass does not apply the mask")
def unmasked(found: Derived) -> Iterator[Change]:
    """Weights over every key, normalised over them, or by the sum over those seen."""
    for term in found.row_terms:
        if not masked(term):
            continue
        at = term.softmax.at
        over_all = Softmax(term.score, at, TRUE, at)
        told = "computes the weights again in the backward pass without the mask"
        yield from _again(found, term, over_all, told)
        by_sum = apply("exp", add(term.score, negative(found.log_sum(term))))
        told = "hides no key in the backward pass, where weights are exp(S - L)"
        yield from _again(found, term, by_sum, told)


@backward_bug("causal backward", "the backward pass applies a causal mask of its own", ("GRD-01",))
def causal(found: Derived) -> Iterator[Change]:
    """DS zeroed, or weights computed again, where a key comes after the query."""
    for term in found.row_terms:
        index = term.row_index
        slope = f"d{term.score.tensor.name}"
        if index is None or slope not in found.spec.heads:
            continue
        for told, where in _causal(index, term.softmax.at):
            head = found.spec.heads[slope]
            body = found.spec.equation(slope).body
            if head.places == term.weights.head.places:
                spec = found.with_bodies({slope: mul(indicator(where), body)})
                yield Change(spec, slope, f"zeroes dS where {told}")
            again = Softmax(
                term.score, term.softmax.at, conjunction(term.seen, where), term.softmax.at
            )
            sentence = f"hides keys in the backward pass where {told}"
            yield from _again(found, term, again, sentence)


def _causal(row: Index, key: Index) -> Iterator[tuple[str, Predicate]]:
    ahead = key.axis.size - row.axis.size
    yield "they come after the query", as_expr(key) <= as_expr(row)
    told = "they come after the query, aligned bottom-right"
    yield told, as_expr(key) <= as_expr(row) + ahead
    yield "they are the query or come after it", as_expr(key) < as_expr(row)


@backward_bug("weights not normalised", "the backward pass does not normalise its weights")
def not_normalised(found: Derived) -> Iterator[Change]:
    """exp(S) or exp(S - max) for the weights."""
    for term in found.row_terms:
        seen = indicator(term.seen)
        bare = mul(seen, apply("exp", term.score))
        told = "takes exp(S) for the weights in the backward pass, neither shifted nor normalised"
        yield from _again(found, term, bare, told)
        top = Maximum(term.score, term.softmax.at, term.seen)
        shifted = mul(seen, apply("exp", add(term.score, negative(top))))
        told = "takes exp(S - max S) for the weights in the backward pass, without their sum"
        yield from _again(found, term, shifted, told)


@backward_bug(
    "base of the kept sum", "the backward pass reads the log-sum-exp in another base", ("NRM-13",)
)
def base(found: Derived) -> Iterator[Change]:
    """exp(S - L log 2), exp(S - L / log 2), or 2^(S - L) for the weights."""
    two = Scalar(sympy.log(2))
    for term in found.row_terms:
        log_sum, seen = found.log_sum(term), indicator(term.seen)
        for told, value in (
            ("reads a log-sum-exp of base e as one of base 2",
             add(term.score, negative(mul(two, log_sum)))),
            ("reads a log-sum-exp of base 2 as one of base e",
             add(term.score, negative(mul(power(two, -1), log_sum)))),
            ("takes powers of 2 for exponentials",
             mul(two, add(term.score, negative(log_sum)))),
        ):  # fmt: skip
            body = mul(seen, apply("exp", value))
            yield from _again(found, term, body, f"{told} in the backward pass")


@backward_bug("scores of the backward", "the backward pass computes scores without scale or bias")
def raw_scores(found: Derived) -> Iterator[Change]:
    """Weights of scores computed again without their scale, or without what is added."""
    for term in found.row_terms:
        for operator in SCORES:
            for change in operator.apply(found.source):
                if change.place == term.score.tensor.name:
                    yield from _rescored(found, term, change)


def _rescored(found: Derived, term: RowTerm, change: Change) -> Iterator[Change]:
    """The gradient whose backward pass normalises other scores."""
    name = term.score.tensor.name
    own = change.spec.equation(name)
    other = Tensor(unused(f"{name}_again", found.spec.heads))
    scores = Equation(Entry(other, own.head.places), own.body)
    at = term.softmax.at
    again = Softmax(Entry(other, term.score.places), at, term.seen, at)
    for kept in (False, True):
        spec = found.reweighted(term, again, scores, kept=kept)
        yield Change(spec, term.weights.name, f"{change.sentence}, in the backward pass alone")


@backward_bug("normaliser not differentiated", "no gradient flows through the sum of weights")
def through_sum(found: Derived) -> Iterator[Change]:
    """DZ = 0 where weights are a quotient."""
    for row in found.spec.equations:
        if not isinstance(row, Equation) or row.name not in found.backward:
            continue
        source = row.name[1:]
        divides = any(
            isinstance(n, Power) and n.exponent < 0 and isinstance(n.base, Entry)
            and n.base.tensor.name == source
            for s in found.source.equations if isinstance(s, Equation)
            for n in walk(s.body)
        )  # fmt: skip
        if divides:
            told = f"takes the normaliser {source} for a constant"
            yield Change(found.with_bodies({row.name: ZERO}), row.name, told)
            for reader in found.reading(row.name):
                spec = found.exchanged({row.name: lambda _: ZERO}, rows=[reader])
                yield Change(spec, reader.name, f"{told} in {reader.name}")


def _other(tensor: Tensor, entry: Entry) -> Entry:
    return Entry(tensor, entry.places)


@backward_bug("weights of the values' gradient", "dV is taken of other weights")
def of_values(found: Derived) -> Iterator[Change]:
    """DV of weights without dropout, or without the mask."""
    for term in found.row_terms:
        heavy = term.weights.head
        for row in found.slopes.values():
            later = [
                s for s in found.source.equations
                if isinstance(s, Equation) and s.name != term.weights.name
                and s.head.places == heavy.places
                and any(n == heavy for n in walk(s.body))
            ]  # fmt: skip
            for other in later:
                if row in found.reading(other.name):
                    spec = found.exchanged({other.name: partial(_other, heavy.tensor)}, rows=[row])
                    told = f"takes {row.name} of {heavy.tensor.name}, not of {other.name}"
                    yield Change(spec, row.name, told)


OPERATORS = (
    rows_without_keys,
    unmasked,
    causal,
    not_normalised,
    base,
    through_sum,
    of_values,
    raw_scores,
)
