"""Table 1 of Vaswani et al. (2017), derived from specs alone, beside the paper's own cells.

n positions, d channels, k taps, an odd number r of positions seen. Counts are of multiply-adds,
those of attention without its projections, as the paper's are; a restricted layer counts the pairs
that it sees.
Separable convolutions, which the text mentions, are no spec of the catalogue.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, reduce

import sympy

from attnverify.algebra.terms import size_symbol
from attnverify.flow.cost import cost
from attnverify.flow.graph import dependence
from attnverify.flow.length import maximum_path_length, sequential_operations
from attnverify.flow.orders import Between, Region, same_order
from attnverify.flow.pairs import settled
from attnverify.flow.reach import Reach
from attnverify.flow.statements import grows_as
from attnverify.library import load
from attnverify.verdict import Status, Verdict

N, D, K, R = (sympy.Symbol(name, integer=True, positive=True) for name in "ndkr")
# log_k n, of which nothing is asked but that it is 1 where n = k.
LEVELS = sympy.Symbol("log_k(n)", positive=True)
ANY = Region(((N, 1), (D, 1)))
TAPS = Region(((K, 2), (N, K), (D, 1)))
WINDOW = Region(((R, 3), (N, R), (D, 1)))
LAYERS = Region(((LEVELS, 1),))
# Sizes at which stacks of dilated convolutions are made.
LENGTHS, KERNELS = (2, 3, 4, 5, 8, 9, 10, 16, 17), (2, 3, 4)


@dataclass(frozen=True)
class Cell:
    """One cell: the paper's order, what specs give, and the constants between which they agree.

    `derived` has a low and a high expression where its form gives bounds; `cases` is how many
    graphs it was found in where its form gives none; `why` are the steps.
    """

    paper: sympy.Expr
    derived: tuple[sympy.Expr, sympy.Expr]
    region: Region
    why: tuple[str, ...] = ()
    cases: int | None = None

    @property
    def between(self) -> Between | None:
        """The constants with low * paper <= derived <= high * paper; None where none is shown."""
        low = same_order(self.derived[0], self.paper, self.region)
        high = same_order(self.derived[1], self.paper, self.region)
        return None if low is None or high is None else Between(low.low, high.high, self.region)

    @property
    def agrees(self) -> bool:
        """Whether the derived cell is of the paper's order."""
        return self.between is not None

    def __str__(self) -> str:
        low, high = self.derived
        return f"{low}" if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Row:
    """One layer: its specs, and its three cells."""

    layer: str
    specs: tuple[str, ...]
    complexity: Cell
    sequential: Cell
    path: Cell

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells by the heads of their columns."""
        return {
            "complexity per layer": self.complexity,
            "sequential operations": self.sequential,
            "maximum path length": self.path,
        }


@cache
def table() -> tuple[Row, ...]:
    """The rows of Table 1, with convolutions by contiguous and by dilated kernels apart.

    >>> [row.layer for row in table() if all(cell.agrees for cell in row.cells.values())]
    ['self-attention', 'recurrent', 'convolution, contiguous', 'convolution, dilated',
     'self-attention, restricted']
    """
    return (_attention(), _recurrent(), _contiguous(), _dilated(), _restricted())


def verdicts(rows: Iterable[Row] | None = None) -> tuple[Verdict, ...]:
    """Each cell as a statement: PROVED for all sizes of its region, or HELD in the graphs tried.

    REFUTED where what is derived outgrows the paper's order or is outgrown by it.
    """
    kept = table() if rows is None else tuple(rows)
    return tuple(_verdict(row, head, cell) for row in kept for head, cell in row.cells.items())


def text() -> str:
    """The table as lines: for each cell the paper's order, and what the specs give."""
    lines = []
    for row in table():
        lines.append(f"{row.layer} ({', '.join(row.specs)})")
        for head, cell in row.cells.items():
            agreed = f"{cell.between}" if cell.agrees else "not of this order"
            lines.append(f"  {head}: O({cell.paper}), derived {cell}; {agreed}")
    return "\n".join(lines)


def _verdict(row: Row, head: str, cell: Cell) -> Verdict:
    name, start = f"Table 1: {row.layer}, {head} is O({cell.paper})", time.perf_counter()
    between = cell.between
    status = Status.PROVED if cell.cases is None else Status.HELD
    if between is None:
        found = {grows_as(name, one, cell.paper, cell.region).status for one in cell.derived}
        status = Status.REFUTED if found == {Status.REFUTED} else Status.UNDECIDED
    return Verdict(
        name, status, f"derived {cell}" + (f", {between}" if between else ""),
        seconds=time.perf_counter() - start, cases=cell.cases, scope=str(cell.region),
        certificate=cell.why, evidence={"paper": str(cell.paper), "derived": str(cell)},
    )  # fmt: skip


def _exactly(
    paper: sympy.Expr, derived: sympy.Expr, region: Region, why: tuple[str, ...] = ()
) -> Cell:
    return Cell(paper, (derived, derived), region, why)


def _attention() -> Row:
    count = cost("global").where(_sizes("queries", "keys", channels=("key_dim", "value_dim")))
    return Row(
        "self-attention",
        ("global",),
        _exactly(N**2 * D, count.multiply_adds, ANY, _counted("global")),
        _operations("global", "queries"),
        _length("global", "queries", sympy.Integer(1), ANY),
    )


