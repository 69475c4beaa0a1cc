"""Proof by normal form: sides are equal for all sizes if their difference leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from attnverify.algebra.normal.bounds import decayed, lowered
from attnverify.algebra.normal.build import Builder
from attnverify.algebra.normal.core import Context, GaveUp, Poly
from attnverify.algebra.normal.decide import Limits
from attnverify.algebra.normal.finish import residue
from attnverify.algebra.normal.forms import Var
from attnverify.algebra.normal.formulas import Formula, variables
from attnverify.algebra.normal.poly import add, bind, instantiate, scaled
from attnverify.algebra.normal.printing import polynomial_text
from attnverify.algebra.normal.spots import Move, Spot
from attnverify.algebra.normal.support import exists, never_negative
from attnverify.algebra.normal.trace import certificate_lines
from attnverify.algebra.rewrite import entries, predicate_entries
from attnverify.algebra.terms import Entry, Expr, Index
from attnverify.content import Claim, claim
from attnverify.equations import Recurrence, equations_of
from attnverify.provers.outcome import Outcome
from attnverify.spec import Spec
from attnverify.statement import Hypothesis, Relabel, Sees, Statement, definitions

DEFAULT_LIMITS = Limits()
# How far from the statement names are defined before all of them are.
STEPS = 3


def prove_equal(
    spec: Spec,
    left: Expr,
    right: Expr,
    hypotheses: Sequence[Hypothesis] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Outcome:
    """Whether two expressions over a spec's names are equal for all sizes, inputs and parameters.

    >>> from attnverify import load
    >>> from attnverify.algebra.terms import ONE, total
    >>> spec = load("global")
    >>> A = spec.equation("A").head
    >>> prove_equal(spec, total(A, over=A.indices[-1]), ONE).proved
    True
    """
    return prove(Statement("equal", "equal", spec, left, right, tuple(hypotheses)), limits)


def prove(statement: Statement, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """A proof of a statement in real arithmetic for all sizes of at least 1, or why there is none.

    What holds whatever the values of a name are holds for those that its equation gives it, so
    names far from the statement are first taken as any arrays, and defined step by step.
    The normal form is sound, not complete: no proof does not mean that the statement is false.
    """
    outcome = Outcome(proved=False)
    for opaque in opaque_names(statement):
        outcome = attempt(statement, opaque, limits)
        if outcome.proved:
            return outcome
    return outcome


def attempt(statement: Statement, opaque: frozenset[str], limits: Limits) -> Outcome:
    """A proof with some of the spec's names taken as any arrays; what was proved once is known."""
    return _attempted(claim(statement, opaque), limits)


def forget() -> None:
    """Forget what was proved, as where the rules themselves are changed."""
    _attempted.cache_clear()


@lru_cache(maxsize=4096)
def _attempted(claimed: Claim, limits: Limits) -> Outcome:
    proof = _Proof(claimed.statement, claimed.opaque, limits)
    try:
        return proof.outcome()
    except GaveUp as reason:
        return Outcome(proved=False, reason=str(reason), queries=proof.ctx.decider.asked)
    except RecursionError:
        return Outcome(proved=False, reason="the expressions are nested too deeply")


def opaque_names(statement: Statement) -> list[frozenset[str]]:
    """The names to be taken as any arrays, fewer in each attempt; states of recurrences always.

    Under a relabelling a name has other values on the right side than on the left, which computes
    it from inputs that are not moved; so there every name is defined.
    """
    if statement.relabels:
        return [frozenset()]
    told = {e.name: e.body for row in statement.spec.equations for e in equations_of(row)}
    states = frozenset(_states(statement.spec))
    near = {e.tensor.name for side in (statement.left, statement.right) for e in entries(side)}
    near |= {e.tensor.name for h in statement.hypotheses for e in _hypothesis_entries(h)}
    found = []
    for _ in range(STEPS):
        far = frozenset(told) - near
        if far <= states:
            break
        found.append(far | states)
        near |= {e.tensor.name for name in near & set(told) for e in entries(told[name])}
    return [*found, states]


def _states(spec: Spec) -> list[str]:
    """The names that the steps of recurrences assign."""
    return [step.name for r in spec.equations if isinstance(r, Recurrence) for step in r.steps]


