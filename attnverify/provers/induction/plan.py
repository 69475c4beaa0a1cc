"""A plan: statements without recurrences that together imply a statement about recurrences."""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.statement import Statement


@dataclass(frozen=True)
class Plan:
    """What is to be proved in place of a statement, in order, and in words why that is enough.

    `told` are the lines by which `attnverify.certify` knows the plan, if it can check it.
    """

    words: tuple[str, ...]
    obligations: tuple[Statement, ...]
    told: tuple[str, ...] = ()
