"""The attentions of a spec: weights that multiply values, and the scores that they come from.

The weights are the equation `A` where a later equation sums it against values over a key's place,
and each softmax that is used so; where neither is there, they are the first softmax, or what the
input V is multiplied by where the output divides by a row's sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from attnverify.algebra.predicates import TRUE, Predicate, disjunction
from attnverify.algebra.rewrite import free, rename_in, walk
from attnverify.algebra.terms import Entry, Expr, Index, Mul, Power, Softmax, Tensor, Total, mul
from attnverify.equations import Equation
from attnverify.invariants.reading import Read, assigned, inputs_at, reads, support
from attnverify.spec import Spec
from attnverify.transforms.naming import name_softmaxes, unused

# Axes that queries and keys share: an index of one is neither a query's place nor a key's.
SHARED = ("batch", "heads", "group", "repeat")
KEY, ROW = "key", "row"
# The name of the weights that multiply values: A, with a number where a spec has another A.
WEIGHTS = re.compile(r"A\d*")


@dataclass(frozen=True)
class Score:
    """Scores, as declared, with the indices that stand for the key, and the softmax over them."""

    head: Entry
    keys: tuple[Index, ...]
    softmax: Equation | None = None

    def seen_at(self, keys: tuple[Index, ...]) -> Predicate | None:
        """The mask of the softmax, read at other indices of the keys; None without a softmax."""
        body = None if self.softmax is None else self.softmax.body
        if not isinstance(body, Softmax) or len(keys) != 1:
            return None
        return rename_in(body.where, {body.over: keys[0]})


@dataclass(frozen=True)
class Attention:
    """Weights with the indices that stand for the key."""

    spec: Spec
    weights: Equation
    keys: tuple[Index, ...]

    @cached_property
    def where(self) -> Predicate:
        """Which keys a row sees: by its softmaxes, or else where weights can differ from 0.

        So a weight that dropout takes away is that of a key which the row sees.
        """
        softmaxes = [score.seen_at(self.keys) for score in self.scores]
        found = [where for where in softmaxes if where is not None]
        return disjunction(*found) if found else support(self.spec, self.weights.body)

    @property
    def masked(self) -> bool:
        """Whether the weights leave places out."""
        return self.where != TRUE

    @property
    def rows(self) -> tuple[Index, ...]:
        """The indices that stand for the query: the weights' own beside the keys' and shared."""
        return tuple(
            i for i in self.weights.head.indices if i not in self.keys and i.axis.name not in SHARED
        )

    @property
    def softmax(self) -> Softmax | None:
        """The softmax that the weights are, if they are one."""
        return self.weights.body if isinstance(self.weights.body, Softmax) else None

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """The scores of each softmax that the weights are made of, or else the equation S."""
        found = [s for s in dict.fromkeys(_scores(self.spec, self.weights, self.keys)) if s.keys]
        axes = {key.axis for key in self.keys}
        own = tuple(s for s in found if s.softmax and {key.axis for key in s.keys} <= axes)
        return own or tuple(s for s in found if s.softmax is None)

    @cached_property
    def marks(self) -> dict[Index, str]:
        """What the weights' indices stand for."""
        return {**dict.fromkeys(self.rows, ROW), **dict.fromkeys(self.keys, KEY)}

    @cached_property
    def weight_reads(self) -> tuple[tuple[Entry, tuple[str, ...]], ...]:
        """The real inputs of weights and scores, each index marked as key's, row's or neither."""
        found = dict.fromkeys(inputs_at(self.spec, self.weights.body, self.marks))
        for score in self.scores:
            row = assigned(self.spec).get(score.head.tensor.name)
            body = score.head if row is None else row.body
            marks = {i: KEY if i in score.keys else ROW for i in _places(score.head)}
            found.update(dict.fromkeys(inputs_at(self.spec, body, marks)))
        return tuple((entry, told) for entry, told in found if entry.tensor.kind == "real")

    @cached_property
    def value_reads(self) -> tuple[tuple[Entry, tuple[str, ...]], ...]:
        """The real inputs that the weights are summed against, each index marked."""
        found: dict[tuple[Entry, tuple[str, ...]], None] = {}
        for row in assigned(self.spec).values():
            for entry, others in contractions(row.body, self.weights.name):
                places = dict(zip(self.weights.head.indices, entry.indices, strict=True))
                marks = {places[index]: mark for index, mark in self.marks.items()}
                for other in others:
                    found.update(dict.fromkeys(inputs_at(self.spec, other, marks)))
        return tuple((entry, told) for entry, told in found if entry.tensor.kind == "real")


def _places(head: Entry) -> tuple[Index, ...]:
    return tuple(i for i in head.indices if i.axis.name not in SHARED)