def _hypothesis_entries(hypothesis: Hypothesis) -> Iterator[Entry]:
    return predicate_entries(hypothesis.where if isinstance(hypothesis, Sees) else hypothesis)


@dataclass
class _Sides:
    """Both sides as polynomials over the same free variables."""

    left: Poly
    right: Poly


class _Proof:
    """One statement on its way through the normal form."""

    def __init__(self, statement: Statement, opaque: frozenset[str], limits: Limits) -> None:
        self.statement, self.opaque = statement, opaque
        parameters = {p.name: p for p in statement.spec.parameters}
        declared = {axis.name: axis for axis in statement.spec.axes if axis.follows}
        self.ctx = Context(parameters, limits, declared)
        self.spots = {
            index: Spot(self.ctx.record.meet(self.ctx.fresh(index.axis.name, index.name)))
            for index in statement.indices
        }

    def outcome(self) -> Outcome:
        """Assume the hypotheses, build both sides, and settle the claim."""
        self._check_relabels()
        plain = Builder(self.ctx, self._definitions(), self._refused())
        formulas = [self._hypothesis(plain, h) for h in self.statement.hypotheses]
        if not self.ctx.decider.assume(formulas):
            return self._failed("no values are known at which the hypotheses hold")
        sides = _Sides(
            plain.polynomial(self.statement.left, self._env(right=False)), self._right(plain)
        )
        rule = {"sign": self._sign, "bound": self._bound}.get(self.statement.kind, self._equal)
        return rule(sides)

    # ---- the two sides

    def _definitions(self) -> Mapping[str, tuple[Entry, Expr]]:
        return {
            name: (row.head, row.body)
            for name, row in definitions(self.statement.spec).items()
            if name not in self.opaque
        }

    def _refused(self) -> dict[str, str]:
        states = set(_states(self.statement.spec)) - self.opaque
        return {
            name: f"{name} is a state of a recurrence, which needs induction" for name in states
        }

    def _check_relabels(self) -> None:
        axes = [relabel.axis for relabel in self.statement.relabels]
        if len(set(axes)) < len(axes):
            raise GaveUp("two maps of one axis are not joined")
        names = [n for r in self.statement.relabels for n in (r.name, f"{r.name}^-1")]
        if len(set(names)) < len(names):
            raise GaveUp("two maps have one name")

    def _right(self, plain: Builder) -> Poly:
        relabels = self.statement.relabels
        if not relabels:
            return plain.polynomial(self.statement.right, self._env(right=True))
        moves = tuple(Move(r.axis, frozenset(r.tensors), r.name, r.bijection) for r in relabels)
        for relabel in relabels:
            if relabel.bijection:
                self.ctx.decider.one_to_one(relabel.name, f"{relabel.name}^-1")
        moved = Builder(self.ctx, plain.definitions, plain.refused, moves)
        return moved.polynomial(self.statement.right, self._env(right=True))

    def _env(self, *, right: bool) -> dict[Index, Spot]:
        """Where the free indices stand: for a relabelled one the variable is its image."""
        result = dict(self.spots)
        for index, spot in self.spots.items():
            for relabel in self.statement.relabels:
                if relabel.axis == index.axis.name:
                    result[index] = _relabelled(spot, relabel, index.name, right=right)
        return result

    def _hypothesis(self, builder: Builder, hypothesis: Hypothesis) -> Formula:
        """A hypothesis as a formula about the statement's own variables alone."""
        if self.statement.relabels:
            raise GaveUp("hypotheses beside a relabelling are not supported")
        if not isinstance(hypothesis, Sees):
            return builder.formula(hypothesis, self.spots)
        spot = builder.binder(hypothesis.over)
        inside = builder.formula(hypothesis.where, {**self.spots, hypothesis.over: spot})
        return exists(self.ctx, spot.var, inside)

    # ---- the claims

    def _equal(self, sides: _Sides) -> Outcome:
        rest = residue(self.ctx, add(self.ctx, sides.left, scaled(sides.right, -1)))
        return self._settled(rest)

    def _sign(self, sides: _Sides) -> Outcome:
        return self._not_negative(sides.left)

    def _bound(self, sides: _Sides) -> Outcome:
        """Left <= right, by the sign of their difference or as one term of a bounded sum."""
        ctx = self.ctx
        first = self._not_negative(add(ctx, sides.right, scaled(sides.left, -1)))
        if first.proved or not never_negative(ctx, sides.left):
            return first
        places = {spot.var: place for place, spot in enumerate(self.spots.values())}
        for group in self._summands(sides.left):
            ctx.record.steps.clear()
            whole = sides.left
            for var in group:
                other = ctx.fresh(ctx.axes[var])
                whole = bind(ctx, instantiate(ctx, whole, {var: other}), other)
            outcome = self._not_negative(add(ctx, sides.right, scaled(whole, -1)))
            if outcome.proved:
                ctx.say("a term of a sum of terms that are not negative is at most the sum")
                ctx.record.step("part", *(places[var] for var in group))
                return self._settled(())
        return first

    def _summands(self, left: Poly) -> list[tuple[Var, ...]]:
        """The free variables that the left side may be summed over: all it does not divide by."""
        assumed = {v for formula in self.ctx.decider.assumed for v in variables(formula)}
        # The terms of the sum at other positions than those assumed may be negative.
        free = [spot.var for spot in self.spots.values() if spot.var not in assumed]
        below = {v for term in left for a in term.atoms if a.kind == "inv" for v in a.args}
        beside = tuple(var for var in free if var not in below)
        found = [beside] if 1 < len(beside) < len(free) else []
        return [*found, *((var,) for var in free)]

    def _not_negative(self, poly: Poly) -> Outcome:
        """Whether no term is negative, as it stands or by bounds of functions in its terms."""
        ctx = self.ctx
        if never_negative(ctx, poly):
            return self._signed()
        left: Poly = ()
        for rule in (lowered, decayed):
            noted, words = len(ctx.record.steps), dict(ctx.words)
            rest = residue(ctx, rule(ctx, poly))
            if never_negative(ctx, rest):
                return self._signed()
            left = left or rest
            del ctx.record.steps[noted:]
            ctx.words = words
        return self._settled(left)

    def _signed(self) -> Outcome:
        self.ctx.say("every term is a product of factors that are never negative")
        return self._settled(())

    def _settled(self, rest: Poly) -> Outcome:
        if rest:
            return self._failed("the normal form left something over", rest)
        words = tuple(self.ctx.words) or ("both sides have one normal form",)
        if frontier := self._frontier():
            words = (*words, f"{', '.join(sorted(frontier))} taken as any arrays")
        lines = certificate_lines(self.ctx, self.opaque)
        return Outcome(proved=True, certificate=words, lines=lines, queries=self.ctx.decider.asked)

    def _frontier(self) -> set[str]:
        """The names taken as any arrays that the proof met."""
        sides = [self.statement.left, self.statement.right]
        bodies = [row for _, row in self._definitions().values()]
        return {e.tensor.name for side in (*sides, *bodies) for e in entries(side)} & self.opaque

    def _failed(self, reason: str, rest: Poly = ()) -> Outcome:
        if self.ctx.decider.spent:
            reason = "the queries to z3 are used up"
        elif states := self._frontier() & set(_states(self.statement.spec)):
            told = ", ".join(sorted(states))
            reason = f"{told} is a state of a recurrence: more than any array needs induction"
        return Outcome(
            proved=False,
            certificate=tuple(self.ctx.words),
            residue=polynomial_text(self.ctx, rest) if rest else "",
            reason=reason,
            queries=self.ctx.decider.asked,
        )


def _relabelled(spot: Spot, relabel: Relabel, index: str, *, right: bool) -> Spot:
    """Where a free index of a relabelled axis stands on one side.

    An index that the left side reads at its image is represented by that image, where the map is a
    bijection.
    """
    if index in relabel.indices:
        if relabel.bijection:
            return Spot(spot.var, f"{relabel.name}^-1", "") if right else spot
        return Spot(spot.var, "", relabel.name) if right else Spot(spot.var, relabel.name)
    return Spot(spot.var, "", relabel.name) if right else spot
