"""By which ways inputs reach the output: through scores and values alone, or in order of time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import networkx as nx

from attnverify.algebra.masks import implies
from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import free_in, predicate_entries, rename_in
from attnverify.algebra.terms import Entry, Expr, Index, Softmax, Total, as_expr
from attnverify.equations import Equation, Recurrence
from attnverify.invariants.reading import Read, assigned, covers, reads, support
from attnverify.invariants.sites import Attention
from attnverify.spec import Spec


def only_through(spec: Spec, names: Iterable[str], ways: Iterable[str]) -> bool:
    """Whether every path from the named inputs to an output goes through one of `ways`."""
    graph = spec.graph()
    graph.remove_nodes_from(tuple(ways))
    return not any(
        nx.has_path(graph, name, out)
        for name in names
        if name in graph
        for out in spec.outputs
        if out in graph
    )


def confined(site: Attention, entry: Entry, keys: tuple[Index, ...]) -> tuple[Index, ...] | None:
    """The output's indices at which an input along the keys is seen through a mask.

    The input is followed from its own place: it may be read at that place, and be summed over it
    where the summands are 0 outside the mask; from there on it belongs to a row, whose indices must
    stay free up to the output.  In the order of the mask's free indices; None where the input gets
    to the first output by another way.
    """
    return _Confined(site, entry, keys).rows()


class _Confined:
    """One input on its way: names that hold it at its place, and names that hold it by rows."""

    def __init__(self, site: Attention, entry: Entry, keys: tuple[Index, ...]) -> None:
        self.site = site
        self.mask_rows = tuple(i for i in free_in(site.where) if i not in site.keys)
        self.placed: dict[str, tuple[int, ...]] = {entry.tensor.name: _spots(entry, keys)}
        self.summed: dict[str, tuple[int, ...]] = {}

    def rows(self) -> tuple[Index, ...] | None:
        spec = self.site.spec
        if not all(
            self._follow(row, r) for row in assigned(spec).values() for r in reads(row.body)
        ):
            return None
        out = spec.heads[spec.outputs[0]]
        if out.tensor.name in self.placed or out.tensor.name not in self.summed:
            return None
        return tuple(out.indices[spot] for spot in self.summed[out.tensor.name])

    def _follow(self, row: Equation, read: Read) -> bool:
        """Whether an equation reads a name that holds the input only where the mask lets it."""
        name = read.entry.tensor.name
        return self._by_rows(row, read, name) and self._by_place(row, read, name)

    def _by_rows(self, row: Equation, read: Read, name: str) -> bool:
        if name not in self.summed:
            return True
        at = tuple(read.entry.indices[spot] for spot in self.summed[name])
        return _joins(self.summed, row, read, at)

    def _by_place(self, row: Equation, read: Read, name: str) -> bool:
        if name not in self.placed:
            return True
        at = tuple(read.entry.indices[spot] for spot in self.placed[name])
        if all(read.binder(index) is None for index in at):
            return _joins(self.placed, row, read, at)
        rows = self._hidden(row, read, at)
        return rows is not None and _joins(self.summed, row, read, rows)

    def _hidden(self, row: Equation, read: Read, at: tuple[Index, ...]) -> tuple[Index, ...] | None:
        """The row's indices under whose mask an input's place is summed; None without one."""
        node = read.binder(at[0])
        if node is None or any(read.binder(index) is not node for index in at):
            return None
        inside = _inside(self.site.spec, node)
        for rows in _choices(self.mask_rows, row.head.indices):
            own = (*self.mask_rows, *self.site.keys)
            to = dict(zip(own, (*rows, *at), strict=True))
            if covers(inside, rename_in(self.site.where, to)):
                return rows
        return None


def _joins(
    names: dict[str, tuple[int, ...]], row: Equation, read: Read, at: tuple[Index, ...]
) -> bool:
    """Whether an equation can hold the input at these indices: they are its own, as before."""
    own = row.head.indices
    if any(index not in own or read.binder(index) is not None for index in at):
        return False
    spots = tuple(own.index(index) for index in at)
    return names.setdefault(row.name, spots) == spots


def _spots(entry: Entry, keys: tuple[Index, ...]) -> tuple[int, ...]:
    return tuple(entry.indices.index(index) for index in keys)


def _inside(spec: Spec, node: Expr) -> Predicate:
    """Where what a node sums can be non-zero."""
    match node:
        case Softmax(_, _, where, _):
            return where
        case Total(body, _):
            return support(spec, body)
    return support(spec, node)


def _choices(wanted: tuple[Index, ...], offered: tuple[Index, ...]) -> Iterator[tuple[Index, ...]]:
    """Every way to read the mask's indices at an equation's own of the same axes."""
    rows = [[o for o in offered if o.axis == index.axis] for index in wanted]
    yield from itertools.product(*rows)


def in_time(spec: Spec) -> bool:
    """Whether no position along `time` depends on a later one, by the form of the equations.

    A name at some times depends on nothing after the latest of them: each sum over time must be
    over times that are not after one of its equation's own, and recurrences run forward.
    """
    if any(isinstance(s, Recurrence) and (s.reverse or s.along.axis.name != "time")
           for s in spec.equations):  # fmt: skip
        return False
    if any(
        e.tensor.kind == "real" for where in spec.predicates() for e in predicate_entries(where)
    ):
        return False
    timed = {e.tensor.name for e in spec.inputs if _times(e)}
    for row in assigned(spec).values():
        for read in reads(row.body):
            if read.entry.tensor.name in timed and not _not_later(spec, row, read):
                return False
        if any(read.entry.tensor.name in timed for read in reads(row.body)) or _times(row.head):
            timed.add(row.name)
    return all(_times(spec.heads[out]) for out in spec.outputs if out in timed)


def _times(entry: Entry) -> tuple[Index, ...]:
    return tuple(index for index in entry.indices if index.axis.name == "time")


def _not_later(spec: Spec, row: Equation, read: Read) -> bool:
    """Whether a read is at the equation's own times, or at times that are not after them."""
    own = _times(row.head)
    for index in _times(read.entry):
        node = read.binder(index)
        if node is None and index in own:
            continue
        if not isinstance(node, Total | Softmax):
            return False
        inside = _inside(spec, node)
        earlier = (Compare("<=", as_expr(index), as_expr(time)) for time in own)
        if not any(implies(inside, one, spec.parameters).holds for one in earlier):
            return False
    return bool(own)
