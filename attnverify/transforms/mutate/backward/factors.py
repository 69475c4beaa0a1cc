"""Factors of gradients: scales, signs, the cap's derivative, dropout, cotangents."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import sympy

from attnverify.algebra.rewrite import walk
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Add,
    Apply,
    Entry,
    Expr,
    Indicator,
    Mul,
    Power,
    Scalar,
    add,
    apply,
    as_expr,
    mul,
    negative,
    power,
)
from attnverify.equations import Equation
from attnverify.spec import Spec
from attnverify.transforms.mutate.backward.derived import Derived, Exchange, backward_bug
from attnverify.transforms.mutate.operator import Change
from attnverify.transforms.mutate.scores import scale_of, width
from attnverify.transforms.mutate.sites import Stage, holds, stages, with_node

HALF = Fraction(1, 2)


def _by_scores(found: Derived) -> list[str]:
    """The inputs that scores compare: queries and keys."""
    raws = [stage.raw for stage in stages(found.source) if stage.raw is not None]
    read = {n.tensor.name for raw in raws for n in walk(raw) if isinstance(n, Entry)}
    return [name for name in found.slopes if name in read]


def _some(names: list[str]) -> list[list[str]]:
    """All, then each alone."""
    return [names, *([n] for n in names)] if len(names) > 1 else [names] if names else []


def _listed(names: list[str]) -> str:
    return " and ".join(f"d{name}" for name in names)


@backward_bug("scale of gradients", "the scale of the scores is missing from gradients, or twice")
def scaled(found: Derived) -> Iterator[Change]:
    """dQ, dK or both without the scale of the scores, or with it twice."""
    for stage in stages(found.source):
        scale, d = scale_of(stage), width(stage)
        if scale == 1 or d is None:
            continue
        for names in _some(_by_scores(found)):
            at = found.slopes[names[0]].name
            for told, factor in (
                ("misses the scale of the scores in", power(Scalar(scale), -1)),
                ("has the scale of the scores twice in", Scalar(scale)),
            ):
                yield Change(found.scaled(names, factor), at, f"{told} {_listed(names)}")


@backward_bug("base of gradients", "exponentials of base 2 leave a factor in gradients")
def of_base_two(found: Derived) -> Iterator[Change]:
    """dQ, dK or both times log 2, or over it."""
    if not found.row_terms:
        return
    two = Scalar(sympy.log(2))
    for names in _some(_by_scores(found)):
        at = found.slopes[names[0]].name
        for told, factor in (("multiplied with", two), ("divided by", power(two, -1))):
            words = f"leaves {_listed(names)} {told} the logarithm of 2"
            yield Change(found.scaled(names, factor), at, words)


@backward_bug("gradient lost", "a gradient is zero, of the wrong sign, or twice what it should be")
def lost(found: Derived) -> Iterator[Change]:
    """0, minus or two times the gradient by one input."""
    for name, row in found.slopes.items():
        for told, factor in (
            (f"gives zeros for d{name}", ZERO),
            (f"gives d{name} with the wrong sign", as_expr(-1)),
            (f"adds d{name} twice", as_expr(2)),
            (f"halves d{name}", as_expr(HALF)),
        ):
            yield Change(found.with_slopes({name: mul(factor, row.body)}), row.name, told)


@backward_bug("scale of the bias's gradient", "the gradient by a bias has the scale of the scores")
def bias_scaled(found: Derived) -> Iterator[Change]:
    """The gradient by what is added to the scores, times their scale."""
    for stage in stages(found.source):
        scale = scale_of(stage)
        others = [n for n in found.slopes if n not in _by_scores(found)]
        read = {n.tensor.name for n in walk(stage.scores.body) if isinstance(n, Entry)}
        direct = [n for n in others if n in read]
        for name in direct if scale != 1 else ():
            at = found.slopes[name].name
            told = f"multiplies d{name} with the scale of the scores"
            yield Change(found.scaled([name], Scalar(scale)), at, told)


@backward_bug("cap's derivative", "the derivative of the cap is missing or wrong")
def cap(found: Derived) -> Iterator[Change]:
    """1, 1 - tanh or 1 - (cap tanh)^2 in place of 1 - tanh^2."""
    factors = {node: part for body in _bodies(found) for node, part in _slopes_of_caps(body)}
    if not factors:
        return
    caps = [s for s in map(_cap, stages(found.source)) if s is not None]
    options: list[tuple[str, dict[Expr, Expr]]] = [
        ("misses the derivative of the cap, 1 - tanh^2", dict.fromkeys(factors, ONE)),
        ("takes 1 - tanh for the derivative of the cap",
         {n: add(1, negative(t)) for n, t in factors.items()}),
        ("multiplies with the derivative of the cap twice",
         {n: power(n, 2) for n in factors}),
    ]  # fmt: skip
    for factor in caps:
        options.append((
            "takes 1 - capped^2 for the derivative of the cap, not divided by the cap",
            {n: add(1, negative(power(mul(factor, t), 2))) for n, t in factors.items()},
        ))  # fmt: skip
        options.append((
            "takes the derivative of the cap of scores that are not divided by it",
            {n: add(1, negative(power(_inner(t, factor), 2))) for n, t in factors.items()},
        ))  # fmt: skip
    for told, to in options:
        yield Change(_replaced(found, to), found.spec.outputs[0], told)


def _inner(tanh: Expr, factor: Expr) -> Expr:
    """The hyperbolic tangent of the capped scores themselves."""
    return apply("tanh", mul(factor, tanh))


def _bodies(found: Derived) -> list[Expr]:
    return [s.body for s in found.spec.equations
            if isinstance(s, Equation) and s.name in found.backward]  # fmt: skip


def _slopes_of_caps(body: Expr) -> Iterator[tuple[Add, Expr]]:
    for node in walk(body):
        if not isinstance(node, Add) or len(node.terms) != 2:
            continue
        for term in node.terms:
            for part in walk(term):
                if (
                    isinstance(part, Power)
                    and part.exponent == 2
                    and isinstance(part.base, Apply)
                    and part.base.primitive == "tanh"
                ):
                    yield node, part.base


def _cap(stage: Stage) -> Expr | None:
    """What the hyperbolic tangent of the scores is multiplied with."""
    for node in walk(stage.scores.body):
        if isinstance(node, Mul):
            inner = [f for f in node.factors if isinstance(f, Apply) and f.primitive == "tanh"]
            if inner and holds(inner[0], stage.raw):
                return mul(*(f for f in node.factors if f is not inner[0]))
    return None


def _replaced(found: Derived, to: dict[Expr, Expr]) -> Spec:
    bodies: dict[str, Expr] = {}
    for s in found.spec.equations:
        if isinstance(s, Equation) and s.name in found.backward:
            body = s.body
            for old, new in to.items():
                body = with_node(body, old, new)
            bodies[s.name] = body
    return found.with_bodies(bodies)


@backward_bug(
    "dropout of gradients", "the backward pass drops or scales in its own way", ("DRP-03",)
)
def dropout(found: Derived) -> Iterator[Change]:
    """The factor p for 1/(1 - p), or none, or what is dropped kept, in the weights' gradient."""
    for row in found.spec.equations:
        body = row.body if isinstance(row, Equation) else None
        if not isinstance(row, Equation) or row.name not in found.backward:
            continue
        if not isinstance(body, Mul):
            continue
        kept = [f for f in body.factors if isinstance(f, Indicator)]
        scales = [f for f in body.factors if _by_parameters(found, f)]
        if not kept or not scales:
            continue
        rest = [f for f in body.factors if f not in kept and f not in scales]
        for parameter in found.spec.parameters:
            told = f"scales the weights' gradient by {parameter.name}, not by {_text(scales)}"
            yield Change(
                found.with_bodies({row.name: mul(*rest, *kept, Scalar(parameter.symbol))}),
                row.name, told,
            )  # fmt: skip
        for told, new in (
            ("does not scale the weights' gradient for what dropout keeps", mul(*rest, *kept)),
            ("does not drop the weights' gradient", mul(*rest, *scales)),
            ("takes no account of dropout in the weights' gradient", mul(*rest)),
        ):
            yield Change(found.with_bodies({row.name: new}), row.name, told)


def _text(scales: list[Expr]) -> str:
    return str(mul(*scales))


def _by_parameters(found: Derived, factor: Expr) -> bool:
    own = {p.symbol for p in found.spec.parameters}
    nodes = [n for n in walk(factor) if isinstance(n, Scalar)]
    return any(n.value.free_symbols & own for n in nodes)


@backward_bug("cotangent ignored", "the cotangent of one output is ignored", ("GRD-10",))
def cotangent(found: Derived) -> Iterator[Change]:
    """Zeros for the cotangent of one of several outputs."""
    for output, seed in found.seeds.items() if len(found.seeds) > 1 else ():
        for told, factor in (
            (f"ignores the cotangent of {output}", ZERO),
            (f"subtracts the cotangent of {output}", as_expr(-1)),
        ):
            spec = found.exchanged({seed: _times(factor)})
            yield Change(spec, seed, told)


def _times(factor: Expr) -> Exchange:
    return lambda entry: mul(factor, entry)


OPERATORS = (scaled, cap, dropout, cotangent, bias_scaled, of_base_two)
LATER = (lost,)
