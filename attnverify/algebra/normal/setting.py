"""What the questions of one proof share: limits, what is taken for granted, and the cost so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import z3

from attnverify.algebra.normal.forms import Lin, Var
from attnverify.algebra.normal.formulas import Formula
from attnverify.algebra.terms import Axis, Parameter


class GaveUp(Exception):  # noqa: N818  no error: it ends a proof that costs too much or has no rule
    """The proof stops without an answer; the message is the reason."""


@dataclass(frozen=True)
class Limits:
    """How much one proof may cost, in steps and not on a clock, so that runs repeat.

    z3's own steps per query and in all, the number of queries, the number of rewriting steps, and
    how many parts the formulas that z3 is asked about have in all.
    """

    steps_per_query: int = 50_000
    steps: int = 150_000
    queries: int = 400
    rewrites: int = 3_000
    parts: int = 3_000


class _Context(z3.Context):  # type: ignore[misc]  # z3 publishes no types
    """A context that can be let go of where Ctrl-C comes before it is whole."""

    owner = False


@dataclass(eq=False)
class Setting:
    """What all questions of one proof share, and what they have cost so far."""

    axis_of: Callable[[Var], str]
    parameters: Mapping[str, Parameter]
    limits: Limits
    declared: Mapping[str, Axis] = field(default_factory=dict)
    hypotheses: tuple[Formula, ...] = ()
    defined: tuple[Formula, ...] = ()
    one_to_one: set[str] = field(default_factory=set)
    # By label: what a whole part is of, over the variables -1, -2, ... for its arguments.
    quotients: dict[str, tuple[Lin, Lin]] = field(default_factory=dict)
    question: str = ""  # the last one that nothing satisfies, in SMT-LIB
    asked: int = 0
    steps: int = 0
    parts: int = 0

    @cached_property
    def context(self) -> Any:
        """z3's own state, made anew for each proof and only where one asks."""
        return _Context()

    @property
    def spent(self) -> bool:
        """Whether the queries or z3's steps are used up."""
        return self.asked >= self.limits.queries or self.steps >= self.limits.steps
