"""Normalisers: the wrong axis, masks and scales behind the softmax, sums of too much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from attnverify.algebra.predicates import TRUE, Predicate
from attnverify.algebra.rewrite import rebuild, rename_in, walk
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Maximum,
    Mul,
    Power,
    Scalar,
    Softmax,
    Tensor,
    Total,
    apply,
    add,
    as_expr,
    floor_div,
    indicator,
    inverse,
    mul,
    power,
    total,
)
from attnverify.equations import Equation
from attnverify.spec import Spec
from attnverify.transforms.mutate.gathered import before
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.scores import scale_node, scale_of, width
from attnverify.transforms.mutate.sites import Stage, stages, with_body, with_node
from attnverify.transforms.naming import unused

HALF = Fraction(1, 2)
TILES = (8, 16, 32, 64, 128)


def softmaxes(stage: Stage) -> Iterator[tuple[Equation, Softmax]]:
    """The equations that are a softmax of a stage's scores."""
    for row in stage.weights:
        body = row.body
        if isinstance(body, Softmax) and isinstance(body.score, Entry):
            if body.score.tensor.name == stage.name and body.at in row.head.indices:
                yield row, body


@named("other axis", "the softmax runs along the queries", ("NRM-04",))
def other_axis(spec: Spec) -> Iterator[Change]:
    """Columns of the weights sum to one, not rows."""
    for stage in stages(spec):
        for row, body in softmaxes(stage):
            for index in stage.rows:
                at = row.head.indices[stage.scores.head.indices.index(index)]
                score = body.score
                if body.over in score.indices and at in row.head.indices and body.over == body.at:
                    told = f"takes the softmax along the {at.axis.name}"
                    changed = Softmax(score, at, body.where, at)
                    yield Change(with_body(spec, row.name, lambda _, c=changed: c), row.name, told)


@named("mask after softmax", "the mask is applied after the softmax", ("MSK-15",))
def mask_after_softmax(spec: Spec) -> Iterator[Change]:
    """Hidden weights are zeroed, and the others not normalised again."""
    for stage in stages(spec):
        for row, body in softmaxes(stage):
            if body.where == TRUE:
                continue
            seen = indicator(rename_in(body.where, {body.over: body.at}))
            bare = replace(body, where=TRUE)
            yield Change(
                with_body(spec, row.name, lambda _, s=seen, b=bare: mul(s, b)),
                row.name,
                "masks after the softmax: rows of weights sum to less than one",
            )


@named("scale after softmax", "the scale is applied after the softmax", ("NRM-03",))
def scale_after_softmax(spec: Spec) -> Iterator[Change]:
    """Weights are scaled, scores are not."""
    for stage in stages(spec):
        d, scale, node = width(stage), scale_of(stage), scale_node(stage)
        if d is None or node is None or scale == 1:
            continue
        for row, body in softmaxes(stage):
            found = with_body(
                spec,
                stage.name,
                lambda r, n=node, s=scale: with_node(r.body, n, mul(power(Scalar(s), -1), n)),
            )
            found = with_body(found, row.name, lambda r, s=scale: mul(Scalar(s), r.body))
            yield Change(found, row.name, "scales the weights, not the scores")


def quotient(stage: Stage, row: Equation, body: Softmax, more: Expr) -> Spec:
    """The spec with a softmax written as a quotient whose sum has one more term."""
    spec = stage.spec
    at = body.at
    score = Entry(body.score.tensor, _places(body.score, body.over, at))  # type: ignore[attr-defined]  # softmaxes gives entries
    seen = indicator(rename_in(body.where, {body.over: at}))
    grown = mul(seen, apply("exp", score))
    rows = tuple(place for place in row.head.places if place != at)
    head = Entry(Tensor(unused("Z", spec.heads)), rows)
    summed = Equation(head, add(total(grown, at), more))
    made = before(spec, row.name, summed)
    return with_body(made, row.name, lambda _: mul(grown, inverse(head)))


def _places(entry: Entry, old: Index, new: Index) -> tuple:
    def at(place):
        if isinstance(place, tuple):
            return tuple(new if i == old else i for i in place)
        return new if place == old else place

    return tuple(at(place) for place in entry.places)


