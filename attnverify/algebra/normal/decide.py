"""Decides what formulas and coefficients say for all sizes; `unknown` is never a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from attnverify.algebra.normal.examples import Examples
from attnverify.algebra.normal.forms import Key, Lin, Var
from attnverify.algebra.normal.formulas import Formula, Negated
from attnverify.algebra.normal.query import Found, Piecewise, Query, fraction, is_number
from attnverify.algebra.normal.setting import GaveUp, Limits, Setting
from attnverify.algebra.terms import Axis, Parameter


class Decider:
    """Asks z3, with indices in range, sizes as declared, parameters in their domains."""

    def __init__(
        self,
        axis_of: Callable[[Var], str],
        parameters: Mapping[str, Parameter],
        limits: Limits,
        declared: Mapping[str, Axis] | None = None,
    ) -> None:
        self.setting = Setting(axis_of, parameters, limits, declared or {})
        self.examples = Examples(self.setting)

    @property
    def spent(self) -> bool:
        """Whether the proof has used up its queries or z3's steps."""
        return self.setting.spent

    @property
    def asked(self) -> int:
        """How many queries were made."""
        return self.setting.asked

    def assume(self, hypotheses: Iterable[Formula]) -> bool:
        """Take formulas for granted from now on, if values are known that make them true."""
        self.setting.hypotheses = tuple(hypotheses)
        return not self.setting.hypotheses or Query(self.setting).model(()) is not None

    def define(self, formula: Formula) -> None:
        """Take a formula for granted that says where a new variable stands."""
        self.setting.defined = (*self.setting.defined, formula)

    @property
    def assumed(self) -> tuple[Formula, ...]:
        """The formulas taken for granted."""
        return self.setting.hypotheses

    def one_to_one(self, *marks: str) -> None:
        """Take maps for one-to-one."""
        self.setting.one_to_one.update(marks)

    def is_real(self, key: Key) -> bool:
        """Whether a key of a linear form may take values that are not whole."""
        return key[0] == "p" and not self.setting.parameters[key[1]].integer

    def holds(self, formula: Formula, given: Iterable[Formula] = ()) -> bool:
        """Whether a formula is true wherever the given ones are."""
        claims = [*given, Negated(formula)]
        return not self.examples.any(claims) and Query(self.setting).impossible(claims)

    def vanishes(self, values: Piecewise, given: Iterable[Formula] = ()) -> bool:
        """Whether the sum is 0 wherever the given formulas hold."""
        given = list(given)
        if self.examples.any(given, lambda: self.examples.sum(values) != 0):
            return False
        query = Query(self.setting)
        return query.impossible(given, lambda: query.sum(values) != 0)

    def numbers_vanish(
        self, values: Sequence[tuple[Formula, Lin]], given: Iterable[Formula] = ()
    ) -> bool:
        """Whether a sum of whole numbers times indicators is 0 wherever the given formulas hold."""
        given = list(given)
        if self.examples.any(given, lambda: self.examples.sum_of_forms(values) != 0):
            return False
        query = Query(self.setting)
        return query.impossible(given, lambda: query.sum_of_forms(values) != 0)

    def never_negative(self, values: Piecewise, given: Iterable[Formula] = ()) -> bool:
        """Whether the sum is at least 0 wherever the given formulas hold."""
        given = list(given)
        if self.examples.any(given, lambda: self.examples.sum(values) < 0):
            return False
        query = Query(self.setting)
        return query.impossible(given, lambda: query.sum(values) < 0)

    def numbers_never_negative(self, values: Sequence[tuple[Formula, Lin]]) -> bool:
        """Whether a sum of numbers times indicators is at least 0."""
        if self.examples.any((), lambda: self.examples.sum_of_forms(values) < 0):
            return False
        query = Query(self.setting)
        return query.impossible((), lambda: query.sum_of_forms(values) < 0)

    def smallest(self, given: Iterable[Formula]) -> Found | None:
        """Values that make the formulas true, with the least total of sizes, if there are any.

        Raises GaveUp where z3 does not know.
        """
        return Query(self.setting).smallest(list(given))

    def ratio(
        self, values: Piecewise, unit: Piecewise, given: Iterable[Formula] = ()
    ) -> Fraction | None:
        """The q for which `values = q unit` wherever the given formulas hold, if there is one."""
        given = list(given)
        q = self._ratio_somewhere(values, unit, given)
        if q is None:
            return None
        difference = [*values, *((formula, -q * value) for formula, value in unit)]
        if self.examples.any(given, lambda: self.examples.sum(difference) != 0):
            return None
        check = Query(self.setting)
        return q if check.impossible(given, lambda: check.sum(difference) != 0) else None

    def _ratio_somewhere(
        self, values: Piecewise, unit: Piecewise, given: list[Formula]
    ) -> Fraction | None:
        """What `values / unit` is where the given formulas hold and the unit is not 0."""
        examples = self.examples
        case = examples.first(given, lambda: examples.sum(unit) != 0)
        if case is not None:
            return examples.exactly(values, case) / examples.exactly(unit, case)
        query = Query(self.setting)
        top, bottom = query.sum(values), query.sum(unit)
        model = query.model(given, bottom != 0)
        if model is None:
            return None
        found = [model.eval(part, model_completion=True) for part in (top, bottom)]
        if not all(map(is_number, found)):  # it does not say for which position a quantifier holds
            return None
        return fraction(found[0]) / fraction(found[1])


__all__ = ["Decider", "Found", "GaveUp", "Limits"]
