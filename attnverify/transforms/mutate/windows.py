"""Windows: bounds of the key that are off by some positions, or of the wrong sign."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from attnverify.algebra.predicates import Compare, Predicate, disjunction
from attnverify.algebra.terms import (
    Scalar,
    as_expr,
)
from attnverify.spec import Spec
from attnverify.transforms.mutate.bounds import (
    LOWER,
    UPPER,
    changed,
    each_part,
    sense,
    symbols,
    widened,
)
from attnverify.transforms.mutate.operator import Change, named
from attnverify.transforms.mutate.sites import At, stages


def _moved_bounds(spec: Spec, kind: str, steps: dict[int, str]) -> Iterator[Change]:
    """The bounds of one sense moved by some keys."""
    for stage in stages(spec):
        for by, sentence in steps.items():

            def moved(where: Predicate, at: At, by: int = by) -> Predicate:
                right = sense(where, at) == kind
                return widened(where, by) if right and isinstance(where, Compare) else where

            yield changed(stage, each_part(moved), sentence)


@named("offset", "the last key that a query sees is one too far, or one too near")
def offset(spec: Spec) -> Iterator[Change]:
    """The upper bound of the key moved by one or two."""
    yield from _moved_bounds(
        spec,
        UPPER,
        {
            -1: "hides the last key that each query should see",
            1: "lets each query see one key too many ahead",
            2: "lets each query see two keys too many ahead",
        },
    )


@named("window", "the window is one key too wide, or too narrow", ("MSK-06", "MSK-08"))
def window(spec: Spec) -> Iterator[Change]:
    """The lower bound of the key moved by one or two."""
    yield from _moved_bounds(
        spec,
        LOWER,
        {
            1: "has a window one key wider than its size says",
            -1: "has a window one key narrower than its size says",
            -2: "has a window two keys narrower than its size says",
            2: "has a window two keys wider than its size says",
        },
    )


@named("window sign", "a window of the wrong sign counts as no window at all", ("MSK-11",))
def window_sign(spec: Spec) -> Iterator[Change]:
    """The lower bound is lost wherever a window is given as positive."""
    for stage in stages(spec):
        for parameter in spec.parameters:
            given = Compare(">", Scalar(parameter.symbol), as_expr(0))

            def unbounded(
                where: Predicate,
                at: At,
                symbol: sympy.Symbol = parameter.symbol,
                given: Predicate = given,
            ) -> Predicate:
                if sense(where, at) != LOWER or symbol not in symbols(where):
                    return where
                return disjunction(where, given)

            sentence = f"takes a negated {parameter.name} for no bound: earlier keys are all seen"
            yield changed(stage, each_part(unbounded), sentence)


OPERATORS = (window, offset, window_sign)
