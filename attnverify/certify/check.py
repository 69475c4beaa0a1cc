"""Checks a certificate: its steps are applied again, one after the other, until nothing is left.

The claim is that left - right is a sum of instances of laws, each of which is 0 by itself:

    law      a sum of F (Z inv(Z) - [Z != 0]), for a class Z and a cofactor F
    restate  a term less the same term with a coefficient that z3 sees to be equal
    count    a sum of F (sum over v of [first <= v <= last] - (last - first + 1))

A sign or a bound may take what is never negative from it as well: that is what `bounds` makes.

Both sides are read from the statement by the checker itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from attnverify.algebra.terms import Index
from attnverify.certify.bounds import BOUNDS
from attnverify.certify.deltas import end_form
from attnverify.certify.equal import never_negatives, remaining
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import Formula, Var, exists, renamed, variables, zero
from attnverify.certify.functions import bodies_at, check_atom, check_support, check_twin
from attnverify.certify.kernel import FIRST_OWN, Class, Kernel, Poly
from attnverify.certify.laws import LAWS, multiplied
from attnverify.certify.lines import (
    Tree,
    exactly,
    items,
    quoted,
    read,
    split,
    text,
    variable,
    whole,
)
from attnverify.certify.parse import read_formula, read_poly, read_power, read_variables
from attnverify.certify.plans import OBLIGATION, blocks, is_plan, obligations
from attnverify.certify.query import Asker
from attnverify.certify.spots import Env, Spot, Values
from attnverify.certify.terms import add, bind, free, instantiated, pattern, scaled
from attnverify.certify.walk import Walker
from attnverify.equations import Equation
from attnverify.statement import Relabel, Sees, Statement

QUESTION = "(set-logic"


@dataclass(frozen=True)
class Checked:
    """What a check has used: the questions that z3 answered, the lines that were needed.

    `perhaps` are those among the lines that may do nothing all the same.
    """

    questions: tuple[str, ...]
    needed: tuple[str, ...]
    perhaps: tuple[str, ...]


def check(
    statement: Statement,
    lines: Sequence[str],
    *,
    asking: bool = False,
    context: Any = None,
    known: dict[str, bool] | None = None,
) -> Checked:
    """Check that a certificate proves a statement, for all sizes; Rejected where it does not.

    z3 is asked the questions that the certificate keeps and no others; `asking` asks whatever is
    needed, to find out which they are. `context` is a state of z3's to ask in; a new one, unless
    told. `known` has what z3 has answered, and gets what it answers.
    """
    if is_plan(lines):
        return _check_plan(statement, lines, asking=asking, context=context)
    kept = frozenset(line for line in lines if line.startswith(QUESTION))
    steps = [line for line in lines if not line.startswith(QUESTION)]
    known = {} if known is None else known
    asker = Asker(None if asking else kept, context=context, known=known)
    try:
        found = _Check(statement, steps, asker).run()
    except RecursionError:
        raise Rejected("the expressions are nested too deeply") from None
    except (LookupError, ValueError, TypeError) as fault:
        raise Rejected(f"a line is malformed: {fault!r}") from fault
    except Rejected as reason:
        if asker.missing:
            raise Rejected(
                f"{reason}; it keeps no answer to {asker.missing} of z3's questions"
            ) from None
        raise
    if not asking and kept != frozenset(found.questions):
        raise Rejected("a question is kept that no step needs")
    if not asking and found.needed != tuple(steps):
        raise Rejected("a line is there that no step needs")
    return found


def _check_plan(
    statement: Statement, lines: Sequence[str], *, asking: bool, context: Any
) -> Checked:
    """Check that lines tell a plan for a statement, and prove each statement that it asks for."""
    plan, proofs = blocks(lines)
    questions, needed, perhaps = list[str](), list(plan), list[str]()
    for one, proof in paired(statement, plan, proofs):
        found = check(one, proof, asking=asking, context=context)
        questions += found.questions
        needed += (OBLIGATION, *found.needed)
        perhaps += found.perhaps
    return Checked(tuple(questions), tuple(needed), tuple(perhaps))


def paired(
    statement: Statement, plan: Sequence[str], proofs: Sequence[tuple[str, ...]]
) -> Iterator[tuple[Statement, tuple[str, ...]]]:
    """The statements that a plan asks for, each with its proof, which has no plan of its own."""
    try:
        due = obligations(statement, plan)
    except RecursionError:
        raise Rejected("the expressions are nested too deeply") from None
    except (LookupError, ValueError, TypeError) as fault:
        raise Rejected(f"a line is malformed: {fault!r}") from fault
    if len(due) != len(proofs) or any(map(is_plan, proofs)):
        raise Rejected(f"{len(due)} statements are due without a plan, {len(proofs)} are proved")
    yield from zip(due, proofs, strict=True)


class _Check:
    """One certificate on its way."""

    def __init__(self, statement: Statement, lines: list[str], asker: Asker) -> None:
        spec = statement.spec
        self.statement, self.lines = statement, lines
        declared = {axis.name: axis for axis in spec.axes if axis.follows}
        self.k = Kernel({p.name: p for p in spec.parameters}, declared, asker)
        self.k.bijections = frozenset(
            name for r in statement.relabels if r.bijection for name in (r.name, f"{r.name}^-1")
        )
        self.k.maps = {
            name: r.axis for r in statement.relabels for name in (r.name, f"{r.name}^-1")
        }
        if len(self.k.maps) < 2 * len(statement.relabels):
            raise Rejected("two maps have one name")
        self.opaque: frozenset[str] = frozenset()
        self.values = Values([])
        self.steps: list[tuple[str, tuple[Tree, ...]]] = []
        self.part_of_sum: tuple[int, ...] = ()
        self.keys: dict[int, tuple[object, ...]] = {}
        self.slots: dict[int, tuple[Var, ...]] = {}  # as they are called in the class's line

    def run(self) -> Checked:
        """Read the lines, read the statement, subtract the laws, and see what is left."""
        rules: dict[str, Callable[[tuple[Tree, ...]], tuple[object, ...] | None]] = {
            "variables": self._variables, "opaque": self._opaque, "class": self._class,
            "twin": self._twin, "collapse": self._collapse, "end": self._end,
        }  # fmt: skip
        trees = [split(read(line)) for line in self.lines]
        self.values.rows = [
            (head, *parts) for head, parts in trees if head in ("value", "compared")
        ]
        supports = [n for n, (head, _) in enumerate(trees) if head == "support"]
        self._declare(trees, rules)
        walker = self._assume()
        for n in supports:  # these may rest on the hypotheses
            self.keys[n] = self._support(trees[n][1])
        left, right = self._sides(walker)
        if self.values.taken != len(self.values.rows):
            raise Rejected("a value is claimed that stands nowhere")
        self._settle(left, right)
        used = [n for n in range(len(trees)) if n not in self.keys or self.keys[n] in self.k.used]
        needed = (self._trimmed(trees[n], self.lines[n]) for n in used)
        perhaps = (
            self.lines[n]
            for n in used
            if trees[n][0] in ("twin", "collapse", "support")
            and ("stated", *self.keys[n]) not in self.k.used
        )
        return Checked(self.k.asker.used, tuple(filter(None, needed)), tuple(perhaps))

    def _trimmed(self, tree: tuple[str, tuple[Tree, ...]], line: str) -> str:
        """The line without what nothing speaks of."""
        head, parts = tree
        if head == "variables":
            kept = [quoted(text(p)) if ("variable", n) in self.k.used else "_"
                    for n, p in enumerate(parts)]  # fmt: skip
            return f"(variables {' '.join(kept)})" if kept else ""
        if head == "opaque":
            names = [text(part) for part in parts if ("opaque", part) in self.k.used]
            return f"(opaque {' '.join(map(quoted, names))})" if names else ""
        return line

    def _declare(
        self,
        trees: list[tuple[str, tuple[Tree, ...]]],
        rules: dict[str, Callable[[tuple[Tree, ...]], tuple[object, ...] | None]],
    ) -> None:
        others = {"value", "compared", "support", "part", "times", *LAWS, *BOUNDS}
        for n, (head, parts) in enumerate(trees):
            if head in rules:
                key = rules[head](parts)
                if key is not None:
                    self.keys[n] = key
            elif head == "part":
                if self.part_of_sum:
                    raise Rejected("a whole sum is told twice")
                self.part_of_sum = tuple(map(whole, parts))
                if not parts:
                    raise Rejected("a whole sum is over some index")
            elif head not in others:
                raise Rejected(f"no such step: {head}")
            elif head == "times" or head in LAWS or head in BOUNDS:
                self.steps.append((head, parts))

    # ---- what a certificate says beforehand

    def _variables(self, parts: tuple[Tree, ...]) -> None:
        for n, axis in enumerate(parts):
            if n in self.k.axes or n >= FIRST_OWN:
                raise Rejected(f"v{n} is declared twice")
            if axis != "_":
                self.k.axes[n] = text(axis)

    def _end(self, parts: tuple[Tree, ...]) -> tuple[object, ...]:
        """`(end v first)`, `(end v last)`: a name for a position that every axis has."""
        tree, word = exactly(parts, 2)
        var = self.k.spoken(variable(tree))
        end = (self.k.axis(var), text(word) == "last")
        if text(word) not in ("first", "last") or end in self.k.ends or var in self._ends:
            raise Rejected(f"an end is named once, and is the first or the last: {text(word)}")
        self.k.ends[end] = var
        return ("end", var)

    @property
    def _ends(self) -> frozenset[Var]:
        return frozenset(self.k.ends.values())

    def _opaque(self, parts: tuple[Tree, ...]) -> None:
        names = frozenset(map(text, parts))
        if names and self.statement.relabels:
            raise Rejected("under a relabelling a name has other values on the right")
        self.opaque = names

    def _class(self, parts: tuple[Tree, ...]) -> tuple[object, ...]:
        if len(parts) < 3:
            raise Rejected("a class is of at least one polynomial")
        number_of, slots, bodies = whole(parts[0]), read_variables(self.k, parts[1]), parts[2:]
        if number_of in self.k.classes:
            raise Rejected(f"class {number_of} is defined twice")
        body = tuple(read_poly(self.k, items(tree)) for tree in bodies)
        if any(not free(poly) <= set(slots) for poly in body):
            raise Rejected(f"class {number_of} reads more than its slots")
        # The slots get names of their own, that nothing else has.
        own = {var: self.k.fresh(self.k.axis(var)) for var in slots}
        identity = tuple(range(len(slots)))
        body = tuple(instantiated(self.k, poly, own) for poly in body)
        self.slots[number_of] = slots
        self.k.classes[number_of] = Class(tuple(own.values()), body, [identity])
        return ("class", number_of)

    def _twin(self, parts: tuple[Tree, ...]) -> tuple[object, ...]:
        number_of, order = whole(parts[0]), tuple(whole(part) for part in parts[1:])
        if number_of not in self.k.classes:
            raise Rejected(f"class {number_of} is not defined")
        cls = self.k.classes[number_of]
        if order in cls.twins:
            raise Rejected(f"the order {order} of class {number_of} is known")
        check_twin(self.k, number_of, order)
        cls.twins.append(order)
        return ("twin", number_of)

    def _collapse(self, parts: tuple[Tree, ...]) -> tuple[object, ...]:
        atom, exponent = read_power(self.k, parts[0])
        if len(set(atom.args)) == len(atom.args):
            raise Rejected("the arguments that collapse are not one")
        claimed = read_poly(self.k, parts[1:])
        if not free(claimed) <= set(atom.args):
            raise Rejected("a collapse reads more than its arguments")
        check_atom(self.k, (atom, exponent), bodies_at(self.k, atom), claimed)
        key = (atom.kind, atom.label, atom.number, pattern(atom.args), exponent)
        self.k.collapses[key] = (atom.args, claimed)
        return ("collapse", *key)

    def _support(self, parts: tuple[Tree, ...]) -> tuple[object, ...]:
        number_tree, formula_tree = exactly(parts, 2)
        number_of = whole(number_tree)
        cls = self.k.classes.get(number_of)
        if cls is None or cls.support is not None:
            raise Rejected(f"class {number_of} is not defined, or has its support already")
        formula, slots = read_formula(self.k, formula_tree), self.slots[number_of]
        if not set(variables(formula)) <= set(slots):
            raise Rejected(f"the support of class {number_of} reads more than its slots")
        own = renamed(formula, dict(zip(slots, cls.slots, strict=True)), self.k.reals)
        check_support(self.k, number_of, own)
        cls.support = own
        return ("support", number_of)

    # ---- the statement

    def _assume(self) -> Walker:
        """Take the hypotheses for granted; a walker that has read them."""
        spec = self.statement.spec
        if unknown := self.opaque - set(spec.heads):
            raise Rejected(f"{', '.join(sorted(unknown))}: no such name")
        definitions = {
            row.name: (row.head, row.body)
            for row in spec.equations
            if isinstance(row, Equation) and row.name not in self.opaque
        }
        inputs = frozenset(entry.tensor.name for entry in spec.inputs)
        walker = Walker(self.k, definitions, self.opaque, inputs, self.values, count())
        self.spots = {i: Spot(walker.variable(i.axis.name)) for i in self.statement.indices}
        given = [self._hypothesis(walker, h) for h in self.statement.hypotheses]
        given += [
            zero(end_form(self.k, var, last=last), self.k.reals)
            for (_, last), var in self.k.ends.items()
        ]
        self.k.hypotheses = tuple(given)
        return walker

    def _sides(self, walker: Walker) -> tuple[Poly, Poly]:
        left = walker.polynomial(self.statement.left, self._env(right=False))
        if self.statement.relabels:
            walker = replace(walker, relabels=self.statement.relabels, memo={})
        return left, walker.polynomial(self.statement.right, self._env(right=True))

    def _hypothesis(self, walker: Walker, hypothesis: object) -> Formula:
        if self.statement.relabels:
            raise Rejected("hypotheses beside a relabelling are not checked")
        if not isinstance(hypothesis, Sees):
            return walker.formula(hypothesis, self.spots)  # type: ignore[arg-type]  # a predicate
        spot = walker.binder(hypothesis.over)
        inside = walker.formula(hypothesis.where, {**self.spots, hypothesis.over: spot})
        return exists(spot.var, hypothesis.over.axis.name, inside, self.k.reals)

    def _env(self, *, right: bool) -> Env:
        result: dict[Index, Spot] = dict(self.spots)
        for index, spot in self.spots.items():
            for relabel in self.statement.relabels:
                if relabel.axis == index.axis.name:
                    result[index] = _relabelled(spot, relabel, index.name, right=right)
        return result

    # ---- the laws

    def _settle(self, left: Poly, right: Poly) -> None:
        kind = self.statement.kind
        if self.part_of_sum:
            left = self._whole_sum(left)
        first, second = (right, left) if kind == "bound" else (left, right)
        rest = add(self.k, first, scaled(second, -1))
        for head, parts in self.steps:
            if head == "times":
                rest = multiplied(self.k, parts, remaining(self.k, rest))
                continue
            if head in BOUNDS and kind not in ("sign", "bound"):
                raise Rejected("what is equal is not seen by a bound")
            law = (LAWS if head in LAWS else BOUNDS)[head](self.k, parts)
            rest = add(self.k, rest, scaled(law, -1))
        rest = remaining(self.k, rest)
        if kind in ("sign", "bound") and never_negatives(self.k, rest):
            rest = ()
        if rest:
            raise Rejected(f"{len(rest)} terms are left over")

    def _whole_sum(self, left: Poly) -> Poly:
        """The sum of the left side over some of its indices, of which it is at most a term."""
        spots, places = list(self.spots.values()), self.part_of_sum
        fit = places and len(set(places)) == len(places) and set(places) <= set(range(len(spots)))
        if self.statement.kind != "bound" or not fit:
            raise Rejected("only a bound is seen by a whole sum, over indices of its own")
        over = [spots[place].var for place in places]
        if any(var in set(variables(f)) for f in self.k.hypotheses for var in over):
            raise Rejected("terms at other positions need not obey the hypotheses")
        if not never_negatives(self.k, remaining(self.k, left)):
            raise Rejected("a term of the sum may be negative")
        names = {var: self.k.fresh(self.k.axis(var)) for var in over}
        return bind(self.k, instantiated(self.k, left, names), *names.values())


def _relabelled(spot: Spot, relabel: Relabel, index: str, *, right: bool) -> Spot:
    """Where a free index of a relabelled axis stands on one side.

    An index that the left side reads at its image is represented by that image, where the map is a
    bijection, and by itself where it is any map.
    """
    if index not in relabel.indices:
        return Spot(spot.var, "", relabel.name) if right else spot
    if relabel.bijection:
        return Spot(spot.var, f"{relabel.name}^-1", "") if right else spot
    return Spot(spot.var, "", relabel.name) if right else Spot(spot.var, relabel.name)
