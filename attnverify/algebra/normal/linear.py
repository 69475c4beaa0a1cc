"""Positions, sizes, parameters and integer entries as numbers: linear forms and polynomials."""

from __future__ import annotations

from fractions import Fraction

import sympy

from attnverify.algebra.normal.core import Atom, Context, GaveUp, Poly
from attnverify.algebra.normal.forms import Key, Lin, Var, divided, integral, lin, times, variable
from attnverify.algebra.normal.inverse import powered
from attnverify.algebra.normal.poly import add, constant, multiply, scaled, single
from attnverify.algebra.terms import symbol_axis, symbol_index, symbols_of


def polynomial(ctx: Context, form: Lin) -> Poly:
    """A linear form as a polynomial."""
    result = constant(form.const)
    for key, value in form.terms:
        result = add(ctx, result, scaled(_key(ctx, key), value))
    return result


def _key(ctx: Context, key: Key) -> Poly:
    match key[0]:
        case "v":
            return single(Atom("pos", key[1], -1, (key[2],)))
        case "n":
            return single(Atom("size", key[1], -1, ()))
        case "p":
            return single(parameter_atom(ctx, key[1]))
        case "i":
            return single(Atom("int", key[1], -1, key[2]))
        case "d" | "o":
            raise GaveUp("a whole part stands outside a comparison")
    result = constant(1)
    for part in key[1]:
        result = multiply(ctx, result, _key(ctx, part))
    return result


def parameter_atom(ctx: Context, name: str) -> Atom:
    """A parameter as a factor: a positive one is a unit."""
    positive = ctx.parameters[name].positive
    return Atom("positive" if positive else "parameter", name, -1, ())


def scalar_polynomial(ctx: Context, value: sympy.Expr, names: dict[sympy.Symbol, Lin]) -> Poly:
    """A SymPy scalar as a polynomial; `names` says what each index symbol stands for.

    Raises GaveUp for a SymPy function that is not a sum, product or rational power.
    """
    if value.is_Rational:
        return constant(Fraction(int(value.p), int(value.q)))
    if value.is_Symbol:
        return polynomial(ctx, symbol_form(ctx, value, names))
    if value.is_Add or value.is_Mul:
        parts = [scalar_polynomial(ctx, part, names) for part in value.args]
        result = parts[0]
        for part in parts[1:]:
            result = add(ctx, result, part) if value.is_Add else multiply(ctx, result, part)
        return result
    if value.is_Pow and value.exp.is_Rational:
        exponent = Fraction(int(value.exp.p), int(value.exp.q))
        return powered(ctx, scalar_polynomial(ctx, value.base, names), exponent)
    if value in (sympy.pi, sympy.E):
        return single(Atom("positive", f"constant {value}", -1, ()))
    raise GaveUp(f"no rule for the scalar {value}")


def symbol_form(ctx: Context, symbol: sympy.Symbol, names: dict[sympy.Symbol, Lin]) -> Lin:
    """What a symbol of a scalar stands for: a position, a size or a parameter."""
    if symbol in names:
        return names[symbol]
    axis = symbol_axis(symbol)
    if axis is not None:
        return lin({("n", axis): Fraction(1)})
    if symbol.name in ctx.parameters:
        return lin({("p", symbol.name): Fraction(1)})
    raise GaveUp(f"the name {symbol.name} is neither an index in reach, a size nor a parameter")


def scalar_form(ctx: Context, value: sympy.Expr, names: dict[sympy.Symbol, Lin]) -> Lin | None:
    """A SymPy scalar as a linear form (products of keys are keys), or None where it is none."""
    if value.is_Rational:
        return lin({}, Fraction(int(value.p), int(value.q)))
    if value.is_Symbol:
        return symbol_form(ctx, value, names)
    if value.is_Add or value.is_Mul:
        parts = [scalar_form(ctx, part, names) for part in value.args]
        result = lin({}, 0 if value.is_Add else 1)
        for part in parts:
            if part is None:
                return None
            result = result + part if value.is_Add else times(result, part)
        return result
    if value.is_Pow and value.exp.is_Integer and value.exp > 0:
        base = scalar_form(ctx, value.base, names)
        result = lin({}, 1)
        for _ in range(int(value.exp)):
            if base is None:
                return None
            result = times(result, base)
        return result
    if isinstance(value, sympy.floor):
        return _whole_part(ctx, value, names)
    return None


def _whole_part(ctx: Context, value: sympy.floor, names: dict[sympy.Symbol, Lin]) -> Lin | None:
    """The whole part of a form divided by a number; by anything else it is opaque."""
    above, below = value.args[0].as_numer_denom()
    form = scalar_form(ctx, sympy.expand(above), names)
    if below.is_Integer and below > 0 and form is not None and _whole(ctx, form):
        return lin({divided(form, int(below)): Fraction(1)})
    return lin({_opaque(ctx, value, names): Fraction(1)})


def _opaque(ctx: Context, value: sympy.Expr, names: dict[sympy.Symbol, Lin]) -> Key:
    """A whole number of which only this is known: equal arguments give equal values."""
    slots: dict[sympy.Symbol, sympy.Symbol] = {}
    args: list[Var] = []
    for symbol in symbols_of(value):
        if symbol in names:
            ((_, mark, var), _) = names[symbol].terms[0]
            slots[symbol] = sympy.Symbol(f"#{len(args)}{mark}", integer=True)
            args.append(var)
        elif symbol_index(symbol) is not None:
            raise GaveUp(f"nothing binds the index {symbol}")
    label = str(value.xreplace(slots))
    _note_quotient(ctx, label, value, {s: names[s] for s in slots})
    return ("o", label, tuple(args))


def _note_quotient(
    ctx: Context, label: str, value: sympy.Expr, names: dict[sympy.Symbol, Lin]
) -> None:
    """Note of what quotient of whole numbers a label is the whole part, if it is of one."""
    marks = [names[symbol].terms[0][0][1] for symbol in names]
    slots = {s: variable(-1 - n, m) for n, (s, m) in enumerate(zip(names, marks, strict=True))}
    parts = value.args[0].as_numer_denom()
    above, below = (scalar_form(ctx, sympy.expand(part), slots) for part in parts)
    if above is not None and below is not None and _whole(ctx, above) and _whole(ctx, below):
        ctx.decider.setting.quotients[label] = (above, below)


def _whole(ctx: Context, form: Lin) -> bool:
    """Whether a form is a whole number by its coefficients and keys."""
    numbers = [form.const, *(number for _, number in form.terms)]
    return integral(form, ctx.decider.is_real) and all(n.denominator == 1 for n in numbers)
