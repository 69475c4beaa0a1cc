"""Statements about paths and costs as verdicts: proved from the form, or held against graphs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from attnverify.algebra.parameters import inside, lowest
from attnverify.algebra.terms import Parameter, size_symbol
from attnverify.errors import AttnverifyError
from attnverify.flow.cost import shown
from attnverify.flow.edges import CHANNELS
from attnverify.flow.graph import Dependence, dependence
from attnverify.flow.length import maximum_path_length, sees_all, steps_alone
from attnverify.flow.orders import Region, bounds, same_order
from attnverify.flow.reach import Reach
from attnverify.flow.ways import one_hop
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.verdict import Status, Verdict, Witness

# Lengths of sequences that graphs are made at, the smallest first.
LENGTHS = (1, 2, 3, 5, 6)
SCOPE = "all sizes of at least 1"


def reachable_in_one(spec: str | Spec, **parameters: Any) -> Verdict:
    """Whether every output position is reached from every input position by one hop at most.

    A query is no such input: it asks at its own position. PROVED where the predicate between the
    two is true for all sizes; REFUTED with the smallest graph in which a pair is farther apart.
    UNDECIDED where inputs decide what a mask keeps.

    >>> print(reachable_in_one("global").status, reachable_in_one("causal").status)
    PROVED REFUTED
    """
    whole, start = load(spec, **parameters), time.perf_counter()
    tried = _Trial(_graphs(whole), _far_apart, refuted_by_absence=True)
    hop = one_hop(whole)
    steps: tuple[str, ...] | None = None
    if hop is not None and sees_all(whole, hop):
        steps = (f"an output at t reads inputs at s where {hop.where}", "z3: that holds everywhere")
    return tried.verdict("every position is reachable in one step", steps, SCOPE, start)


def steps_apart(spec: str | Spec, **parameters: Any) -> Verdict:
    """Whether an input at s reaches an output at t by t - s hops, and nothing reaches back.

    PROVED where equations read their own position and the step before alone; REFUTED with the
    smallest graph in which a pair is nearer or farther.

    >>> print(steps_apart("lstm").status, steps_apart("global").status)
    PROVED REFUTED
    """
    whole, start = load(spec, **parameters), time.perf_counter()
    tried = _Trial(_graphs(whole), _not_by_steps)
    name = "a position s reaches a position t by t - s steps"
    return tried.verdict(name, steps_alone(whole), SCOPE, start)


def longest_path(spec: str | Spec, claimed: sympy.Expr, **parameters: Any) -> Verdict:
    """Whether the maximum path length is an expression in sizes and parameters.

    For sequences of two positions at least, queries and keys as one, and windows that reach beside
    their own position.

    >>> n = size_symbol("time")
    >>> print(longest_path("elman", n - 1).status, longest_path("elman", n).status)
    PROVED REFUTED
    """
    whole, start = load(spec, **parameters), time.perf_counter()
    graphs = (graph for graph in _graphs(whole, least=2) if _in_scope(graph, claimed))
    tried = _Trial(graphs, lambda graph: _other_length(graph, claimed))
    found = maximum_path_length(whole)
    same = found is not None and sympy.simplify(found.value - claimed) == 0
    name = f"the maximum path length is {shown(claimed)}"
    steps = found.steps if same and found is not None else None
    return tried.verdict(name, steps, "all sizes of at least 2", start)


def grows_as(what: str, count: sympy.Expr, order: sympy.Expr, region: Region) -> Verdict:
    """Whether a count lies between two multiples of an order, for all sizes of a region.

    REFUTED where their ratio has no bound as one size grows alone; UNDECIDED where neither is
    shown.

    >>> n, d = (sympy.Symbol(name, integer=True, positive=True) for name in "nd")
    >>> region = Region(((n, 1), (d, 1)))
    >>> print(grows_as("attention", 2 * n**2 * d, n**2 * d, region).status)
    PROVED
    >>> print(grows_as("attention", 2 * n**2 * d, n * d**2, region).detail)
    (2*d*n**2) / (d**2*n) has no bound as n grows
    """
    name, start = f"{what} is of order {shown(order)}", time.perf_counter()
    between = same_order(count, order, region)
    if between is not None:
        return Verdict(
            name, Status.PROVED, f"{shown(count)} is {between}",
            seconds=time.perf_counter() - start, scope=str(region),
            certificate=("no coefficient of the differences is negative",),
            evidence={"count": shown(count), "order": shown(order)},
        )  # fmt: skip
    grown = next(_unbounded(count, order, region), None)
    status, detail = (Status.UNDECIDED, "no constants are shown") if grown is None else grown
    return Verdict(name, status, detail, seconds=time.perf_counter() - start)


def _unbounded(
    count: sympy.Expr, order: sympy.Expr, region: Region
) -> Iterator[tuple[Status, str]]:
    """Sizes that outgrow every bound on the ratio, alone."""
    least, most = bounds(count)
    bounding = {symbol for _, least in region.least for symbol in sympy.sympify(least).free_symbols}
    for symbol, _ in region.least:
        if symbol in bounding:
            continue  # it cannot grow alone
        for above, below in ((least, order), (order, most)):
            ratio = above / below
            if not ratio.is_rational_function(*ratio.free_symbols):
                continue
            if sympy.limit(ratio, symbol, sympy.oo) == sympy.oo:
                text = f"({shown(above)}) / ({shown(below)}) has no bound as {shown(symbol)} grows"
                yield Status.REFUTED, text


# Graphs


def _graphs(spec: Spec, least: int = 1) -> Iterator[Dependence]:
    """The graphs of a spec at small sizes and parameters, the smallest first."""
    names = [axis.name for axis in spec.axes]
    for length in LENGTHS:
        if length < least:
            continue
        sizes = spec.fitted({n: length if n not in CHANNELS else 2 for n in names})
        for values in _settings(spec.parameters):
            try:
                yield dependence(spec, sizes, **values)
            except AttnverifyError:
                continue  # sizes and parameters that do not fit each other


def _settings(parameters: Iterable[Parameter]) -> Iterator[dict[str, Any]]:
    """Small values of integer parameters, all combinations."""
    whole = [p for p in parameters if p.integer]
    ranges = []
    for parameter in whole:
        low = lowest(parameter)
        start = 0 if low is None else int(low)
        near = [v for v in range(start, start + 5) if inside(parameter, Fraction(v))]
        ranges.append(near[:3])
    for chosen in itertools.product(*ranges):
        yield dict(zip((p.name for p in whole), chosen, strict=True))


class _Trial:
    """What graphs say of a statement, up to the first that refutes it.

    Where masks read inputs, a graph has every path that there may be. A statement that asks for
    paths is `refuted_by_absence` then; one about their lengths is not.
    """

    def __init__(
        self,
        graphs: Iterable[Dependence],
        refute: Callable[[Dependence], Witness | None],
        *,
        refuted_by_absence: bool = False,
    ) -> None:
        self.sure = refuted_by_absence
        self.cases, self.witness = 0, None
        self.undecided: tuple[str, ...] = ()
        for graph in graphs:
            self.cases += 1
            self.undecided, self.witness = graph.undecided, refute(graph)
            if self.witness is not None:
                break

    def verdict(
        self, name: str, steps: tuple[str, ...] | None, scope: str, start: float
    ) -> Verdict:
        """PROVED by `steps` where they are, else what the graphs say."""
        spent = time.perf_counter() - start
        if self.witness is not None:
            failed = f"fails at {_words(self.witness)}"
            if steps is not None:  # a proof and a graph that differ are worth nothing
                reason = f"the form of the equations proves it, but it {failed}"
                return Verdict(name, Status.UNDECIDED, reason, seconds=spent)
            if self.sure or not self.undecided:
                return Verdict(name, Status.REFUTED, failed, seconds=spent, witness=self.witness)
        if steps is not None:
            agreed = f"{self.cases} graphs agree"
            return Verdict(name, Status.PROVED, agreed, seconds=spent, cases=self.cases,
                           scope=scope, certificate=steps)  # fmt: skip
        if self.undecided:
            reason = f"sizes and parameters do not decide {self.undecided[0]}"
            return Verdict(name, Status.UNDECIDED, reason, seconds=spent)
        if not self.cases:
            return Verdict(name, Status.UNDECIDED, "no graph was in its scope", seconds=spent)
        told = "in the graphs of small sizes and parameters"
        return Verdict(name, Status.HELD, told, seconds=spent, cases=self.cases)


def _words(witness: Witness) -> str:
    at = ", ".join(f"{name} = {place}" for name, place in (witness.index or {}).items())
    values = {"got": witness.got, "due": witness.due}
    told = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    return "; ".join(part for part in (witness.shape, witness.note, at, told) if part)


def _far_apart(graph: Dependence) -> Witness | None:
    """A pair that takes more than one hop: of each axis that inputs have, but for queries' own."""
    own = _axes(graph, graph.spec.outputs[0])
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in graph.inputs:
        axes = _axes(graph, name)
        if axes:
            groups.setdefault(axes, []).append(name)
    for axes, names in groups.items():
        layer = graph.reading(names).layer
        if len(layer.sources[0]) != len(layer.targets[0]):
            continue  # a bias for each pair stands at no position
        if axes == own and len(groups) > 1 and _in_place(layer):
            continue
        bad = np.argwhere(~(layer.hops <= 1))
        if bad.size:
            row, column = bad[0]
            found = layer.hops[row, column]
            got = found if np.isfinite(found) else None
            return _pair(graph, layer.sources[column], layer.targets[row], got)
    return None


