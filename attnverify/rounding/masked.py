"""Masks that are written as indicators, in specs without a softmax: where a key may leak in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attnverify.algebra.predicates import Holds, Predicate
from attnverify.algebra.rewrite import free, rebuild
from attnverify.algebra.terms import Entry, Expr, Indicator, Mul, Tensor, indicator
from attnverify.equations import Equation
from attnverify.spec import Spec


@dataclass(frozen=True)
class Written:
    """A mask that an equation multiplies its weights with, and which of its places are keys."""

    head: Entry
    where: Predicate
    keys: tuple[int, ...]

    def with_shown(self, expr: Expr, name: str) -> Expr:
        """The expression where the mask also shows the places of a further boolean input."""
        if isinstance(expr, Indicator) and expr.where == self.where:
            return indicator(self.where | Holds(Entry(Tensor(name, "bool"), self.head.places)))
        return rebuild(expr, lambda child: self.with_shown(child, name))


def written_mask(spec: Spec) -> Written | None:
    """The first mask over rows and keys of a spec's weights; None where nothing is masked so.

    >>> from attnverify import load
    >>> found = written_mask(load("retention"))
    >>> str(found.head), found.keys
    ('W[b,h,t,s]', (3,))
    """
    return next(_written(spec), None)


def _written(spec: Spec) -> Iterator[Written]:
    """Masks that are factors of an equation's body; keys are what no output has."""
    kept = {index for out in spec.outputs for index in spec.heads[out].indices}
    for statement in spec.equations:
        factors = statement.body.factors if isinstance(statement, Equation) and isinstance(
            statement.body, Mul) else ()  # fmt: skip
        for factor in factors:
            if not isinstance(statement, Equation) or not isinstance(factor, Indicator):
                continue
            flat = [p if isinstance(p, tuple) else (p,) for p in statement.head.places]
            keys = tuple(n for n, place in enumerate(flat) if not kept & set(place))
            used = set(free(factor))
            rows = used & kept
            if keys and rows and used <= set(statement.head.indices):
                yield Written(statement.head, factor.where, keys)
