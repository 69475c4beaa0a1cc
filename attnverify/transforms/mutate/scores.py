"""Scores: scales, biases and caps that are dropped, doubled, misplaced or of the wrong sign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

import sympy

from attnverify.algebra.predicates import TRUE, Compare, Predicate
from attnverify.algebra.rewrite import predicate_entries, walk
from attnverify.algebra.terms import (
    ZERO,
    Add,
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Mul,
    Place,
    Scalar,
    Total,
    add,
    as_expr,
    floor_div,
    indicator,
    mul,
    power,
    size_symbol,
)
from attnverify.spec import Spec
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import (
    SHARED,
    At,
    Stage,
    added,
    holds,
    masks,
    scale_node,
    stages,
    with_body,
    with_masks,
    with_new,
)

HALF = Fraction(1, 2)
WIDTHS = (16, 32, 64, 128)
SIGNS = (
    ("relu", "takes scores below zero for zero"),
    ("absolute", "takes scores without their sign"),
)


def _of_scores(stage: Stage, old: Expr, new: Expr, sentence: str) -> Change:
    spec = with_new(stage.spec, stage.name, old, new)
    return Change(spec, stage.name, sentence)


def width(stage: Stage) -> Expr | None:
    """The number of channels that the comparison of query and key sums over."""
    raw = stage.raw
    return mul(*(i.axis.size for i in raw.over)) if isinstance(raw, Total) else None


def _scaled(stage: Stage, factor: Expr, sentence: str) -> Iterator[Change]:
    node = scale_node(stage)
    if node is not None:
        yield _of_scores(stage, node, mul(factor, node), sentence)


def scale_of(stage: Stage) -> sympy.Expr:
    """The scale of the scores, 1 where there is none."""
    node = scale_node(stage)
    if isinstance(node, Mul) and isinstance(node.factors[0], Scalar):
        return node.factors[0].value
    return sympy.Integer(1)


def _divides_by_width(stage: Stage) -> bool:
    raw = stage.raw
    if not isinstance(raw, Total):
        return False
    sizes = {size_symbol(i.axis.name) for i in raw.over}
    return bool(sizes & scale_of(stage).free_symbols)


@named("scale dropped", "the scores are not scaled")
def scale_dropped(spec: Spec) -> Iterator[Change]:
    """No division by the root of the channels."""
    for stage in stages(spec):
        d = width(stage)
        if d is not None and _divides_by_width(stage):
            yield from _scaled(
                stage, power(d, HALF), "does not scale the scores by the root of the key channels"
            )


@named("scale added", "the scores are scaled twice, or where they should not be")
def scale_added(spec: Spec) -> Iterator[Change]:
    """One more division by the root of the channels."""
    for stage in stages(spec):
        d = width(stage)
        if d is None:
            continue
        twice = _divides_by_width(stage)
        told = "divides the scores by the number of key channels, not by its root"
        yield from _scaled(
            stage, power(d, -HALF), told if twice else "scales scores that have no such scale"
        )


def _rescaled(spec: Spec) -> Iterator[tuple[Stage, Expr]]:
    """The stages that divide by the root of their channels, with the number of these."""
    for stage in stages(spec):
        d = width(stage)
        if d is not None and _divides_by_width(stage):
            yield stage, d


@named("scale of the model", "the scale is the root of the model's width", ("NRM-01",))
def scale_of_the_model(spec: Spec) -> Iterator[Change]:
    """The channels of all heads together."""
    for stage, _ in _rescaled(spec):
        few = [i.axis for i in stage.scores.head.indices if i.axis.name in SHARED[1:]]
        if few:
            heads = mul(*(axis.size for axis in few))
            told = "scales by the width of the model, all heads together"
            yield from _scaled(stage, power(heads, -HALF), told)


@named("scale of padded channels", "the scale is the root of padded channels", ("NRM-06",))
def scale_of_padding(spec: Spec) -> Iterator[Change]:
    """Channels counted up to a multiple of what a kernel takes at once."""
    for stage, d in _rescaled(spec):
        for whole in WIDTHS:
            padded = whole * (1 + floor_div(d - 1, whole))
            told = f"scales by channels padded to a multiple of {whole}"
            yield from _scaled(stage, mul(power(d, HALF), power(padded, -HALF)), told)


@named("scale of another size", "the scale is the root of another size")
def scale_of_another(spec: Spec) -> Iterator[Change]:
    """The channels of the values, or the number of keys."""
    for stage, d in _rescaled(spec):
        for axis in _others(stage):
            told = f"scales by the root of {axis.symbol}"
            yield from _scaled(stage, mul(power(d, HALF), power(axis.size, -HALF)), told)


def _others(stage: Stage) -> list[Axis]:
    """Axes that a scale may be taken of by mistake: values and keys."""
    wanted = ["value_dim", *(i.axis.name for i in stage.keys)]
    raw = stage.raw
    summed = {i.axis.name for i in raw.over} if isinstance(raw, Total) else set()
    return [a for a in stage.spec.axes if a.name in wanted and a.name not in summed]


@named("own scale ignored", "a scale of one's own is not used", ("NRM-17",))
def own_scale_ignored(spec: Spec) -> Iterator[Change]:
    """The root of the channels, or nothing, in place of a parameter."""
    for stage in stages(spec):
        d, scale = width(stage), scale_of(stage)
        for parameter in spec.parameters:
            if d is None or scale.diff(parameter.symbol) == 0:
                continue
            rest = scale.coeff(parameter.symbol)
            if rest == 0 or rest.free_symbols:
                continue
            own = power(Scalar(parameter.symbol), -1)
            told = f"does not use {parameter.name}: it scales by the root of the key channels"
            yield from _scaled(stage, mul(own, power(d, -HALF)), told)
            yield from _scaled(stage, own, f"does not use {parameter.name}: it scales by nothing")


@named("bias scaled", "a bias is scaled with the scores, or not scaled with them", ("NRM-08",))
def bias_scaled(spec: Spec) -> Iterator[Change]:
    """The bias on the other side of the scale."""
    for stage in stages(spec):
        d = width(stage)
        node = scale_node(stage)
        for bias in added(stage):
            if d is None:
                continue
            inside = isinstance(node, Mul) and any(bias in walk(f) for f in node.factors)
            factor = power(d, HALF if inside else -HALF)
            told = "adds a bias after the scale" if inside else "scales a bias with the scores"
            yield _of_scores(stage, bias, mul(factor, bias), f"{told} ({_short(bias)})")


def _short(expr: Expr) -> str:
    text = str(expr)
    return text if len(text) <= 60 else text[:57] + "..."


@named("bias dropped", "a bias is not added, or cancels", ("POS-12",))
def bias_dropped(spec: Spec) -> Iterator[Change]:
    """The scores without one of their biases."""
    for stage in stages(spec):
        for bias in added(stage):
            told = f"adds no bias {_short(bias)}, or one that is constant along each row"
            yield _of_scores(stage, bias, ZERO, told)


@named("bias of another size", "a bias has the wrong sign or is added twice")
def bias_of_another_size(spec: Spec) -> Iterator[Change]:
    """The bias negated or doubled."""
    for stage in stages(spec):
        for bias in added(stage):
            yield _of_scores(stage, bias, mul(-1, bias), f"subtracts the bias {_short(bias)}")
            yield _of_scores(stage, bias, mul(2, bias), f"adds the bias {_short(bias)} twice")


@named("bias as mask", "a bias is taken for a boolean mask", ("API-05",))
def bias_as_mask(spec: Spec) -> Iterator[Change]:
    """Places whose bias is not 0 are hidden, or are the only ones that are kept."""
    for stage in stages(spec):
        for bias in added(stage):
            if not isinstance(bias, Entry):
                continue
            for op, told in (("==", "hides"), ("!=", "keeps only")):

                def masked(
                    where: Predicate,
                    at: At,
                    op: str = op,
                    bias: Entry = bias,
                    head: Entry = stage.scores.head,
                ) -> Predicate:
                    to = dict(zip(head.indices, at.entry.indices, strict=True))
                    places = tuple(_at(place, to) for place in bias.places)
                    held = Compare(op, Entry(bias.tensor, places), as_expr(0))
                    return where & held

                spec2 = with_masks(stage, masked)
                found = with_new(spec2, stage.name, bias, ZERO)
                sentence = f"takes {bias.tensor.name} for a mask: it {told} where it is not 0"
                yield Change(found, stage.name, sentence)


def _at(place: Place, to: Mapping[Index, Index]) -> Place:
    if isinstance(place, tuple):
        return tuple(to.get(i, i) for i in place)
    return to.get(place, place)


def _apart(stage: Stage) -> tuple[Predicate, ...]:
    """The mask of a stage, where there is one and it does not read the scores themselves."""
    found = masks(stage)[:1]
    read = {e.tensor.name for where in found for e in predicate_entries(where)}
    return () if stage.name in read else found


@named("mask as number", "a boolean mask is used as the numbers 0 and 1", ("MSK-16", "API-03"))
def mask_as_number(spec: Spec) -> Iterator[Change]:
    """The mask multiplied with the scores, or added to them, and nothing hidden."""
    for stage in stages(spec):
        for where in _apart(stage):
            open_spec = with_masks(stage, lambda _, __: TRUE)
            kept, body = indicator(where), stage.scores.body
            for told, new in (
                ("multiplies the scores with the mask", mul(kept, body)),
                ("adds the mask to the scores as numbers", add(body, kept)),
            ):
                found = with_body(open_spec, stage.name, new)
                yield Change(found, stage.name, f"{told}: nothing is hidden")


@named(
    "finite sentinel",
    "hidden scores are a finite number, which a row without keys sees",
    ("MSK-19",),
)
def finite_sentinel(spec: Spec) -> Iterator[Change]:
    """A large negative number in place of minus infinity."""
    for stage in stages(spec):
        for where in _apart(stage):
            open_spec = with_masks(stage, lambda _, __: TRUE)
            for low in (10**4, 10**9):
                held = mul(indicator(where), stage.scores.body)
                found = with_body(open_spec, stage.name, add(held, mul(-low, indicator(~where))))
                told = f"hides with the finite number -{low}: a row without keys sees all of them"
                yield Change(found, stage.name, told)


@named("cap dropped", "the scores are not capped")
def cap_dropped(spec: Spec) -> Iterator[Change]:
    """Tanh left out, and what it was multiplied with."""
    for stage in stages(spec):
        for node in walk(stage.scores.body):
            if not isinstance(node, Mul):
                continue
            inner = [f for f in node.factors if isinstance(f, Apply) and f.primitive == "tanh"]
            if len(inner) == 1 and holds(inner[0], stage.raw):
                rest = [f for f in node.factors if f is not inner[0]]
                yield _of_scores(
                    stage, node, mul(*rest, inner[0].arguments[0]), "does not cap the scores"
                )


@named(
    "cap after mask", "the cap is applied after the mask, so that hidden keys are seen", ("NRM-09",)
)
def cap_after_mask(spec: Spec) -> Iterator[Change]:
    """Hidden keys have the score that the cap gives minus infinity."""
    for stage in stages(spec):
        body = stage.scores.body
        tanh = [n for n in walk(body) if isinstance(n, Apply) and n.primitive == "tanh"]
        factors = body.factors if isinstance(body, Mul) else ()
        cap = mul(*(f for f in factors if f not in tanh)) if len(tanh) == 1 else ZERO
        if not tanh or cap == ZERO or tanh[0] not in factors:
            continue
        for where in _apart(stage):
            low = mul(-1, cap, indicator(~where))
            spec2 = with_masks(stage, lambda _, __: TRUE)
            found = with_body(spec2, stage.name, add(mul(indicator(where), body), low))
            told = "caps after the mask: a hidden key has the score minus the cap"
            yield Change(found, stage.name, told)


@named("cap of another order", "the cap and the bias are applied in the other order")
def cap_and_bias(spec: Spec) -> Iterator[Change]:
    """The bias inside the cap, or outside."""
    for stage in stages(spec):
        body = stage.scores.body
        for node in walk(body):
            capped = isinstance(node, Mul) and [
                f for f in node.factors if isinstance(f, Apply) and f.primitive == "tanh"
            ]
            if not capped or not isinstance(node, Mul):
                continue
            outer = mul(*(f for f in node.factors if f is not capped[0]))
            (inner,) = capped[0].arguments
            yield from _other_order(stage, node, outer, inner)


def _other_order(stage: Stage, node: Mul, outer: Expr, inner: Expr) -> Iterator[Change]:
    body = stage.scores.body
    if isinstance(body, Add) and node in body.terms:
        others = [t for t in body.terms if t is not node]
        told = "caps the scores with their bias"
        within = add(inner, mul(power(outer, -1), *[add(*others)]))
        yield _of_scores(stage, body, mul(outer, Apply("tanh", (within,))), told)


@named("first channels", "channels beyond a fixed number are not read", ("TIL-11",))
def first_channels(spec: Spec) -> Iterator[Change]:
    """The comparison of query and key over the first channels alone."""
    for stage in stages(spec):
        raw = stage.raw
        if not isinstance(raw, Total) or len(raw.over) != 1:
            continue
        for count in (32, 64, 128):
            some = indicator(Compare("<", as_expr(raw.over[0]), as_expr(count)))
            told = f"compares the first {count} channels of query and key alone"
            yield _of_scores(stage, raw, Total(mul(some, raw.body), raw.over), told)


@named("sign of scores lost", "scores below zero are read as zero or as their opposite")
def sign_of_scores_lost(spec: Spec) -> Iterator[Change]:
    """max(s, 0) or |s| in place of the scores: what inputs above zero alone never show."""
    for stage in stages(spec):
        node = scale_node(stage)
        if node is not None:
            for function, told in SIGNS:
                yield _of_scores(stage, node, Apply(function, (node,)), told)


OPERATORS = (
    scale_dropped,
    scale_added,
    scale_of_the_model,
    scale_of_padding,
    scale_of_another,
    own_scale_ignored,
    bias_scaled,
    bias_dropped,
    bias_of_another_size,
    bias_as_mask,
    mask_as_number,
    finite_sentinel,
    cap_dropped,
    cap_after_mask,
    cap_and_bias,
    first_channels,
    sign_of_scores_lost,
)
