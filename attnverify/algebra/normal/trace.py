"""A proof's record as the lines of a certificate: bracketed lists of words and numbers.

`attnverify.certify` says what each line means; nothing here decides whether a step applies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from attnverify.algebra.normal.core import CLASSES, Atom, Coef, Context, Poly, Term
from attnverify.algebra.normal.forms import Key, Lin, Var
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
)

_WORD = re.compile(r"[A-Za-z0-9_.^/+<=-]+")


def certificate_lines(ctx: Context, opaque: Iterable[str]) -> tuple[str, ...]:
    """The lines of the proof that a context has recorded, some names taken as any arrays."""
    writer = _Writer(ctx)
    steps = [writer.step(*parts) for parts in ctx.record.steps]
    values = [writer.value(*parts) for parts in ctx.record.values]
    classes = writer.classes()
    ends = list(writer.ends())
    axes = " ".join(_word(ctx.axes[var]) for var in writer.numbers)
    head = [f"(variables {axes})"] if axes else []
    if names := sorted(opaque):
        head.append(f"(opaque {' '.join(map(_word, names))})")
    return (*head, *ends, *classes, *values, *steps)


def _word(text: str) -> str:
    return text if _WORD.fullmatch(text) else f"|{text}|"


class _Writer:
    """Writes lines; variables are numbered as the record met them, then as they are written."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.numbers: dict[Var, int] = {}
        self.pending: dict[int, None] = {}
        for var in ctx.record.walk:
            self.var(var)

    def var(self, var: Var) -> str:
        """A variable."""
        return f"v{self.numbers.setdefault(var, len(self.numbers))}"

    def vars(self, found: Iterable[Var]) -> str:
        """Variables."""
        return " ".join(map(self.var, found))

    def ends(self) -> Iterator[str]:
        """The variables that stand at an end of their axis."""
        for (_, last), var in self.ctx.ends.items():
            yield f"(end {self.var(var)} {'last' if last else 'first'})"

    # ---- formulas

    def form(self, form: Lin) -> str:
        """A linear form."""
        rows = "".join(f" ({value} {self.key(key)})" for key, value in form.terms)
        return f"(+ {form.const}{rows})"

    def key(self, key: Key) -> str:
        """A key of a linear form."""
        match key[0]:
            case "v":
                return f"(v {_word(key[1])} {self.var(key[2])})"
            case "n" | "p":
                return f"({key[0]} {_word(key[1])})"
            case "i" | "o":
                return f"({key[0]} {_word(key[1])} {self.vars(key[2])})"
            case "d":
                return f"(d {self.form(Lin(key[1], key[2]))} {key[3]})"
        return f"(m {' '.join(map(self.key, key[1]))})"

    def formula(self, formula: Formula) -> str:
        """A formula."""
        match formula:
            case Truth(value):
                return "true" if value else "false"
            case Below(form, strict):
                return f"({'<' if strict else '<='} {self.form(form)})"
            case Zero(form):
                return f"(= {self.form(form)})"
            case Known(name, args):
                self._wanted(name)
                return f"(known {_word(name)} {self.vars(args)})"
            case Negated(part):
                return f"(not {self.formula(part)})"
            case Both(parts) | Either(parts):
                head = "and" if isinstance(formula, Both) else "or"
                return f"({head} {' '.join(map(self.formula, parts))})"
            case Exists(var, part):
                return f"(exists {self.var(var)} {self.formula(part)})"
        raise TypeError(f"no such formula: {formula!r}")

    def _wanted(self, name: str) -> None:
        """A fact about a class of polynomials needs the class."""
        head, _, rest = name.partition(" ")
        if head in ("class", "nonzero"):
            self.pending.setdefault(int(rest.partition(" ")[0]))

    # ---- polynomials

    def coef(self, coef: Coef) -> str:
        """A coefficient."""
        rows = (
            " ".join([str(value), *(self.formula(self.ctx.literals[n]) for n in conj)])
            for conj, value in coef.items()
        )
        return f"({' '.join(f'({row})' for row in rows)})"

    def atom(self, atom: Atom, exponent: Fraction) -> str:
        """A power of an atom."""
        base = atom.label.partition(" ")[0] if atom.kind == "nz" else atom.kind
        number = ""
        if base in CLASSES:
            number = f" {atom.number}"
            self.pending.setdefault(atom.number)
        return f"({atom.kind} {_word(atom.label)}{number} {exponent} {self.vars(atom.args)})"

    def term(self, term: Term) -> str:
        """A term."""
        atoms = "".join(f" {self.atom(atom, e)}" for atom, e in term.atoms.items())
        return f"(term ({self.vars(term.bound)}) {self.coef(term.coef)}{atoms})"

    def poly(self, poly: Poly) -> str:
        """A polynomial, after a blank."""
        return "".join(f" {self.term(term)}" for term in poly)

    # ---- lines

    def value(self, head: str, *parts: Any) -> str:
        """What a function of its arguments is, or the class that a comparison is about."""
        if head == "compared":
            number, args = parts
            self.pending.setdefault(number)
            return f"(compared {number} {self.vars(args)})"
        if head in ("inv", "log", "absolute") and parts[0]:
            first, *rest = parts[0]
            return f"(value {head} {self.term(first)}{''.join(map(self.poly, rest))})"
        if head == "exp":
            plain, *steps = parts[0]
            told = "".join(f" {self.step(*step)}" for step in steps)
            return f"(value exp{self.poly(plain)}{told})"
        return f"(value {_word(head)}{self.poly(parts[0])})"

    def step(self, head: str, *parts: Any) -> str:
        """A law."""
        match head:
            case "law":
                number, args, cofactor = parts
                self.pending.setdefault(number)
                how = "nonzero" if self.ctx.classes[number].support is None else "positive"
                return f"(law {number} {how} ({self.vars(args)}) {self.term(cofactor)})"
            case "restate":
                return f"(restate {self.term(parts[0])} {self.coef(parts[1])})"
            case "count":
                var, where, term, cases = parts
                rows = " ".join(
                    f"({self.formula(case)} {self.form(low)} {self.form(high)})"
                    for case, low, high in cases
                )
                return f"(count {self.var(var)} {self.formula(where)} {self.term(term)} ({rows}))"
            case "threshold":
                var, relu, term = parts
                return f"(threshold {self.var(var)} {self.atom(*relu)} {self.term(term)})"
            case "narrow":
                term, changes = parts
                return f"(narrow {self.term(term)} {' '.join(map(self.change, changes))})"
            case "decay":
                term, some, square = parts
                exps = " ".join(self.atom(*one) for one in some)
                root = f" ({square[0]}{self.poly(square[1])})" if square else ""
                return f"(decay {self.term(term)} ({exps}){root})"
            case "tanh":
                term, atom, tanh, factor, told = parts
                atoms = " ".join(self.atom(one, Fraction(1)) for one in (atom, tanh))
                first, *rest = told
                size = f"{self.term(first)}{''.join(map(self.poly, rest))}"
                return f"(tanh {self.term(term)} {atoms} {self.term(factor)} ({size}))"
            case "times":
                return f"(times {self.atom(*parts[0])})"
            case "log":
                term, split = parts
                inverse = f" {self.term(split[0])}{self.poly(split[1])}" if split else ""
                return f"(log {self.term(term)}{inverse})"
        return f"({head} {' '.join(map(str, parts))})"

    def change(self, parts: tuple[Any, ...]) -> str:
        """A function that has another value where its term's mask holds."""
        atom, exponent, made, inside = parts
        steps = (f" ({' '.join(self.step(*step) for step in one)})" for one in inside)
        return f"({self.atom(atom, exponent)} ({self.poly(made).strip()}){''.join(steps)})"

    def classes(self) -> list[str]:
        """The classes that lines speak of, by number, with what is known of each."""
        lines: dict[int, list[str]] = {}
        collapses: dict[int, list[str]] = {}
        supports: dict[int, str] = {}
        done: set[int] = set()
        while rest := [number for number in self.pending if number not in done]:
            for number in rest:
                done.add(number)
                lines[number] = list(self._class(number))
                collapses[number] = list(self._collapses(number))
                cls = self.ctx.classes[number]
                if cls.support_known and cls.support is not None:
                    supports[number] = f"(support {number} {self.formula(cls.support)})"
        return [
            *(line for number in sorted(lines) for line in lines[number]),
            *(line for number in sorted(collapses) for line in collapses[number]),
            *(supports[number] for number in sorted(supports)),
        ]

    def _class(self, number: int) -> Iterator[str]:
        cls = self.ctx.classes[number]
        bodies = " ".join(f"({self.poly(poly).strip()})" for poly in cls.body)
        yield f"(class {number} ({self.vars(cls.slots)}) {bodies})"
        for twin in cls.twins:
            if twin != tuple(range(len(cls.slots))):
                yield f"(twin {number} {' '.join(map(str, twin))})"

    def _collapses(self, number: int) -> Iterator[str]:
        seen: set[object] = set()
        for (atom, exponent), poly in self.ctx.record.collapses.items():
            places = (atom.kind, atom.label, *(atom.args.index(var) for var in atom.args), exponent)
            if atom.number == number and places not in seen:
                seen.add(places)
                yield f"(collapse {self.atom(atom, exponent)}{self.poly(poly)})"
