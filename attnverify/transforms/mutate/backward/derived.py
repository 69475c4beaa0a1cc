"""The derived gradient of a spec, and the places in it where backward passes go wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import networkx as nx

from attnverify.algebra.predicates import TRUE, Predicate
from attnverify.algebra.rewrite import rebuild, rename_in, walk
from attnverify.algebra.terms import (
    Entry,
    Expr,
    Index,
    Mul,
    Place,
    Softmax,
    Tensor,
    Total,
    apply,
    indicator,
    mul,
    total,
)
from attnverify.equations import Equation, Statement
from attnverify.errors import ParameterError
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient
from attnverify.transforms.mutate.operator import Apply, Change, Operator
from attnverify.transforms.naming import name_softmaxes, unused

Exchange = Callable[[Entry], Expr]


@dataclass(frozen=True)
class RowTerm:
    """One softmax in a gradient: its weights, and the row term D = sum_j dA A.

    `seed` is the cotangent of the weights as the row term reads it.
    """

    weights: Equation
    row: Equation
    seed: Entry
    over: tuple[Index, ...]

    @property
    def softmax(self) -> Softmax:
        """What the weights are."""
        body = self.weights.body
        if not isinstance(body, Softmax):
            raise TypeError(str(body))
        return body

    @property
    def rows(self) -> tuple[Place, ...]:
        """The places of a row of the weights."""
        return tuple(p for p in self.weights.head.places if p != self.softmax.at)

    @property
    def seen(self) -> Predicate:
        """Which keys a row sees, at the index of the weights."""
        body = self.softmax
        return rename_in(body.where, {body.over: body.at})

    @property
    def score(self) -> Entry:
        """The score at the places of the weights."""
        score, body = self.softmax.score, self.softmax
        if not isinstance(score, Entry):
            raise TypeError(str(score))
        return Entry(score.tensor, tuple(_at(p, body.over, body.at) for p in score.places))

    @property
    def row_index(self) -> Index | None:
        """The index of the query in a row; None where there is no one index of its own."""
        last = self.rows[-1] if self.rows else None
        return last if isinstance(last, Index) else None


@dataclass(frozen=True)
class Derived:
    """A gradient beside the spec that it is derived of, whose softmaxes have names."""

    source: Spec
    spec: Spec

    @cached_property
    def seeds(self) -> dict[str, str]:
        """The cotangent of each output."""
        extra = self.spec.inputs[len(self.source.inputs) :]
        return dict(zip(self.source.outputs, (e.tensor.name for e in extra), strict=True))

    @cached_property
    def slopes(self) -> dict[str, Equation]:
        """The equation of the gradient by each real input."""
        real = [e.tensor.name for e in self.source.inputs if e.tensor.kind == "real"]
        assigned = {s.name: s for s in self.spec.equations if isinstance(s, Equation)}
        pairs = zip(real, self.spec.outputs, strict=True)
        return {name: assigned[slope] for name, slope in pairs if slope in assigned}

    @cached_property
    def backward(self) -> frozenset[str]:
        """What depends on a cotangent."""
        graph = self.spec.graph()
        seeds = [s for s in self.seeds.values() if s in graph]
        return frozenset(set().union(*(nx.descendants(graph, s) for s in seeds)))

    @cached_property
    def row_terms(self) -> tuple[RowTerm, ...]:
        """The row term of each softmax."""
        heavy = {s.head: s for s in self._rows() if isinstance(s.body, Softmax)}
        found = []
        for row in self._rows():
            inner = row.body.body if isinstance(row.body, Total) else None
            factors = inner.factors if isinstance(inner, Mul) else ()
            read = [f for f in factors if isinstance(f, Entry) and f in heavy]
            rest = [f for f in factors if isinstance(f, Entry) and f not in heavy]
            if len(factors) == 2 and len(read) == 1 and len(rest) == 1:
                weights = heavy[read[0]]
                at = weights.body.at if isinstance(weights.body, Softmax) else None
                if isinstance(row.body, Total) and row.body.over == (at,):
                    found.append(RowTerm(weights, row, rest[0], row.body.over))
        return tuple(found)

    def _rows(self) -> list[Equation]:
        return [s for s in self.spec.equations if isinstance(s, Equation)]

    def reading(self, name: str, *, but: Collection[str] = ()) -> list[Equation]:
        """The backward equations that read a name."""
        return [
            row
            for row in self._rows()
            if row.name in self.backward
            and row.name not in but
            and any(isinstance(n, Entry) and n.tensor.name == name for n in walk(row.body))
        ]

    def scaled(self, names: Collection[str], factor: Expr) -> Spec:
        """The spec with the gradients by some inputs multiplied by a factor."""
        return self.with_slopes({n: mul(factor, self.slopes[n].body) for n in names})

    def with_slopes(self, bodies: Mapping[str, Expr]) -> Spec:
        """The spec with other right sides of the gradients by some inputs."""
        return self.with_bodies({self.slopes[name].name: body for name, body in bodies.items()})

    def with_bodies(self, bodies: Mapping[str, Expr], *added: Equation) -> Spec:
        """The spec with other right sides, and equations added before the first of these."""
        changed: list[Statement] = []
        left = [*added]
        for s in self.spec.equations:
            if isinstance(s, Equation) and s.name in bodies:
                changed += left
                left = []
            body = bodies.get(s.name) if isinstance(s, Equation) else None
            changed.append(
                Equation(s.head, body) if isinstance(s, Equation) and body is not None else s
            )
        return self.spec.replace(equations=tuple(changed))

    def exchanged(
        self,
        new: Mapping[str, Exchange],
        *added: Equation,
        rows: Collection[Equation] | None = None,
    ) -> Spec:
        """The spec with each reading of some names in backward equations put another way."""
        read = {r.name: r for name in new for r in self.reading(name)}
        chosen = read.values() if rows is None else rows
        return self.with_bodies({r.name: exchange(r.body, new) for r in chosen}, *added)

    def reweighted(
        self,
        term: RowTerm,
        body: Expr,
        *added: Equation,
        kept: bool = False,
        further: Mapping[str, Exchange] | None = None,
    ) -> Spec:
        """The spec whose backward pass computes weights again in its own way.

        `kept` leaves the row term to the weights of the forward pass, as one taken of outputs is.
        """
        again = Tensor(unused(f"{term.weights.name}_again", self.spec.heads))
        new: dict[str, Exchange] = {
            term.weights.name: lambda e: Entry(again, e.places),
            **(further or {}),
        }
        but = (term.row.name,) if kept else ()
        rows = {r.name: r for name in new for r in self.reading(name, but=but)}
        own = Equation(Entry(again, term.weights.head.places), body)
        return self.exchanged(new, *added, own, rows=rows.values()) if rows else self.spec

    def log_sum(self, term: RowTerm) -> Expr:
        """The log-sum-exp of a row of scores that are seen."""
        grown = mul(indicator(term.seen), apply("exp", term.score))
        return apply("log", total(grown, term.softmax.at))


def _at(place: Place, old: Index, new: Index) -> Place:
    if isinstance(place, tuple):
        return tuple(new if i == old else i for i in place)
    return new if place == old else place


def exchange(expr: Expr, new: Mapping[str, Exchange]) -> Expr:
    """The expression with each entry of some tensors put another way."""
    if isinstance(expr, Entry):
        return new[expr.tensor.name](expr) if expr.tensor.name in new else expr
    return rebuild(expr, lambda child: exchange(child, new))


@cache
def derived(spec: Spec) -> Derived | None:
    """The gradient of a spec by every real input; None where there is nothing to differentiate."""
    named = name_softmaxes(spec)
    try:
        return Derived(named, gradient(named))
    except ParameterError:
        return None


def masked(term: RowTerm) -> bool:
    """Whether a softmax hides anything."""
    return term.softmax.where != TRUE


def backward_bug(
    name: str, words: str, bugs: tuple[str, ...] = ()
) -> Callable[[Callable[[Derived], Iterator[Change]]], Operator]:
    """Make the decorated rewrite of a gradient an operator on the spec that it is derived of."""

    def made(rewrite: Callable[[Derived], Iterator[Change]]) -> Operator:
        def apply_to(spec: Spec) -> Iterator[Change]:
            found = derived(spec)
            if found is not None:
                yield from rewrite(found)

        applied: Apply = apply_to
        return Operator(name, words, applied, bugs)

    return made
