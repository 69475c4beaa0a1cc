"""Mutation: a spec with one bug in it is a spec, and so it compiles, derives and verifies.

Operators are data: a name, the public bugs that they stand for, what they compute in words, and a
rewrite of any spec that has the stage.
"""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.errors import SpecError
from attnverify.spec import Spec
from attnverify.transforms.mutate import (
    aggregates,
    heads,
    masks,
    normalisers,
    positions,
    scores,
    tiles,
    windows,
)
from attnverify.transforms.mutate.operator import (
    Citation,
    Mutant,
    Operator,
    citations,
    computed,
)
from attnverify.transforms.naming import name_softmaxes

FORWARD_OPERATORS: tuple[Operator, ...] = (
    *windows.OPERATORS,
    *masks.OPERATORS,
    *tiles.OPERATORS,
    *scores.OPERATORS,
    *normalisers.OPERATORS,
    *positions.OPERATORS,
    *heads.OPERATORS,
    *aggregates.OPERATORS,
)


def operators() -> tuple[Operator, ...]:
    """Every operator, the likelier ones first."""
    return FORWARD_OPERATORS


def mutants(spec: Spec) -> Iterator[Mutant]:
    """Every mutant of a forward spec with one bug, the likelier ones first, each spec once.

    A rewrite whose result is no well-formed spec is none.

    >>> from attnverify import load
    >>> found = next(mutants(load("causal")))
    >>> print(found.sentence, "|", found.spec.equation("A"))
    hides the last key that each query should see | A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i - 1)
    """
    named = name_softmaxes(spec)
    seen = {computed(named)}
    for operator in FORWARD_OPERATORS:
        for mutant in _formed(operator, named):
            key = computed(mutant.spec)
            if key not in seen:
                seen.add(key)
                yield mutant


def _formed(operator: Operator, spec: Spec) -> Iterator[Mutant]:
    try:
        yield from operator.mutants(spec)
    except SpecError:
        return


__all__ = [
    "Citation",
    "Mutant",
    "Operator",
    "citations",
    "mutants",
    "operators",
]
