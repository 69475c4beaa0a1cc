"""The questions that steps need, as SMT-LIB text that any solver can be asked again.

Each question is unsatisfiable where the step applies. Positions are in the range of their axes,
sizes are at least 1 and as declared, parameters in their domains, maps in range and one-to-one
where they are bijections; nothing else is taken for granted but the hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import Any, TypeAlias

import z3

from attnverify.algebra.terms import Axis, Parameter
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import Form, Formula, Key, Var, factors, key_variables
from attnverify.certify.products import facts_about

# z3's own steps for one question: a bound that does not depend on the machine.
STEPS = 2_000_000

Rows: TypeAlias = Sequence[tuple[Formula, Form]]  # the sum of forms times [formula]


@dataclass
class Question:
    """One question being written, with what is known of every name in it."""

    axis_of: Callable[[Var], str]
    parameters: Mapping[str, Parameter]
    declared: Mapping[str, Axis]
    bijections: frozenset[str]
    maps: Mapping[str, str] = field(default_factory=dict)
    quotients: Mapping[str, tuple[Form, Form]] = field(default_factory=dict)
    names: dict[Var, str] = field(default_factory=dict)
    declarations: dict[str, str] = field(default_factory=dict)
    facts: dict[str, None] = field(default_factory=dict)
    images: dict[str, dict[str, str]] = field(default_factory=dict)
    bound: dict[Var, str] = field(default_factory=dict)
    inside: list[dict[str, None]] = field(default_factory=list)
    products: dict[Key, None] = field(default_factory=dict)

    def formula(self, formula: Formula) -> str:
        """A formula's text."""
        match formula[0]:
            case "true" | "false":
                return str(formula[0])
            case "le" | "lt" | "eq":
                sign = {"le": "<=", "lt": "<", "eq": "="}[formula[0]]
                body, is_real = self.form(formula[1])
                return f"({sign} {body} {'0.0' if is_real else '0'})"
            case "known":
                return self._applied(f"known {formula[1]}", formula[2], "Bool")
            case "not":
                return f"(not {self.formula(formula[1])})"
            case "and" | "or":
                return f"({formula[0]} {' '.join(map(self.formula, formula[1]))})"
            case "exists":
                return self._exists(*formula[1:])
        raise Rejected(f"no such formula: {formula!r}")

    def _exists(self, var: Var, axis: str, part: Formula) -> str:
        self.bound[var] = axis
        name = f"q{-var}"
        self.inside.append({})
        body = self.formula(part)
        about = self.inside.pop()
        del self.bound[var]
        known = f"(<= 0 {name}) (< {name} {self.size(axis)})"
        return f"(exists (({name} Int)) (and {' '.join([known, *about, body])}))"

    def form(self, found: Form) -> tuple[str, bool]:
        """A form's text, scaled to whole coefficients where it can be, and whether it is real."""
        rows = [(self._product(key), value) for key, value in found.terms]
        is_real = any(real for (_, real), _ in rows)
        is_real = is_real or found.const.denominator != 1
        is_real = is_real or any(value.denominator != 1 for _, value in rows)
        parts = [
            self._times(body if real or not is_real else f"(to_real {body})", value, is_real)
            for (body, real), value in rows
        ]
        if found.const or not parts:
            parts.append(numeral(found.const, is_real))
        return (parts[0] if len(parts) == 1 else f"(+ {' '.join(parts)})"), is_real

    @staticmethod
    def _times(body: str, value: Fraction, is_real: bool) -> str:  # noqa: FBT001  a sort
        return body if value == 1 else f"(* {numeral(value, is_real)} {body})"

    def _product(self, key: Key) -> tuple[str, bool]:
        if key[0] in ("m", "o") and not any(var < 0 for var in key_variables(key)):
            self.products[key] = None
        rows = [self.key(part) for part in factors(key)]
        is_real = any(real for _, real in rows)
        bodies = [body if real or not is_real else f"(to_real {body})" for body, real in rows]
        return (bodies[0] if len(bodies) == 1 else f"(* {' '.join(bodies)})"), is_real

    def key(self, key: Key) -> tuple[str, bool]:
        """A key's text, and whether it is real."""
        match key[0]:
            case "v":
                return (self._image(key[1], key[2]) if key[1] else self.var(key[2])), False
            case "n":
                return self.size(key[1]), False
            case "p":
                return self._parameter(key[1])
            case "i" | "o":
                head = "int" if key[0] == "i" else "whole"
                return self._applied(f"{head} {key[1]}", key[2], "Int"), False
            case "d":
                body, is_real = self.form(key[1])
                if is_real or key[2] < 1:
                    raise Rejected("a whole part divides a whole number by a positive one")
                return f"(div {body} {key[2]})", False
        raise Rejected(f"no such key: {key!r}")

    def var(self, var: Var) -> str:
        """A variable's name; a free one is in the range of its axis."""
        if var in self.bound:
            return f"q{-var}"
        if var < 0:
            raise Rejected("a quantified variable stands outside its quantifier")
        if var not in self.names:
            name = self.names[var] = f"v{len(self.names)}"
            self.declarations[name] = f"(declare-const {name} Int)"
            size = self.size(self.axis_of(var))
            self.facts[f"(and (<= 0 {name}) (< {name} {size}))"] = None
        return self.names[var]

    def _image(self, mark: str, var: Var) -> str:
        name = self._applied(f"map {mark}", (var,), "Int")
        axis = self.bound[var] if var in self.bound else self.axis_of(var)
        if self.maps.get(mark) != axis:
            # What is known of its images is known of the positions of its own axis alone.
            raise Rejected(f"{mark} is no map of {axis}")
        fact = f"(and (<= 0 {name}) (< {name} {self.size(axis)}))"
        if self._quantified((var,)):
            # The fact is about this very position, so it stands under the quantifier.
            self.inside[-1][fact] = None
            return name
        self.facts[fact] = None
        if mark in self.bijections:
            here = self.var(var)
            seen = self.images.setdefault(mark, {})
            for there, image in seen.items():
                self.facts[f"(= (= {image} {name}) (= {there} {here}))"] = None
            seen[here] = name
        return name

    def _quantified(self, args: Iterable[Var]) -> bool:
        return any(var in self.bound for var in args)

    def _applied(self, name: str, args: tuple[Var, ...], sort: str) -> str:
        symbol = _symbol(name)
        due = f"(declare-fun {symbol} ({' '.join(['Int'] * len(args))}) {sort})"
        if self.declarations.setdefault(symbol, due) != due:
            raise Rejected(f"{name} is read with different numbers of indices")
        return f"({symbol} {' '.join(map(self.var, args))})" if args else symbol

    def size(self, axis: str) -> str:
        """The size of an axis."""
        name = _symbol(f"n {axis}")
        if name in self.declarations:
            return name
        self.declarations[name] = f"(declare-const {name} Int)"
        self.facts[f"(<= 1 {name})"] = None
        declared = self.declared.get(axis)
        if declared is not None and declared.follows:
            parts = [self.size(part.name) for part in declared.addends]
            due = f"(+ {' '.join(parts)})" if parts else str(declared.fixed)
            self.facts[f"(= {name} {due})"] = None
        return name

    def _parameter(self, name: str) -> tuple[str, bool]:
        parameter = self.parameters.get(name)
        if parameter is None:
            raise Rejected(f"{name} is no parameter of the spec")
        symbol, is_real = _symbol(f"p {name}"), not parameter.integer
        if symbol not in self.declarations:
            sort = "Real" if is_real else "Int"
            self.declarations[symbol] = f"(declare-const {symbol} {sort})"
            bounds = (("<=", parameter.ge), ("<", parameter.gt))
            limits = (("<=", parameter.le), ("<", parameter.lt))
            for sign, bound in bounds:
                if bound is not None:
                    self.facts[
                        f"({sign} {_bound(bound, is_real)} {_real(symbol, bound, is_real)})"
                    ] = None
            for sign, bound in limits:
                if bound is not None:
                    self.facts[
                        f"({sign} {_real(symbol, bound, is_real)} {_bound(bound, is_real)})"
                    ] = None
            if parameter.multiple_of is not None and not is_real:
                self.facts[f"(= 0 (mod {symbol} {parameter.multiple_of}))"] = None
        return symbol, is_real

    def total(self, rows: Rows) -> tuple[str, bool]:
        """The sum of forms times indicators; its scale is no matter, its sign is."""
        scale = lcm(*(v.denominator for _, f in rows for v in (f.const, *(q for _, q in f.terms))))
        parts = [
            (
                self.formula(where),
                *self.form(Form(tuple((k, q * scale) for k, q in f.terms), f.const * scale)),
            )
            for where, f in rows
        ]
        is_real = any(real for _, _, real in parts)
        texts = []
        for where, body, real in parts:
            whole = body if real or not is_real else f"(to_real {body})"
            texts.append(
                whole if where == "true" else f"(ite {where} {whole} {'0.0' if is_real else '0'})"
            )
        texts.append("0.0" if is_real else "0")
        return f"(+ {' '.join(texts)})", is_real

    def texts(self, claims: Sequence[str]) -> Iterator[str]:
        """The whole question, and the same with facts about the products in it."""
        yield self.text(claims)
        found = [fact for key in list(self.products) for fact in facts_about(self, key)]
        if found:
            yield self.text([*dict.fromkeys(found), *claims])

    def text(self, claims: Iterable[str]) -> str:
        """The whole question."""
        claims = list(claims)
        lines = ["(set-logic ALL)", *self.declarations.values()]
        lines += [f"(assert {fact})" for fact in self.facts]
        lines += [f"(assert {claim})" for claim in claims if claim != "true"]
        return " ".join([*lines, "(check-sat)"])


