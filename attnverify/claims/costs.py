"""What attention costs: exact counts of operations, as polynomials in the sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy

from attnverify.algebra.terms import size_symbol
from attnverify.claims.claim import Claim, all_of, met
from attnverify.flow.cost import cost
from attnverify.flow.orders import Region
from attnverify.flow.statements import grows_as
from attnverify.flow.table import ANY, WINDOW, D, N, R, table, verdicts
from attnverify.library import load
from attnverify.verdict import Verdict
from attnverify.verdict.figure import Curve, Figure, Scale, Table

LENGTHS = ("queries", "keys", "time")
SCOPE = "batch and heads 1, every width d; exact for all sizes, derived from the compiled recipe"


def multiply_adds(spec: str, *, visited: bool = False, **choices: Any) -> sympy.Expr:
    """Multiply-adds of a spec in the number of positions n and one width d.

    >>> multiply_adds("global")
    2*d*n**2
    """
    whole = load(spec, **choices)
    found = cost(whole, visited=visited).multiply_adds
    return sympy.expand(found.subs(_sizes(whole), simultaneous=True))


def _sizes(spec: Any) -> dict[sympy.Expr, sympy.Expr]:
    few = {"batch": 1, "heads": 1}
    return {
        size_symbol(axis.name): N if axis.name in LENGTHS else few.get(axis.name, D)
        for axis in spec.axes
    }


def order(spec: str, due: sympy.Expr, region: Region = ANY, **choices: Any) -> Verdict:
    """Whether the multiply-adds of a spec are of an order in n and d, for all sizes of a region.

    >>> order("global", N**2 * D).status.value, order("global", N * D).status.value
    ('PROVED', 'REFUTED')
    """
    found = grows_as(spec, multiply_adds(spec, **choices), due, region)
    drawn = {"figure": growth().plain()} if spec == "global" else {}
    return replace(found, evidence={**found.evidence, **drawn})


def window_order() -> Verdict:
    """The cell of Table 1 on what a window costs: the pairs that it sees, times d.

    >>> window_order().status.value
    'PROVED'
    """
    return next(v for v in verdicts() if "restricted, complexity" in v.name)


def paper_table() -> Verdict:
    """Every cell of Table 1 of Vaswani et al. 2017, from specs alone, beside the paper's.

    >>> paper_table().status.value
    'HELD'
    """
    heads = ("complexity per layer", "sequential operations", "maximum path length")
    found = verdicts()
    cells = [(row, head) for row in table() for head in heads]
    rows = tuple(
        (row.layer, head, f"O({row.cells[head].paper})", str(row.cells[head]), verdict.status.value)
        for (row, head), verdict in zip(cells, found, strict=True)
    )
    columns = ("layer", "column", "paper", "derived from specs", "verdict")
    told = f"{sum(v.status.value == 'PROVED' for v in found)} of {len(found)} cells are PROVED"
    shown = Table(columns, rows, "Vaswani et al. 2017, Table 1; multiply-adds, no projections")
    return replace(
        all_of(*found), detail=told, cases=len(found), certificate=(),
        scope="n positions, d channels, k taps, r positions seen; each cell for its own sizes",
        evidence={"table": shown.plain()},
    )  # fmt: skip


def growth() -> Figure:
    """Multiply-adds by length of some networks of one width."""
    lengths, width = [2**k for k in range(3, 14)], 64
    counts = {
        "global": multiply_adds("global"),
        "multi_head, projections too": multiply_adds("multi_head"),
        "window of 16, pairs that are seen": multiply_adds(
            "sliding_window", visited=True, window=16
        ),
        "linear, recurrent form": multiply_adds("linear", causal=True, form="recurrent"),
        "elman": multiply_adds("elman"),
    }
    return Figure(
        "Multiply-adds by length",
        Scale("positions n", log=True),
        Scale("multiply-adds", log=True),
        tuple(
            Curve.of(name, lengths, [float(found.subs({N: n, D: width})) for n in lengths])
            for name, found in counts.items()
        ),
        f"exact counts at width {width}, one head; no draws",
    )


def cheaper(first: str, second: str) -> Verdict:
    """Whether one spec takes fewer multiply-adds than another exactly where n < d.

    Decided by the sign of the difference, a polynomial, over all n and d.

    >>> cheaper("global", "elman").status.value, cheaper("multi_head", "elman").status.value
    ('HELD', 'REFUTED')
    """
    one, other = multiply_adds(first), multiply_adds(second)
    saved = sympy.factor(other - one)
    # What is left after the factor d - n must be positive for all positive n and d.
    rest = sympy.simplify(saved / (D - N))
    exact = rest.is_polynomial(N, D) and rest.is_positive
    return met(
        bool(exact), "cheaper",
        f"{first} takes {one}, {second} {other}: the difference is {saved}",
        scope=SCOPE,
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("Table 1 of Vaswani et al. (2017) follows from the specs, cell by cell", paper_table),
    Claim("standard attention is quadratic in the length", lambda: order("global", N**2 * D)),
    Claim(
        "every attention is quadratic in the length",
        lambda: order("linear", N**2 * D, causal=True, form="recurrent"),
        fails="linear attention carries a state of fixed size",
        given="linear, recurrent form; all n and d",
    ),
    Claim("local attention costs r n d", window_order),
    Claim(
        "local attention costs r n d, however it is computed",
        lambda: order("local", R * N * D, WINDOW),
        fails="code that computes every score and masks it afterwards still costs n^2 d",
        given="local, as its compiled code computes it; n >= r",
    ),
    Claim(
        "attention is more efficient than a recurrent network where n < d",
        lambda: cheaper("global", "elman"),
    ),
    Claim(
        "an attention layer with its projections is more efficient than a recurrent network"
        " where n < d",
        lambda: cheaper("multi_head", "elman"),
        fails="the table does not count projections, which cost 4 n d^2 by themselves",
    ),
)