def _recurrent() -> Row:
    count = cost("elman").where(_sizes("time", channels=("model", "hidden")))
    return Row(
        "recurrent",
        ("elman",),
        _exactly(N * D**2, count.multiply_adds, ANY, _counted("elman")),
        _operations("elman", "time", N),
        # From two positions on: one position has no way to another.
        _length("elman", "time", N, Region(((N, 2),))),
    )


def _convolved() -> Cell:
    sizes = {**_sizes("time", channels=("model", "value_dim")), size_symbol("taps"): K}
    count = cost("convolution").where(sizes)
    return _exactly(K * N * D**2, count.multiply_adds, TAPS, _counted("convolution"))


def _contiguous() -> Row:
    found = maximum_path_length(load("convolution", dilation=1))
    sizes = {size_symbol("time"): N, size_symbol("taps"): K}
    path = sympy.Integer(0) if found is None else found.value.subs(sizes)
    return Row(
        "convolution, contiguous",
        ("convolution",),
        _convolved(),
        _operations("convolution", "time"),
        _exactly(N / K, path, TAPS, () if found is None else found.steps),
    )


def _dilated() -> Row:
    cases = [(n, k) for n in LENGTHS for k in KERNELS]
    levels = all(layers(n, k) == _logarithm(n, k) for n, k in cases)
    path = sympy.ceiling(LEVELS) if levels else sympy.Integer(0)
    why = (
        "layer l has taps k^l positions apart, so that L layers reach every distance below k^L",
        f"the layers that graphs take at n = {', '.join(map(str, LENGTHS))}, k = 2, 3, 4",
    )
    return Row(
        "convolution, dilated",
        ("convolution",),
        _convolved(),
        _operations("convolution", "time"),
        Cell(LEVELS, (path, path), LAYERS, why, len(cases)),
    )


def _restricted() -> Row:
    side = sympy.Symbol("h", integer=True, positive=True)
    seen = (R - 1) / 2  # positions on each side, the own one being among the r
    spec = load("local")
    sides = {parameter.symbol: side for parameter in spec.parameters}
    sizes = _sizes("queries", "keys", channels=("key_dim", "value_dim"))
    count = cost(spec, visited=True).where({**sizes, **sides}).multiply_adds
    count = sympy.expand(settled(count, N, 2 * side + 1).subs(side, seen))
    found = maximum_path_length(spec)
    path = sympy.Integer(0)
    if found is not None:
        path = found.value.subs({**sizes, **sides}).subs(side, seen)
    return Row(
        "self-attention, restricted",
        ("local",),
        _exactly(R * N * D, count, WINDOW, ("pairs within the window, counted in closed form",)),
        _operations("local", "queries"),
        _exactly(N / R, path, WINDOW, () if found is None else found.steps),
    )


def _sizes(*sequences: str, channels: tuple[str, ...]) -> dict[sympy.Expr, sympy.Expr]:
    """One sequence of n positions, d channels, one head and one batch entry."""
    return {
        **{size_symbol(axis): N for axis in sequences},
        **{size_symbol(axis): D for axis in channels},
        size_symbol("batch"): sympy.Integer(1),
        size_symbol("heads"): sympy.Integer(1),
    }


def _counted(name: str) -> tuple[str, ...]:
    return (f"multiply-adds of the recipe that {name} compiles to",)


def _operations(name: str, axis: str, paper: sympy.Expr = sympy.Integer(1)) -> Cell:  # noqa: B008  SymPy's numbers never change
    found = sequential_operations(load(name))
    sizes = {size_symbol(axis): N}
    return Cell(paper, (found.low.subs(sizes), found.high.subs(sizes)), ANY, found.steps)


def _length(name: str, axis: str, paper: sympy.Expr, region: Region) -> Cell:
    found = maximum_path_length(load(name))
    value = sympy.Integer(0) if found is None else found.value.subs({size_symbol(axis): N})
    return _exactly(paper, value, region, () if found is None else found.steps)


def layers(length: int, taps: int) -> int:
    """The fewest layers of dilated convolutions that join every position to all before it.

    Layer l has taps `taps ** l` positions apart (Kalchbrenner et al. 2016, as Vaswani et al. cite).

    >>> [layers(n, 2) for n in (2, 4, 5, 8)]
    [1, 2, 3, 3]
    """
    found: list[Reach] = []
    while not found or not _joined(reduce(Reach.then, found)):
        spread = taps ** len(found)
        graph = dependence("convolution", {"time": length, "taps": taps}, dilation=spread)
        found.append(graph.layer)
    return len(found)


def _joined(reach: Reach) -> bool:
    return all(
        math.isfinite(reach.hops[row, column]) == (source <= target)
        for row, target in enumerate(reach.targets)
        for column, source in enumerate(reach.sources)
    )


def _logarithm(length: int, taps: int) -> int:
    """The least L with taps ** L >= length, in whole numbers."""
    return next(level for level in range(length + 1) if taps**level >= length)


__all__ = ["Cell", "Row", "layers", "table", "text", "verdicts"]
