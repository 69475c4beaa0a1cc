"""Positions that a mask gives: another variable's, an end of the axis, or a whole number."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from attnverify.certify.coefs import coef_product, indicator
from attnverify.certify.formulas import (
    Form,
    Formula,
    Var,
    below,
    conjunction,
    form,
    form_variables,
    plus,
    position,
    scaled,
    variables,
    whole_valued,
    zero,
)
from attnverify.certify.kernel import Conj, Kernel, Term


def equated(k: Kernel, formula: Formula) -> tuple[Var, Var] | None:
    """The two variables of one axis that a formula says stand at one position."""
    if formula[0] != "eq" or len(formula[1].terms) > 2:
        return None
    if len(formula[1].terms) != 2 or formula[1].const:
        return _at_end(k, formula)
    (one, p), (other, q) = formula[1].terms
    if one[0] != "v" or other[0] != "v" or one[1] or other[1] or p != -q:
        return _at_end(k, formula)
    pair = (one[2], other[2])
    return pair if k.axis(pair[0]) == k.axis(pair[1]) else None


def _at_end(k: Kernel, formula: Formula) -> tuple[Var, Var] | None:
    """The variable that a formula says stands at an end of its axis, and the one declared there."""
    for var in variables(formula):
        for last in (False, True):
            end = k.ends.get((k.axis(var), last))
            if end not in (None, var) and formula == zero(end_form(k, var, last=last), k.reals):
                k.used.add(("end", end))
                return var, end
    return None


def end_form(k: Kernel, var: Var, *, last: bool) -> Form:
    """What is 0 where a variable stands at the first or the last position of its axis."""
    last_place = form({("n", k.axis(var)): Fraction(1)}, -1)
    return plus(position(var), last_place, -1) if last else position(var)


def fixed(k: Kernel, term: Term) -> list[Term] | None:
    """The term without a bound variable that a mask gives a position, and that only masks mention.

    The sum over v of [v = f] [p(v)] is [0 <= f < n] [p(f)], for a whole number f.
    """
    read = {var for atom in term.atoms for var in atom.args}
    for var in term.bound:
        for conj, value in term.coef.items() if var not in read else ():
            where = _fixed(k, var, conj)
            if where is not None:
                coef = coef_product(indicator(where), {frozenset(): value})
                made = Term(tuple(v for v in term.bound if v != var), term.atoms, coef)
                rest = {c: q for c, q in term.coef.items() if c != conj}
                return [made, Term(term.bound, term.atoms, rest)] if rest else [made]
    return None


def _fixed(k: Kernel, var: Var, conj: Conj) -> Formula | None:
    """Where the one position that a conjunction leaves a variable is one, and fits the rest."""
    for formula in sorted(conj, key=repr):
        value = _value(k, var, formula)
        others = [_placed(k, var, value, f) for f in conj - {formula}] if value else [None]
        if value is not None and None not in others:
            past = form({("n", k.axis(var)): Fraction(1)}, -1)
            low = below(scaled(value, -1), k.reals)
            return conjunction([low, below(plus(value, past, -1), k.reals), *filter(None, others)])
    return None


def _value(k: Kernel, var: Var, formula: Formula) -> Form | None:
    """The whole number that an equation gives a variable."""
    factor = dict(formula[1].terms).get(("v", "", var)) if formula[0] == "eq" else None
    if factor not in (1, -1):
        return None
    value = plus(position(var), formula[1], -factor)
    numbers: Iterable[Fraction] = (value.const, *(q for _, q in value.terms))
    plain = var not in set(form_variables(value)) and whole_valued(value, k.reals)
    return value if plain and all(q == int(q) for q in numbers) else None


def _placed(k: Kernel, var: Var, value: Form, formula: Formula) -> Formula | None:
    """The formula with a number for a variable; None where it reads it other than as a number."""
    if var not in set(variables(formula)):
        return formula
    if formula[0] not in ("le", "lt", "eq"):
        return None
    factor = dict(formula[1].terms).get(("v", "", var), 0)
    found = plus(plus(formula[1], position(var), -factor), value, factor)
    if var in set(form_variables(found)):
        return None
    if formula[0] == "eq":
        return zero(found, k.reals)
    return below(found, k.reals, strict=formula[0] == "lt")
