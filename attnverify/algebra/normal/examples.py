"""Cases at which formulas are true, looked for by trying, before z3 is asked whether there are any.

Most of what a proof asks is not so, and some small case shows it. A case gives every axis a size,
every variable a position, every parameter a value of its domain, every map and every opaque
predicate its values. All cases are tried at once. What no case shows is left to z3, so a case that
is missing costs time, and one that is wrong can only lose a proof.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.normal.forms import Key, Lin, Var, dividend, renamed_form
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
)
from attnverify.algebra.normal.setting import Setting
from attnverify.algebra.terms import Parameter

Array: TypeAlias = NDArray[Any]
Env: TypeAlias = Mapping[Var, Array]

CASES = 256
# Sizes in the cases; most are small, so that positions often meet.
SIZES = (1, 2, 2, 3, 3, 4, 5, 6)
# Numbers above this are left to z3: here they are machine integers.
LARGEST = 2**31
MIX = np.uint64(0x9E3779B97F4A7C15)


class Untried(Exception):  # noqa: N818  no error: it leaves a question to z3
    """A formula that no case is known for."""


class Examples:
    """The cases of one proof; each is made where a formula first needs it.

    >>> from attnverify.algebra.normal.forms import variable
    >>> from attnverify.algebra.normal.setting import Limits
    >>> examples = Examples(Setting(lambda var: "keys", {}, Limits()))
    >>> first, second = variable(0), variable(1)
    >>> examples.any([Below(first - second)]), examples.any([Zero(first - first)])
    (True, True)
    >>> examples.any([Below(first - second, strict=True), Below(second - first, strict=True)])
    False
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.sizes: dict[str, Array] = {}
        self.positions: dict[Var, Array] = {}
        self.values: dict[str, Array] = {}
        self.maps: dict[tuple[str, str], Array] = {}
        # By identity, which is quicker than equality; the formula is kept, so no other has its own.
        self.seen: dict[int, tuple[Formula, Array]] = {}
        self.granted: tuple[tuple[Formula, ...], Array] = ((), np.ones(CASES, bool))

    def any(self, formulas: Iterable[Formula], further: Callable[[], Array] | None = None) -> bool:
        """Whether some case is known at which all formulas are true, and the further claim."""
        return self.first(formulas, further) is not None

    def first(
        self, formulas: Iterable[Formula], further: Callable[[], Array] | None = None
    ) -> int | None:
        """The first such case."""
        try:
            fits = self._granted()
            for formula in formulas:
                fits = fits & self.truth(formula, {})
            if further is not None and fits.any():
                fits = fits & further()
        except Untried:
            return None
        return int(fits.argmax()) if fits.any() else None

    def sum(self, values: Sequence[tuple[Formula, Fraction]]) -> Array:
        """A positive multiple of the sum of values times indicators, in each case."""
        scale = lcm(*(value.denominator for _, value in values))
        total = np.zeros(CASES, np.int64)
        for formula, value in values:
            total += _whole(value * scale) * self.truth(formula, {})
        return total

    def exactly(self, values: Sequence[tuple[Formula, Fraction]], case: int) -> Fraction:
        """The sum of values times indicators in one case."""
        return sum((v for formula, v in values if self.truth(formula, {})[case]), Fraction(0))

    def sum_of_forms(self, values: Sequence[tuple[Formula, Lin]]) -> Array:
        """A positive multiple of the sum of linear forms times indicators, in each case."""
        scale = lcm(*(_denominator(form) for _, form in values))
        total: Array = np.zeros(CASES)
        for formula, form in values:
            total = total + self._form(form, scale, {}) * self.truth(formula, {})
        return total

    # ---- what is taken for granted

    def _granted(self) -> Array:
        """The cases at which all is true that the proof takes for granted."""
        setting = self.setting
        due = (*setting.hypotheses, *setting.defined)
        if self.granted[0] != due:
            fits = np.ones(CASES, bool)
            for formula in due:
                fits &= self.truth(formula, {})
            self.granted = due, fits
        return self.granted[1]

    # ---- formulas

    def truth(self, formula: Formula, env: Env) -> Array:
        """Where a formula is true; `env` gives the positions of what a quantifier binds."""
        match formula:
            case Truth(value):
                return np.full(CASES, value)
            case Negated(part):
                return ~self.truth(part, env)
            case Both(parts):
                return np.asarray(np.logical_and.reduce([self.truth(part, env) for part in parts]))
            case Either(parts):
                return np.asarray(np.logical_or.reduce([self.truth(part, env) for part in parts]))
        if env:
            return self._atomic(formula, env)
        if id(formula) not in self.seen:
            self.seen[id(formula)] = formula, self._atomic(formula, env)
        return self.seen[id(formula)][1]

    def _atomic(self, formula: Formula, env: Env) -> Array:
        match formula:
            case Below(form, strict):
                value = self._form(form, _denominator(form), env)
                return np.asarray(value < 0 if strict else value <= 0)
            case Zero(form):
                return np.asarray(self._form(form, _denominator(form), env) == 0)
            case Known(name, args):
                return np.asarray(self._mixed(f"known {name}", args, env) % np.uint64(2) == 1)
            case Exists(var, part):
                size = self.size(self.setting.axis_of(var))
                found = np.zeros(CASES, bool)
                for place in range(int(size.max())):
                    inside = {**env, var: np.full(CASES, place)}
                    found |= (place < size) & self.truth(part, inside)
                return found
        raise Untried

    def _mixed(self, name: str, args: Sequence[Var], env: Env) -> Array:
        """A number that a function gives its arguments in each case: equal ones, equal numbers."""
        mixed = self._salt ^ np.uint64(zlib.crc32(name.encode()))
        for arg in args:
            mixed = (mixed ^ self.position(arg, env).astype(np.uint64)) * MIX
            mixed ^= mixed >> np.uint64(29)
        return (mixed * MIX) >> np.uint64(40)

    @cached_property
    def _salt(self) -> Array:
        return np.arange(1, CASES + 1, dtype=np.uint64) * MIX

    # ---- forms

    def _form(self, form: Lin, scale: int, env: Env) -> Array:
        total: Array = np.full(CASES, _whole(form.const * scale))
        for key, factor in form.terms:
            total = total + _whole(factor * scale) * self._key(key, env)
        return total

    def _key(self, key: Key, env: Env) -> Array:
        match key[0]:
            case "v":
                place = self.position(key[2], env)
                return self._image(key[1], key[2], place) if key[1] else place
            case "n":
                return self.size(key[1])
            case "p":
                return self.parameter(key[1])
            case "o" if key[1] in self.setting.quotients:
                return self._quotient(key, env)
            case "i" | "o":
                return (self._mixed(f"{key[0]} {key[1]}", key[2], env) % 7).astype(np.int64) - 1
            case "d" if key[3] > 0:
                inside = dividend(key)
                if _denominator(inside) == 1:
                    return np.asarray(self._form(inside, 1, env) // key[3])
            case "m":
                found = self._key(key[1][0], env)
                for part in key[1][1:]:
                    found = found * self._key(part, env)
                return found
        raise Untried

    def _quotient(self, key: Key, env: Env) -> Array:
        """The whole part of a quotient; any number where it divides by what is not positive."""
        names = {-1 - place: arg for place, arg in enumerate(key[2])}
        above, below = (
            self._form(renamed_form(form, names), 1, env) for form in self.setting.quotients[key[1]]
        )
        other = (self._mixed(f"o {key[1]}", key[2], env) % 7).astype(np.int64) - 1
        return np.asarray(np.where(below >= 1, above // np.maximum(below, 1), other))

    def position(self, var: Var, env: Env) -> Array:
        """A variable's position in each case, on its axis.

        In every other case the variables of an axis stand close to each other.
        """
        if var in env:
            return env[var]
        if var not in self.positions:
            axis = self.setting.axis_of(var)
            size = self.size(axis)
            far = _drawn(f"v {var}").integers(0, 60, CASES)
            near = _drawn(f"about {axis}").integers(0, 60, CASES) + far % 3 - 1
            about = np.where(np.arange(CASES) % 2 == 0, far, near)
            told = self._told(var)
            self.positions[var] = about % size if told is None else told
        return self.positions[var]

    def _told(self, var: Var) -> Array | None:
        """Where a variable stands that the proof has put somewhere."""
        for formula in self.setting.defined:
            if isinstance(formula, Zero):
                place = dict(formula.form.terms).get(("v", "", var))
                if place in (1, -1):
                    rest = (formula.form + Lin(((("v", "", var), -place),), Fraction(0))) * -place
                    return self._form(rest, 1, {})
        return None

    def _image(self, mark: str, var: Var, place: Array) -> Array:
        """What a map of an axis makes of positions: any map, or one that is one-to-one."""
        axis = self.setting.axis_of(var)
        if (mark, axis) not in self.maps:
            size = self.size(axis)[:, None]
            drawn = _drawn(f"map {mark} {axis}").integers(0, 60, (CASES, max(SIZES)))
            inside = np.arange(max(SIZES))[None, :] < size
            table = np.argsort(np.where(inside, drawn, 60), axis=1, kind="stable")
            self.maps[mark, axis] = table if mark in self.setting.one_to_one else drawn % size
        if int(place.max()) >= max(SIZES):
            raise Untried
        return self.maps[mark, axis][np.arange(CASES), place]

    def size(self, axis: str) -> Array:
        """The size of an axis in each case, as it is declared."""
        if axis not in self.sizes:
            declared = self.setting.declared.get(axis)
            if declared is None or not declared.follows:
                found = _drawn(f"n {axis}").choice(SIZES, CASES)
            elif declared.addends:
                found = sum((self.size(part.name) for part in declared.addends), np.zeros(1, int))
            else:
                found = np.full(CASES, declared.fixed)
            self.sizes[axis] = found
        return self.sizes[axis]

    def parameter(self, name: str) -> Array:
        """A parameter's value in each case."""
        if name not in self.values:
            self.values[name] = _in_domain(self.setting.parameters[name])
        return self.values[name]


def _drawn(name: str) -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _whole(value: Fraction) -> int:
    if value.denominator != 1 or abs(value.numerator) > LARGEST:
        raise Untried
    return value.numerator


def _denominator(form: Lin) -> int:
    return lcm(form.const.denominator, *(factor.denominator for _, factor in form.terms))


def _in_domain(parameter: Parameter) -> Array:
    """Values of a parameter, in quarters where they need not be whole; Untried where none is known.

    All are exact as numbers of the machine.
    """
    least = next((b for b in (parameter.ge, parameter.gt) if b is not None), None)
    most = next((b for b in (parameter.le, parameter.lt) if b is not None), None)
    start = least if least is not None else most - 4 if most is not None else Fraction(-2)
    step = Fraction(parameter.multiple_of or 1) if parameter.integer else Fraction(1, 4)
    first = -(-start // step) * step
    found = [first + n * step for n in range(8)]
    kept = [value for value in found if _allowed(parameter, value)]
    if not kept:
        raise Untried
    values = np.array([float(value) for value in kept])
    if parameter.integer:
        values = values.astype(np.int64)
    return np.asarray(_drawn(f"p {parameter.name}").choice(values, CASES))


def _allowed(parameter: Parameter, value: Fraction) -> bool:
    return (
        (parameter.ge is None or value >= parameter.ge)
        and (parameter.gt is None or value > parameter.gt)
        and (parameter.le is None or value <= parameter.le)
        and (parameter.lt is None or value < parameter.lt)
        and abs(value) < LARGEST
    )
