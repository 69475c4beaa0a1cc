"""Many statements about one variant as one computation, so that a draw feeds all of them at once.

What their specs share is computed once. The right side of a relabelled statement reads inputs of
its own, which hold the same draws with their positions moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.rewrite import predicates_of
from attnverify.algebra.terms import Entry, Expr, Parameter, Tensor, indicator, mul
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Recipe
from attnverify.compile.stack import stacked
from attnverify.equations import Equation, equations_of
from attnverify.equations import Statement as Row
from attnverify.provers.disturbed import disturbed
from attnverify.provers.draws import Case, Drawer, Group
from attnverify.spec import Spec
from attnverify.statement import Relabel, Sees, Statement, renamed, seen
from attnverify.transforms.naming import unused
from attnverify.transforms.prune import prune

Array = NDArray[Any]

SIDES = ("left", "right", "given")


@dataclass(frozen=True)
class Source:
    """Where an input's entries come from: a spec's own input, moved by some relabellings."""

    drawer: Drawer
    entry: Entry
    moves: tuple[Relabel, ...] = ()

    def array(self, case: Case) -> Array:
        """The entries that a case gives it."""
        array = self.drawer.array(self.entry, case)
        for relabel in self.moves:
            array = moved(array, self.entry, relabel, case)
        return array


@dataclass(frozen=True)
class Joint:
    """Statements, the spec that computes the sides of each, and where its inputs come from.

    `places` says where each statement stood among those that were to be joined.
    """

    statements: tuple[Statement, ...]
    places: tuple[int, ...]
    spec: Spec
    sources: Mapping[str, Source]

    @cached_property
    def recipe(self) -> Recipe:
        """The computation over many draws."""
        return stacked(lower(self.spec))

    def sides(self, group: Group) -> list[tuple[Array, Array, Array]]:
        """left, right and given of each statement: undisturbed, then RUNS disturbed runs.

        The first axis has the runs, the second the draws, the others the statement's indices.
        """
        cases = group.cases(self.spec)
        arrays = {
            name: np.stack([source.array(case) for case in cases])
            for name, source in self.sources.items()
        }
        found = disturbed(self.recipe, arrays, cases)
        return [
            (found[f"left__{n}"], found[f"right__{n}"], found[f"given__{n}"])
            for n in range(len(self.statements))
        ]


def drawer_of(statement: Statement) -> Drawer:
    """Draws the inputs of a statement's spec: its sides too tell what integers stand for."""
    sides = (statement.left, statement.right, given(statement))
    return Drawer(statement.spec, tuple(p for side in sides for p in predicates_of(side)))


def given(statement: Statement) -> Expr:
    """1 where a statement's hypotheses hold."""
    parts = [
        seen(h.where, h.over) if isinstance(h, Sees) else indicator(h) for h in statement.hypotheses
    ]
    return mul(*parts)


def joints(statements: Sequence[Statement]) -> list[Joint]:
    """Statements joined as far as they can be: a parameter has one domain in each computation."""
    found: list[_Joining] = []
    for place, statement in enumerate(statements):
        joining = next((one for one in found if one.takes(statement)), None)
        if joining is None:
            joining = _Joining()
            found.append(joining)
        joining.add(statement)
        joining.places.append(place)
    return [joining.joint() for joining in found]