@named("padding in the sum", "padded keys of a tile are summed as zeros", ("TIL-01",))
def padding_in_the_sum(spec: Spec) -> Iterator[Change]:
    """Keys up to a whole tile have score 0 and value 0."""
    for stage in stages(spec):
        for row, body in softmaxes(stage):
            count = body.at.axis.size
            for tile in TILES:
                spare = tile * (1 + floor_div(count - 1, tile)) - count
                told = f"sums padded keys up to a whole tile of {tile}, with score 0"
                yield Change(quotient(stage, row, body, spare), row.name, told)


@named("one in the sum", "a one is added to the sum of exponentials")
def one_in_the_sum(spec: Spec) -> Iterator[Change]:
    """Softmax plus one where softmax is due."""
    for stage in stages(spec):
        for row, body in softmaxes(stage):
            told = "adds one to the sum of exponentials"
            yield Change(quotient(stage, row, body, as_expr(1)), row.name, told)


def _sums(stage: Stage) -> Iterator[tuple[Equation, Add, Total]]:
    """Equations with a sum of exponentials of the scores and something more."""
    for row in stage.spec.equations:
        if not isinstance(row, Equation):
            continue
        for node in walk(row.body):
            if isinstance(node, Add):
                for term in node.terms:
                    if isinstance(term, Total) and any(
                        isinstance(n, Apply)
                        and n.primitive == "exp"
                        and isinstance(n.arguments[0], Entry)
                        and n.arguments[0].tensor.name == stage.name
                        for n in walk(term)
                    ):
                        yield row, node, term


@named("sink", "what is added to the sum of exponentials is dropped or doubled")
def sink(spec: Spec) -> Iterator[Change]:
    """The sum without its further terms, or with them twice."""
    for stage in stages(spec):
        for row, node, term in _sums(stage):
            more = add(*(t for t in node.terms if t is not term))
            for told, value in (
                ("does not add the sink to the sum", term),
                ("adds the sink to the sum twice", add(term, mul(2, more))),
            ):
                found = with_body(spec, row.name, lambda r, n=node, v=value: with_node(r.body, n, v))
                yield Change(found, row.name, told)


@named("sink unshifted", "a constant in the sum of exponentials is not shifted with them", ("NRM-11",))
def sink_unshifted(spec: Spec) -> Iterator[Change]:
    """The further terms multiplied with what the exponentials were divided by: the largest."""
    for stage in stages(spec):
        for row, node, term in _sums(stage):
            scores = [n for n in walk(term) if isinstance(n, Entry)]
            (over,) = term.over if len(term.over) == 1 else (None,)
            if over is None or not scores:
                continue
            top = Maximum(scores[0], over, TRUE)
            more = mul(add(*(t for t in node.terms if t is not term)), apply("exp", top))
            value = add(term, more)
            found = with_body(spec, row.name, lambda r, n=node, v=value: with_node(r.body, n, v))
            told = "shifts the exponentials by their largest score, but not what is added to them"
            yield Change(found, row.name, told)


@named("base of the log-sum-exp", "the log-sum-exp is given in another base", ("NRM-13",))
def base_of_the_log_sum(spec: Spec) -> Iterator[Change]:
    """Base 2 where e is due, or e where 2 is due."""
    for stage in stages(spec):
        for name in spec.outputs:
            row = next(
                (s for s in spec.equations if isinstance(s, Equation) and s.name == name), None
            )
            if row is None or not any(
                isinstance(n, Apply) and n.primitive == "log" for n in walk(row.body)
            ):
                continue
            two = apply("log", as_expr(2))
            for told, factor in (
                ("gives the log-sum-exp in base 2", power(two, -1)),
                ("gives the log-sum-exp in base e", two),
            ):
                yield Change(
                    with_body(spec, name, lambda r, f=factor: mul(f, r.body)), name, told
                )
        return


OPERATORS = (
    other_axis,
    mask_after_softmax,
    scale_after_softmax,
    padding_in_the_sum,
    one_in_the_sum,
    sink,
    sink_unshifted,
    base_of_the_log_sum,
)
