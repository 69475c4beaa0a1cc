"""Masks decided for all sizes, or the smallest sizes at which a claim about them fails.

Predicates over indices, sizes and integer parameters are linear integer arithmetic, which z3
decides; boolean inputs are opaque. Where a predicate is not linear the answer may be None: not
known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from attnverify.algebra.normal.build import Builder
from attnverify.algebra.normal.core import Context, GaveUp
from attnverify.algebra.normal.decide import Found
from attnverify.algebra.normal.formulas import Both, Formula, both, either, negated
from attnverify.algebra.normal.printing import formula_text, key_text
from attnverify.algebra.normal.spots import Spot
from attnverify.algebra.normal.support import exists
from attnverify.algebra.predicates import Predicate, as_predicate
from attnverify.algebra.rewrite import free_in
from attnverify.algebra.terms import Index, Parameter


@dataclass(frozen=True)
class Counterexample:
    """Values at which a claim about predicates fails: the smallest sizes, then small positions."""

    sizes: Mapping[str, int]
    positions: Mapping[str, int]
    parameters: Mapping[str, Fraction] = field(default_factory=dict)
    inputs: Mapping[str, bool | int] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [
            *self.sizes.items(),
            *self.positions.items(),
            *self.parameters.items(),
            *self.inputs.items(),
        ]
        return ", ".join(f"{name} = {value}" for name, value in rows)


@dataclass(frozen=True)
class Answer:
    """Whether a claim about predicates holds for all values; None where that is not known.

    `question` is what z3 was asked where it holds, in SMT-LIB: nothing satisfies it.
    """

    holds: bool | None
    counterexample: Counterexample | None = None
    reason: str = ""
    question: str = ""


def implies(
    given: Predicate, then: Predicate, parameters: Iterable[Parameter] = (),
    hypotheses: Iterable[Predicate] = (),
) -> Answer:  # fmt: skip
    """Whether `then` holds wherever `given` does.

    >>> from attnverify.notation import axes
    >>> queries, keys = axes("queries keys")
    >>> i, j = queries["i"], keys["j"]
    >>> implies(j < i, j <= i).holds
    True
    >>> print(implies(j <= i, j < i).counterexample)
    keys = 1, queries = 1, j = 0, i = 0
    """
    question = _Question(parameters, [given, then, *hypotheses])
    return question.answer(
        lambda: [question.formula(given), negated(question.formula(then))], hypotheses
    )


def equivalent(
    one: Predicate, other: Predicate, parameters: Iterable[Parameter] = (),
    hypotheses: Iterable[Predicate] = (),
) -> Answer:  # fmt: skip
    """Whether two predicates hold at the same places."""
    question = _Question(parameters, [one, other, *hypotheses])

    def differ() -> list[Formula]:
        a, b = question.formula(one), question.formula(other)
        return [either([both([a, negated(b)]), both([negated(a), b])])]

    return question.answer(differ, hypotheses)


def never(
    where: Predicate, parameters: Iterable[Parameter] = (), hypotheses: Iterable[Predicate] = ()
) -> Answer:
    """Whether a predicate holds nowhere: a tile under it can be skipped."""
    question = _Question(parameters, [where, *hypotheses])
    return question.answer(lambda: [question.formula(where)], hypotheses)


def every_row_sees(
    where: Predicate, over: Index, parameters: Iterable[Parameter] = (),
    hypotheses: Iterable[Predicate] = (),
) -> Answer:  # fmt: skip
    """Whether some place of `over` satisfies `where` in every row.

    >>> from attnverify.notation import axes
    >>> queries, keys = axes("queries keys")
    >>> i, j = queries["i"], keys["j"]
    >>> every_row_sees(j <= i, j).holds, every_row_sees(j < i, j).holds
    (True, False)
    """
    question = _Question(parameters, [where, *hypotheses])
    return question.answer(lambda: [negated(question.row(where, over))], hypotheses)


def sees_when(where: Predicate, over: Index, parameters: Iterable[Parameter] = ()) -> str:
    """The condition on a row's own indices under which it sees a place of `over`, as text.

    >>> from attnverify.notation import axes
    >>> queries, keys = axes("queries keys")
    >>> i, j = queries["i"], keys["j"]
    >>> sees_when(j < i, j)
    '1 <= i'
    """
    question = _Question(parameters, [where])
    formula = question.row(where, over)
    parts = [p for p in _parts(formula) if not question.ctx.decider.holds(p)]
    return formula_text(question.ctx, both(parts))


def _parts(formula: Formula) -> tuple[Formula, ...]:
    return formula.parts if isinstance(formula, Both) else (formula,)


class _Question:
    """One question about predicates: their free indices as variables of one proof."""

    def __init__(self, parameters: Iterable[Parameter], predicates: Iterable[Predicate]) -> None:
        self.ctx = Context({p.name: p for p in parameters})
        self.builder = Builder(self.ctx)
        found = dict.fromkeys(
            i for predicate in predicates for i in free_in(as_predicate(predicate))
        )
        self.env = {i: Spot(self.ctx.fresh(i.axis.name, i.name)) for i in found}

    def formula(self, where: Predicate) -> Formula:
        """A predicate as a formula."""
        return self.builder.formula(as_predicate(where), self.env)

    def row(self, where: Predicate, over: Index) -> Formula:
        """Whether some place of `over` satisfies `where`."""
        spot = self.builder.binder(over)
        inside = self.builder.formula(as_predicate(where), {**self.env, over: spot})
        return exists(self.ctx, spot.var, inside)

    def answer(
        self, against: Callable[[], list[Formula]], hypotheses: Iterable[Predicate]
    ) -> Answer:
        """The claim holds if the formulas against it can never be true together."""
        try:
            given = [self.formula(hypothesis) for hypothesis in hypotheses]
            if not self.ctx.decider.assume(given):
                return Answer(holds=None, reason="no values are known at which the hypotheses hold")
            found = self.ctx.decider.smallest(against())
        except GaveUp as reason:
            return Answer(holds=None, reason=str(reason))
        if found is None:
            return Answer(holds=True, question=self.ctx.decider.setting.question)
        return Answer(holds=False, counterexample=self._told(found))

    def _told(self, found: Found) -> Counterexample:
        names = {spot.var: index.name for index, spot in self.env.items()}
        entries = {key_text(self.ctx, key): value for key, value in found.entries}
        truths = {formula_text(self.ctx, known): value for known, value in found.truths}
        return Counterexample(
            dict(sorted(found.sizes.items())),
            {names[v]: at for v, at in sorted(found.positions.items()) if v in names},
            found.parameters,
            {**entries, **truths},
        )


__all__ = [
    "Answer",
    "Counterexample",
    "equivalent",
    "every_row_sees",
    "implies",
    "never",
    "sees_when",
]
