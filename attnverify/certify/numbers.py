"""Scalars of positions, sizes and parameters as forms."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import sympy

from attnverify.algebra.terms import symbol_axis, symbol_index, symbols_of
from attnverify.certify.equal import integral
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import Form, Key, Var, form, plus, position, times
from attnverify.certify.kernel import Kernel


def symbol_form(k: Kernel, symbol: sympy.Symbol, names: Mapping[sympy.Symbol, Form]) -> Form:
    """What a symbol stands for: a position, a size or a parameter."""
    if symbol in names:
        return names[symbol]
    axis = symbol_axis(symbol)
    if axis is not None:
        return form({("n", axis): Fraction(1)})
    if symbol.name in k.parameters:
        return form({("p", symbol.name): Fraction(1)})
    raise Rejected(f"{symbol.name} is neither an index in reach, a size nor a parameter")


def scalar_form(k: Kernel, value: sympy.Expr, names: Mapping[sympy.Symbol, Form]) -> Form | None:
    """A scalar as a form, or None where it is none."""
    if value.is_Rational:
        return form({}, Fraction(int(value.p), int(value.q)))
    if value.is_Symbol:
        return symbol_form(k, value, names)
    if value.is_Add or value.is_Mul:
        return joined([scalar_form(k, p, names) for p in value.args], adds=value.is_Add)
    if value.is_Pow and value.exp.is_Integer and value.exp > 0:
        base = scalar_form(k, value.base, names)
        return joined([base] * int(value.exp), adds=False)
    if isinstance(value, sympy.floor):
        return _whole_part(k, value, names)
    return None


def _whole_part(k: Kernel, value: sympy.floor, names: Mapping[sympy.Symbol, Form]) -> Form:
    above, under = value.args[0].as_numer_denom()
    found = scalar_form(k, sympy.expand(above), names)
    if under.is_Integer and under > 0 and found is not None and integral(found, k):
        return form({("d", found, int(under)): Fraction(1)})
    return form({_unknown(k, value, names): Fraction(1)})


def _unknown(k: Kernel, value: sympy.Expr, names: Mapping[sympy.Symbol, Form]) -> Key:
    """A whole number of which this is known: equal arguments give equal values.

    Where it is the whole part of a quotient of whole numbers, that is noted too.
    """
    slots: dict[sympy.Symbol, sympy.Symbol] = {}
    args: list[Var] = []
    for symbol in symbols_of(value):
        if symbol in names:
            ((_, mark, var), _) = names[symbol].terms[0]
            slots[symbol] = sympy.Symbol(f"#{len(args)}{mark}", integer=True)
            args.append(var)
        elif symbol_index(symbol) is not None:
            raise Rejected(f"nothing binds the index {symbol}")
    label = str(value.xreplace(slots))
    if label not in k.quotients:
        own = {
            symbol: position(-1 - n, names[symbol].terms[0][0][1]) for n, symbol in enumerate(slots)
        }
        parts = [scalar_form(k, sympy.expand(p), own) for p in value.args[0].as_numer_denom()]
        if all(part is not None and integral(part, k) for part in parts):
            above, under = (part for part in parts if part is not None)
            k.quotients[label] = (above, under)
    return ("o", label, tuple(args))


def joined(found: list[Form | None], *, adds: bool) -> Form | None:
    """A sum or a product of forms, None where one of them is none."""
    result = form({}, 0 if adds else 1)
    for one in found:
        if one is None:
            return None
        result = plus(result, one) if adds else times(result, one)
    return result
