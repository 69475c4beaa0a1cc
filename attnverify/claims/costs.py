"""What attention costs: exact counts of operations, as polynomials in the sizes."""

from __future__ import annotations

from typing import Any

import sympy

from attnverify.algebra.terms import size_symbol
from attnverify.claims.claim import Claim, met
from attnverify.flow.cost import cost
from attnverify.library import load
from attnverify.verdict import Verdict
from attnverify.verdict.figure import Curve, Figure, Scale

N, D = sympy.symbols("n d", positive=True)
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


def degree(spec: str, due: int, **choices: Any) -> Verdict:
    """Whether the multiply-adds of a spec have a degree in the number of positions.

    >>> degree("global", 2).status.value, degree("global", 1).status.value
    ('HELD', 'REFUTED')
    """
    found = multiply_adds(spec, **choices)
    power = sympy.degree(found, N)
    return met(
        power == due, "degree", f"{spec} takes {found} multiply-adds, which grow as n^{power}",
        scope=SCOPE, evidence={"figure": growth().plain()} if spec == "global" else {},
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


def window_cost(*, visited: bool) -> Verdict:
    """Whether windowed attention takes 2 r n d multiply-adds, up to what its edge saves.

    >>> window_cost(visited=True).status.value, window_cost(visited=False).status.value
    ('HELD', 'REFUTED')
    """
    width = 16
    found = multiply_adds("sliding_window", visited=visited, window=width)
    at_most, at_least = 2 * width * N * D, 2 * width * (N - width) * D
    sizes = [32, 64, 128, 1024]
    inside = all(
        at_least.subs({N: n, D: 64}) <= found.subs({N: n, D: 64}) <= at_most.subs({N: n, D: 64})
        for n in sizes
    )
    how = "counting the pairs that are seen" if visited else "as the compiled code computes it"
    return met(
        inside, "window", f"a window of r = {width} takes {found} {how}, due 2 r n d at most and "
        "2 r (n - r) d at least",
        cases=len(sizes), scope=f"n from 32 to 1024, d = 64; {how}",
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("standard attention is quadratic in the length", lambda: degree("global", 2)),
    Claim(
        "every attention is quadratic in the length",
        lambda: degree("linear", 2, causal=True, form="recurrent"),
        fails="linear attention carries a state of fixed size",
    ),
    Claim("local attention costs r n d", lambda: window_cost(visited=True)),
    Claim(
        "local attention costs r n d, however it is computed",
        lambda: window_cost(visited=False),
        fails="code that computes every score and masks it afterwards still costs n^2 d",
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
