"""The dependence graph of a spec at given sizes: which position's value depends on which.

A node is a tensor at positions of the sequence, `("A", (2, 0))`; entries of one node differ in
batch and channels alone. An edge goes from what an equation reads to what it assigns, with masks
decided at these sizes: a key that a mask hides gives no edge to the query. By the form of equations
alone, so an edge says that a value may depend on another, and no path that it cannot.

A **hop** is an edge at which the reader leaves the position that it reads: it reads the step before
in a recurrence, or sums over the position. The path length of Vaswani et al. (2017, section 4) is
the number of hops from an input position to an output position, through as many layers as it takes:
one hop for attention, t - s for a recurrence, and the number of layers for a stack of convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from attnverify.equations import Recurrence
from attnverify.errors import ParameterError, ShapeError
from attnverify.flow.edges import CHANNELS, Edges, Node
from attnverify.flow.reach import Position, Reach
from attnverify.flow.reads import Reader
from attnverify.library import load
from attnverify.spec import Spec

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class Dependence:
    """Which positions depend on which, in `graph`: nodes and edges as the module says.

    A node has `kind` (input, initial, assigned), an edge `hop` (0 or 1) and `mask` (a predicate
    alone reads it). `along` are the axes whose positions are told apart. A position is a number, or
    a tuple of them where inputs or outputs lie along several axes, and stands for each of `inputs`,
    or every output, there; a node stands for itself. `parameters` are the values that chose among a
    family and those that masks were decided at; `undecided` are predicates that these do not
    decide, as those about inputs, which are taken to hold wherever they may.
    """

    spec: Spec
    sizes: Mapping[str, int]
    along: tuple[str, ...]
    graph: nx.DiGraph[Node]
    inputs: tuple[str, ...]
    parameters: Mapping[str, Any]
    undecided: tuple[str, ...] = ()

    def sources(self, at: int | Position | Node | None = None) -> tuple[Node, ...]:
        """The inputs at a position, or at any."""
        return self._nodes(set(self.inputs), at)

    def targets(self, at: int | Position | Node | None = None) -> tuple[Node, ...]:
        """The outputs at a position, or at any."""
        return self._nodes(set(self.spec.outputs), at)

    def reaches(self, source: int | Position | Node, target: int | Position | Node) -> bool:
        """Whether an output at `target` depends on an input at `source`.

        >>> causal = dependence("causal", {"queries": 3, "keys": 3})
        >>> causal.reaches(0, 2), causal.reaches(2, 0)
        (True, False)
        """
        return self._hops(source, target) is not None

    def path_length(
        self,
        source: int | Position | Node,
        target: int | Position | Node,
        *,
        layers: int | None = None,
    ) -> int | None:
        """The fewest hops from an input position to an output position; None without a path.

        Through `layers` layers one upon the other or, without a number, as many as it takes.
        Nodes are connected through one layer.

        >>> dependence("elman", {"time": 9}).path_length(2, 8)
        6
        >>> window = dependence("sliding_window", {"queries": 9, "keys": 9}, window=3)
        >>> window.path_length(0, 8), window.path_length(0, 8, layers=1)
        (4, None)
        """
        if layers is None and (_is_node(source) or _is_node(target)):
            return self._hops(source, target)
        whole = self._stacked if layers is None else self.layer.times(layers)
        row = self._place(whole.targets, target, self.spec.outputs)
        column = self._place(whole.sources, source, self.inputs)
        found = whole.hops[row, column]
        return int(found) if np.isfinite(found) else None

    def maximum_path_length(self) -> int:
        """The largest path length over pairs that some number of layers connects.

        >>> dependence("global", {"queries": 8, "keys": 8}).maximum_path_length()
        1
        """
        return self._stacked.longest()

    def layers_to_connect(self) -> int:
        """The fewest layers that connect every pair that any number of layers does."""
        if not self.layer.stackable:
            return 1
        needed = self.layer.layers_needed()
        found = needed[np.isfinite(needed)]
        return int(found.max()) if found.size else 0

    def paths(self, source: int | Position | Node, target: int | Position | Node) -> int:
        """The number of paths in the graph from inputs at `source` to outputs at `target`.

        >>> dependence("elman", {"time": 5}).paths(0, 4)
        1
        """
        begin, ends = set(self.sources(source)), self.targets(target)
        counts: dict[Node, int] = {}
        for node in self._order:
            before = sum(counts[other] for other in self.graph.predecessors(node))
            counts[node] = before + (node in begin)
        return sum(counts[node] for node in ends)

    def sequential_operations(self) -> int:
        """The number of equations on the longest chain that leads to an output.

        Each step of a recurrence has its own; a sum, a softmax or a product of matrices is one
        operation, since its parts do not wait for each other. So it is for the equations as they
        are written: a parallel form of a recurrence is another spec.

        >>> dependence("elman", {"time": 5}).sequential_operations()
        5
        """
        depth: dict[Node, int] = {}
        for node in self._order:
            below = max((depth[other] for other in self.graph.predecessors(node)), default=0)
            depth[node] = below + self.graph.nodes[node]["work"]
        return max((depth[node] for node in self.targets()), default=0)

    def receptive_field(self, layers: int = 1) -> int:
        """The most input positions that one output position sees through so many layers.

        >>> window = dependence("sliding_window", {"queries": 9, "keys": 9}, window=3)
        >>> [window.receptive_field(layers) for layers in (1, 2, 3)]
        [3, 5, 7]
        """
        seen = np.isfinite(self.layer.times(layers).hops)
        return int(seen.sum(axis=1).max(initial=0))

    def reading(self, inputs: Iterable[str]) -> Dependence:
        """The same graph with paths that start from other inputs."""
        return replace(self, inputs=_inputs(self.spec, inputs))

    @cached_property
    def layer(self) -> Reach:
        """Hops through this one layer, from each input position to each output position."""
        sources, targets = _positions(self.sources()), _positions(self.targets())
        column = {at: n for n, at in enumerate(sources)}
        begin: dict[Node, int] = {node: column[node[1]] for node in self.sources()}
        hops: dict[Node, Any] = {}
        for node in self._order:
            found = np.full(len(sources), np.inf)
            if node in begin:
                found[begin[node]] = 0
            for other, edge in self.graph.pred[node].items():
                np.minimum(found, hops[other] + edge["hop"], out=found)
            hops[node] = found
        rows = np.full((len(targets), len(sources)), np.inf)
        row = {at: n for n, at in enumerate(targets)}
        for node in self.targets():
            np.minimum(rows[row[node[1]]], hops[node], out=rows[row[node[1]]])
        return Reach(sources, targets, rows)

    @cached_property
    def _stacked(self) -> Reach:
        return self.layer.stacked() if self.layer.stackable else self.layer

    @cached_property
    def _order(self) -> tuple[Node, ...]:
        import networkx as nx  # noqa: PLC0415  it loads for graphs alone

        return tuple(nx.topological_sort(self.graph))

    def _place(
        self, known: tuple[Position, ...], at: int | Position | Node, names: Iterable[str]
    ) -> int:
        if _position(at) not in known:
            raise self._absent(at, names)
        return known.index(_position(at))

    def _absent(self, at: object, names: Iterable[str]) -> ParameterError:
        return ParameterError(
            "nothing stands at this position",
            spec=self.spec.name,
            found=repr(at),
            due=f"a position of {', '.join(sorted(names))}, or a node of the graph",
        )

    def _hops(self, source: int | Position | Node, target: int | Position | Node) -> int | None:
        """The fewest hops through the graph itself."""
        begin, hops = set(self.sources(source)), dict[Node, float]()
        for node in self._order:
            ways = (hops[other] + edge["hop"] for other, edge in self.graph.pred[node].items())
            hops[node] = 0 if node in begin else min(ways, default=np.inf)
        found = min(hops[node] for node in self.targets(target))
        return int(found) if np.isfinite(found) else None

    def _nodes(self, names: set[str], at: int | Position | Node | None) -> tuple[Node, ...]:
        """The nodes of some tensors at a position, or the node itself."""
        if _is_node(at):
            found = tuple(node for node in self.graph if node == at)
        else:
            whole = tuple(node for node in self.graph if node[0] in names and node[1])
            # What lies along several axes, as a bias for each pair, stands at no one position.
            least = min((len(node[1]) for node in whole), default=0)
            wanted = None if at is None else _position(at)
            found = tuple(
                n for n in whole if (len(n[1]) == least if wanted is None else n[1] == wanted)
            )
        if not found and at is not None:
            raise self._absent(at, names)
        return found


def dependence(
    spec: str | Spec,
    sizes: Mapping[str, int],
    *,
    along: Iterable[str] | None = None,
    inputs: Iterable[str] | None = None,
    **parameters: Any,
) -> Dependence:
    """The dependence graph of a spec, given by name or as itself, at these sizes and parameters.

    `sizes` gives the axes of sequences and those that masks speak of; channels do not matter.
    `along` names the axes whose positions are told apart, every axis but those of `CHANNELS` unless
    told; `inputs` the inputs that paths start from, every real one that has positions unless told.
    Raises ShapeError for a size that is missing or does not fit, ParameterError for a
    parameter that a mask needs, or for a graph of more than three million nodes or edges.

    >>> found = dependence("causal", {"queries": 2, "keys": 2})
    >>> sorted(found.graph.predecessors(("O", (0,))))
    [('A', (0, 0)), ('V', (0,))]
    """
    whole = load(spec, **parameters)
    sized = whole.sized(_checked(whole, sizes))
    axes = _along(whole, along)
    graph = Edges(whole, Reader(whole.name, sized, frozenset(axes)))
    for statement in whole.equations:
        graph.add(statement)
    return Dependence(
        whole,
        sized,
        axes,
        graph.made(),
        _inputs(whole, inputs),
        parameters,
        tuple(sorted(graph.reader.undecided)),
    )


def _inputs(spec: Spec, wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The inputs that paths start from."""
    names = [entry.tensor.name for entry in spec.inputs]
    if wanted is None:
        return tuple(entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real")
    chosen = tuple(wanted)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen:
        raise ParameterError(
            "the spec has no such input",
            spec=spec.name,
            found=", ".join(unknown) or "none",
            due=", ".join(names),
        )
    return chosen


def _checked(spec: Spec, sizes: Mapping[str, int]) -> dict[str, int]:
    names = [axis.name for axis in spec.axes]
    for axis, size in sizes.items():
        if axis not in names:
            raise ShapeError(
                "the spec has no such axis", spec=spec.name, found=axis, due=", ".join(names)
            )
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 0:
            raise ShapeError("a size is a whole number", spec=spec.name, found=f"{axis} = {size!r}")
    return {axis: int(size) for axis, size in sizes.items()}


def _along(spec: Spec, wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The axes whose positions are told apart; recurrences run along theirs in any case."""
    names = [axis.name for axis in spec.axes]
    steps = [s.along.axis.name for s in spec.equations if isinstance(s, Recurrence)]
    chosen = [n for n in names if n not in CHANNELS] if wanted is None else list(wanted)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ParameterError(
            "the spec has no such axis",
            spec=spec.name,
            found=", ".join(unknown),
            due=", ".join(names),
        )
    return tuple(dict.fromkeys((*chosen, *steps)))


def _is_node(at: object) -> bool:
    return isinstance(at, tuple) and bool(at) and isinstance(at[0], str)


def _position(at: int | Position | Node) -> Position:
    """A position as a tuple."""
    if isinstance(at, tuple):
        return tuple(part for part in at if isinstance(part, int))
    return (at,)


def _positions(nodes: Iterable[Node]) -> tuple[Position, ...]:
    return tuple(sorted({at for _, at in nodes}))


__all__ = ["CHANNELS", "Dependence", "Node", "dependence"]
