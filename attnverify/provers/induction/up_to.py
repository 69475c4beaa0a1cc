"""Two computations that agree up to a position, equation by equation.

A claim such as "outputs up to a step do not depend on inputs after it" compares what a spec assigns
with what a changed copy of it assigns. Of every name T of the spec and its copy T_2 it is claimed
that

    where the guard holds at some of T's positions, T_2 = T

and that is proved from the same claims about what their equations read: there T is any array, and
T_2 is T where the guard holds and any array where it does not. Which positions the guard must hold
at is tried, fewest first. Of a T with two such positions, as weights have, it is also asked whether
it is 0 where the guard holds at the one and not at the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice, permutations

from attnverify.algebra.predicates import TRUE, Predicate, conjunction, negation
from attnverify.algebra.rewrite import (
    children,
    entries,
    free_in,
    rebuild,
    rebuild_in,
    rename_in,
    walk,
)
from attnverify.algebra.terms import (
    ZERO,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Softmax,
    Tensor,
    Threshold,
    Total,
    add,
    indicator,
    mul,
)
from attnverify.equations import Equation, Recurrence
from attnverify.provers.induction.copies import given_at
from attnverify.provers.induction.steps import Names, flat, needed_rows
from attnverify.provers.outcome import Outcome
from attnverify.spec import Spec
from attnverify.statement import Statement, definitions, renamed

Prover = Callable[[Statement], Outcome]
Spots = tuple[int, ...]  # places of a name's indices
Agree = Mapping[str, tuple[str, Spots]]  # the original of each name of the copy, and where they do


def agreeing(statement: Statement, prove: Prover) -> Outcome | None:
    """The proof that two computations agree, or why there is none; None where there are no two."""
    claim = given_at(statement)
    guard = _guard(claim)
    if guard is None or any(isinstance(row, Recurrence) for row in needed_rows(claim)):
        return None
    copy, original = claim.left, claim.right
    if not isinstance(copy, Entry) or not isinstance(original, Entry):
        return None
    pairs = _Pairs(definitions(claim.spec))
    if not pairs.meet(copy.tensor.name, original.tensor.name):
        return None
    work = _Work(claim, guard, Names.of(claim), prove)
    for two, one in pairs.found.items():
        failed = work.pair(two, one, alike=two in pairs.alike)
        if failed is not None:
            return failed
    return work.ended(copy, original)


def _guard(claim: Statement) -> tuple[Predicate, Index] | None:
    """The claim's only hypothesis, if it is about one position of the output."""
    if claim.relabels or claim.kind != "equal" or len(claim.hypotheses) != 1:
        return None
    (where,) = claim.hypotheses
    if not isinstance(where, Predicate) or any(True for _ in entries(indicator(where))):
        return None
    about = list(free_in(where))
    return (where, about[0]) if len(about) == 1 else None


@dataclass
class _Pairs:
    """The names of the copy, each with the one that it is a copy of, what is read first.

    `alike` are those whose equations differ by such names alone.
    """

    rows: dict[str, Equation]
    found: dict[str, str] = field(default_factory=dict)
    alike: set[str] = field(default_factory=set)

    def meet(self, two: str, one: str) -> bool:
        """Pair two names and what their equations read; False where a name has two originals."""
        if two == one:
            return True
        if two in self.found:
            return self.found[two] == one
        inner = self._read(two, one)
        if inner is not None and all(self.meet(a, b) for a, b in inner.items()):
            self.alike.add(two)
        return self.found.setdefault(two, one) == one

    def _read(self, two: str, one: str) -> dict[str, str] | None:
        """The names that two equations read, pair by pair, if they differ by them alone."""
        if two not in self.rows or one not in self.rows:
            return None
        copy, original = self.rows[two], self.rows[one]
        read = zip(entries(copy.body), entries(original.body), strict=False)
        names = {a.tensor.name: b.tensor.name for a, b in read}
        return names if renamed(copy, {**names, two: one}) == original else None


