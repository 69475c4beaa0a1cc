"""The stages of attention in a spec: which scores are normalised over which keys, and how made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from attnverify.algebra.predicates import TRUE, Predicate
from attnverify.algebra.rewrite import entries, free, free_in, rebuild, rebuild_in, walk
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Mul,
    Scalar,
    Softmax,
    Threshold,
    Total,
    indicator,
    mul,
)
from attnverify.equations import Equation, Recurrence
from attnverify.spec import Spec
from attnverify.transforms.naming import name_softmaxes

SHARED = ("batch", "heads", "group", "repeat")
# Functions of a score whose value is a weight, but for what it is divided by.
GROWING = ("exp", "logistic", "relu")


@dataclass(frozen=True)
class Stage:
    """The scores of one normaliser; `over` are the places of the key among their indices."""

    spec: Spec
    scores: Equation
    over: tuple[int, ...]

    @property
    def name(self) -> str:
        """The tensor that holds the scores."""
        return self.scores.name

    @property
    def keys(self) -> tuple[Index, ...]:
        """The indices of the key, as the scores are declared."""
        return tuple(self.scores.head.indices[n] for n in self.over)

    @property
    def rows(self) -> tuple[Index, ...]:
        """The indices of the query, as the scores are declared."""
        indices = self.scores.head.indices
        return tuple(
            x for n, x in enumerate(indices) if n not in self.over and x.axis.name not in SHARED
        )

    @property
    def raw(self) -> Expr | None:
        """The comparison of query and key: the first sum that reads both."""
        for node in walk(self.scores.body):
            if isinstance(node, Total):
                inside = free(node)
                if any(i in inside for i in self.rows) and any(j in inside for j in self.keys):
                    return node
        return None

    @property
    def weights(self) -> tuple[Equation, ...]:
        """The equations that read the scores and hold the key: weights, whole or as a quotient."""
        found = []
        for statement in self.spec.equations:
            if not isinstance(statement, Equation) or statement.name == self.name:
                continue
            read = [e for e in entries(statement.body) if e.tensor.name == self.name]
            if (read and {*self._keys(read[0])} & {*statement.head.indices}) or (
                isinstance(statement.body, Softmax) and read
            ):
                found.append(statement)
        return tuple(found)

    def _keys(self, entry: Entry) -> tuple[Index, ...]:
        return tuple(entry.indices[n] for n in self.over)

    def at(self, entry: Entry) -> At:
        """Where an entry of the scores is read."""
        keys = self._keys(entry)
        others = tuple(i for i in entry.indices if i not in keys and i.axis.name not in SHARED)
        return At(entry, others, keys)


@dataclass(frozen=True)
class At:
    """One reading of the scores: the entry, its query indices and its key indices."""

    entry: Entry
    rows: tuple[Index, ...]
    keys: tuple[Index, ...]


Masking = Callable[[Predicate, At], Predicate]


def stages(spec: Spec) -> tuple[Stage, ...]:
    """The stages of a spec outside recurrences, in order."""
    found: dict[str, Stage] = {}
    assigned = {s.name: s for s in spec.equations if isinstance(s, Equation)}
    for statement in assigned.values():
        for entry, over in _normalised(statement.body):
            name = entry.tensor.name
            places = tuple(n for n, index in enumerate(entry.indices) if index in over)
            if places and name in assigned and name not in found:
                found[name] = Stage(spec, assigned[name], places)
    return tuple(found.values())


def _normalised(expr: Expr) -> Iterator[tuple[Entry, tuple[Index, ...]]]:
    """Each entry that is normalised, with the indices that it is normalised over."""
    for node in walk(expr):
        if isinstance(node, Softmax | Threshold) and isinstance(node.score, Entry):
            yield node.score, (node.over,)
        elif isinstance(node, Total):
            for part in walk(node.body):
                if _grown(part) is not None and {*free(part)} & {*node.over}:
                    yield _grown(part), node.over  # type: ignore[misc]  # it is an entry by the line before


def _grown(node: Expr) -> Entry | None:
    """The score that a function of weights is taken of."""
    if isinstance(node, Apply) and node.primitive in GROWING and len(node.arguments) == 1:
        (argument,) = node.arguments
        return argument if isinstance(argument, Entry) else None
    return None


def prepared(spec: Spec) -> Spec:
    """The spec with every softmax an equation, so that its score is an entry."""
    return name_softmaxes(spec)


def masks(stage: Stage) -> tuple[Predicate, ...]:
    """The masks of a stage, each once; none where every key is seen."""
    found: dict[Predicate, None] = {}

    def seen(where: Predicate, at: At) -> Predicate:
        if where != TRUE:
            found[where] = None
        return where

    with_masks(stage, seen)
    return tuple(found)


def with_masks(stage: Stage, change: Masking) -> Spec:
    """The spec with the mask of a stage changed wherever it is applied.

    Masks stand in softmaxes, before functions of scores, and where rows without keys are counted.
    """
    changed: dict[Predicate, Predicate] = {}

    def masked(where: Predicate, entry: Entry) -> Predicate:
        found = change(where, stage.at(entry))
        if where != TRUE:
            changed[where] = found
        return found

    def seen(expr: Expr) -> Expr:
        return _masked(expr, stage.name, masked)

    first = _mapped(stage.spec, seen)
    return _mapped(first, lambda expr: _counted(expr, changed))


def _masked(expr: Expr, name: str, change: Callable[[Predicate, Entry], Predicate]) -> Expr:
    if isinstance(expr, Softmax | Threshold) and isinstance(expr.score, Entry):
        if expr.score.tensor.name == name:
            return replace(expr, where=change(expr.where, expr.score))
        return expr
    if isinstance(expr, Mul):
        grown = [e for e in map(_grown, expr.factors) if e is not None and e.tensor.name == name]
        guards = [f for f in expr.factors if isinstance(f, Indicator)]
        if grown:
            own = [g for g in guards if {*grown[0].indices} & {*free_in(g.where)}]
            where = own[0].where if own else TRUE
            rest = [f for f in expr.factors if not own or f is not own[0]]
            return mul(indicator(change(where, grown[0])), *rest)
    entry = _grown(expr)
    if entry is not None and entry.tensor.name == name:
        return mul(indicator(change(TRUE, entry)), expr)
    return rebuild(expr, lambda child: _masked(child, name, change))


def _counted(expr: Expr, changed: dict[Predicate, Predicate]) -> Expr:
    """The expression with masks changed where they are counted: inside other predicates."""

    def side(node: Expr) -> Expr:
        if isinstance(node, Indicator) and node.where in changed:
            return indicator(changed[node.where])
        return rebuild(node, side, inside)

    def inside(where: Predicate) -> Predicate:
        return rebuild_in(where, side)

    return rebuild(expr, lambda child: _counted(child, changed), inside)


def _mapped(spec: Spec, change: Callable[[Expr], Expr]) -> Spec:
    """The spec with the right side of each equation changed; recurrences stay as they are."""
    return spec.replace(
        equations=tuple(
            s if isinstance(s, Recurrence) else Equation(s.head, change(s.body))
            for s in spec.equations
        )
    )


def with_body(spec: Spec, name: str, body: Expr) -> Spec:
    """The spec with another right side of one equation."""
    return spec.replace(
        equations=tuple(
            Equation(s.head, body) if isinstance(s, Equation) and s.name == name else s
            for s in spec.equations
        )
    )


def with_new(spec: Spec, name: str, node: Expr, new: Expr) -> Spec:
    """The spec with one node of one equation replaced."""
    return with_body(spec, name, with_node(spec.equation(name).body, node, new))


def with_node(expr: Expr, node: Expr, new: Expr) -> Expr:
    """The expression with one node replaced wherever it stands."""
    if expr == node:
        return new
    return rebuild(expr, lambda child: with_node(child, node, new))


def scale_node(stage: Stage) -> Expr | None:
    """The product that holds the scale of the scores, or else the bare comparison."""
    raw = stage.raw
    found = raw
    for node in walk(stage.scores.body):
        if isinstance(node, Mul) and isinstance(node.factors[0], Scalar) and holds(node, raw):
            found = node
    return found


def holds(node: Expr, part: Expr | None) -> bool:
    """Whether a part stands somewhere in an expression."""
    return part is not None and part in walk(node)


def added(stage: Stage) -> tuple[Expr, ...]:
    """What is added to the comparison of query and key: biases."""
    raw = stage.raw
    found: list[Expr] = []
    for node in walk(stage.scores.body):
        if isinstance(node, Add) and holds(node, raw):
            found += [term for term in node.terms if not holds(term, raw)]
    return tuple(found)