def _symbol(name: str) -> str:
    """A name as SMT-LIB quotes it."""
    if "|" in name or "\\" in name:
        raise Rejected(f"{name!r} cannot be written in SMT-LIB")
    return f"|{name}|"


def numeral(value: Fraction, is_real: bool) -> str:  # noqa: FBT001  a sort
    """A number as SMT-LIB writes it."""
    if not is_real:
        return str(int(value)) if value >= 0 else f"(- {-int(value)})"
    body = f"{abs(value.numerator)}.0"
    if value.denominator != 1:
        body = f"(/ {body} {value.denominator}.0)"
    return body if value >= 0 else f"(- {body})"


def _bound(bound: Fraction, is_real: bool) -> str:  # noqa: FBT001  a sort
    return numeral(bound, is_real or Fraction(bound).denominator != 1)


def _real(symbol: str, bound: Fraction, is_real: bool) -> str:  # noqa: FBT001  a sort
    return symbol if is_real or Fraction(bound).denominator == 1 else f"(to_real {symbol})"


@dataclass
class Asker:
    """Asks z3 the questions that steps need.

    With `kept` None it asks whatever is needed, and remembers what z3 answered unsat to; else it
    asks only what the certificate keeps, and what is not kept is not known. `known` has what z3
    has answered already, whether or not it was asked here.
    """

    kept: frozenset[str] | None = None
    answers: dict[str, bool] = field(default_factory=dict)
    missing: int = 0
    context: Any = None
    known: dict[str, bool] = field(default_factory=dict)

    def impossible(self, texts: Iterable[str]) -> bool:
        """Whether z3 answers unsat to a question, in one of the ways in which it can be put."""
        return any(map(self._impossible, texts))

    def _impossible(self, text: str) -> bool:
        if self.kept is not None and text not in self.kept:
            self.missing += 1
            return False
        if text not in self.known:
            self.context = self.context or z3.Context()
            self.known[text] = unsatisfiable(text, self.context)
        self.answers[text] = self.known[text]
        return self.answers[text]

    @property
    def used(self) -> tuple[str, ...]:
        """The questions that z3 answered unsat to."""
        return tuple(text for text, answer in self.answers.items() if answer)


def unsatisfiable(text: str, context: Any = None) -> bool:
    """Whether z3 finds that nothing satisfies a question; what it does not know is no yes."""
    solver = z3.Solver(ctx=context or z3.Context())
    solver.set("rlimit", STEPS)
    try:
        solver.from_string(text)
    except z3.Z3Exception as error:
        raise Rejected(f"z3 cannot read a question: {error}") from None
    return bool(solver.check() == z3.unsat)
