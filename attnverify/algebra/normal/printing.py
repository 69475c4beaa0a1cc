"""Polynomials of the normal form as text: the residue that explains why a claim was not proved."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from attnverify.algebra.normal.core import Atom, Coef, Context, Poly, Term
from attnverify.algebra.normal.forms import Key, Lin, Var, dividend
from attnverify.algebra.normal.formulas import (
    Below,
    Both,
    Either,
    Exists,
    Formula,
    Known,
    Negated,
    Truth,
    Zero,
    variables,
)
from attnverify.algebra.terms import Axis

MOST_SHOWN = 4  # terms of a residue
MOST_INSIDE = 3  # terms of a polynomial inside a function


def polynomial_text(ctx: Context, poly: Poly, most: int = MOST_SHOWN) -> str:
    """A polynomial as text, its first terms written out."""
    return _Printer(ctx).polynomial(poly, most)


def formula_text(ctx: Context, formula: Formula) -> str:
    """A formula as text."""
    return _Printer(ctx).formula(formula)


def key_text(ctx: Context, key: Key) -> str:
    """A key of a linear form as text."""
    return _Printer(ctx).key(key)


class _Printer:
    """Texts in one scope: variables are called as their indices, with primes where names meet."""

    def __init__(self, ctx: Context, shown: dict[Var, str] | None = None) -> None:
        self.ctx = ctx
        self.shown = shown or {}

    def inside(self, names: dict[Var, str], bound: Iterable[Var]) -> _Printer:
        """The scope inside a binder: some variables are called by given names, bound ones anew."""
        shown = {**self.shown, **names}
        for var in bound:
            name = self.ctx.names.get(var, self.ctx.axes[var][0])
            while name in shown.values():
                name += "'"
            shown[var] = name
        return _Printer(self.ctx, shown)

    def polynomial(self, poly: Poly, most: int) -> str:
        """A polynomial as text."""
        free = {v: self.var(v) for term in poly for atom in term.atoms for v in atom.args
                if v not in term.bound}  # fmt: skip
        texts = [self.inside(free, term.bound).term(term) for term in poly[:most]]
        if len(poly) > most:
            texts.append(f"... ({len(poly) - most} more terms)")
        return " + ".join(texts) or "0"

    def term(self, term: Term) -> str:
        """A term as text, its bound variables named already."""
        over = ",".join(self.var(var) for var in term.bound)
        factors = [self.coef(term.coef), *(self.power(a, e) for a, e in term.atoms.items())]
        body = " ".join(f for f in factors if f != "1") or "1"
        return f"sum_{over} {body}" if over else body

    def coef(self, coef: Coef) -> str:
        """A coefficient as text."""
        parts = []
        for conj, value in coef.items():
            inside = " and ".join(self.formula(self.ctx.literals[n]) for n in conj)
            mask = f"[{inside}]" if inside else ""
            number = "" if mask and value == 1 else "-" if mask and value == -1 else str(value)
            parts.append(f"{number} {mask}".strip().replace("- [", "-["))
        body = " + ".join(parts) or "0"
        return f"({body})" if len(parts) > 1 else body

    def power(self, atom: Atom, exponent: Fraction) -> str:
        """A power of an atom as text."""
        text = self.atom(atom)
        if exponent == 1:
            return text
        return f"{text}^{exponent}" if exponent.denominator == 1 else f"{text}^({exponent})"

    def atom(self, atom: Atom) -> str:
        """An atom as text."""
        args = ",".join(map(self.var, atom.args))
        match atom.kind:
            case "size":
                return Axis(atom.label).symbol
            case "pos":
                return f"{atom.label}({args})" if atom.label else args
            case "exp" | "inv" | "fn":
                return self.function(atom)
            case "nz":
                label = atom.label.partition(" ")[2]
                return f"[{label}[{args}] != 0]"
        return f"{atom.label}[{args}]" if args else atom.label

    def function(self, atom: Atom) -> str:
        """A function of a class, its body written out at the arguments."""
        cls = self.ctx.classes[atom.number]
        names = {slot: self.var(arg) for slot, arg in zip(cls.slots, atom.args, strict=True)}
        inner = self.inside(names, ())
        body = ", ".join(inner.polynomial(poly, MOST_INSIDE) for poly in cls.body)
        return f"{atom.label or atom.kind}({body})"

    def var(self, var: Var) -> str:
        """A variable's name: that of its index, or its axis's first letter."""
        return self.shown.get(var) or self.ctx.names.get(var) or self.ctx.axes[var][0]

    def formula(self, formula: Formula) -> str:
        """A formula as text."""
        match formula:
            case Truth(value):
                return "true" if value else "false"
            case Below(form, strict):
                return self.relation(form, "<" if strict else "<=")
            case Zero(form):
                return self.relation(form, "=")
            case Known(name, args):
                inside = ",".join(map(self.var, args))
                return f"{name.removeprefix('input ')}[{inside}]"
            case Negated(part):
                return f"not {self.formula(part)}"
            case Both(parts):
                return " and ".join(self.part(part) for part in parts)
            case Either(parts):
                return " or ".join(self.part(part) for part in parts)
            case Exists(var, part):
                inner = self.inside({v: self.var(v) for v in variables(part) if v != var}, [var])
                return f"some {inner.var(var)} has {inner.formula(part)}"
        raise TypeError(f"no text for {formula!r}")

    def part(self, part: Formula) -> str:
        """A part of a conjunction or disjunction as text."""
        text = self.formula(part)
        return f"({text})" if isinstance(part, Both | Either) else text

    def relation(self, form: Lin, sign: str) -> str:
        """`form sign 0` with negative parts moved to the right."""
        left = [(key, value) for key, value in form.terms if value > 0]
        right = [(key, -value) for key, value in form.terms if value < 0]
        one = self.side(left, max(form.const, Fraction(0)))
        return f"{one} {sign} {self.side(right, max(-form.const, Fraction(0)))}"

    def side(self, terms: Iterable[tuple[Key, Fraction]], const: Fraction) -> str:
        """One side of a relation as text."""
        parts = [self.key(key) if v == 1 else f"{v} {self.key(key)}" for key, v in terms]
        if const or not parts:
            parts.append(str(const))
        return " + ".join(parts)

    def key(self, key: Key) -> str:
        """A key of a linear form as text."""
        match key[0]:
            case "v":
                name = self.var(key[2])
                return f"{key[1]}({name})" if key[1] else name
            case "n":
                return Axis(key[1]).symbol
            case "p":
                return str(key[1])
            case "i" | "o":
                inside = ",".join(map(self.var, key[2]))
                return f"{key[1]}[{inside}]" if inside else str(key[1])
            case "d":
                form = dividend(key)
                text = self.side(form.terms, form.const)
                return f"floor({f'({text})' if ' ' in text else text}/{key[3]})"
        return " ".join(self.key(part) for part in key[1])