def _scores(spec: Spec, row: Equation, keys: tuple[Index, ...]) -> Iterator[Score]:
    """Scores below an equation whose indices `keys` stand for the key."""
    body = row.body
    if isinstance(body, Softmax) and isinstance(body.score, Entry):
        head = spec.heads[body.score.tensor.name]
        own = dict(zip(body.score.indices, head.indices, strict=True))
        yield Score(head, (own[body.over],) if body.over in own else (), row)
    if row.name == "S":
        yield Score(row.head, keys)
    for read in reads(body):
        below = assigned(spec).get(read.entry.tensor.name)
        if below is None:
            continue
        places = zip(below.head.indices, read.entry.indices, strict=True)
        inner = tuple(head for head, at in places if at in keys and _stays(read, at))
        if inner or isinstance(below.body, Softmax):
            yield from _scores(spec, below, inner)


def _stays(read: Read, index: Index) -> bool:
    """Whether a read at an index is at that place, as a softmax reads its scores, or over a sum."""
    node = read.binder(index)
    return node is None or (isinstance(node, Softmax) and node.at == index)


def contractions(expr: Expr, name: str) -> Iterator[tuple[Entry, tuple[Expr, ...]]]:
    """Each entry of `name` that is summed against other factors over one of its own indices."""
    for node in walk(expr):
        if not isinstance(node, Total) or not isinstance(node.body, Mul):
            continue
        for factor in node.body.factors:
            if not isinstance(factor, Entry) or factor.tensor.name != name:
                continue
            shared = {i for i in factor.indices if i in node.over and i.axis.name not in SHARED}
            others = tuple(f for f in node.body.factors if f is not factor and {*free(f)} & shared)
            if others:
                yield factor, others


def attentions(spec: Spec) -> tuple[Attention, ...]:
    """The attentions of a spec whose softmaxes are named, in the order of their weights."""
    found = [Attention(spec, row, keys) for row, keys in _used(spec)]
    if not found:
        found = [
            Attention(spec, row, (row.body.at,))
            for row in assigned(spec).values()
            if isinstance(row.body, Softmax)
        ][:1]
    return tuple(found)


def _used(spec: Spec) -> Iterator[tuple[Equation, tuple[Index, ...]]]:
    """Equations that are weights, each with its key indices as the first reader sums them."""
    for row in assigned(spec).values():
        if not isinstance(row.body, Softmax) and not WEIGHTS.fullmatch(row.name):
            continue
        for keys in _summed(spec, row):
            if not isinstance(row.body, Softmax) or row.body.at in keys:
                yield row, (row.body.at,) if isinstance(row.body, Softmax) else keys
                break


def _summed(spec: Spec, row: Equation) -> Iterator[tuple[Index, ...]]:
    """The indices of an equation that some reader sums against values."""
    for reader in assigned(spec).values():
        for entry, others in contractions(reader.body, row.name):
            inside = {index for other in others for index in free(other)}
            bound = {*entry.indices} - {*reader.head.indices}
            places = zip(row.head.indices, entry.indices, strict=True)
            yield tuple(
                head
                for head, at in places
                if at in bound and at in inside and head.axis.name not in SHARED
            )


def with_weights(spec: Spec) -> Spec:
    """The spec with its softmaxes named, and an equation for weights that none assigns.

    Where an output is a sum against the input V over a row's sum, the weights are all that V is
    multiplied by.

    >>> from attnverify import load
    >>> print(with_weights(load("linear")).equation("A"))
    A[b,h,i,j] = W[b,h,i,j] / Z[b,h,i]
    """
    named = name_softmaxes(spec)
    for place, statement in enumerate(named.equations):
        made = _implied(named, statement) if isinstance(statement, Equation) else None
        if made is not None:
            rows = (*named.equations[:place], *made, *named.equations[place + 1 :])
            return named.replace(equations=rows)
    return named


def _implied(spec: Spec, row: Equation) -> tuple[Equation, Equation] | None:
    """The weights of a quotient `total(W V) / Z`, and the equation with them in their place."""
    if not isinstance(row.body, Mul) or row.name not in spec.outputs:
        return None
    sums = [factor for factor in row.body.factors if isinstance(factor, Total)]
    over = [f for f in row.body.factors if isinstance(f, Power) and f.exponent == -1]
    if len(sums) != 1 or len(over) != 1 or len(row.body.factors) != 2:
        return None
    factors = sums[0].body.factors if isinstance(sums[0].body, Mul) else ()
    values = [f for f in factors if isinstance(f, Entry) and f.tensor.name == "V"]
    if len(values) != 1 or "V" not in {entry.tensor.name for entry in spec.inputs}:
        return None
    weight = mul(*(f for f in factors if f is not values[0]), over[0])
    if not {*sums[0].over} <= {*free(weight)} & {*values[0].indices}:
        return None
    head = Entry(Tensor(unused("A", spec.heads)), tuple(free(weight)))
    body = Total(mul(head, values[0]), sums[0].over)
    return Equation(head, weight), Equation(row.head, body)
