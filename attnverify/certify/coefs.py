"""Coefficients: rational combinations of conjunctions of formulas."""

from __future__ import annotations

from fractions import Fraction

from attnverify.certify.formulas import FALSE, TRUE, Formula, Names, Var, renamed, variables
from attnverify.certify.kernel import ONE, Coef, Kernel


def indicator(formula: Formula) -> Coef:
    """[formula]: conjunctions and negations are multiplied out."""
    if formula == FALSE:
        return {}
    if formula == TRUE:
        return dict(ONE)
    if formula[0] == "and":
        result = dict(ONE)
        for part in formula[1]:
            result = coef_product(result, indicator(part))
        return result
    if formula[0] == "not":
        return coef_sum(ONE, indicator(formula[1]), -1)
    return {frozenset((formula,)): Fraction(1)}


def coef_sum(left: Coef, right: Coef, factor: Fraction | int = 1) -> Coef:
    """`left + factor * right`."""
    result = dict(left)
    for conj, value in right.items():
        result[conj] = result.get(conj, Fraction(0)) + factor * value
    return {conj: value for conj, value in result.items() if value}


def coef_product(left: Coef, right: Coef) -> Coef:
    """The product; an indicator is its own square."""
    result: Coef = {}
    for conj, value in left.items():
        for other, factor in right.items():
            key = conj | other
            result[key] = result.get(key, Fraction(0)) + value * factor
    return {conj: value for conj, value in result.items() if value}


def coef_variables(coef: Coef) -> set[Var]:
    """The variables that a coefficient mentions."""
    return {var for conj in coef for formula in conj for var in variables(formula)}


def renamed_coef(k: Kernel, coef: Coef, names: Names) -> Coef:
    """A coefficient with variables renamed."""
    result: Coef = {}
    for conj, value in coef.items():
        part: Coef = {frozenset(): value}
        # In order: questions are kept as text, so they must not change from run to run.
        for formula in sorted(conj, key=repr) if len(conj) > 1 else conj:
            part = coef_product(part, indicator(renamed(formula, names, k.reals)))
        result = coef_sum(result, part)
    return result
