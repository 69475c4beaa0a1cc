"""Path lengths and sequential operations for all sizes, derived from the form of equations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import networkx as nx
import sympy

from attnverify.algebra import masks
from attnverify.algebra.predicates import TRUE, Compare, Predicate
from attnverify.algebra.rewrite import (
    children,
    entries,
    free_in,
    predicates_of,
    rename_in,
    walk,
    with_scalars_in,
)
from attnverify.algebra.terms import (
    Entry,
    Expr,
    Index,
    Previous,
    Scalar,
    index_symbol,
    size_symbol,
)
from attnverify.equations import Equation, Recurrence, equations_of, reads
from attnverify.flow.edges import CHANNELS
from attnverify.flow.pairs import distances
from attnverify.flow.ways import Hop, one_hop
from attnverify.invariants.reading import bound_by
from attnverify.spec import Spec


@dataclass(frozen=True)
class Length:
    """A length as an expression in sizes and parameters, and why it is that, for all sizes."""

    value: sympy.Expr
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Depth:
    """Bounds on the number of sequential operations, for all sizes, and why."""

    low: sympy.Expr
    high: sympy.Expr
    steps: tuple[str, ...]


def maximum_path_length(spec: Spec, inputs: Iterable[str] | None = None) -> Length | None:
    """The largest path length over pairs that layers connect; None where its form says none.

    Queries and keys are taken for one sequence, of two positions at least. For a window it holds
    where the window reaches a position beside its own.

    >>> from attnverify import load
    >>> print(maximum_path_length(load("elman")).value)
    n:time - 1
    >>> print(maximum_path_length(load("sliding_window", counts="left")).value)
    ceiling((n:queries - 1)/window)
    """
    steps = steps_alone(spec)
    if steps is not None:
        return Length(size_symbol(_sequences(spec)[0]) - 1, steps)
    hop = one_hop(spec, inputs)
    if hop is None:
        return None
    hop = as_one_sequence(hop)
    if sees_all(spec, hop):
        return Length(sympy.Integer(1), (f"an output reads every position: {hop.where}",))
    band = distances(hop.where, hop.target, hop.source)
    if band is None or not _near(spec, hop, *band):
        return None
    return _through_windows(hop, *band)


def _near(spec: Spec, hop: Hop, least: sympy.Expr | None, most: sympy.Expr | None) -> bool:
    """Whether ways of more hops lead no farther than so many times one hop."""
    distance = index_symbol(hop.source) - index_symbol(hop.target)
    for hops, where in hop.farther:
        for op, bound in (("<=", most), (">=", least)):
            if bound is None:
                continue
            then = Compare(op, Scalar(distance), Scalar(hops * bound))
            if masks.implies(where, then, spec.parameters).holds is not True:
                return False
    return True


def _through_windows(hop: Hop, least: sympy.Expr | None, most: sympy.Expr | None) -> Length | None:
    """The hops that a window of distances takes: each covers as many positions as it reaches."""
    last = size_symbol(hop.target.axis.name) - 1
    lengths = []
    for reach in (None if least is None else -least, most):
        if reach is None:
            lengths.append(sympy.Integer(1))
        elif not reach.is_nonnegative:
            return None  # the window may lie beside its position, which hops then leave
        elif reach != 0:
            lengths.append(sympy.ceiling(last / reach))
    steps = (
        f"an output at t reads inputs at s exactly where {hop.where}",
        "one hop moves no farther, and each shorter distance the same way takes one",
        "ways of more hops lead no farther than so many of one",
    )
    return Length(sympy.Max(*lengths), steps) if lengths else None


def as_one_sequence(hop: Hop) -> Hop:
    """The hop with queries and keys as one sequence: sizes and indices of one axis."""
    if hop.source.axis == hop.target.axis:
        return hop
    source = Index(hop.source.name, hop.target.axis)
    sizes = {size_symbol(hop.source.axis.name): size_symbol(hop.target.axis.name)}

    def moved(where: Predicate) -> Predicate:
        return with_scalars_in(rename_in(where, {hop.source: source}), sizes)

    farther = tuple((hops, moved(where)) for hops, where in hop.farther)
    return Hop(hop.target, source, moved(hop.where), farther)


def sees_all(spec: Spec, hop: Hop) -> bool:
    """Whether an output reads every position by one hop, decided for all sizes."""
    return hop.where == TRUE or masks.equivalent(hop.where, TRUE, spec.parameters).holds is True


def sequential_operations(spec: Spec) -> Depth:
    """Bounds on the longest chain of equations, for all sizes.

    No more than one operation for each equation, and for each step of a recurrence as many as it
    has; no fewer than the steps that a state takes from its own value before.

    >>> from attnverify import load
    >>> found = sequential_operations(load("elman"))
    >>> found.low, found.high
    (n:time, n:time)
    >>> found = sequential_operations(load("global"))
    >>> found.low, found.high
    (1, 3)
    """
    depth: dict[str, sympy.Expr] = {e.tensor.name: sympy.Integer(0) for e in spec.inputs}
    low, told = sympy.Integer(1), ["an equation is one operation, in each step of a recurrence"]
    for statement in spec.equations:
        below = sympy.Max(0, *(depth[name] for name in reads(statement)))
        work: sympy.Expr = sympy.Integer(1)
        if isinstance(statement, Recurrence):
            begun = any(not isinstance(value, Entry | Scalar) for _, value in statement.initial)
            work = size_symbol(statement.along.axis.name) * len(statement.steps) + int(begun)
        depth.update({equation.name: below + work for equation in equations_of(statement)})
    if steps_alone(spec) is not None:
        axis = _sequences(spec)[0]
        low = size_symbol(axis)
        told.append(f"each step along {axis} waits for the one before")
    return Depth(low, sympy.Max(*(depth[name] for name in spec.outputs)), tuple(told))


def steps_alone(spec: Spec) -> tuple[str, ...] | None:
    """Why every path along the sequence goes step by step; None where there may be another way.

    Then an input at s reaches an output at t by t - s hops, no fewer and no more, and no output
    before s: a hop is a step from one position to the next, and nothing else leaves a position.

    >>> from attnverify import load
    >>> steps_alone(load("lstm")) is None, steps_alone(load("global")) is None
    (False, True)
    """
    sequences = _sequences(spec)
    if len(sequences) != 1 or any(not _in_place(spec, s, sequences[0]) for s in spec.equations):
        return None
    chain = _chain(spec, sequences[0])
    if chain is None:
        return None
    return (
        f"equations read {sequences[0]} at their own position, or one step before",
        f"{chain} is computed from an input at its position and from its own value before",
    )


def _sequences(spec: Spec) -> list[str]:
    return [axis.name for axis in spec.axes if axis.name not in CHANNELS]


def _in_place(spec: Spec, statement: Equation | Recurrence, axis: str) -> bool:
    """Whether a statement reads no position but its own, or the one before."""
    if isinstance(statement, Recurrence):
        if statement.reverse or statement.along.axis.name != axis:
            return False
        if any(_placed(entry, axis) for _, value in statement.initial for entry in entries(value)):
            return False
    return all(_reads_in_place(equation, axis) for equation in equations_of(statement))


def _reads_in_place(equation: Equation, axis: str) -> bool:
    own = _placed(equation.head, axis)
    for node in walk(equation.body):
        if any(index.axis.name == axis for index in bound_by(node)):
            return False
    asked = [index for where in predicates_of(equation.body) for index in free_in(where)]
    read = (_placed(entry, axis) for entry in entries(equation.body))
    placed = any(index.axis.name == axis for index in asked)
    return len(own) <= 1 and not placed and all(at in ((), own) for at in read)


def _placed(entry: Entry, axis: str) -> tuple[Index, ...]:
    return tuple(index for index in entry.indices if index.axis.name == axis)


def _chain(spec: Spec, axis: str) -> str | None:
    """A state that inputs reach at their position, that keeps itself, and that outputs read."""
    now: nx.DiGraph[str] = nx.DiGraph()
    now.add_nodes_from(spec.heads)
    for statement in spec.equations:
        for equation in equations_of(statement):
            now.add_edges_from((name, equation.name) for name in _read_now(equation.body))
    placed = [e.tensor.name for e in spec.inputs if _placed(e, axis) and e.tensor.kind == "real"]
    for statement in spec.equations:
        for name in statement.states if isinstance(statement, Recurrence) else ():
            told = any(nx.has_path(now, name, out) for out in spec.outputs)
            fed = any(nx.has_path(now, source, name) for source in placed)
            if told and fed and any(_keeps(step, name, now) for step in equations_of(statement)):
                return name
    return None


def _keeps(step: Equation, state: str, now: nx.DiGraph[str]) -> bool:
    """Whether a step reads a state's value before, on the way to its value now."""
    before = {n.entry.tensor.name for n in walk(step.body) if isinstance(n, Previous)}
    return state in before and nx.has_path(now, step.name, state)


def _read_now(body: Expr) -> Iterator[str]:
    """The names that an expression reads, but for values of the step before."""
    if isinstance(body, Entry):
        yield body.tensor.name
    elif not isinstance(body, Previous):
        for child in children(body):
            yield from _read_now(child)


__all__ = [
    "Depth",
    "Length",
    "as_one_sequence",
    "maximum_path_length",
    "sees_all",
    "sequential_operations",
    "steps_alone",
]
