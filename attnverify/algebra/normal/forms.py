"""Linear forms over positions, sizes, parameters and integer entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any, TypeAlias

Var: TypeAlias = int
Key: TypeAlias = tuple[Any, ...]
Renaming: TypeAlias = Mapping[Var, Var]


@dataclass(frozen=True, slots=True)
class Lin:
    """The linear form sum of coefficient times key, plus a constant."""

    terms: tuple[tuple[Key, Fraction], ...]
    const: Fraction

    def __add__(self, other: Lin) -> Lin:
        total = dict(self.terms)
        for key, value in other.terms:
            total[key] = total[key] + value if key in total else value
        return lin(total, self.const + other.const)

    def __mul__(self, factor: Fraction | int) -> Lin:
        if factor == 1:
            return self
        return lin({key: value * factor for key, value in self.terms}, self.const * factor)

    def __sub__(self, other: Lin) -> Lin:
        return self + other * -1


def lin(terms: Mapping[Key, Fraction], const: Fraction | int = 0) -> Lin:
    """A linear form, its keys in order."""
    kept = tuple(sorted((key, value) for key, value in terms.items() if value))
    return Lin(kept, Fraction(const))


def variable(var: Var, mark: str = "") -> Lin:
    """The position of a variable, under the map `mark` if there is one."""
    return lin({("v", mark, var): Fraction(1)})


def times(left: Lin, right: Lin) -> Lin:
    """The product of two forms; a product of keys is a key of its own."""
    total: dict[Key, Fraction] = {}
    for key, value in (*left.terms, ((), left.const)):
        for other, factor in (*right.terms, ((), right.const)):
            parts = tuple(sorted([*factors(key), *factors(other)]))
            joined: Key = ("m", parts) if len(parts) > 1 else parts[0] if parts else ()
            total[joined] = total.get(joined, Fraction(0)) + value * factor
    const = total.pop((), Fraction(0))
    return lin(total, const)


def factors(key: Key) -> tuple[Key, ...]:
    """The keys that a key is the product of."""
    if not key:
        return ()
    return tuple(key[1]) if key[0] == "m" else (key,)


def integral(form: Lin, is_real: Callable[[Key], bool]) -> bool:
    """Whether every key of the form is an integer."""
    return not any(is_real(part) for key, _ in form.terms for part in factors(key))


def coprime(form: Lin) -> Fraction:
    """What makes the coefficients coprime integers."""
    bottom = lcm(*(value.denominator for _, value in form.terms))
    return Fraction(bottom, gcd(*(int(value * bottom) for _, value in form.terms)))


def divided(form: Lin, divisor: int) -> Key:
    """The key of the whole part of `form / divisor`; the form's coefficients are whole."""
    return ("d", form.terms, form.const, divisor)


def dividend(key: Key) -> Lin:
    """The form that the key of a whole part divides."""
    return Lin(key[1], key[2])


def form_variables(form: Lin) -> Iterator[Var]:
    """The variables of a linear form, with repetitions."""
    for key, _ in form.terms:
        for part in factors(key):
            if part[0] == "v":
                yield part[2]
            elif part[0] in ("i", "o"):
                yield from part[2]
            elif part[0] == "d":
                yield from form_variables(dividend(part))


def placed_form(form: Lin, var: Var, value: Lin) -> Lin | None:
    """A linear form with a value for a variable that stands in it by itself, else None."""
    key: Key = ("v", "", var)
    rest = lin({other: factor for other, factor in form.terms if other != key}, form.const)
    if var in set(form_variables(rest)):
        return None
    return rest + value * dict(form.terms).get(key, Fraction(0))


def renamed_form(form: Lin, names: Renaming) -> Lin:
    """A linear form with variables renamed; equal keys are joined."""
    total: dict[Key, Fraction] = {}
    for key, value in form.terms:
        new = _renamed_key(key, names)
        total[new] = total[new] + value if new in total else value
    return lin(total, form.const)


def _renamed_key(key: Key, names: Renaming) -> Key:
    match key[0]:
        case "v":
            return ("v", key[1], names.get(key[2], key[2]))
        case "i" | "o":
            return (key[0], key[1], tuple(names.get(arg, arg) for arg in key[2]))
        case "d":
            return divided(renamed_form(dividend(key), names), key[3])
        case "m":
            return ("m", tuple(sorted(_renamed_key(part, names) for part in key[1])))
        case _:
            return key