def _in_place(layer: Reach) -> bool:
    """Whether inputs reach their own position alone, as queries do."""
    return (
        layer.stackable
        and not np.isfinite(layer.hops[~np.eye(len(layer.sources), dtype=bool)]).any()
    )


def _axes(graph: Dependence, name: str) -> tuple[str, ...]:
    indices = graph.spec.heads[name].indices
    return tuple(index.axis.name for index in indices if index.axis.name in graph.along)


def _not_by_steps(graph: Dependence) -> Witness | None:
    layer = graph.layer
    for row, column in itertools.product(range(len(layer.targets)), range(len(layer.sources))):
        target, source = layer.targets[row], layer.sources[column]
        if len(target) != 1 or len(source) != 1:
            return _pair(graph, source, target)
        due = target[0] - source[0] if target[0] >= source[0] else np.inf
        if layer.hops[row, column] != due:
            return _pair(graph, source, target, layer.hops[row, column], due)
    return None


def _other_length(graph: Dependence, claimed: sympy.Expr) -> Witness | None:
    due, got = claimed.subs(_known(graph, claimed)), graph.maximum_path_length()
    if due.is_Integer and int(due) == got:
        return None
    return Witness(sizes=_told(graph), got=got, due=str(due), note=_parameters(graph))


def _in_scope(graph: Dependence, claimed: sympy.Expr) -> bool:
    """Whether positions see another one, on each side that the expression divides by."""
    due = claimed.subs(_known(graph, claimed))
    return graph.receptive_field(1) > 1 and bool(
        due.is_finite is not False and due is not sympy.nan
    )


