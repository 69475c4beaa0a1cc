"""Normalisers: the wrong axis, masks and scales behind the softmax, sums of too much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from attnverify.algebra.predicates import TRUE
from attnverify.algebra.rewrite import rename_in, walk
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Maximum,
    Place,
    Scalar,
    Softmax,
    Tensor,
    Total,
    add,
    apply,
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
from attnverify.transforms.mutate.scores import scale_of, width
from attnverify.transforms.mutate.sites import Stage, scale_node, stages, with_body, with_new
from attnverify.transforms.naming import unused
from attnverify.transforms.relabel import with_nodes

HALF = Fraction(1, 2)
TILES = (8, 16, 32, 64, 128)


def softmaxes(stage: Stage) -> Iterator[tuple[Equation, Softmax, Entry]]:
    """The equations that are a softmax of a stage's scores, with the softmax and the scores."""
    for row in stage.weights:
        body = row.body
        if not isinstance(body, Softmax) or not isinstance(body.score, Entry):
            continue
        if body.score.tensor.name == stage.name and body.at in row.head.indices:
            yield row, body, body.score


@named("other axis", "the softmax runs along the queries", ("NRM-04",))
def other_axis(spec: Spec) -> Iterator[Change]:
    """Columns of the weights sum to one, not rows."""
    for stage in stages(spec):
        for row, body, score in softmaxes(stage):
            for index in stage.rows:
                at = row.head.indices[stage.scores.head.indices.index(index)]
                if body.over in score.indices and at in row.head.indices and body.over == body.at:
                    told = f"takes the softmax along the {at.axis.name}"
                    changed = Softmax(score, at, body.where, at)
                    yield Change(with_body(spec, row.name, changed), row.name, told)


@named("mask after softmax", "the mask is applied after the softmax", ("MSK-15",))
def mask_after_softmax(spec: Spec) -> Iterator[Change]:
    """Hidden weights are zeroed, and the others not normalised again."""
    for stage in stages(spec):
        for row, body, _ in softmaxes(stage):
            if body.where == TRUE:
                continue
            seen = indicator(rename_in(body.where, {body.over: body.at}))
            bare = replace(body, where=TRUE)
            yield Change(
                with_body(spec, row.name, mul(seen, bare)),
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
        for row, _, _ in softmaxes(stage):
            found = with_new(spec, stage.name, node, mul(power(Scalar(scale), -1), node))
            found = with_body(found, row.name, mul(Scalar(scale), row.body))
            yield Change(found, row.name, "scales the weights, not the scores")


def quotient(stage: Stage, row: Equation, body: Softmax, score: Entry, more: Expr) -> Spec:
    """The spec with a softmax written as a quotient whose sum has one more term."""
    spec = stage.spec
    at = body.at
    score = Entry(score.tensor, _places(score, body.over, at))
    seen = indicator(rename_in(body.where, {body.over: at}))
    grown = mul(seen, apply("exp", score))
    rows = tuple(place for place in row.head.places if place != at)
    head = Entry(Tensor(unused("Z", spec.heads)), rows)
    summed = Equation(head, add(total(grown, at), more))
    made = before(spec, row.name, summed)
    return with_body(made, row.name, mul(grown, inverse(head)))


def _places(entry: Entry, old: Index, new: Index) -> tuple[Place, ...]:
    def at(place: Place) -> Place:
        if isinstance(place, tuple):
            return tuple(new if i == old else i for i in place)
        return new if place == old else place

    return tuple(at(place) for place in entry.places)


@named("padding in the sum", "padded keys of a tile are summed as zeros", ("TIL-01",))
def padding_in_the_sum(spec: Spec) -> Iterator[Change]:
    """Keys up to a whole tile have score 0 and value 0."""
    for stage in stages(spec):
        for row, body, score in softmaxes(stage):
            count = body.at.axis.size
            for tile in TILES:
                spare = tile * (1 + floor_div(count - 1, tile)) - count
                told = f"sums padded keys up to a whole tile of {tile}, with score 0"
                yield Change(quotient(stage, row, body, score, spare), row.name, told)


@named("one in the sum", "a one is added to the sum of exponentials")
def one_in_the_sum(spec: Spec) -> Iterator[Change]:
    """Softmax plus one where softmax is due."""
    for stage in stages(spec):
        for row, body, score in softmaxes(stage):
            told = "adds one to the sum of exponentials"
            yield Change(quotient(stage, row, body, score, as_expr(1)), row.name, told)


def _sums(stage: Stage) -> dict[Add, Total]:
    """Sums of exponentials of the scores and something more, each with its exponentials."""
    return {
        node: term
        for body in stage.spec.expressions()
        for node in walk(body)
        if isinstance(node, Add)
        for term in node.terms
        if isinstance(term, Total) and _grows(term, stage.name)
    }


def _grows(total_of: Total, name: str) -> bool:
    """Whether a sum is one of exponentials of the scores."""
    found = [
        n.arguments[0] for n in walk(total_of) if isinstance(n, Apply) and n.primitive == "exp"
    ]
    return any(isinstance(score, Entry) and score.tensor.name == name for score in found)


@named("sink", "what is added to the sum of exponentials is dropped or doubled")
def sink(spec: Spec) -> Iterator[Change]:
    """The sum without its further terms, or with them twice."""
    for stage in stages(spec):
        for node, term in _sums(stage).items():
            more = add(*(t for t in node.terms if t != term))
            for told, value in (
                ("does not add the sink to the sum", term),
                ("adds the sink to the sum twice", add(term, mul(2, more))),
            ):
                yield Change(with_nodes(spec, {node: value}), stage.name, told)


@named(
    "sink unshifted", "a constant in the sum of exponentials is not shifted with them", ("NRM-11",)
)
def sink_unshifted(spec: Spec) -> Iterator[Change]:
    """The further terms multiplied with what the exponentials were divided by: the largest."""
    for stage in stages(spec):
        for node, term in _sums(stage).items():
            scores = [n for n in walk(term) if isinstance(n, Entry) and n.tensor.name == stage.name]
            if len(term.over) != 1 or not scores:
                continue
            top = Maximum(scores[0], term.over[0], TRUE)
            more = mul(add(*(t for t in node.terms if t != term)), apply("exp", top))
            told = "shifts the exponentials by their largest score, but not what is added to them"
            yield Change(with_nodes(spec, {node: add(term, more)}), stage.name, told)


@named("base of the log-sum-exp", "the log-sum-exp is given in another base", ("NRM-13",))
def base_of_the_log_sum(spec: Spec) -> Iterator[Change]:
    """Base 2 where e is due, or e where 2 is due."""
    two = apply("log", as_expr(2))
    for row in spec.equations:
        if not isinstance(row, Equation) or row.name not in spec.outputs or not _logarithm(row):
            continue
        for told, factor in (("base 2", power(two, -1)), ("base e", two)):
            changed = with_body(spec, row.name, mul(factor, row.body))
            yield Change(changed, row.name, f"gives the log-sum-exp in {told}")


def _logarithm(row: Equation) -> bool:
    return any(isinstance(n, Apply) and n.primitive == "log" for n in walk(row.body))


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
