"""Factors that are numbers: positions, sizes, parameters and integer entries, as linear forms."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.normal.core import Atom, Context, Term
from attnverify.algebra.normal.forms import Key, Lin, lin, times
from attnverify.algebra.normal.formulas import Formula


def is_number(atom: Atom, exponent: Fraction) -> bool:
    """Whether a factor is a whole power of a position, a size, a parameter or an integer entry."""
    named = atom.kind in ("pos", "size", "parameter", "int") or (
        atom.kind == "positive" and not atom.label.startswith("constant ")
    )
    return named and exponent > 0 and exponent.denominator == 1


def atom_form(atom: Atom) -> Lin:
    """A position, size, parameter or integer entry as a linear form."""
    keys: dict[str, Key] = {
        "pos": ("v", atom.label, *atom.args),
        "size": ("n", atom.label),
        "int": ("i", atom.label, atom.args),
    }
    return lin({keys.get(atom.kind, ("p", atom.label)): Fraction(1)})


def number_values(ctx: Context, term: Term) -> list[tuple[Formula, Lin]]:
    """The numbers in a term as a linear form, under each conjunction of its masks."""
    form = lin({}, 1)
    for atom, exponent in term.atoms.items():
        if is_number(atom, exponent):
            for _ in range(int(exponent)):
                form = times(form, atom_form(atom))
    return [(ctx.conjunction(conj), form * q) for conj, q in term.coef.items()]