def _known(graph: Dependence, claimed: sympy.Expr) -> Mapping[sympy.Symbol, sympy.Expr]:
    sizes = {size_symbol(axis): sympy.Integer(size) for axis, size in graph.sizes.items()}
    values = graph.parameters
    return {
        symbol: sizes[symbol] if symbol in sizes else sympy.sympify(values[symbol.name])
        for symbol in claimed.free_symbols
        if symbol in sizes or symbol.name in values
    }


def _pair(
    graph: Dependence, source: tuple[int, ...], target: tuple[int, ...],
    got: float | None = None, due: float | None = None,
) -> Witness:  # fmt: skip
    at = {f"s{n or ''}": place for n, place in enumerate(source)}
    at |= {f"t{n or ''}": place for n, place in enumerate(target)}
    return Witness(
        sizes=_told(graph),
        tensor=graph.spec.outputs[0],
        index=at,
        got=got,
        due=due,
        note=_parameters(graph),
    )


def _told(graph: Dependence) -> dict[str, int]:
    return {axis: size for axis, size in graph.sizes.items() if axis in graph.along}


def _parameters(graph: Dependence) -> str:
    return ", ".join(f"{name} = {value}" for name, value in graph.parameters.items())


__all__ = ["grows_as", "longest_path", "reachable_in_one", "steps_apart"]
