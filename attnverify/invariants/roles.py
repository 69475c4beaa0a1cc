"""The parts that a spec's tensors play: weights, scores, key inputs, value inputs, output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from attnverify.algebra.predicates import TRUE, Predicate
from attnverify.algebra.rewrite import entries, free_in
from attnverify.algebra.terms import (
    ZERO,
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Mul,
    Total,
)
from attnverify.equations import Equation, Recurrence
from attnverify.invariants.forms import affine_in, degree, without_predicates
from attnverify.invariants.reach import confined, only_through
from attnverify.invariants.reading import assigned
from attnverify.invariants.sites import KEY, ROW, Attention, Score, attentions, with_weights
from attnverify.spec import Spec
from attnverify.statement import inline
from attnverify.transforms.relabel import with_nodes

# Axes along which positions of a sequence stand.
SEQUENCES = ("queries", "keys", "time")


@dataclass(frozen=True)
class Roles:
    """A spec with each softmax named, and what its tensors are.

    Where a spec has several attentions, what is said of weights and scores is asked of each, for it
    is local to them; what is said of the output is asked of the one whose values reach the output
    directly, or of the last.
    """

    spec: Spec

    @cached_property
    def attentions(self) -> tuple[Attention, ...]:
        """Every attention, in the order of the equations."""
        return attentions(self.spec)

    @cached_property
    def attention(self) -> Attention | None:
        """The last attention that the output reads directly, or the last one."""
        read = {e.tensor.name for e in entries(self._output_body)}
        direct = [site for site in self.attentions if site.weights.name in read]
        found = direct or list(self.attentions)
        return found[-1] if found else None

    @property
    def main(self) -> Attention:
        """The attention that what is said of the output is about."""
        if self.attention is None:
            raise LookupError("the spec has no attention weights")
        return self.attention

    @property
    def weights(self) -> Equation | None:
        """The equation of the weights, if the spec has some."""
        return None if self.attention is None else self.attention.weights

    @property
    def weights_head(self) -> Entry:
        """The weights at their own indices."""
        return self.main.weights.head

    @property
    def keys(self) -> tuple[Index, ...]:
        """The weights' indices that stand for the key."""
        return self.main.keys

    @property
    def where(self) -> Predicate:
        """Which keys a query sees."""
        return self.main.where

    @property
    def masked(self) -> bool:
        """Whether the weights leave places out."""
        return self.attention is not None and self.where != TRUE

    @cached_property
    def recurrent(self) -> bool:
        """Whether the spec has a recurrence."""
        return any(isinstance(statement, Recurrence) for statement in self.spec.equations)

    @property
    def output(self) -> Entry:
        """The head of the first output."""
        return self.spec.heads[self.spec.outputs[0]]

    @property
    def _output_body(self) -> Expr:
        row = assigned(self.spec).get(self.spec.outputs[0])
        return self.output if row is None else row.body

    @cached_property
    def real_inputs(self) -> tuple[Entry, ...]:
        """Inputs of real numbers."""
        return tuple(entry for entry in self.spec.inputs if entry.tensor.kind == "real")

    def along(self, axis: str) -> tuple[Entry, ...]:
        """Inputs that run along an axis."""
        return tuple(e for e in self.spec.inputs if any(i.axis.name == axis for i in e.indices))

    def movable(self, axis: str) -> bool:
        """Whether an axis stands alone wherever inputs and output have it, not in a product."""
        heads = (*self.spec.inputs, self.output)
        return not any(
            index.axis.name == axis
            for head in heads
            for place in head.places
            if isinstance(place, tuple)
            for index in place
        )

    # ---- the sides of the scores

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """The scores of the main attention."""
        return () if self.attention is None else self.attention.scores

    @cached_property
    def key_inputs(self) -> tuple[Entry, ...]:
        """Real inputs that weights read at the key's place, biases over pairs left out."""
        return self._side(KEY, ROW)

    @cached_property
    def query_inputs(self) -> tuple[Entry, ...]:
        """Real inputs that weights read at the query's place alone."""
        return tuple(e for e in self._side(ROW, KEY) if e not in self.key_inputs)

    def _side(self, mark: str, other: str) -> tuple[Entry, ...]:
        told = () if self.attention is None else self.attention.weight_reads
        both = {entry for entry, marks in told if mark in marks and other in marks}
        whole = {entry: None for entry, marks in told if self._whole(mark, marks)}
        return tuple(entry for entry in whole if entry not in both)

    def _whole(self, mark: str, marks: tuple[str, ...]) -> bool:
        """Whether an input has the query's place, or all of the key's: of pages it has a part."""
        return mark in marks and (mark == ROW or marks.count(KEY) == len(self.keys))

    @cached_property
    def value_inputs(self) -> tuple[Entry, ...]:
        """Real inputs that weights are summed against and do not read themselves.

        Where there are no weights, the input V.
        """
        if self.attention is None:
            return tuple(e for e in self.real_inputs if e.tensor.name == "V")
        told = self.attention.value_reads
        pairs = {entry for entry, marks in told if KEY in marks and ROW in marks}
        found = {e: None for e, marks in told if self._whole(KEY, marks) and e not in pairs}
        return tuple(entry for entry in found if entry not in self.key_inputs)

    def key_places(self, entry: Entry) -> tuple[Index, ...]:
        """The indices of an input that stand for the key, in the order of the weights' own."""
        told = (*self.main.weight_reads, *self.main.value_reads)
        marks = next(m for e, m in told if e == entry and KEY in m)
        found = [i for i, mark in zip(entry.indices, marks, strict=True) if mark == KEY]
        order = [key.axis for key in self.keys]
        return tuple(sorted(found, key=lambda i: order.index(i.axis) if i.axis in order else 0))

    def hidden_rows(self, entry: Entry) -> tuple[Index, ...] | None:
        """The output's indices for the mask's, where it hides this input's places from the output.

        None where the input reaches the output by another way than scores and values.
        """
        return confined(self.main, entry, self.key_places(entry))

    def mask_rows(self, entry: Entry) -> dict[Index, Index] | None:
        """The output's index for each index of the mask that does not stand for the key.

        Where an input is not hidden, as the output's equation reads the weights; None where that
        does not say either.
        """
        wanted = [index for index in free_in(self.where) if index not in self.keys]
        rows = self.hidden_rows(entry)
        if rows is not None:
            return dict(zip(wanted, rows, strict=True))
        found = {index: self.at_output[index] for index in wanted if index in self.at_output}
        inside = {*found.values()} <= {*self.output.indices}
        return found if len(found) == len(wanted) and inside else None

    def through_scores(self, *sides: Iterable[Entry]) -> bool:
        """Whether inputs reach the outputs through the main attention's scores alone."""
        names = [entry.tensor.name for side in sides for entry in side]
        return only_through(self.spec, names, [s.head.tensor.name for s in self.scores])

    # ---- forms

    @cached_property
    def weighted_sum(self) -> Expr:
        """What the output is where its row sees a key; 0 where it does not."""
        body = self._output_body
        if self.attention is None or not isinstance(body, Add):
            return without_predicates(body)
        name = self.main.weights.name
        weighted = [t for t in body.terms if name in {e.tensor.name for e in entries(t)}]
        # The other terms may only fill rows, which a predicate picks.
        rest = [t for t in body.terms if t not in weighted and without_predicates(t) == t]
        return without_predicates(weighted[0]) if len(weighted) == 1 and not rest else body

    @cached_property
    def empty_rows_filled(self) -> bool:
        """Whether a row without keys takes a mean of values."""
        return isinstance(self._output_body, Add) and self.direct_values is not None

    @cached_property
    def direct_values(self) -> Entry | None:
        """The value input V where the output is exactly the sum of weights times V.

        A row that sees no key may be filled in another way.
        """
        body = self.weighted_sum
        if self.attention is None or not self.value_inputs or self.recurrent:
            return None
        if not isinstance(body, Total) or not isinstance(body.body, Mul):
            return None
        value = self.value_inputs[0]
        read = [f for f in body.body.factors if isinstance(f, Entry)]
        if (
            len(read) != len(body.body.factors)
            or len(read) != 2
            or value not in self._declared(read)
        ):
            return None
        weights = next((f for f in read if f.tensor.name == self.main.weights.name), None)
        if weights is None:
            return None
        places = dict(zip(self.weights_head.indices, weights.indices, strict=True))
        return value if {*body.over} == {places[key] for key in self.keys} else None

    @cached_property
    def at_output(self) -> dict[Index, Index]:
        """Where the first output's equation reads the weights: its index for each of theirs."""
        for entry in entries(self._output_body):
            if entry.tensor.name == self.main.weights.name:
                return dict(zip(self.weights_head.indices, entry.indices, strict=True))
        return {}

    def _declared(self, read: Iterable[Entry]) -> set[Entry]:
        inputs = {entry.tensor.name: entry for entry in self.spec.inputs}
        return {inputs[e.tensor.name] for e in read if e.tensor.name in inputs}

    @cached_property
    def score_bodies(self) -> tuple[Expr, ...]:
        """The main attention's scores over inputs alone; none where a recurrence defines them."""
        states = {
            step.name for s in self.spec.equations if isinstance(s, Recurrence) for step in s.steps
        }
        if self._needs(states):
            return ()
        return tuple(inline(self.spec, score.head) for score in self.scores)

    def _needs(self, names: set[str]) -> bool:
        """Whether scores read one of these names, directly or through definitions."""
        wanted = {score.head.tensor.name for score in self.scores}
        for row in reversed(list(assigned(self.spec).values())):
            if row.name in wanted and row.name not in names:
                wanted |= {e.tensor.name for e in entries(row.body)}
        return bool(wanted & names)

    def affine_score(self, entry: Entry) -> bool:
        """Whether scores are affine in a key input, with the same coefficients for all keys."""
        bodies = self.score_bodies
        return bool(bodies) and all(
            affine_in(body, entry.tensor.name, {*score.keys})
            for body, score in zip(bodies, self.scores, strict=True)
        )

    @cached_property
    def balanced(self) -> bool:
        """Whether scores stay when query inputs are scaled up and key inputs down by one factor."""
        degrees = {
            **{entry.tensor.name: 1 for entry in self.query_inputs},
            **{entry.tensor.name: -1 for entry in self.key_inputs},
        }
        return bool(self.score_bodies) and all(degree(s, degrees) == 0 for s in self.score_bodies)


def roles(spec: Spec) -> Roles:
    """The roles in a spec, its softmaxes and its weights named.

    What is undefined is left out, so that statements are about rows that see a key.
    """
    return Roles(with_weights(with_nodes(spec, {Apply("undefined", ()): ZERO})))


def unlike(index: Index, names: Iterable[str]) -> Index:
    """An index of the same axis with a single letter that is not taken."""
    taken = set(names)
    letters = [letter for letter in "lmnpqstuvwxyz" if letter not in taken]
    return Index(letters[0], index.axis)