@dataclass
class _Joining:
    """The rows so far, and the name of each by what it computes."""

    statements: list[Statement] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    inputs: list[Entry] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    known: dict[object, tuple[str, ...]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def takes(self, statement: Statement) -> bool:
        """Whether a statement's parameters have the domains that they have here."""
        return all(self.parameters.get(p.name, p) == p for p in statement.spec.parameters)

    def add(self, statement: Statement) -> None:
        """Add the rows that compute a statement's sides."""
        spec, number = statement.spec, len(self.statements)
        self.parameters.update({p.name: p for p in spec.parameters})
        self.taken |= {*self.parameters}
        drawer = drawer_of(statement)
        names = self._place(spec, drawer, ())
        other = self._place(spec, drawer, statement.relabels) if statement.relabels else names
        bodies = (statement.left, statement.right, given(statement))
        for side, body, read in zip(SIDES, bodies, (names, other, names), strict=True):
            head = Entry(Tensor(f"{side}__{number}"), statement.indices)
            self.rows.append(renamed(Equation(head, body), read))
        self.statements.append(statement)

    def _place(self, spec: Spec, drawer: Drawer, moves: tuple[Relabel, ...]) -> dict[str, str]:
        """The joint names of all that a spec reads and assigns."""
        names: dict[str, str] = {}
        for entry in spec.inputs:
            moving = tuple(r for r in moves if entry.tensor.name in r.tensors)
            moved_by = tuple((r.axis, r.name, r.bijection) for r in moving)
            key = (entry.tensor, _axes(entry), drawer.meaning(entry.tensor.name), moved_by)
            if key not in self.known:
                name = self._name(entry.tensor.name, key)
                self.inputs.append(Entry(Tensor(name, entry.tensor.kind), entry.places))
                self.sources[name] = Source(drawer, entry, moving)
            names[entry.tensor.name] = self.known[key][0]
        for row in spec.equations:
            self._assign(row, names)
        return names

    def _assign(self, row: Row, names: dict[str, str]) -> None:
        """Add a row unless one that computes the same is there; remember the names it assigns."""
        heads = [equation.name for equation in equations_of(row)]
        bare = {head: f"row__{n}" for n, head in enumerate(heads)}
        key = renamed(row, {**names, **bare})
        if key not in self.known:
            self.known[key] = tuple(self._free(head) for head in heads)
            fresh = dict(zip(heads, self.known[key], strict=True))
            self.rows.append(renamed(row, {**names, **fresh}))
        names.update(zip(heads, self.known[key], strict=True))

    def _name(self, wanted: str, key: object) -> str:
        name = self._free(wanted)
        self.known[key] = (name,)
        return name

    def _free(self, wanted: str) -> str:
        name = unused(wanted, self.taken)
        self.taken.add(name)
        return name

    def joint(self) -> Joint:
        """The statements as one spec."""
        outputs = [f"{side}__{n}" for n in range(len(self.statements)) for side in SIDES]
        first = self.statements[0].spec.name
        spec = Spec(
            f"{first} jointly",
            self.inputs,
            prune(self.rows, tuple(outputs)),
            outputs,
            parameters=tuple(self.parameters.values()),
        )
        return Joint(tuple(self.statements), tuple(self.places), spec, self.sources)


def _axes(entry: Entry) -> tuple[object, ...]:
    """The axes of an entry's places, whatever its indices are called."""
    return tuple(
        tuple(i.axis for i in place) if isinstance(place, tuple) else place.axis
        for place in entry.places
    )


def moved(array: Array, entry: Entry, relabel: Relabel, case: Case) -> Array:
    """An input with its positions along the relabelled axis mapped."""
    to = mapping(relabel, case)
    for spot, place in enumerate(entry.places):
        if not isinstance(place, tuple) and place.axis.name == relabel.axis:
            array = np.take(array, to, axis=spot)
    return array


def mapping(relabel: Relabel, case: Case) -> Array:
    """The map of a case; for seed 0 the plainest one: the reversal, or all to one."""
    return _mapping(case.seed, case.sizes[relabel.axis], bijection=relabel.bijection)


@lru_cache(maxsize=4096)
def _mapping(seed: int, size: int, *, bijection: bool) -> Array:
    """The map of a seed, which is read and never written."""
    if seed == 0:
        found = np.arange(size)[::-1] if bijection else np.zeros(size, int)
    else:
        rng = np.random.default_rng([seed, 7])
        found = np.asarray(rng.permutation(size) if bijection else rng.integers(0, size, size))
    found.flags.writeable = False
    return found
