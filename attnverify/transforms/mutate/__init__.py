"""Mutation: a spec with one bug in it is a spec, and so it compiles, derives and verifies.

Operators are data: a name, the public bugs that they stand for, what they compute in words, and a
rewrite of any spec that has the stage.
"""

from __future__ import annotations

from collections.abc import Iterator

from attnverify.spec import Spec
from attnverify.transforms.mutate import (
    aggregates,
    heads,
    masks,
    normalisers,
    positions,
    scores,
)
from attnverify.transforms.mutate.operator import (
    BACKWARD,
    FORWARD,
    Citation,
    Mutant,
    Operator,
    citations,
)
from attnverify.transforms.naming import name_softmaxes

FORWARD_OPERATORS: tuple[Operator, ...] = (
    *masks.OPERATORS,
    *scores.OPERATORS,
    *normalisers.OPERATORS,
    *positions.OPERATORS,
    *heads.OPERATORS,
    *aggregates.OPERATORS,
)


def operators(of: str = FORWARD) -> tuple[Operator, ...]:
    """Every operator on forward specs, the likelier ones first."""
    return FORWARD_OPERATORS


def mutants(spec: Spec) -> Iterator[Mutant]:
    """Every mutant of a forward spec with one bug, the likelier ones first, each spec once.

    >>> from attnverify import load
    >>> found = next(mutants(load("causal")))
    >>> print(found.sentence, "|", found.spec.equation("A"))
    computes the mask aligned bottom-right | A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i + n_k - n_q)
    """
    named = name_softmaxes(spec)
    seen = {named.equations}
    for operator in FORWARD_OPERATORS:
        for mutant in operator.mutants(named):
            key = (mutant.spec.inputs, mutant.spec.equations)
            if key not in seen:
                seen.add(key)
                yield mutant


__all__ = [
    "BACKWARD",
    "FORWARD",
    "Citation",
    "Mutant",
    "Operator",
    "citations",
    "mutants",
    "operators",
]
