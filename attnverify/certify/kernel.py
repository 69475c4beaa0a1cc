"""Terms, classes and the state of one certificate that is being checked.

A term is a sum over `bound` of a coefficient times powers of atoms; a coefficient is a rational
combination of conjunctions of formulas, over all variables of the term. A class is a function of
its slots: `exp`, `inv` (0 at 0) or `fn` (about which nothing else is known) of polynomials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from attnverify.algebra.terms import Axis, Parameter
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import Form, Formula, Var, variables
from attnverify.certify.query import Asker

Conj: TypeAlias = "frozenset[Formula]"
Coef: TypeAlias = "dict[Conj, Fraction]"
ONE: Coef = {frozenset(): Fraction(1)}

# Positive factors: any rational exponent. All others are ring elements, exponents whole, and a
# negative exponent is the total inverse.
UNITS = frozenset({"size", "number", "positive", "exp"})
CLASSES = frozenset({"exp", "inv", "fn"})
MOST_MATCHES = 24
MOST_TERMS = 2_000
MOST_POWER = 64
FIRST_OWN = 1_000_000  # variables that the checker makes are numbered from here


class Atom(NamedTuple):
    """A factor: an input's entry, a size, a position, or a class at some variables."""

    kind: str
    label: str
    number: int
    args: tuple[Var, ...]


class Term(NamedTuple):
    """A sum over `bound` of a coefficient times powers of atoms."""

    bound: tuple[Var, ...]
    atoms: dict[Atom, Fraction]
    coef: Coef


Poly: TypeAlias = "tuple[Term, ...]"


@dataclass
class Class:
    """What a certificate abbreviates by a number: polynomials over slots, and what is known of it.

    `twins` are orders of the slots that leave the polynomials unchanged, `support` says where the
    first polynomial is not 0.
    """

    slots: tuple[Var, ...]
    body: tuple[Poly, ...]
    twins: list[tuple[int, ...]]
    support: Formula | None = None


@dataclass
class Kernel:
    """One certificate being checked: its variables, its classes, its questions."""

    parameters: Mapping[str, Parameter]
    declared: Mapping[str, Axis]
    asker: Asker
    axes: dict[Var, str] = field(default_factory=dict)
    classes: dict[int, Class] = field(default_factory=dict)
    collapses: dict[
        tuple[str, str, int, tuple[int, ...], Fraction], tuple[tuple[Var, ...], Poly]
    ] = field(default_factory=dict)
    hypotheses: tuple[Formula, ...] = ()
    ends: dict[tuple[str, bool], Var] = field(default_factory=dict)  # by axis; true for the last
    bijections: frozenset[str] = frozenset()
    maps: Mapping[str, str] = field(default_factory=dict)  # the axis of each map
    # By label: of what a whole number is the whole part, over the variables -1, -2, ...
    quotients: dict[str, tuple[Form, Form]] = field(default_factory=dict)
    made: int = FIRST_OWN
    used: set[tuple[object, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reals = frozenset(p.name for p in self.parameters.values() if not p.integer)

    def axis(self, var: Var) -> str:
        """The axis of a variable."""
        if var not in self.axes:
            raise Rejected(f"v{var} has no axis")
        return self.axes[var]

    def spoken(self, var: Var) -> Var:
        """A variable that the certificate speaks of, and has declared."""
        self.axis(var)
        self.used.add(("variable", var))
        return var

    def bindable(self, var: Var) -> Var:
        """A variable that a law may bind: one that no hypothesis is about.

        What a law is checked for at one position it is taken for at all of them.
        """
        if any(var in variables(formula) for formula in self.hypotheses):
            raise Rejected(f"v{var} is bound, and a hypothesis is about it")
        return var

    def fresh(self, axis: str) -> Var:
        """A variable that nothing mentions yet."""
        self.made += 1
        self.axes[self.made] = axis
        return self.made

    def twins(self, atom: Atom) -> Iterator[tuple[Var, ...]]:
        """All orders of an atom's arguments that are known to leave its value unchanged."""
        if atom.kind in CLASSES:
            for twin in self.classes[atom.number].twins:
                yield tuple(atom.args[k] for k in twin)
        else:
            yield atom.args

    def canonical(self, atom: Atom) -> Atom:
        """The atom with its arguments in the least order."""
        if atom.kind not in CLASSES or len(self.classes[atom.number].twins) < 2:
            return atom
        least = min(self.twins(atom))
        if least != atom.args:
            self.used.add(("twin", atom.number))
        return atom._replace(args=least)