@dataclass
class _Work:
    """What is known to agree so far, and where."""

    claim: Statement
    guard: tuple[Predicate, Index]
    names: Names
    prove: Prover
    agree: dict[str, tuple[str, Spots]] = field(default_factory=dict)
    zeros: dict[str, tuple[Spots, ...]] = field(default_factory=dict)
    words: dict[str, None] = field(default_factory=dict)
    queries: int = 0

    def pair(self, two: str, one: str, *, alike: bool) -> Outcome | None:
        """Find where two names agree; the last failure if it is nowhere that was tried."""
        outcome: Outcome | None = None
        for spots in self._candidates(two, one):
            outcome = self._ask(two, one, spots, alike=alike)
            if outcome.proved:
                self.agree[two] = one, spots
                self.words.update(dict.fromkeys(outcome.certificate))
                return None
        reason = outcome.reason if outcome else "they have other positions"
        return Outcome(
            proved=False, reason=f"{two} and {one} do not agree: {reason}", queries=self.queries
        )

    def ended(self, copy: Entry, original: Entry) -> Outcome | None:
        """The claim itself, which is one of those that were proved; None where it is not."""
        told, spots = self.agree.get(copy.tensor.name, ("", ()))
        known = {copy.indices[spot] for spot in spots}
        if told != original.tensor.name or copy.indices != original.indices:
            return None
        if len(set(copy.indices)) < len(copy.indices) or not known <= {self.guard[1]}:
            return None
        words = "each equation by itself: where what both read agrees, what they assign does"
        return Outcome(proved=True, certificate=(words, *self.words), queries=self.queries)

    def _candidates(self, two: str, one: str) -> Iterator[Spots]:
        """The positions that the guard may have to hold at, fewest first."""
        heads = self.claim.spec.heads
        if heads[two].places != heads[one].places:
            return
        head, axis = heads[two], self.guard[1].axis
        timed = tuple(n for n, index in enumerate(head.indices) if index.axis == axis)
        found = _conditions(definitions(self.claim.spec)[two].body, self.agree)
        needed = {n for n in timed if head.indices[n] in found}
        rest = [spot for spot in timed if spot not in needed]
        least = 1 if timed and not needed else 0
        for number in range(least, len(rest) + 1):
            for more in combinations(rest, number):
                yield tuple(sorted((*needed, *more)))

    def _ask(self, two: str, one: str, spots: Spots, *, alike: bool) -> Outcome:
        """Whether two names agree where the guard holds at some of their positions."""
        heads, rows = self.claim.spec.heads, definitions(self.claim.spec)
        made = [rows[name] for name in (two, one) if name in rows]
        if alike:
            at = {heads[two].indices[spot] for spot in spots}
            made = [Equation(row.head, _settled(row.body, self.agree, at)) for row in made]
        spec = self._spec(made) if alike else self._whole(two, one)
        where = self._where(heads[two], spots)
        given = () if where == TRUE else (where,)
        name = f"{two} agrees with {one}"
        return self._proved(Statement(name, "equal", spec, heads[two], heads[one], given))

    def _proved(self, statement: Statement) -> Outcome:
        outcome = self.prove(statement)
        self.queries += outcome.queries
        return outcome

    def _whole(self, two: str, one: str) -> Spec:
        """All that assigns two names, as it stands."""
        claim = self.claim
        sides = Statement("", "equal", claim.spec, claim.spec.heads[two], claim.spec.heads[one])
        return flat(claim.spec, [r for r in needed_rows(sides) if isinstance(r, Equation)], ())

    def _spec(self, made: Sequence[Equation]) -> Spec:
        """Two equations, over arrays that agree where it is known."""
        own = {row.name for row in made}
        read = dict.fromkeys(e.tensor.name for row in made for e in entries(row.body))
        originals = dict.fromkeys(self.agree.get(name, (name,))[0] for name in read)
        inputs: dict[Entry, None] = {}
        known: list[Equation] = []
        for name in (name for name in originals if name not in own):
            known += self._any(name, inputs)
        for name in (name for name in read if name in self.agree and name not in own):
            known.append(self._copy(name, inputs))
        return flat(self.claim.spec, [*known, *made], inputs)

    def _any(self, name: str, inputs: dict[Entry, None]) -> list[Equation]:
        """A name as any array, or as any array times where it is not known to be 0."""
        head = self.claim.spec.heads[name]
        zeros = self._zeros(name)
        if not zeros:
            inputs[head] = None
            return []
        array = Entry(self.names.tensor(f"{name}_any"), head.places)
        inputs[array] = None
        left = (negation(self._beyond(head, spots)) for spots in zeros)
        return [Equation(head, mul(indicator(conjunction(*left)), array))]

    def _copy(self, name: str, inputs: dict[Entry, None]) -> Equation:
        """A copy as its original where they agree, and any array elsewhere."""
        head = self.claim.spec.heads[name]
        one, spots = self.agree[name]
        base: Expr = Entry(Tensor(one, head.tensor.kind), head.places)
        where = self._where(head, spots)
        if where != TRUE:
            off = Entry(self.names.tensor(f"{name}_off"), head.places)
            inputs[off] = None
            base = add(base, mul(indicator(negation(where)), off))
        return Equation(head, base)

    def _zeros(self, name: str) -> tuple[Spots, ...]:
        """The pairs of positions of a name at which it is 0: inside the guard, and outside it."""
        if name not in self.zeros:
            self.zeros[name] = ()  # what reads it is proved after it, never before
            row = definitions(self.claim.spec).get(name)
            if row is not None and self._may_vanish(row):
                axis = self.guard[1].axis
                timed = [n for n, index in enumerate(row.head.indices) if index.axis == axis]
                spec = self._spec([row])
                places = permutations(timed, 2)
                self.zeros[name] = tuple(
                    islice((pair for pair in places if self._vanishes(spec, row, pair)), 1)
                )
        return self.zeros[name]

    def _may_vanish(self, row: Equation) -> bool:
        """Whether an equation has a mask, or reads what is 0 somewhere."""
        masked = any(
            isinstance(node, Indicator) or (isinstance(node, Softmax) and node.where != TRUE)
            for node in walk(row.body)
        )
        return masked or any(self._zeros(e.tensor.name) for e in entries(row.body))

    def _vanishes(self, spec: Spec, row: Equation, spots: Spots) -> bool:
        given = (self._beyond(row.head, spots),)
        claim = Statement(f"{row.name} is 0", "zero", spec, row.head, ZERO, given)
        outcome = self._proved(claim)
        self.words.update(dict.fromkeys(outcome.certificate if outcome.proved else ()))
        return outcome.proved

    def _beyond(self, head: Entry, spots: Spots) -> Predicate:
        """The guard at one position of a name, and not at another."""
        inside, outside = spots
        return conjunction(self._where(head, (inside,)), negation(self._where(head, (outside,))))

    def _where(self, head: Entry, spots: Spots) -> Predicate:
        """The guard at some of a name's positions."""
        where, about = self.guard
        return conjunction(*(rename_in(where, {about: head.indices[spot]}) for spot in spots))


