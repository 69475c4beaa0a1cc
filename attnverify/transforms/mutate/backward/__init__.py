"""Mutation of gradients: a derived backward pass with one bug in it, beside a right forward pass.

Operators take a forward spec, derive its gradient, and rewrite that; what they give compiles and is
compared like any spec.
"""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.errors import SpecError
from attnverify.spec import Spec
from attnverify.transforms.mutate.backward import factors, rows, sums, weights
from attnverify.transforms.mutate.backward.derived import Derived, derived
from attnverify.transforms.mutate.operator import Mutant, Operator, computed

BACKWARD_OPERATORS: tuple[Operator, ...] = (
    *rows.OPERATORS,
    *factors.OPERATORS,
    *sums.OPERATORS,
    *weights.OPERATORS,
    *factors.LATER,
    *sums.LATER,
)


def backward_mutants(spec: Spec) -> Iterator[Mutant]:
    """Every gradient of a forward spec with one bug in it, the likelier ones first, each once.

    A mutant's spec has the inputs of `gradient(spec)` and its outputs.  A rewrite whose result is
    no well-formed spec is none.

    >>> from attnverify import load
    >>> first = next(backward_mutants(load("global")))
    >>> print(first.sentence, "|", first.spec.equation("dS"))
    drops the row term of the softmax's gradient: dS = A dA | dS[b,h,i,j] = A[b,h,i,j] dA[b,h,i,j]
    """
    found = derived(spec)
    if found is None:
        return
    seen = {computed(found.spec)}
    for operator in BACKWARD_OPERATORS:
        for mutant in _formed(operator, found):
            key = computed(mutant.spec)
            if key not in seen:
                seen.add(key)
                yield mutant


def _formed(operator: Operator, found: Derived) -> Iterator[Mutant]:
    try:
        yield from operator.mutants(found.source)
    except SpecError:
        return


__all__ = ["BACKWARD_OPERATORS", "Derived", "backward_mutants", "derived"]
