"""Nodes and edges of the dependence graph, as equations are read in order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from attnverify.algebra.terms import Entry, Expr, Index, Scalar
from attnverify.equations import Equation, Recurrence, equations_of
from attnverify.errors import ParameterError
from attnverify.flow.places import EVERYWHERE
from attnverify.flow.reach import Position
from attnverify.flow.reads import Read, Reader
from attnverify.spec import Spec

if TYPE_CHECKING:
    import networkx as nx

Node: TypeAlias = tuple[str, Position]
# Axes whose positions are entries of one vector, or rows of a table that all positions share. Along
# any other axis lies a sequence, or an image, a block of one, or what stands for one.
CHANNELS = frozenset(
    [
        "batch", "heads", "group", "repeat", "key_heads", "value_heads", "key_dim", "value_dim",
        "model", "hidden", "align", "embedding", "narrow", "pair", "pairs", "side", "rotary",
        "features", "taps", "buckets", "distances", "positions", "up", "across", "documents",
    ]
)  # fmt: skip
MOST = 3_000_000


class Edges:
    """Nodes and edges as equations are read, in order."""

    def __init__(self, spec: Spec, reader: Reader) -> None:
        self.spec, self.reader = spec, reader
        self.nodes: dict[Node, tuple[str, int]] = {}
        self.edges: dict[tuple[Node, Node], tuple[int, bool]] = {}
        # Of each tensor, the sizes of the indices that make up each of its positions.
        self.joins: dict[str, list[list[int]]] = {}
        for entry in spec.inputs:
            self._declare(entry.tensor.name, reader.positions(entry), "input", 0)
            reader.supports[entry.tensor.name] = (reader.positions(entry), EVERYWHERE)

    def made(self) -> nx.DiGraph[Node]:
        """The graph with all that was added."""
        import networkx as nx  # noqa: PLC0415  it loads for graphs alone

        graph: nx.DiGraph[Node] = nx.DiGraph()
        graph.add_nodes_from((n, {"kind": k, "work": w}) for n, (k, w) in self.nodes.items())
        graph.add_edges_from(
            (u, v, {"hop": hop, "mask": mask}) for (u, v), (hop, mask) in self.edges.items()
        )
        return graph

    def add(self, statement: Equation | Recurrence) -> None:
        """Add the equations of a statement."""
        if isinstance(statement, Recurrence):
            for name, value in statement.initial:
                self._initial(statement, name, value)
            self.reader.settle(statement)
        for equation in equations_of(statement):
            head = self.reader.positions(equation.head)
            self._declare(equation.name, head, "assigned", 1)
            found = self.reader.expr(equation.body)
            if not isinstance(statement, Recurrence):
                gone = [index for index in found.support.dims if index not in head]
                self.reader.supports[equation.name] = (head, found.support.some(gone))
            for read in found.reads:
                for source, target in self._pairs(read, head):
                    reader = self._node(equation.name, target)
                    self._edge(self._source(statement, read, source), reader, read)

    def _initial(self, rec: Recurrence, name: str, value: Expr) -> None:
        """The value of a state before the first step as a tensor of its own."""
        head = tuple(i for i in self.reader.positions(rec.head(name)) if i != rec.along)
        plain = isinstance(value, Scalar | Entry)
        self._declare(_before(name), head, "initial", 0 if plain else 1)
        for read in self.reader.expr(value).reads:
            for source, target in self._pairs(read, head):
                self._edge(self._node(read.tensor, source), (_before(name), target), read)

    def _source(self, statement: Equation | Recurrence, read: Read, at: Position) -> Node:
        """The node that is read: for the step before the first, the initial value."""
        if not read.earlier or not isinstance(statement, Recurrence):
            return self._node(read.tensor, at)
        spot = read.at.index(statement.along)
        last = self.reader.length(statement.along) - 1
        if at[spot] == (last if statement.reverse else 0):
            return _before(read.tensor), (*at[:spot], *at[spot + 1 :])
        back = at[spot] + (1 if statement.reverse else -1)
        return self._node(read.tensor, (*at[:spot], back, *at[spot + 1 :]))

    def _node(self, name: str, at: Position) -> Node:
        """A tensor at indices: those of a product axis are one position, in row-major order."""
        if name not in self.joins:
            places = self.spec.heads[name].places if name in self.spec.heads else ()
            split = [place if isinstance(place, tuple) else (place,) for place in places]
            told = [[self.reader.length(i) for i in parts if self._told(i)] for parts in split]
            self.joins[name] = [sizes for sizes in told if sizes]
        joins = self.joins[name]
        if all(len(sizes) == 1 for sizes in joins):
            return name, at
        rest = iter(at)
        parts = (([next(rest) for _ in sizes], sizes) for sizes in joins)
        return name, tuple(int(np.ravel_multi_index(part, sizes)) for part, sizes in parts)

    def _told(self, index: Index) -> bool:
        return index.axis.name in self.reader.along

    def _pairs(self, read: Read, head: tuple[Index, ...]) -> Iterator[tuple[Position, Position]]:
        """Where an equation reads an entry: the position that is read, and the reader's."""
        dims = tuple(dict.fromkeys((*head, *read.at)))
        where = read.where.some(index for index in read.where.dims if index not in dims)
        self._room(dims, len(self.edges))
        shape = tuple(self.reader.length(index) for index in dims)
        at = [dims.index(index) for index in read.at]
        for place in np.argwhere(np.broadcast_to(where.over(dims), shape)).tolist():
            yield tuple(place[n] for n in at), tuple(place[: len(head)])

    def _edge(self, source: Node, target: Node, read: Read) -> None:
        hop, mask = self.edges.get((source, target), (1, True))
        self.edges[source, target] = (min(hop, int(read.hop)), mask and read.mask)

    def _declare(self, name: str, at: tuple[Index, ...], kind: str, work: int) -> None:
        self._room(at, len(self.nodes))
        lengths = (range(self.reader.length(index)) for index in at)
        places = itertools.product(*lengths)
        self.nodes.update({self._node(name, place): (kind, work) for place in places})

    def _room(self, dims: tuple[Index, ...], known: int) -> None:
        """Refuse positions of which there are too many for a graph."""
        if known + math.prod(self.reader.length(index) for index in dims) > MOST:
            raise ParameterError(
                "the dependence graph would be too large",
                spec=self.spec.name,
                found=", ".join(f"{d.axis.name} = {self.reader.length(d)}" for d in dims),
                due=f"at most {MOST} nodes and as many edges",
                hint="give smaller sizes",
            )


def _before(name: str) -> str:
    return f"previous({name})"
