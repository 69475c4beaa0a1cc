"""Formulas over positions, sizes, parameters and integer entries, as the checker writes them.

A form is a sum of rational multiples of keys and a constant. A key is ("v", mark, variable) for a
position (under a map where there is a mark), ("n", axis) for a size, ("p", name) for a parameter,
("i", label, variables) for an entry of an integer input, ("o", label, variables) for a whole number
about which nothing else is known, ("d", form, divisor) for a whole part, ("m", keys) for a product.
A formula is ("le", form) for form <= 0, ("lt", form), ("eq", form), ("known", name, variables),
("not", f), ("and", fs), ("or", fs), ("exists", variable, axis, f), TRUE or FALSE.
Variables of quantifiers are negative, so that no other variable is ever captured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple, TypeAlias

from attnverify.certify.errors import Rejected

Var: TypeAlias = int
Key: TypeAlias = tuple[Any, ...]
Formula: TypeAlias = tuple[Any, ...]
Names: TypeAlias = Mapping[Var, Var]
Reals: TypeAlias = frozenset[str]  # the parameters that need not be whole

TRUE: Formula = ("true",)
FALSE: Formula = ("false",)


class Form(NamedTuple):
    """A sum of rational multiples of keys, and a constant."""

    terms: tuple[tuple[Key, Fraction], ...]
    const: Fraction


def form(terms: Mapping[Key, Fraction], const: Fraction | int = 0) -> Form:
    """A form, its keys in order."""
    kept = sorted(
        ((key, value) for key, value in terms.items() if value), key=lambda row: repr(row[0])
    )
    return Form(tuple(kept), Fraction(const))


def plus(left: Form, right: Form, factor: Fraction | int = 1) -> Form:
    """`left + factor * right`."""
    total = dict(left.terms)
    for key, value in right.terms:
        total[key] = total.get(key, Fraction(0)) + factor * value
    return form(total, left.const + factor * right.const)


def times(left: Form, right: Form) -> Form:
    """The product; a product of keys is a key."""
    total: dict[Key, Fraction] = {}
    for key, value in (*left.terms, ((), left.const)):
        for other, factor in (*right.terms, ((), right.const)):
            joined = product([*factors(key), *factors(other)])
            total[joined] = total.get(joined, Fraction(0)) + value * factor
    const = total.pop((), Fraction(0))
    return form(total, const)


def factors(key: Key) -> tuple[Key, ...]:
    """The keys that a key is a product of."""
    if not key:
        return ()
    return tuple(key[1]) if key[0] == "m" else (key,)


def product(keys: list[Key]) -> Key:
    """A product of keys as a key."""
    if len(keys) < 2:
        return keys[0] if keys else ()
    return ("m", tuple(sorted(keys, key=repr)))


def position(var: Var, mark: str = "") -> Form:
    """A variable's position."""
    return form({("v", mark, var): Fraction(1)})


def form_variables(found: Form) -> Iterator[Var]:
    """The variables of a form, with repetitions."""
    for key, _ in found.terms:
        yield from key_variables(key)


def key_variables(key: Key) -> Iterator[Var]:
    """The variables of a key, with repetitions."""
    match key[0]:
        case "v":
            yield key[2]
        case "i" | "o":
            yield from key[2]
        case "d":
            yield from form_variables(key[1])
        case "m":
            for part in key[1]:
                yield from key_variables(part)


def renamed_form(found: Form, names: Names) -> Form:
    """A form with variables renamed."""
    total: dict[Key, Fraction] = {}
    for key, value in found.terms:
        new = renamed_key(key, names)
        total[new] = total.get(new, Fraction(0)) + value
    return form(total, found.const)


def renamed_key(key: Key, names: Names) -> Key:
    """A key with variables renamed."""
    match key[0]:
        case "v":
            return ("v", key[1], names.get(key[2], key[2]))
        case "i" | "o":
            return (key[0], key[1], tuple(names.get(arg, arg) for arg in key[2]))
        case "d":
            return ("d", renamed_form(key[1], names), key[2])
        case "m":
            return product([renamed_key(part, names) for part in key[1]])
    return key


def whole_valued(found: Form, reals: Reals) -> bool:
    """Whether every key of a form stands for a whole number."""
    parts = (part for key, _ in found.terms for part in factors(key))
    return not any(part[0] == "p" and part[1] in reals for part in parts)


