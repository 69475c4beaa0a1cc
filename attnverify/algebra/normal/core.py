"""Terms and polynomials of the normal form, and the context of one proof.

A term is `sum over bound of coefficient(bound, free) * product of atoms`. A coefficient is a
rational combination of conjunctions of literals, over all variables of the term at once, so that
sums over parts of an axis merge by addition. Variables are integers made once, so no name can be
captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from attnverify.algebra.normal.decide import Decider, GaveUp, Limits
from attnverify.algebra.normal.forms import Var, lin, variable
from attnverify.algebra.normal.formulas import (
    FALSE,
    TRUE,
    Both,
    Either,
    Exists,
    Formula,
    Negated,
    renamed,
    variables,
    zero,
)
from attnverify.algebra.normal.record import Record
from attnverify.algebra.terms import Axis, Parameter

Conj: TypeAlias = tuple[int, ...]  # numbers of literals, in order
Coef: TypeAlias = dict[Conj, Fraction]

ONE: Coef = {(): Fraction(1)}
NONE = Fraction(0)

# Positive factors may have any rational exponent; all others are ring elements, exponents whole.
UNITS = frozenset({"size", "number", "positive", "exp"})
CLASSES = frozenset({"exp", "inv", "fn"})


class Atom(NamedTuple):
    """A factor: an input's entry, a size, a position, or a function of a class of polynomials."""

    kind: str
    label: str
    number: int
    args: tuple[Var, ...]


