"""One question to z3: formulas as z3 sees them, and the values that it finds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import z3

from attnverify.algebra.normal.forms import Key, Lin, Var, dividend
from attnverify.algebra.normal.formulas import (
    Below,
    Both,
    Either,
    Exists,
    Formula,
    Known,
    Negated,
    Truth,
    Zero,
    guessed,
    integer_entries,
    opaque,
)
from attnverify.algebra.normal.products import lemmas
from attnverify.algebra.normal.setting import GaveUp, Setting

MOST_STEPS_DOWN = 60  # towards the smallest counterexample

_SORTS = {"i": "int", "o": "whole"}

Z3: TypeAlias = Any  # z3 publishes no types
Piecewise: TypeAlias = Sequence[tuple[Formula, Fraction]]  # the sum of value times [formula]


@dataclass(frozen=True)
class Found:
    """What z3 found: sizes, positions, parameters, integer entries and opaque predicates."""

    sizes: Mapping[str, int]
    positions: Mapping[Var, int]
    parameters: Mapping[str, Fraction]
    entries: tuple[tuple[Key, int], ...]
    truths: tuple[tuple[Known, bool], ...]


def fraction(value: Z3) -> Fraction:
    """A z3 number as a fraction."""
    return Fraction(value.as_fraction() if z3.is_rational_value(value) else value.as_long())


def is_number(value: Z3) -> bool:
    """Whether z3 gives a number, and not a formula about one."""
    return bool(z3.is_rational_value(value) or z3.is_int_value(value))


class Query:
    """One question, with what is known of every variable, size and parameter in it."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.context = setting, setting.context
        self.facts: dict[Key, Z3] = {}
        self.images: dict[str, dict[Var, Z3]] = {}
        self.products: dict[Key, None] = {}
        self.found: Z3 = None

    def impossible(
        self, formulas: Iterable[Formula], further: Callable[[], Z3] | None = None
    ) -> bool:
        """Whether no values make all formulas and the further constraint true."""
        return bool(self._with_lemmas(self._ask(formulas, further and further())) == z3.unsat)

    def _with_lemmas(self, answer: Z3) -> Z3:
        """The answer once z3 is told what follows for the products in a question, if it has any."""
        if answer == z3.unsat or not self.products or self.setting.spent:
            return answer
        facts = len(self.facts)
        self.solver.add(*(row for key in list(self.products) for row in lemmas(self, key)))
        self.solver.add(*list(self.facts.values())[facts:])
        answer = self.solver.check()
        self.setting.steps = self._steps()
        return answer

    def model(self, formulas: Iterable[Formula], further: Z3 | None = None) -> Z3 | None:
        """Values that make all true, or None where none were found."""
        return self.solver.model() if self._ask(formulas, further) == z3.sat else None

    def _ask(self, formulas: Iterable[Formula], further: Z3 | None) -> Z3:
        setting = self.setting
        if setting.spent:
            return z3.unknown
        setting.asked += 1
        self.solver = z3.Solver(ctx=self.context)
        self.solver.set("rlimit", setting.limits.steps_per_query)
        claims = [self.formula(f) for f in (*setting.hypotheses, *setting.defined, *formulas)]
        if further is not None:
            claims.append(further)
        self.solver.add(*claims, *self.facts.values(), *self._one_to_one())
        answer = self.solver.check()
        setting.steps = self._steps()
        return answer

    def _steps(self) -> int:
        """The steps that z3 has made in this context; it counts them over all solvers."""
        statistics = self.solver.statistics()
        names = statistics.keys()
        return int(statistics.get_key_value("rlimit count")) if "rlimit count" in names else 0

    def smallest(self, formulas: list[Formula]) -> Found | None:
        """The model with the least total of sizes, then of positions and parameters."""
        answer = self._with_lemmas(self._ask(formulas, None))
        if answer == z3.unsat:
            self.setting.question = self.solver.to_smt2()
            return None
        if any(map(guessed, (*self.setting.hypotheses, *formulas))):
            raise GaveUp("z3 knows no whole part of a division by what is not a number")
        if answer != z3.sat:
            raise GaveUp(
                "z3 does not know: the predicate is not linear in indices, sizes and parameters"
            )
        self.found = self.solver.model()
        fixed = self._least([self.size(key[1]) for key in self.facts if key[0] == "n"])
        small = [self.key(key) for key in list(self.facts) if key[0] in ("v", "p")]
        self.solver.add(fixed)
        self._least(small)
        return self._found(formulas)

    def _least(self, parts: list[Z3]) -> Z3:
        """Bring the total of some values down as far as the solver can, and return that bound."""
        if not parts:
            return self.truth(value=True)
        total = z3.Sum(*parts) if len(parts) > 1 else parts[0]
        best = self.found.eval(total, model_completion=True)
        for _ in range(MOST_STEPS_DOWN):
            self.solver.push()
            self.solver.add(total < best)
            better = self.solver.check() == z3.sat
            # The model is kept: asked again for what it has found already, z3 may not know.
            self.found = self.solver.model() if better else self.found
            self.solver.pop()
            if not better:
                break
            best = self.found.eval(total, model_completion=True)
        self.solver.add(total <= best)
        return total <= best

    def _found(self, formulas: list[Formula]) -> Found:
        model = self.found

        def value(term: Z3) -> Fraction:
            return fraction(model.eval(term, model_completion=True))

        known = dict.fromkeys(part for formula in formulas for part in opaque(formula))
        whole = dict.fromkeys(key for formula in formulas for key in integer_entries(formula))
        return Found(
            {k[1]: int(value(self.size(k[1]))) for k in self.facts if k[0] == "n"},
            {k[2]: int(value(self.key(k))) for k in list(self.facts) if k[:2] == ("v", "")},
            {k[1]: value(self._parameter(k[1])) for k in list(self.facts) if k[0] == "p"},
            tuple((key, int(value(self.key(key)))) for key in whole),
            tuple(
                (k, z3.is_true(model.eval(self.formula(k), model_completion=True))) for k in known
            ),
        )

    def sum(self, values: Piecewise) -> Z3:
        """The sum of values times indicators."""
        zero = z3.RealVal(0, self.context)
        return z3.Sum(
            zero,
            *(z3.If(self.formula(f), z3.RealVal(str(q), self.context), zero) for f, q in values),
        )

    def sum_of_forms(self, values: Sequence[tuple[Formula, Lin]]) -> Z3:
        """The sum of linear forms times indicators."""
        zero = z3.RealVal(0, self.context)
        rows = []
        for formula, form in values:
            number = self.form(form)
            real = z3.ToReal(number) if z3.is_int(number) else number
            rows.append(z3.If(self.formula(formula), real, zero))
        return z3.Sum(zero, *rows)

    def formula(self, formula: Formula) -> Z3:
        """A formula for z3."""
        self.setting.parts += 1
        if self.setting.parts > self.setting.limits.parts:
            raise GaveUp("the formulas grew too large to be asked about")
        match formula:
            case Truth(value):
                return self.truth(value=value)
            case Below(form, strict):
                return self.form(form) < 0 if strict else self.form(form) <= 0
            case Zero(form):
                return self.form(form) == 0
            case Known(name, args):
                sorts = [z3.IntSort(self.context)] * len(args)
                symbol = z3.Function(f"known {name}", *sorts, z3.BoolSort(self.context))
                return symbol(*map(self.var, args))
            case Negated(part):
                return z3.Not(self.formula(part))
            case Both(parts):
                return z3.And(*map(self.formula, parts))
            case Either(parts):
                return z3.Or(*map(self.formula, parts))
            case Exists(var, part):
                return self._exists(var, part)
        raise TypeError(f"no such formula: {formula!r}")

    def _exists(self, var: Var, part: Formula) -> Z3:
        inner = Query(self.setting)
        body = inner.formula(part)
        inner.facts.pop(("v", "", var), None)
        self.var(var)
        inside = self.facts.pop(("v", "", var))
        about = [fact for key, fact in inner.facts.items() if self._mentions(key, var)]
        self.facts.update({k: f for k, f in inner.facts.items() if not self._mentions(k, var)})
        symbol = z3.Int(f"v{var}", self.context)
        return z3.Exists([symbol], z3.And(inside, *about, body))

    @staticmethod
    def _mentions(key: Key, var: Var) -> bool:
        return bool(key[0] == "v" and key[2] == var)

    def form(self, form: Lin) -> Z3:
        """A linear form for z3."""
        total = self.number(form.const)
        for key, value in form.terms:
            total = total + self.number(value) * self.key(key)
        return total

    def truth(self, *, value: bool) -> Z3:
        """A truth value for z3."""
        return z3.BoolVal(value, self.context)

    def number(self, value: Fraction) -> Z3:
        """A number for z3, an integer where it is whole."""
        if value.denominator == 1:
            return z3.IntVal(int(value), self.context)
        return z3.RealVal(str(value), self.context)

    def key(self, key: Key) -> Z3:
        """A key of a linear form for z3."""
        match key[0]:
            case "v":
                return self.var(key[2]) if not key[1] else self._image(key)
            case "n":
                return self.size(key[1])
            case "p":
                return self._parameter(key[1])
            case "i" | "o":
                if key[0] == "o" and key[1] in self.setting.quotients:
                    self.products.setdefault(key)
                sorts = [z3.IntSort(self.context)] * (len(key[2]) + 1)
                return z3.Function(f"{_SORTS[key[0]]} {key[1]}", *sorts)(*map(self.var, key[2]))
            case "d":
                # z3 divides integers towards minus infinity where the divisor is positive.
                return self.form(dividend(key)) / z3.IntVal(key[3], self.context)
            case "m":
                self.products.setdefault(key)
                return z3.Product(*map(self.key, key[1]))
        raise TypeError(f"no such key: {key!r}")

    def var(self, var: Var) -> Z3:
        """A variable's position, in the range of its axis."""
        symbol = z3.Int(f"v{var}", self.context)
        size = self.size(self.setting.axis_of(var))
        self.facts[("v", "", var)] = z3.And(symbol >= 0, symbol < size)
        return symbol

    def _image(self, key: Key) -> Z3:
        mark, var = key[1], key[2]
        sort = z3.IntSort(self.context)
        image = z3.Function(f"map {mark}", sort, sort)(self.var(var))
        size = self.size(self.setting.axis_of(var))
        # The fact is about this very position: a map says nothing outside its axis.
        self.facts[key] = z3.And(image >= 0, image < size)
        self.images.setdefault(mark, {})[var] = image
        return image

    def _one_to_one(self) -> list[Z3]:
        rows = []
        for mark, images in self.images.items():
            if mark in self.setting.one_to_one:
                seen = list(images.items())
                rows += [(a == b) == (self.var(u) == self.var(v))
                         for n, (u, a) in enumerate(seen) for v, b in seen[:n]]  # fmt: skip
        return rows

    def size(self, axis: str) -> Z3:
        """The size of an axis, at least 1, and as it is declared."""
        symbol = z3.Int(f"n {axis}", self.context)
        if ("n", axis) in self.facts:
            return symbol
        self.facts[("n", axis)] = symbol >= 1
        declared = self.setting.declared.get(axis)
        if declared is not None and declared.follows:
            parts = [self.size(part.name) for part in declared.addends]
            due = z3.Sum(*parts) if parts else z3.IntVal(declared.fixed, self.context)
            self.facts[("n", axis)] = z3.And(symbol >= 1, symbol == due)
        return symbol

    def _parameter(self, name: str) -> Z3:
        parameter = self.setting.parameters[name]
        make = z3.Int if parameter.integer else z3.Real
        symbol = make(f"p {name}", self.context)
        bounds = [
            (parameter.ge, operator.ge), (parameter.gt, operator.gt),
            (parameter.le, operator.le), (parameter.lt, operator.lt),
        ]  # fmt: skip
        limits = [
            rule(symbol, self.number(bound)) for bound, rule in bounds if bound is not None
        ]  # fmt: skip
        if parameter.multiple_of is not None:
            limits.append(symbol % parameter.multiple_of == 0)
        self.facts[("p", name)] = z3.And(*limits) if limits else self.truth(value=True)
        return symbol