def _settled(expr: Expr, agree: Agree, at: Collection[Index]) -> Expr:
    """The expression with a copy's entries replaced by the original's where both agree.

    That is known at indices at which the guard holds and that nothing binds in between.
    """
    if isinstance(expr, Entry) and expr.tensor.name in agree:
        one, spots = agree[expr.tensor.name]
        same = all(expr.indices[spot] in at for spot in spots)
        return Entry(Tensor(one, expr.tensor.kind), expr.places) if same else expr
    left = set(at) - set(_binds(expr))

    def inside(child: Expr) -> Expr:
        return _settled(child, agree, left)

    return rebuild(expr, inside, lambda where: rebuild_in(where, inside))


def _conditions(expr: Expr, agree: Agree) -> set[Index]:
    """The indices that nothing binds at which something is read that agrees under the guard."""
    if isinstance(expr, Entry):
        _, spots = agree.get(expr.tensor.name, ("", ()))
        return {expr.indices[spot] for spot in spots}
    found = set[Index]().union(*(_conditions(child, agree) for child in children(expr)))
    return found - set(_binds(expr))


def _binds(node: Expr) -> tuple[Index, ...]:
    """The indices that a node binds in what is inside it."""
    match node:
        case Total(_, over):
            return over
        case Softmax() | Maximum() | Threshold():
            return (node.over,)
    return ()