def _lowest(found: Form) -> Form:
    """A positive multiple of a form, its coefficients (not the constant) coprime integers."""
    bottom = lcm(*(value.denominator for _, value in found.terms))
    top = gcd(*(int(value * bottom) for _, value in found.terms))
    return scaled(found, Fraction(bottom, top))


def scaled(found: Form, factor: Fraction | int) -> Form:
    """A form times a number."""
    return form({key: value * factor for key, value in found.terms}, found.const * factor)


def below(found: Form, reals: Reals, *, strict: bool = False) -> Formula:
    """`form <= 0`, or `form < 0`; over whole numbers the constant is rounded."""
    if not found.terms:
        return TRUE if found.const < 0 or (found.const == 0 and not strict) else FALSE
    found = _lowest(found)
    if not whole_valued(found, reals):
        return ("lt" if strict else "le", found)
    # sum <= -const over whole numbers; for <, sum <= ceil(-const) - 1
    bound = -found.const
    most = (
        -((-bound.numerator) // bound.denominator) - 1
        if strict
        else bound.numerator // bound.denominator
    )
    return ("le", Form(found.terms, Fraction(-most)))


def zero(found: Form, reals: Reals) -> Formula:
    """`form = 0`."""
    if not found.terms:
        return TRUE if found.const == 0 else FALSE
    found = _lowest(found)
    if found.terms[0][1] < 0:
        found = scaled(found, -1)
    if whole_valued(found, reals) and found.const.denominator != 1:
        return FALSE
    return ("eq", found)


def negation(formula: Formula) -> Formula:
    """The negation."""
    if formula in (TRUE, FALSE):
        return FALSE if formula == TRUE else TRUE
    return formula[1] if formula[0] == "not" else ("not", formula)


def conjunction(parts: Iterable[Formula]) -> Formula:
    """All parts together."""
    return _joined("and", parts, TRUE, FALSE)


def disjunction(parts: Iterable[Formula]) -> Formula:
    """Some of the parts."""
    return _joined("or", parts, FALSE, TRUE)


def _joined(head: str, parts: Iterable[Formula], neutral: Formula, absorbing: Formula) -> Formula:
    kept: dict[Formula, None] = {}
    for part in parts:
        for piece in part[1] if part[0] == head else (part,):
            if piece == absorbing:
                return absorbing
            if piece != neutral:
                kept[piece] = None
    if len(kept) < 2:
        return next(iter(kept), neutral)
    return (head, tuple(sorted(kept, key=repr)))


def exists(var: Var, axis: str, part: Formula, reals: Reals) -> Formula:
    """The part for some position of a variable; an axis is never empty."""
    if part in (TRUE, FALSE) or var not in set(variables(part)):
        return part
    bound = -1 - _height(part)
    return ("exists", bound, axis, renamed(part, {var: bound}, reals))


def _height(formula: Formula) -> int:
    match formula[0]:
        case "not":
            return _height(formula[1])
        case "and" | "or":
            return max(map(_height, formula[1]))
        case "exists":
            return 1 + _height(formula[3])
    return 0


def variables(formula: Formula) -> Iterator[Var]:
    """The free variables of a formula, with repetitions."""
    match formula[0]:
        case "le" | "lt" | "eq":
            yield from form_variables(formula[1])
        case "known":
            yield from formula[2]
        case "not":
            yield from variables(formula[1])
        case "and" | "or":
            for part in formula[1]:
                yield from variables(part)
        case "exists":
            yield from (var for var in variables(formula[3]) if var != formula[1])


def renamed(formula: Formula, names: Names, reals: Reals) -> Formula:
    """The formula with free variables renamed; those of its quantifiers are no names of others."""
    match formula[0]:
        case "le" | "lt":
            return below(renamed_form(formula[1], names), reals, strict=formula[0] == "lt")
        case "eq":
            return zero(renamed_form(formula[1], names), reals)
        case "known":
            return ("known", formula[1], tuple(names.get(arg, arg) for arg in formula[2]))
        case "not":
            return negation(renamed(formula[1], names, reals))
        case "and":
            return conjunction(renamed(part, names, reals) for part in formula[1])
        case "or":
            return disjunction(renamed(part, names, reals) for part in formula[1])
        case "exists":
            _, var, axis, part = formula
            if var in names or any(new == var for new in names.values()):
                raise Rejected("a renaming would capture a quantified variable")
            return exists(var, axis, renamed(part, names, reals), reals)
    return formula
