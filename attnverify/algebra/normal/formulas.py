"""What coefficients are made of: formulas over positions, sizes and parameters.

A variable is an integer with an axis; its value is a position of that axis. A key of a linear form
is a tuple whose first part says what it is: a variable (perhaps under a map), a size, a parameter,
an entry of an integer input, the whole part of a form divided by a number, or a product of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from attnverify.algebra.normal.forms import (
    Key,
    Lin,
    Renaming,
    Var,
    coprime,
    factors,
    form_variables,
    integral,
    placed_form,
    renamed_form,
)


class Formula:
    """A statement that is true or false once its variables, sizes and parameters have values."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Truth(Formula):
    """Always true, or always false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Below(Formula):
    """`form <= 0`, or `form < 0` when strict."""

    form: Lin
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Zero(Formula):
    """`form = 0`."""

    form: Lin


@dataclass(frozen=True, slots=True)
class Known(Formula):
    """An opaque predicate of variables: a boolean input, or a fact about a class of polynomials."""

    name: str
    args: tuple[Var, ...]


@dataclass(frozen=True, slots=True)
class Negated(Formula):
    """The part is false."""

    part: Formula


@dataclass(frozen=True, slots=True)
class Both(Formula):
    """Every part is true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Either(Formula):
    """Some part is true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Exists(Formula):
    """The part is true for some position of the variable on its axis."""

    var: Var
    part: Formula


TRUE, FALSE = Truth(value=True), Truth(value=False)


def below(form: Lin, *, strict: bool, is_real: Callable[[Key], bool]) -> Formula:
    """`form <= 0` (or `< 0`) in lowest terms.

    Over integers `<` becomes `<=` and constants are rounded.
    """
    if not form.terms:
        return Truth(form.const < 0 if strict else form.const <= 0)
    scale = coprime(form)
    form = form * scale
    if not integral(form, is_real):
        return Below(form, strict)
    bound = -form.const
    whole = bound.numerator // bound.denominator
    if strict and whole == bound:
        whole -= 1
    return Below(Lin(form.terms, Fraction(-whole)))


def zero(form: Lin, is_real: Callable[[Key], bool]) -> Formula:
    """`form = 0` in lowest terms, its first coefficient positive."""
    if not form.terms:
        return Truth(form.const == 0)
    form = form * (coprime(form) if form.terms[0][1] > 0 else -coprime(form))
    if integral(form, is_real) and form.const.denominator != 1:
        return FALSE
    return Zero(form)


def negated(formula: Formula) -> Formula:
    """The negation."""
    match formula:
        case Truth(value):
            return Truth(not value)
        case Negated(part):
            return part
        case _:
            return Negated(formula)


def both(parts: Iterable[Formula]) -> Formula:
    """The conjunction, flattened."""
    kept: dict[Formula, None] = {}
    for part in parts:
        for piece in part.parts if isinstance(part, Both) else (part,):
            if piece == FALSE:
                return FALSE
            if piece != TRUE:
                kept[piece] = None
    return TRUE if not kept else next(iter(kept)) if len(kept) == 1 else Both(tuple(kept))


def either(parts: Iterable[Formula]) -> Formula:
    """The disjunction, flattened."""
    kept: dict[Formula, None] = {}
    for part in parts:
        for piece in part.parts if isinstance(part, Either) else (part,):
            if piece == TRUE:
                return TRUE
            if piece != FALSE:
                kept[piece] = None
    return FALSE if not kept else next(iter(kept)) if len(kept) == 1 else Either(tuple(kept))


def variables(formula: Formula) -> Iterator[Var]:
    """The free variables of a formula, with repetitions."""
    match formula:
        case Below(form, _) | Zero(form):
            yield from form_variables(form)
        case Known(_, args):
            yield from args
        case Negated(part):
            yield from variables(part)
        case Both(parts) | Either(parts):
            for part in parts:
                yield from variables(part)
        case Exists(var, part):
            yield from (other for other in variables(part) if other != var)
        case _:
            return


def parts_of(formula: Formula) -> Iterator[Formula]:
    """The formula and every formula inside it."""
    yield formula
    match formula:
        case Negated(part) | Exists(_, part):
            yield from parts_of(part)
        case Both(parts) | Either(parts):
            for part in parts:
                yield from parts_of(part)
        case _:
            return


def opaque(formula: Formula) -> Iterator[Known]:
    """The opaque predicates of free variables in a formula."""
    free = set(variables(formula))
    for part in parts_of(formula):
        if isinstance(part, Known) and free.issuperset(part.args):
            yield part


def integer_entries(formula: Formula) -> Iterator[Key]:
    """The entries of integer inputs at free variables in a formula."""
    free = set(variables(formula))
    for part in parts_of(formula):
        if isinstance(part, Below | Zero):
            for key, _ in part.form.terms:
                yield from (k for k in factors(key) if k[0] == "i" and free.issuperset(k[2]))


def guessed(formula: Formula) -> bool:
    """Whether a formula has a key whose values z3 is free to choose: a model is no example then."""
    return any(
        factor[0] == "o"
        for part in parts_of(formula)
        if isinstance(part, Below | Zero)
        for key, _ in part.form.terms
        for factor in factors(key)
    )


def placed(formula: Formula, var: Var, form: Lin, is_real: Callable[[Key], bool]) -> Formula | None:
    """The formula with a whole number for a variable that forms alone mention, else None."""
    match formula:
        case Below(inside, strict):
            new = placed_form(inside, var, form)
            return None if new is None else below(new, strict=strict, is_real=is_real)
        case Zero(inside):
            new = placed_form(inside, var, form)
            return None if new is None else zero(new, is_real)
        case Negated(part):
            inner = placed(part, var, form, is_real)
            return None if inner is None else negated(inner)
        case Both(parts) | Either(parts):
            found = [placed(part, var, form, is_real) for part in parts]
            kept = [part for part in found if part is not None]
            join = both if isinstance(formula, Both) else either
            return join(kept) if len(kept) == len(found) else None
        case _:
            return None if var in set(variables(formula)) else formula


def renamed(formula: Formula, names: Renaming, is_real: Callable[[Key], bool]) -> Formula:
    """The formula with free variables renamed.

    The caller keeps bound variables apart from the new names.
    """
    match formula:
        case Below(form, strict):
            return below(renamed_form(form, names), strict=strict, is_real=is_real)
        case Zero(form):
            return zero(renamed_form(form, names), is_real)
        case Known(name, args):
            return Known(name, tuple(names.get(arg, arg) for arg in args))
        case Negated(part):
            return negated(renamed(part, names, is_real))
        case Both(parts):
            return both(renamed(part, names, is_real) for part in parts)
        case Either(parts):
            return either(renamed(part, names, is_real) for part in parts)
        case Exists(var, part):
            inner = {old: new for old, new in names.items() if old != var}
            if var in inner.values():
                raise AssertionError("a renaming would capture a bound variable")
            body = renamed(part, inner, is_real)
            return body if isinstance(body, Truth) else Exists(var, body)
        case _:
            return formula
