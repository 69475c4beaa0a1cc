"""A plan: statements without recurrences that together imply a statement about recurrences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import Entry, Expr
from attnverify.serial.write import expression_tree, predicate_tree
from attnverify.statement import Statement


@dataclass(frozen=True)
class Plan:
    """What is to be proved in place of a statement, in order, and in words why that is enough.

    `told` are the lines by which `attnverify.certify` works out by itself what there is to prove.
    """

    words: tuple[str, ...]
    obligations: tuple[Statement, ...]
    told: tuple[str, ...] = field(default=(), compare=False)


def told(*words: object) -> str:
    """A line of a certificate; expressions, predicates and equations as specs write theirs."""
    return f"({' '.join(_word(word) for word in words)})"


def named_before(before: Mapping[str, Entry]) -> tuple[str, ...]:
    """What the values of states before each step are called."""
    return tuple(told("before", state, entry.tensor.name) for state, entry in before.items())


def _word(word: object) -> str:
    if isinstance(word, str):
        return word
    return f"|{json.dumps(_tree(word))}|"


def _tree(word: object) -> object:
    if isinstance(word, Expr):
        return expression_tree(word)
    if isinstance(word, Predicate):
        return predicate_tree(word)
    if isinstance(word, tuple):
        return [_tree(part) for part in word]
    raise TypeError(f"a certificate has no words for {word!r}")