@dataclass(frozen=True, eq=False)
class Term:
    """A sum over `bound` of a coefficient times a product of atoms."""

    bound: tuple[Var, ...]
    atoms: Mapping[Atom, Fraction]
    coef: Coef
    signs: dict[bool, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def free(self) -> set[Var]:
        """The variables of the atoms that are not bound."""
        return {v for atom in self.atoms for v in atom.args} - set(self.bound)


Poly: TypeAlias = tuple[Term, ...]


# Makes `f(bundle) ** exponent` anew, where substitution has made two arguments of an atom equal.
Maker: TypeAlias = "Callable[[Context, str, tuple[Poly, ...], Fraction], Poly]"


@dataclass(eq=False)
class Class:
    """Polynomials that differ only in their free variables: `body` is over `slots`."""

    number: int
    slots: tuple[Var, ...]
    body: tuple[Poly, ...]
    twins: tuple[tuple[int, ...], ...] = ((),)
    support: Formula | None = None
    support_known: bool = False


@dataclass(eq=False)
class Context:
    """One proof: its variables, literals and classes, its limits, and the words of what it did."""

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    declared: Mapping[str, Axis] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.axes: list[str] = []
        self.names: dict[Var, str] = {}
        self.literals: list[Formula] = []
        self.literal_numbers: dict[Formula, int] = {}
        self.literal_variables: list[frozenset[Var]] = []
        self.quantified: dict[tuple[str, int], Var] = {}
        self.classes: list[Class] = []
        self.classes_by_sign: dict[object, list[Class]] = {}
        self.colours: dict[object, int] = {}
        self.words: dict[str, None] = {}
        self.record = Record()
        self.steps = 0
        self.makers: dict[str, Maker] = {}
        self.ends: dict[tuple[str, bool], Var] = {}
        self.to_ends = True  # whether what stands at an end of an axis is read there
        self.decider = Decider(self.axis, self.parameters, self.limits, self.declared)

    def axis(self, var: Var) -> str:
        """The axis of a variable."""
        return self.axes[var]

    def fresh(self, axis: str, name: str = "") -> Var:
        """A new variable of an axis."""
        self.axes.append(axis)
        var = len(self.axes) - 1
        if name:
            self.names[var] = name
        return var

    def freshen(self, bound: Iterable[Var]) -> dict[Var, Var]:
        """New variables for bound ones."""
        return {var: self.fresh(self.axes[var], self.names.get(var, "")) for var in bound}

    def end(self, axis: str, *, last: bool) -> Var:
        """The variable that stands at an axis's first or last position, which every axis has."""
        if (axis, last) not in self.ends:
            var = self.fresh(axis, f"{'last' if last else 'first'} of {axis}")
            self.ends[axis, last] = var
            size = lin({("n", axis): Fraction(1)}, -1) if last else lin({})
            self.decider.define(zero(variable(var) - size, self.decider.is_real))
        return self.ends[axis, last]

    def colour(self, key: object) -> int:
        """A number for a key, the same within one proof, in order of first appearance."""
        return self.colours.setdefault(key, len(self.colours))

    def say(self, words: str) -> None:
        """Note a rule that was applied, once."""
        self.words.setdefault(words)

    def step(self) -> None:
        """Count a rewriting step; GaveUp when they are used up."""
        self.steps += 1
        if self.steps > self.limits.rewrites:
            raise GaveUp("the rewriting did not end within its steps")

    # ---- literals and coefficients

    def literal(self, formula: Formula) -> int:
        """The number of a literal."""
        formula = self._canonical(formula)[0]
        number = self.literal_numbers.setdefault(formula, len(self.literals))
        if number == len(self.literals):
            self.literals.append(formula)
            self.literal_variables.append(frozenset(variables(formula)))
        return number

    def _canonical(self, formula: Formula) -> tuple[Formula, int]:
        """The formula with quantified variables named by axis and height, and its height.

        Equal formulas then read alike, and no quantifier stands inside another of the same name.
        """
        match formula:
            case Negated(part):
                inner, height = self._canonical(part)
                return Negated(inner), height
            case Both(parts) | Either(parts):
                rows = [self._canonical(part) for part in parts]
                return type(formula)(tuple(row[0] for row in rows)), max(row[1] for row in rows)
            case Exists(var, part):
                inner, height = self._canonical(part)
                key = (self.axes[var], height)
                if key not in self.quantified:
                    self.quantified[key] = self.fresh(self.axes[var], self.names.get(var, ""))
                new = self.quantified[key]
                return Exists(new, renamed(inner, {var: new}, self.decider.is_real)), height + 1
            case _:
                return formula, 0

    def indicator(self, formula: Formula) -> Coef:
        """[formula] as a coefficient: conjunctions and negations are multiplied out."""
        if formula == TRUE:
            return {(): Fraction(1)}
        if formula == FALSE:
            return {}
        match formula:
            case Both(parts):
                result: Coef = {(): Fraction(1)}
                for part in parts:
                    result = self.product(result, self.indicator(part))
                return result
            case Negated(part):
                return add_coefs({(): Fraction(1)}, self.indicator(part), Fraction(-1))
            case _:
                return {(self.literal(formula),): Fraction(1)}

    def product(self, left: Coef, right: Coef) -> Coef:
        """The product of two coefficients; a literal is its own square."""
        if ONE in (left, right):
            rest = right if left == ONE else left
            return {conj: value for conj, value in rest.items() if value}
        result: Coef = {}
        for conj, value in left.items():
            for other, factor in right.items():
                key = tuple(sorted({*conj, *other})) if conj and other else conj or other
                both = value * factor
                result[key] = result[key] + both if key in result else both
        return {conj: value for conj, value in result.items() if value}

    def rename_coef(self, coef: Coef, names: Mapping[Var, Var]) -> Coef:
        """A coefficient with variables renamed."""
        if not any(conj and self._moved(conj, names) for conj in coef):
            return dict(coef)
        result: Coef = {}
        for conj, value in coef.items():
            part: Coef = {(): value}
            for number in conj:
                part = self.product(part, self._rename_literal(number, names))
            result = add_coefs(result, part)
        return result

    def _rename_literal(self, number: int, names: Mapping[Var, Var]) -> Coef:
        if not self._moved((number,), names):
            return {(number,): Fraction(1)}
        formula = renamed(self.literals[number], names, self.decider.is_real)
        return self.indicator(formula)

    def _moved(self, conj: Conj, names: Mapping[Var, Var]) -> bool:
        """Whether a renaming changes some literal."""
        return any(names.get(v, v) != v for n in conj for v in self.literal_variables[n])

    def coef_variables(self, coef: Coef) -> set[Var]:
        """The variables that a coefficient mentions."""
        return {var for conj in coef for n in conj for var in self.literal_variables[n]}

    def pieces(self, coef: Coef) -> list[tuple[Formula, Fraction]]:
        """The coefficient as formulas with their values."""
        return [(self.conjunction(conj), value) for conj, value in coef.items()]

    def conjunction(self, conj: Conj) -> Formula:
        """The conjunction of literals as a formula."""
        parts = tuple(self.literals[number] for number in conj)
        return parts[0] if len(parts) == 1 else Both(parts) if parts else TRUE

    # ---- atoms

    def atom(self, kind: str, label: str, number: int, args: tuple[Var, ...]) -> Atom:
        """An atom, its arguments in the least order that leaves its class unchanged."""
        if kind in CLASSES:
            args = min(tuple(args[k] for k in twin) for twin in self.classes[number].twins)
        return Atom(kind, label, number, args)

    def variants(self, atom: Atom) -> Iterator[tuple[Var, ...]]:
        """All orders of an atom's arguments that leave its value unchanged."""
        yield from self.orders(atom)

    def orders(self, atom: Atom) -> Sequence[tuple[Var, ...]]:
        """The same, at once."""
        if atom.kind not in CLASSES:
            return (atom.args,)
        twins = self.classes[atom.number].twins
        return [tuple(atom.args[k] for k in twin) for twin in twins]


def add_coefs(left: Coef, right: Coef, factor: Fraction | int = 1) -> Coef:
    """`left + factor * right`."""
    result = dict(left)
    for conj, value in right.items():
        part = value if factor == 1 else factor * value
        total = result[conj] + part if conj in result else part
        if total:
            result[conj] = total
        else:
            result.pop(conj, None)
    return result


def scale(coef: Coef, factor: Fraction | int) -> Coef:
    """A coefficient times a number."""
    return {conj: value * factor for conj, value in coef.items()} if factor else {}


def raise_atom(atoms: dict[Atom, Fraction], atom: Atom, exponent: Fraction) -> None:
    """Multiply a product of atoms, in place, by a power of one atom.

    Units add exponents. A ring element T has T T inv(T) = T, so exponents of one sign add, of
    opposite signs add unless they meet at 0, where T inv(T) = [T != 0] remains (kind `nz`), which T
    and inv(T) absorb.
    """
    if atom.kind == "nz":
        base = _base(atom)
        if base not in atoms:
            atoms[atom] = Fraction(1)
        return
    before = atoms.pop(atom, NONE)
    after = before + exponent if before else exponent
    if after:
        atoms[atom] = after
        atoms.pop(nonzero(atom), None)
    elif atom.kind not in UNITS and before:
        atoms[nonzero(atom)] = Fraction(1)


def nonzero(atom: Atom) -> Atom:
    """The atom [T != 0] of a ring element T."""
    return Atom("nz", f"{atom.kind} {atom.label}", atom.number, atom.args)


def _base(atom: Atom) -> Atom:
    kind, _, label = atom.label.partition(" ")
    return Atom(kind, label, atom.number, atom.args)


__all__ = [
    "CLASSES", "UNITS", "Atom", "Class", "Coef", "Conj", "Context", "GaveUp", "Poly", "Term",
    "add_coefs", "nonzero", "raise_atom", "scale",
]  # fmt: skip
